"""Searches for the first event that differs between two engines, by runs that return tables of digests.

A run narrows the range by a factor of 239; about a hundred events are then returned as records. For a subject that reports nothing
at a trap see ``silent_trap``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from diffcheck.observation import HarnessFailed, OutOfMemory, Trapped, sentence
from diffcheck.triage.localise.event_runs import BEFORE, EventRuns, FirstDifference
from diffcheck.triage.localise.silent_trap import SilentTrapSearch
from diffcheck.triage.tracing.event_log import RAWS, WrongDigest, step_of
from diffcheck.triage.tracing.log_writer import known_answer

if TYPE_CHECKING:
    from diffcheck.observation import Outcome
    from diffcheck.triage.tracing.event_log import EventLog, Record
    from diffcheck.triage.tracing.log_reader import LogRun, LogSide


class EventSearch(EventRuns):
    """The search for the first event that differs."""

    def first(self, start: int = 0, before: int | None = None) -> FirstDifference | None:
        """The first difference from event ``start`` on; None if all events are equal. The search ends at event ``before``, which both
        engines reach, if it is not None.
        """
        if before is not None:
            return self._narrow(start, before) if start < before else None
        end = self.total + 1
        if end - start > RAWS - BEFORE:
            step = step_of(start, end)
            ran = self._whole(start, step, end)
            if ran.log is None:
                return self._silent_trap(start, end, ran)
            window = self.window(ran.log, start, step, end)
            return self.inside(*window) if window is not None else self._ends()
        return self._narrow(start, end)

    def recheck(self, oracle: LogSide, subject: LogSide, first: FirstDifference) -> Literal["same", "none", "another"]:
        """Whether the other digest shows the same difference at that event, none, or another one.

        Raises ``WrongDigest`` if the subject computes the other digest wrongly.
        """
        since = max(0, first.event - BEFORE)
        ran, expected_run = self.run_side(subject, since, 0, first.event + 1), self.run_side(oracle, since, 0, first.event + 1)
        log = ran.log
        if log is not None and (log.known != known_answer(subject.variant) or log.contradicts(subject.variant, since)):
            raise WrongDigest("it computes the known answer wrongly, or its log is inconsistent")
        if log is not None and log.count < first.event:
            return "another"  # it ended before
        record, expected = _last(log, since, first.event), _last(expected_run.log, since, first.event)
        if record is None and expected is None:  # both ended before this event, so their outcomes differ
            if _kind(ran.outcome) == _kind(first.subject_outcome):
                return "same"
            return "none" if _kind(ran.outcome) == _kind(expected_run.outcome) else "another"
        if record == expected:
            return "none"
        if record is None or first.subject is None:
            return "same" if record == first.subject else "another"
        site = self.instrumentation.site(record.site)
        digests = site is not None and site.role == "range"  # each variant digests a range by its own instructions
        same = record.site == first.subject.site and (digests or record.value == first.subject.value)
        return "same" if same else "another"

    def _whole(self, start: int, step: int, end: int) -> LogRun:
        """A run through the whole range, with the memory of the base if the engine has enough."""
        ran = self.run_subject(start, step, end, self.progress.base())
        if self.progress.works and isinstance(ran.outcome, OutOfMemory):
            self.progress.works = False
            return self.run_subject(start, step, end)
        return ran

    def inside(self, start: int, end: int) -> FirstDifference:
        """The first difference in [start, end), whose digests differ."""
        found = self._narrow(start, end)
        if found is None:
            raise WrongDigest("its digests differ over equal events")
        return found

    def _narrow(self, start: int, end: int) -> FirstDifference | None:
        """The first difference in [start, end)."""
        while end - start > RAWS - BEFORE:
            step = step_of(start, end)
            log = self.run_subject(start, step, end).log
            if log is None:
                raise WrongDigest("it finishes in one run but not in another")
            window = self.window(log, start, step, end)
            if window is None:
                return None
            start, end = window
        return self._raw(start, end)

    def _raw(self, start: int, end: int) -> FirstDifference | None:
        since = max(0, start - BEFORE)
        ran = self._whole(since, 0, end)
        log = ran.log
        if log is None:
            return self._silent_trap(start, end, ran)
        if log.contradicts(self.instrumentation.variant, since):
            raise WrongDigest("its log is inconsistent")
        oracle = self.run_side(self.oracle, since, 0, end)
        assert oracle.log is not None, "it had one before"  # noqa: S101
        ones, others = oracle.log.records(since), log.records(since)
        for at in range(max(len(ones), len(others))):
            one = ones[at] if at < len(ones) else None
            other = others[at] if at < len(others) else None
            if one != other and since + at >= start:
                return FirstDifference(since + at, one, other, ones[max(0, at - BEFORE) : at], self.measured.outcome, self.ended)
        if (oracle.log.count, oracle.log.lane) != (log.count, log.lane):
            raise WrongDigest("its digests differ over equal events")
        return self._ends(ones[-BEFORE:]) if end > self.total else None

    def _ends(self, before: tuple[Record, ...] = ()) -> FirstDifference | None:
        """The difference of the outcomes if all events are equal; None if they are the same or the subject's is not known."""
        known = isinstance(self.measured.outcome, Trapped) and not isinstance(self.ended, HarnessFailed)
        if not known or _kind(self.ended) == _kind(self.measured.outcome):
            return None
        if not before:
            since = max(0, self.total - BEFORE)
            log = self.run_side(self.oracle, since, 0, self.total).log
            before = log.records(since) if log is not None else ()
        return FirstDifference(self.total, None, None, before, self.measured.outcome, self.ended)

    def _silent_trap(self, start: int, end: int, ran: LogRun) -> FirstDifference | None:
        """The first difference if the subject trapped silently in [start, end); ``ran`` is that run through the whole range."""
        if isinstance(self.measured.outcome, Trapped) and start < self.total < end:
            again = step_of(start, self.total)
            log = self.run_subject(start, again, self.total).log
            if log is not None:  # it reaches the oracle's trap, and traps there too
                window = self.window(log, start, again, self.total)
                return self.inside(*window) if window is not None else self._ends()
            end = self.total
        found = SilentTrapSearch(self, start, end).find(ran)
        return found if isinstance(found, FirstDifference) else self.inside(*found)


def _kind(outcome: Outcome) -> str:
    return outcome.kind if isinstance(outcome, Trapped) else sentence(outcome)


def _last(log: EventLog | None, since: int, event: int) -> Record | None:
    """The last record of a log if it is that of the event; else None."""
    found = log.records(since) if log is not None else ()
    return found[-1] if found and found[-1].event == event else None
