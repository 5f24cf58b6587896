"""What rows reach of an instrumented artifact: counters, evaluations of decisions, and decisions that are fully covered."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import msgspec

from diffcheck.witness import formats, mcdc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.observation import RowRecord
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.wasm.module import Module
    from diffcheck.witness.formats import Manifest

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


class Coverage:
    """Reads what instances of an artifact reach; ``decisions`` and ``branches`` are their numbers."""

    def __init__(self, module: Module, manifest: Manifest) -> None:
        self._branches = formats.instrumentation(module).branches
        self._decisions = mcdc.Decisions(manifest, self._branches)
        self.decisions, self.branches = len(manifest.decisions), len(manifest.branches)

    def features(self, row: RowRecord) -> frozenset[Feature]:
        """What a row does, to compare it with others."""
        counted = zip(self._branches, row.brcnts, row.brvals, strict=False)
        found: set[Feature] = {(branch, value != 0) for branch, count, value in counted if count}
        for decision, vectors in self._decisions.vectors([row]).items():
            found |= {("decision", decision, each) for each in vectors}
        return frozenset(found)

    def reached(self, instances: Iterable[DecodedInstance]) -> Reached:
        """What some instances reach together."""
        seen = mcdc.DecisionEvidence()
        for each in instances:
            seen.add(each.rows, each.state.counters)
        conclusions = sorted(self._decisions.conclusions(seen).items())
        covered = {
            decision
            for decision, conditions in groupby(conclusions, lambda each: each[0][0])
            if all(conclusion == "proved" for _, conclusion in conditions)
        }
        proved = frozenset(place for place, conclusion in conclusions if conclusion == "proved")
        return Reached(frozenset(covered), proved, frozenset(branch for branch, count in seen.counters.items() if count))
