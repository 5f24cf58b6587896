"""Decode types (core specification 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.wasm.types import (
    ARRAY,
    FUNC,
    HAS_MAXIMUM,
    HEAPS,
    IS_64,
    NUMBERS,
    PACKED,
    PAGE_SIZE,
    REC,
    REF,
    REF_NULL,
    SHARED,
    STRUCT,
    SUB,
    SUB_FINAL,
    ArrayType,
    CompositeType,
    FieldType,
    FuncType,
    GlobalType,
    Limits,
    MemoryType,
    RefType,
    StructType,
    SubType,
    TableType,
    TagType,
    ValType,
)

if TYPE_CHECKING:
    from diffcheck.wasm.leb import Reader

_NUMBERS = {code: name for name, code in NUMBERS.items()}
_PACKED = {code: name for name, code in PACKED.items()}
_HEAPS = {code: name for name, code in HEAPS.items()}

# Unsupported proposals after 3.0, which a rewriter would have to know.
_UNSUPPORTED = {
    0x68: "continuation reference types",
    0x75: "continuation reference types",
    0x65: "shared reference types",
    0x62: "exact reference types",
    0x5D: "continuation types",
    0x4D: "descriptor types",
    0x4C: "descriptor types",
}


class TypeReader:
    """Reads types. A typeidx must be less than `bound`, the number of types."""

    def __init__(self, bound: int) -> None:
        """Start with `bound` types."""
        self.bound = bound

    def typeidx(self, reader: Reader) -> int:
        """Read a typeidx in range."""
        at = reader.offset
        return self._in_range(reader, reader.u32(), at)

    def heaptype(self, reader: Reader) -> str | int:
        """Read a heap type: the name of an abstract one, or a typeidx."""
        at = reader.offset
        byte = reader.peek()
        if byte in _HEAPS:
            reader.skip(1)
            return _HEAPS[byte]
        if byte in _UNSUPPORTED:
            raise _unexpected(reader, "heap type", byte, at)
        index = reader.s33()
        if index < 0:
            raise _unexpected(reader, "heap type", byte, at)
        return self._in_range(reader, index, at)

    def reftype(self, reader: Reader) -> RefType:
        """Read a reference type."""
        at = reader.offset
        byte = reader.u8()
        if byte in _HEAPS:
            return RefType(nullable=True, heap=_HEAPS[byte])
        if byte in (REF, REF_NULL):
            return RefType(nullable=byte == REF_NULL, heap=self.heaptype(reader))
        raise _unexpected(reader, "reference type", byte, at)

    def valtype(self, reader: Reader) -> ValType:
        """Read a value type."""
        if reader.peek() in _NUMBERS:
            return _NUMBERS[reader.u8()]
        return self.reftype(reader)

    def fieldtype(self, reader: Reader) -> FieldType:
        """Read a field type."""
        packed = reader.peek() in _PACKED
        storage = _PACKED[reader.u8()] if packed else self.valtype(reader)
        return FieldType(storage=storage, mutable=_mutability(reader))

    def comptype(self, reader: Reader) -> CompositeType:
        """Read a composite type."""
        at = reader.offset
        byte = reader.u8()
        if byte == FUNC:
            params = reader.vector("parameters", self.valtype)
            return FuncType(params, reader.vector("results", self.valtype))
        if byte == STRUCT:
            return StructType(reader.vector("fields", self.fieldtype))
        if byte == ARRAY:
            return ArrayType(self.fieldtype(reader))
        raise _unexpected(reader, "composite type", byte, at)

    def subtype(self, reader: Reader) -> SubType:
        """Read a type definition."""
        byte = reader.peek()
        if byte not in (SUB, SUB_FINAL):
            return SubType(final=True, supers=(), composite=self.comptype(reader))
        reader.skip(1)
        supers = reader.vector("supertypes", self.typeidx)
        return SubType(final=byte == SUB_FINAL, supers=supers, composite=self.comptype(reader))

    def rectype(self, reader: Reader) -> tuple[SubType, ...]:
        """Read a recursion group. Its members may refer to each other, so `bound` grows first."""
        if reader.peek() != REC:
            self.bound += 1
            return (self.subtype(reader),)
        reader.skip(1)
        count = reader.count("types in a recursion group")
        self.bound += count
        return tuple([self.subtype(reader) for _ in range(count)])

    def tabletype(self, reader: Reader) -> TableType:
        """Read a table type."""
        ref = self.reftype(reader)
        return TableType(ref, _limits(reader, HAS_MAXIMUM | SHARED | IS_64))

    def memorytype(self, reader: Reader) -> MemoryType:
        """Read a memory type."""
        return MemoryType(_limits(reader, HAS_MAXIMUM | SHARED | IS_64 | PAGE_SIZE))

    def globaltype(self, reader: Reader) -> GlobalType:
        """Read a global type."""
        value = self.valtype(reader)
        return GlobalType(value, _mutability(reader))

    def tagtype(self, reader: Reader) -> TagType:
        """Read a tag type."""
        at = reader.offset
        if attribute := reader.u8():
            reason = f"a tag's attribute is {attribute:#04x}, not 0x00"
            raise reader.error(reason, offset=at)
        return TagType(self.typeidx(reader))

    def _in_range(self, reader: Reader, index: int, at: int) -> int:
        if index >= self.bound:
            reason = f"type index {index} is out of range, there are {self.bound}"
            raise reader.error(reason, offset=at)
        return index


def _unexpected(reader: Reader, what: str, byte: int, at: int) -> Exception:
    if byte in _UNSUPPORTED:
        return reader.error(f"{_UNSUPPORTED[byte]} are not supported", offset=at)
    return reader.error(f"{byte:#04x} does not begin a {what}", offset=at)


def _mutability(reader: Reader) -> bool:
    if (byte := reader.u8()) > 1:
        raise reader.error(f"a mutability is {byte:#04x}, not 0x00 or 0x01", offset=reader.offset - 1)
    return byte == 1


def _limits(reader: Reader, allowed: int) -> Limits:
    at = reader.offset
    flags = reader.u8()
    if flags & ~allowed:
        raise reader.error(f"limits have the unknown flags {flags:#04x}", offset=at)
    return Limits(
        minimum=reader.u64(),
        maximum=reader.u64() if flags & HAS_MAXIMUM else None,
        is64=bool(flags & IS_64),
        shared=bool(flags & SHARED),
        page_size_log2=reader.u32() if flags & PAGE_SIZE else None,
    )
