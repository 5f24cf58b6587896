"""Decode constant expressions, without validation.

Core specification 3.4.13 (which instructions are constant) and 5.4 (their bytes).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from diffcheck.wasm.leb import Reader
from diffcheck.wasm.typereader import TypeReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

END = 0x0B
_GC, _SIMD = 0xFB, 0xFD
_SHORT: Final = re.compile(rb"[\x23\x41\x42\xd2][\x00-\x7f]\x0b", re.DOTALL)
"""An index or an integer of one byte, and the `end`: most expressions."""

Immediates = tuple[int | str | bytes, ...]

# Expressions are read before the types are known, so the oracle checks type indices.
_HEAPS = TypeReader(bound=1 << 32)


class Instr(NamedTuple):
    """One instruction; `start` and `end` are byte offsets in its expression.

    Floats are bit patterns, a `v128` is its 16 bytes, a heap type is a name or a typeidx.
    """

    name: str
    immediates: Immediates
    start: int
    end: int


class GlobalGet(NamedTuple):
    """The place of a `global.get`; see its owner for the base of `start` and `end`."""

    start: int
    end: int
    globalidx: int


class ConstExpr(msgspec.Struct, frozen=True):
    """An expression: its bytes with the final `end`, its instructions without it, and every `global.get`, at offsets in `raw`."""

    raw: bytes
    instrs: tuple[Instr, ...]
    global_gets: tuple[GlobalGet, ...]


def _nothing(_: Reader) -> Immediates:
    return ()


def _index(reader: Reader) -> Immediates:
    return (reader.u32(),)


_PLAIN: dict[int, tuple[str, Callable[[Reader], Immediates]]] = {
    0x23: ("global.get", _index),
    0x41: ("i32.const", lambda reader: (reader.s32(),)),
    0x42: ("i64.const", lambda reader: (reader.s64(),)),
    0x43: ("f32.const", lambda reader: (reader.f32bits(),)),
    0x44: ("f64.const", lambda reader: (reader.f64bits(),)),
    0x6A: ("i32.add", _nothing),
    0x6B: ("i32.sub", _nothing),
    0x6C: ("i32.mul", _nothing),
    0x7C: ("i64.add", _nothing),
    0x7D: ("i64.sub", _nothing),
    0x7E: ("i64.mul", _nothing),
    0xD0: ("ref.null", lambda reader: (_HEAPS.heaptype(reader),)),
    0xD2: ("ref.func", _index),
}
_PREFIXED: dict[int, dict[int, tuple[str, Callable[[Reader], Immediates]]]] = {
    _GC: {
        0x00: ("struct.new", _index),
        0x01: ("struct.new_default", _index),
        0x06: ("array.new", _index),
        0x07: ("array.new_default", _index),
        0x08: ("array.new_fixed", lambda reader: (reader.u32(), reader.u32())),
        0x1A: ("any.convert_extern", _nothing),
        0x1B: ("extern.convert_any", _nothing),
        0x1C: ("ref.i31", _nothing),
    },
    _SIMD: {0x0C: ("v128.const", lambda reader: (reader.bytes(16),))},
}


def read_constexpr(reader: Reader) -> ConstExpr:
    """Read the expression at the reader's position, including its `end`.

    `ArtifactError`, with a file offset, for an instruction that is not constant.
    """
    if short := _SHORT.match(reader.ahead(3)):
        reader.skip(3)
        return _short(short[0])
    return _read(reader)


@lru_cache(maxsize=1024)
def _short(raw: bytes) -> ConstExpr:
    return _read(Reader(raw))


def _read(reader: Reader) -> ConstExpr:
    start = reader.offset
    instrs = []
    while reader.peek() != END:
        at = reader.offset
        name, immediates = _instruction(reader, at)
        instrs.append(Instr(name, immediates, at - start, reader.offset - start))
    reader.skip(1)
    gets = [GlobalGet(each.start, each.end, int(each.immediates[0])) for each in instrs if each.name == "global.get"]
    return ConstExpr(reader.since(start), tuple(instrs), tuple(gets))


def substitute_globals(raw: bytes, constants: Mapping[int, bytes]) -> bytes:
    """Return `raw` with each `global.get` of a global in `constants` replaced by those bytes.

    The bytes of a constant are instructions without the final `end`.
    """
    return splice(raw, read_constexpr(Reader(raw)).global_gets, constants)


def splice(data: bytes | memoryview, gets: Iterable[GlobalGet], constants: Mapping[int, bytes]) -> bytes:
    """Return `data` with the ordered `gets`, whose offsets are in `data`, replaced by `constants`."""
    parts: list[bytes | memoryview] = []
    done = 0
    for get in gets:
        if get.globalidx in constants:
            parts += [data[done : get.start], constants[get.globalidx]]
            done = get.end
    return b"".join([*parts, data[done:]])


def _instruction(reader: Reader, at: int) -> tuple[str, Immediates]:
    opcode = reader.u8()
    if opcode in _PREFIXED:
        sub = reader.u32()
        entry = _PREFIXED[opcode].get(sub)
        text = f"{opcode:#04x} {sub:#04x}"
    else:
        entry = _PLAIN.get(opcode)
        text = f"{opcode:#04x}"
    if entry is None:
        raise reader.error(f"opcode {text} is not a constant instruction", offset=at)
    name, immediates = entry
    return name, immediates(reader)
