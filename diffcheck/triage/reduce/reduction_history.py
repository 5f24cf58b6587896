"""What a reduction went through, for what its smallest module no longer shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
_BYTES: Final = 64 << 20
"""So much is kept, and the first and the last in any case."""


class Stages:
    """Modules, oldest first; of those in between every other one goes where they become too much."""

    def __init__(self, kept: Iterable[bytes] = ()) -> None:
        self.kept = list(kept)

    def add(self, wasm: bytes) -> None:
        """The next stage, where it is another one."""
        if self.kept[-1:] != [wasm]:
            self.kept.append(wasm)
        while len(self.kept) > 2 and sum(map(len, self.kept)) > _BYTES:  # noqa: PLR2004 - the first and the last
            self.kept[1:-1] = self.kept[2:-1:2]

    def found(self, show: Callable[[bytes], T | None]) -> Iterator[T]:
        """What ``show`` gives for stages before the last, which gives none: the first stage's, then later ones' by halving. So the
        last one that comes is the best; none come where the first stage gives none.
        """
        low, high = -1, len(self.kept) - 1
        while high - low > 1:
            at = (low + high) // 2 if low >= 0 else 0
            given = show(self.kept[at])
            if given is not None:
                low = at
                yield given
            else:
                high = at
