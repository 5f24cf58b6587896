"""Arguments to try for a function whose parameters are numbers: boundary values, and pointers as compilers pass them.

No binary says whether an i32 is a pointer, a length or a number. So a function that may use memory is tried with several
combinations; what it executes under the oracle decides which of them become rows.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.wasm import values
from diffcheck.wasm.constexpr import read_constexpr
from diffcheck.wasm.leb import Reader
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import FuncType

BUFFER_BYTES: Final = 1 << 16
PART_BYTES: Final = 1 << 12
"""The distance of two pointers into the buffer."""
_LENGTH, _TEXT_LENGTH, _SIDE = 64, 16, 4
"""The bytes of a buffer, the bytes of a text, the width and height of a picture that are passed."""
_SEARCHED: Final = 1 << 20
_TEXT: Final = rb"[ -~\n]{16,400}(?=\0)"
_COUNTED: Final = rb"[\x08-\x40]\0\0\0[ -~]{4,64}"
_INTEGERS: Final = ("0", "1", "-1", "min", "max")
_FLOATS: Final = ("0", "-0", "1", "-1.5", "inf", "nan", "subnormal", "max")
_SPECIAL: Final = {
    "i32": {"min": 1 << 31, "max": (1 << 31) - 1},
    "i64": {"min": 1 << 63, "max": (1 << 63) - 1},
    "f32": {"subnormal": 1, "max": 0x7F7F_FFFF},
    "f64": {"subnormal": 1, "max": 0x7FEF_FFFF_FFFF_FFFF},
}


def _boundary(type_: str) -> tuple[Value, ...]:
    words, special = _INTEGERS if type_.startswith("i") else _FLOATS, _SPECIAL[type_]
    return tuple(Value(type_, special[word]) if word in special else values.parse(word, type_) for word in words)


BOUNDARIES: Final = {type_: _boundary(type_) for type_ in _SPECIAL}
_ONE: Final = {type_: values.parse("1", type_) for type_ in _SPECIAL}

Arguments = tuple[Value, ...]


class Addresses(msgspec.Struct, frozen=True):
    """What pointers may point to: ``buffer`` is the address of ``BUFFER_BYTES`` zeros, ``text`` of a readable text that a NUL ends,
    ``counted`` of a 32-bit length with as many bytes after it, each in the first memory; None where there is none. ``blocks`` are
    small blocks from the allocator, for functions that free what they take.
    """

    buffer: int | None = None
    text: int | None = None
    counted: int | None = None
    blocks: tuple[int, ...] = ()


def is_scalar(type_: FuncType) -> bool:
    """Whether all parameters are numbers."""
    return all(isinstance(each, str) and each in BOUNDARIES for each in type_.params)


def boundaries(type_: FuncType, limit: int) -> list[Arguments]:
    """The first combinations of boundary values: all positions at the same boundary, then one position at a time, the others 1."""
    types = [str(each) for each in type_.params]
    return list(islice(dict.fromkeys(_boundaries(types)), limit)) if types else [()]


def _boundaries(types: Sequence[str]) -> Iterator[Arguments]:
    longest = max(len(BOUNDARIES[each]) for each in types)
    for step in range(longest):
        yield tuple(BOUNDARIES[each][step % len(BOUNDARIES[each])] for each in types)
    for step in range(longest):
        for at, each in enumerate(types):
            if step < len(BOUNDARIES[each]):
                yield tuple(BOUNDARIES[each][step] if place == at else _ONE[other] for place, other in enumerate(types))


def pointers(type_: FuncType, addresses: Addresses, handle: int | None = None) -> list[Arguments]:
    """Combinations of pointers, lengths and small numbers for a function with i32 parameters, the most likely first.

    ``handle`` is an object for the first parameter, or the second after a place for the result.
    """
    types = [str(each) for each in type_.params]
    count = types.count("i32")
    if not count:
        return []
    found = []
    for words in dict.fromkeys(_with_handle(count, addresses, handle) if handle is not None else _words(count, addresses)):
        numbers = iter(words)
        found.append(tuple(Value("i32", next(numbers) & 0xFFFF_FFFF) if each == "i32" else _ONE[each] for each in types))
    return found


def _words(count: int, addresses: Addresses) -> Iterator[tuple[int, ...]]:
    """Values of ``count`` i32 parameters without a handle."""
    buffer = addresses.buffer
    if buffer is None:
        return
    parts = [buffer + PART_BYTES * at for at in range(count)]
    block = addresses.blocks[0] if addresses.blocks else parts[0]
    text = addresses.text if addresses.text is not None else parts[0]
    counted = addresses.counted if addresses.counted is not None else parts[0]
    every = (
        tuple(parts),
        _pairs(count, text, _TEXT_LENGTH),
        _pairs(count, block, _LENGTH),
        (parts[-1], *_pairs(count - 1, text, _TEXT_LENGTH)),
        (parts[-1], *_pairs(count - 1, block, _LENGTH)),
        (block, _LENGTH, *(_SIDE,) * (count - 2))[:count],
        (parts[-1], block, _LENGTH, *(_SIDE,) * (count - 3))[:count],
        (text,) * count,
        (counted,) * count,
        (text, *parts[1:]),
        (counted, *(_SIDE,) * (count - 1)),
        (parts[0], *(_SIDE,) * (count - 1)),
        (parts[-1], parts[0], *(_SIDE,) * (count - 2))[:count],
        (*parts[: count - 1], _LENGTH),
        (*parts[: max(1, count - 2)], text, _TEXT_LENGTH)[:count],
    )
    yield from every


def _with_handle(count: int, addresses: Addresses, handle: int) -> Iterator[tuple[int, ...]]:
    """Values of ``count`` i32 parameters of which one is a handle."""
    buffer = addresses.buffer if addresses.buffer is not None else handle
    parts = [buffer + PART_BYTES * at for at in range(count)]
    text = addresses.text if addresses.text is not None else parts[0]
    counted = addresses.counted if addresses.counted is not None else parts[0]
    block = addresses.blocks[-1] if addresses.blocks else parts[0]
    less = count - 1
    yield handle, *parts[:less]
    if not less:
        return
    yield handle, *_pairs(less, text, _TEXT_LENGTH)
    yield handle, *(1,) * less
    yield handle, *(0,) * less
    yield handle, *_pairs(less, block, _LENGTH)
    yield (handle, block, _LENGTH, *(_SIDE,) * (less - 2))[:count]
    yield handle, *(text,) * less
    yield handle, *(counted,) * less
    yield parts[-1], handle, *_pairs(less - 1, text, _TEXT_LENGTH)
    yield (handle,) * count
    yield parts[-1], handle, *(1,) * (less - 1)
    yield handle, *_pairs(less, text, -1)


def _pairs(count: int, pointer: int, length: int) -> tuple[int, ...]:
    """Pairs of pointer and length; an odd last one is the pointer."""
    return tuple(length if at % 2 else pointer for at in range(count))


def static_addresses(module: Module, artifact: bytes) -> Addresses:
    """The addresses that need no allocator: the texts in the data, and the middle of the memory, which rarely has data or stack."""
    memories = module.all_memories
    if not memories or memories[0].limits.is64:
        return Addresses()
    pages = memories[0].limits.minimum
    buffer = min(pages, 1 << 15) // 2 * BUFFER_BYTES if pages > 1 else None
    return Addresses(buffer, _find(module, artifact, _TEXT), _find(module, artifact, _COUNTED))


def _find(module: Module, artifact: bytes, pattern: bytes) -> int | None:
    """The address of the longest match in the active data of the first memory."""
    best, found = 0, None
    for each in module.data:
        base = constant(each.offset) if each.mode == "active" and each.memory == 0 else None
        if base is None:
            continue
        for match in re.finditer(pattern, artifact[each.start : each.start + min(each.size, _SEARCHED)]):
            if match.end() - match.start() > best:
                best, found = match.end() - match.start(), base + match.start()
    return found


def constant(offset: bytes | None) -> int | None:
    """The address of a segment whose offset is an ``i32.const``."""
    instrs = read_constexpr(Reader(offset)).instrs if offset else ()
    return int(instrs[0].immediates[0]) % (1 << 32) if len(instrs) == 1 and instrs[0].name == "i32.const" else None
