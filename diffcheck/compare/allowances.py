"""The differences that the specification leaves open, by the name of their rule and its section; words of a page that differ.

Whether a difference comes of a NaN's bits or of relaxed SIMD is seen in the deterministic form (``runner.legal_choices``), never
by values.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

NAN_RULE: Final = "NaN bits"
NAN_SECTION: Final = "core specification 3.0, 4.3.3.2 (NaN propagation)"
STACK_RULE: Final = "call stack"
STACK_SECTION: Final = "core specification 3.0, appendix, implementation limitations (dynamic structure)"
STACK_BYTES: Final = 128 << 10
RELAXED_RULE: Final = "relaxed SIMD"
RELAXED_SECTION: Final = "core specification 3.0, 4.3.6 (relaxed operations)"


class Word(msgspec.Struct, frozen=True):
    """A 64-bit word of a page that differs: its byte offset in the page and its two values."""

    offset: int
    oracle: int
    subject: int


def words(offset: int, oracle: bytes, subject: bytes) -> list[Word]:
    """The differing words of two windows of a page that begin at ``offset``; both have the same multiple of 8 bytes."""
    pairs = zip(struct.iter_unpack("<Q", oracle), struct.iter_unpack("<Q", subject), strict=True)
    return [Word(offset + 8 * at, one, other) for at, ((one,), (other,)) in enumerate(pairs) if one != other]
