"""How far a subject came that ends without a word: how many events it noted before it trapped.

Two things are known of such a run. A run that is told to stop behind n events comes to its end if and only if the subject notes as many:
a bit. And the instrumented program can be told to take memory at each block of events, so that the most memory that the engine's process
had says in which block it ended: about seven bits, where each run is a process of its own. The memory only says where to look. The
answer rests on two runs: one that stops behind n events and comes to its end, and one that should stop behind n + 1 and does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.observation import OutOfMemory, TimedOut, Trapped
from diffcheck.triage.localise import end_likelihood
from diffcheck.triage.localise.end_likelihood import Odds
from diffcheck.triage.tracing.event_log import MAX_TRACE, RAWS, WrongDigest, step_of

if TYPE_CHECKING:
    from diffcheck.triage.localise.event_runs import EventRuns, FirstDifference
    from diffcheck.triage.tracing.event_log import Record
    from diffcheck.triage.tracing.log_reader import Logged


class Silent:
    """The search in [start, end), which a run showed to hold the subject's end."""

    def __init__(self, runs: EventRuns, start: int, end: int) -> None:
        self.runs, self.start, self.end = runs, start, end
        self.low, self.high = start, end
        """The subject notes at least ``low`` events and fewer than ``high``."""
        self.equal = start
        """Its events before this one are the oracle's."""
        self.near = start, end
        """Where in them it seems to have ended, by the memory."""
        self.sharp = True
        self.odds: Odds | None = None

    def find(self, ran: Logged) -> FirstDifference | tuple[int, int]:
        """The first difference: the end that one engine has and the other has not, or the window of the events before it that holds
        one. ``ran`` is the run that showed it, which takes memory at its beginning only.
        """
        runs = self.runs
        outcome = runs.ended
        if not isinstance(outcome, Trapped | TimedOut) and runs.ask_subject(0, 1, 0).log is None:
            return runs.at(-1, (), outcome)
        runs.gauge.calibrate(ran)
        while self.high - self.low > 1 or self.equal < self.low:
            wide = self._seen() and self.sharp and self.near[1] - self.near[0] > 1
            found = self._measure() if wide else self._run(self.equal, self._middle())
            if found is not None:
                return found
        records = runs.oracle_records(max(0, self.low - RAWS // 2), self.low + 1)
        return runs.at(self.low, records, outcome)

    # By memory.

    def _seen(self) -> bool:
        return self.runs.gauge.works

    def _measure(self) -> tuple[int, int] | None:
        """A run through the events where the subject ended as it seems, measured."""
        near = self.near
        found = self._run(max(self.low, near[0] - 1), near[1])  # an end in them takes a block at least
        self.sharp = self.near != near
        return found

    def _run(self, start: int, halt: int) -> tuple[int, int] | None:
        """Look at the events in [start, halt): the window that has the first other one, where all before them are known to be equal."""
        step = step_of(start, halt)
        ran = self.runs.ask_subject(start, step, halt, self.runs.gauge.take(-(-(halt - start) // step)))
        if isinstance(ran.outcome, OutOfMemory) and ran.block:
            self.runs.gauge.works = False
            return None
        if ran.log is None:
            if halt <= self.low:
                raise WrongDigest("it came to an end before, and not again")
            self.high = halt
        else:
            window = self.runs.window(ran.log, start, step, halt)
            if window is not None:
                return window if start == self.equal else self._run(self.equal, halt)
            self.low = halt
            self.equal = halt if start == self.equal else self.equal
        self.runs.gauge.measure(ran, start, step, halt)
        self._look()
        return None

    def _look(self) -> None:
        """Where it seems to have ended, now that more is known."""
        gauge, (low, high) = self.runs.gauge, self.near
        first, last = gauge.near(self.low, self.high)
        if first < low or last > high:
            gauge.missed()
            self.sharp = True
            first, last = gauge.near(self.low, self.high)
        self.near = first, last

    # By stops.

    def _middle(self) -> int:
        if self.high - self.low == 1:
            return self.low
        low, high = self.near if self._seen() else (self.low, self.high)
        if high - low == 1:
            return low if low > self.low else high
        if self.odds is None:
            self.odds = Odds(self.start, self._weights())
        return self.odds.middle(low, high)

    def _weights(self) -> list[float]:
        trace = self._trace()
        return end_likelihood.weights(self.runs.made, trace, self.runs.ended) if trace is not None else []

    def _trace(self) -> tuple[Record, ...] | None:
        """Every event of the oracle in the range; None where there are too many, or where it carries windows only."""
        if self.end - self.start > MAX_TRACE or self.runs.oracle.backend.capabilities.transport == "words":
            return None
        return self.runs.oracle_records(self.start, self.end)
