"""Boundary operands by type and class, as bit patterns, and random ones.

A table is named by its type: ``i32`` ... ``f64``, or the shape of a vector's lanes (``i8x16`` ...). The vectors of a table are the
rotations of the lane's table, so that each lane of a pair of vectors meets every pair of values.
"""

from __future__ import annotations

import re
from functools import cache
from random import Random
from typing import Final

import msgspec

SHAPES: Final = {
    "i8x16": ("i8", 16),
    "i16x8": ("i16", 8),
    "i32x4": ("i32", 4),
    "i64x2": ("i64", 2),
    "f32x4": ("f32", 4),
    "f64x2": ("f64", 2),
}
BITS: Final = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "f32": 32, "f64": 64, "v128": 128}
RANDOM: Final = "random"
ANY: Final = "any"
"""The class of a check without operands, or of one whose operands have no classes."""
_FEW: Final = "few "
_FEW_VALUES: Final = 16
_INTEGERS: Final = {
    "zero and one": (0, 1, -1),
    "shift counts": (2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65),
    "powers of two": tuple(
        (1 << power) + near for power in (6, 7, 8, 15, 16, 24, 30, 31, 32, 33, 48, 52, 53, 62) for near in (-1, 0, 1)
    ),
    "negative": (
        *(-2, -3, -7, -8, -31, -32, -33, -64, -127, -128, -129, -32_768, -32_769),
        *(-(1 << 31), -(1 << 31) - 1, -(1 << 32), -(1 << 53)),
    ),
}
_MOST_POWERS: Final = 12
_PATTERNS: Final = (0x5555_5555_5555_5555, 0xAAAA_AAAA_AAAA_AAAA, 0x0123_4567_89AB_CDEF, 0x00FF_00FF_00FF_00FF)
_FRACTION: Final = {32: 23, 64: 52}


class Operands(msgspec.Struct, frozen=True):
    """Values of a type, with the class of each; the values of a class are adjacent."""

    type: str
    values: tuple[int, ...]
    classes: tuple[str, ...]

    def without(self, unwanted: frozenset[int]) -> Operands:
        """The operands without some values."""
        kept = [(value, class_) for value, class_ in zip(self.values, self.classes, strict=True) if value not in unwanted]
        return Operands(self.type, tuple(value for value, _ in kept), tuple(class_ for _, class_ in kept))


def type_of(table: str) -> str:
    """The value type of a table's operands."""
    name = table.removeprefix(_FEW)
    return "v128" if name in SHAPES else name


@cache
def operands(table: str, seed: int = 0, count: int = 0) -> Operands:
    """The operands of a table: boundary values, or with a seed ``count`` random ones. ``few i64`` has a part of ``i64``."""
    if table.startswith(_FEW):
        every = operands(table.removeprefix(_FEW), seed, count)
        step = -(-len(every.values) // _FEW_VALUES)
        return Operands(every.type, every.values[::step], every.classes[::step])
    if table in SHAPES:
        lane, lanes = SHAPES[table]
        return _vectors(operands(lane, seed, count), BITS[lane], lanes)
    if seed:
        chance = Random(f"{seed} {table}")  # noqa: S311 - reproducible, not secret
        values = dict.fromkeys(_random(table, chance) for _ in range(count))
        return Operands(table, tuple(values), (RANDOM,) * len(values))
    classes = _floats(BITS[table]) if table.startswith("f") else _integers(BITS[table])
    first: dict[int, str] = {}
    for class_, numbers in classes.items():
        for number in numbers:
            first.setdefault(number % (1 << BITS[table]), class_)
    return Operands(table, tuple(first), tuple(first.values()))


def _integers(bits: int) -> dict[str, tuple[int, ...]]:
    least, most = -(1 << bits - 1), (1 << bits - 1) - 1
    fitting = {class_: tuple(each for each in numbers if least <= each <= most) for class_, numbers in _INTEGERS.items()}
    powers = fitting["powers of two"]
    fitting["powers of two"] = powers[:: -(-len(powers) // _MOST_POWERS)]
    return {
        "limits": (least, least + 1, most, most - 1),
        **fitting,
        "patterns": tuple(each % (1 << bits) for each in _PATTERNS),
    }


def _floats(bits: int) -> dict[str, tuple[int, ...]]:
    width = _FRACTION[bits]
    sign, infinity, quiet = 1 << bits - 1, ((1 << bits - 1 - width) - 1) << width, 1 << width - 1
    one = (infinity >> width + 1) << width  # the exponent of 1.0

    def number(exponent: int, fraction: int = 0) -> int:
        return one + (exponent << width) + fraction

    half = 1 << width - 1
    positive = {
        "zeros": (0,),
        "subnormal": (1, (1 << width) - 1, 1 << width),
        "ordinary": (one, number(-1), number(0, half), number(1, half >> 1), number(-1) - 1, number(3, 0x1234), number(1)),
        "integers": (
            *(number(width), number(width) - 1, number(width - 1, 1), number(31), number(31) - 1),
            *(number(32), number(63), number(63) - 1, number(64)),
        ),
        "largest": (infinity - 1, infinity),
    }
    nans = {
        "quiet NaNs": (infinity | quiet, sign | infinity | quiet, infinity | quiet | 1, sign | infinity | (1 << width) - 1),
        "signalling NaNs": (infinity | 1, sign | infinity | quiet >> 1),
    }
    return {class_: tuple(each | bit for each in numbers for bit in (0, sign)) for class_, numbers in positive.items()} | nans


def _random(type_: str, chance: Random) -> int:
    """A random value: an integer of any length and sign, a float with an exponent near another's or any bits."""
    bits = BITS[type_]
    value = chance.getrandbits(bits)
    if type_.startswith("i"):
        value >>= chance.randrange(bits)
        return -value % (1 << bits) if chance.randrange(2) else value
    if chance.randrange(4) == 0:
        return value
    width = _FRACTION[bits]
    middle = (1 << bits - 2 - width) - 1
    exponent = middle + chance.randrange(-10, 70)
    return chance.randrange(2) << bits - 1 | exponent << width | value % (1 << width)


def _vectors(lanes: Operands, bits: int, count: int) -> Operands:
    values, number = lanes.values, len(lanes.values)
    vectors = [sum(values[(first + lane) % number] << bits * lane for lane in range(count)) for first in range(number)]
    return Operands("v128", tuple(vectors), lanes.classes)


_SHAPE: Final = re.compile(r"[if](?:8x16|16x8|32x4|64x2)")


def shape(instruction: str) -> str:
    """The shape of the lanes of a vector instruction's operands: the last that its name has."""
    found = _SHAPE.findall(instruction)
    return found[-1] if found else "i64x2"
