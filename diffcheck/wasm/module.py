"""A WebAssembly 3.0 module, read by section. Code and data bytes are not decoded.

`write(read(m).sections) == m` for every valid module.
"""

from __future__ import annotations

from functools import cached_property, wraps
from typing import TYPE_CHECKING, TypeVar

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.wasm import section as ids
from diffcheck.wasm.externs import (
    KINDS,
    Export,
    Import,
    ImportType,
    Kind,
    check_export,
    read_export,
    read_kind,
)
from diffcheck.wasm.section import Section, custom, section, split, write
from diffcheck.wasm.segments import DataSegment, Element, Exprs, read_data, read_element
from diffcheck.wasm.typereader import TypeReader
from diffcheck.wasm.types import FuncType, GlobalType, MemoryType, RefType, SubType, TableType, TagType, fields, is_typed_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.wasm.constexpr import GlobalGet
    from diffcheck.wasm.leb import Reader

__all__ = [
    "Export",
    "Global",
    "Import",
    "Kind",
    "Module",
    "Section",
    "Table",
    "custom",
    "read",
    "section",
    "write",
]

_WITH_INIT = 0x40

T = TypeVar("T")


class Table(msgspec.Struct, frozen=True):
    """A defined table; `init` is its expression with the final `end`, if it has one."""

    type: TableType
    init: bytes | None
    global_gets: tuple[GlobalGet, ...] = ()


class Global(msgspec.Struct, frozen=True):
    """A defined global; `init` is its expression with the final `end`."""

    type: GlobalType
    init: bytes
    global_gets: tuple[GlobalGet, ...] = ()


class Module(msgspec.Struct, frozen=True, dict=True):
    """The contents of a module's sections.

    `types` are flattened over recursion groups. `functions` are the typeidx of the defined
    functions. `start` is a funcidx. `bodies` are (file offset, size in bytes) of each function
    body, without its size field.
    """

    sections: tuple[Section, ...]
    types: tuple[SubType, ...]
    imports: tuple[Import, ...]
    functions: tuple[int, ...]
    tables: tuple[Table, ...]
    memories: tuple[MemoryType, ...]
    tags: tuple[TagType, ...]
    globals: tuple[Global, ...]
    exports: tuple[Export, ...]
    start: int | None
    elements: tuple[Element, ...]
    data_count: int | None
    bodies: tuple[tuple[int, int], ...]
    data: tuple[DataSegment, ...]

    @property
    def n_elements(self) -> int:
        """The number of element segments."""
        return len(self.elements)

    @property
    def n_data(self) -> int:
        """The number of data segments."""
        return len(self.data)

    @cached_property
    def all_functions(self) -> tuple[int, ...]:
        """The typeidx of every function, imported ones first."""
        return (*self._imported("func", int), *self.functions)

    @cached_property
    def all_tables(self) -> tuple[TableType, ...]:
        """The type of every table, imported ones first."""
        return (*self._imported("table", TableType), *(table.type for table in self.tables))

    @cached_property
    def all_memories(self) -> tuple[MemoryType, ...]:
        """The type of every memory, imported ones first."""
        return (*self._imported("memory", MemoryType), *self.memories)

    @cached_property
    def all_globals(self) -> tuple[GlobalType, ...]:
        """The type of every global, imported ones first."""
        return (*self._imported("global", GlobalType), *(each.type for each in self.globals))

    @cached_property
    def all_tags(self) -> tuple[TagType, ...]:
        """The type of every tag, imported ones first."""
        return (*self._imported("tag", TagType), *self.tags)

    @cached_property
    def has_typed_references(self) -> bool:
        """Whether a type, a table or a global has references to defined types or such that are not nullable."""
        return any(not isinstance(each.composite, FuncType) for each in self.types) or any(map(is_typed_reference, self.references))

    @cached_property
    def references(self) -> frozenset[RefType]:
        """The reference types of parameters, results, fields, tables and globals."""
        values: list[object] = [each.value for each in self.all_globals]
        for type_ in self.types:
            each = type_.composite
            values += (*each.params, *each.results) if isinstance(each, FuncType) else [field.storage for field in fields(each)]
        return frozenset([*(each.ref for each in self.all_tables), *(each for each in values if isinstance(each, RefType))])

    @cached_property
    def counts(self) -> dict[Kind, int]:
        """The number of items of each kind, including imports."""
        return {
            "func": len(self.all_functions),
            "table": len(self.all_tables),
            "memory": len(self.all_memories),
            "global": len(self.all_globals),
            "tag": len(self.all_tags),
        }

    def section(self, id_: int) -> Section | None:
        """Return the section with that id, which is not custom; `None` if there is none."""
        return next((each for each in self.sections if each.id == id_ != ids.CUSTOM), None)

    def body_bytes(self) -> Iterator[tuple[int, bytes]]:
        """Yield each body's file offset and bytes, without its size."""
        code = self.section(ids.CODE)
        for offset, size in self.bodies:
            assert code is not None, "bodies are in the code section"  # noqa: S101
            yield offset, bytes(code.payload[offset - code.offset : offset - code.offset + size])

    def n_imported(self, kind: Kind) -> int:
        """Return the number of imports of that kind."""
        return self._n_imported[kind]

    def function_type(self, funcidx: int) -> FuncType:
        """Return a function's type; `IndexError` if the index is out of range."""
        composite = self.types[self.all_functions[funcidx]].composite
        assert isinstance(composite, FuncType), "checked by read()"  # noqa: S101
        return composite

    @cached_property
    def _n_imported(self) -> dict[Kind, int]:
        kinds = [each.kind for each in self.imports]
        return {kind: kinds.count(kind) for kind in KINDS}

    def _imported(self, kind: Kind, of: type[T]) -> list[T]:
        return [each.type for each in self.imports if each.kind == kind and isinstance(each.type, of)]


def read(data: bytes) -> Module:
    """Read a module from its bytes.

    Raises `ArtifactError`, with a file offset, if the sections are malformed. The module is not
    validated: indices and types may be wrong where the structure of sections does not depend on them.
    """
    return _Loader(split(data)).module()


class _Loader:
    """Reads the sections in order and checks later ones against earlier ones."""

    def __init__(self, sections: tuple[Section, ...]) -> None:
        self.sections = sections
        self.by_id = {each.id: each for each in sections if each.id != ids.CUSTOM}
        self.types: tuple[SubType, ...] = ()
        self.reader = TypeReader(bound=0)

    def module(self) -> Module:
        groups = self.vector(ids.TYPE, self.reader.rectype)
        self.types = tuple(sub for group in groups for sub in group)
        module = Module(
            sections=self.sections,
            types=self.types,
            imports=self.vector(ids.IMPORT, self.import_),
            functions=self.functions(),
            tables=self.vector(ids.TABLE, self.table),
            memories=self.vector(ids.MEMORY, self.reader.memorytype),
            tags=self.vector(ids.TAG, self.tag),
            globals=self.vector(ids.GLOBAL, self.global_),
            exports=self.vector(ids.EXPORT, read_export),
            start=self.single(ids.START),
            elements=self.vector(ids.ELEMENT, self.element),
            data_count=self.single(ids.DATA_COUNT),
            bodies=self.vector(ids.CODE, _body),
            data=self.vector(ids.DATA, read_data),
        )
        self.check(module)
        return module

    def vector(self, id_: int, item: Callable[[Reader], T]) -> tuple[T, ...]:
        if id_ not in self.by_id:
            return ()
        reader = self.by_id[id_].reader()
        items = reader.vector(f"items of the {ids.NAMES[id_]} section", item)
        reader.finish(f"{ids.NAMES[id_]} section")
        return items

    def single(self, id_: int) -> int | None:
        if id_ not in self.by_id:
            return None
        reader = self.by_id[id_].reader()
        value = reader.u32()
        reader.finish(f"{ids.NAMES[id_]} section")
        return value

    def functions(self) -> tuple[int, ...]:
        if ids.FUNCTION not in self.by_id:
            return ()
        reader = self.by_id[ids.FUNCTION].reader()
        typeidxs = reader.u32s("functions")
        reader.finish("function section")
        for index in set(typeidxs):
            if not self.is_function(index):
                # A second, slower pass determines the offset of the error.
                self.vector(ids.FUNCTION, self.functype)
        return typeidxs

    def functype(self, reader: Reader) -> int:
        at = reader.offset
        index = self.reader.typeidx(reader)
        if not self.is_function(index):
            raise reader.error(f"type {index} is not a function type", offset=at)
        return index

    def is_function(self, index: int) -> bool:
        return index < len(self.types) and isinstance(self.types[index].composite, FuncType)

    def tag(self, reader: Reader) -> TagType:
        at = reader.offset
        tag = self.reader.tagtype(reader)
        if not self.is_function(tag.typeidx):
            raise reader.error(f"type {tag.typeidx} is not a function type", offset=at)
        return tag

    def import_(self, reader: Reader) -> Import:
        module, name = reader.name(), reader.name()
        kind = read_kind(reader)
        readers: dict[Kind, Callable[[Reader], ImportType]] = {
            "func": self.functype,
            "table": self.reader.tabletype,
            "memory": self.reader.memorytype,
            "global": self.reader.globaltype,
            "tag": self.tag,
        }
        return Import(module, name, kind, readers[kind](reader))

    def table(self, reader: Reader) -> Table:
        if reader.peek() != _WITH_INIT:
            return Table(self.reader.tabletype(reader), None)
        reader.skip(1)
        at = reader.offset
        if reserved := reader.u8():
            raise reader.error(f"a table's reserved byte is {reserved:#04x}", offset=at)
        exprs = Exprs()
        type_ = self.reader.tabletype(reader)
        return Table(type_, exprs.read(reader), tuple(exprs.gets))

    def global_(self, reader: Reader) -> Global:
        exprs = Exprs()
        type_ = self.reader.globaltype(reader)
        return Global(type_, exprs.read(reader), tuple(exprs.gets))

    def element(self, reader: Reader) -> Element:
        return read_element(reader, self.reader)

    def check(self, module: Module) -> None:
        """Check consistency across sections."""
        n_functions, n_bodies = len(module.functions), len(module.bodies)
        if n_functions != n_bodies:
            reason = f"{n_functions} functions are declared, {n_bodies} have a body"
            raise ArtifactError(reason, offset=self.offset(ids.CODE, ids.FUNCTION))
        if module.data_count not in (None, module.n_data):
            reason = f"the data count is {module.data_count}, there are {module.n_data} segments"
            raise ArtifactError(reason, offset=self.offset(ids.DATA, ids.DATA_COUNT))
        counts = module.counts
        if module.start is not None and module.start >= counts["func"]:
            reason = f"the start function is {module.start}, there are {counts['func']} functions"
            raise ArtifactError(reason, offset=self.offset(ids.START))
        if any(each.index >= counts[each.kind] for each in module.exports):
            self.vector(ids.EXPORT, lambda reader: check_export(reader, counts))

    def offset(self, *section_ids: int) -> int:
        return next(self.by_id[id_].offset for id_ in section_ids if id_ in self.by_id)


def kept(function: Callable[[Module], T]) -> Callable[[Module], T]:
    """A function of a module that is computed once for each; the result is shared."""
    name = f"{function.__module__}.{function.__qualname__}"

    @wraps(function)
    def inner(module: Module) -> T:
        known = module.__dict__
        if name not in known:
            known[name] = function(module)
        found: T = known[name]
        return found

    return inner


def _body(reader: Reader) -> tuple[int, int]:
    size = reader.u32()
    at = reader.offset
    reader.skip(size, "a function body")
    return at, size
