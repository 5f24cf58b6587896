"""Helper functions of the deterministic form, and the bit patterns that they test."""

from __future__ import annotations

from typing import Final

import msgspec

MAXIMUM: Final = {"32": 0x7FFF_FFFF, "64": (1 << 63) - 1}
INFINITY: Final = {"32": 0x7F80_0000, "64": 0x7FF0 << 48}
CANONICAL: Final = {"32": 0x7FC0_0000, "64": 0x7FF8 << 48}
"""Bits without the sign, by width: the largest pattern, infinity, the canonical NaN."""


class Helper(msgspec.Struct, frozen=True):
    """A helper function: parameters and locals with their types, result type, text."""

    params: tuple[tuple[str, str], ...]
    result: str
    text: str
    locals: tuple[tuple[str, str], ...] = ()


VIOLATED: Final = Helper(
    (("place", "i32"),),
    "",
    """
      global.get $violation i64.eqz
      if
        local.get $place i64.extend_i32_u global.set $violation
      end
    """,
)
"""Records the place of the first result that is not allowed."""
