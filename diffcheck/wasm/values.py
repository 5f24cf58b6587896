"""WebAssembly values as types and bit patterns, so that floats are never rounded or compared as floats."""

from __future__ import annotations

import math
import re
import struct
from typing import Final

import msgspec

from diffcheck.errors import CaseError

WIDTHS: Final = {"i8": 8, "i16": 16, "i32": 32, "i64": 64, "f32": 32, "f64": 64, "v128": 128}
_FLOATS: Final = {"f32": ("<f", "<I", 23, 0xFF), "f64": ("<d", "<Q", 52, 0x7FF)}
_INTEGER: Final = re.compile(r"[+-]?(?:0x[0-9a-f]+|[0-9]+)\Z", re.IGNORECASE)
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?\Z", re.IGNORECASE)
_HEX_FLOAT: Final = re.compile(r"[+-]?0x(?:[0-9a-f]+\.?[0-9a-f]*|\.[0-9a-f]+)(?:p[+-]?[0-9]+)?\Z", re.IGNORECASE)
_INFINITY: Final = re.compile(r"[+-]?inf(?:inity)?\Z", re.IGNORECASE)
_NAN: Final = re.compile(r"(?P<sign>[+-]?)nan(?::0x(?P<payload>[0-9a-f]+))?\Z", re.IGNORECASE)

OPAQUE, I31, OBJECT, FUNCTION, IDENTITY, BEYOND, EXCEPTION, CONTENTS = range(1, 9)
"""Kinds of references, in the low half of a reference's bits: non-null and otherwise unknown, an i31, an object by number, a
function by type, a function by index, an object past the bounds, an exception, an object by a digest of its contents. The high half
depends on the kind; null is 0.
"""
PAYLOAD_BITS: Final = 24
"""In the high half of an exception's word: the digest of its payload; the tag's index is above it."""


_REFERENCE = re.compile(r"\(ref\.(?:extern|host|i31) (?P<number>-?[0-9]{1,10})\)\Z")


class Value(msgspec.Struct, frozen=True):
    """A value: ``type`` is i32, i64, f32, f64, v128 or ref; ``bits`` is its pattern (for ref: kind and payload, 0 for null)."""

    type: str
    bits: int

    def __str__(self) -> str:
        return render(self)


def render(value: Value) -> str:
    """The value as text that ``parse`` reads: numbers in decimal, floats as the shortest decimal, NaNs with sign and payload
    (``nan`` is the canonical one), vectors as bits.
    """
    if value.type == "ref":
        return _render_reference(value)
    if value.type == "v128":
        return f"0x{value.bits:032x}"
    if value.type in _FLOATS:
        return _render_float(value)
    width = WIDTHS[value.type]
    return str(signed(value.bits, width))


def float_number(type_: str, bits: int) -> float:
    """The number of a float type with these bits; Python does not preserve the payload of a NaN of type f32."""
    packing, carrier, _, _ = _FLOATS[type_]
    number: float = struct.unpack(packing, struct.pack(carrier, bits))[0]
    return number


def float_bits(type_: str, number: float) -> int:
    """The bits of a number as this float type, rounded; OverflowError if it is too large."""
    packing, carrier, _, _ = _FLOATS[type_]
    bits: int = struct.unpack(carrier, struct.pack(packing, number))[0]
    return bits


def signed(value: int, bits: int) -> int:
    """The signed number with these ``bits`` bits."""
    return value - (1 << bits) if value >> (bits - 1) else value


def reference(value: Value) -> tuple[int, int]:
    """A reference's kind, 0 for null, and its payload: an i31's bits, an object's number, a typeidx, a funcidx."""
    return value.bits & 0xFFFF_FFFF, value.bits >> 32


def _render_reference(value: Value) -> str:
    kind, payload = reference(value)
    if kind == I31:
        return f"(ref.i31 {payload - (1 << 31) if payload >> 30 else payload})"
    if kind == FUNCTION and payload == 0xFFFF_FFFF:  # noqa: PLR2004 - see capsule.references
        return "a function of another type"
    if kind == EXCEPTION:
        return f"an exception of tag {payload >> PAYLOAD_BITS}, payload digest {payload % (1 << PAYLOAD_BITS):#08x}"
    if kind == CONTENTS:
        return f"an object with the contents {payload:#010x}"
    words = {0: "null", OBJECT: f"object {payload}", FUNCTION: f"a function of type {payload}", IDENTITY: f"function {payload}"}
    return words.get(kind, "an object past the bounds" if kind == BEYOND else "ref")


def _render_float(value: Value) -> str:
    if is_nan(value):
        sign, payload = value.bits >> (WIDTHS[value.type] - 1), fraction(value)
        canonical = payload == 1 << (_FLOATS[value.type][2] - 1)
        return f"{'-' * sign}nan{'' if canonical else f':{payload:#x}'}"
    number = float_number(value.type, value.bits)
    if value.type == "f32":
        texts = (f"{number:.{digits}g}" for digits in range(6, 10))
        return next(text for text in texts if float_bits("f32", float(text)) == value.bits)
    return repr(number)


def fraction(value: Value) -> int:
    """The fraction bits of a float: for a NaN its payload, including the quiet bit."""
    return value.bits & ((1 << _FLOATS[value.type][2]) - 1)


def fraction_bits(type_: str) -> int:
    """The number of fraction bits of a float type."""
    return _FLOATS[type_][2]


def is_nan(value: Value) -> bool:
    """Whether the pattern is a NaN of its (float) type."""
    _, _, fraction_bits, exponent = _FLOATS[value.type]
    return (value.bits >> fraction_bits) & exponent == exponent and fraction(value) != 0


def is_quiet_nan(value: Value) -> bool:
    """Whether the pattern is an arithmetic NaN: its fraction's top bit is set (core specification, 4.3.3, NaN propagation)."""
    return is_nan(value) and bool(fraction(value) >> (_FLOATS[value.type][2] - 1))


def parse(text: str, type_: str) -> Value:
    """The value of ``text`` for a parameter of ``type_``.

    Digits are ASCII, without underscores. Integers are decimal or hex, signed or unsigned within the width; floats, which must not
    overflow, also ``inf``, ``nan``, ``nan:0xPAYLOAD`` and hex floats; v128 ``0x`` and up to 32 digits; a reference is ``null``,
    ``(ref.extern N)`` or ``(ref.i31 N)``. Raises ``CaseError`` for anything else.
    """
    word = text.strip(" ")
    try:
        if type_ in _FLOATS:
            return _parse_float(word, type_)
        if type_ == "ref":
            return _parse_reference(word)
        if not _INTEGER.match(word):
            raise ValueError(word)  # noqa: TRY301 - the hint is the same
        number, width = int(word, 16 if "x" in word.lower() else 10), WIDTHS[type_]
        if not -(1 << (width - 1)) <= number < 1 << width:
            raise ValueError(word)  # noqa: TRY301 - as above
        return Value(type_, number % (1 << width))
    except (ValueError, OverflowError) as error:
        raise CaseError(f"{text!r} is not a valid {type_}", hint=_HINTS[type_ if type_ in _HINTS else "i32"]) from error


_HINTS: Final = {
    "i32": "use an integer that fits, in decimal or as 0x...",
    "f32": "use a number, inf, nan, nan:0x... or a hex float",
    "f64": "use a number, inf, nan, nan:0x... or a hex float",
    "ref": "use null, or (ref.extern 1) for a reference of the host",
}


def _parse_reference(word: str) -> Value:
    """A null reference, or a number as an i31, which also stands for a reference of the host."""
    match = _REFERENCE.match(word)
    number = int(match["number"]) if match else 0
    if (match is None and word != "null") or not -(1 << 30) <= number < 1 << 31:
        raise ValueError(word)
    return Value("ref", I31 | (number & 0x7FFF_FFFF) << 32 if match else 0)


def _parse_float(word: str, type_: str) -> Value:
    _, _, fraction_bits, exponent = _FLOATS[type_]
    match = _NAN.match(word)
    if match:
        payload = int(match["payload"], 16) if match["payload"] else 1 << (fraction_bits - 1)
        if not 0 < payload < 1 << fraction_bits:
            raise ValueError(word)
        sign = 1 << (WIDTHS[type_] - 1) if match["sign"] == "-" else 0
        return Value(type_, sign | exponent << fraction_bits | payload)
    if _HEX_FLOAT.match(word):
        number = float.fromhex(word)
    elif _DECIMAL.match(word) or _INFINITY.match(word):
        number = float(word)
    else:
        raise ValueError(word)
    if math.isinf(number) and not _INFINITY.match(word):
        raise ValueError(word)
    try:
        return Value(type_, float_bits(type_, number))
    except OverflowError:  # larger than the largest f32, which the text format refuses too
        raise ValueError(word) from None
