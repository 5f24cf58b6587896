"""The planned rows under the oracle in their order, as in a run: rows that do not end at their place are left out.

A trial runs a row after the init rows alone, and the state that earlier rows leave may make a row endless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.runner.passes.decoded_instance import decoded
from diffcheck.runner.row_plans.row_choice import TOTAL_FUEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.capsule.driver import Call
    from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide

DEADLINE_S: Final = 5.0
"""The oracle's time for the rows of an instance."""
_ROUNDS: Final = 3
"""The most capsules that are built and compiled."""


def rehearsed(calls: Sequence[Call], side: Callable[[tuple[Call, ...]], CapsuleSide]) -> tuple[Call, ...]:
    """Return the calls without rows that do not end within ``DEADLINE_S`` and twice the fuel of a plan.

    ``side`` gives the oracle with the capsule of some calls. If some are still endless after ``_ROUNDS`` capsules, all rows from
    the first one on are left out.
    """
    left = tuple(calls)
    endless: list[int] = []
    for _ in range(_ROUNDS):
        endless = Rehearsal(side(left)).endless()
        if not endless:
            return left
        left = tuple(each for at, each in enumerate(left) if at not in endless)
    again = Rehearsal(side(left)).endless()
    return left[: again[0]] if again else left


class Rehearsal:
    """The rows of a capsule, run by the oracle instance after instance."""

    def __init__(self, side: CapsuleSide) -> None:
        self._side = side
        self._init = side.capsule.layout.n_init
        self._last = len(side.capsule.layout.rows) - self._init
        self._limits = msgspec.structs.replace(side.limits, count_fuel=True)
        base = self._run(0, 0).fuel or 0  # also compiles
        self._limits = msgspec.structs.replace(self._limits, deadline_s=DEADLINE_S)
        self._most_fuel = base + 2 * TOTAL_FUEL

    def endless(self) -> list[int]:
        """Return the positions, init rows counted, of rows that do not end. The row after one begins a new instance."""
        found, first = [], 0
        while first < self._last:
            ran = self._run(first, self._last)
            if not self._ends(ran):
                first = self._first_endless(first) + 1
                found.append(self._init + first - 1)
                continue
            assert ran.image is not None, "it ends"  # noqa: S101
            stop = decoded(ran.image, ran.outcome, self._side.capsule.layout).stop
            if stop is None or stop < self._init:
                break
            first += stop - self._init + 1
        return found

    def _run(self, first: int, last: int) -> CapsuleRun:
        return self._side.run(lo.Parameters(first, last), self._limits)

    def _ends(self, ran: CapsuleRun) -> bool:
        return ran.image is not None and (ran.fuel or 0) <= self._most_fuel

    def _first_endless(self, first: int) -> int:
        """Return the first row that does not end, by bisection over the rows from ``first`` on."""
        ends, fails = first, self._last
        while fails - ends > 1:
            middle = (ends + fails) // 2
            ends, fails = (middle, fails) if self._ends(self._run(first, middle)) else (ends, middle)
        return ends
