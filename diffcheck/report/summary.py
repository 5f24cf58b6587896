"""What the outputs report of a run as a whole: allowed differences, stubbed imports, what was not compared, costs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, get_args

import msgspec

from diffcheck.observation import Cost
from diffcheck.report import terminal_text
from diffcheck.report.model import settled
from diffcheck.text import plural
from diffcheck.verdict import VERDICTS, EntryState, worst

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from diffcheck.report.model import Cluster
    from diffcheck.verdict import BaselineStatus, CaseReport, Divergence, PassReport, Report, Verdict, Where


class Tally(msgspec.Struct, frozen=True):
    """Something that occurs in several cases: what, a note, how often (``at_least`` if more often), in how many cases."""

    what: str
    note: str
    count: int
    cases: int
    at_least: bool = False

    def times(self, noun: str) -> str:
        """How often, as text: ``3 times``, ``at least 3 times``."""
        return terminal_text.times(self.count, noun, at_least=self.at_least)


def allowances(report: Report) -> tuple[Tally, ...]:
    """The rules that allow differences, each with its section of the specification, the most frequent first."""
    found = _tallies(
        report,
        lambda case: (((each.rule, each.section), each.count) for one in case.passes for each in one.allowances),
    )
    allowed = (each for case in report.cases for one in case.passes for each in one.allowances)
    more = {(each.rule, each.section) for each in allowed if each.at_least}
    return tuple(msgspec.structs.replace(each, at_least=(each.what, each.note) in more) for each in found)


def stubs(report: Report) -> tuple[Tally, ...]:
    """The imports that were called, each with its stub's kind; a call in both passes of a case counts once."""
    return _tallies(
        report,
        lambda case: (
            ((f"{use.module}.{use.name}", use.kind), use.calls)
            for use in dict.fromkeys(use for one in case.passes for use in one.stubs)
        ),
    )


def left_out(report: Report) -> tuple[Tally, ...]:
    """What was not compared, each with the number of cases."""
    return _tallies(
        report,
        lambda case: (((what, ""), 1) for what in case.left_out),
    )


def _tallies(report: Report, found: Callable[[CaseReport], Iterable[tuple[tuple[str, str], int]]]) -> tuple[Tally, ...]:
    counts: Counter[tuple[str, str]] = Counter()
    cases: Counter[tuple[str, str]] = Counter()
    for case in report.cases:
        met: set[Hashable] = set()
        for key, count in found(case):
            counts[key] += count
            cases[key] += key not in met
            met.add(key)
    ordered = sorted(counts, key=lambda key: (-counts[key], key))
    return tuple(Tally(what, note, counts[what, note], cases[what, note]) for what, note in ordered)


def costs(case: CaseReport) -> tuple[Cost, Cost]:
    """(oracle's cost, subject's cost), summed over the passes of a case."""
    return _cost(each.oracle.cost for each in case.passes if each.oracle), _cost(
        each.subject.cost for each in case.passes if each.subject
    )


def total_costs(report: Report) -> tuple[Cost, Cost]:
    """(oracle's cost, subject's cost), summed over all cases."""
    both = [costs(case) for case in report.cases]
    return _cost(one for one, _ in both), _cost(other for _, other in both)


def _cost(parts: Iterable[Cost]) -> Cost:
    return sum(parts, Cost())


def needs_attention(report: Report) -> tuple[CaseReport, ...]:
    """Inconclusive and unexpected cases, the latter first, without those that diverged and are in a cluster."""
    found = [case for case in report.cases if _is_open(case)]
    return tuple(sorted(found, key=lambda case: (case.as_expected, case.case)))


def _is_open(case: CaseReport) -> bool:
    in_a_cluster = case.verdict == "diverge" and any(each.divergences for each in case.passes)
    return not in_a_cluster and (case.verdict in ("inconclusive", "skipped", "flaky", "diverge") or not settled(case))


def states(report: Report) -> tuple[tuple[EntryState, int], ...]:
    """The number of signatures in each state against the baseline, new ones first; empty without a baseline."""
    baseline = report.baseline
    counts = Counter(each.state for each in baseline.standings) if baseline is not None else Counter[EntryState]()
    return tuple((state, counts[state]) for state in get_args(EntryState) if counts[state])


def standings(report: Report) -> dict[str, BaselineStatus]:
    """Each signature's status against the baseline; empty without one."""
    return {each.signature: each for each in report.baseline.standings} if report.baseline is not None else {}


def news(report: Report, found: Iterable[Cluster]) -> tuple[tuple[Cluster, ...], tuple[Cluster, ...]]:
    """The clusters that are not known, and those that the baseline knows."""
    statuses = standings(report)
    known = {key for key, each in statuses.items() if each.state in ("known", "wider", "expired", "flaky")}
    every = tuple(found)
    return tuple(each for each in every if each.signature not in known), tuple(each for each in every if each.signature in known)


def cluster_verdict(cluster: Cluster) -> Verdict:
    """The worst verdict among a cluster's cases."""
    return worst([member.case.verdict for member in cluster.members])


def of_planned(report: Report) -> str:
    """The number of cases, ``60 cases``; of an interrupted run ``4 of 8 cases``."""
    done = len(report.cases)
    return f"{done:,} of {plural(report.planned, 'case')}" if report.interrupted and report.planned > done else plural(done, "case")


def counted(report: Report) -> str:
    """The number of cases of each verdict: ``59 cases: 38 agree, 20 diverge, 1 inconclusive``."""
    parts = [f"{report.totals.get(word, 0):,} {word}" for word in VERDICTS if report.totals.get(word)]
    return f"{of_planned(report)}: {', '.join(parts)}" if parts else "no cases"


def kind_and_item(divergence: Divergence) -> str:
    """What differs: ``counter 17``, ``outcome``; the kind goes before an item that does not begin with it."""
    item = divergence.where.item
    return item if item.startswith(divergence.kind) else f"{divergence.kind} {item}".strip()


def code_of(where: Where) -> list[str]:
    """The place in the code: function and branch, source line; without a function that the row names already."""
    if where.row and not where.branch and where.function == where.row.partition("=")[0]:
        where = msgspec.structs.replace(where, function="")
    return terminal_text.place(msgspec.structs.replace(where, item=""))


def pass_words(each: PassReport) -> str:
    """A pass's verdict in one phrase."""
    if not each.applicable:
        return f"{each.mode}: not applicable, {each.why}" if each.why else f"{each.mode}: not applicable"
    return f"{each.mode}: {each.verdict}" + (f", {each.reason}" if each.reason else "")
