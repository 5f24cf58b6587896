"""One engine's stream of an instance, decoded: its rows with their trap kinds, its final state, and where it stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.decode import rows as decode_rows
from diffcheck.capsule.decode import state as decode_state
from diffcheck.capsule.deterministic.form import Choices
from diffcheck.compare import outcomes
from diffcheck.observation import Exited, FinalState, Returned, RowRecord, Trapped

if TYPE_CHECKING:
    from diffcheck.capsule import layout as lo
    from diffcheck.capsule.decode import Image
    from diffcheck.capsule.deterministic.form import DeterministicForm
    from diffcheck.observation import Outcome


_EXIT_TRAPS: Final = ("unreachable", "unknown", "unstated")
"""The trap kinds of a capsule that traps because its program exits."""


class DecodedInstance(msgspec.Struct, frozen=True):
    """The rows of an instance, init rows first, and the state after them.

    ``stop`` is the index of the first row that did not return, or None. ``choices`` are those of the deterministic form.
    """

    rows: tuple[RowRecord, ...]
    state: FinalState
    stop: int | None = None
    choices: Choices = Choices()

    @property
    def last_entered(self) -> RowRecord | None:
        """The last row that was entered; its branch values are the instance's."""
        return next((row for row in reversed(self.rows) if row.entered), None)

    @property
    def stub_calls(self) -> tuple[int, ...]:
        """How often each stub was called, in the layout's order; empty if no row was entered."""
        return self.last_entered.stub_calls if self.last_entered is not None else ()


def decoded(image: Image, outcome: Outcome, layout: lo.Layout, form: DeterministicForm | None = None) -> DecodedInstance:
    """Decode an image. The row that stopped gets the ``outcome`` of the run if that is a trap and the stream has no kind for it.

    A trap between two rows (in witness's resets) belongs to the row that follows, although that was not entered.
    Counters that a deterministic ``form`` added are not in the state. Raises ``StreamError`` if the stream is malformed.
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
    """Whether the outcome is a trap of that kind."""
    return isinstance(outcome, Trapped) and outcome.kind == kind


def same_trap(oracle: DecodedInstance, subject: Trapped) -> bool:
    """Whether a subject that reports its state at a trap ended as the oracle did."""
    return same_end(oracle.rows[oracle.stop].outcome if oracle.stop is not None else None, subject)


def same_end(oracle: Outcome | None, subject: Outcome) -> bool:
    """Whether the subject's trap is the oracle's, or the trap by which a capsule that cannot unwind exits."""
    if isinstance(oracle, Exited):
        return isinstance(subject, Trapped) and subject.kind in _EXIT_TRAPS
    return isinstance(oracle, Trapped) and outcomes.same(oracle, subject)
