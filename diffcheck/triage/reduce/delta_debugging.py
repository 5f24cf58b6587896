"""Delta debugging: the largest subset of independent changes that can be applied together (Zeller and Hildebrandt, 2002).

The items are halved; candidates of one size are tested in parallel. If hundreds of items are to be removed and their *number* matters,
the longest removable tail is found by bisection instead of testing every item.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")
UNLIMITED: Final = 1 << 30
_LESS: Final = 4
"""After the tail was bisected, groups of several items are given up this many times earlier."""


class Subsets(Generic[T]):
    """Searches the subsets of some items.

    ``first_accepted`` returns the index of the first accepted subset of several, or None. ``take`` receives every accepted
    subset, each larger than the one before.
    """

    def __init__(self, first_accepted: Callable[[Iterable[list[T]]], int | None], take: Callable[[list[T]], None]) -> None:
        self._first_accepted, self._take = first_accepted, take

    def largest(self, items: Sequence[T], patience: int = UNLIMITED) -> list[T]:
        """The accepted items, in the order in which they were accepted.

        After ``patience`` rejected candidates of one size in a row, the others of that size are not tested.
        """
        accepted: list[T] = []
        pending, chunk, bisected = list(items), len(items), False
        while pending and chunk:
            parts = [pending[at : at + chunk] for at in range(0, len(pending), chunk)]
            enough = -(-patience // _LESS) if bisected and chunk > 1 else patience
            pending, gave_up = self._one_size(parts, accepted, enough)
            if gave_up and not bisected:
                bisected = True
                tail = self._longest_tail(pending, accepted)
                accepted += pending[len(pending) - tail :]
                pending = pending[: len(pending) - tail]
            chunk = min(chunk, len(pending)) // 2 if chunk > 1 else 0
            if not chunk and pending and len(parts[0]) > 1:
                chunk = 1
        return accepted

    def _one_size(self, parts: list[list[T]], accepted: list[T], enough: int) -> tuple[list[T], bool]:
        """Test groups of one size, extend ``accepted``; returns the items left, and whether ``enough`` were rejected in a row."""
        left: list[T] = []
        at, rejected = 0, 0
        while at < len(parts) and rejected < enough:
            tested = parts[at : at + enough - rejected]
            hit = self._first_accepted(accepted + part for part in tested)
            end = at + (len(tested) if hit is None else hit)
            rejected = rejected + len(tested) if hit is None else 0
            left += [item for part in parts[at:end] for item in part]
            if hit is not None:
                accepted += parts[end]
                self._take(list(accepted))
            at = end + (hit is not None)
        left += [item for part in parts[at:] for item in part]
        return left, rejected >= enough

    def _longest_tail(self, items: list[T], accepted: list[T]) -> int:
        """How many of the last items are accepted too, if every shorter tail is accepted as well; all of them are not."""
        low, high = 0, len(items)
        while high - low > 1:
            some = (low + high) // 2
            more = accepted + items[-some:]
            if self._first_accepted([more]) is None:
                high = some
            else:
                low = some
                self._take(more)
        return low
