"""One case in full, from a stored report."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from diffcheck.errors import ReportError
from diffcheck.observation import sentence
from diffcheck.report import styles
from diffcheck.report.progress import notice
from diffcheck.text import duration, plural, size, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console, RenderableType

    from diffcheck.verdict import Allowance, CaseReport, Divergence, PassReport, Report, SideReport

_MAX_DIVERGENCES: Final = 200
_MAX_LOG: Final = 4000


def find(report: Report, name: str) -> CaseReport:
    """The case of that name, or the only one that has ``name`` as a part of its own; raises ``ReportError``."""
    exact = [case for case in report.cases if name in (case.case, visible(case.case))]
    if exact:
        return exact[0]
    parts = [case for case in report.cases if name in case.case or name in visible(case.case)]
    if len(parts) == 1:
        return parts[0]
    near = [case.case for case in parts] or difflib.get_close_matches(name, [case.case for case in report.cases], 5, 0.4)
    some = ", ".join(visible(each, 80) for each in (near or [case.case for case in report.cases])[:8])
    hint = f"{'near it are' if near else 'there are'} {some}" if some else "the report has no cases"
    what = f"{len(parts)} cases have {visible(name)!r} in their name" if parts else f"the report has no case {visible(name)!r}"
    raise ReportError(what, hint=hint)


def render(report: Report, case: CaseReport, console: Console, defaults: dict[str, str]) -> None:
    """Print the case; ``defaults`` are the options' defaults, so that only others stand in the command to run it again."""
    for block in blocks(report, case, console.width):
        console.print(block)
        console.print()
    # One line however long, so that it can be copied.
    console.print(Text.assemble(("run it again: ", styles.QUIET), styles.again(report, case, defaults)), soft_wrap=True)


def blocks(report: Report, case: CaseReport, width: int) -> Iterator[RenderableType]:
    """The parts of the case's page, in order."""
    yield _head(report, case)
    for each in case.passes:
        yield Group(Rule(_title(each), align="left", style=styles.QUIET), *_pass(report, case, each, width))
    if case.explanation:
        yield Group(Text("explanation", style=styles.HEADING), Padding(_lines(case.explanation), (0, 0, 0, 2)))
    if case.findings:
        yield _bullets("what the case file knows of it", case.findings)
    if case.not_done:
        yield _bullets("not done", case.not_done)
    if report.notice:
        yield notice(report.notice)


def _head(report: Report, case: CaseReport) -> Group:
    said = styles.verdict(case.verdict)
    said.append(" (vacuous: nothing changed that could differ)" if case.vacuous else "", styles.QUIET)
    said.append("" if case.as_expected else f", {case.expected} was expected", "yellow")
    facts = [
        ("purpose", styles.safe(case.purpose, limit=500)),
        ("verdict", said),
        ("reason", styles.sentence(case.reason)),
        ("artifact", styles.safe(case.artifact, limit=500)),
        ("sha256", styles.safe(case.sha256)),
        ("plan", styles.safe(case.plan)),
        ("subject", _identity(report.subject.found, styles.engine(report.subject))),
        ("oracle", _identity(report.oracle.found, styles.engine(report.oracle))),
        ("took", Text(f"{duration(case.elapsed_ns / 1e9)}, in the run of {visible(report.started, 40)}")),
        (f"{plural(len(case.rows), 'row')}", styles.safe(", ".join(case.rows), limit=2000)),
    ]
    return Group(styles.safe(case.case, styles.HEADING, 500), styles.facts(facts))


def _identity(found: str, name: str) -> Text:
    return Text.assemble(name, styles.safe(f" (found: {found})" if found else "", styles.QUIET))


def _title(each: PassReport) -> Text:
    title = Text(f"{each.mode} pass: ", style=styles.HEADING)
    return title.append_text(styles.verdict(each.verdict) if each.applicable else Text("not applicable", style=styles.QUIET))


def _pass(report: Report, case: CaseReport, each: PassReport, width: int) -> Iterator[RenderableType]:
    if not each.applicable:
        yield styles.safe(each.why, limit=1000)
        return
    if each.reason:
        yield styles.sentence(each.reason)
    if each.oracle is not None and each.subject is not None:
        yield _sides(report, each.oracle, each.subject)
    yield Text.assemble(("compared: ", styles.QUIET), styles.compared(each.agreement), _vacuous(each))
    if each.agreement.not_compared:
        yield _bullets("not compared", each.agreement.not_compared)
    if each.divergences:
        if each.mode == "capsule":
            yield _agreed_until(case, each.divergences[0].where.row)
        yield _divergences(report, each, width)
    if each.mcdc:
        yield _bullets(f"MC/DC: {styles.impact(each.mcdc)}", map(styles.conclusion, each.mcdc[:_MAX_DIVERGENCES]))
    if each.allowances:
        yield _bullets("let pass, because the specification leaves it open", map(_allowance, each.allowances))
    if each.stubs:
        uses = (f"{use.module}.{use.name} ({use.kind}): {plural(use.calls, 'call')}" for use in each.stubs)
        yield _bullets("imports that were called, answered by stubs", uses)
    for printed in each.printed:
        cut = f", the first {len(printed.text):,} characters" if printed.total > len(printed.text.encode()) else ""
        heading = f"{printed.stream} of {visible(printed.row)} ({plural(printed.total, 'byte')}{cut})"
        yield Group(Text(heading, style=styles.HEADING), Padding(_lines(printed.text), (0, 0, 0, 2)))
    yield from _logs(report, each)


def _agreed_until(case: CaseReport, row: str) -> Text:
    """How far the engines agreed before the first difference; rows of one name are told by the first of them."""
    if not row:
        text = "in all rows, not in the state after them" if case.rows else "nowhere"
    elif row not in case.rows or not case.rows.index(row):
        text = "nowhere: the first row differs"
    else:
        at = case.rows.index(row)
        text = f"row {at} of {len(case.rows)}, {visible(case.rows[at - 1])}; row {visible(row)} differs"
    return Text.assemble(("agreed until: ", styles.QUIET), text)


def _vacuous(each: PassReport) -> str:
    return "; vacuous: nothing changed that could differ" if each.vacuous else ""


def _sides(report: Report, oracle: SideReport, subject: SideReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", expand=True)
    table.add_column("", style=styles.QUIET, no_wrap=True)
    for name in styles.columns(report):
        table.add_column(Text(name), overflow="fold", ratio=1)
    for label, *values in zip(
        ("outcome", "time", "memory", "executions", "digest"), _column(oracle), _column(subject), strict=True
    ):
        table.add_row(label, *(styles.safe(value, limit=600) for value in values))
    return table


def _column(side: SideReport) -> tuple[str, ...]:
    cost = side.cost
    return (
        side.words or sentence(side.outcome),
        f"{duration(cost.elapsed_ns / 1e9)} ({duration(cost.cpu_ns / 1e9)} CPU)",
        size(cost.peak_bytes) if cost.peak_bytes else "-",
        f"{cost.executions:,}",
        side.digest or "-",
    )


def _divergences(report: Report, each: PassReport, width: int) -> RenderableType:
    total = max(each.divergences_total, len(each.divergences))
    heading = Text(f"{plural(total, 'difference')}, the earliest first", style=styles.HEADING)
    oracle, subject = styles.columns(report)
    if width < styles.NARROW:
        return Group(heading, *(_stacked(one, oracle, subject) for one in each.divergences[:_MAX_DIVERGENCES]))
    table = Table(box=box.ROUNDED, show_lines=True, expand=True, border_style=styles.QUIET, header_style="bold")
    table.add_column("row", ratio=4, overflow="fold")
    table.add_column("where", ratio=6, overflow="fold")
    table.add_column(Text(oracle), ratio=5, overflow="fold", style="green")
    table.add_column(Text(subject), ratio=5, overflow="fold", style="red")
    for one in each.divergences[:_MAX_DIVERGENCES]:
        left, right = styles.side_by_side(one.oracle, one.subject, 400)
        table.add_row(styles.safe(one.where.row or "-"), _where(one), Text(left), Text(right))
    rest = total - min(len(each.divergences), _MAX_DIVERGENCES)
    more = [Text(f"and {plural(rest, 'more difference')}", style=styles.QUIET)] if rest else []
    return Group(heading, table, *more)


def _where(one: Divergence) -> Text:
    lines = [styles.safe(part, limit=300) for part in styles.place(one.where)]
    if not one.where.item.startswith(one.kind):
        lines.insert(0, Text(one.kind))
    if detail := styles.detail(one):
        lines.append(styles.safe(detail, styles.QUIET, 600))
    if one.signature:
        lines.append(styles.safe(f"signature {one.signature}", styles.QUIET))
    return Text("\n").join(lines)


def _stacked(one: Divergence, oracle: str, subject: str) -> Text:
    left, right = styles.side_by_side(one.oracle, one.subject, 400)
    where = Text(", ").join(_where(one).split("\n"))
    return Text.assemble(
        ("row: ", styles.QUIET), styles.safe(one.where.row or "-"), ("\nwhere: ", styles.QUIET), where,
        (f"\n{oracle}: ", styles.QUIET), (left, "green"), (f"\n{subject}: ", styles.QUIET), (right, "red"), "\n",
    )  # fmt: skip


def _allowance(one: Allowance) -> str:
    where = ", ".join(part for part in (one.where.row, *styles.place(one.where)) if part)
    values = f": {one.oracle} and {one.subject}" if one.oracle or one.subject else ""
    times = f" ({styles.times(one.count, 'time', at_least=one.at_least)})" if one.count > 1 or one.at_least else ""
    section = f" ({one.section})" if one.section else ""
    return f"{one.rule}{section}" + (f" at {where}" if where else "") + values + times


def _bullets(heading: str, lines: Iterable[str]) -> Group:
    return Group(
        Text(heading, style=styles.HEADING),
        *(Padding(Text.assemble(("- ", styles.QUIET), styles.safe(line, limit=1000)), (0, 0, 0, 2)) for line in lines),
    )


def _lines(text: str) -> Text:
    return Text("\n").join(styles.safe(line, limit=1000) for line in text[: _MAX_LOG * 4].splitlines())


def _logs(report: Report, each: PassReport) -> Iterator[RenderableType]:
    for name, side in zip(styles.columns(report), (each.oracle, each.subject), strict=True):
        if side is not None and side.log:
            heading = Text(f"what {name} printed", style=styles.HEADING)
            yield Group(heading, Padding(_lines(side.log[:_MAX_LOG]), (0, 0, 0, 2)))
