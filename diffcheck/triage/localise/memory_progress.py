"""Estimates from the peak memory of its process how far a silent run came; see ``event_log.MemoryProbe``.

A run allocates blocks on top of a base. Every measurement may be wrong, also the base, so all are kept, and the estimate is the end
that explains them best. It only guides the search (``silent_trap``).
"""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from diffcheck.backend.command import CommandBackend
from diffcheck.triage.tracing.event_log import MemoryProbe

if TYPE_CHECKING:
    from diffcheck.triage.tracing.log_reader import LogRun, LogSide

_PAGE: Final = 1 << 16
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
_AHEAD: Final = 4096
"""The most pages of all blocks of a run: 256 MiB."""
_LARGEST: Final = 512
"""The most pages of a block."""
_ERROR: Final = 18
"""The difference in pages between runs that end at the same event (measured: kilnd 0.4.4 up to 150 KiB, wasmtime in Python 1.3 MiB,
except for one run in some hundreds on a busy machine).
"""
_SHARE: Final = 0.3
"""The least error, as a share of a block."""
_OUTLIER: Final = 1.5
"""A measurement that is off by this many errors does not count."""
_WIDER: Final = 0.25
"""For each miss, explanations that are this much worse than the best one are considered as well."""
_MISSES: Final = 4
"""The number of misses after which measuring stops."""
_MOST: Final = 12
"""The most measured runs; an engine whose memory shows the end needs half as many."""
_MARGIN: Final = 1024
"""Pages that a run allocates at its start beyond this process's own size (see ``process.ProcessResult.peak_bytes``): more than an
engine frees after compiling.
"""
_MORE: Final = 256
"""Pages that a measured run allocates at its start in addition to the base, to detect engines whose memory shows nothing."""
_MOST_PAGES: Final = 60_000


class Measurement(NamedTuple):
    """A run with ``pages`` at its peak, which allocated ``block`` pages every ``step`` events from ``start`` on. It stopped after ``halt``
    events, or silently if that is None.
    """

    pages: float
    block: int
    start: int
    step: int
    halt: int | None = None

    def blocks(self, events: int) -> int:
        """The number of blocks if the subject ends after ``events`` events."""
        ended = events if self.halt is None else self.halt
        return max(0, -(-(ended - self.start) // self.step))

    def without(self, events: int) -> float:
        """The pages of 64 KiB without blocks if the subject ends after ``events`` events."""
        return self.pages - self.block * self.blocks(events)

    @property
    def error(self) -> float:
        """The possible error in pages of 64 KiB."""
        return max(_ERROR, self.block * _SHARE)


class MemoryProgress:
    """Measures the subject's runs; ``plain_bytes`` is the peak memory of its process with the capsule without instrumentation.

    ``works`` is whether each run is a separate process that reports nothing at a trap, and its memory has been informative so far.
    """

    def __init__(self, subject: LogSide, plain_bytes: int) -> None:
        known = subject.backend.capabilities
        self.works = isinstance(subject.backend, CommandBackend) and not known.state_at_trap
        self.own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT // _PAGE + _MARGIN
        self.plain = max(plain_bytes // _PAGE, self.own)
        self._ahead = True
        self._measured: list[Measurement] = []
        self._misses = 0

    def base(self) -> MemoryProbe:
        """The probe of the base: enough pages ahead to detect an engine that clears memory at once; empty if nothing is measured."""
        if not self.works:
            return MemoryProbe()
        return MemoryProbe(self.own, 0, min(self.plain + _MARGIN, _MOST_PAGES))

    def take(self, blocks: int) -> MemoryProbe:
        """The probe of a measured run with at most ``blocks`` blocks; empty if nothing is measured."""
        if not self.works:
            return MemoryProbe()
        block = min(_AHEAD // (blocks + 1), _LARGEST)
        return MemoryProbe(self.own + _MORE, block, (blocks + 1) * block if self._ahead else 0)

    def calibrate(self, ran: LogRun) -> None:
        """Use a run as the base."""
        pages = ran.peak_bytes / _PAGE
        if pages - self.own > self.plain + _MARGIN / 2:  # those ahead were cleared
            pages -= self.base().ahead
            self._ahead = False
        self._measured = [Measurement(pages, 0, 0, 1)]

    def measure(self, ran: LogRun, start: int, step: int, halt: int) -> None:
        """Add a run that was to stop after ``halt`` events. If its memory is not informative, measuring stops."""
        if not self.works or not self._measured or not ran.block:
            return
        pages = ran.peak_bytes / _PAGE
        self.works = abs(pages - self._measured[0].pages) > _ERROR and len(self._measured) < _MOST
        self._measured.append(Measurement(pages - _MORE, ran.block, start, step, halt if ran.log is not None else None))

    def missed(self) -> None:
        """Record that the subject did not end where estimated, so that worse explanations are considered as well."""
        self._misses += 1
        self.works = self.works and self._misses < _MISSES

    def near(self, low: int, high: int) -> tuple[int, int]:
        """The estimated end in [low, high), as a range of numbers of events."""
        if not self.works or not self._measured:
            return low, high
        cuts = {low, high}
        for each in self._measured:
            blocks = range(each.blocks(low), each.blocks(high) + 1) if each.block and each.halt is None else ()
            cuts.update(at for block in blocks if low < (at := each.start + block * each.step + 1) < high)
        cells = sorted(cuts)
        costs = [self._cost(at) for at in cells[:-1]]
        enough = min(costs) + self._misses * _WIDER
        first = last = costs.index(min(costs))
        while first > 0 and costs[first - 1] <= enough:
            first -= 1
        while last + 1 < len(costs) and costs[last + 1] <= enough:
            last += 1
        return cells[first], cells[last + 1]

    def _cost(self, events: int) -> float:
        """The misfit of an end after ``events`` events with the best base: 0 within the errors, up to 1 for each measurement."""
        bases = [(each.without(events), each.error) for each in self._measured]
        return min(sum(_off(abs(base - one), error) for base, error in bases) for one, _ in bases)


def _off(pages: float, error: float) -> float:
    return 0.0 if pages <= error else min(1.0, (pages / error - 1) / (_OUTLIER - 1))
