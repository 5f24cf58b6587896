"""A run's report for a person at a terminal: divergences, inconclusive cases, allowed differences, totals, the next command."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from diffcheck.config import option_table
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE
from diffcheck.report import history_tables, terminal_text
from diffcheck.report.model import Cluster, agreement, clusters, conclusion
from diffcheck.report.progress import notice
from diffcheck.report.summary import allowances, left_out, needs_attention, news, of_planned, standings
from diffcheck.report.tables import fitted
from diffcheck.text import duration, plural, visible
from diffcheck.verdict import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import Console, RenderableType

    from diffcheck.report.summary import Tally
    from diffcheck.verdict import BaselineStatus, CaseReport, Cause, Report

_MAX_CLUSTERS: Final = 25
_MAX_CASES: Final = 40
_OUTCOME: Final = 300  # an outcome is a sentence; its end has the reason
_MAX_NAMES: Final = 4
_MAX_LINES: Final = 8


def render(
    report: Report,
    console: Console,
    *,
    stored: str = "",
    page: str = "",
    quiet: bool = False,
    verbose: bool = False,
    resume: str = "",
) -> None:
    """Print a run's report; ``stored`` and ``page`` are the paths of ``report.json`` and the HTML page.

    ``quiet`` prints the totals and the files that cannot be used, ``verbose`` every line in full; ``resume`` is the command that
    resumes an interrupted run.
    """
    if quiet:
        if report.notice:
            console.print(notice(report.notice))
        for line in _unusable(report):
            console.print(line, soft_wrap=True)
        console.print(Group(_totals(report), terminal_text.facts([_exit(report)])))
        return
    for block in _blocks(report, console.width, verbose=verbose):
        console.print(block)
        console.print()
    console.print(summary(report, stored, page, resume))


def _unusable(report: Report) -> list[Text]:
    """The files that were not run at all, unless that was expected, each with the reason."""
    found = [each for each in report.cases if each.verdict == "skipped" and not each.passes]
    found = [each for each in found if each.bad_input or not each.as_expected]
    rest = [Text(f"and {plural(len(found) - _MAX_CASES, 'more file')}, in the report")] * (len(found) > _MAX_CASES)
    return [*(terminal_text.safe(f"{each.artifact}: {each.reason}", limit=2000) for each in found[:_MAX_CASES]), *rest]


def overview(report: Report, console: Console, *, stored: str = "") -> None:
    """Print what diverged and what is inconclusive or unexpected, with the names that ``show`` and ``triage`` accept."""
    found, known = news(report, clusters(report))
    for heading, several in (("", found), ("known: ", known)):
        if several:
            console.print(_diverged(report, several, console.width, heading, signatures=True))
            console.print()
    waiting = needs_attention(report)
    if waiting:
        console.print(_open(waiting, console.width))
        console.print()
    facts = [("report", terminal_text.safe(stored, limit=2000)), ("next", Text(_next(report, found or known, stored, "")))]
    console.print(Group(_totals(report), terminal_text.facts(facts)))


def _blocks(report: Report, width: int, *, verbose: bool) -> Iterator[RenderableType]:
    """The parts of the console's report above the summary, in order."""
    found, _ = news(report, clusters(report))
    if report.baseline is not None:
        for heading, body in history_tables.lives(report.baseline, {each.signature for each in found[:_MAX_CLUSTERS]}):
            yield Group(Text(heading, style=terminal_text.HEADING), body)
    if found:
        yield _diverged(report, found, width)
    if report.causes:
        yield _list("causes: the wrong instruction and its first occurrence", map(_cause, report.causes))
    waiting = needs_attention(report)
    if waiting:
        yield _open(waiting, width)
    if report.engine_findings:
        yield _findings(report, verbose=verbose)
    for heading, lines in (
        ("allowed by the specification", [_allowance(each) for each in allowances(report)]),
        ("stubbed imports were called; results depend on them", _stubs(report)),
        ("not compared", [_counted(each.what, each.cases) for each in left_out(report)]),
    ):
        if lines:
            yield _list(heading, lines)
    if report.notice:
        yield notice(report.notice)


def _cause(each: Cause) -> Text:
    more = f"; and {plural(len(each.places) - 1, 'more cluster')}" if len(each.places) > 1 else ""
    signatures = ", ".join(visible(one, 20) for one in each.signatures[:_MAX_NAMES])
    return Text(f"{visible(each.name, 200)} ({signatures}): {visible(each.places[0], 400)}{more}")


def summary(report: Report, stored: str, page: str = "", resume: str = "") -> Group:
    """The last lines: totals, how much was compared, both modes, engines, files, the next command, the exit code."""
    found, _ = news(report, clusters(report))
    facts = (
        ("compared", Text(terminal_text.compared(agreement(report)))),
        ("capsule", Text(_mode(report, "capsule"))),
        ("direct", Text(_mode(report, "direct"))),
        ("engines", Text(_engines(report))),
        ("cache", Text(terminal_text.cached(report.cases))),
        ("report", terminal_text.safe(stored, limit=2000)),
        ("page", terminal_text.safe(page, limit=2000)),
        ("next", Text(_next(report, found, stored, resume))),
        _exit(report),
    )
    return Group(_totals(report), terminal_text.facts(facts))


def _exit(report: Report) -> tuple[str, Text]:
    code, why = conclusion(report)
    return "exit code", Text(f"{code}, {why}", "green" if code == EXIT_AGREE else "bold red" if code == EXIT_DIVERGE else "yellow")


def _totals(report: Report) -> Text:
    counts = report.totals
    text = Text(f"{of_planned(report)}: ", style=terminal_text.HEADING)
    for word in VERDICTS:
        count = counts.get(word, 0)  # a report of an older version may lack a verdict
        if count or word in ("agree", "diverge"):
            text.append(
                f"{count:,} {terminal_text.VERBS[word][count != 1]}", terminal_text.STYLES[word] if count else terminal_text.QUIET
            )
            if word == "agree" and counts["vacuous"]:
                text.append(f" ({counts['vacuous']:,} vacuous: no observable change)", terminal_text.QUIET)
            text.append(", ")
    text.right_crop(2)
    text.append(f"; in {duration(report.elapsed_ns / 1e9)}")
    if report.interrupted:
        how = "ended by an error" if report.error else "stopped at the first failing case" if report.failed_fast else "interrupted"
        text.append(f"; {how}", "yellow")
    return text


def _mode(report: Report, mode: str) -> str:
    """The verdicts of one mode's passes, and why some do not apply."""
    passes = [each for case in report.cases for each in case.passes if each.mode == mode]
    counts = Counter(each.verdict for each in passes if each.applicable)
    parts = [f"{counts[word]:,} {terminal_text.VERBS[word][counts[word] != 1]}" for word in VERDICTS if counts[word]]
    why_not = Counter(each.why for each in passes if not each.applicable)
    if why_not:
        reasons = ", ".join(visible(" ".join(why.split()), 300) for why, _ in why_not.most_common(2))
        more = ", ..." if len(why_not) > 2 else ""  # noqa: PLR2004 - as many as are named
        parts.append(f"{sum(why_not.values()):,} not applicable ({reasons}{more})")
    return ", ".join(parts)


def _engines(report: Report) -> str:
    sides = ((report.subject, "subject"), (report.oracle, "oracle"))
    return ", ".join(
        f"{role} {terminal_text.engine(identity)}" + (f" ({visible(identity.found, 60)})" if identity.found else "")
        for identity, role in sides
    )


def _next(report: Report, found: tuple[Cluster, ...], stored: str, resume: str) -> str:
    """The most useful next command."""
    if report.interrupted and not report.error:
        return visible(resume, 2000) or "the command of the run, with --resume"
    if not report.cases:
        return ""
    folder = str(Path(stored).parent)
    where = "" if not stored or folder == option_table.BY_NAME["reports"].default else f" --reports {terminal_text.quoted(folder)}"
    if len(found) > 1:
        return f"diffcheck show{where}   (all differences; or show CASE)"
    case = found[0].members[0].case if found else next(iter(needs_attention(report)), report.cases[0])
    return f"diffcheck show {terminal_text.quoted(case.case)}{where}"


# Divergences.


def _diverged(
    report: Report, found: tuple[Cluster, ...], width: int, kind: str = "", *, signatures: bool = False
) -> RenderableType:  # fmt: skip
    names = len({member.case.case for cluster in found for member in cluster.members})
    new = " not known" if report.baseline is not None and report.baseline.file and not kind else ""
    counted = plural(len(found), f"difference{new}", f"differences{new}")
    heading = f"{kind}{counted} in {plural(names, 'case')}, deduplicated, first occurrence shown"
    states = standings(report)
    listed = found[:_MAX_CLUSTERS]
    rows = [_row(cluster, states.get(cluster.signature), width, signatures=signatures) for cluster in listed]
    oracle, subject = terminal_text.columns(report)
    headers = (("case", ""), ("row", ""), ("where", ""), (oracle, "green"), (subject, "red"))
    parts: list[RenderableType] = [Text(heading, style=terminal_text.HEADING), fitted(headers, rows, width)]
    if len(found) > len(listed):
        parts.append(Text(f"and {plural(len(found) - len(listed), 'more difference')}, in the report", style=terminal_text.QUIET))
    return Group(*parts)


def _row(cluster: Cluster, standing: BaselineStatus | None, width: int, *, signatures: bool) -> tuple[Text, ...]:
    first = cluster.members[0].first
    limit = _OUTCOME if first.kind == "outcome" else max(60, width // 2)
    left, right = terminal_text.side_by_side(first.oracle, first.subject, limit)
    where = _where(cluster, standing, signatures=signatures)
    return _cases(cluster), terminal_text.safe(first.where.row or "-", limit=80), where, Text(left), Text(right)


def _cases(cluster: Cluster) -> Text:
    """The cases' names, the verdicts by mode, and whether they were expected."""
    lines = [terminal_text.safe(member.case.case, limit=80) for member in cluster.members[:_MAX_NAMES]]
    rest = len(cluster.members) - len(lines)
    if rest:
        lines.append(Text(f"and {plural(rest, 'more case')}", style=terminal_text.QUIET))
    if len(cluster.members) == 1:
        marks = terminal_text.modes(cluster.members[0].case)
    else:
        modes = dict.fromkeys(mode for member in cluster.members for mode in member.modes)
        marks = [Text(f"in {' and '.join(modes)}", style=terminal_text.QUIET)]
    if all(member.case.expected == "diverge" for member in cluster.members):
        marks.append(Text("expected", style=terminal_text.QUIET))
    return Text("\n").join([*lines, Text(", ").join(marks)])


def _where(cluster: Cluster, standing: BaselineStatus | None, *, signatures: bool) -> Text:
    first = cluster.members[0].first
    where = first.where
    if where.row and not where.branch and where.function == where.row.partition("=")[0]:
        where = msgspec.structs.replace(where, function="")  # the row names it already
    lines = [terminal_text.safe(part, limit=120) for part in terminal_text.place(where)] or [Text("-")]
    if not first.where.item.startswith(first.kind):
        lines.insert(0, Text(first.kind))
    if detail := terminal_text.detail(first):
        lines.append(terminal_text.safe(detail, terminal_text.QUIET, 120))
    if standing is not None:
        lines.append(
            Text.assemble(
                (standing.state, "bold"), ", ", terminal_text.safe(f"signature {standing.signature}", terminal_text.QUIET)
            )
        )
    elif signatures:
        lines.append(terminal_text.safe(cluster.signature, terminal_text.QUIET))
    if cluster.count > len(cluster.members):
        lines.append(Text(plural(cluster.count, "occurrence"), style=terminal_text.QUIET))
    impact = [each for one in cluster.members[0].case.passes for each in one.mcdc]
    if impact:
        lines.append(Text(f"MC/DC: {terminal_text.impact(impact)}", style="yellow"))
    return Text("\n").join(lines)


# Inconclusive and unexpected cases.


def _open(cases: Sequence[CaseReport], width: int) -> RenderableType:
    """Cases without an answer or with an unexpected verdict, the latter first."""
    listed = cases[:_MAX_CASES]
    rows = []
    for case in listed:
        word = terminal_text.verdict(case.verdict)
        word.append(" (expected)" if case.as_expected else f"\n{case.expected} expected", terminal_text.QUIET)
        rows.append((terminal_text.safe(case.case, limit=80), word, terminal_text.sentence(case.reason or "-", 300)))
    table = fitted((("case", ""), ("verdict", ""), ("why", "")), rows, width, lines=False)
    parts: list[RenderableType] = [Text("inconclusive or unexpected", style=terminal_text.HEADING), table]
    if len(cases) > len(listed):
        parts.append(Text(f"and {plural(len(cases) - len(listed), 'more case')}, in the report", style=terminal_text.QUIET))
    return Group(*parts)


# Lists.


def _list(heading: str, lines: Iterable[Text]) -> Group:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(overflow="fold")
    every = list(lines)
    for line in every[:_MAX_LINES]:
        table.add_row(Text("-", style=terminal_text.QUIET), line)
    if len(every) > _MAX_LINES:
        table.add_row("", Text(f"and {len(every) - _MAX_LINES:,} more, in the report", style=terminal_text.QUIET))
    return Group(Text(heading, style=terminal_text.HEADING), table)


def _findings(report: Report, *, verbose: bool) -> Group:
    """The engine's own issues, one line each, or in full."""
    heading = f"issues of {terminal_text.engine(report.subject)}, independent of the artifact"
    lines = [_finding(each.name, each.what, each.section) for each in report.engine_findings]
    if verbose:
        return _list(heading, lines)
    listed = [Text.assemble(("- ", terminal_text.QUIET), each, no_wrap=True, overflow="ellipsis") for each in lines[:_MAX_LINES]]
    rest = f", and {len(lines) - _MAX_LINES:,} more" if len(lines) > _MAX_LINES else ""
    return Group(Text(heading, style=terminal_text.HEADING), *listed, Text(f"  in full with -v{rest}", style=terminal_text.QUIET))


def _finding(name: str, what: str, section: str) -> Text:
    text = Text.assemble(terminal_text.safe(name, "yellow"), ": ", terminal_text.safe(what, limit=400))
    return text.append_text(terminal_text.safe(f" ({section})", terminal_text.QUIET)) if section else text


def _allowance(each: Tally) -> Text:
    section = terminal_text.safe(f" ({each.note})" if each.note else "", terminal_text.QUIET)
    return Text.assemble(terminal_text.safe(each.what), section, f": {each.times('difference')} in {plural(each.cases, 'case')}")


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
    served = {case for key in functional for case in cases[key]}
    total = plural(sum(calls[key] for key in functional), "call")
    line = f"{plural(len(functional), 'function')} with functional stubs: {total} in {plural(len(served), 'case')}"
    return [Text(line)] * bool(functional) + [
        Text.assemble(
            terminal_text.safe(name, limit=100),
            terminal_text.safe(f" ({kind})", terminal_text.QUIET if kind == "functional" else "yellow"),
            f": {plural(calls[kind, name], 'call')} in {plural(len(cases[kind, name]), 'case')}",
        )
        for kind, name in ordered
    ]


def _counted(sentence: str, count: int) -> Text:
    return Text.assemble(terminal_text.safe(sentence, limit=300), (f" ({plural(count, 'case')})", terminal_text.QUIET))
