"""The choice of rows by what they execute: greedy, each next row is the one that enters most functions that no row enters yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.driver import Call
from diffcheck.cases.runtime_exports import frees
from diffcheck.runner.row_plans.row_trials import RowTrial
from diffcheck.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROW_FUEL: Final = 5_000_000
"""The instructions that a row may execute: 0.1 s of an engine that executes 50 million in a second."""
TOTAL_FUEL: Final = 5 * ROW_FUEL
MOST_ROWS: Final = 256
MOST_STOPS: Final = 16
"""The rows that trap, exit or throw: each costs an execution of its own."""


class TriedRow(msgspec.Struct, frozen=True):
    """A candidate with its trial, whose fuel is the row's own. ``always`` rows are chosen if they return, whatever they enter."""

    call: Call
    trial: RowTrial
    always: bool = False


class ChosenRow(msgspec.Struct, frozen=True):
    """A chosen row and the reason."""

    call: Call
    why: str


def choose_rows(tried: Sequence[TriedRow], known: frozenset[int]) -> list[ChosenRow]:
    """The rows to run: those that return, then those that do not; ``known`` is what init rows enter.

    Each function that returned has at least one row.
    """
    cheap = [each for each in tried if each.trial.fuel <= ROW_FUEL]
    returned = [each for each in cheap if each.trial.stop is None]
    chosen, covered = _greedy(returned, known, MOST_ROWS)
    taken = {each.call.name for each in chosen}
    called = {each.call.function for each in chosen}
    fuel = sum(each.trial.fuel for each in returned if each.call.name in taken)
    for each in returned:
        fits = fuel + each.trial.fuel <= TOTAL_FUEL and len(chosen) < MOST_ROWS
        if fits and each.call.name not in taken and (each.always or each.call.function not in called):
            chosen.append(ChosenRow(each.call, "a number at its bounds" if each.always else "a call of each function"))
            called.add(each.call.function)
            taken.add(each.call.name)
            fuel += each.trial.fuel
    stops, _ = _greedy([each for each in cheap if each.trial.stop is not None], covered, MOST_STOPS)
    return sorted(chosen, key=lambda each: frees(each.call.name)) + stops


def _greedy(rows: Iterable[TriedRow], known: frozenset[int], most: int) -> tuple[list[ChosenRow], frozenset[int]]:
    """The rows that enter something new, those with most first, within ``TOTAL_FUEL``; and what is covered then."""
    left, covered, fuel = list(rows), set(known), 0
    chosen: list[ChosenRow] = []
    while left and len(chosen) < most:
        # What a row adds only shrinks, so rows that add nothing are not looked at again.
        gains = [(len(each.trial.entered - covered), each) for each in left]
        left = [each for gain, each in gains if gain and fuel + each.trial.fuel <= TOTAL_FUEL]
        _, best = max(gains, key=lambda each: (each[1] in left) * each[0], default=(0, None))
        if best is None or best not in left:
            break
        chosen.append(ChosenRow(best.call, _gain(frozenset(best.trial.entered - covered))))
        covered |= best.trial.entered
        fuel += best.trial.fuel
        left.remove(best)
    return chosen, frozenset(covered)


def _gain(new: frozenset[int]) -> str:
    """What a row adds, as text."""
    functions = sum(1 for each in new if each >= 0)
    branches = len(new) - functions
    words = (f"enters {plural(functions, 'new function')}", f"counts {plural(branches, 'new branch', 'new branches')}")
    return " and ".join(word for word, count in zip(words, (functions, branches), strict=True) if count)
