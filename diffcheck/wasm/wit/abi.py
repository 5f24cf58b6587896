"""Sizes and flat types of the canonical ABI with 32-bit memories (component model, CanonicalABI.md, from "Alignment" on)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from diffcheck.wasm.wit.types import CASES, FLOATS, INTEGERS, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diffcheck.wasm.wit.types import WitType

MAX_FLAT_PARAMS: Final = 16
POINTER_BYTES: Final = 4
_SCALARS: Final = {"bool": 1, "char": 4, **{kind: bits // 8 for kind, (bits, _) in INTEGERS.items()}, "f32": 4, "f64": 8}
_WORD_FLAGS: Final = 32


def unsupported(type_: WitType) -> str:
    """The first kind in the type that has no place in the canonical ABI of this module; empty if all have one."""
    known = type_.kind in _SCALARS or type_.kind in (*CASES, *RESOURCES, "string", "list", "tuple", "record", "flags")
    if type_.kind == "flags" and len(type_.names) > _WORD_FLAGS:
        return "flags with more than 32 names"
    return next(filter(None, map(unsupported, type_.members)), "") if known else type_.kind


@cache
def size(type_: WitType) -> int:
    """The bytes of a value in memory, padded to its alignment."""
    kind = type_.kind
    if kind in _SCALARS:
        return _SCALARS[kind]
    if kind in RESOURCES:
        return 4
    if kind in ("string", "list"):
        return 2 * POINTER_BYTES
    if kind == "flags":
        return flag_bytes(type_)
    end = payload_offset(type_) + max(map(size, type_.members), default=0) if kind in CASES else _end(type_)
    return aligned(end, alignment(type_))


@cache
def alignment(type_: WitType) -> int:
    """The alignment of a value in memory."""
    kind = type_.kind
    if kind in _SCALARS or kind == "flags":
        return size(type_)
    if kind in ("string", "list", *RESOURCES):
        return POINTER_BYTES
    inner = max(map(alignment, type_.members), default=1)
    return max(inner, case_bytes(type_)) if kind in CASES else inner


def aligned(offset: int, alignment_: int) -> int:
    """The next multiple of an alignment."""
    return -(-offset // alignment_) * alignment_


def flag_bytes(type_: WitType) -> int:
    """The size in bytes of a flags value: 1, 2 or 4 (CanonicalABI.md, elem_size_flags)."""
    count = len(type_.names)
    return 1 if count <= 8 else 2 if count <= 16 else 4  # noqa: PLR2004 - bits of one and of two bytes


def case_bytes(type_: WitType) -> int:
    """The size in bytes of a variant's discriminant: 1, 2 or 4 (CanonicalABI.md, discriminant_type)."""
    count = len(type_.names)
    return 1 if count <= 1 << 8 else 2 if count <= 1 << 16 else 4


def payload_offset(type_: WitType) -> int:
    """The offset of a case's payload."""
    return aligned(case_bytes(type_), max(map(alignment, type_.members), default=1))


def fields(type_: WitType) -> Iterator[tuple[int, WitType]]:
    """The fields of a record or a tuple with their offsets."""
    offset = 0
    for each in type_.members:
        offset = aligned(offset, alignment(each))
        yield offset, each
        offset += size(each)


def _end(type_: WitType) -> int:
    return max((offset + size(each) for offset, each in fields(type_)), default=0)


@cache
def flat(type_: WitType) -> tuple[str, ...]:
    """The core types of a value that is passed without memory."""
    kind = type_.kind
    if kind in FLOATS:
        return (kind,)
    if kind in _SCALARS or kind in RESOURCES or kind == "flags":
        return ("i64" if kind in ("s64", "u64") else "i32",)
    if kind in ("string", "list"):
        return ("i32", "i32")
    if kind in CASES:
        return ("i32", *_joined(flat(each) for each in type_.members))
    return tuple(each for member in type_.members for each in flat(member))


def _joined(payloads: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The core types that hold each of the payloads."""
    joined: list[str] = []
    for each in payloads:
        for at, type_ in enumerate(each):
            if at == len(joined):
                joined.append(type_)
            elif joined[at] != type_:
                joined[at] = "i32" if {joined[at], type_} == {"i32", "f32"} else "i64"
    return tuple(joined)


def passed_flat(types: Iterable[WitType]) -> tuple[str, ...] | None:
    """The core parameters of a function with these parameters; None if they are passed in memory."""
    found = tuple(each for type_ in types for each in flat(type_))
    return found if len(found) <= MAX_FLAT_PARAMS else None
