"""One case of a stored report: on a screen, or with ``verbose`` everything that the report has about it."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from diffcheck.observation import sentence
from diffcheck.report import terminal_text
from diffcheck.report.progress import notice
from diffcheck.report.tables import fitted
from diffcheck.text import duration, plural, size, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import Console, RenderableType

    from diffcheck.verdict import Allowance, CaseReport, Divergence, PassReport, Report, SideReport

_MAX_DIVERGENCES: Final = 200
_ON_A_SCREEN: Final = 4
_MAX_LOG: Final = 4000
_CHANGE: Final = re.compile(r"""Value of root\['(.*)'\]\['(.*)'\] changed from "?(.*?)"? to "?(.*?)"?\.""", re.DOTALL)
_VALIDITY: Final = "core specification 3.0, 3 (Validation) and 4.7.2 (Instantiation)"
_SECTIONS: Final = {
    "validity": _VALIDITY,
    "expectation": "",
    "instruction": "core specification 3.0, 4.3 (Numerics)",
    "global": "core specification 3.0, 4.6.6 (Variable Instructions)",
    "table": "core specification 3.0, 4.6.7 (Table Instructions)",
    "table size": "core specification 3.0, 4.6.7 (Table Instructions)",
    "memory": "core specification 3.0, 4.6.8 (Memory Instructions)",
    "memory size": "core specification 3.0, 4.6.8 (Memory Instructions)",
}
_INSTRUCTIONS: Final = "core specification 3.0, 4.6 (Instructions); `diffcheck localise` names the instruction"


def render(
    report: Report, case: CaseReport, console: Console, defaults: Mapping[str, str], *, where: str = "", verbose: bool = False
) -> None:  # fmt: skip
    """Print the case; ``defaults`` are the options' defaults, ``where`` the ``--reports`` option that commands need."""
    for block in _screen(report, case, console.width, verbose=verbose):
        console.print(block)
    if verbose:
        for block in _full(report, case, console.width):
            console.print()
            console.print(block)
    # One line however long, so that it can be copied.
    console.print(Text.assemble(("next   ", terminal_text.QUIET), _next(case, where)), soft_wrap=True)
    console.print(
        Text.assemble(("again  ", terminal_text.QUIET), terminal_text.rerun_command(report, case, dict(defaults))), soft_wrap=True
    )
    if not verbose:
        console.print(Text("in full with -v", style=terminal_text.QUIET))


def _screen(report: Report, case: CaseReport, width: int, *, verbose: bool) -> Iterator[RenderableType]:
    """The case on a screen: reason and section first, then the differences, then what limits the result."""
    yield _head(case)
    yield terminal_text.facts(_facts(report, case))
    found = [(each, one) for each in case.passes for one in each.divergences]
    if found:
        capsule = found[0][0].mode == "capsule" and found[0][1].kind != "expectation"
        yield _agreed_until(case, found[0][1]) if capsule else Text("")
        total = sum(max(each.divergences_total, len(each.divergences)) for each in case.passes)
        yield _divergences(report, case, [one for _, one in found], total, width, _MAX_DIVERGENCES if verbose else _ON_A_SCREEN)


def _head(case: CaseReport) -> Text:
    word = terminal_text.verdict(case.verdict)
    word.append(" (vacuous: no observable change)" if case.vacuous else "", terminal_text.QUIET)
    word.append(
        ", as expected" if case.as_expected else f", {case.expected} expected",
        terminal_text.QUIET if case.as_expected else "yellow",
    )
    return Text.assemble(terminal_text.safe(case.case, terminal_text.HEADING, 500), ": ", word)


def _facts(report: Report, case: CaseReport) -> Iterator[tuple[str, Text]]:
    yield "reason", terminal_text.sentence(case.reason)
    yield from (("known as", terminal_text.safe(line, limit=1000)) for line in case.findings)
    first = next((one for each in case.passes for one in each.divergences), None)
    if first is not None and first.kind != "expectation":  # there the reason has it
        yield "detail", terminal_text.safe(terminal_text.detail(first), limit=300)
    yield "section", terminal_text.safe(_section(case))
    yield "purpose", terminal_text.safe(case.purpose, limit=500)
    yield "engines", Text(f"subject {terminal_text.engine(report.subject)}, oracle {terminal_text.engine(report.oracle)}")
    signatures = dict.fromkeys(one for each in case.passes for one in each.signatures)
    yield plural(len(signatures), "signature").partition(" ")[2], terminal_text.safe(", ".join(islice(signatures, _ON_A_SCREEN)))
    yield "passes", Text("; ").join(_verdict(each) for each in case.passes)
    allowed = dict.fromkeys(f"{one.rule} ({one.section})" for each in case.passes for one in each.allowances)
    yield "allowed", terminal_text.safe("; ".join(islice(allowed, _ON_A_SCREEN)), limit=300)
    uses = dict.fromkeys(use for each in case.passes for use in each.stubs if use.kind != "functional")
    stubs = (f"{use.module}.{use.name} ({use.kind}): {plural(use.calls, 'call')}" for use in islice(uses, _ON_A_SCREEN))
    yield "stubbed", terminal_text.safe("; ".join(stubs), "yellow", 300)
    yield "not compared", terminal_text.safe("; ".join(case.left_out[:_ON_A_SCREEN]), limit=400)


def _verdict(each: PassReport) -> Text:
    if not each.applicable:
        return terminal_text.safe(f"{each.mode} not applicable: {each.why}", terminal_text.QUIET, 200)
    return Text.assemble(
        f"{each.mode} ", (terminal_text.VERBS[each.verdict][0], terminal_text.STYLES[each.verdict]), _vacuous(each)
    )


def _section(case: CaseReport) -> str:
    """Where the specification says what the first difference is about; empty if nothing differs or the findings name a section."""
    first = next((one for each in case.passes for one in each.divergences), None)
    if first is None or any("specification" in line for line in case.findings):
        return ""
    if "refused" in first.oracle or "refused" in first.subject:
        return _VALIDITY
    return _SECTIONS.get(first.kind, _INSTRUCTIONS)


def _next(case: CaseReport, where: str) -> str:
    differ = any(one.kind != "expectation" for each in case.passes for one in each.divergences)
    verb = "triage" if differ else "explain" if case.verdict == "agree" else "show -v"
    return f"diffcheck {verb} {terminal_text.quoted(case.case)}{where}"


def _full(report: Report, case: CaseReport, width: int) -> Iterator[RenderableType]:
    """Everything else that the report has about the case."""
    yield terminal_text.facts(
        (
            ("artifact", terminal_text.safe(case.artifact, limit=500)),
            ("sha256", terminal_text.safe(case.sha256)),
            ("plan", terminal_text.safe(case.plan)),
            ("subject", _identity(report.subject.found, terminal_text.engine(report.subject))),
            ("oracle", _identity(report.oracle.found, terminal_text.engine(report.oracle))),
            ("time", Text(f"{duration(case.elapsed_ns / 1e9)}, in the run of {visible(report.started, 40)}")),
            (plural(len(case.rows), "row"), terminal_text.safe(", ".join(case.rows), limit=2000)),
        )
    )
    for each in case.passes:
        yield Group(Rule(_title(each), align="left", style=terminal_text.QUIET), *_pass(report, each, width))
    if case.explanation:
        yield Group(Text("differences by value", style=terminal_text.HEADING), Padding(_explanation(report, case), (0, 0, 0, 2)))
    if case.not_done:
        yield _bullets("not compared", case.not_done)
    if report.notice:
        yield notice(report.notice)


def _explanation(report: Report, case: CaseReport) -> Text:
    """DeepDiff's text as ``row, item: wasmtime 1, kilnd 2``; lines of another form stay as they are."""
    oracle, subject = terminal_text.columns(report)

    def line(match: re.Match[str]) -> str:
        row, item, one, other = match.groups()
        return f"{row}, {item}: {oracle} {one}, {subject} {other}"

    return _lines(_CHANGE.sub(line, case.explanation))


def _identity(found: str, name: str) -> Text:
    return Text.assemble(name, terminal_text.safe(f" (found: {found})" if found else "", terminal_text.QUIET))


def _title(each: PassReport) -> Text:
    title = Text(f"{each.mode} pass: ", style=terminal_text.HEADING)
    return title.append_text(
        terminal_text.verdict(each.verdict) if each.applicable else Text("not applicable", style=terminal_text.QUIET)
    )


def _pass(report: Report, each: PassReport, width: int) -> Iterator[RenderableType]:
    if not each.applicable:
        yield terminal_text.safe(each.why, limit=1000)
        return
    if each.reason:
        yield terminal_text.sentence(each.reason)
    if each.oracle is not None and each.subject is not None:
        yield _sides(report, each.oracle, each.subject, width)
    yield Text.assemble(("compared: ", terminal_text.QUIET), terminal_text.compared(each.agreement), _vacuous(each))
    if each.agreement.not_compared:
        yield _bullets("not compared", each.agreement.not_compared)
    if each.mcdc:
        yield _bullets(f"MC/DC: {terminal_text.impact(each.mcdc)}", map(terminal_text.conclusion, each.mcdc[:_MAX_DIVERGENCES]))
    if each.allowances:
        yield _bullets("allowed by the specification", map(_allowance, each.allowances))
    if each.stubs:
        uses = (f"{use.module}.{use.name} ({use.kind}): {plural(use.calls, 'call')}" for use in each.stubs)
        yield _bullets("stubbed imports were called", uses)
    for printed in each.printed:
        cut = f", the first {len(printed.text):,} characters" if printed.total > len(printed.text.encode()) else ""
        heading = f"{printed.stream} of {visible(printed.row)} ({plural(printed.total, 'byte')}{cut})"
        yield Group(Text(heading, style=terminal_text.HEADING), Padding(_lines(printed.text), (0, 0, 0, 2)))
    yield from _logs(report, each)


def _agreed_until(case: CaseReport, first: Divergence) -> Text:
    """How far the engines agreed before the first difference; of rows of one name the first counts."""
    row = first.where.row
    if not row and first.kind in ("stream", "outcome"):
        text = "not known: the subject has no complete answer"
    elif not row:
        text = "in all rows, not in the state after them" if case.rows else "nowhere"
    elif row not in case.rows or not case.rows.index(row):
        text = "nowhere: the first row differs"
    else:
        at = case.rows.index(row)
        text = f"row {at} of {len(case.rows)}, {visible(case.rows[at - 1])}; row {visible(row)} differs"
    return Text.assemble(("agreed until: ", terminal_text.QUIET), text)


def _vacuous(each: PassReport) -> str:
    return "; vacuous: no observable change" if each.vacuous else ""


def _sides(report: Report, oracle: SideReport, subject: SideReport, width: int) -> RenderableType:
    labels = ("outcome", "time", "memory", "executions", "digest")
    rows = [
        (Text(label, terminal_text.QUIET), terminal_text.safe(one, limit=600), terminal_text.safe(other, limit=600))
        for label, one, other in zip(labels, _column(oracle), _column(subject), strict=True)
    ]
    return fitted([("", ""), *((name, "") for name in terminal_text.columns(report))], rows, width, lines=False)


def _column(side: SideReport) -> tuple[str, ...]:
    cost = side.cost
    return (
        side.words or sentence(side.outcome),
        f"{duration(cost.elapsed_ns / 1e9)} ({duration(cost.cpu_ns / 1e9)} CPU)",
        size(cost.peak_bytes) if cost.peak_bytes else "-",
        f"{cost.executions:,}",
        side.digest or "-",
    )


def _divergences(
    report: Report, case: CaseReport, found: Sequence[Divergence], total: int, width: int, most: int
) -> RenderableType:  # fmt: skip
    """The first ``most`` differences in the order of the case's rows, the state after them last."""
    order = {row: at for at, row in reversed(list(enumerate(case.rows)))}
    ordered = sorted(dict.fromkeys(found), key=lambda one: order.get(one.where.row, len(order)))
    oracle, subject = terminal_text.columns(report)
    full = most == _MAX_DIVERGENCES
    rows = []
    for one in ordered[:most]:
        left, right = terminal_text.side_by_side(one.oracle, one.subject, 400 if full else 120)
        where = _where(one) if full else terminal_text.safe(", ".join(terminal_text.place(one.where)) or one.kind, limit=120)
        rows.append((terminal_text.safe(one.where.row or "-"), where, Text(left), Text(right)))
    more = total - len(rows)
    heading = Text(f"{plural(total, 'difference')}, earliest row first", style=terminal_text.HEADING)
    rest = [Text(f"and {plural(more, 'more difference')}, with -v", style=terminal_text.QUIET)] if more > 0 else []
    return Group(heading, fitted((("row", ""), ("where", ""), (oracle, "green"), (subject, "red")), rows, width, lines=full), *rest)


def _where(one: Divergence) -> Text:
    lines = [terminal_text.safe(part, limit=300) for part in terminal_text.place(one.where)]
    if not one.where.item.startswith(one.kind):
        lines.insert(0, Text(one.kind))
    if detail := terminal_text.detail(one):
        lines.append(terminal_text.safe(detail, terminal_text.QUIET, 600))
    if one.signature:
        lines.append(terminal_text.safe(f"signature {one.signature}", terminal_text.QUIET))
    return Text("\n").join(lines)


def _allowance(one: Allowance) -> str:
    where = ", ".join(part for part in (one.where.row, *terminal_text.place(one.where)) if part)
    values = f": {one.oracle} and {one.subject}" if one.oracle or one.subject else ""
    times = f" ({terminal_text.times(one.count, 'time', at_least=one.at_least)})" if one.count > 1 or one.at_least else ""
    section = f" ({one.section})" if one.section else ""
    return f"{one.rule}{section}" + (f" at {where}" if where else "") + values + times


def _bullets(heading: str, lines: Iterable[str]) -> Group:
    return Group(
        Text(heading, style=terminal_text.HEADING),
        *(
            Padding(Text.assemble(("- ", terminal_text.QUIET), terminal_text.safe(line, limit=1000)), (0, 0, 0, 2))
            for line in lines
        ),
    )


def _lines(text: str) -> Text:
    return Text("\n").join(terminal_text.safe(line, limit=1000) for line in text[: _MAX_LOG * 4].splitlines())


def _logs(report: Report, each: PassReport) -> Iterator[RenderableType]:
    for name, side in zip(terminal_text.columns(report), (each.oracle, each.subject), strict=True):
        if side is not None and side.log:
            heading = Text(f"output of {name}", style=terminal_text.HEADING)
            yield Group(heading, Padding(_lines(side.log[:_MAX_LOG]), (0, 0, 0, 2)))
