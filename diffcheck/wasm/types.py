"""The types of WebAssembly 3.0 and their encoders (core specification 2.3 and 5.3)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from diffcheck.wasm import leb

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBERS = {"i32": 0x7F, "i64": 0x7E, "f32": 0x7D, "f64": 0x7C, "v128": 0x7B}
PACKED = {"i8": 0x78, "i16": 0x77}
HEAPS = {
    "noexn": 0x74,
    "nofunc": 0x73,
    "noextern": 0x72,
    "none": 0x71,
    "func": 0x70,
    "extern": 0x6F,
    "any": 0x6E,
    "eq": 0x6D,
    "i31": 0x6C,
    "struct": 0x6B,
    "array": 0x6A,
    "exn": 0x69,
}
REF, REF_NULL = 0x64, 0x63
FUNC, STRUCT, ARRAY = 0x60, 0x5F, 0x5E
SUB, SUB_FINAL, REC = 0x50, 0x4F, 0x4E
HAS_MAXIMUM, SHARED, IS_64, PAGE_SIZE = 1, 2, 4, 8


class RefType(msgspec.Struct, frozen=True):
    """A reference type; `heap` is an abstract heap type's name (see `HEAPS`) or a typeidx."""

    nullable: bool
    heap: str | int

    def __str__(self) -> str:
        return f"(ref {'null ' * self.nullable}{self.heap})"


ValType: TypeAlias = str | RefType
"""One of `NUMBERS`, or a reference type."""


def is_typed_reference(value: object) -> bool:
    """Whether it is a reference type to a defined type, or one that is not nullable: both came with typed function references."""
    return isinstance(value, RefType) and (not value.nullable or isinstance(value.heap, int))


class FieldType(msgspec.Struct, frozen=True):
    """A field of a structure, or an array's element. `storage` may also be `i8` or `i16`."""

    storage: ValType
    mutable: bool


class FuncType(msgspec.Struct, frozen=True, tag="func"):
    """A function's parameters and results."""

    params: tuple[ValType, ...] = ()
    results: tuple[ValType, ...] = ()


class StructType(msgspec.Struct, frozen=True, tag="struct"):
    """A structure's fields."""

    fields: tuple[FieldType, ...] = ()


class ArrayType(msgspec.Struct, frozen=True, tag="array"):
    """An array type with its element's type."""

    field: FieldType


CompositeType: TypeAlias = FuncType | StructType | ArrayType


class SubType(msgspec.Struct, frozen=True):
    """A type definition: final or open, the typeidx of its supertypes, and the type."""

    final: bool
    supers: tuple[int, ...]
    composite: CompositeType


class Limits(msgspec.Struct, frozen=True):
    """A size range in pages or elements. `page_size_log2` is None for the default page size."""

    minimum: int
    maximum: int | None = None
    is64: bool = False
    shared: bool = False
    page_size_log2: int | None = None


class TableType(msgspec.Struct, frozen=True):
    """A table's element type and size range."""

    ref: RefType
    limits: Limits


class MemoryType(msgspec.Struct, frozen=True):
    """A memory's size range."""

    limits: Limits


class GlobalType(msgspec.Struct, frozen=True):
    """A global's value type and mutability."""

    value: ValType
    mutable: bool


class TagType(msgspec.Struct, frozen=True):
    """A tag's parameters, as the typeidx of a function type."""

    typeidx: int


def encode_heaptype(heap: str | int) -> bytes:
    """Encode a heap type."""
    return leb.s(heap) if isinstance(heap, int) else bytes([HEAPS[heap]])


def encode_reftype(ref: RefType) -> bytes:
    """Encode a reference type, in the one-byte form if there is one."""
    if ref.nullable and isinstance(ref.heap, str):
        return encode_heaptype(ref.heap)
    return bytes([REF_NULL if ref.nullable else REF]) + encode_heaptype(ref.heap)


def encode_valtype(value: ValType) -> bytes:
    """Encode a value type."""
    return encode_reftype(value) if isinstance(value, RefType) else bytes([NUMBERS[value]])


def encode_fieldtype(field: FieldType) -> bytes:
    """Encode a field type, whose storage may be packed."""
    storage = field.storage
    packed = PACKED.get(storage) if isinstance(storage, str) else None
    return (encode_valtype(storage) if packed is None else bytes([packed])) + bytes([field.mutable])


def encode_resulttype(values: Iterable[ValType]) -> bytes:
    """Encode a vector of value types."""
    return leb.vector([encode_valtype(value) for value in values])


def fields(composite: CompositeType) -> tuple[FieldType, ...]:
    """Return a structure's fields or an array's element; nothing for a function."""
    if isinstance(composite, StructType):
        return composite.fields
    return (composite.field,) if isinstance(composite, ArrayType) else ()


@lru_cache(maxsize=1024)
def encode_functype(function: FuncType) -> bytes:
    """Encode a function type."""
    return bytes([FUNC]) + encode_resulttype(function.params) + encode_resulttype(function.results)


def encode_comptype(composite: CompositeType) -> bytes:
    """Encode a composite type."""
    if isinstance(composite, FuncType):
        return encode_functype(composite)
    if isinstance(composite, ArrayType):
        return bytes([ARRAY]) + encode_fieldtype(composite.field)
    return bytes([STRUCT]) + leb.vector([encode_fieldtype(field) for field in composite.fields])


def encode_subtype(sub: SubType) -> bytes:
    """Encode a type definition, in the short form if it is final and has no supertype."""
    if sub.final and not sub.supers:
        return encode_comptype(sub.composite)
    supers = leb.vector([leb.u(typeidx) for typeidx in sub.supers])
    return bytes([SUB_FINAL if sub.final else SUB]) + supers + encode_comptype(sub.composite)


def encode_rectype(group: tuple[SubType, ...]) -> bytes:
    """Encode a recursion group, in the short form if it has one member."""
    if len(group) == 1:
        return encode_subtype(group[0])
    return bytes([REC]) + leb.vector([encode_subtype(sub) for sub in group])


def encode_limits(limits: Limits) -> bytes:
    """Encode a size range."""
    flags = (
        HAS_MAXIMUM * (limits.maximum is not None)
        | SHARED * limits.shared
        | IS_64 * limits.is64
        | PAGE_SIZE * (limits.page_size_log2 is not None)
    )
    numbers = (limits.minimum, limits.maximum, limits.page_size_log2)
    return bytes([flags]) + b"".join(leb.u(n) for n in numbers if n is not None)


def encode_tabletype(table: TableType) -> bytes:
    """Encode a table type."""
    return encode_reftype(table.ref) + encode_limits(table.limits)


def encode_memorytype(memory: MemoryType) -> bytes:
    """Encode a memory type."""
    return encode_limits(memory.limits)


def encode_globaltype(type_: GlobalType) -> bytes:
    """Encode a global type."""
    return encode_valtype(type_.value) + bytes([type_.mutable])


def encode_tagtype(tag: TagType) -> bytes:
    """Encode a tag type, with the attribute 0 ("exception")."""
    return b"\x00" + leb.u(tag.typeidx)
