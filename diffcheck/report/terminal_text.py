"""Text for a terminal: safe strings, colours of verdicts, values side by side.

Nothing here or in the console modules builds markup: names come from artifacts and engines, so each is a ``Text``.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from bisect import bisect_left
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from diffcheck.text import plural, visible, visible_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import ConsoleOptions

    from diffcheck.observation import Identity
    from diffcheck.verdict import Agreement, CaseReport, Divergence, McdcImpact, Report, Where

STYLES: Final = {
    "agree": "green",
    "diverge": "bold red",
    "known": "cyan",
    "oracle": "cyan",
    "flaky": "magenta",
    "inconclusive": "yellow",
    "skipped": "dim",
}
VERBS: Final = {
    "agree": ("agrees", "agree"),
    "diverge": ("diverges", "diverge"),
    "known": ("is known", "are known"),
    "oracle": ("is the oracle's fault", "are the oracle's fault"),
    "flaky": ("is flaky", "are flaky"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "skipped": ("was skipped", "were skipped"),
}
_NAME_PART: Final = re.compile(r"[^-.\]/#]*(?:[-.\]/#]+|\Z)")
HEADING: Final = "bold"
QUIET: Final = "dim"
COLUMNS_WITHOUT_TERMINAL: Final = 120
NARROW: Final = 72


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """Raise instead of exiting with 1, which would mean that something diverged."""
        raise BrokenPipeError


def console(file: TextIO | None = None, *, stderr: bool = False) -> Console:
    """A console on stdout or stderr that reads no markup; 120 columns wide where there is neither a terminal nor COLUMNS."""
    stream = file or (sys.stderr if stderr else sys.stdout)
    width = None if stream.isatty() or os.environ.get("COLUMNS") else COLUMNS_WITHOUT_TERMINAL
    return _Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def safe(value: object, style: str = "", limit: int = 200) -> Text:
    """A string as rich text: unprintable characters are escaped, and markup has no effect."""
    return Text(visible(str(value), limit), style=style, overflow="fold")


class Name:
    """A long name for a narrow column, broken after a dot, hyphen, slash or bracket, and elsewhere only if necessary."""

    def __init__(self, name: str, style: str = "", indent: int = 0) -> None:
        self._parts = _NAME_PART.findall(visible(name))
        self._style, self._indent = style, " " * indent

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The name's lines, each with the indent."""
        room = max(1, options.max_width - len(self._indent))
        lines = [""]
        for part in self._parts:
            if lines[-1] and cell_len(lines[-1] + part) > room:
                lines.append("")
            lines[-1] += part
        yield Text("\n".join(self._indent + line for line in lines), style=self._style, overflow="fold")

    def __rich_measure__(self, _console: Console, options: ConsoleOptions) -> Measurement:
        """From the longest part to the whole."""
        lengths = [cell_len(part) for part in self._parts] or [0]
        indent = len(self._indent)
        return Measurement(min(max(lengths) + indent, options.max_width), min(sum(lengths) + indent, options.max_width))


def sentence(value: str, limit: int = 1000) -> Text:
    """A reason as rich text that keeps its line breaks, such as those of an error in a program's text."""
    return Text(visible_lines(value, limit), overflow="fold")


def verdict(word: str, width: int = 0) -> Text:
    """A verdict in its colour, padded."""
    return Text(word.ljust(width), style=STYLES.get(word, ""))


def engine(identity: Identity) -> str:
    """An engine's name and version: ``kilnd 0.4.4``."""
    return visible(" ".join(part for part in (identity.name, identity.version) if part), 80) or "?"


def columns(report: Report) -> tuple[str, str]:
    """The headers of the columns with the oracle's and the subject's values."""
    oracle, subject = visible(report.oracle.name, 24) or "oracle", visible(report.subject.name, 24) or "subject"
    return (oracle, subject) if oracle != subject else (f"{oracle} (oracle)", f"{subject} (subject)")


def place(where: Where) -> list[str]:
    """The place of a difference, one part per line: item, function and branch kind, source line."""
    code = " ".join(part for part in (where.function, where.branch) if part)
    source = f"{where.file}:{where.line}" if where.file and where.line is not None else where.file
    return [part for part in (where.item, code, source) if part]


def detail(divergence: Divergence) -> str:
    """What the judges give, the detail of a difference, and the form of the program if it is not the plain one."""
    judged = str(divergence.judgement or "")
    form = "legal choices made equal" if divergence.form != "plain" else ""
    return "; ".join(filter(None, (judged, ", ".join(part for part in (divergence.detail, form) if part))))


def times(count: int, noun: str, *, at_least: bool) -> str:
    """A count with its noun: ``3 times``, or ``at least 3 times``."""
    return f"{'at least ' * at_least}{plural(count, noun)}"


def side_by_side(oracle: str, subject: str, limit: int) -> tuple[str, str]:
    """Two values, cut to ``limit`` characters each around the first place where they differ."""
    oracle, subject = oracle[: 1 << 16], subject[: 1 << 16]
    if max(len(oracle), len(subject)) <= limit:
        return visible(oracle, limit * 4), visible(subject, limit * 4)
    shorter = min(len(oracle), len(subject))
    common = bisect_left(range(1, shorter + 1), True, key=lambda length: oracle[:length] != subject[:length])
    begin = max(0, common - limit // 3)

    def part(text: str) -> str:
        head = "…" if begin else ""
        tail = "…" if len(text) > begin + limit else ""
        return visible(head + text[begin : begin + limit - len(head) - len(tail)] + tail, limit * 4)

    return part(oracle), part(subject)


def facts(lines: Iterable[tuple[str, Text]]) -> Table:
    """Labels with their values, without empty ones."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style=QUIET, no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in lines:
        if value:
            table.add_row(label, value)
    return table


def modes(case: CaseReport) -> list[Text]:
    """The verdict of each pass that applies: ``capsule agrees``, ``direct diverges``."""
    return [
        Text.assemble(
            (f"{each.mode} ", QUIET),
            (VERBS[each.verdict][0], STYLES[each.verdict]) if each.applicable else ("not applicable", QUIET),
        )
        for each in case.passes
        if each.applicable
    ] or [Text("no pass applicable", style=QUIET)]


def compared(agreement: Agreement) -> str:
    """How much was compared: ``3 counters (2 not zero), 9 values (4 not zero), 2 rows, 1 memory page``."""
    return (
        f"{plural(agreement.counters, 'counter')} ({agreement.counters_nonzero:,} not zero), "
        f"{plural(agreement.values, 'value')} ({agreement.values_nonzero:,} not zero), "
        f"{plural(agreement.rows, 'row')}, {plural(agreement.pages, 'memory page')}"
    )


def cached(cases: Sequence[CaseReport]) -> str:
    """How many results came from the execution cache, in one phrase; empty if none did."""
    counts = [sum(role in case.cached for case in cases) for role in ("subject", "oracle")]
    total = len(cases)
    return f"{counts[0]:,} of {total:,} subject results and {counts[1]:,} oracle results from the cache" if any(counts) else ""


def rerun_command(report: Report, case: CaseReport, defaults: dict[str, str]) -> str:
    """The command that reruns a case, with the options of the run that are not the default."""
    words = ["diffcheck", "run", case.artifact]
    for name, value in report.options.items():
        if name in ("only", "last-failed", "shard") or name not in defaults:
            continue
        chosen = report.subject.name if name == "subject" and value == "auto" else value
        if name == "rows":
            words += [word for row in shlex.split(value) if row != "declared" for word in ("--rows", row)]
        elif chosen != defaults[name]:
            words += [f"--{name}"] if chosen == "true" else [f"--{name}", chosen]
    return visible(shlex.join(words), 2000)


def quoted(name: str) -> str:
    """A name quoted for a shell; unprintable characters are escaped."""
    return visible(shlex.quote(name), 120)


def impact(found: Sequence[McdcImpact]) -> str:
    """The numbers of MC/DC conclusions that differ, in one phrase."""
    decisions = len({each.decision for each in found})
    lost = sum(each.oracle == "proved" for each in found)
    won = sum(each.subject == "proved" for each in found)
    parts = [plural(count, what, many) for count, what, many in (
        (lost, "condition is not proved under the subject", "conditions are not proved under the subject"),
        (won, "condition is proved under the subject alone", "conditions are proved under the subject alone"),
        (len(found) - lost - won, "condition differs otherwise", "conditions differ otherwise"),
    ) if count]  # fmt: skip
    return f"{', '.join(parts)}, in {plural(decisions, 'decision')}"


def conclusion(one: McdcImpact) -> str:
    """One condition, its place, and its conclusion under each engine."""
    place = f"{one.file}:{one.line}, " if one.file and one.line is not None else ""
    where = f"{place}decision {one.decision}, condition {one.condition} (branch {one.branch})"
    return f"{where}: {one.oracle} under the oracle, {one.subject} under the subject"
