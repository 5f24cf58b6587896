"""WIT types, and the form of values in this program.

A value is a bool, an integer, the bits of a float, a str for a char and a string, a tuple for a list, a tuple and a record, the
bits of flags, and (index, payload or None) for a variant, an enum, an option and a result. A NaN is one value, the canonical one. A
resource has the value None.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

INTEGERS: Final = {f"{sign}{bits}": (bits, sign == "s") for sign in "su" for bits in (8, 16, 32, 64)}
"""The integer types: their width, and whether they are signed."""
FLOATS: Final = {"f32": 32, "f64": 64}
CANONICAL_NAN: Final = {"f32": 0x7FC0_0000, "f64": 0x7FF8_0000_0000_0000}
RESOURCES: Final = ("own", "borrow")
CASES: Final = ("variant", "enum", "option", "result")

Value = Any


class WitType(msgspec.Struct, frozen=True):
    """A type: ``names`` are those of fields, cases or flags, ``types`` those of fields, elements or cases (None: no payload).

    ``kind`` is a scalar type of WIT, or string, list, tuple, record, flags, variant, enum, option, result, own, borrow, or another
    kind, which is not supported.
    """

    kind: str
    names: tuple[str, ...] = ()
    types: tuple[WitType | None, ...] = ()

    @property
    def members(self) -> tuple[WitType, ...]:
        """The types of the fields of a record or a tuple, or the element of a list."""
        return tuple(each for each in self.types if each is not None)


class WitFunction(msgspec.Struct, frozen=True):
    """An exported function of a component; ``result`` is None if it has none."""

    params: tuple[WitType, ...]
    result: WitType | None = None


def option(payload: WitType) -> WitType:
    """The type ``option<payload>``."""
    return WitType("option", ("none", "some"), (None, payload))


def result(ok: WitType | None, err: WitType | None) -> WitType:
    """The type ``result<ok, err>``."""
    return WitType("result", ("ok", "err"), (ok, err))


def is_nan(kind: str, bits: int) -> bool:
    """Whether bits are a NaN of the float type ``kind``."""
    infinity = CANONICAL_NAN[kind] & ~(1 << (22 if kind == "f32" else 51))
    return bits & ((1 << (FLOATS[kind] - 1)) - 1) > infinity
