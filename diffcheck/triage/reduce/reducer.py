"""Reduces a module that shows a symptom: the passes in order, repeated until none of them makes it smaller.

Every candidate is a whole module that the oracle validates before anything runs it; the smallest one so far is saved at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.triage.reduce.body_passes import inline_calls, remove_dead_code, replace_by_straight_line, replace_units
from diffcheck.triage.reduce.interestingness import BudgetExhausted
from diffcheck.triage.reduce.item_passes import blank_data, define_imports, empty_functions, remove_exports, remove_segments

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.triage.reduce.reduction import Reduction

_ROUNDS: Final = 12

PASSES: Final[tuple[tuple[str, Callable[[Reduction], None]], ...]] = (
    ("straight line", replace_by_straight_line),
    ("exports", remove_exports),
    ("functions", empty_functions),
    ("imports", define_imports),
    ("segments", remove_segments),
    ("bodies", replace_units),
    ("dead code", remove_dead_code),
    ("inlining", inline_calls),
    ("data", blank_data),
)
"""Each pass makes ``best`` smaller or leaves it; removing whole items comes first, since it makes the candidates of later passes cheap."""


def reduce(work: Reduction) -> bool:
    """Reduce ``work.best`` until no pass makes it smaller; returns False if the time ran out before."""
    try:
        for round_ in range(1, _ROUNDS + 1):
            before = work.best
            for name, pass_ in PASSES:
                _run(work, f"round {round_}, {name}", pass_)
            if work.best == before:
                break
        work.say(f"no further reduction: {work.summary()}")
    except BudgetExhausted:
        return False
    return True


def _run(work: Reduction, name: str, pass_: Callable[[Reduction], None]) -> None:
    before = work.best
    pass_(work)
    if work.best != before:
        work.say(f"{name}: {work.summary()}")
