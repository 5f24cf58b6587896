"""Instructions written again with other indices, and the indices that code names.

Core specification 5.4 and 5.5.13. An index space that has no map keeps its indices; an instruction in which nothing changes keeps
its bytes, however they are encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from diffcheck.wasm.code import READERS, Instruction, instructions, opcode, read_locals
from diffcheck.wasm.leb import s, u
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import RefType, ValType, encode_heaptype, encode_valtype

Space = Literal["type", "func", "table", "memory", "global", "tag", "elem", "data", "local"]
Maps = Mapping[Space, Mapping[int, int]]
Reference = tuple[Space, int]

_SPACE_OF: Final[dict[str, Space]] = {
    "typeidx": "type",
    "funcidx": "func",
    "tableidx": "table",
    "memidx": "memory",
    "globalidx": "global",
    "tagidx": "tag",
    "elemidx": "elem",
    "dataidx": "data",
    "localidx": "local",
}
_FIXED: Final = {"f32": 4, "f64": 8, "v128": 16}
_HAS_MEMORY: Final = 0x40
_CATCHES: Final = {"catch": 0, "catch_ref": 1, "catch_all": 2, "catch_all_ref": 3}


def map_valtype(value: ValType, maps: Maps) -> ValType:
    """A value type with its typeidx mapped."""
    if isinstance(value, RefType) and isinstance(value.heap, int):
        return RefType(nullable=value.nullable, heap=maps.get("type", {}).get(value.heap, value.heap))
    return value


def encode(instruction: Instruction, maps: Maps | None = None, *, like: bytes = b"") -> bytes:
    """An instruction's bytes, with its indices mapped, each integer in its shortest form.

    ``like`` are the bytes that it was decoded from: an immediate that is unchanged keeps those, since one value may have several
    (padded integers, memory 0 by its index, the long form of a reference type).
    """
    op = BY_NAME[instruction.name]
    given = maps or {}
    after = opcode(like, 0)[1] if like else 0
    parts = [like[:after] or op.encoding]
    for kind, value in zip(op.immediates, instruction.immediates, strict=True):
        written = _immediate(kind, value, given)
        if like:
            start = after
            seen, after = READERS[kind](like, start)
            written = like[start:after] if _immediate(kind, seen, {}) == written else written
        parts.append(written)
    return b"".join(parts)


def plain(name: str, *immediates: Any) -> bytes:  # noqa: ANN401 - what an immediate is depends on its kind
    """The bytes of an instruction given by its name and immediates, which are as in ``Instruction``."""
    return encode(Instruction(name, 0, 0, immediates))


def _immediate(kind: str, value: Any, maps: Maps) -> bytes:  # noqa: ANN401, C901, PLR0911, PLR0912 - one kind a line
    if kind in _SPACE_OF:
        return u(maps.get(_SPACE_OF[kind], {}).get(value, value))
    if kind in ("labelidx", "fieldidx", "u32"):
        return u(value)
    if kind in ("i32", "i64"):
        return s(value)
    if kind in _FIXED:
        return bytes(value.to_bytes(_FIXED[kind], "little"))
    match kind:
        case "lane" | "castflags" | "atomic_order":
            return bytes([value])
        case "shuffle":
            return bytes(value)
        case "memarg":
            memidx = maps.get("memory", {}).get(value.memidx, value.memidx)
            head = u(value.align) if not memidx else u(value.align | _HAS_MEMORY) + u(memidx)
            return head + u(value.offset)
        case "heaptype":
            return encode_heaptype(maps.get("type", {}).get(value, value) if isinstance(value, int) else value)
        case "blocktype":
            if isinstance(value, int):
                return s(maps.get("type", {}).get(value, value))
            return b"\x40" if value is None else encode_valtype(map_valtype(value, maps))
        case "valtypes":
            return u(len(value)) + b"".join(encode_valtype(map_valtype(each, maps)) for each in value)
        case "labels":
            return u(len(value) - 1) + b"".join(map(u, value))
        case "catches":
            return u(len(value)) + b"".join(_catch(each, maps) for each in value)
    raise AssertionError(kind)


def _catch(catch: Any, maps: Maps) -> bytes:  # noqa: ANN401 - ``code.Catch``
    tag = b"" if catch.tagidx is None else u(maps.get("tag", {}).get(catch.tagidx, catch.tagidx))
    return bytes([_CATCHES[catch.kind]]) + tag + u(catch.labelidx)


def references_of(instruction: Instruction) -> Iterator[Reference]:
    """The indices that an instruction names, labels and locals left out."""
    for kind, value in zip(BY_NAME[instruction.name].immediates, instruction.immediates, strict=True):
        if kind in _SPACE_OF and kind != "localidx":
            yield _SPACE_OF[kind], value
        elif kind == "memarg":
            yield "memory", value.memidx
        elif kind in ("heaptype", "blocktype") and isinstance(value, int):
            yield "type", value
        elif kind == "catches":
            yield from (("tag", each.tagidx) for each in value if each.tagidx is not None)
        for each in value if kind == "valtypes" else (value,):
            if isinstance(each, RefType) and isinstance(each.heap, int):
                yield "type", each.heap


@lru_cache(maxsize=20_000)
def references(expression: bytes) -> frozenset[Reference]:
    """The indices that an expression (with its ``end``, without locals) names."""
    return frozenset(each for instruction in instructions(expression) for each in references_of(instruction))


@lru_cache(maxsize=20_000)
def body_references(body: bytes) -> frozenset[Reference]:
    """The indices that a code entry (without its size) names, those of its locals' types too."""
    declared = read_locals(body)
    types: set[Reference] = {
        ("type", value.heap) for _, value in declared.groups if isinstance(value, RefType) and isinstance(value.heap, int)
    }
    return references(body[declared.end :]) | types


def remap(expression: bytes, maps: Maps) -> bytes:
    """An expression with its indices mapped."""
    out: list[bytes] = []
    for each in instructions(expression):
        raw = expression[each.offset : each.end]
        named = any(maps.get(space, {}).get(index, index) != index for space, index in references_of(each))
        if named or ("local" in maps and each.name.startswith("local.")):
            raw = encode(each, maps)
        out.append(raw)
    return b"".join(out)


def remap_body(body: bytes, maps: Maps) -> bytes:
    """A code entry (without its size) with its indices mapped."""
    declared = read_locals(body)
    return encode_locals([(count, map_valtype(value, maps)) for count, value in declared.groups]) + remap(
        body[declared.end :], maps
    )


def encode_locals(groups: list[tuple[int, ValType]]) -> bytes:
    """The declaration at the beginning of a code entry."""
    return u(len(groups)) + b"".join(u(count) + encode_valtype(value) for count, value in groups)


_ZEROS: Final = {
    "i32": b"\x41\x00",
    "i64": b"\x42\x00",
    "f32": b"\x43" + bytes(4),
    "f64": b"\x44" + bytes(8),
    "v128": b"\xfd\x0c" + bytes(16),
}


def zero(type_: ValType) -> bytes | None:
    """Give the constant instruction of a type's default (core 4.2.1); None for a reference that may not be null."""
    if isinstance(type_, RefType):
        return b"\xd0" + encode_heaptype(type_.heap) if type_.nullable else None
    return _ZEROS[type_]
