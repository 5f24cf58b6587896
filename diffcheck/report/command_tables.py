"""Tables of the commands that run nothing or probe: plan, cache, backends, doctor, snapshot, configuration, selftest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from diffcheck.errors import EXIT_DIVERGE, EXIT_USAGE
from diffcheck.report import terminal_text
from diffcheck.text import plural, size, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

    from diffcheck.backend.contract import Capabilities
    from diffcheck.faults.selftest import SelftestRun
    from diffcheck.probe import Diagnosis, InstalledBackend
    from diffcheck.runner.observe.snapshot import Snapshot
    from diffcheck.runner.persist.cache_files import CacheUsage
    from diffcheck.runner.request import PlanLine

_TRANSPORTS: Final = {
    "memory": "memory is read",
    "words": "250 words per execution, as counters",
    "print": "printed by the capsule",
}


def plan(lines: Iterable[PlanLine], console: Console) -> int:
    """Print what a run would do; returns the exit code: 2 if a given file is not a module or has a malformed case file."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, header_style="bold")
    table.add_column("case", ratio=5, overflow="fold")
    for name in ("rows", "passes", "functions", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("passes in detail", ratio=7, overflow="fold")
    count = skipped = passes = code = 0
    planned: list[tuple[str, tuple[str, str]]] = []
    for line in lines:
        count, skipped, passes = count + 1, skipped + bool(line.skipped), passes + line.passes
        code = EXIT_USAGE if line.bad_input else code
        table.add_row(terminal_text.safe(line.case), *_figures(line), _planned(line))
        planned += [(line.case, each) for each in line.planned]
    console.print(table)
    _print_planned(planned, console)
    done = f"{plural(count, 'case')}, {plural(skipped, 'would be skipped', 'would be skipped')}, "
    console.print(Text(f"{done}{plural(passes, 'execution')} of the subject if nothing differs; the subject was not run"))
    return code


def _print_planned(planned: Sequence[tuple[str, tuple[str, str]]], console: Console) -> None:
    """Print planned rows and why they were chosen."""
    if not planned:
        return
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, header_style="bold")
    for name, ratio in (("case", 2), ("planned row", 5), ("why", 4)):
        table.add_column(name, ratio=ratio, overflow="fold")
    last = ""
    for case, (row, why) in planned:
        table.add_row(
            terminal_text.safe("" if case == last else case), terminal_text.safe(row), terminal_text.safe(why, terminal_text.QUIET)
        )
        last = case
    console.print(table)


def cache(folder: str, kept: Sequence[CacheUsage], limit_bytes: int, console: Console) -> None:
    """Print the cache's content by engine."""
    total = sum(each.bytes for each in kept)
    if kept:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        table.add_column("engine", overflow="fold")
        for name in ("entries", "size"):
            table.add_column(name, justify="right", no_wrap=True)
        for each in kept:
            table.add_row(terminal_text.safe(each.engine), f"{each.entries:,}", size(each.bytes))
        console.print(table)
    count = plural(sum(each.entries for each in kept), "entry", "entries")
    console.print(
        Text.assemble(f"{count}, {size(total)} of at most {size(limit_bytes)}, in ", terminal_text.safe(folder, limit=2000))
    )


def _figures(line: PlanLine) -> tuple[str, str, str, str]:
    if line.skipped:
        return ("-",) * 4
    return f"{line.rows:,}", f"{line.passes:,}", f"{line.functions:,}", size(line.memory_bytes)


def _planned(line: PlanLine) -> Text:
    if line.skipped:
        return Text.assemble(("skipped: ", "yellow"), terminal_text.sentence(line.skipped, 300))
    text = Text()
    for mode, why in (("capsule", line.capsule), ("direct", line.direct)):
        text.append("\n" if text else "")
        text.append(mode, "" if why else "green")
        text.append_text(terminal_text.safe(f" not applicable: {why}", terminal_text.QUIET, 300) if why else Text(""))
    return text


def backends(found: Iterable[InstalledBackend], console: Console) -> None:
    """Print the engines, and why one cannot be used."""
    for one in found:
        if one.identity is None or one.capabilities is None:
            console.print(Text.assemble(terminal_text.safe(one.name, terminal_text.HEADING), ("  not available", "yellow")))
            _fact(console, "why", one.problem)
            _fact(console, "do", one.hint)
        else:
            name = terminal_text.engine(one.identity).removeprefix(one.name).strip()
            console.print(Text.assemble(terminal_text.safe(one.name, terminal_text.HEADING), terminal_text.safe(f"  {name}")))
            _fact(console, "found", " ".join(part for part in (one.identity.path, f"({one.identity.found})") if part != "()"))
            _fact(console, "sha256", one.identity.sha256)
            for label, value in _capabilities(one.capabilities):
                _fact(console, label, value)
        console.print()


def _fact(console: Console, label: str, value: str) -> None:
    if value:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style=terminal_text.QUIET, no_wrap=True, min_width=12)
        table.add_column(overflow="fold")
        table.add_row(f"  {label}", terminal_text.safe(value, limit=500))
        console.print(table)


def _capabilities(one: Capabilities) -> tuple[tuple[str, str], ...]:
    exports = f", at most {one.max_exports} exports" if one.max_exports is not None else ""
    trap = "with the state at a trap" if one.state_at_trap else "without the state at a trap"
    return (
        ("stream", f"{_TRANSPORTS[one.transport]}; {trap}"),
        ("runs", ("capsules and artifacts as they are" if one.direct else "capsules only") + exports),
        ("memory", f"{size(one.base_bytes)}, {size(one.function_bytes)} per function and {size(one.code_bytes)} per byte of code"),
        ("known", "; ".join(one.notes)),
    )


def doctor(examined: Iterable[Diagnosis], console: Console) -> int:
    """Print each backend after its tests; returns the exit code: 1 if an engine does not work, 2 if a named one is missing."""
    code = 0
    for one in examined:
        line = Text.assemble(terminal_text.safe(one.name, terminal_text.HEADING, 60), "  ")
        if one.identity is None:
            code = code or (EXIT_USAGE if one.named else 0)
            line.append("not available", "bold red" if one.named else "yellow").append(f"  {visible(one.problem, 400)}")
        elif one.problem:
            code = EXIT_DIVERGE
            place = f" ({visible(one.identity.path, 400)})" if one.identity.path else ""
            line.append("does not work", "bold red").append(
                f"  {terminal_text.engine(one.identity)}{place}: {visible(one.problem, 400)}"
            )
        else:
            line.append("ok", "bold green").append(f"  {terminal_text.engine(one.identity)}, {plural(one.checks, 'known answer')}")
        if one.hint and (one.problem or one.identity is None):
            line.append(f"; {visible(one.hint, 400)}")
        console.print(line)
        for finding in one.findings:
            section = (f" ({finding.section})", terminal_text.QUIET) if finding.section else ""
            line = Text.assemble((visible(finding.name), "yellow"), f": {visible(finding.what, 400)}", section)
            console.print(Padding(line, (0, 0, 0, 4)))
    return code


def snapshot(found: Snapshot, console: Console) -> None:
    """Print an artifact's exported globals after a run."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column("global", overflow="fold")
    table.add_column("type", style=terminal_text.QUIET, no_wrap=True)
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("bits", justify="right", style=terminal_text.QUIET, overflow="fold")
    for name, each in found.globals.items():
        table.add_row(terminal_text.safe(name), each.type, found.words(name), found.pattern(name))
    console.print(table if found.globals else Text("no exported global has this prefix", style=terminal_text.QUIET))


def settings(
    lines: Iterable[tuple[str, str, str, str]], file: str, backends: Mapping[str, str], commands: tuple[str, ...], console: Console,
    *, trusted: bool,
) -> None:  # fmt: skip
    """Print each option's name, value, source and place; then the file, and the programs that it runs."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("option", "value", "from", ""):
        table.add_column(name, overflow="fold")
    for name, value, source, place in lines:
        style = terminal_text.QUIET if source == "default" else ""
        table.add_row(
            Text(name), terminal_text.safe(value, style), Text(source, style), terminal_text.safe(place, terminal_text.QUIET)
        )
    console.print(table)
    for name, spec in backends.items():
        console.print(Text.assemble("backend ", terminal_text.safe(name), ": ", terminal_text.safe(spec, limit=1000)))
    if commands:
        use = "used: it is in the repository's root" if trusted else "used only with --trust-config"
        console.print(Text(f"The programs that the file names are {use}.", style="" if trusted else "yellow"))
    console.print(terminal_text.safe(f"configuration: {file}" if file else "no configuration file", limit=1000))


def selftest(runs: Iterable[SelftestRun], left_out: Sequence[str], console: Console, seed: int) -> int:
    """Print a line for each class of planted fault, and each fault that was reported wrongly; returns the exit code."""
    done = list(runs)
    faulty, clean = [each for each in done if each.kind], [each for each in done if not each.kind]
    table = Table(box=None, pad_edge=False, header_style=terminal_text.HEADING)
    for name, justify in (
        ("pass", "left"),
        ("fault", "left"),
        ("planted", "right"),
        ("reported", "right"),
        ("called agreement", "right"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for mode, kind in sorted({(each.mode, each.kind) for each in faulty}):
        of = [each for each in faulty if (each.mode, each.kind) == (mode, kind)]
        missed = sum(each.missed for each in of)
        table.add_row(mode, kind, str(len(of)), str(sum(each.correct for each in of)), str(missed) if missed else "-")
    console.print(table)
    wrong = [each for each in done if not each.correct]
    for each in wrong:
        what = f"{each.kind} at {each.where}" if each.kind else "no fault"
        way = ", carried in windows" if each.words else ""
        console.print(terminal_text.safe(f"{each.artifact}, {each.mode} pass{way}: {what}", limit=400))
        console.print(terminal_text.safe(f"  expected {each.expected}", terminal_text.QUIET, 400))
        console.print(terminal_text.safe(f"  reported {each.verdict}: {each.reported}", terminal_text.QUIET, 400))
    for text in left_out:
        console.print(terminal_text.safe(f"not used: {text}", terminal_text.QUIET, 400))
    direct = sum(each.mode == "direct" for each in faulty)
    found = sum(not each.correct for each in clean)
    console.print(
        terminal_text.safe(
            f"seed {seed}: {plural(len(faulty), 'fault')} planted, {direct} in the direct pass: "
            f"{sum(each.correct for each in faulty)} reported correctly, "
            f"{sum(each.missed for each in faulty)} reported as agreement; "
            f"{plural(len(clean), 'run')} without a fault: {plural(found, 'finding')}",
            limit=400,
        )
    )
    return 1 if wrong or not faulty else 0
