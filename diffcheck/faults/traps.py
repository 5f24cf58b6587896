"""Instructions that trap, by kind of trap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

TRAPS: Final = {
    "unreachable": "unreachable",
    "integer divide by zero": "i32.const 1 i32.const 0 i32.div_s drop",
    "integer overflow": "i32.const -2147483648 i32.const -1 i32.div_s drop",
    "invalid conversion to integer": "f32.const bits:0x7fc00000 i32.trunc_f32_s drop",
}


def other_trap(kind: str, chance: Random) -> str:
    """Choose a kind of trap other than ``kind``."""
    return chance.choice(sorted(TRAPS.keys() - {kind}))
