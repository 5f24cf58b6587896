"""Bytes, modules, texts and words changed at random, in the ways that readers and digests are weak at."""

from __future__ import annotations

import random
from typing import Final

import msgspec

from diffcheck.wasm.section import split, write

_BYTES: Final = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x40, 0x0B, 0xFC, 0xFD, 0x63)
_RUNS: Final = (
    b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x00", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80\x80\x80\x80\x10", b"\x80" * 12,
    b"\x00" * 8, b"\xff" * 8,
)  # fmt: skip


def mutated(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """``data`` with one to a few changes; ``other`` is what pieces may be taken from."""
    changed = bytearray(data)
    for _ in range(1 + int(chance.expovariate(1.0))):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(9):
            case 0 | 1 if changed:
                changed[at % len(changed)] ^= 1 << chance.randrange(8)
            case 2 | 3 if changed:
                changed[at % len(changed)] = chance.choice(_BYTES)
            case 4:
                changed[at:at] = chance.choice(_RUNS)
            case 5:
                changed[at : at + chance.choice((1, 1, 2, 4, 16, 100))] = b""
            case 6:
                begin = chance.randrange(len(changed) + 1)
                changed[at:at] = changed[begin : begin + chance.choice((1, 4, 16, 200))]
            case 7:
                source = other or bytes(changed)
                begin = chance.randrange(len(source) + 1)
                size = chance.choice((1, 8, 64, 1000))
                changed[at : at + size] = source[begin : begin + size]
            case 8:
                del changed[at:]
            case _:
                changed += bytes([chance.randrange(256)])
    return bytes(changed)


def mutated_module(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """A module with bytes changed anywhere; with one byte changed, so that many stay valid; or with a section changed as a whole."""
    match chance.randrange(10):
        case 0 | 1 | 2 | 3:
            changed = bytearray(data)
            at = chance.randrange(8, len(changed))
            changed[at] = chance.choice((changed[at] ^ 1 << chance.randrange(8), chance.choice(_BYTES), (changed[at] + 1) % 256))
            return bytes(changed)
        case 4 | 5:
            sections = list(split(data))
            at = chance.randrange(len(sections))
            payload = bytes(sections[at].payload)
            match chance.randrange(5):
                case 0:
                    del sections[at]
                case 1:
                    sections.insert(chance.randrange(len(sections) + 1), sections[at])
                case 2:
                    sections[at] = msgspec.structs.replace(sections[at], payload=mutated(payload, chance, other))
                case 3:
                    sections[at] = msgspec.structs.replace(sections[at], id=chance.randrange(14))
                case _:
                    foreign = [each for each in split(other) if each.id == sections[at].id]
                    sections[at : at + 1] = foreign[:1]
            return write(sections)
    return mutated(data, chance, other)


_WORDS: Final = (
    "null", "true", "NaN", "1e999", "-1", "18446744073709551616", "1" + "0" * 400, '""', "[]", "{}", '"\\ud800"', '"\\u0000"', "9" * 5000,
    '"' + "a" * 1000 + '"', "[" * 3000, '"\\u202e"', "'x'", "1979-05-27T07:32:00Z", '"""', "inf", "0x", "[[rows]]", "a.b.c", "\n", "=", ",",
)  # fmt: skip


def mutated_text(text: str, chance: random.Random) -> bytes:
    """JSON or TOML with tokens replaced, or with bytes changed."""
    if chance.random() < 0.4:
        return mutated(text.encode(), chance)
    changed = text
    for _ in range(1 + int(chance.expovariate(2.0))):
        marks = [at for at, char in enumerate(changed) if char in '":,[]{}=\n '] or [0]
        begin = chance.choice(marks)
        end = chance.choice([at for at in marks if at >= begin][:6])
        changed = changed[:begin] + chance.choice(_WORDS) + changed[end + chance.randrange(2) :]
    return changed.encode("utf-8", "surrogatepass")


def changed_words(data: bytes, chance: random.Random) -> bytes:
    """Words changed in the ways that digests and readers are weak at: top bits in pairs, swaps, huge offsets."""
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data) & ~7, 8)]
    first, second = chance.randrange(len(words)), chance.randrange(len(words))
    match chance.randrange(7):
        case 0:
            words[first] ^= 1 << 63
            words[second] ^= 1 << 63
        case 1:
            words[first], words[second] = words[second], words[first]
        case 2:
            words[first] ^= 1 << chance.randrange(64)
        case 3:
            words[first] = chance.choice((0, 1, 8, (1 << 64) - 1, 1 << 32, 1 << 63, (1 << 32) - 8, len(data), len(data) - 8))
        case 4:
            words[first] = (words[first] + chance.choice((1, -1, 8, -8))) % (1 << 64)
        case 5:
            words = words[: first + 1]
        case _:
            words[first:first] = [chance.randrange(1 << 64)]
    return b"".join(word.to_bytes(8, "little") for word in words)
