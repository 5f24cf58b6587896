"""Valid WebAssembly 3.0 modules in great variety, from a seed.

They are meant for properties of readers and rewriters: what they import, define, export and
initialise is varied; their code is valid, and not meant to be run.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from diffcheck.wasm import leb, section
from diffcheck.wasm.constexpr import read_constexpr
from diffcheck.wasm.leb import Reader
from diffcheck.wasm.types import (
    ArrayType,
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
    encode_globaltype,
    encode_memorytype,
    encode_rectype,
    encode_reftype,
    encode_tabletype,
    encode_tagtype,
)

from .generate_code import FUNCREF, Code
from .generate_space import Constants, Space

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.wasm.types import CompositeType

KINDS = ("func", "table", "memory", "global", "tag")
NAMES = ("", "a", "memory", "_start", "wasi_snapshot_preview1", "fd_write", "\0", "é\u202e", "🦀", "a b\n<&>\"'", "env" * 40)


def modules(source: int | random.Random) -> bytes:
    """A module; the same seed gives the same one."""
    return described(source)[0]


def described(source: int | random.Random) -> tuple[bytes, Space]:
    """A module, and what it was meant to consist of."""
    generator = _Generator(source if isinstance(source, random.Random) else random.Random(source))
    return generator.module(), generator.space


def strategy() -> st.SearchStrategy[bytes]:
    """Modules for hypothesis."""
    return st.integers(0, (1 << 32) - 1).map(modules)


class _Generator:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.space = Space(rng)
        self.constants = Constants(self.space)
        self.n_imported_globals = 0
        self.n_imported_functions = 0

    def module(self) -> bytes:
        contents: dict[int, list[bytes]] = {section.TYPE: self.types(), section.IMPORT: self.imports()}
        contents[section.FUNCTION] = self.functions()
        contents[section.TABLE] = self.tables()
        contents[section.MEMORY] = self.memories()
        contents[section.TAG] = self.tags()
        contents[section.GLOBAL] = self.globals()
        contents[section.EXPORT] = self.exports()
        contents[section.ELEMENT] = self.elements()
        contents[section.DATA] = self.data()
        contents[section.CODE] = self.code()
        return section.write(self.sections(contents))

    def sections(self, contents: dict[int, list[bytes]]) -> Iterable[section.Section]:
        """All sections in order, with custom ones anywhere; an empty vector may have a section."""
        for id_ in section.NAMES:
            while self.space.chance(8):
                yield section.custom(self.rng.choice(NAMES), self.rng.randbytes(self.rng.randrange(20)))
            if id_ == section.START:
                yield from self.start()
            elif id_ == section.DATA_COUNT:
                # Bodies may name data segments, and then the count must be there.
                yield self.padded(id_, self.u(len(contents[section.DATA])))
            elif contents.get(id_) or (id_ in contents and self.space.chance(10)):
                yield self.padded(id_, self.u(len(contents[id_])) + b"".join(contents[id_]))
        if self.space.chance(40):
            yield self.name_section()

    def padded(self, id_: int, payload: bytes) -> section.Section:
        return section.Section(id_, "", 0, payload, header=self.u(len(payload)))

    def u(self, n: int) -> bytes:
        """An unsigned LEB128, now and then longer than it need be."""
        short = leb.u(n)
        if not self.space.chance(3) or len(short) == 5:
            return short
        padding = self.rng.randrange(5 - len(short))
        return short[:-1] + bytes([short[-1] | 0x80]) + b"\x80" * padding + b"\x00"

    def some(self, usual: int, rare: int, percent: float = 3) -> int:
        return self.rng.randrange(rare if self.space.chance(percent) else usual)

    # Types

    def types(self) -> list[bytes]:
        groups: list[tuple[SubType, ...]] = [(SubType(final=True, supers=(), composite=FuncType()),)]
        self.space.types += groups[0]
        for _ in range(self.some(8, 40)):
            size = 1 if self.space.chance(60) else self.rng.randrange(4)
            base = len(self.space.types)
            # A supertype may be of the same group, so its members are added one by one.
            for _ in range(size):
                self.space.types.append(self.subtype(base + size))
            groups.append(tuple(self.space.types[base:]))
        return [encode_rectype(group) for group in groups]

    def subtype(self, bound: int) -> SubType:
        final = self.space.chance(40)
        extensible = [index for index, sub in enumerate(self.space.types) if not sub.final]
        if extensible and self.space.chance(40):
            parent = self.rng.choice(extensible)
            return SubType(final=final, supers=(parent,), composite=self.extended(parent, bound))
        return SubType(final=final, supers=(), composite=self.composite(bound))

    def extended(self, parent: int, bound: int) -> CompositeType:
        composite = self.space.composite(parent)
        if isinstance(composite, StructType):
            more = tuple(self.field(bound) for _ in range(self.rng.randrange(3)))
            return StructType(composite.fields + more)
        return composite

    def composite(self, bound: int) -> CompositeType:
        kind = self.rng.choice(("func", "func", "func", "struct", "array"))
        if kind == "array":
            return ArrayType(self.field(bound))
        if kind == "struct":
            return StructType(tuple(self.field(bound) for _ in range(self.rng.randrange(5))))
        params = tuple(self.space.valtype(bound) for _ in range(self.some(4, 20)))
        return FuncType(params, tuple(self.space.valtype(bound) for _ in range(self.some(3, 10))))

    def field(self, bound: int) -> FieldType:
        storage = self.rng.choice(("i8", "i16")) if self.space.chance(20) else self.space.valtype(bound)
        return FieldType(storage, self.space.chance(50))

    # Imports and definitions

    def imports(self) -> list[bytes]:
        count = 0 if self.space.chance(15) else self.some(12, 120)
        made = [self.import_(self.rng.choice(KINDS)) for _ in range(count)]
        self.n_imported_globals = len(self.space.globals)
        self.n_imported_functions = len(self.space.functions)
        return made

    def import_(self, kind: str) -> bytes:
        head = self.name(self.rng.choice(NAMES)) + self.name(self.rng.choice(NAMES)) + bytes([KINDS.index(kind)])
        if kind == "func":
            return head + self.u(self.functype())
        if kind == "table":
            return head + self.tabletype(self.space.reftype(len(self.space.types)))
        if kind == "memory":
            return head + self.memorytype()
        if kind == "global":
            return head + self.globaltype()
        return head + self.tag()

    def name(self, name: str) -> bytes:
        return self.u(len(name.encode())) + name.encode()

    def functype(self) -> int:
        typeidx = self.rng.choice(self.space.typeidxs(FuncType))
        self.space.functions.append(typeidx)
        return typeidx

    def limits(self, *, most: int) -> Limits:
        minimum = self.rng.randrange(most)
        maximum = self.rng.choice((None, minimum, minimum + self.rng.randrange(100)))
        return Limits(minimum, maximum, is64=self.space.chance(25))

    def tabletype(self, ref: RefType) -> bytes:
        table = TableType(ref, self.limits(most=20))
        self.space.tables.append(table)
        return encode_tabletype(table)

    def memorytype(self) -> bytes:
        memory = MemoryType(self.limits(most=4))
        self.space.memories.append(memory)
        return encode_memorytype(memory)

    def globaltype(self) -> bytes:
        type_ = GlobalType(self.space.valtype(len(self.space.types)), self.space.chance(40))
        self.space.globals.append(type_)
        return encode_globaltype(type_)

    def tag(self) -> bytes:
        fitting = [index for index in self.space.typeidxs(FuncType) if not self.space.function_type(index).results]
        self.space.tags.append(self.rng.choice(fitting))
        return encode_tagtype(TagType(self.space.tags[-1]))

    def functions(self) -> list[bytes]:
        return [self.u(self.functype()) for _ in range(1 + self.some(8, 200))]

    def tables(self) -> list[bytes]:
        return [self.table() for _ in range(self.some(4, 30))]

    def table(self) -> bytes:
        """A table; an element type without null needs an initialiser."""
        # Globals that the module defines come after its tables, so only imported ones are visible.
        imported = [each.value for each in self.space.globals[: self.n_imported_globals] if not each.mutable]
        known = [value for value in imported if isinstance(value, RefType)] or [FUNCREF]
        ref = self.rng.choice((FUNCREF, self.rng.choice(known), self.space.reftype(len(self.space.types))))
        init = self.constants.expr(ref, self.n_imported_globals)
        if init is None:
            ref, init = FUNCREF, b"\xd0\x70"
        if ref.nullable and self.space.chance(60):
            return self.tabletype(ref)
        return b"\x40\x00" + self.tabletype(ref) + self.ended(init)

    def memories(self) -> list[bytes]:
        count = self.some(4, 12)
        if self.space.chance(4):
            # 100 memories are wasmtime's limit, and a sealer adds one.
            count = self.rng.choice((98, 99, 100)) - len(self.space.memories)
        return [self.memorytype() for _ in range(count)]

    def tags(self) -> list[bytes]:
        return [self.tag() for _ in range(self.some(3, 20))]

    def globals(self) -> list[bytes]:
        return [self.global_() for _ in range(self.some(8, 300))]

    def global_(self) -> bytes:
        value = self.space.valtype(len(self.space.types))
        init = self.constants.expr(value, len(self.space.globals))
        if init is None:
            value, init = "i64", b"\x42\x00"
        type_ = GlobalType(value, self.space.chance(50))
        self.space.globals.append(type_)
        return encode_globaltype(type_) + self.ended(init)

    def exports(self) -> list[bytes]:
        sizes = {
            "func": len(self.space.functions),
            "table": len(self.space.tables),
            "memory": len(self.space.memories),
            "global": len(self.space.globals),
            "tag": len(self.space.tags),
        }
        made = []
        for place in range(self.some(8, 700, percent=8)):
            kind = self.rng.choice([kind for kind in KINDS if sizes[kind]])
            index = self.rng.randrange(sizes[kind])
            if kind == "func":
                self.space.declared.add(index)
            name = f"{self.rng.choice(NAMES)}{place or ''}"
            made.append(self.name(name) + bytes([KINDS.index(kind)]) + self.u(index))
        return made

    def start(self) -> Iterable[section.Section]:
        fitting = [index for index in range(len(self.space.functions)) if self.space.function(index) == FuncType()]
        if fitting and self.space.chance(50):
            yield section.section(section.START, self.u(self.rng.choice(fitting)))

    # Segments

    def ended(self, expr: bytes) -> bytes:
        """The expression that is put into the module; a body may name the functions that it names."""
        made = read_constexpr(Reader(expr + b"\x0b"))
        self.space.declared |= {int(instr.immediates[0]) for instr in made.instrs if instr.name == "ref.func"}
        return made.raw

    def offset(self, limits: Limits) -> bytes:
        """A constant offset: small, or what a global says."""
        visible = len(self.space.globals) if self.space.chance(40) else 0
        value = "i64" if limits.is64 else "i32"
        if visible:
            return self.ended(self.constants.expr(value, visible) or b"")
        return (b"\x42" if limits.is64 else b"\x41") + leb.s(self.rng.randrange(4)) + b"\x0b"

    def elements(self) -> list[bytes]:
        return [self.element(self.rng.randrange(8)) for _ in range(self.some(6, 60))]

    def element(self, flags: int) -> bytes:
        active, by_expr = not flags & 1, bool(flags & 4)
        tables = self.space.tables[:1] if flags in (0, 4) else self.space.tables
        usable = [index for index, each in enumerate(tables) if each.ref == FUNCREF or (flags == 6)]
        if active and not usable:
            return self.element(flags | 1)
        table = self.rng.choice(usable) if active else 0
        ref = self.item_type(table if flags == 6 else None, flags)
        self.space.elements.append(ref)
        head = self.u(flags) + (self.u(table) if flags & 3 == 2 else b"")
        head += self.offset(tables[table].limits) if active else b""
        if flags & 3:
            head += encode_reftype(ref) if by_expr else b"\x00"
        made = [self.item(ref, by_expr=by_expr) for _ in range(self.some(6, 200))]
        items = [item for item in made if item is not None]
        return head + self.u(len(items)) + b"".join(items)

    def item_type(self, table: int | None, flags: int) -> RefType:
        if table is not None:
            return self.space.tables[table].ref
        return self.space.reftype(len(self.space.types)) if flags in (5, 7) else FUNCREF

    def item(self, ref: RefType, *, by_expr: bool) -> bytes | None:
        if not by_expr:
            funcidx = self.rng.randrange(len(self.space.functions))
            self.space.declared.add(funcidx)
            return self.u(funcidx)
        made = self.constants.expr(ref, len(self.space.globals))
        return made if made is None else self.ended(made)

    def data(self) -> list[bytes]:
        self.space.n_data = self.some(5, 100)
        return [self.datum(self.rng.randrange(3)) for _ in range(self.space.n_data)]

    def datum(self, flags: int) -> bytes:
        flags = flags if self.space.memories else 1
        memory = self.rng.randrange(len(self.space.memories)) if flags == 2 else 0
        head = self.u(flags) + (self.u(memory) if flags == 2 else b"")
        head += b"" if flags == 1 else self.offset(self.space.memories[memory].limits)
        content = self.rng.randbytes(self.some(30, 3000))
        return head + self.u(len(content)) + content

    # Code and names

    def code(self) -> list[bytes]:
        bodies = [
            Code(self.space, self.space.function(index)).body()
            for index in range(self.n_imported_functions, len(self.space.functions))
        ]
        return [self.u(len(body)) + body for body in bodies]

    def name_section(self) -> section.Section:
        named = [index for index in range(len(self.space.functions)) if self.space.chance(70)]
        pairs = b"".join(leb.u(index) + self.name(f"f{index}{self.rng.choice(NAMES)}") for index in named)
        parts = ((0, self.name(self.rng.choice(NAMES))), (1, leb.u(len(named)) + pairs))
        content = b"".join(bytes([id_]) + leb.u(len(part)) + part for id_, part in parts)
        broken = self.space.chance(10)
        return section.custom("name", content[: self.rng.randrange(len(content))] if broken else content)
