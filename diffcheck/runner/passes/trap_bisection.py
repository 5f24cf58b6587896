"""The row in which an engine fails that reports no state at a trap, found by runs of fewer rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from diffcheck.observation import HarnessFailed, OutOfMemory, sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.capsule import layout as lo
    from diffcheck.observation import Outcome
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide

Failure = TypeVar("Failure")


class PassOverError(Exception):
    """Nothing more can be compared in this pass. Its text is the reason if the pass is inconclusive, else empty.

    ``in_recorder`` is whether the engine failed in the recorder rather than in a row.
    """

    def __init__(self, why: str = "", *, in_recorder: bool = False) -> None:
        super().__init__(why)
        self.in_recorder = in_recorder


class DamagedAnswerError(Exception):
    """An engine's answer is missing, broken or not of this run; nothing more can be compared."""

    def __init__(self, outcome: HarnessFailed) -> None:
        super().__init__(outcome)
        self.outcome = outcome


def first_failing_row(
    fails: Callable[[int, int], Failure], first: int, last: int, guesses: Sequence[int] = ()
) -> tuple[int, Failure | None]:  # fmt: skip
    """The first row in [first, last) that fails, and its failure (None if only the whole range failed), by bisection.

    ``fails`` runs the rows of a range and returns a true value if they fail. The whole range is known to fail, an empty one is not.
    ``guesses`` are ends of ranges to run first.
    """
    low, high = first, last
    failure: Failure | None = None
    while high - low > 1:
        middle = next((guess for guess in guesses if low < guess < high), (low + high) // 2)
        failed = fails(first, middle)
        if failed:
            high, failure = middle, failed
        else:
            low = middle
    return high - 1, failure


class Trials:
    """Runs some rows of one side alone, with the ``parameters`` of their range."""

    def __init__(self, side: CapsuleSide, parameters: Callable[[int, int], lo.Parameters]) -> None:
        self._side, self._parameters = side, parameters

    def run(self, first: int, last: int) -> CapsuleRun:
        """Run the rows [first, last); raises ``PassOverError`` if memory ran out, ``DamagedAnswerError`` for a damaged answer."""
        ran = self._side.run(self._parameters(first, last))
        if isinstance(ran.outcome, HarnessFailed):
            raise DamagedAnswerError(ran.outcome)
        if isinstance(ran.outcome, OutOfMemory):
            why = f"{self._name} is {sentence(ran.outcome)}; use a larger --memory-limit"
            raise PassOverError(why, in_recorder=ran.outcome.in_recorder)
        return ran

    def failing(self, first: int, last: int) -> tuple[int, Outcome] | None:
        """The first row in [first, last) that fails, and its outcome; None if the engine fails before any row."""
        if self._failure(first, first):
            return None
        row, outcome = first_failing_row(self._failure, first, last)
        if outcome is None:
            outcome = self._failure(first, row + 1)
        if outcome is None:
            raise PassOverError(f"{self._name} failed, but not when the same rows were run again")
        return row, outcome

    def _failure(self, first: int, last: int) -> Outcome | None:
        ran = self.run(first, last)
        return None if ran.header is not None or ran.damage else ran.outcome

    @property
    def _name(self) -> str:
        return self._side.backend.identity().name
