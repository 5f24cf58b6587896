"""A CI job's summary in GitHub's Markdown, never over 1 MiB.

Names are in ``<code>`` with every character that Markdown or HTML gives a meaning to as a character reference. References are
text in Markdown wherever they are (specification 0.29, 6.2), in cells of tables too, where a code span would need another rule.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE
from diffcheck.report import summary, terminal_text
from diffcheck.report.model import agreement, clusters, conclusion
from diffcheck.text import duration, plural, visible
from diffcheck.verdict import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diffcheck.report.model import Cluster
    from diffcheck.verdict import CaseReport, Cause, Report

MAX_BYTES: Final = 1 << 20
_MAX_CLUSTERS: Final = 25
_MAX_OPEN: Final = 25
_MAX_LIST: Final = 12
_MAX_NAMES: Final = 3
_MAX_VALUE: Final = 100
_URGENT: Final = ("new", "returned", "fixed")
_LINK: Final = re.compile(r"https://[A-Za-z0-9./_~#?=&-]{1,200}")
_SPECIAL: Final = re.compile(r"[\\`*_{}\[\]()#!|<>&~@$\"'^]|:(?!\s|\Z)|(?<=www)\.|\A(?:[-+= ]|\d(?=\d*[.)]))")


def render(report: Report) -> bytes:
    """The summary as Markdown in UTF-8; its length is bounded."""
    return ("\n".join(_lines(report)) + "\n").encode()


def text(value: str, limit: int = 200) -> str:
    """A string as Markdown text, with every special character escaped."""
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", visible(value, limit))


def code(value: str, limit: int = 200) -> str:
    """A string in a fixed-width font, with every special character escaped."""
    return f"<code>{text(value, limit)}</code>" if value else "-"


def _lines(report: Report) -> Iterator[str]:
    exit_code, why = conclusion(report)
    mark = "✅" if exit_code == EXIT_AGREE else "❌" if exit_code == EXIT_DIVERGE else "⚠️"
    yield f"## {mark} {text(terminal_text.engine(report.subject))} against {text(terminal_text.engine(report.oracle))}: {text(why)}"
    yield ""
    compared = terminal_text.compared(agreement(report))
    yield f"{text(summary.counted(report))}; in {duration(report.elapsed_ns / 1e9)}. Compared: {compared}."
    yield ""
    if report.error:
        yield f"> **Ended by an error:** {text(report.error, 1000)}. The finished cases are reported."
        yield ""
    if report.notice:
        yield f"> **Notice.** {text(report.notice, 1000)}"
        yield ""
    yield from _verdicts(report)
    new, known = summary.news(report, clusters(report))
    yield from _baseline(report)
    yield from _clusters(report, new)
    yield from _details("Causes: the wrong instruction and its first occurrence", [_cause(each) for each in report.causes])
    yield from _open(summary.needs_attention(report))
    statuses = summary.standings(report)
    yield from _details("Known differences", [_known(cluster, statuses[cluster.signature].issue) for cluster in known])
    yield from _details(
        f"Issues of {text(terminal_text.engine(report.subject))}, independent of the artifact",
        [f"**{text(each.name)}**: {text(each.what, 400)}{_in_section(each.section)}" for each in report.engine_findings],
    )
    yield from _details(
        "Allowed by the specification",
        [f"{text(each.what)}{_in_section(each.note)}: {_times(each, 'difference')}" for each in summary.allowances(report)],
    )
    yield from _details(
        "Stubbed imports were called; results depend on them",
        [f"{code(each.what)} ({text(each.note)}): {_times(each, 'call')}" for each in summary.stubs(report)],
    )
    yield from _details(
        "Not compared", [f"{text(each.what, 300)} ({plural(each.cases, 'case')})" for each in summary.left_out(report)]
    )
    yield f"<sub>diffcheck {text(report.tool.version)}, {text(report.started)}</sub>"


def _in_section(section: str) -> str:
    return f" ({text(section)})" if section else ""


def _times(each: summary.Tally, noun: str) -> str:
    return f"{each.times(noun)} in {plural(each.cases, 'case')}"


def _verdicts(report: Report) -> Iterator[str]:
    """One column per verdict, one line per mode; without empty columns."""
    passes = [each for case in report.cases for each in case.passes if each.applicable]
    shown = [word for word in VERDICTS if report.totals.get(word) or any(each.verdict == word for each in passes)]
    if not shown:
        return
    yield from _table(("", *shown), ["---"] + ["---:"] * len(shown))
    yield _row("**cases**", *(f"{report.totals.get(word, 0):,}" for word in shown))
    for mode in ("capsule", "direct"):
        yield _row(f"{mode} passes", *(f"{sum(p.mode == mode and p.verdict == word for p in passes):,}" for word in shown))
    yield ""


def _baseline(report: Report) -> Iterator[str]:
    """The run against the baseline, and the entries that need action."""
    states = summary.states(report)
    if report.baseline is None or not states:
        return
    counts = ", ".join(f"**{count:,} {state}**" if state in _URGENT else f"{count:,} {state}" for state, count in states)
    yield f"Against the baseline {code(report.baseline.file)}: {counts}."
    yield ""
    urgent = report.baseline.of("fixed", "wider", "expired", "stale")
    for each in urgent[:_MAX_LIST]:
        said = "; ".join(text(part) for part in dict.fromkeys((each.why, each.note)) if part)
        yield f"- **{each.state}**: {code(each.signature)}{f' {said}' if said else ''}{_issue(each.issue)}"
    if len(urgent) > _MAX_LIST:
        yield f"- and {len(urgent) - _MAX_LIST:,} more"
    if urgent:
        yield ""


def _known(cluster: Cluster, issue: str) -> str:
    where = ", ".join(part for part in (cluster.members[0].case.case, cluster.members[0].first.where.row) if part)
    more = f" and {plural(len(cluster.members) - 1, 'more case')}" if len(cluster.members) > 1 else ""
    what = text(summary.kind_and_item(cluster.members[0].first), 120)
    return f"**{what}** in {code(where, 120)}{more}{_issue(issue)}"


def _issue(issue: str) -> str:
    """The issue; a link if it is a plain address."""
    if not issue:
        return ""
    return f", [{text(issue)}]({issue})" if _LINK.fullmatch(issue) else f", {text(issue)}"


def _clusters(report: Report, found: Sequence[Cluster]) -> Iterator[str]:
    if not found:
        return
    names = len({member.case.case for cluster in found for member in cluster.members})
    yield f"### {plural(len(found), 'difference')} in {plural(names, 'case')}"
    yield ""
    oracle, subject = terminal_text.columns(report)
    yield from _table(("where", text(oracle), text(subject), "cases"), ["---"] * 4)
    for cluster in found[:_MAX_CLUSTERS]:
        first = cluster.members[0].first
        left, right = terminal_text.side_by_side(first.oracle, first.subject, _MAX_VALUE)
        yield _row(_where(cluster), code(left), code(right), _cases(cluster))
    yield ""
    yield from _rest(len(found) - _MAX_CLUSTERS, "more difference")


def _where(cluster: Cluster) -> str:
    first = cluster.members[0].first
    places = summary.code_of(first.where)
    row = [f"row {code(first.where.row, 80)}"] if first.where.row else []
    return "<br>".join([f"**{text(summary.kind_and_item(first), 120)}**", *row, *(code(part, 120) for part in places)])


def _cases(cluster: Cluster) -> str:
    shown = [code(member.case.case, 80) for member in cluster.members[:_MAX_NAMES]]
    rest = len(cluster.members) - len(shown)
    return "<br>".join(shown + [f"and {rest:,} more"] * bool(rest))


def _cause(each: Cause) -> str:
    more = f" and {plural(len(each.places) - 1, 'more cluster')}" if len(each.places) > 1 else ""
    return f"**{text(each.name)}** ({text(', '.join(each.signatures[:_MAX_NAMES]))}): {text(''.join(each.places[:1]), 400)}{more}"


def _open(cases: Sequence[CaseReport]) -> Iterator[str]:
    if not cases:
        return
    yield "### Inconclusive or unexpected"
    yield ""
    yield from _table(("case", "verdict", "expected", "why"), ["---"] * 4)
    for case in cases[:_MAX_OPEN]:
        yield _row(code(case.case, 80), case.verdict, case.expected, text(case.reason, 300) or "-")
    yield ""
    yield from _rest(len(cases) - _MAX_OPEN, "more case")


def _rest(count: int, noun: str) -> Iterator[str]:
    if count > 0:
        yield f"And {plural(count, noun)}, in the HTML page and in report.json."
        yield ""


def _details(heading: str, lines: Sequence[str]) -> Iterator[str]:
    if not lines:
        return
    yield f"<details><summary>{heading} ({len(lines):,})</summary>"
    yield ""
    yield from (f"- {line}" for line in lines[:_MAX_LIST])
    if len(lines) > _MAX_LIST:
        yield f"- and {len(lines) - _MAX_LIST:,} more"
    yield ""
    yield "</details>"
    yield ""


def _table(header: Iterable[str], rules: Iterable[str]) -> Iterator[str]:
    yield _row(*header)
    yield _row(*rules)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
