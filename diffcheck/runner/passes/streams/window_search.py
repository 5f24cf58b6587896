"""Locating the differences of two byte ranges when each run carries out only a window of 242 words.

A run of digests over evenly spaced blocks narrows the range by a factor of 242; a run of bytes then reads a block. So a range of up
to 474 kB takes one run of digests, and one run of bytes for each differing block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from diffcheck.capsule.layout import VIEW_BYTES, VIEW_WORDS
from diffcheck.capsule.recorder.digest import digest

Read: TypeAlias = Callable[[int, int, int], bytes | None]
"""(mode, offset, step) to the bytes of the view; mode 0 is bytes, 1 digests of blocks of ``step``. None if the run failed."""


class RunBudget:
    """The number of runs for locating differences; when it is exhausted, ``more`` is called once to extend it."""

    def __init__(self, runs: int, more: Callable[[], int] | None = None) -> None:
        self.total = self.left = runs
        self._more = more

    def take(self) -> bool:
        """Take one run from the budget; False if it is exhausted."""
        if self.left <= 0 and self._more is not None:
            added, self._more = self._more(), None
            self.total += added
            self.left += added
        self.left -= 1
        return self.left >= 0

    def part(self, runs: int) -> RunBudget:
        """A part of this budget, for one place."""
        return _Part(self, runs)


class _Part(RunBudget):
    def __init__(self, whole: RunBudget, runs: int) -> None:
        super().__init__(runs)
        self._whole = whole

    def take(self) -> bool:
        return super().take() and self._whole.take()


class Window(msgspec.Struct, frozen=True):
    """Bytes of both engines at an offset."""

    offset: int
    oracle: bytes
    subject: bytes


class LocatedWindows(msgspec.Struct, frozen=True):
    """The windows that were read, and the number of bytes with differences that were not read."""

    windows: tuple[Window, ...]
    unlocated: int


def locate(oracle: Read, subject: Read, offset: int, length: int, budget: RunBudget) -> LocatedWindows:
    """The differing windows in [offset, offset + length) within the budget; ``length`` is a multiple of 8."""
    if length <= 0:
        return LocatedWindows((), 0)
    if length <= VIEW_BYTES:
        return _window(oracle, subject, offset, length, budget)
    step = (-(-length // VIEW_WORDS) + 7) & ~7
    if not budget.take():
        return LocatedWindows((), length)
    ones, others = oracle(1, offset, step), subject(1, offset, step)
    if ones is None or others is None:
        return LocatedWindows((), length)
    blocks = [at for at in range(VIEW_WORDS) if at * step < length and ones[8 * at : 8 * at + 8] != others[8 * at : 8 * at + 8]]
    windows: list[Window] = []
    unlocated = 0
    for first, count in _runs(blocks, max(1, VIEW_BYTES // step)):
        size = min(count * step, length - first * step)
        found = locate(oracle, subject, offset + first * step, size, budget)
        windows += found.windows
        unlocated += found.unlocated
    return LocatedWindows(tuple(windows), unlocated)


def _window(oracle: Read, subject: Read, offset: int, length: int, budget: RunBudget) -> LocatedWindows:
    if not budget.take():
        return LocatedWindows((), length)
    one, other = oracle(0, offset, 0), subject(0, offset, 0)
    if one is None or other is None:
        return LocatedWindows((), length)
    return LocatedWindows((Window(offset, one[:length], other[:length]),), 0)


def _runs(blocks: list[int], most: int) -> list[tuple[int, int]]:
    """Groups of at most ``most`` neighbouring blocks: (first, number)."""
    runs: list[tuple[int, int]] = []
    for block in blocks:
        if runs and block < runs[-1][0] + most:
            runs[-1] = (runs[-1][0], block - runs[-1][0] + 1)
        else:
            runs.append((block, 1))
    return runs


def local(data: bytes) -> Read:
    """A reader of local bytes that returns what a run would carry out."""

    def read(mode: int, offset: int, step: int) -> bytes:
        if not mode:
            return data[offset : offset + VIEW_BYTES].ljust(VIEW_BYTES, b"\0")
        lanes = []
        for at in range(VIEW_WORDS):
            block = data[offset + at * step : offset + (at + 1) * step]
            lanes.append(digest(block)[0].to_bytes(8, "little") if block else bytes(8))
        return b"".join(lanes)

    return read
