"""The differences that the specification leaves open, each one small rule with its section and as tight as that section.

A rule is given the two values and, where it needs one, what the oracle had when it ran in another of its allowed ways.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.values import Value, is_nan, is_quiet_nan

if TYPE_CHECKING:
    from collections.abc import Sequence

NAN_RULE: Final = "NaN bits"
NAN_SECTION: Final = "core specification 3.0, 4.3.3.2 (NaN propagation)"
STACK_RULE: Final = "call stack"
STACK_SECTION: Final = "core specification 3.0, appendix, implementation limitations (dynamic structure)"
STACK_BYTES: Final = 128 << 10
RELAXED_RULE: Final = "relaxed SIMD"
RELAXED_SECTION: Final = "core specification 3.0, 4.3.6 (relaxed operations)"


def nan_result(oracle: Value, subject: Value) -> bool:
    """Whether a typed float differs only in the bits of a NaN: both are quiet NaNs of the same type."""
    return oracle.type == subject.type and oracle.type in ("f32", "f64") and is_quiet_nan(oracle) and is_quiet_nan(subject)


def nan_word(oracle: int, alternative: int, subject: int) -> bool:
    """Whether a 64-bit word of memory, or an integer that a NaN leaked into, differs only in a NaN's bits.

    Only where the oracle's own bits change when it runs with canonical NaNs, and only if the subject's bits there are a quiet
    NaN: for the whole word as an f64, or for each differing half as an f32.
    """
    if oracle == alternative:
        return False
    if _quiet("f64", oracle) and _quiet("f64", subject) and _quiet("f64", alternative):
        return True
    halves = [
        (oracle >> shift & 0xFFFF_FFFF, alternative >> shift & 0xFFFF_FFFF, subject >> shift & 0xFFFF_FFFF) for shift in (0, 32)
    ]
    return all(
        first == third or (first != second and _quiet("f32", first) and _quiet("f32", third)) for first, second, third in halves
    )


def nan_lanes(oracle: Value, subject: Value, alternatives: Sequence[Value]) -> bool:
    """Whether a v128 differs only in lanes that are quiet NaNs on both sides and that the oracle itself varies."""
    return any(
        all(
            nan_word(*(value.bits >> shift & 0xFFFF_FFFF_FFFF_FFFF for value in (oracle, other, subject)))
            or oracle.bits >> shift & 0xFFFF_FFFF_FFFF_FFFF == subject.bits >> shift & 0xFFFF_FFFF_FFFF_FFFF
            for shift in (0, 64)
        )
        for other in alternatives
    )


def _quiet(kind: str, bits: int) -> bool:
    return is_quiet_nan(Value(kind, bits))


def relaxed(subject: int | Value, variants: Sequence[int | Value]) -> bool:
    """Whether the subject's value is one that the oracle itself gives in its deterministic or its native mode."""
    return subject in variants


class Word(msgspec.Struct, frozen=True):
    """A 64-bit word of a page that differs: its byte offset in the page and its two values."""

    offset: int
    oracle: int
    subject: int


def words(offset: int, oracle: bytes, subject: bytes) -> list[Word]:
    """The differing words of two windows of a page that begin at ``offset``; both have the same multiple of 8 bytes."""
    pairs = zip(struct.iter_unpack("<Q", oracle), struct.iter_unpack("<Q", subject), strict=True)
    return [Word(offset + 8 * at, one, other) for at, ((one,), (other,)) in enumerate(pairs) if one != other]


__all__ = [
    "NAN_RULE",
    "NAN_SECTION",
    "RELAXED_RULE",
    "RELAXED_SECTION",
    "STACK_BYTES",
    "STACK_RULE",
    "STACK_SECTION",
    "Word",
    "is_nan",
    "nan_lanes",
    "nan_result",
    "nan_word",
    "relaxed",
    "words",
]
