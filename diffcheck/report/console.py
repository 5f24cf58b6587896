"""A run's report for a person at a terminal: what diverged, what is open, what was let pass, and what to do next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from diffcheck.config import option_table
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE
from diffcheck.report import styles, trends
from diffcheck.report.model import Cluster, agreement, clusters, conclusion
from diffcheck.report.progress import notice
from diffcheck.report.summary import allowances, left_out, needs_attention, news, standings
from diffcheck.text import duration, plural, visible
from diffcheck.verdict import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, RenderableType

    from diffcheck.report.summary import Tally
    from diffcheck.verdict import BaselineStatus, CaseReport, Cause, Report

_MAX_CLUSTERS: Final = 25
_MAX_CASES: Final = 40
_OUTCOME: Final = 300  # how a run ended is a sentence, and its end says why
_MAX_NAMES: Final = 4
_MAX_LINES: Final = 8


def render(report: Report, console: Console, *, stored: str = "", page: str = "") -> None:
    """Print all that is to be said of a run; ``stored`` and ``page`` are where ``report.json`` and the HTML page stand."""
    for block in blocks(report, console.width, stored, page):
        console.print(block)
        console.print()


def blocks(report: Report, width: int, stored: str, page: str = "") -> Iterator[RenderableType]:
    """The parts of the console's report, in order."""
    found, _ = news(report, clusters(report))
    if report.baseline is not None:
        for heading, body in trends.lives(report.baseline, {each.signature for each in found[:_MAX_CLUSTERS]}):
            yield Group(Text(heading, style=styles.HEADING), body)
    if found:
        yield _diverged(report, found, width)
    if report.causes:
        yield _list("causes: the instruction that goes wrong, and where it does so first", map(_cause, report.causes))
    waiting = needs_attention(report)
    if waiting:
        yield _open(waiting, width)
    if report.engine_findings:
        yield _list(
            f"engine findings: what is true of {styles.engine(report.subject)} whatever it runs",
            (_finding(each.name, each.what, each.section) for each in report.engine_findings),
        )
    let_pass = allowances(report)
    if let_pass:
        yield _list("let pass, because the specification leaves it open", map(_allowance, let_pass))
    stubs = _stubs(report)
    if stubs:
        yield _list("imports that were called, answered by stubs: what was compared rests on them", stubs)
    undone = left_out(report)
    if undone:
        yield _list("not done", (_counted(each.what, each.cases) for each in undone))
    if report.notice:
        yield notice(report.notice)
    yield summary(report, found, stored, page)


def _cause(each: Cause) -> Text:
    more = f"; and {plural(len(each.places) - 1, 'more cluster')}" if len(each.places) > 1 else ""
    signatures = ", ".join(visible(one, 20) for one in each.signatures[:_MAX_NAMES])
    return Text(f"{visible(each.name, 200)} ({signatures}): {visible(each.places[0], 400)}{more}")


def summary(report: Report, found: tuple[Cluster, ...], stored: str, page: str = "") -> Group:
    """The last lines: counts, how much was compared, both modes, where the report is, what to do next."""
    code, why = conclusion(report)
    facts = (
        ("compared", Text(styles.compared(agreement(report)))),
        ("capsule", Text(_mode(report, "capsule"))),
        ("direct", Text(_mode(report, "direct"))),
        ("engines", Text(_engines(report))),
        *([("cache", Text(known))] if (known := styles.cached(report.cases)) else []),
        ("report", styles.safe(stored, limit=2000)),
        ("page", styles.safe(page, limit=2000)),
        ("next", Text(_next(report, found, stored))),
        ("exit code", Text(f"{code}, {why}", "green" if code == EXIT_AGREE else "bold red" if code == EXIT_DIVERGE else "yellow")),
    )
    return Group(_totals(report), styles.facts(facts))


def _totals(report: Report) -> Text:
    counts = report.totals
    text = Text(f"{plural(counts['cases'], 'case')}: ", style=styles.HEADING)
    for word in VERDICTS:
        count = counts[word]
        if count or word in ("agree", "diverge"):
            text.append(f"{count:,} {styles.VERBS[word][count != 1]}", styles.STYLES[word] if count else styles.QUIET)
            if word == "agree" and counts["vacuous"]:
                text.append(f" ({counts['vacuous']:,} vacuous: nothing changed that could differ)", styles.QUIET)
            text.append(", ")
    text.right_crop(2)
    text.append(f"; in {duration(report.elapsed_ns / 1e9)}")
    if report.interrupted:
        how = "ended by an error" if report.error else "interrupted"
        text.append(f"; {how}, what was finished is reported", "yellow")
    return text


def _mode(report: Report, mode: str) -> str:
    """What the passes of one mode said, and why those that are not applicable are not."""
    passes = [each for case in report.cases for each in case.passes if each.mode == mode]
    counts = Counter(each.verdict for each in passes if each.applicable)
    parts = [f"{counts[word]:,} {styles.VERBS[word][counts[word] != 1]}" for word in VERDICTS if counts[word]]
    why_not = Counter(each.why for each in passes if not each.applicable)
    if why_not:
        reasons = ", ".join(visible(" ".join(why.split()), 300) for why, _ in why_not.most_common(2))
        more = ", ..." if len(why_not) > 2 else ""  # noqa: PLR2004 - as many as are named
        parts.append(f"{sum(why_not.values()):,} not applicable ({reasons}{more})")
    return ", ".join(parts)


def _engines(report: Report) -> str:
    sides = ((report.subject, "subject"), (report.oracle, "oracle"))
    return ", ".join(
        f"{styles.engine(identity)} is the {role}" + (f" ({visible(identity.found, 60)})" if identity.found else "")
        for identity, role in sides
    )


def _next(report: Report, found: tuple[Cluster, ...], stored: str) -> str:
    """One command that goes on from here."""
    case = found[0].members[0].case if found else next(iter(needs_attention(report)), None)
    name = styles.quoted((case or report.cases[0]).case) if report.cases else ""
    folder = Path(stored).parent
    where = (
        "" if not stored or str(folder) == option_table.BY_NAME["reports"].default else f" --reports {styles.quoted(str(folder))}"
    )
    return f"diffcheck show {name}{where}   (one case in full)" if report.cases else ""


# What diverged.


def _diverged(report: Report, found: tuple[Cluster, ...], width: int) -> RenderableType:
    names = len({member.case.case for cluster in found for member in cluster.members})
    new = " not known" if report.baseline is not None and report.baseline.file else ""
    counted = plural(len(found), f"difference{new}", f"differences{new}")
    heading = f"{counted} in {plural(names, 'case')}, each shown once at its earliest place"
    shown = found[:_MAX_CLUSTERS]
    body = _stacked(report, shown) if width < styles.NARROW else _table(report, shown, width)
    rest = len(found) - len(shown)
    parts: list[RenderableType] = [Text(heading, style=styles.HEADING), body]
    if rest:
        parts.append(Text(f"and {plural(rest, 'more difference')}, in the report", style=styles.QUIET))
    return Group(*parts)


def _table(report: Report, found: Iterable[Cluster], width: int) -> Table:
    oracle, subject = styles.columns(report)
    table = Table(box=box.ROUNDED, show_lines=True, expand=True, border_style=styles.QUIET, header_style="bold")
    table.add_column("case", ratio=8, overflow="fold")
    table.add_column("row", ratio=4, overflow="fold")
    table.add_column("where", ratio=6, overflow="fold")
    table.add_column(Text(oracle), ratio=4, overflow="fold", style="green")
    table.add_column(Text(subject), ratio=4, overflow="fold", style="red")
    value_limit = max(60, width // 2)
    told = standings(report)
    for cluster in found:
        first = cluster.members[0].first
        left, right = styles.side_by_side(first.oracle, first.subject, _OUTCOME if first.kind == "outcome" else value_limit)
        where = _where(cluster, told.get(cluster.signature))
        table.add_row(
            _cases(cluster, width * 8 // 28), styles.safe(first.where.row or "-", limit=80), where, Text(left), Text(right)
        )
    return table


def _stacked(report: Report, found: Iterable[Cluster]) -> Text:
    """The same for a terminal too narrow for columns."""
    oracle, subject = styles.columns(report)
    text = Text()
    told = standings(report)
    for cluster in found:
        first = cluster.members[0].first
        left, right = styles.side_by_side(first.oracle, first.subject, _OUTCOME if first.kind == "outcome" else 60)
        for label, value in (
            ("case", _cases(cluster)),
            ("row", styles.safe(first.where.row or "-", limit=80)),
            ("where", _where(cluster, told.get(cluster.signature))),
            (oracle, Text(left, style="green")),
            (subject, Text(right, style="red")),
        ):
            text.append(f"{label}: ", styles.QUIET).append_text(_joined(value)).append("\n")
        text.append("\n")
    text.right_crop(2)
    return text


def _joined(value: Text) -> Text:
    return Text(", ").join(value.split("\n"))


def _cases(cluster: Cluster, room: int = 80) -> Text:
    """The cases' names; where one has no room in a line its folders stand on one of their own."""
    lines = [_name(member.case.case, room) for member in cluster.members[:_MAX_NAMES]]
    rest = len(cluster.members) - len(lines)
    if rest:
        lines.append(Text(f"and {plural(rest, 'more case')}", style=styles.QUIET))
    if len(cluster.members) == 1:
        told = styles.modes(cluster.members[0].case)
    else:
        seen = dict.fromkeys(mode for member in cluster.members for mode in member.modes)
        told = [Text(f"in {' and '.join(seen)}", style=styles.QUIET)]
    if all(member.case.expected == "diverge" for member in cluster.members):
        told.append(Text("expected", style=styles.QUIET))
    return Text("\n").join([*lines, Text(", ").join(told)])


def _name(case: str, room: int) -> Text:
    folder, slash, name = case.rpartition("/")
    if len(case) <= room or not slash:
        return styles.safe(case, limit=80)
    return Text("\n").join((styles.safe(folder + slash, limit=80), styles.safe(name, limit=80)))


def _where(cluster: Cluster, standing: BaselineStatus | None) -> Text:
    first = cluster.members[0].first
    where = first.where
    if where.row and not where.branch and where.function == where.row.partition("=")[0]:
        where = msgspec.structs.replace(where, function="")  # the row says it already
    lines = [styles.safe(part, limit=120) for part in styles.place(where)] or [Text("-")]
    if not first.where.item.startswith(first.kind):
        lines.insert(0, Text(first.kind))
    if detail := styles.detail(first):
        lines.append(styles.safe(detail, styles.QUIET, 120))
    if standing is not None:
        lines.append(Text.assemble((standing.state, "bold"), ", ", styles.safe(f"signature {standing.signature}", styles.QUIET)))
    if cluster.count > len(cluster.members):
        lines.append(Text(f"{cluster.count:,} such values in all", style=styles.QUIET))
    impact = [each for one in cluster.members[0].case.passes for each in one.mcdc]
    if impact:
        lines.append(Text(f"MC/DC: {styles.impact(impact)}", style="yellow"))
    return Text("\n").join(lines)


# What is open.


def _open(cases: Sequence[CaseReport], width: int) -> RenderableType:
    """Cases without an answer, and cases with another verdict than expected; those that ask for attention first."""
    shown = cases[:_MAX_CASES]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, expand=width >= styles.NARROW, header_style="bold", pad_edge=False)
    table.add_column("case", ratio=5, overflow="fold")
    table.add_column("verdict", ratio=3, overflow="fold", min_width=12)
    table.add_column("why", ratio=9, overflow="fold")
    for case in shown:
        said = styles.verdict(case.verdict)
        said.append(" (expected)" if case.as_expected else f"\n{case.expected} expected", styles.QUIET)
        table.add_row(styles.safe(case.case, limit=80), said, styles.sentence(case.reason or "-", 300))
    parts: list[RenderableType] = [Text("open, or another verdict than expected", style=styles.HEADING), table]
    if len(cases) > len(shown):
        parts.append(Text(f"and {plural(len(cases) - len(shown), 'more case')}, in the report", style=styles.QUIET))
    return Group(*parts)


# Lists.


def _list(heading: str, lines: Iterable[Text]) -> Group:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(overflow="fold")
    every = list(lines)
    for line in every[:_MAX_LINES]:
        table.add_row(Text("-", style=styles.QUIET), line)
    if len(every) > _MAX_LINES:
        table.add_row("", Text(f"and {len(every) - _MAX_LINES:,} more, in the report", style=styles.QUIET))
    return Group(Text(heading, style=styles.HEADING), table)


def _finding(name: str, what: str, section: str) -> Text:
    text = Text.assemble(styles.safe(name, "yellow"), ": ", styles.safe(what, limit=400))
    return text.append_text(styles.safe(f" ({section})", styles.QUIET)) if section else text


def _allowance(each: Tally) -> Text:
    section = styles.safe(f" ({each.note})" if each.note else "", styles.QUIET)
    return Text.assemble(styles.safe(each.what), section, f": {each.times('difference')} in {plural(each.cases, 'case')}")


def _stubs(report: Report) -> list[Text]:
    calls: Counter[tuple[str, str]] = Counter()
    cases: dict[tuple[str, str], set[str]] = {}
    for case in report.cases:
        for use in {use for one in case.passes for use in one.stubs}:
            key = (use.kind, f"{use.module}.{use.name}")
            calls[key] += use.calls
            cases.setdefault(key, set()).add(case.case)
    ordered = sorted((key for key in calls if key[0] != "functional"), key=lambda key: (-calls[key], key))
    functional = [key for key in calls if key[0] == "functional"]
    met = {case for key in functional for case in cases[key]}
    told = sum(calls[key] for key in functional)
    answered = f"{plural(len(functional), 'function')} with functional stubs: {plural(told, 'call')} in {plural(len(met), 'case')}"
    return [Text(answered)] * bool(functional) + [
        Text.assemble(
            styles.safe(name, limit=100),
            styles.safe(f" ({kind})", styles.QUIET if kind == "functional" else "yellow"),
            f": {plural(calls[kind, name], 'call')} in {plural(len(cases[kind, name]), 'case')}",
        )
        for kind, name in ordered
    ]


def _counted(sentence: str, count: int) -> Text:
    return Text.assemble(styles.safe(sentence, limit=300), (f" ({plural(count, 'case')})", styles.QUIET))
