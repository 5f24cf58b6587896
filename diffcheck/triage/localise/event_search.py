"""The search through a run's events: the first one that differs between two engines, by runs that carry out tables of digests.

A run narrows by a factor of 239; a window of about a hundred events is then carried out as it is. A subject that ends without a word
is searched otherwise, see ``silent``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from diffcheck.observation import OutOfMemory, Trapped, sentence
from diffcheck.triage.localise.event_runs import BEFORE, EventRuns, FirstDifference
from diffcheck.triage.localise.silent_trap import Silent
from diffcheck.triage.tracing.event_log import RAWS, WrongDigest, step_of
from diffcheck.triage.tracing.log_writer import known_answer

if TYPE_CHECKING:
    from diffcheck.observation import Outcome
    from diffcheck.triage.tracing.event_log import EventLog, Record
    from diffcheck.triage.tracing.log_reader import Logged, LogSide


class Search(EventRuns):
    """The search for the first event that differs."""

    def first(self, start: int = 0, before: int | None = None) -> FirstDifference | None:
        """The first difference from event ``start`` on; None where all events are equal. Both engines come to event ``before``, where
        one is named, and the search ends there.
        """
        if before is not None:
            return self._narrow(start, before) if start < before else None
        end = self.total + 1
        if end - start > RAWS - BEFORE:
            step = step_of(start, end)
            ran = self._whole(start, step, end)
            if ran.log is None:
                return self._silent(start, end, ran)
            window = self.window(ran.log, start, step, end)
            return self.inside(*window) if window is not None else self._ends()
        return self._narrow(start, end)

    def shown_by(self, other: LogSide, oracle: LogSide, first: FirstDifference) -> Literal["same", "none", "another"]:
        """Whether the subject does the same at that event with the other digest: the same, nothing that differs from the oracle, or
        something else that does. WrongDigest where it computes that digest wrong.
        """
        since = max(0, first.event - BEFORE)
        ran, expected_run = self.ask(other, since, 0, first.event + 1), self.ask(oracle, since, 0, first.event + 1)
        log = ran.log
        if log is not None and (log.known != known_answer(other.variant) or log.contradicts(other.variant, since)):
            raise WrongDigest("it computes the known answer wrong, or its log contradicts itself")
        if log is not None and log.count < first.event:
            return "another"  # it did not come as far
        subject, expected = _last(log, since, first.event), _last(expected_run.log, since, first.event)
        if subject is None and expected is None:  # both ended before this event: how they ended is what differs
            if _kind(ran.outcome) == _kind(first.subject_outcome):
                return "same"
            return "none" if _kind(ran.outcome) == _kind(expected_run.outcome) else "another"
        if subject == expected:
            return "none"
        if subject is None or first.subject is None:
            return "same" if subject == first.subject else "another"
        site = self.made.site(subject.site)
        digests = site is not None and site.role == "range"  # each variant digests a range by its own instructions
        same = subject.site == first.subject.site and (digests or subject.value == first.subject.value)
        return "same" if same else "another"

    def _whole(self, start: int, step: int, end: int) -> Logged:
        """A run through all of the range; what it takes is the base of others, but for an engine that has not enough memory for it."""
        ran = self.ask_subject(start, step, end, self.gauge.base())
        if self.gauge.works and isinstance(ran.outcome, OutOfMemory):
            self.gauge.works = False
            return self.ask_subject(start, step, end)
        return ran

    def inside(self, start: int, end: int) -> FirstDifference:
        """The first difference in [start, end), which holds one by its digest."""
        found = self._narrow(start, end)
        if found is None:
            raise WrongDigest("its digests differ where the events are equal")
        return found

    def _narrow(self, start: int, end: int) -> FirstDifference | None:
        """The first difference in [start, end)."""
        while end - start > RAWS - BEFORE:
            step = step_of(start, end)
            log = self.ask_subject(start, step, end).log
            if log is None:
                raise WrongDigest("it comes to an end in one run and not in another")
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
            return self._silent(start, end, ran)
        if log.contradicts(self.made.variant, since):
            raise WrongDigest("its log contradicts itself")
        oracle = self.ask(self.oracle, since, 0, end)
        assert oracle.log is not None, "it gave one before"  # noqa: S101
        ones, others = oracle.log.records(since), log.records(since)
        for at in range(max(len(ones), len(others))):
            one = ones[at] if at < len(ones) else None
            other = others[at] if at < len(others) else None
            if one != other and since + at >= start:
                return FirstDifference(since + at, one, other, ones[max(0, at - BEFORE) : at], self.measured.outcome, self.ended)
        if (oracle.log.count, oracle.log.lane) != (log.count, log.lane):
            raise WrongDigest("its digests differ where the events are equal")
        return self._ends(ones[-BEFORE:]) if end > self.total else None

    def _ends(self, before: tuple[Record, ...] = ()) -> FirstDifference | None:
        """All events are equal: whether the runs ended otherwise."""
        if not isinstance(self.measured.outcome, Trapped) or _kind(self.ended) == _kind(self.measured.outcome):
            return None
        if not before:
            since = max(0, self.total - BEFORE)
            known = self.ask(self.oracle, since, 0, self.total).log
            before = known.records(since) if known is not None else ()
        return FirstDifference(self.total, None, None, before, self.measured.outcome, self.ended)

    def _silent(self, start: int, end: int, ran: Logged) -> FirstDifference | None:
        """The end of a subject that ended without a word in [start, end); ``ran`` is the run through all of it that did."""
        if isinstance(self.measured.outcome, Trapped) and start < self.total < end:
            again = step_of(start, self.total)
            log = self.ask_subject(start, again, self.total).log
            if log is not None:  # it comes as far as the oracle, and traps there as well
                window = self.window(log, start, again, self.total)
                return self.inside(*window) if window is not None else self._ends()
            end = self.total
        found = Silent(self, start, end).find(ran)
        return found if isinstance(found, FirstDifference) else self.inside(*found)


def _kind(outcome: Outcome) -> str:
    return outcome.kind if isinstance(outcome, Trapped) else sentence(outcome)


def _last(log: EventLog | None, since: int, event: int) -> Record | None:
    """The record of an event that a log ends with; None where it ends before."""
    found = log.records(since) if log is not None else ()
    return found[-1] if found and found[-1].event == event else None
