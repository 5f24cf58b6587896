"""The search through a run's events: the first one that differs between two engines, by runs that carry out tables of digests.

A run narrows by a factor of 239; a window of about a hundred events is then carried out as it is. A subject that ends without a word
is searched by runs that stop at an event: those first behind which something new was done.
"""

from __future__ import annotations

from bisect import bisect
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

import msgspec

from diffcheck.observation import Returned, TimedOut, Trapped, sentence
from diffcheck.triage import flow
from diffcheck.triage.log import MAX_TRACE, NEVER, RAWS, SLOTS, VARIANTS, LogParameters
from diffcheck.triage.probes import known_answer

if TYPE_CHECKING:
    from diffcheck.backend import Limits
    from diffcheck.observation import Outcome
    from diffcheck.triage.instrument import Instrumented, Level
    from diffcheck.triage.log import Log, Record
    from diffcheck.triage.sides import Logged, LogSide

BEFORE = 12
"""How many events before the difference are carried out with it."""
_KEY_EVENTS = 3
_NOVELTY = (1.0, 0.1, 0.01)
"""The weight of an instruction's first execution anywhere, at that place, and with those values."""
_SELDOM = 1e-6


class Spent(Exception):  # noqa: N818 - an outcome of the search
    """No more runs of the subject may be made."""


class WrongDigest(Exception):  # noqa: N818 - as above
    """The subject is wrong in the digest's own instructions: its argument says how."""


class Budget(Protocol):
    """How many runs of the subject were made, and may be."""

    runs: int
    max_runs: int


class First(msgspec.Struct, frozen=True):
    """The first difference: its event number (-1: the subject did not begin), both records there (None where an engine ended), the
    records before it, latest last.
    """

    event: int
    oracle: Record | None
    subject: Record | None
    before: tuple[Record, ...]
    oracle_outcome: Outcome
    subject_outcome: Outcome


class Search:
    """A search over the rows [first, last) with one instrumentation on both sides; ``total`` is the oracle's number of events."""

    default: Level = "full"
    subject_stream: tuple[int, int, int] | None = None

    def __init__(self, made: Instrumented, oracle: LogSide, subject: LogSide, rows: tuple[int, int, int], budget: Budget) -> None:
        self.made, self.oracle, self.subject = made, oracle, subject
        self.rows, self.budget = rows, budget
        measured = self._ask(oracle, step=NEVER)
        self.measured = measured
        self.total = measured.log.count if measured.log is not None else -1
        self.ended: Outcome = Returned()
        self.seen = False

    def _parameters(self, start: int = 0, step: int = 0, halt: int = NEVER, limit: int = RAWS) -> LogParameters:
        first, last, flags = self.rows
        return LogParameters(first, last, flags, start=start, step=step, halt=halt, limit=limit)

    def _ask(self, side: LogSide, start: int = 0, step: int = 0, halt: int = NEVER, limit: int = RAWS) -> Logged:
        if side is not self.oracle:
            if self.budget.runs >= self.budget.max_runs:
                raise Spent
            self.budget.runs += 1
        return side.logged(self._parameters(start, step, halt, limit))

    def first(self, start: int = 0) -> First | None:
        """The first difference from event ``start`` on; None where all events are equal."""
        end = self.total + 1
        if end - start > RAWS - BEFORE:
            step = _step(start, end)
            ran = self._subject(start, step, end)
            if ran is None:
                return self._silent(start, end)
            window = self._window(ran, self._ask(self.oracle, start, step, end), start, step)
            return self._inside(*window) if window is not None else self._ends()
        return self._narrow(start, end)

    def shows(self, first: First, other: LogSide) -> bool:
        """Whether the subject does the same at that event with the other digest; WrongDigest where it computes that one wrong."""
        since = max(0, first.event - BEFORE)
        log = self._ask(other, since, 0, first.event + 1).log
        if log is not None and log.known not in map(known_answer, VARIANTS):
            raise WrongDigest("it computes the known answer wrong")
        if first.subject is None:
            return log is None or log.count <= first.event
        if log is None:
            return False
        return log.records(since)[-1:] == (first.subject,)

    def oracle_record(self, event: int, limits: Limits) -> Record | None:
        """The oracle's record of an event, run in one of its variants."""
        log = self.oracle.logged(self._parameters(event, 0, event + 1), limits).log
        found = log.records(event) if log is not None else ()
        return found[0] if found else None

    def _subject(self, start: int, step: int, halt: int) -> Log | None:
        """A run of the subject; None where it ended without a log."""
        ran = self._ask(self.subject, start, step, halt)
        if not isinstance(ran.outcome, Returned) or not self.seen:
            self.ended = ran.outcome
        self.seen = True
        self.subject_stream = ran.stream if halt > self.total else self.subject_stream
        if ran.log is not None and ran.log.known != known_answer(self.made.variant):
            raise WrongDigest("it computes the known answer wrong")
        return ran.log

    def _window(self, subject: Log, ran: Logged, start: int, step: int) -> tuple[int, int] | None:
        """The events of the first block that differs."""
        oracle = ran.log
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

    def _inside(self, start: int, end: int) -> First:
        """The first difference in [start, end), which holds one by its digest."""
        found = self._narrow(start, end)
        if found is None:
            raise WrongDigest("its digests differ where the events are equal")
        return found

    def _narrow(self, start: int, end: int) -> First | None:
        """The first difference in [start, end)."""
        while end - start > RAWS - BEFORE:
            step = _step(start, end)
            log = self._subject(start, step, end)
            if log is None:
                return self._silent(start, end)
            window = self._window(log, self._ask(self.oracle, start, step, end), start, step)
            if window is None:
                return None
            start, end = window
        return self._raw(start, end)

    def _raw(self, start: int, end: int) -> First | None:
        since = max(0, start - BEFORE)
        log = self._subject(since, 0, end)
        if log is None:
            return self._silent(start, end)
        oracle = self._ask(self.oracle, since, 0, end)
        assert oracle.log is not None, "it gave one before"  # noqa: S101
        ones, others = oracle.log.records(since), log.records(since)
        for at in range(max(len(ones), len(others))):
            one = ones[at] if at < len(ones) else None
            other = others[at] if at < len(others) else None
            if one is not None and other is not None and one.event != other.event:
                raise WrongDigest("it counts events wrong")
            if one != other and since + at >= start:
                return First(since + at, one, other, ones[max(0, at - BEFORE) : at], self.measured.outcome, self.ended)
        if (oracle.log.count, oracle.log.lane) != (log.count, log.lane):
            raise WrongDigest("its digests differ where the events are equal")
        return self._ends(ones[-BEFORE:]) if end > self.total else None

    def _ends(self, before: tuple[Record, ...] = ()) -> First | None:
        """All events are equal: whether the runs ended otherwise."""
        if not isinstance(self.measured.outcome, Trapped) or _kind(self.ended) == _kind(self.measured.outcome):
            return None
        if not before:
            since = max(0, self.total - BEFORE)
            known = self._ask(self.oracle, since, 0, self.total).log
            before = known.records(since) if known is not None else ()
        return First(self.total, None, None, before, self.measured.outcome, self.ended)

    # A subject that ends without a word.

    def _silent(self, start: int, end: int) -> First | None:
        """How many events the subject noted before it ended; or the first difference in those.

        A run that stops behind n events comes to its end if and only if there are as many.
        """
        outcome = self.ended
        if not isinstance(outcome, Trapped | TimedOut) and self._subject(0, 1, 0) is None:
            return First(-1, None, None, (), self.measured.outcome, outcome)
        low, high = start, end
        guess = self.total if isinstance(self.measured.outcome, Trapped) and start < self.total < end else 0
        odds: Odds | None = None
        while high - low > 1:
            if not guess:
                odds = odds or Odds(start, self._weights(start, end, outcome))
            middle, guess = guess or (odds.middle(low, high) if odds is not None else 0), 0
            step = _step(start, middle)
            log = self._subject(start, step, middle)
            if log is None:
                high = middle
                continue
            window = self._window(log, self._ask(self.oracle, start, step, middle), start, step)
            if window is not None:
                return self._inside(*window)
            low = middle
        since = max(0, low - BEFORE)
        known = self._ask(self.oracle, since, 0, low + 1).log
        assert known is not None, "it gave one before"  # noqa: S101
        records = known.records(since)
        one = next((each for each in records if each.event == low), None)
        return First(low, one, None, tuple(each for each in records if each.event < low), self.measured.outcome, outcome)

    def _acting(self, number: int, kind: str) -> tuple[str, bool]:
        """The instruction that follows an event, and whether it may trap so."""
        site = self.made.site(number)
        body = self.made.bodies_of.get(site.function) if site is not None else None
        if site is None or body is None:
            return "", True
        name = body.code[flow.acting(body, site.position, self.made.unprobed)].instruction.name
        return name, flow.may_trap(name, kind)

    def _trace(self, start: int, end: int) -> tuple[Record, ...] | None:
        """Every event of the oracle in the range; None where there are too many, or where it carries windows only."""
        if end - start > MAX_TRACE or self.oracle.backend.capabilities.transport == "words":
            return None
        ran = self._ask(self.oracle, start, 0, end, limit=max(end - start, RAWS + 1))
        return ran.log.records(start) if ran.log is not None else None

    def _weights(self, start: int, end: int, outcome: Outcome) -> list[float]:
        """How likely it is that the subject ended behind so many events: an instruction that is new is likelier to be at fault."""
        trace = self._trace(start, end)
        if trace is None:
            return []
        kind = outcome.kind if isinstance(outcome, Trapped) else ""
        acting: dict[int, tuple[str, bool]] = {}
        weights, seen = [_SELDOM], set[object]()
        for at, record in enumerate(trace):
            if record.site not in acting:
                acting[record.site] = self._acting(record.site, kind)
            name, able = acting[record.site]
            values = tuple(each.value for each in trace[max(0, at - _KEY_EVENTS + 1) : at + 1])
            weight = _SELDOM
            for key, worth in zip((name, record.site, (record.site, values)), _NOVELTY, strict=True):
                if able and key not in seen:
                    seen.add(key)
                    weight = max(weight, worth)
            weights.append(weight)
        return weights


class Odds:
    """The weights of so many events from ``start`` on; uniform where none are given."""

    def __init__(self, start: int, weights: list[float]) -> None:
        self.start, self.sums = start, list(accumulate(weights, initial=0.0))

    def middle(self, low: int, high: int) -> int:
        """The number in (low, high) that parts what is left most evenly: at least so many events, or fewer."""
        if high - self.start >= len(self.sums):
            return (low + high) // 2
        half = (self.sums[low - self.start] + self.sums[high - self.start]) / 2
        at = bisect(self.sums, half) + self.start
        if at > low + 1 and half - self.sums[at - 1 - self.start] < self.sums[min(at, high) - self.start] - half:
            at -= 1
        return min(max(at, low + 1), high - 1)


def _step(start: int, end: int) -> int:
    return max(1, -(-(end - start) // SLOTS))


def _kind(outcome: Outcome) -> str:
    return outcome.kind if isinstance(outcome, Trapped) else sentence(outcome)
