"""One side of a group of rows, decoded from its image: rows with their trap kinds, state, and where it stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.decode import rows as decode_rows
from diffcheck.capsule.decode import state as decode_state
from diffcheck.capsule.deterministic.form import Choices
from diffcheck.compare import outcomes
from diffcheck.observation import Exited, FinalState, Returned, RowSeen, Trapped

if TYPE_CHECKING:
    from diffcheck.capsule import layout as lo
    from diffcheck.capsule.decode import Image
    from diffcheck.capsule.deterministic.form import DeterministicForm
    from diffcheck.observation import Outcome


_EXITS: Final = ("unreachable", "unknown", "unstated")
"""How a capsule traps that ends a program which exits, in an engine's words."""


class DecodedInstance(msgspec.Struct, frozen=True):
    """``stop`` is the record that did not return, None where all did; ``choices`` are those of a capsule in deterministic form."""

    rows: tuple[RowSeen, ...]
    state: FinalState
    stop: int | None
    choices: Choices = Choices()


def decoded(image: Image, outcome: Outcome, layout: lo.Layout, form: DeterministicForm | None = None) -> DecodedInstance:
    """What an image holds; a row that was entered and not left ended as the run's ``outcome`` says.

    The counters of a deterministic ``form``'s own are not among the state's.
    So did the first row that was not entered: what traps between two rows (witness's resets) is done for the one that follows.
    """
    rows = decode_rows(image, layout)
    stop = next((at for at, row in enumerate(rows) if not isinstance(row.outcome, Returned)), None)
    if stop is not None and rows[stop].outcome in (None, Trapped("unknown")) and isinstance(outcome, Trapped):
        rows = (*rows[:stop], msgspec.structs.replace(rows[stop], outcome=outcome), *rows[stop + 1 :])
    state, choices = decode_state(image, layout), Choices()
    if form is not None:
        counters, choices = form.split(state.counters)
        state = msgspec.structs.replace(state, counters=counters)
    return DecodedInstance(rows, state, stop, choices)


def is_trap(outcome: Outcome | None, kind: str) -> bool:
    """Whether it is a trap of that kind."""
    return isinstance(outcome, Trapped) and outcome.kind == kind


def same_trap(seen: DecodedInstance, outcome: Trapped) -> bool:
    """Whether a subject that carries its stream out of a trap trapped as the oracle did, or by what stands behind an exit."""
    return same_end(seen.rows[seen.stop].outcome if seen.stop is not None else None, outcome)


def same_end(oracle: Outcome | None, subject: Outcome) -> bool:
    """Whether the subject's trap is the oracle's, or what an exit is where it cannot unwind."""
    if isinstance(oracle, Exited):
        return isinstance(subject, Trapped) and subject.kind in _EXITS
    return isinstance(oracle, Trapped) and outcomes.same(oracle, subject)
