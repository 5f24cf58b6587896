"""How far a run came by the most memory that its process had, where nothing else tells: see ``log.Take``.

What a run took is counted in blocks over a base. Any measurement may be off, the base as well, so all of them are kept, and where the
subject ended is what explains them best. It only says where to look (``silent``).
"""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from diffcheck.backend.command import CommandBackend
from diffcheck.triage.tracing.event_log import MemoryProbe

if TYPE_CHECKING:
    from diffcheck.triage.tracing.log_reader import Logged, LogSide

_PAGE: Final = 1 << 16
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
_AHEAD: Final = 4096
"""Pages that the blocks of a run have together, at most: 256 MiB."""
_LARGEST: Final = 512
"""Pages of a block where there are few of them."""
_ERROR: Final = 18
"""Pages that one run takes and another one did not that ended at the same place (seen: kilnd 0.4.4 up to 150 KiB, wasmtime in Python 1.3 MiB
but for one run in some hundreds on a busy machine).
"""
_SHARE: Final = 0.3
"""As much of a block is taken for an error in any case."""
_OUTLIER: Final = 1.5
"""Errors by which a measurement is as good as none."""
_WIDER: Final = 0.25
"""How much worse an explanation may be than the best one, for each miss."""
_MISSES: Final = 4
"""Misses after which no more is measured."""
_MOST: Final = 12
"""Runs that are measured: an engine whose memory tells the place takes half as many."""
_MARGIN: Final = 1024
"""Pages that a run takes at its beginning over this process's own size (see ``process.Ended.peak_bytes``): more than an engine had while it
compiled and gave back before it ran.
"""
_MORE: Final = 256
"""Pages that a run which is measured takes at its beginning and the base does not, so that an engine whose memory shows nothing is found out."""
_MOST_PAGES: Final = 60_000


class Measured(NamedTuple):
    """A run took ``pages`` with a block of ``block`` pages at each ``step`` events from ``start`` on. It came to its end behind ``halt``
    events, or ended without a word where that is None.
    """

    pages: float
    block: int
    start: int
    step: int
    halt: int | None = None

    def blocks(self, events: int) -> int:
        """How many it took if the subject ends behind so many events."""
        ended = events if self.halt is None else self.halt
        return max(0, -(-(ended - self.start) // self.step))

    def without(self, events: int) -> float:
        """The pages that it would have taken without any, then."""
        return self.pages - self.block * self.blocks(events)

    @property
    def error(self) -> float:
        """By how much it may be off."""
        return max(_ERROR, self.block * _SHARE)


class Gauge:
    """Of the subject's runs; ``plain_bytes`` is what its process had at most with the capsule as it is.

    ``works`` where each run is a process of its own that ends without a word, until an engine turns out to show nothing.
    """

    def __init__(self, subject: LogSide, plain_bytes: int) -> None:
        known = subject.backend.capabilities
        self.works = isinstance(subject.backend, CommandBackend) and not known.state_at_trap
        self.own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT // _PAGE + _MARGIN
        self.plain = max(plain_bytes // _PAGE, self.own)
        self._ahead = True
        self._measured: list[Measured] = []
        self._misses = 0

    def base(self) -> MemoryProbe:
        """What the base takes: so many pages ahead that an engine which clears them at once shows it; nothing where none is wanted."""
        if not self.works:
            return MemoryProbe()
        return MemoryProbe(self.own, 0, min(self.plain + _MARGIN, _MOST_PAGES))

    def take(self, blocks: int) -> MemoryProbe:
        """What a measured run takes that comes to no more than so many blocks; nothing where none is wanted."""
        if not self.works:
            return MemoryProbe()
        block = min(_AHEAD // (blocks + 1), _LARGEST)
        return MemoryProbe(self.own + _MORE, block, (blocks + 1) * block if self._ahead else 0)

    def calibrate(self, ran: Logged) -> None:
        """Take this run as the base."""
        pages = ran.peak_bytes / _PAGE
        if pages - self.own > self.plain + _MARGIN / 2:  # those ahead were cleared
            pages -= self.base().ahead
            self._ahead = False
        self._measured = [Measured(pages, 0, 0, 1)]

    def measure(self, ran: Logged, start: int, step: int, halt: int) -> None:
        """Take in a run that was to be stopped there. Where its memory shows nothing, no more is measured."""
        if not self.works or not self._measured or not ran.block:
            return
        pages = ran.peak_bytes / _PAGE
        self.works = abs(pages - self._measured[0].pages) > _ERROR and len(self._measured) < _MOST
        self._measured.append(Measured(pages - _MORE, ran.block, start, step, halt if ran.log is not None else None))

    def missed(self) -> None:
        """The subject did not end where it seemed: what explains the measurements a little worse is looked at as well."""
        self._misses += 1
        self.works = self.works and self._misses < _MISSES

    def near(self, low: int, high: int) -> tuple[int, int]:
        """Where in [low, high) it seems to have ended, as a range of such numbers of events."""
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
        """How badly an end behind so many events explains all, with the base that fits best: 0 within the errors, 1 for each one not at all."""
        bases = [(each.without(events), each.error) for each in self._measured]
        return min(sum(_off(abs(base - one), error) for base, error in bases) for one, _ in bases)


def _off(pages: float, error: float) -> float:
    return 0.0 if pages <= error else min(1.0, (pages / error - 1) / (_OUTLIER - 1))
