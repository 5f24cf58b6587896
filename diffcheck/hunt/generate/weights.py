"""What was generated so far, and with what outcome: productions that were seen least, and that agreed, are drawn most."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

Cell = tuple[str, str]
"""A production and the one around it; that of a statement of a function is empty."""
_LEAST: Final = 0.02
_SHARPNESS: Final = 4


class Outcomes(msgspec.Struct, frozen=True):
    """How many functions with a production agreed, and how many diverged."""

    agreed: int = 0
    diverged: int = 0

    @property
    def chance(self) -> float:
        """The probability to draw the production: small if functions with it diverge more often than not."""
        share = (self.agreed + 1) / (self.agreed + self.diverged + 1)
        return max(_LEAST, share**_SHARPNESS)


class Weights(msgspec.Struct):
    """How often each cell was generated, and the outcomes of each production."""

    seen: dict[str, int] = {}
    outcomes: dict[str, Outcomes] = {}

    def count(self, cells: Iterable[Cell]) -> int:
        """Count the cells of a program; returns how many of them are new."""
        found = Counter(f"{name} in {around}" if around else name for name, around in cells)
        new = sum(each not in self.seen for each in found)
        for each, number in found.items():
            self.seen[each] = self.seen.get(each, 0) + number
        return new

    def judge(self, names: Iterable[str], *, agreed: bool) -> None:
        """Enter the outcome of a function with these productions."""
        for each in names:
            old = self.outcomes.get(each, Outcomes())
            self.outcomes[each] = Outcomes(old.agreed + agreed, old.diverged + (not agreed))

    def times(self, name: str, around: str) -> int:
        """How often a cell was generated."""
        return self.seen.get(f"{name} in {around}" if around else name, 0)

    def draws(self, name: str, chance: Random) -> bool:
        """Whether a production is drawn, by its outcomes."""
        return name not in self.outcomes or chance.random() < self.share(name)

    def share(self, name: str) -> float:
        """The probability to draw a production, by its outcomes."""
        return self.outcomes[name].chance if name in self.outcomes else 1.0
