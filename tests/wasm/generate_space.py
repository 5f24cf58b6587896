"""What a generated module consists of, and the values that its types have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.wasm import leb
from diffcheck.wasm.types import (
    ArrayType,
    FieldType,
    FuncType,
    GlobalType,
    MemoryType,
    RefType,
    StructType,
    SubType,
    TableType,
    ValType,
    encode_heaptype,
)

if TYPE_CHECKING:
    import random

NUMBERS = ("i32", "i64", "f32", "f64", "v128")
HEAPS = ("func", "extern", "any", "eq", "i31", "struct", "array", "exn", "none", "nofunc", "noextern", "noexn")
MAX_DEPTH = 3

FLOATS = {
    "f32": (0, 0x80000000, 0x3F800000, 0x7FC00000, 0xFFC00001, 0x7FA00000, 0x7F800000, 1),
    "f64": (0, 1 << 63, 0x3FF0 << 48, 0x7FF8 << 48, 0xFFF8 << 48 | 1, 0x7FF4 << 48, 0x7FF0 << 48, 1),
}


class Space:
    """The index spaces of the module that is being made, imports first."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.types: list[SubType] = []
        self.functions: list[int] = []
        self.tables: list[TableType] = []
        self.memories: list[MemoryType] = []
        self.globals: list[GlobalType] = []
        self.tags: list[int] = []
        self.declared: set[int] = set()
        """Functions that a body may name with `ref.func`."""
        self.elements: list[RefType] = []
        self.n_data = 0

    def chance(self, percent: float) -> bool:
        return self.rng.random() * 100 < percent

    def composite(self, typeidx: int) -> FuncType | StructType | ArrayType:
        return self.types[typeidx].composite

    def function(self, funcidx: int) -> FuncType:
        return self.function_type(self.functions[funcidx])

    def function_type(self, typeidx: int) -> FuncType:
        composite = self.composite(typeidx)
        assert isinstance(composite, FuncType)
        return composite

    def typeidxs(self, of: type) -> list[int]:
        return [index for index, sub in enumerate(self.types) if isinstance(sub.composite, of)]

    def valtype(self, bound: int) -> ValType:
        """Any value type that names types below `bound` only."""
        if self.chance(60):
            return self.rng.choice(NUMBERS)
        return self.reftype(bound)

    def reftype(self, bound: int) -> RefType:
        nullable = self.chance(75)
        if bound and self.chance(45):
            return RefType(nullable, self.rng.randrange(bound))
        # The last four have no value but null.
        return RefType(nullable, self.rng.choice(HEAPS if nullable else HEAPS[:7]))

    def i32(self) -> bytes:
        value = self.rng.choice((0, 1, -1, 7, 64, -(1 << 31), (1 << 31) - 1, self.rng.randrange(-(1 << 31), 1 << 31)))
        return b"\x41" + leb.s(value)

    def i64(self) -> bytes:
        value = self.rng.choice((0, 1, -1, 1 << 40, -(1 << 63), (1 << 63) - 1, self.rng.randrange(-(1 << 63), 1 << 63)))
        return b"\x42" + leb.s(value)

    def number(self, value: str) -> bytes:
        if value == "i32":
            return self.i32()
        if value == "i64":
            return self.i64()
        if value == "v128":
            return b"\xfd\x0c" + self.rng.randbytes(16)
        size, opcode = (4, b"\x43") if value == "f32" else (8, b"\x44")
        return opcode + self.rng.choice(FLOATS[value]).to_bytes(size, "little")


def defaultable(field: FieldType) -> bool:
    return not isinstance(field.storage, RefType) or field.storage.nullable


class Constants:
    """Makes constant expressions, without their `end`."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def expr(self, value: ValType, visible: int, depth: int = 0) -> bytes | None:
        """A constant of that type that reads globals below `visible` only; `None` if none was found."""
        space = self.space
        known = [index for index, each in enumerate(space.globals[:visible]) if each.value == value and not each.mutable]
        if known and space.chance(50):
            return b"\x23" + leb.u(space.rng.choice(known))
        if isinstance(value, RefType):
            return self.reference(value, visible, depth)
        if value in ("i32", "i64") and depth < MAX_DEPTH and space.chance(15):
            left, right = (self.expr(value, visible, depth + 1) or b"" for _ in range(2))
            return left + right + bytes([space.rng.randrange(3) + (0x6A if value == "i32" else 0x7C)])
        return space.number(value)

    def reference(self, ref: RefType, visible: int, depth: int) -> bytes | None:
        space = self.space
        if ref.nullable and (depth >= MAX_DEPTH or space.chance(40)):
            return b"\xd0" + encode_heaptype(ref.heap)
        made = self.typed(ref.heap, visible, depth) if isinstance(ref.heap, int) else self.abstract(ref.heap, visible, depth)
        if made is None and ref.nullable:
            return b"\xd0" + encode_heaptype(ref.heap)
        return made

    def abstract(self, heap: str, visible: int, depth: int) -> bytes | None:
        space = self.space
        if heap == "func" and space.functions:
            return self.function(space.rng.randrange(len(space.functions)))
        if heap == "extern":
            return space.i32() + b"\xfb\x1c\xfb\x1b"
        if heap == "any" and space.chance(20):
            return space.i32() + b"\xfb\x1c\xfb\x1b\xfb\x1a"
        if heap in ("any", "eq", "i31"):
            return space.i32() + b"\xfb\x1c"
        if heap in ("struct", "array"):
            candidates = space.typeidxs(StructType if heap == "struct" else ArrayType)
            return self.typed(space.rng.choice(candidates), visible, depth) if candidates else None
        return None

    def typed(self, typeidx: int, visible: int, depth: int) -> bytes | None:
        composite = self.space.composite(typeidx)
        if isinstance(composite, FuncType):
            same = [index for index, each in enumerate(self.space.functions) if each == typeidx]
            return self.function(self.space.rng.choice(same)) if same else None
        if isinstance(composite, StructType):
            return self.struct(typeidx, composite, visible, depth)
        return self.array(typeidx, composite, visible, depth)

    def function(self, funcidx: int) -> bytes:
        return b"\xd2" + leb.u(funcidx)

    def struct(self, typeidx: int, struct: StructType, visible: int, depth: int) -> bytes | None:
        if all(map(defaultable, struct.fields)) and (depth >= MAX_DEPTH or self.space.chance(50)):
            return b"\xfb\x01" + leb.u(typeidx)
        if depth >= MAX_DEPTH:
            return None
        parts = [self.field(field, visible, depth) for field in struct.fields]
        if None in parts:
            return None
        return b"".join(part for part in parts if part) + b"\xfb\x00" + leb.u(typeidx)

    def array(self, typeidx: int, array: ArrayType, visible: int, depth: int) -> bytes:
        space = self.space
        if defaultable(array.field) and space.chance(30):
            return b"\x41" + leb.s(space.rng.randrange(9)) + b"\xfb\x07" + leb.u(typeidx)
        item = self.field(array.field, visible, depth) if depth < MAX_DEPTH else None
        if item is None:
            return b"\xfb\x08" + leb.u(typeidx) + b"\x00"
        if space.chance(50):
            return item + b"\x41" + leb.s(space.rng.randrange(9)) + b"\xfb\x06" + leb.u(typeidx)
        n = space.rng.randrange(4)
        return item * n + b"\xfb\x08" + leb.u(typeidx) + leb.u(n)

    def field(self, field: FieldType, visible: int, depth: int) -> bytes | None:
        packed = field.storage in ("i8", "i16")
        return self.expr("i32" if packed else field.storage, visible, depth + 1)
