"""How far a subject came that ends without a word: how many events it noted before it trapped.

Two things are known of such a run. A run that is told to stop behind n events comes to its end if and only if the subject notes as many:
a bit. And the instrumented program can be told to take memory at each block of events, so that the most memory that the engine's process
had says in which block it ended: about seven bits, where each run is a process of its own. The memory only says where to look. The
answer rests on two runs: one that stops behind n events and comes to its end, and one that should stop behind n + 1 and does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.observation import OutOfMemory, TimedOut, Trapped
from diffcheck.triage import odds
from diffcheck.triage.log import MAX_TRACE, RAWS, SLOTS
from diffcheck.triage.odds import Odds

if TYPE_CHECKING:
    from diffcheck.triage.log import Log, Record
    from diffcheck.triage.search import First, Search
    from diffcheck.triage.sides import Logged

_WIDER: Final = 16
_MISSES: Final = 3
"""How often a measurement may be refuted by a stop before no more are made."""


class Silent:
    """The search in [start, end), which a run showed to hold the subject's end."""

    def __init__(self, search: Search, start: int, end: int) -> None:
        self.search, self.start, self.end = search, start, end
        self.low, self.high = start, end
        """The subject notes at least ``low`` events and fewer than ``high``."""
        self.near = start, end
        """Where in them the memory says that it ended."""
        self.sharp = True
        self.span, self.misses = 1, 0
        self.odds: Odds | None = None

    def find(self, ran: Logged) -> First | None:
        """The first difference: the end that one engine has and the other has not, or one in the events before it. ``ran`` is the run
        that showed it, which takes memory at its beginning only.
        """
        search = self.search
        outcome = search.ended
        if not isinstance(outcome, Trapped | TimedOut) and search.ask_subject(0, 1, 0).log is None:
            return search.at(-1, (), outcome)
        search.gauge.calibrate(ran)
        while self.high - self.low > 1:
            wide = self._seen() and self.sharp and self.near[1] - self.near[0] > 1
            found = self._measure() if wide else self._stop(self._middle())
            if isinstance(found, tuple):
                return search.inside(*found)
        records = search.oracle_records(max(0, self.low - RAWS // 2), self.low + 1)
        return search.at(self.low, records, outcome)

    # By memory.

    def _seen(self) -> bool:
        return self.search.gauge.works

    def _measure(self) -> tuple[int, int] | None:
        """A run through the events where the subject ended as it seems, measured."""
        low, high = self.near
        step = max(1, -(-(high - low) // SLOTS))
        ran = self.search.ask_subject(low, step, high, self.search.gauge.take(-(-(high - low) // step)))
        if ran.log is not None:
            return self._stop(high)  # further than measured, and the events before these are still to be compared
        if isinstance(ran.outcome, OutOfMemory):
            self.search.gauge.works = False
            return None
        self.high = high
        self._measured(ran, low, step)
        self.sharp = self.near != (low, high)
        return None

    def _measured(self, ran: Logged, start: int, step: int) -> None:
        """Narrow by what a run with these blocks took, which ended without a word."""
        came_to = self.search.gauge.blocks(ran)
        if came_to is None:
            return
        self.span = step
        least, most = came_to
        self._narrow(start + (least - 1) * step + 1 if least else 0, start + most * step + 1)

    def _narrow(self, first: int, last: int) -> None:
        """It ended in [first, last) as it seems; where that cannot be, next to it."""
        low, high = max(self.near[0], self.low, first), min(self.near[1], self.high, last)
        if low >= high:
            self.misses += 1
            self.search.gauge.works = self.misses < _MISSES
            self.span *= _WIDER
            self.sharp = True
            low, high = max(self.low, self.high - self.span), min(self.high, self.low + self.span)
            low, high = (low, self.high) if first >= self.high else (self.low, high)
        self.near = low, high

    # By stops.

    def _middle(self) -> int:
        low, high = self.near if self._seen() else (self.low, self.high)
        if high - low == 1:
            return low if low > self.low else high
        if self.odds is None:
            self.odds = Odds(self.start, self._weights())
        return self.odds.middle(low, high)

    def _stop(self, middle: int) -> tuple[int, int] | None:
        step = max(1, -(-(middle - self.low) // SLOTS))
        low = self.low
        log = self.search.ask_subject(low, step, middle).log
        if log is not None:
            return self._reached(log, low, step, middle)
        self.high = middle
        self._narrow(self.near[0], middle)
        return None

    def _reached(self, log: Log, start: int, step: int, halt: int) -> tuple[int, int] | None:
        """The subject came to a stop: its events up to there are the oracle's, or the window that has the first other one."""
        window = self.search.window(log, start, step, halt)
        if window is None:
            self.low = halt
            self._narrow(halt, self.near[1])
        return window

    def _weights(self) -> list[float]:
        trace = self._trace()
        return odds.weights(self.search.made, trace, self.search.ended) if trace is not None else []

    def _trace(self) -> tuple[Record, ...] | None:
        """Every event of the oracle in the range; None where there are too many, or where it carries windows only."""
        if self.end - self.start > MAX_TRACE or self.search.oracle.backend.capabilities.transport == "words":
            return None
        return self.search.oracle_records(self.start, self.end)
