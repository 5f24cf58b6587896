"""From a run's events to its report, and from the report to the exit code and the clusters that outputs show."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck.config.version import __version__
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE, EXIT_INCONCLUSIVE, EXIT_INTERRUPTED, EXIT_USAGE
from diffcheck.runner.events import CaseFinished, CaseStarted, EngineProbed, RunFinished, RunStarted
from diffcheck.text import plural
from diffcheck.verdict import SETTLED, Agreement, CaseReport, Divergence, EngineFinding, Report, Tool, totals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.runner.events import Event

SCHEMA: Final = "diffcheck-report-v1"


class Collector:
    """Collects a run's events; ``report`` is the report so far, marked interrupted until the run's end was seen."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = dict(options)
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._began = time.monotonic_ns()
        self._run: RunStarted | None = None
        self._finished: RunFinished | None = None
        self._findings: tuple[EngineFinding, ...] = ()
        self._cases: dict[str, CaseReport] = {}
        self._known: dict[Any, Any] = {}

    def take(self, event: Event) -> None:
        """Add an event."""
        match event:
            case RunStarted():
                self._run = event
            case CaseStarted():
                pass
            case EngineProbed(findings):
                self._findings = findings
            case CaseFinished(report):
                self._cases[report.case] = self._sharing(report)
            case RunFinished():
                self._finished = event

    def _sharing(self, report: CaseReport) -> CaseReport:
        """The report with the passes that were not applicable and the counts that other cases have as well held once for all."""
        passes = tuple(
            msgspec.structs.replace(each, agreement=self._known.setdefault(each.agreement, each.agreement))
            if each.applicable
            else self._known.setdefault(each, each)
            for each in report.passes
        )
        return msgspec.structs.replace(report, passes=passes, rows=self._known.setdefault(report.rows, report.rows))

    @property
    def any_finished(self) -> bool:
        """Whether any case has its verdict."""
        return bool(self._cases)

    @property
    def began(self) -> bool:
        """Whether the run has started, so that it can be reported."""
        return self._run is not None

    def report(self) -> Report:
        """The report, its cases in the order of their names, so that it does not depend on the number of jobs."""
        run = self._run
        if run is None:
            raise RuntimeError("the run has not begun, so there is no report")
        cases = tuple(self._cases[name] for name in sorted(self._cases))
        ended = self._finished
        return Report(
            schema="diffcheck-report-v1",
            tool=Tool("diffcheck", __version__),
            subject=run.subject,
            oracle=run.oracle,
            started=run.started or self._started,
            elapsed_ns=ended.elapsed_ns if ended else time.monotonic_ns() - self._began,
            notice=run.notice,
            options=self._options,
            totals=totals(cases),
            engine_findings=self._findings,
            cases=cases,
            interrupted=ended is None or ended.interrupted,
            division=run.division,
            places=run.places,
            root=run.root,
            planned=run.total,
            judges=run.judges,
        )


def settled(case: CaseReport) -> bool:
    """Whether a case needs no attention: it has its expected verdict, or its difference is known or the oracle's."""
    return case.as_expected or case.verdict in SETTLED


def fails(case: CaseReport) -> bool:
    """Whether a case alone gives its run an exit code other than 0."""
    return case.verdict == "diverge" or not settled(case)


def compared(report: Report) -> bool:
    """Whether any pass was applicable at all."""
    return any(each.applicable for case in report.cases for each in case.passes)


def conclusion(report: Report) -> tuple[int, str]:
    """The exit code and the reason for it."""
    diverging = sum(case.verdict == "diverge" for case in report.cases)
    unsettled = sum(not settled(case) for case in report.cases)
    bad = sum(case.bad_input for case in report.cases)
    strict_reason = strictly(report)
    nothing = not compared(report) and bool(report.cases or not report.division)  # a shard may have no case at all
    reasons = (
        (report.error, EXIT_USAGE, "an error ended the run"),
        (report.interrupted and not report.failed_fast, EXIT_INTERRUPTED, "the run was interrupted"),
        (diverging, EXIT_DIVERGE, plural(diverging, "case diverges", "cases diverge")),
        (strict_reason, EXIT_DIVERGE, f"strict: {strict_reason}"),
        (bad, EXIT_USAGE, f"{plural(bad, 'input file')} cannot be used"),
        (unsettled, EXIT_INCONCLUSIVE, f"{plural(unsettled, 'case is', 'cases are')} inconclusive or unexpected"),
        (nothing, EXIT_INCONCLUSIVE, "nothing was compared"),
    )
    everything_fine = EXIT_AGREE, "all cases as expected"
    return next(((code, why) for applies, code, why in reasons if applies), everything_fine)


def strictly(report: Report) -> str:
    """Why a strict run fails without new divergences: entries of the baseline or vacuous agreements; empty if it does not."""
    baseline = report.baseline
    if baseline is None or not baseline.strict:
        return ""
    counts = Counter(each.state for each in baseline.of("fixed", "stale", "expired", "wider"))
    vacuous = sum(case.vacuous and case.verdict == "agree" for case in report.cases)
    parts = [f"{plural(count, 'entry', 'entries')} {word}" for word, count in counts.items()]
    return ", ".join(parts + ([plural(vacuous, "vacuous agreement")] if vacuous else []))


def exit_code(report: Report) -> int:
    """The exit code of the process, the first that applies: 2 an error ended the run, 130 interrupted, 1 a divergence or a failed
    strict check, 2 an unusable file, 3 inconclusive or unexpected, 0 else.
    """
    return conclusion(report)[0]


class Member(msgspec.Struct, frozen=True):
    """A case's part of a cluster: its first divergence with that signature, in which modes, and how many there are."""

    case: CaseReport
    first: Divergence
    modes: tuple[str, ...]
    count: int


class Cluster(msgspec.Struct, frozen=True):
    """Divergences with the same signature, over all cases; the first member heads it."""

    signature: str
    members: tuple[Member, ...]

    @property
    def count(self) -> int:
        """How many divergences there are in all."""
        return sum(member.count for member in self.members)


def clusters(report: Report) -> tuple[Cluster, ...]:
    """The divergences grouped by signature, those with most cases first.

    Without a signature, a case's divergences of one kind are a group.
    """
    groups: dict[str, dict[str, Member]] = {}
    for case in report.cases:
        for each in case.passes:
            for divergence in each.divergences if each.verdict != "flaky" else ():  # a flaky pass is reported by its case
                key = divergence.signature or f"{divergence.kind} in {case.case}"
                members = groups.setdefault(key, {})
                seen = members.get(case.case)
                members[case.case] = (
                    Member(case, divergence, (each.mode,), 1)
                    if seen is None
                    else Member(case, seen.first, tuple(dict.fromkeys((*seen.modes, each.mode))), seen.count + 1)
                )
    found = [Cluster(key, tuple(members.values())) for key, members in groups.items()]
    return tuple(sorted(found, key=_order))


def _order(cluster: Cluster) -> tuple[object, ...]:
    """Those with most cases first, those of a case in the order of its rows, what is in no row last."""
    case, row = cluster.members[0].case, cluster.members[0].first.where.row
    at = case.rows.index(row) if row in case.rows else len(case.rows)
    return -len(cluster.members), case.case, at, cluster.signature


def agreement(report: Report) -> Agreement:
    """How much was compared in the whole run: a counter that both passes of a case compare counts once."""
    rows = counters = counters_nonzero = values = values_nonzero = pages = 0
    for case in report.cases:
        one = sum((each.agreement for each in case.passes if each.applicable), Agreement())
        rows, counters, counters_nonzero = rows + one.rows, counters + one.counters, counters_nonzero + one.counters_nonzero
        values, values_nonzero, pages = values + one.values, values_nonzero + one.values_nonzero, pages + one.pages
    return Agreement(rows, counters, counters_nonzero, values, values_nonzero, pages)
