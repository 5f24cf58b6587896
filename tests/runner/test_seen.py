"""What a subject's trap says of a run whose stream it carried out all the same."""

from __future__ import annotations

import pytest

from diffcheck.observation import Exited, FinalState, Returned, RowRecord, Trapped
from diffcheck.runner.passes.decoded_instance import DecodedInstance, same_trap

STATE = FinalState(counters={}, globals={}, tables=(), memories=(), pages=())


def seen(*outcomes):
    rows = tuple(RowRecord(f"row {at}", each) for at, each in enumerate(outcomes))
    return DecodedInstance(rows, STATE, next((at for at, each in enumerate(outcomes) if each != Returned()), None))


@pytest.mark.parametrize(
    "outcomes, trap, same",
    [
        ((Returned(), Trapped("integer overflow", "here")), Trapped("integer overflow", "there"), True),
        ((Returned(), Trapped("integer overflow")), Trapped("unreachable"), False),
        ((Returned(), Exited(0), None), Trapped("unreachable"), True),
        ((Returned(), Exited(3)), Trapped("unknown", "it stopped"), True),
        ((Returned(), Exited(0)), Trapped("out of bounds memory access"), False),
        ((Returned(), Returned()), Trapped("unreachable"), False),
        ((Returned(), None), Trapped("unreachable"), False),
    ],
)
def test_a_trap_is_the_oracles_or_stands_behind_an_exit(outcomes, trap, same):
    assert same_trap(seen(*outcomes), trap) == same
