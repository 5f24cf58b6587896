"""Constant values by type, for the globals, tables and results of closed imports.

Core specification 3.0, 3.4.13 (constant expressions) and 4.2.1 (default values). An imported global or table whose type has no
value cannot be closed. A stub whose result type has no value traps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.wasm.encode import zero
from diffcheck.wasm.leb import s, sized, u
from diffcheck.wasm.opcodes import END, REF_FUNC
from diffcheck.wasm.types import (
    ArrayType,
    FieldType,
    FuncType,
    RefType,
    StructType,
    SubType,
    encode_heaptype,
    encode_subtype,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType

_PACKED = b"\x41\x00"  # i32.const 0, for i8 and i16
_TO_I31 = b"\xfb\x1c"
_TO_EXTERN = b"\xfb\x1b"
_I31 = _PACKED + _TO_I31
_EXTERN = _I31 + _TO_EXTERN
_EMPTY_STRUCT = SubType(final=True, supers=(), composite=StructType())
_LONGEST = 1 << 16
"""Limit of a value in bytes. Nested structures can double at every level, and a hostile artifact has many levels."""
_BYTES = SubType(final=True, supers=(), composite=ArrayType(FieldType("i8", mutable=True)))


class Types:
    """The capsule's type section: the artifact's types, followed by added ones."""

    def __init__(self, count: int) -> None:
        self._next = count
        self.encoded: list[bytes] = []
        self._known: dict[bytes, int] = {}

    def add(self, type_: SubType) -> int:
        """Return the typeidx of an additional type, adding it if it is new."""
        encoded = encode_subtype(type_)
        if encoded not in self._known:
            self._known[encoded] = self._next
            self.encoded.append(encoded)
            self._next += 1
        return self._known[encoded]

    def function(self, params: tuple[ValType, ...], results: tuple[ValType, ...]) -> int:
        """Return the typeidx of an additional function type."""
        return self.add(SubType(final=True, supers=(), composite=FuncType(params, results)))


class Constants:
    """Constant instructions by type.

    Function references need functions of their own, the value functions. Their funcidx begins at ``first``.
    """

    def __init__(self, module: Module, types: Types, first: int) -> None:
        self._module, self._types, self._first = module, types, first
        self._functions: dict[int, int] = {}  # funcidx by typeidx, in order
        self._known: dict[int, bytes | None] = {}  # values of structure types
        self._begun: set[int] = set()

    @property
    def function_types(self) -> list[int]:
        """The typeidx of each value function."""
        return list(self._functions)

    @property
    def functions(self) -> list[int]:
        """The funcidx of each value function."""
        return list(self._functions.values())

    def function(self, typeidx: int) -> int:
        """Return the funcidx of the value function of a type, adding it if it is new."""
        return self._functions.setdefault(typeidx, self._first + len(self._functions))

    def function_bodies(self, prologue: Callable[[int, FuncType], bytes] = lambda _, __: b"") -> list[bytes]:
        """Return the code entries of all value functions, which begin with ``prologue(funcidx, type)``."""
        entries: list[bytes] = []
        while len(entries) < len(self._functions):  # a body may add a function of another type
            for typeidx, funcidx in list(self._functions.items())[len(entries) :]:
                # The only additional type is the one of ``_abstract``.
                type_ = self._module.types[typeidx].composite if typeidx < len(self._module.types) else FuncType((), ())
                assert isinstance(type_, FuncType), "values of function types"  # noqa: S101
                entries.append(sized(b"\x00" + prologue(funcidx, type_) + self.zero_body(type_) + END))
        return entries

    def zero_body(self, type_: FuncType) -> bytes:
        """Return instructions for zeros as results; a trap if a result type has no value."""
        values = [self.value(result) for result in type_.results]
        return b"\x00" if None in values else b"".join(value for value in values if value is not None)

    def value(self, type_: ValType) -> bytes | None:
        """Return the instructions, without ``end``, for a value of ``type_``; None if the type has no value."""
        if isinstance(type_, str) or type_.nullable:
            return _PACKED if type_ in ("i8", "i16") else zero(type_)
        if isinstance(type_.heap, int):
            return self._concrete(type_.heap)
        return self._abstract(type_.heap)

    def _abstract(self, heap: str) -> bytes | None:
        match heap:
            case "any" | "eq" | "i31":
                return _I31
            case "extern":
                return _EXTERN
            case "func":
                return REF_FUNC + u(self.function(self._types.function((), ())))
            case "struct":
                return b"\xfb\x01" + u(self._types.add(_EMPTY_STRUCT))
            case "array":
                return b"\xfb\x08" + u(self._types.add(_BYTES)) + u(0)
        return None  # exn and the bottom types: no constant instruction creates one

    def _concrete(self, typeidx: int) -> bytes | None:
        composite = self._module.types[typeidx].composite
        if isinstance(composite, FuncType):
            return REF_FUNC + u(self.function(typeidx))
        if isinstance(composite, ArrayType):
            return b"\xfb\x08" + u(typeidx) + u(0)
        if typeidx not in self._known and typeidx not in self._begun:
            self._create(typeidx)
        return self._known.get(typeidx)  # None for a structure that requires a value of its own type

    def _create(self, typeidx: int) -> None:
        """Create the values of a structure type and of those that it needs, without recursion, since a chain may be long."""
        path = [typeidx]
        while path:
            at = path[-1]
            needed = [] if at in self._begun else [each for each in self._needs(at) if each not in self._begun]
            self._begun.add(at)
            path += needed
            if not needed:
                path.pop()
                if at not in self._known:
                    self._known[at] = self._structure(at)

    def _needs(self, typeidx: int) -> list[int]:
        """Return the structure types whose values a structure needs."""
        composite = self._module.types[typeidx].composite
        fields = composite.fields if isinstance(composite, StructType) else ()
        heaps = [each.storage.heap for each in fields if isinstance(each.storage, RefType) and not each.storage.nullable]
        return [each for each in heaps if isinstance(each, int) and isinstance(self._module.types[each].composite, StructType)]

    def _structure(self, typeidx: int) -> bytes | None:
        composite = self._module.types[typeidx].composite
        value = bytearray()
        for field in composite.fields if isinstance(composite, StructType) else ():
            part = self.value(field.storage)
            if part is None or len(value) + len(part) > _LONGEST:
                return None
            value += part
        return bytes(value) + b"\xfb\x00" + u(typeidx)


def i32_const(value: int) -> bytes:
    """Encode ``i32.const`` of a signed or unsigned number."""
    return b"\x41" + s(value - (1 << 32) if value >= 1 << 31 else value)


def i64_const(value: int) -> bytes:
    """Encode ``i64.const`` of a signed or unsigned number."""
    return b"\x42" + s(value - (1 << 64) if value >= 1 << 63 else value)


def constant(kind: str, bits: int, heap: str | int = "func") -> bytes:
    """Return the instructions for an argument, given by its bits. A reference is null or an i31 (``values``)."""
    match kind:
        case "i32":
            return i32_const(bits)
        case "i64":
            return i64_const(bits)
        case "f32":
            return b"\x43" + bits.to_bytes(4, "little")
        case "f64":
            return b"\x44" + bits.to_bytes(8, "little")
        case "v128":
            return b"\xfd\x0c" + bits.to_bytes(16, "little")
    i31 = i32_const(bits >> 32) + _TO_I31 + (_TO_EXTERN if heap == "extern" else b"")
    return i31 if bits else b"\xd0" + encode_heaptype(heap)
