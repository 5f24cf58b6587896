"""The MC/DC conclusions of a run, and those that differ between the engines.

The reconstruction and the criterion are witness's (witness 0.44, ``run.rs`` and the crate ``witness-mcdc-checker``). A vector of a
decision has the values of its evaluated conditions and the outcome. A condition is proved by two vectors in which it differs, all
other conditions evaluated in both are equal, and the outcomes differ (masking MC/DC, DO-178C). An evaluated condition without proof
is a gap; one that was never evaluated is dead. An arm of a br_table is proved if it was taken.
"""

from __future__ import annotations

import struct
from itertools import combinations
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.observation import Returned
from diffcheck.verdict import McdcImpact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from diffcheck.observation import RowRecord
    from diffcheck.verdict import Conclusion
    from diffcheck.witness.formats import Decision, Manifest

_RECORD: Final = struct.Struct("<HBB")  # branch id or function index, value, kind
_CONDITION, _OUTCOME = 0, 2
_CHAINS: Final = ("and", "or")
_ARMS: Final = frozenset({"br_table_target", "br_table_default"})


class Vector(msgspec.Struct, frozen=True):
    """One evaluation of a decision: the values of its evaluated conditions, and the outcome if known."""

    evaluated: tuple[tuple[int, bool], ...]
    outcome: bool | None


class DecisionEvidence:
    """The evidence of one engine: rows with their state, and counters, added instance by instance."""

    def __init__(self) -> None:
        self.rows: list[RowRecord] = []
        self.counters: dict[int, int] = {}

    def add(self, rows: Iterable[RowRecord], counters: Mapping[int, int]) -> None:
        """Add the rows of an instance that were reached, and its final counters."""
        self.rows += [row for row in rows if row.outcome is not None]
        for branch, count in counters.items():
            self.counters[branch] = self.counters.get(branch, 0) + count


class Decisions:
    """The decisions of a manifest; ``branches`` are the branch ids in the order of a row's values."""

    def __init__(self, manifest: Manifest, branches: Sequence[int]) -> None:
        self._decisions = {each.id: each for each in manifest.decisions}
        self._kinds = {branch.id: branch.kind for branch in manifest.branches}
        self._place = {branch: at for at, branch in enumerate(branches)}
        self._of_branch = {
            branch: (decision.id, index) for decision in manifest.decisions for index, branch in enumerate(decision.conditions)
        }
        functions = {branch.id: branch.function_index for branch in manifest.branches}
        self._of_function: dict[int, list[int]] = {}
        for each in manifest.decisions:
            if each.conditions and each.conditions[0] in functions:
                self._of_function.setdefault(functions[each.conditions[0]], []).append(each.id)

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the decisions."""
        return tuple(self._decisions)

    def impact(self, oracle: DecisionEvidence, subject: DecisionEvidence) -> tuple[McdcImpact, ...]:
        """The conditions with different conclusions."""
        ones, others = self.conclusions(oracle), self.conclusions(subject)
        found = []
        for (decision_id, index), one in ones.items():
            other = others[decision_id, index]
            if one != other:
                decision = self._decisions[decision_id]
                found.append(
                    McdcImpact(
                        decision=decision_id,
                        condition=index,
                        branch=decision.conditions[index],
                        file=decision.source_file or "",
                        line=decision.source_line,
                        oracle=one,
                        subject=other,
                    )
                )
        return tuple(found)

    def conclusions(self, seen: DecisionEvidence) -> dict[tuple[int, int], Conclusion]:
        """The conclusions by decision and condition."""
        return self.concluded(self.vectors(seen.rows), seen.counters)

    def concluded(self, vectors: Mapping[int, Iterable[Vector]], counters: Mapping[int, int]) -> dict[tuple[int, int], Conclusion]:
        """(decision id, index of the condition) to its conclusion, from the vectors of each decision, and counters by branch."""
        found: dict[tuple[int, int], Conclusion] = {}
        for each in self._decisions.values():
            arms = self._is_table(each)
            for index, branch in enumerate(each.conditions):
                if arms:
                    found[each.id, index] = "proved" if counters.get(branch) else "dead"
                else:
                    found[each.id, index] = _conclusion(vectors[each.id], index)
        return found

    def vectors(self, rows: Iterable[RowRecord]) -> dict[int, dict[Vector, None]]:
        """The distinct vectors of each decision, in order of first occurrence."""
        found: dict[int, dict[Vector, None]] = {each: {} for each in self._decisions}
        for row in rows:
            outcome = _row_outcome(row)
            traced = list(self._traced(row.trace))
            if traced:
                for decision, evaluated, own in traced:
                    found[decision][_vector(evaluated, outcome if own is None else own)] = None
            elif row.brcnts:
                for each in self._decisions.values():
                    found[each.id][_vector(self._counted(each, row), outcome)] = None
        return found

    def _is_table(self, decision: Decision) -> bool:
        kinds = {self._kinds[branch] for branch in decision.conditions if branch in self._kinds}
        return bool(kinds) and kinds <= _ARMS

    def _counted(self, decision: Decision, row: RowRecord) -> dict[int, bool]:
        """The last value of each evaluated condition, for a row without a trace."""
        places = ((index, self._place.get(branch)) for index, branch in enumerate(decision.conditions))
        return {index: row.brvals[at] != 0 for index, at in places if at is not None and row.brcnts[at]}

    def _traced(self, trace: bytes) -> Iterator[tuple[int, dict[int, bool], bool | None]]:
        """Each evaluation in a trace: the decision, the values of its conditions, and the outcome if the trace has it."""
        under_way: dict[int, dict[int, bool]] = {}
        for number, value, kind in _RECORD.iter_unpack(trace[: len(trace) // _RECORD.size * _RECORD.size]):
            if kind == _CONDITION and number in self._of_branch:
                decision, index = self._of_branch[number]
                if index in under_way.get(decision, ()):  # the next iteration of a loop
                    yield self._evaluated(decision, under_way.pop(decision), None)
                under_way.setdefault(decision, {})[index] = value != 0
            elif kind == _OUTCOME:
                for decision in self._of_function.get(number, ()):
                    if decision in under_way:
                        yield self._evaluated(decision, under_way.pop(decision), value != 0)
        for decision, evaluated in under_way.items():
            yield self._evaluated(decision, evaluated, None)

    def _evaluated(
        self, decision: int, evaluated: dict[int, bool], returned: bool | None  # noqa: FBT001 - a value
    ) -> tuple[int, dict[int, bool], bool | None]:  # fmt: skip
        """An evaluation; the outcome of an and- or or-chain is the value of its last evaluated condition."""
        if self._decisions[decision].chain_kind in _CHAINS:
            return decision, evaluated, evaluated[max(evaluated)]
        return decision, evaluated, returned


def _vector(evaluated: dict[int, bool], outcome: bool | None) -> Vector:  # noqa: FBT001 - a value
    return Vector(tuple(sorted(evaluated.items())), outcome)


def _row_outcome(row: RowRecord) -> bool | None:
    if not isinstance(row.outcome, Returned) or not row.results or row.results[0].type != "i32":
        return None
    return row.results[0].bits != 0


def _conclusion(vectors: Iterable[Vector], index: int) -> Conclusion:
    with_it = [(dict(each.evaluated), each.outcome) for each in vectors if any(at == index for at, _ in each.evaluated)]
    if not with_it:
        return "dead"
    known = [each for each in with_it if each[1] is not None]
    return "proved" if any(_proves(one, other, index) for one, other in combinations(known, 2)) else "gap"


def _proves(one: tuple[dict[int, bool], bool | None], other: tuple[dict[int, bool], bool | None], index: int) -> bool:
    (first, outcome), (second, other_outcome) = one, other
    if first[index] == second[index] or outcome == other_outcome:
        return False
    return all(first[at] == second[at] for at in first.keys() & second.keys() if at != index)


__all__ = ["DecisionEvidence", "Decisions", "Vector"]
