"""Runs of some of a group's rows, by which a trap that reports nothing is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.observation import HarnessFailed, OutOfMemory, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.capsule import layout as lo
    from diffcheck.observation import Outcome
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide


class PassOverError(Exception):
    """The pass is over, nothing more can be compared; its text is why it is inconclusive, or empty where it is not.

    ``in_recorder`` is whether the reason is in the recorder, and not in a row.
    """

    def __init__(self, why: str = "", *, in_recorder: bool = False) -> None:
        super().__init__(why)
        self.in_recorder = in_recorder


class DamagedAnswerError(Exception):
    """A subject answered, but not with what the run carries; nothing more can be compared."""

    def __init__(self, outcome: HarnessFailed) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class Trials:
    """Runs one side's rows [first, last) alone. ``parameters`` gives what such a run is started with."""

    def __init__(self, side: CapsuleSide, parameters: Callable[[int, int], lo.Parameters]) -> None:
        self._side, self._parameters = side, parameters

    def run(self, first: int, last: int) -> CapsuleRun:
        """Some of the rows once more; ends the pass where memory ran out or the answer is damaged, which says nothing of them."""
        ran = self._side.run(self._parameters(first, last))
        if isinstance(ran.outcome, HarnessFailed):
            raise DamagedAnswerError(ran.outcome)
        if isinstance(ran.outcome, OutOfMemory):
            why = f"{self._name} is {sentence(ran.outcome)}; give --memory-limit more"
            raise PassOverError(why, in_recorder=ran.outcome.in_recorder)
        return ran

    def failing(self, first: int, last: int) -> tuple[int, Outcome] | None:
        """The first row in [first, last) that fails, and how, by bisection; None where it fails before any row."""
        if self._failure(first, first):
            return None
        low, high = first, last
        outcome: Outcome | None = None
        while high - low > 1:
            middle = (low + high) // 2
            failed = self._failure(first, middle)
            if failed is None:
                low = middle
            else:
                high, outcome = middle, failed
        if outcome is None and high > first:
            outcome = self._failure(first, high)
        if outcome is None:
            raise PassOverError(f"{self._name} failed and then came through the same rows")
        return high - 1, outcome

    def _failure(self, first: int, last: int) -> Outcome | None:
        ran = self.run(first, last)
        return None if ran.header is not None or ran.damage else ran.outcome

    @property
    def _name(self) -> str:
        return self._side.backend.identity().name
