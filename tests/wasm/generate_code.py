"""Function bodies of generated modules: valid, of all kinds of instructions, not meant to be run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.wasm import leb
from diffcheck.wasm.types import ArrayType, FuncType, RefType, StructType, ValType, encode_heaptype, encode_valtype

from .generate_space import MAX_DEPTH, Constants, Space

if TYPE_CHECKING:
    from collections.abc import Callable

DROP, END, UNREACHABLE = b"\x1a", b"\x0b", b"\x00"
FUNCREF = RefType(nullable=True, heap="func")


class Code(Constants):
    """Makes expressions and statements that leave the stack as it was."""

    def __init__(self, space: Space, function: FuncType) -> None:
        super().__init__(space)
        self.type = function
        self.rng = space.rng
        self.statements: list[Callable[[int], bytes]] = [
            self.dropped, self.set_global, self.memory, self.table, self.call, self.call_indirect, self.call_ref,
            self.block, self.try_table, self.throw, self.segment, self.fields, self.elements, self.branch, self.wide,
            self.relaxed, self.test, self.select, self.tail_call,
        ]  # fmt: skip

    def body(self) -> bytes:
        """The body, without its size."""
        locals_ = [(self.rng.randrange(1, 4), self.space.valtype(len(self.space.types))) for _ in range(self.rng.randrange(4))]
        encoded = b"".join(leb.u(n) + encode_valtype(value) for n, value in locals_)
        return leb.u(len(locals_)) + encoded + self.many(0) + self.values(self.type.results) + END

    def many(self, depth: int) -> bytes:
        return b"".join(self.rng.choice(self.statements)(depth) for _ in range(self.rng.randrange(5 - depth)))

    def values(self, types: tuple[ValType, ...], depth: int = 0) -> bytes:
        return b"".join(self.value(value, depth) for value in types)

    def value(self, value: ValType, depth: int = 0) -> bytes:
        """Instructions that push a value of that type; `unreachable` if it has none."""
        params = [index for index, each in enumerate(self.type.params) if each == value]
        if params and self.space.chance(30):
            return b"\x20" + leb.u(self.rng.choice(params))
        known = [index for index, each in enumerate(self.space.globals) if each.value == value]
        if known and self.space.chance(30):
            return b"\x23" + leb.u(self.rng.choice(known))
        if depth < MAX_DEPTH and self.space.chance(10):
            return b"\x02" + encode_valtype(value) + self.value(value, depth + 1) + END
        made = self.expr(value, len(self.space.globals), depth)
        return UNREACHABLE if made is None else made

    def function(self, funcidx: int) -> bytes:
        # A body may only name functions that something outside of bodies names.
        declared = [each for each in self.space.declared if self.space.functions[each] == self.space.functions[funcidx]]
        return b"\xd2" + leb.u(self.rng.choice(sorted(declared))) if declared else UNREACHABLE

    def dropped(self, depth: int) -> bytes:
        return self.value(self.space.valtype(len(self.space.types)), depth) + DROP

    def set_global(self, depth: int) -> bytes:
        mutable = [index for index, each in enumerate(self.space.globals) if each.mutable]
        if not mutable:
            return b""
        index = self.rng.choice(mutable)
        return self.value(self.space.globals[index].value, depth) + b"\x24" + leb.u(index)

    def memory(self, depth: int) -> bytes:
        if not self.space.memories:
            return b""
        index = self.rng.randrange(len(self.space.memories))
        address: ValType = "i64" if self.space.memories[index].limits.is64 else "i32"
        memarg = (bytes([0x40]) + leb.u(index) if index else b"\x00") + leb.u(self.rng.randrange(300))
        at, encoded = self.value(address, depth), leb.u(index)
        return self.rng.choice((
            b"\x3f" + encoded + DROP,
            at + b"\x40" + encoded + DROP,
            at + b"\x2d" + memarg + DROP,
            at + self.value("i64", depth) + b"\x37" + memarg,
            at + self.value("v128", depth) + b"\xfd\x0b" + memarg,
            at + self.value("i32", depth) + at + b"\xfc\x0b" + encoded,
            at + at + at + b"\xfc\x0a" + encoded + encoded,
        ))  # fmt: skip

    def table(self, depth: int) -> bytes:
        if not self.space.tables:
            return b""
        index = self.rng.randrange(len(self.space.tables))
        table = self.space.tables[index]
        encoded, at = leb.u(index), self.value("i64" if table.limits.is64 else "i32", depth)
        item = self.value(table.ref, depth)
        return self.rng.choice((
            b"\xfc\x10" + encoded + DROP,
            at + b"\x25" + encoded + DROP,
            at + item + b"\x26" + encoded,
            item + at + b"\xfc\x0f" + encoded + DROP,
            at + item + at + b"\xfc\x11" + encoded,
            at + at + at + b"\xfc\x0e" + encoded + encoded,
        ))  # fmt: skip

    def call(self, depth: int) -> bytes:
        index = self.rng.randrange(len(self.space.functions))
        function = self.space.function(index)
        return self.values(function.params, depth) + b"\x10" + leb.u(index) + DROP * len(function.results)

    def call_indirect(self, depth: int) -> bytes:
        tables = [index for index, table in enumerate(self.space.tables) if table.ref.heap == "func"]
        if not tables:
            return b""
        index, typeidx = self.rng.choice(tables), self.rng.choice(self.space.typeidxs(FuncType))
        at = self.value("i64" if self.space.tables[index].limits.is64 else "i32", depth)
        function = self.space.function_type(typeidx)
        code = b"\x11" + leb.u(typeidx) + leb.u(index)
        return self.values(function.params, depth) + at + code + DROP * len(function.results)

    def call_ref(self, depth: int) -> bytes:
        typeidx = self.rng.choice(self.space.typeidxs(FuncType))
        function = self.space.function_type(typeidx)
        callee = self.value(RefType(nullable=True, heap=typeidx), depth)
        return self.values(function.params, depth) + callee + b"\x14" + leb.u(typeidx) + DROP * len(function.results)

    def block(self, depth: int) -> bytes:
        if depth >= MAX_DEPTH:
            return b"\x01"
        inner = self.many(depth + 1)
        return self.rng.choice((
            b"\x02\x40" + inner + END,
            b"\x03\x40" + inner + END,
            self.value("i32", depth) + b"\x04\x40" + inner + b"\x05" + inner + END,
        ))  # fmt: skip

    def try_table(self, depth: int) -> bytes:
        if depth >= MAX_DEPTH:
            return b"\x01"
        inner = self.many(depth + 1)
        plain = [index for index, typeidx in enumerate(self.space.tags) if not self.space.function_type(typeidx).params]
        if plain and self.space.chance(60):
            return b"\x02\x40\x1f\x40\x01\x00" + leb.u(self.rng.choice(plain)) + b"\x00" + inner + END + END
        if self.space.chance(50):
            return b"\x02\x69\x1f\x40\x01\x03\x00" + inner + END + b"\xd0\x69" + END + DROP
        return b"\x02\x40\x1f\x40\x01\x02\x00" + inner + END + END

    def throw(self, depth: int) -> bytes:
        if not self.space.tags:
            return b"\x02\x40\xd0\x69\x0a" + END
        index = self.rng.randrange(len(self.space.tags))
        params = self.space.function_type(self.space.tags[index]).params
        return b"\x02\x40" + self.values(params, depth) + b"\x08" + leb.u(index) + END

    def segment(self, depth: int) -> bytes:
        """Drop an element or data segment, or initialise from it."""
        if self.space.n_data and self.space.chance(50):
            index = leb.u(self.rng.randrange(self.space.n_data))
            if not self.space.memories:
                return b"\xfc\x09" + index
            memory = self.rng.randrange(len(self.space.memories))
            at = self.value("i64" if self.space.memories[memory].limits.is64 else "i32", depth)
            return at + self.space.i32() * 2 + b"\xfc\x08" + index + leb.u(memory)
        if not self.space.elements:
            return b""
        segment = self.rng.randrange(len(self.space.elements))
        fitting = [index for index, table in enumerate(self.space.tables) if table.ref == self.space.elements[segment]]
        if not fitting:
            return b"\xfc\x0d" + leb.u(segment)
        table = self.rng.choice(fitting)
        at = self.value("i64" if self.space.tables[table].limits.is64 else "i32", depth)
        return at + self.space.i32() * 2 + b"\xfc\x0c" + leb.u(segment) + leb.u(table)

    def fields(self, depth: int) -> bytes:
        structs = self.space.typeidxs(StructType)
        typeidx = self.rng.choice(structs) if structs else 0
        composite = self.space.composite(typeidx)
        if not isinstance(composite, StructType) or not composite.fields:
            return b""
        index = self.rng.randrange(len(composite.fields))
        field = composite.fields[index]
        packed = field.storage in ("i8", "i16")
        there = self.value(RefType(nullable=True, heap=typeidx), depth)
        where = leb.u(typeidx) + leb.u(index)
        if not field.mutable or self.space.chance(50):
            return there + (b"\xfb\x03" if packed else b"\xfb\x02") + where + DROP
        return there + self.value("i32" if packed else field.storage, depth) + b"\xfb\x05" + where

    def elements(self, depth: int) -> bytes:
        arrays = self.space.typeidxs(ArrayType)
        if not arrays:
            return b""
        typeidx = self.rng.choice(arrays)
        composite = self.space.composite(typeidx)
        assert isinstance(composite, ArrayType)
        packed = composite.field.storage in ("i8", "i16")
        there = self.value(RefType(nullable=True, heap=typeidx), depth)
        if self.space.chance(30):
            return there + b"\xfb\x0f" + DROP
        at = self.value("i32", depth)
        if not composite.field.mutable or self.space.chance(50):
            return there + at + (b"\xfb\x0c" if packed else b"\xfb\x0b") + leb.u(typeidx) + DROP
        item = self.value("i32" if packed else composite.field.storage, depth)
        return there + at + item + b"\xfb\x0e" + leb.u(typeidx)

    def branch(self, depth: int) -> bytes:
        ref = self.space.reftype(len(self.space.types))
        return self.rng.choice((
            b"\x02\x40" + self.value(RefType(nullable=True, heap=ref.heap), depth) + b"\xd5\x00" + DROP + END,
            b"\x02\x40\x02\x40" + self.value("i32", depth) + b"\x0e\x02\x00\x01\x00" + END + END,
            self.value(ref, depth) + b"\xd1" + DROP,
            b"\x02\x40" + self.value("i32", depth) + b"\x0d\x00" + END,
        ))  # fmt: skip

    def wide(self, depth: int) -> bytes:
        operands = self.values(("i64", "i64"), depth)
        if self.space.chance(50):
            return operands + self.rng.choice((b"\xfc\x15", b"\xfc\x16")) + DROP * 2
        return operands * 2 + self.rng.choice((b"\xfc\x13", b"\xfc\x14")) + DROP * 2

    def relaxed(self, depth: int) -> bytes:
        return self.values(("v128", "v128"), depth) + b"\xfd" + leb.u(0x100) + DROP

    def test(self, depth: int) -> bytes:
        ref = RefType(nullable=True, heap=self.rng.choice(("any", "eq", "struct", "array", "i31")))
        opcode = self.rng.choice((b"\xfb\x14", b"\xfb\x15", b"\xfb\x16", b"\xfb\x17"))
        return self.value(ref, depth) + opcode + encode_heaptype(self.rng.choice(("i31", "eq", "struct", "none"))) + DROP

    def select(self, depth: int) -> bytes:
        value = self.space.valtype(len(self.space.types))
        return self.values((value, value, "i32"), depth) + b"\x1c\x01" + encode_valtype(value) + DROP

    def tail_call(self, depth: int) -> bytes:
        same = [i for i, _ in enumerate(self.space.functions) if self.space.function(i).results == self.type.results]
        if not same:
            return b""
        index = self.rng.choice(same)
        args = self.values(self.space.function(index).params, depth)
        return b"\x02\x40" + args + b"\x12" + leb.u(index) + END
