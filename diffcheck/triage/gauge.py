"""How far a run came by the most memory that its process had, where nothing else tells: see ``log.Take``.

What a run took is counted in blocks over a base: a run that ends at the same place and takes none. It only says where to look (``silent``).
"""

from __future__ import annotations

import math
import resource
import sys
from typing import TYPE_CHECKING, Final

from diffcheck.backend import CommandBackend
from diffcheck.observation import OutOfMemory
from diffcheck.triage.log import Take

if TYPE_CHECKING:
    from diffcheck.triage.sides import Logged, LogSide

_PAGE: Final = 1 << 16
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
_AHEAD: Final = 4096
"""Pages that the blocks of a run have together, at most: 256 MiB."""
_LARGEST: Final = 512
"""Pages of a block where there are few of them."""
_ERROR: Final = 18
"""Pages that one run takes and another one did not that ended at the same place (seen: kilnd 0.4.4 up to 150 KiB, wasmtime in Python 1.3 MiB)."""
_SHARE: Final = 0.3
"""As much of a block is taken for an error in any case."""
_MARGIN: Final = 1024
"""Pages that a run takes at its beginning over this process's own size (see ``process.Ended.peak_bytes``): more than an engine had while it
compiled and gave back before it ran.
"""
_MORE: Final = 256
"""Pages that a run which is measured takes at its beginning and the base does not, so that an engine whose memory shows nothing is found out."""
_MOST_PAGES: Final = 60_000


class Gauge:
    """Of the subject's runs; ``plain_bytes`` is what its process had at most with the capsule as it is.

    ``works`` where each run is a process of its own that ends without a word, until an engine turns out to show nothing.
    """

    def __init__(self, subject: LogSide, plain_bytes: int) -> None:
        known = subject.backend.capabilities
        self.works = isinstance(subject.backend, CommandBackend) and not known.state_at_trap
        self.own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT // _PAGE + _MARGIN
        self.plain = max(plain_bytes // _PAGE, self.own)
        self._base: float | None = None
        self._ahead = True

    def base(self) -> Take:
        """What the base takes: so many pages ahead that an engine which clears them at once shows it; nothing where none is wanted."""
        if not self.works:
            return Take()
        return Take(self.own, 0, min(self.plain + _MARGIN, _MOST_PAGES))

    def take(self, blocks: int) -> Take:
        """What a measured run takes that comes to no more than so many blocks."""
        block = min(_AHEAD // (blocks + 1), _LARGEST)
        return Take(self.own + _MORE, block, (blocks + 1) * block if self._ahead else 0)

    def calibrate(self, ran: Logged) -> None:
        """Take this run as the base."""
        pages = ran.peak_bytes / _PAGE
        if pages - self.own > self.plain + _MARGIN / 2:  # those ahead were cleared
            pages -= self.base().ahead
            self._ahead = False
        self._base = pages + _MORE

    def blocks(self, ran: Logged) -> tuple[int, int] | None:
        """How many blocks a run came to, at least and at most; None where it was not measured, and for good where memory shows nothing."""
        if not self.works or self._base is None or not ran.block:
            return None
        more = ran.peak_bytes / _PAGE - self._base
        self.works = not isinstance(ran.outcome, OutOfMemory) and more > -_MORE / 2
        if not self.works:
            return None
        error = max(_ERROR, ran.block * _SHARE)
        return max(0, math.ceil((more - error) / ran.block)), max(0, math.floor((more + error) / ran.block))
