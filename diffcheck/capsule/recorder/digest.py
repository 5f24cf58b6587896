"""The stream's digest in Python, equal to the recorder's, to check a stream after its transport.

Two independent 64-bit lanes over little-endian words, each with a rotation before its odd multiplier, and a final avalanche.
Without the rotation, flipping bit 63 of two words would not change a lane.
"""

from __future__ import annotations

import struct
from typing import Final

MASK: Final = (1 << 64) - 1
SEED_A, SEED_B = 0x6A09_E667_F3BC_C908, 0xBB67_AE85_84CA_A73B  # the fractions of the square roots of 2 and 3
PRIME_A, PRIME_B = 0x9FB2_1C65_1E98_DF25, 0xD6E8_FEB8_6659_FD93  # odd
ROTATE_A, ROTATE_B = 25, 41
MIX_1, MIX_2 = 0xFF51_AFD7_ED55_8CCD, 0xC4CE_B9FE_1A85_EC53
OUTPUT_SEED, OUTPUT_PRIME = 0xCBF2_9CE4_8422_2325, 0x100_0000_01B3  # FNV-1a


def digest(data: bytes | memoryview) -> tuple[int, int]:
    """Return the two lanes over ``data``, whose length must be a multiple of 8 bytes."""
    a, b = SEED_A, SEED_B
    for (word,) in struct.iter_unpack("<Q", data):
        a ^= word
        a = ((a << ROTATE_A | a >> (64 - ROTATE_A)) * PRIME_A) & MASK
        b = (((b << ROTATE_B | b >> (64 - ROTATE_B)) & MASK) + word) * PRIME_B & MASK
    return _avalanche(a ^ len(data)), _avalanche((b + len(data)) & MASK)


def _avalanche(lane: int) -> int:
    lane = ((lane ^ lane >> 33) * MIX_1) & MASK
    lane = ((lane ^ lane >> 29) * MIX_2) & MASK
    return lane ^ lane >> 32


def output_digest(data: bytes) -> int:
    """Return the digest of captured output: FNV-1a, 64 bits."""
    lane = OUTPUT_SEED
    for byte in data:
        lane = ((lane ^ byte) * OUTPUT_PRIME) & MASK
    return lane


def padded(data: bytes) -> bytes:
    """Pad ``data`` with zeros to a multiple of 8 bytes, as in the heap."""
    return data + bytes(-len(data) % 8)
