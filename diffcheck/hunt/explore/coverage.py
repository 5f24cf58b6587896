"""What rows reach of an instrumented artifact: counters, evaluations of decisions, and decisions that are fully covered."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from diffcheck.witness import formats, mcdc

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.observation import RowRecord
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.wasm.module import Module
    from diffcheck.witness.formats import Manifest
    from diffcheck.witness.mcdc import Vector

Feature = tuple[object, ...]
"""A branch with its value, or an evaluation of a decision."""


class Reached(msgspec.Struct, frozen=True):
    """What some instances reach: ``covered`` decisions, of which every condition is proved, ``proved`` conditions by decision and
    index, and the branches whose counters are not zero.
    """

    covered: frozenset[int] = frozenset()
    proved: frozenset[tuple[int, int]] = frozenset()
    counters: frozenset[int] = frozenset()

    def includes(self, other: Reached) -> bool:
        """Whether all that ``other`` reaches is reached."""
        return self.proved >= other.proved and self.counters >= other.counters


class Observed(msgspec.Struct, frozen=True):
    """What instances did: the vectors of each decision, the counters of branches, and the values that branches had."""

    vectors: dict[int, tuple[Vector, ...]] = {}
    counters: dict[int, int] = {}
    branches: frozenset[tuple[int, bool]] = frozenset()

    @property
    def features(self) -> frozenset[Feature]:
        """Hashable facts of a run: vectors of decisions and values of branches. A row is added if it has a new one."""
        vectors = (("decision", decision, each) for decision, found in self.vectors.items() for each in found)
        return frozenset((*vectors, *self.branches))


class Coverage:
    """Reads what instances of an artifact reach; ``decisions`` and ``branches`` are their numbers."""

    def __init__(self, module: Module, manifest: Manifest) -> None:
        self._branches = formats.instrumentation(module).branches
        self._decisions = mcdc.Decisions(manifest, self._branches)
        self.decisions, self.branches = len(manifest.decisions), len(manifest.branches)

    def observed(self, rows: Iterable[RowRecord], counters: Mapping[int, int] | None = None) -> Observed:
        """What some rows of an instance did, those that were reached, with its final counters."""
        made = [each for each in rows if each.outcome is not None]
        vectors = {decision: tuple(found) for decision, found in self._decisions.vectors(made).items() if found}
        values = (zip(self._branches, each.brcnts, each.brvals, strict=False) for each in made)
        branches = frozenset((branch, value != 0) for row in values for branch, count, value in row if count)
        return Observed(vectors, dict(counters or {}), branches)

    def reached(self, observed: Iterable[Observed]) -> Reached:
        """What some instances reach together."""
        vectors: dict[int, dict[Vector, None]] = {at: {} for at in self._decisions.ids}
        counters: Counter[int] = Counter()
        for each in observed:
            counters.update(each.counters)
            for decision, found in each.vectors.items():
                vectors[decision].update(dict.fromkeys(found))
        conclusions = sorted(self._decisions.concluded(vectors, counters).items())
        covered = {
            decision
            for decision, conditions in groupby(conclusions, lambda each: each[0][0])
            if all(conclusion == "proved" for _, conclusion in conditions)
        }
        proved = frozenset(place for place, conclusion in conclusions if conclusion == "proved")
        return Reached(frozenset(covered), proved, frozenset(branch for branch, count in counters.items() if count))

    def reached_by(self, instances: Iterable[DecodedInstance]) -> Reached:
        """What some instances reach together."""
        return self.reached(self.observed(each.rows, each.state.counters) for each in instances)
