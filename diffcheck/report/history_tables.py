"""Tables over several runs: the history, two runs compared, the baseline's entries."""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING, Final

from rich import box
from rich.table import Table
from rich.text import Text

from diffcheck.errors import ReportError
from diffcheck.nightly import history as h
from diffcheck.report import terminal_text
from diffcheck.text import duration, plural, size, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from rich.console import Console, RenderableType

    from diffcheck.nightly.baseline import Baseline
    from diffcheck.nightly.run_diff import ClusterChange, RunDiff
    from diffcheck.verdict import BaselineReport, BaselineStatus, EntryState, Report

_MAX: Final = 60
_LIFE_MAX: Final = 12
_SAID: Final[tuple[tuple[EntryState, str, str], ...]] = (
    ("new", "new", "bold red"),
    ("returned", "returned after a fix", "bold red"),
    ("fixed", "fixed; mark them with `diffcheck baseline update`", "green"),
    ("wider", "known, in more cases than in the baseline", "yellow"),
    ("expired", "known, entry expired", "yellow"),
    ("stale", "stale: no such case", "yellow"),
    ("flaky", "flaky: in some runs only", "magenta"),
    ("masked", "hidden by another difference", "dim"),
    ("absent", "absent, not known to be fixed", "dim"),
    ("not run", "not run", "dim"),
)


def find(names: Sequence[str], name: str) -> str:
    """The case of that name, or the only one that contains it; raises ``ReportError``."""
    found = [name] if name in names else [each for each in names if name in each]
    if len(found) == 1:
        return found[0]
    near = found or difflib.get_close_matches(name, names, 5, 0.4)
    what = f"{len(found)} cases match {visible(name)!r}" if found else f"the history has no case {visible(name)!r}"
    raise ReportError(
        what, hint=f"did you mean {', '.join(visible(each, 80) for each in near[:8])}?" if near else "give a case's name"
    )


def history(nights: Mapping[str, Sequence[h.Night]], runs: int, console: Console, *, whole: bool) -> None:
    """Print each change of a verdict, then rising costs; with ``whole`` also the first verdict."""
    changes = [each for case, seen in nights.items() for each in h.changes(case, seen) if whole or each.before is not None]
    changes.sort(key=lambda each: (-each.after.run, each.case))
    costs = [each for case, seen in nights.items() for each in h.costlier(case, seen)]
    if changes:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for name in ("run of", "case", "verdict", "subject", "signatures"):
            table.add_column(name, overflow="fold")
        for each in changes[:_MAX]:
            table.add_row(*_change(each))
        console.print(table)
        if len(changes) > _MAX:
            console.print(Text(f"and {len(changes) - _MAX:,} earlier changes", style=terminal_text.QUIET))
    for cost in costs:
        console.print(Text.assemble(terminal_text.safe(cost.case), ": ", (cost.what, "yellow")))
    for seen in nights.values() if whole else ():
        now = seen[-1]
        console.print(
            Text(f"last: {duration(now.cpu_ns / 1e9)} CPU per execution, {size(now.peak_bytes)}", style=terminal_text.QUIET)
        )
    counted = f"{plural(runs, 'run')}, {plural(len(nights), 'case')}, {plural(len(changes), 'change')}"
    console.print(Text(f"{counted}, {plural(len(costs), 'case')} more expensive than before"))


def _change(each: h.Change) -> Iterable[RenderableType]:
    before = f"{each.before.verdict} -> " if each.before else ""
    engine = visible(f"{each.after.subject} {each.after.version} ({each.after.sha256[:8]})", 80)
    if each.before is not None and each.before.sha256 != each.after.sha256:
        engine += f", before {visible(each.before.version, 40)} ({each.before.sha256[:8]})"
    verdict = Text.assemble((before, terminal_text.QUIET), terminal_text.verdict(each.after.verdict))
    return (
        terminal_text.safe(each.after.started[:16]),
        terminal_text.safe(each.case),
        verdict,
        Text(engine),
        terminal_text.safe(" ".join(each.after.signatures)),
    )


def between(diff: RunDiff, before: Report, after: Report, console: Console) -> None:
    """Print the differences of two runs."""
    sides = (
        f"{terminal_text.engine(each.subject)} ({each.subject.sha256[:12]}), {visible(each.started, 30)}"
        for each in (before, after)
    )
    console.print(Text(" -> ".join(sides)))
    for name, clusters, style in (
        ("appeared", diff.appeared, "bold red"), ("gone", diff.gone, "green"), ("changed", diff.changed, "yellow"),
    ):  # fmt: skip
        for each in clusters[:_MAX]:
            console.print(Text.assemble((f"{name}: ", style), terminal_text.safe(f"{each.signature} {each.what}"), _cases(each)))
        if len(clusters) > _MAX:
            console.print(Text(f"and {len(clusters) - _MAX:,} more {name}", style=terminal_text.QUIET))
    for case in diff.cases[:_MAX]:
        console.print(
            Text.assemble(
                terminal_text.safe(case.case),
                f": {visible(case.before or 'not run', 200)} -> {visible(case.after or 'not run', 200)}",
            )
        )
    if len(diff.cases) > _MAX:
        console.print(Text(f"and {len(diff.cases) - _MAX:,} more cases", style=terminal_text.QUIET))
    counts = ((diff.appeared, "appeared"), (diff.gone, "gone"), (diff.changed, "changed"), (diff.unchanged, "unchanged"))
    counted = ", ".join(f"{len(each)} {name}" for each, name in counts)
    console.print(Text(f"clusters: {counted}; cases: {len(diff.cases)} changed, {diff.same_cases} unchanged"))


def _cases(each: ClusterChange) -> str:
    if not each.before or not each.after:
        cases = each.before or each.after
        return (
            f", in {plural(len(cases), 'case')}: {', '.join(visible(case, 60) for case in cases[:4])}{' ...' if cases[4:] else ''}"
        )
    more, fewer = sorted(set(each.after) - set(each.before)), sorted(set(each.before) - set(each.after))
    signs = [f"+{visible(case, 60)}" for case in more[:4]] + [f"-{visible(case, 60)}" for case in fewer[:4]]
    return f", {', '.join(signs)}"


def entries(baseline: Baseline, console: Console) -> None:
    """Print the baseline's entries."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in ("signature", "what", "cases", "since", "issue, note"):
        table.add_column(name, overflow="fold")
    for key in sorted(baseline.entries):
        each = baseline.entries[key]
        marks = [f"fixed in {each.fixed.version or each.fixed.sha256[:12]}"] if each.fixed else []
        marks += ["flaky"] * each.flaky + ([f"expires {each.expires.isoformat()}"] if each.expires else [])
        said = ", ".join((*marks, *(part for part in (each.issue, each.note) if part)))
        since = f"{each.since.subject} {each.since.version} ({each.since.sha256[:8]})"
        table.add_row(*(terminal_text.safe(part, limit=300) for part in (key, each.what, f"{len(each.cases)}", since, said)))
    console.print(table)
    console.print(Text(plural(len(baseline.entries), "entry", "entries")))


def lives(baseline: BaselineReport, shown: AbstractSet[str] = frozenset()) -> Iterator[tuple[str, RenderableType]]:
    """The baseline's entries by state, each with a heading and a table, new ones first; known ones are counted.

    New and returned ones in ``shown`` are left out: they are printed elsewhere.
    """
    for state, heading, style in _SAID:
        found = tuple(each for each in baseline.of(state) if state not in ("new", "returned") or each.signature not in shown)
        if found:
            yield f"{plural(len(found), 'cluster')} {heading}", _standings(found, style)
    known = Counter(each.issue or "no issue" for each in baseline.of("known"))
    if known:
        said = ", ".join(f"{visible(issue, 80)}: {count}" for issue, count in known.most_common(_LIFE_MAX))
        yield f"{plural(known.total(), 'cluster')} known", Text(said, style=terminal_text.QUIET, overflow="fold")


def _standings(found: tuple[BaselineStatus, ...], style: str) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style=style, no_wrap=True)
    table.add_column(overflow="fold")
    for each in found[:_LIFE_MAX]:
        cases = f"{', '.join(visible(case, 60) for case in each.cases[:3])}{' ...' if each.cases[3:] else ''}"
        table.add_row(
            terminal_text.safe(each.signature),
            terminal_text.safe("; ".join(part for part in (each.why, each.note, each.issue, cases) if part), limit=400),
        )
    if len(found) > _LIFE_MAX:
        table.add_row("", Text(f"and {len(found) - _LIFE_MAX:,} more, in the report", style=terminal_text.QUIET))
    return table
