"""The runs that a search through events makes: what each engine's log has of a range, within a number of the subject's runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from diffcheck.observation import Returned
from diffcheck.triage.localise.memory_progress import Gauge
from diffcheck.triage.tracing.event_log import NEVER, RAWS, LogParameters, MemoryProbe, WrongDigest
from diffcheck.triage.tracing.log_writer import known_answer

if TYPE_CHECKING:
    from diffcheck.observation import Outcome
    from diffcheck.triage.tracing.event_log import EventLog, Record
    from diffcheck.triage.tracing.instrument import Instrumented, Level
    from diffcheck.triage.tracing.log_reader import Logged, LogSide

BEFORE = 12
"""How many events before the difference are carried out with it."""
_UNMEASURED = MemoryProbe()


class SearchBudgetExhausted(Exception):  # noqa: N818 - an outcome of the search
    """No more runs of the subject may be made."""


class SearchBudget(Protocol):
    """How many runs of the subject were made, and may be."""

    runs: int
    max_runs: int


class FirstDifference(msgspec.Struct, frozen=True):
    """The first difference: its event number (-1: the subject did not begin), both records there (None where an engine ended), the
    records before it, latest last.
    """

    event: int
    oracle: Record | None
    subject: Record | None
    before: tuple[Record, ...]
    oracle_outcome: Outcome
    subject_outcome: Outcome


class EventRuns:
    """The runs of the rows [first, last) with one instrumentation on both sides; ``total`` is the oracle's number of events."""

    default: Level = "full"
    subject_stream: tuple[int, int, int] | None = None

    def __init__(
        self,
        made: Instrumented,
        oracle: LogSide,
        subject: LogSide,
        rows: tuple[int, int, int],
        budget: SearchBudget,
        plain_bytes: int = 0,
    ) -> None:
        self.made, self.oracle, self.subject = made, oracle, subject
        self.rows, self.budget = rows, budget
        measured = self.ask(oracle, step=NEVER)
        self.measured = measured
        self.total = measured.log.count if measured.log is not None else -1
        self.ended: Outcome = Returned()
        self.seen = False
        self.gauge = Gauge(subject, plain_bytes)

    def _parameters(
        self, start: int = 0, step: int = 0, halt: int = NEVER, limit: int = RAWS, take: MemoryProbe = _UNMEASURED
    ) -> LogParameters:
        first, last, flags = self.rows
        return LogParameters(first, last, flags, start=start, step=step, halt=halt, limit=limit, take=take)

    def ask(
        self,
        side: LogSide,
        start: int = 0,
        step: int = 0,
        halt: int = NEVER,
        limit: int = RAWS,
        take: MemoryProbe = _UNMEASURED,
    ) -> Logged:
        """A run of one side; raises ``Spent`` where the subject may not be run again."""
        if side.backend is not self.oracle.backend:
            if self.budget.runs >= self.budget.max_runs:
                raise SearchBudgetExhausted
            self.budget.runs += 1
        return side.logged(self._parameters(start, step, halt, limit, take))

    def oracle_records(self, start: int, end: int) -> tuple[Record, ...]:
        """The oracle's records of the events in [start, end); where it carries windows only, of no more than those hold."""
        log = self.ask(self.oracle, start, 0, end, limit=max(end - start, RAWS)).log
        return log.records(start) if log is not None else ()

    def ask_subject(self, start: int, step: int, halt: int, take: MemoryProbe = _UNMEASURED) -> Logged:
        """A run of the subject; without a log where it ended without a word."""
        ran = self.ask(self.subject, start, step, halt, take=take)
        if not isinstance(ran.outcome, Returned) or not self.seen:
            self.ended = ran.outcome
        self.seen = True
        self.subject_stream = ran.stream if halt > self.total else self.subject_stream
        if ran.log is not None and ran.log.known != known_answer(self.made.variant):
            raise WrongDigest("it computes the known answer wrong")
        return ran

    def window(self, subject: EventLog, start: int, step: int, halt: int) -> tuple[int, int] | None:
        """The events of the first block that differs from the oracle's."""
        oracle = self.ask(self.oracle, start, step, halt).log
        assert oracle is not None, "it gave one before"  # noqa: S101
        ones, others = oracle.slots(start, step), subject.slots(start, step)
        for at, (one, other) in enumerate(zip(ones, others, strict=False)):
            if one != other:
                return start + at * step, start + (at + 1) * step
        if (oracle.count, oracle.lane) == (subject.count, subject.lane):
            return None
        common = min(len(ones), len(others))
        more = oracle.count != subject.count  # where one ended, the other's next event is the first that differs
        return start + common * step, min(start + (common + 1) * step + more, max(oracle.count, subject.count))

    def at(self, event: int, records: tuple[Record, ...], outcome: Outcome) -> FirstDifference:
        """The subject ended behind so many events, and the oracle did not."""
        one = next((each for each in records if each.event == event), None)
        before = tuple(each for each in records if each.event < event)
        return FirstDifference(event, one, None, before[-BEFORE:], self.measured.outcome, outcome)
