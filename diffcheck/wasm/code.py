"""Decode function bodies, and rewrite the indices in them.

Core specification 5.4 (instructions) and 5.5.13 (code section). Only the encoding is validated; the instructions are those of
`opcodes`. Positions are relative to `body`, offsets (also in errors) to the file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.wasm.leb import Reader, padded
from diffcheck.wasm.opcodes import BY_OPCODE, OPS, PREFIXES, Op
from diffcheck.wasm.typereader import TypeReader

if TYPE_CHECKING:
    from diffcheck.wasm.types import ValType

IndexMap = Callable[[int], int]
_Read = Callable[[bytes, int], tuple[Any, int]]  # body, position -> the immediate, the position after it

# Bodies are read without the module's types, so the oracle checks type indices.
_TYPES: Final = TypeReader(bound=1 << 32)
_EMPTY: Final = 0x40
_HAS_MEMORY: Final = 0x40
_CATCHES: Final = ("catch", "catch_ref", "catch_all", "catch_all_ref")
_CATCHES_WITH_TAG: Final = 2


class MemArg(NamedTuple):
    """The immediate of a load or store. `align` is the base-2 logarithm of the alignment."""

    align: int
    memidx: int
    offset: int


class CatchClause(NamedTuple):
    """One clause of a `try_table`. `tagidx` is None if the clause catches all exceptions."""

    kind: str
    tagidx: int | None
    labelidx: int


class Instruction(msgspec.Struct, frozen=True, gc=False):
    """One instruction and its file offsets.

    `immediates` have the order of `opcodes`: integers (`i32` and `i64` signed; `f32`, `f64` and `v128` as bit patterns), a
    `MemArg`, a tuple for `labels` (the default last), `catches`, `valtypes` and `shuffle`. A `heaptype` is a name or a
    typeidx. A `blocktype` is None, a value type, or a typeidx.
    """

    name: str
    offset: int
    end: int
    immediates: tuple[Any, ...]


class Locals(NamedTuple):
    """The declaration at the beginning of a code entry: (count, type) groups, and the position of the expression."""

    groups: tuple[tuple[int, ValType], ...]
    end: int


def read_locals(body: bytes, base_offset: int = 0) -> Locals:
    """Read the locals that a code entry (without its size) declares; ArtifactError if they are malformed."""
    reader = Reader(body, base_offset)
    groups = reader.vector("locals", lambda each: (each.u32(), _TYPES.valtype(each)))
    return Locals(groups, reader.offset - base_offset)


def instructions(body: bytes, base_offset: int = 0, *, start: int = 0) -> Iterator[Instruction]:
    """Yield the instructions of the expression from position `start` to the end of `body`, including its `end`.

    `base_offset` is the file offset of `body`. For a code entry, `start` is ``read_locals(body).end``. ArtifactError,
    with the file offset, for an unknown opcode and if the bytes end too early.
    """
    at, size = start, len(body)
    plain = _PLAIN
    while at < size:
        try:
            entry = plain[body[at]]
            if entry is None:
                op, after = opcode(body, at)
                name, read, more = op.name, *_readers(op)
            else:
                name, read, more = entry
                after = at + 1
            immediates: tuple[Any, ...] = ()
            if read is not None:
                value, after = read(body, after)
                immediates = (value,)
                for read_next in more:
                    value, after = read_next(body, after)
                    immediates += (value,)
        except (IndexError, ArtifactError) as error:
            raise _located(error, base_offset, at) from error
        yield Instruction(name, base_offset + at, base_offset + after, immediates)
        at = after


def all_instructions(wasm: bytes, bodies: Iterable[tuple[int, int]]) -> Iterator[Instruction]:
    """Yield the instructions of several bodies, given as (file offset, size in bytes) as in `Module.bodies`."""
    for offset, size in bodies:
        body = wasm[offset : offset + size]
        yield from instructions(body, offset, start=read_locals(body, offset).end)


def reindex(
    body: bytes,
    *,
    start: int = 0,
    base_offset: int = 0,
    funcs: IndexMap | None = None,
    tables: IndexMap | None = None,
    globals: IndexMap | None = None,  # noqa: A002 - the specification's word
    elems: IndexMap | None = None,
    datas: IndexMap | None = None,
) -> bytes:
    """Return `body` with the indices in its expression mapped; None leaves an index space unchanged.

    Everything else keeps its bytes, also an index that is mapped to itself. An index keeps its number of bytes where it fits, so
    that no later instruction moves. For `body`, `start`, `base_offset` and errors see `instructions`.
    """
    spaces = {"funcidx": funcs, "tableidx": tables, "globalidx": globals, "elemidx": elems, "dataidx": datas}
    maps = {kind: index_map for kind, index_map in spaces.items() if index_map is not None}
    skip = _other_instructions(frozenset(maps)).match
    out: list[bytes] = [body[:start]]
    done = at = start
    while True:
        run = skip(body, at)
        at = run.end() if run else at
        if at >= len(body):
            break
        try:
            op, after = opcode(body, at)
            for kind in op.immediates:
                value, end = READERS[kind](body, after)
                if kind in maps and (new := maps[kind](value)) != value:
                    out += (body[done:after], padded(new, end - after))
                    done = end
                after = end
        except (IndexError, ArtifactError) as error:
            raise _located(error, base_offset, at) from error
        at = after
    return b"".join([*out, body[done:]])


def has_any(body: bytes, names: frozenset[str], *, start: int = 0, base_offset: int = 0) -> bool:
    """Whether the expression contains an instruction with one of the names. For arguments and errors see `instructions`."""
    return next(_named(body, names, start, base_offset), None) is not None


def count(body: bytes, names: frozenset[str], *, start: int = 0, base_offset: int = 0) -> int:
    """Return the number of instructions with one of the names. For arguments and errors see `instructions`."""
    return sum(1 for _ in _named(body, names, start, base_offset))


def _named(body: bytes, names: frozenset[str], start: int, base_offset: int) -> Iterator[int]:
    """Yield the positions of the instructions with one of the names."""
    skip = _other_instructions(frozenset(), names).match
    at = start
    while True:
        run = skip(body, at)
        at = run.end() if run else at
        if at >= len(body):
            return
        try:
            op, after = opcode(body, at)
            if op.name in names:
                yield at
            for kind in op.immediates:
                _, after = READERS[kind](body, after)
        except (IndexError, ArtifactError) as error:
            raise _located(error, base_offset, at) from error
        at = after


def _located(error: IndexError | ArtifactError, base_offset: int, at: int) -> ArtifactError:
    """Return the error with a file offset: of the instruction, if the bytes end within it."""
    if isinstance(error, ArtifactError):
        return ArtifactError(error.reason, offset=base_offset + (error.offset or 0), hint=error.hint)
    return ArtifactError("the expression ends within an instruction", offset=base_offset + at)


def opcode(body: bytes, at: int) -> tuple[Op, int]:
    """Return the operator at a position, and the position after its opcode."""
    first = body[at]
    if first not in PREFIXES:
        op, after = BY_OPCODE.get((None, first)), at + 1
        text = f"{first:#04x}"
    else:
        sub, after = _u32(body, at + 1)
        op = BY_OPCODE.get((first, sub))
        text = f"{first:#04x} {sub:#04x}"
    if op is None:
        raise ArtifactError(f"unknown opcode {text}", offset=at)
    return op, after


# Readers of immediates. Each returns the value and the position after it. IndexError if the bytes end.


def _u32(body: bytes, at: int) -> tuple[int, int]:
    byte = body[at]
    if byte < 0x80:  # noqa: PLR2004 - LEB128's continuation bit; nearly every index has one byte
        return byte, at + 1
    return _read(body, at, Reader.u32)


def _read(body: bytes, at: int, read: Callable[[Reader], Any]) -> tuple[Any, int]:
    """Read an immediate of at most 16 bytes with a method of ``Reader``."""
    reader = Reader(body[at : at + 16], at)
    if reader.eof:
        raise IndexError
    return read(reader), reader.offset


def _by(read: Callable[[Reader], Any]) -> _Read:
    return lambda body, at: _read(body, at, read)


def _s32(body: bytes, at: int) -> tuple[int, int]:
    byte = body[at]
    if byte < 0x80:  # noqa: PLR2004 - as above, with bit 6 for the sign
        return (byte ^ 0x40) - 0x40, at + 1
    return _read(body, at, Reader.s32)


def _s64(body: bytes, at: int) -> tuple[int, int]:
    byte = body[at]
    if byte < 0x80:  # noqa: PLR2004 - as above
        return (byte ^ 0x40) - 0x40, at + 1
    return _read(body, at, Reader.s64)


def _fixed(size: int) -> _Read:
    def read(body: bytes, at: int) -> tuple[int, int]:
        if at + size > len(body):
            raise IndexError
        return int.from_bytes(body[at : at + size], "little"), at + size

    return read


def _shuffle(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    _, end = _V128(body, at)
    return tuple(body[at:end]), end


def _memarg(body: bytes, at: int) -> tuple[MemArg, int]:
    flags, at = _u32(body, at)
    memory = 0
    if flags & _HAS_MEMORY:
        memory, at = _u32(body, at)
    if body[at] < 0x80:  # noqa: PLR2004 - as above
        return MemArg(flags & ~_HAS_MEMORY, memory, body[at]), at + 1
    offset, at = _read(body, at, Reader.u64)
    return MemArg(flags & ~_HAS_MEMORY, memory, offset), at


def _blocktype(body: bytes, at: int) -> tuple[ValType | int | None, int]:
    byte = body[at]
    if byte == _EMPTY:
        return None, at + 1
    # A typeidx is a non-negative s33; the first byte of a value type is that of a negative s33 of one byte.
    return _read(body, at, Reader.s33 if byte < _EMPTY or byte > 0x7F else _TYPES.valtype)  # noqa: PLR2004 - as above


def _vector(item: _Read) -> _Read:
    def read(body: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        count, at = _u32(body, at)
        if count > len(body) - at:
            raise IndexError
        items = []
        for _ in range(count):
            value, at = item(body, at)
            items.append(value)
        return tuple(items), at

    return read


def _labels(body: bytes, at: int) -> tuple[tuple[int, ...], int]:
    labels, at = _vector(_u32)(body, at)
    default, at = _u32(body, at)
    return (*labels, default), at


def _catch(body: bytes, at: int) -> tuple[CatchClause, int]:
    kind = body[at]
    if kind >= len(_CATCHES):
        raise ArtifactError(f"unknown catch clause {kind:#04x}", offset=at)
    tag, at = _u32(body, at + 1) if kind < _CATCHES_WITH_TAG else (None, at + 1)
    label, at = _u32(body, at)
    return CatchClause(_CATCHES[kind], tag, label), at


_V128: Final = _fixed(16)
_BYTE: Final = _fixed(1)
READERS: Final[dict[str, _Read]] = {
    **{kind: _u32 for op in OPS for kind in op.immediates if kind.endswith("idx")},
    "u32": _u32,
    "i32": _s32,
    "i64": _s64,
    "f32": _fixed(4),
    "f64": _fixed(8),
    "v128": _V128,
    "shuffle": _shuffle,
    "lane": _BYTE,
    "castflags": _BYTE,
    "atomic_order": _BYTE,
    "memarg": _memarg,
    "blocktype": _blocktype,
    "heaptype": _by(_TYPES.heaptype),
    "valtypes": _vector(_by(_TYPES.valtype)),
    "labels": _labels,
    "catches": _vector(_catch),
}


def _readers(op: Op) -> tuple[_Read | None, tuple[_Read, ...]]:
    """Return the reader of the first immediate, if any, and those of the others."""
    readers = tuple(READERS[kind] for kind in op.immediates)
    return (readers[0] if readers else None), readers[1:]


_PLAIN: Final[list[tuple[str, _Read | None, tuple[_Read, ...]] | None]] = [
    (op.name, *_readers(op)) if op else None for op in (BY_OPCODE.get((None, byte)) for byte in range(256))
]

# The same immediates as regular expressions, to skip instructions at the speed of `re`. Kinds with a count have none.
_LEB: Final = rb"[\x80-\xff]*[\x00-\x7f]"
_PATTERNS: Final[dict[str, bytes]] = {
    **{kind: _LEB for kind in READERS if kind.endswith("idx")},
    **dict.fromkeys(("u32", "i32", "i64", "heaptype"), _LEB),
    **dict.fromkeys(("lane", "castflags", "atomic_order"), rb"."),
    **dict.fromkeys(("v128", "shuffle"), rb".{16}"),
    "f32": rb".{4}",
    "f64": rb".{8}",
    "memarg": rb"(?:[\x00-\x3f]|[\x40-\x7f]" + _LEB + rb")" + _LEB,
    "blocktype": rb"(?:[\x00-\x62\x65-\x7f]|[\x63\x64]" + _LEB + rb"|[\x80-\xff]+[\x00-\x7f])",
}


_AT_ONCE: Final = 1000
"""Instructions skipped by one match, which may store a backtracking position for each."""


@lru_cache(maxsize=32)
def _other_instructions(kinds: frozenset[str], names: frozenset[str] = frozenset()) -> re.Pattern[bytes]:
    """Return a pattern that matches instructions with none of the names and no immediate of the kinds.

    A match may stop early, at an instruction with a count or an unusual encoding, but never within an instruction.
    """
    groups: defaultdict[tuple[bytes, bytes, tuple[str, ...]], bytearray] = defaultdict(bytearray)
    for op in OPS:
        if op.name not in names and all(kind in _PATTERNS and kind not in kinds for kind in op.immediates):
            at = 0 if op.prefix is None else 1
            group = op.encoding[:at], op.encoding[at + 1 :], op.immediates
            groups[group].append(op.encoding[at])
    choices = [
        re.escape(prefix)
        + b"["
        + b"".join(b"\\x%02x" % byte for byte in opcodes)
        + b"]"
        + re.escape(rest)
        + b"".join(_PATTERNS[kind] for kind in immediates)
        for (prefix, rest, immediates), opcodes in groups.items()
    ]
    # No possessive repetition: before Python 3.11.5 it matches too much if its content backtracks (CPython gh-106052).
    return re.compile(rb"(?:" + b"|".join(choices) + rb"){0,%d}" % _AT_ONCE, re.DOTALL)
