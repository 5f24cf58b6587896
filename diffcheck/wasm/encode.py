"""Encode instructions with mapped indices, and list the indices that code refers to.

Core specification 5.4 and 5.5.13. An index space without a map keeps its indices. An unchanged instruction keeps its bytes, however
they are encoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from diffcheck.wasm.code import READERS, Instruction, instructions, opcode, read_locals
from diffcheck.wasm.fragment import memarg
from diffcheck.wasm.leb import s, u, vector
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import RefType, ValType, encode_heaptype, encode_resulttype, encode_valtype

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
_CATCHES: Final = {"catch": 0, "catch_ref": 1, "catch_all": 2, "catch_all_ref": 3}


def map_valtype(value: ValType, maps: Maps) -> ValType:
    """Return a value type with its typeidx mapped."""
    if isinstance(value, RefType) and isinstance(value.heap, int):
        return RefType(nullable=value.nullable, heap=maps.get("type", {}).get(value.heap, value.heap))
    return value


def encode(instruction: Instruction, maps: Maps | None = None, *, like: bytes = b"") -> bytes:
    """Encode an instruction with its indices mapped and each integer in its shortest form.

    An immediate that equals the one in ``like``, the original bytes, keeps its original encoding, since a value may have several
    (padded integers, memory 0 by its index, the long form of a reference type).
    """
    op = BY_NAME[instruction.name]
    maps = maps or {}
    after = opcode(like, 0)[1] if like else 0
    parts = [like[:after] or op.encoding]
    for kind, value in zip(op.immediates, instruction.immediates, strict=True):
        encoded = _immediate(kind, value, maps)
        if like:
            start = after
            original, after = READERS[kind](like, start)
            encoded = like[start:after] if _immediate(kind, original, {}) == encoded else encoded
        parts.append(encoded)
    return b"".join(parts)


def plain(name: str, *immediates: Any) -> bytes:  # noqa: ANN401 - an immediate's type depends on its kind
    """Encode an instruction from its name and its immediates, as in ``Instruction``."""
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
            return memarg(value.align, maps.get("memory", {}).get(value.memidx, value.memidx), value.offset)
        case "heaptype":
            return encode_heaptype(maps.get("type", {}).get(value, value) if isinstance(value, int) else value)
        case "blocktype":
            if isinstance(value, int):
                return s(maps.get("type", {}).get(value, value))
            return b"\x40" if value is None else encode_valtype(map_valtype(value, maps))
        case "valtypes":
            return encode_resulttype(map_valtype(each, maps) for each in value)
        case "labels":
            return u(len(value) - 1) + b"".join(map(u, value))
        case "catches":
            return vector([_catch(each, maps) for each in value])
    raise AssertionError(kind)


def _catch(catch: Any, maps: Maps) -> bytes:  # noqa: ANN401 - ``code.Catch``
    tag = b"" if catch.tagidx is None else u(maps.get("tag", {}).get(catch.tagidx, catch.tagidx))
    return bytes([_CATCHES[catch.kind]]) + tag + u(catch.labelidx)


def references_of(instruction: Instruction) -> Iterator[Reference]:
    """Yield the indices that an instruction refers to, except labels and locals."""
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
    """Return the indices that an expression (with its ``end``, without locals) refers to."""
    return frozenset(each for instruction in instructions(expression) for each in references_of(instruction))


@lru_cache(maxsize=20_000)
def body_references(body: bytes) -> frozenset[Reference]:
    """Return the indices that a code entry (without its size) refers to, including those in its locals' types."""
    declared = read_locals(body)
    types: set[Reference] = {
        ("type", value.heap) for _, value in declared.groups if isinstance(value, RefType) and isinstance(value.heap, int)
    }
    return references(body[declared.end :]) | types


def remap(expression: bytes, maps: Maps) -> bytes:
    """Return an expression with its indices mapped."""
    out: list[bytes] = []
    for each in instructions(expression):
        raw = expression[each.offset : each.end]
        changed = any(maps.get(space, {}).get(index, index) != index for space, index in references_of(each))
        if changed or ("local" in maps and each.name.startswith("local.")):
            raw = encode(each, maps)
        out.append(raw)
    return b"".join(out)


def remap_body(body: bytes, maps: Maps) -> bytes:
    """Return a code entry (without its size) with its indices mapped."""
    declared = read_locals(body)
    groups = [(count, map_valtype(value, maps)) for count, value in declared.groups]
    return encode_locals(groups) + remap(body[declared.end :], maps)


def encode_locals(groups: list[tuple[int, ValType]]) -> bytes:
    """Encode the declaration of locals at the beginning of a code entry."""
    return u(len(groups)) + b"".join(u(count) + encode_valtype(value) for count, value in groups)


_ZEROS: Final = {
    "i32": b"\x41\x00",
    "i64": b"\x42\x00",
    "f32": b"\x43" + bytes(4),
    "f64": b"\x44" + bytes(8),
    "v128": b"\xfd\x0c" + bytes(16),
}


def zero(type_: ValType) -> bytes | None:
    """Return the constant instruction of a type's default value (core 4.2.1); None for a non-nullable reference."""
    if isinstance(type_, RefType):
        return b"\xd0" + encode_heaptype(type_.heap) if type_.nullable else None
    return _ZEROS[type_]
