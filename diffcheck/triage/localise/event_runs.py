"""Runs both engines for a search through events, with a limit on the subject's runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from diffcheck.observation import Returned
from diffcheck.triage.localise.memory_progress import MemoryProgress
from diffcheck.triage.tracing.event_log import NEVER, RAWS, LogParameters, MemoryProbe, WrongDigest
from diffcheck.triage.tracing.log_writer import known_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.observation import Outcome
    from diffcheck.triage.localise.diverging_rows import DivergingRows
    from diffcheck.triage.tracing.event_log import EventLog, Record
    from diffcheck.triage.tracing.instrument import Instrumentation, Level
    from diffcheck.triage.tracing.log_reader import LogRun, LogSide

BEFORE = 12
"""The number of events before the difference that are returned with it."""
_UNMEASURED = MemoryProbe()


class SearchBudgetExhausted(Exception):  # noqa: N818 - an outcome of the search
    """The limit of the subject's runs is reached."""


class SearchBudget(Protocol):
    """The number of the subject's runs, and their limit."""

    runs: int
    max_runs: int


class FirstDifference(msgspec.Struct, frozen=True):
    """The first difference: the event (-1: the subject executed nothing), both records (None if the engine ended before), and the
    records before it, the latest last.
    """

    event: int
    oracle: Record | None
    subject: Record | None
    before: tuple[Record, ...]
    oracle_outcome: Outcome
    subject_outcome: Outcome


class EventRuns:
    """Runs of the rows [first, last) with one instrumentation; ``total`` is the oracle's number of events, -1 without a log."""

    default: Level = "full"
    levels: Mapping[int, Level] = {}
    subject_stream: tuple[int, int, int] | None = None

    def __init__(
        self,
        instrumentation: Instrumentation,
        oracle: LogSide,
        subject: LogSide,
        rows: DivergingRows,
        budget: SearchBudget,
    ) -> None:
        self.instrumentation, self.oracle, self.subject = instrumentation, oracle, subject
        self.rows, self.budget = rows, budget
        measured = self.run_side(oracle, step=NEVER)
        self.measured = measured
        self.total = measured.log.count if measured.log is not None else -1
        self.ended: Outcome = Returned()
        """The end of the subject in its last run that the log did not end."""
        self.progress = MemoryProgress(subject, rows.peak_bytes)

    def _parameters(
        self, start: int = 0, step: int = 0, halt: int = NEVER, limit: int = RAWS, take: MemoryProbe = _UNMEASURED
    ) -> LogParameters:
        return LogParameters(*self.rows.run, start=start, step=step, halt=halt, limit=limit, take=take)

    def run_side(
        self,
        side: LogSide,
        start: int = 0,
        step: int = 0,
        halt: int = NEVER,
        limit: int = RAWS,
        take: MemoryProbe = _UNMEASURED,
    ) -> LogRun:
        """A run of one side; raises ``SearchBudgetExhausted``."""
        if side.backend is not self.oracle.backend:
            if self.budget.runs >= self.budget.max_runs:
                raise SearchBudgetExhausted
            self.budget.runs += 1
        return side.logged(self._parameters(start, step, halt, limit, take))

    def oracle_records(self, start: int, end: int) -> tuple[Record, ...]:
        """The oracle's records of the events in [start, end); at most a window if its transport carries windows only."""
        log = self.run_side(self.oracle, start, 0, end, limit=max(end - start, RAWS)).log
        return log.records(start) if log is not None else ()

    def run_subject(self, start: int, step: int, halt: int, take: MemoryProbe = _UNMEASURED) -> LogRun:
        """A run of the subject, without a log if it ended silently; raises ``WrongDigest``."""
        ran = self.run_side(self.subject, start, step, halt, take=take)
        if ran.log is None or ran.log.count < halt:
            self.ended = ran.outcome
        self.subject_stream = ran.stream if halt > self.total else self.subject_stream
        if ran.log is not None and ran.log.known != known_answer(self.instrumentation.variant):
            raise WrongDigest("it computes the known answer wrongly")
        return ran

    def window(self, subject: EventLog, start: int, step: int, halt: int) -> tuple[int, int] | None:
        """The range of events of the first block that differs from the oracle's; None if all are equal."""
        oracle = self.run_side(self.oracle, start, step, halt).log
        assert oracle is not None, "it had one before"  # noqa: S101
        ones, others = oracle.slots(start, step), subject.slots(start, step)
        for at, (one, other) in enumerate(zip(ones, others, strict=False)):
            if one != other:
                return start + at * step, start + (at + 1) * step
        if (oracle.count, oracle.lane) == (subject.count, subject.lane):
            return None
        common = min(len(ones), len(others))
        more = oracle.count != subject.count  # if one ended, the next event of the other is the first that differs
        return start + common * step, min(start + (common + 1) * step + more, max(oracle.count, subject.count))

    def at(self, event: int, records: tuple[Record, ...], outcome: Outcome) -> FirstDifference:
        """The difference if the subject ended after ``event`` events and the oracle did not."""
        one = next((each for each in records if each.event == event), None)
        before = tuple(each for each in records if each.event < event)
        return FirstDifference(event, one, None, before[-BEFORE:], self.measured.outcome, outcome)
