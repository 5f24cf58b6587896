"""Function bodies by instruction: decoding, and rewriting of the indices in them.

Core specification 5.4 (instructions) and 5.5.13 (code section). Nothing is validated but the encoding; the table is
`opcodes`. Positions that are returned or taken count in the `body` given; offsets, also those in errors, in the file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.wasm.leb import Reader, u
from diffcheck.wasm.opcodes import BY_OPCODE, OPS, PREFIXES, Op
from diffcheck.wasm.typereader import TypeReader

if TYPE_CHECKING:
    from diffcheck.wasm.types import ValType

IndexMap = Callable[[int], int]
_Read = Callable[[bytes, int], tuple[Any, int]]  # body, position -> the immediate, the position after it

# A body is read without its module's types; the oracle checks the indices.
_TYPES: Final = TypeReader(bound=1 << 32)
_EMPTY: Final = 0x40
_HAS_MEMORY: Final = 0x40
_CATCHES: Final = ("catch", "catch_ref", "catch_all", "catch_all_ref")
_CATCHES_WITH_TAG: Final = 2


class MemArg(NamedTuple):
    """The immediate of a load or store; `align` is the exponent of 2."""

    align: int
    memidx: int
    offset: int


class CatchClause(NamedTuple):
    """One clause of a `try_table`; `tagidx` is None where all exceptions are caught."""

    kind: str
    tagidx: int | None
    labelidx: int


class Instruction(msgspec.Struct, frozen=True, gc=False):
    """One instruction and where it stands in the file.

    `immediates` are in the order of the table's kinds: integers (`i32` and `i64` signed; `f32`, `f64` and `v128` bit
    patterns), a `MemArg`, a tuple for `labels` (the default last), `catches`, `valtypes` and `shuffle`; a `heaptype` is a
    name or a typeidx; a `blocktype` is None, a value type, or a typeidx.
    """

    name: str
    offset: int
    end: int
    immediates: tuple[Any, ...]


class Locals(NamedTuple):
    """The declaration at the beginning of a code entry: counts with their types, and the position of the expression."""

    groups: tuple[tuple[int, ValType], ...]
    end: int


def read_locals(body: bytes, base_offset: int = 0) -> Locals:
    """Give the locals that a code entry (without its size) declares; ArtifactError if they cannot be read."""
    reader = Reader(body, base_offset)
    groups = reader.vector("locals", lambda each: (each.u32(), _TYPES.valtype(each)))
    return Locals(groups, reader.offset - base_offset)


def instructions(body: bytes, base_offset: int = 0, *, start: int = 0) -> Iterator[Instruction]:
    """Give the instructions of the expression that begins at position `start` and ends with `body`, its `end` too.

    `base_offset` is the file offset of `body`. For a code entry, `start` is ``read_locals(body).end``. ArtifactError,
    with the file offset, at an opcode that is not in the table and where the bytes end too early.
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
                for each in more:
                    value, after = each(body, after)
                    immediates += (value,)
        except (IndexError, ArtifactError) as error:
            raise _located(error, base_offset, at) from error
        yield Instruction(name, base_offset + at, base_offset + after, immediates)
        at = after


def all_instructions(wasm: bytes, bodies: Iterable[tuple[int, int]]) -> Iterator[Instruction]:
    """Give the instructions of several bodies of a file, which are (file offset, size in bytes) as in a module's `bodies`."""
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
    """Give `body` with the indices of those spaces mapped in its expression; None leaves a space as it is.

    All else stays byte for byte, also an index that is mapped to itself, however it is encoded. `body`, `start`,
    `base_offset` and errors are those of `instructions`.
    """
    given = {"funcidx": funcs, "tableidx": tables, "globalidx": globals, "elemidx": elems, "dataidx": datas}
    maps = {kind: mapped for kind, mapped in given.items() if mapped is not None}
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
                    out += (body[done:after], u(new))
                    done = end
                after = end
        except (IndexError, ArtifactError) as error:
            raise _located(error, base_offset, at) from error
        at = after
    return b"".join([*out, body[done:]])


def has_any(body: bytes, names: frozenset[str], *, start: int = 0, base_offset: int = 0) -> bool:
    """Whether an instruction of one of those names is in the expression; arguments and errors are those of `instructions`."""
    skip = _other_instructions(frozenset(), names).match
    at = start
    while True:
        run = skip(body, at)
        at = run.end() if run else at
        if at >= len(body):
            return False
        try:
            op, after = opcode(body, at)
            if op.name in names:
                return True
            for kind in op.immediates:
                _, after = READERS[kind](body, after)
        except (IndexError, ArtifactError) as error:
            raise _located(error, base_offset, at) from error
        at = after


def _located(error: IndexError | ArtifactError, base_offset: int, at: int) -> ArtifactError:
    """Give the error for a user: with the file offset, of the instruction where the bytes end too early."""
    if isinstance(error, ArtifactError):
        return ArtifactError(error.reason, offset=base_offset + (error.offset or 0), hint=error.hint)
    return ArtifactError("the expression ends within an instruction", offset=base_offset + at)


def opcode(body: bytes, at: int) -> tuple[Op, int]:
    """Give the entry of the instruction at a position, and the position after its opcode."""
    first = body[at]
    if first not in PREFIXES:
        op, after = BY_OPCODE.get((None, first)), at + 1
        shown = f"{first:#04x}"
    else:
        sub, after = _u32(body, at + 1)
        op = BY_OPCODE.get((first, sub))
        shown = f"{first:#04x} {sub:#04x}"
    if op is None:
        raise ArtifactError(f"unknown opcode {shown}", offset=at)
    return op, after


# Readers of immediates. Each gives the value and the position after it; IndexError if the bytes end.


def _u32(body: bytes, at: int) -> tuple[int, int]:
    byte = body[at]
    if byte < 0x80:  # noqa: PLR2004 - LEB128's continuation bit; one byte is nearly every index
        return byte, at + 1
    return _read(body, at, Reader.u32)


def _read(body: bytes, at: int, read: Callable[[Reader], Any]) -> tuple[Any, int]:
    """Give what a reader of another module reads here; no immediate that is read so is longer than 16 bytes."""
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
    # A typeidx is a non-negative s33, every other first byte is that of a negative number of one byte.
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
    """Give the reader of the first immediate and those of the others."""
    readers = tuple(READERS[kind] for kind in op.immediates)
    return (readers[0] if readers else None), readers[1:]


_PLAIN: Final[list[tuple[str, _Read | None, tuple[_Read, ...]] | None]] = [
    (op.name, *_readers(op)) if op else None for op in (BY_OPCODE.get((None, byte)) for byte in range(256))
]

# The same immediates as regular expressions, for passing over instructions at the speed of `re`; a kind with a count
# cannot be one.
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
"""So many instructions are passed over by one match: it may keep where to go back to for each."""


@lru_cache(maxsize=32)
def _other_instructions(kinds: frozenset[str], names: frozenset[str] = frozenset()) -> re.Pattern[bytes]:
    """Give what matches any number of instructions that have none of those names, and no immediate of those kinds.

    It may stop early, at an instruction with a count or an unusual encoding, but never within one.
    """
    groups: defaultdict[tuple[bytes, bytes, tuple[str, ...]], bytearray] = defaultdict(bytearray)
    for op in OPS:
        if op.name not in names and all(kind in _PATTERNS and kind not in kinds for kind in op.immediates):
            before = 0 if op.prefix is None else 1
            group = op.encoding[:before], op.encoding[before + 1 :], op.immediates
            groups[group].append(op.encoding[before])
    choices = [
        re.escape(prefix)
        + b"["
        + b"".join(b"\\x%02x" % byte for byte in opcodes)
        + b"]"
        + re.escape(rest)
        + b"".join(_PATTERNS[kind] for kind in immediates)
        for (prefix, rest, immediates), opcodes in groups.items()
    ]
    # No possessive repetition: Python before 3.11.5 matches too much where what is repeated has to go back (CPython gh-106052).
    return re.compile(rb"(?:" + b"|".join(choices) + rb"){0,%d}" % _AT_ONCE, re.DOTALL)
