"""The modules of a reduction, for what the smallest one no longer shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
_BYTES: Final = 64 << 20
"""The most bytes that are kept, besides the first and the last module."""


class ReductionHistory:
    """Modules, oldest first. If they exceed the limit, every other one between the first and the last is removed."""

    def __init__(self, modules: Iterable[bytes] = ()) -> None:
        self.modules = list(modules)

    def add(self, wasm: bytes) -> None:
        """Add a module unless it is the last one."""
        if self.modules[-1:] != [wasm]:
            self.modules.append(wasm)
        while len(self.modules) > 2 and sum(map(len, self.modules)) > _BYTES:  # noqa: PLR2004 - the first and the last
            self.modules[1:-1] = self.modules[2:-1:2]

    def search(self, test: Callable[[bytes], T | None]) -> Iterator[T]:
        """Bisect for the latest module before the last for which ``test`` returns something; yields each result, the best one last.

        ``test`` returned None for the last module. If it does so for the first one, nothing is yielded.
        """
        low, high = -1, len(self.modules) - 1
        while high - low > 1:
            at = (low + high) // 2 if low >= 0 else 0
            result = test(self.modules[at])
            if result is None:
                high = at
            else:
                low = at
                yield result
