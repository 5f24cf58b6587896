"""A module draft for reduction: items keep their original indices, and only reachable items are written.

A change replaces a function's body, removes an export, a segment or the start function, or turns an import into a defined item.
``write`` determines the reachable items and renumbers them. Drafts are not validated.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck.wasm import section as ids
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.encode import Reference, Space, body_references, map_valtype, references, remap, remap_body, zero
from diffcheck.wasm.externs import KINDS, Export, ImportType, encode_export, encode_importtype
from diffcheck.wasm.leb import sized, u, vector
from diffcheck.wasm.module import Module, read
from diffcheck.wasm.opcodes import END, REF_FUNC
from diffcheck.wasm.section import section, write
from diffcheck.wasm.typereader import TypeReader
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
    TagType,
    encode_globaltype,
    encode_memorytype,
    encode_rectype,
    encode_reftype,
    encode_tabletype,
    encode_tagtype,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.wasm.encode import Maps
    from diffcheck.wasm.externs import Kind
    from diffcheck.wasm.types import CompositeType, ValType

_FUNC: Final = RefType(nullable=False, heap="func")
_NULLABLE_FUNC: Final = RefType(nullable=True, heap="func")


class ElementDraft(msgspec.Struct, frozen=True):
    """An element segment with its items as expressions. ``table`` is None unless it is active."""

    declarative: bool
    table: int | None
    offset: bytes
    ref: RefType
    items: tuple[bytes, ...]


class DataDraft(msgspec.Struct, frozen=True):
    """A data segment. ``memory`` is None if it is passive."""

    memory: int | None
    offset: bytes
    content: bytes


class Draft(msgspec.Struct, frozen=True, dict=True):
    """A draft; see the module.

    ``bodies`` are code entries by funcidx, including former imports. ``closed`` are the former imports, by kind and index, that are
    defined items now. A removed segment is None.
    """

    module: Module
    groups: tuple[tuple[SubType, ...], ...]
    bodies: dict[int, bytes]
    exports: tuple[Export, ...]
    start: int | None
    elements: tuple[ElementDraft | None, ...]
    data: tuple[DataDraft | None, ...]
    closed: frozenset[tuple[str, int]] = frozenset()
    alias: dict[int, int] = {}
    memories: dict[int, MemoryType] = {}

    def with_bodies(self, changed: dict[int, bytes]) -> Draft:
        """Return the draft with some bodies replaced."""
        return msgspec.structs.replace(self, bodies={**self.bodies, **changed})

    @cached_property
    def live(self) -> frozenset[Reference]:
        """All items reachable from the exports, the start function and the active segments."""
        return _Reachability(self).all()

    @property
    def code_bytes(self) -> int:
        """The size of all reachable bodies in bytes."""
        return sum(len(self.bodies[index]) for space, index in self.live if space == "func" and index in self.bodies)

    def write(self) -> bytes:
        """Encode the module."""
        return _Writer(self).run()

    def numbers(self, space: Space) -> Mapping[int, int]:
        """Return the new indices of a space, by original index."""
        return _Writer(self).maps[space]

    def is_imported(self, kind: Kind, index: int) -> bool:
        """Whether an item is still an import."""
        return index < self.module.n_imported(kind) and (kind, index) not in self.closed


def draft(data: bytes) -> Draft:
    """Return the unchanged draft of a module; ``ArtifactError`` if the module is malformed."""
    module = read(data)
    imported = module.n_imported("func")
    types = module.section(ids.TYPE)
    return Draft(
        module=module,
        groups=types.reader().vector("types", TypeReader(bound=0).rectype) if types else (),
        bodies={imported + at: data[offset : offset + size] for at, (offset, size) in enumerate(module.bodies)},
        exports=module.exports,
        start=module.start,
        elements=tuple(
            ElementDraft(
                each.mode == "declarative",
                each.table,
                each.offset or b"",
                each.ref,
                each.exprs or tuple(REF_FUNC + u(index) + END for index in each.funcs),
            )
            for each in module.elements
        ),
        data=tuple(DataDraft(each.memory, each.offset or b"", data[each.start : each.start + each.size]) for each in module.data),
    )


class _Reachability:
    """Marks reachable items."""

    def __init__(self, source: Draft) -> None:
        self.draft, self.module = source, source.module
        self.marked: set[Reference] = set()
        self.queue: list[Reference] = []
        self.group_of = {}
        first = 0
        for group in source.groups:
            for at in range(first, first + len(group)):
                self.group_of[at] = range(first, first + len(group))
            first += len(group)

    def all(self) -> frozenset[Reference]:
        source = self.draft
        self.mark(("func" if each.kind == "func" else each.kind, each.index) for each in source.exports)
        self.mark([("func", source.start)] if source.start is not None else ())
        self.mark(("elem", at) for at, each in enumerate(source.elements) if each and each.table is not None)
        self.mark(("data", at) for at, each in enumerate(source.data) if each and each.memory is not None)
        while self.queue:
            space, index = self.queue.pop()
            self.mark(self._from(space, index))
        return frozenset(self.marked)

    def mark(self, items: Iterable[tuple[Any, int]]) -> None:
        for space, index in items:
            item = (space, self.draft.alias.get(index, index) if space == "func" else index)
            if item not in self.marked:
                self.marked.add(item)
                self.queue.append(item)

    def _from(self, space: Space, index: int) -> Iterable[Reference]:  # noqa: PLR0911 - one space a line
        module, source = self.module, self.draft
        match space:
            case "func":
                body = source.bodies.get(index)
                return [("type", module.all_functions[index]), *(body_references(body) if body is not None else ())]
            case "table":
                defined = index - module.n_imported("table")
                init = module.tables[defined].init if defined >= 0 else None
                return [*_types(module.all_tables[index].ref), *(references(init) if init else ())]
            case "global":
                defined = index - module.n_imported("global")
                init = module.globals[defined].init if defined >= 0 else None
                return [*_types(module.all_globals[index].value), *(references(init) if init else ())]
            case "tag":
                return [("type", module.all_tags[index].typeidx)]
            case "elem":
                return self._element(source.elements[index])
            case "data":
                segment = source.data[index]
                if segment is None or segment.memory is None:
                    return ()
                return [("memory", segment.memory), *references(segment.offset)]
            case "type":
                return [("type", at) for at in self.group_of[index]] + list(_parts(module.types[index]))
        return ()

    def _element(self, segment: ElementDraft | None) -> Iterable[Reference]:
        if segment is None:
            return
        yield from _types(segment.ref)
        if segment.table is not None:
            yield "table", segment.table
            yield from references(segment.offset)
        for each in segment.items:
            yield from references(each)


def _types(value: ValType) -> list[Reference]:
    return [("type", value.heap)] if isinstance(value, RefType) and isinstance(value.heap, int) else []


def _parts(sub: SubType) -> Iterable[Reference]:
    yield from (("type", each) for each in sub.supers)
    for value in _values(sub.composite):
        yield from _types(value)


def _values(composite: CompositeType) -> tuple[ValType, ...]:
    if isinstance(composite, FuncType):
        return composite.params + composite.results
    return tuple(each.storage for each in (composite.fields if isinstance(composite, StructType) else (composite.field,)))


class _Writer:
    """Renumbers and writes the reachable items."""

    def __init__(self, source: Draft) -> None:
        self.draft, self.module = source, source.module
        self.live = source.live
        self.imports = self._imports()
        self.maps: dict[Space, dict[int, int]] = {
            "type": self._renumber("type", range(len(self.module.types))),
            "elem": self._renumber("elem", range(len(source.elements))),
            "data": self._renumber("data", range(len(source.data))),
            **{kind: self._renumber(kind, self._order(kind)) for kind in KINDS},
        }
        for index, target in source.alias.items():
            if target in self.maps["func"]:
                self.maps["func"][index] = self.maps["func"][target]

    def _imports(self) -> list[tuple[Kind, int, bytes]]:
        counts = dict.fromkeys(KINDS, 0)
        imports = []
        for each in self.module.imports:
            index = counts[each.kind]
            counts[each.kind] += 1
            if (each.kind, index) in self.live and self.draft.is_imported(each.kind, index):
                names = sized(each.module.encode()) + sized(each.name.encode())
                imports.append((each.kind, index, names))
        return imports

    def _order(self, kind: Kind) -> list[int]:
        """Return the indices of a kind in their new order: imports first (2.5.1)."""
        indices = range(self.module.counts[kind])
        return sorted(indices, key=lambda index: (not self.draft.is_imported(kind, index), index))

    def _renumber(self, space: Space, order: Iterable[int]) -> dict[int, int]:
        return {index: at for at, index in enumerate(each for each in order if (space, each) in self.live)}

    def defined(self, kind: Kind) -> list[int]:
        """Return the live defined items of a kind, in their new order."""
        return [
            index
            for index in self.maps[kind]
            if not self.draft.is_imported(kind, index)
            and (kind, index) in self.live
            and index not in (self.draft.alias if kind == "func" else ())
        ]

    def run(self) -> bytes:
        """Write all sections."""
        module, source = self.module, self.draft
        functions = self.defined("func")
        parts = {
            ids.TYPE: [encode_rectype(group) for group in self._groups()],
            ids.IMPORT: [names + encode_importtype(self._importtype(kind, index)) for kind, index, names in self.imports],
            ids.FUNCTION: [u(self.maps["type"][module.all_functions[index]]) for index in functions],
            ids.TABLE: [self._table(index) for index in self.defined("table")],
            ids.MEMORY: [encode_memorytype(self._memory(index)) for index in self.defined("memory")],
            ids.TAG: [encode_tagtype(self._tag(index)) for index in self.defined("tag")],
            ids.GLOBAL: [self._global(index) for index in self.defined("global")],
            ids.EXPORT: [encode_export(each.name, each.kind, self.maps[each.kind][each.index]) for each in source.exports],
            ids.ELEMENT: [
                encode_element(each, self.maps) for at, each in enumerate(source.elements) if each and ("elem", at) in self.live
            ],
            ids.CODE: [sized(remap_body(source.bodies[index], self.maps)) for index in functions],
            ids.DATA: [encode_data(each, self.maps) for at, each in enumerate(source.data) if each and ("data", at) in self.live],
        }
        parts[ids.ELEMENT] += self._declarations(functions)
        sections = []
        for id_ in ids.NAMES:
            if id_ == ids.START and source.start is not None:
                sections.append(section(id_, u(self.maps["func"][source.start])))
            elif id_ == ids.DATA_COUNT and parts[ids.DATA]:
                sections.append(section(id_, u(len(parts[ids.DATA]))))
            elif parts.get(id_):
                sections.append(section(id_, vector(parts[id_])))
        return write(sections)

    def _groups(self) -> list[tuple[SubType, ...]]:
        groups, first = [], 0
        for group in self.draft.groups:
            if ("type", first) in self.live:
                groups.append(tuple(map_subtype(each, self.maps) for each in group))
            first += len(group)
        return groups

    def _importtype(self, kind: Kind, index: int) -> ImportType:
        match kind:
            case "func":
                return self.maps["type"][self.module.all_functions[index]]
            case "table":
                return self._tabletype(index)
            case "memory":
                return self._memory(index)
            case "global":
                return self._globaltype(index)
            case "tag":
                return self._tag(index)

    def _memory(self, index: int) -> MemoryType:
        return self.draft.memories.get(index, self.module.all_memories[index])

    def _tag(self, index: int) -> TagType:
        return TagType(self.maps["type"][self.module.all_tags[index].typeidx])

    def _tabletype(self, index: int) -> TableType:
        type_ = self.module.all_tables[index]
        ref = map_valtype(type_.ref, self.maps)
        assert isinstance(ref, RefType), "a reference stays one"  # noqa: S101
        return TableType(ref, type_.limits)

    def _globaltype(self, index: int) -> GlobalType:
        type_ = self.module.all_globals[index]
        return GlobalType(map_valtype(type_.value, self.maps), type_.mutable)

    def _table(self, index: int) -> bytes:
        defined = index - self.module.n_imported("table")
        init = self.module.tables[defined].init if defined >= 0 else None
        type_ = encode_tabletype(self._tabletype(index))
        return b"\x40\x00" + type_ + remap(init, self.maps) if init else type_

    def _global(self, index: int) -> bytes:
        defined = index - self.module.n_imported("global")
        type_ = self.module.all_globals[index]
        init = remap(self.module.globals[defined].init, self.maps) if defined >= 0 else constant(type_.value) + END
        return encode_globaltype(self._globaltype(index)) + init

    def _declarations(self, functions: list[int]) -> list[bytes]:
        """Return a declarative segment for functions that are referenced only by ``ref.func`` in code (3.4, ``ref.func``)."""
        declared = {each.index for each in self.draft.exports if each.kind == "func"}
        items = [item for at, each in enumerate(self.draft.elements) if each and ("elem", at) in self.live for item in each.items]
        first = self.module.n_imported("global")
        items += [each.init for at, each in enumerate(self.module.globals, first) if ("global", at) in self.live]
        declared |= {index for item in items for space, index in references(item) if space == "func"}
        undeclared: set[int] = set()
        for each in functions:
            undeclared |= ref_funcs(self.draft.bodies[each]) - declared
        return [b"\x03\x00" + vector([u(self.maps["func"][each]) for each in sorted(undeclared)])] if undeclared else []


def map_subtype(sub: SubType, maps: Maps) -> SubType:
    """Return a type definition with its typeidxs mapped."""

    def value(each: ValType) -> ValType:
        return map_valtype(each, maps)

    composite = sub.composite
    mapped: CompositeType
    if isinstance(composite, FuncType):
        mapped = FuncType(tuple(map(value, composite.params)), tuple(map(value, composite.results)))
    elif isinstance(composite, StructType):
        mapped = StructType(tuple(FieldType(value(each.storage), each.mutable) for each in composite.fields))
    else:
        mapped = ArrayType(FieldType(value(composite.field.storage), composite.field.mutable))
    return SubType(sub.final, tuple(maps["type"][each] for each in sub.supers), mapped)


def encode_element(segment: ElementDraft, maps: Maps) -> bytes:
    """Encode an element segment with its indices mapped, in the shortest suitable one of the eight forms (5.5.12)."""
    items = [remap(each, maps) for each in segment.items]
    functions = (
        segment.ref in (_FUNC, _NULLABLE_FUNC)
        and all(each.startswith(REF_FUNC) for each in items)
        and (segment.ref == _FUNC or segment.table in (None, 0))
    )
    active = segment.table is not None
    table = maps["table"][segment.table] if segment.table is not None else 0
    plain = active and table == 0 and (functions or segment.ref == _NULLABLE_FUNC)
    flags = (not active) | 2 * (segment.declarative or (active and not plain)) | 4 * (not functions)
    head = u(flags)
    if active:
        head += (b"" if plain else u(table)) + remap(segment.offset, maps)
    if flags & 3:
        ref = map_valtype(segment.ref, maps)
        assert isinstance(ref, RefType), "a reference stays one"  # noqa: S101
        head += b"\x00" if functions else encode_reftype(ref)
    return head + vector([each[1:-1] for each in items] if functions else items)


def encode_data(segment: DataDraft, maps: Maps) -> bytes:
    """Encode a data segment with its indices mapped."""
    content = sized(segment.content)
    if segment.memory is None:
        return b"\x01" + content
    memory = maps["memory"][segment.memory]
    return (b"\x00" if not memory else b"\x02" + u(memory)) + remap(segment.offset, maps) + content


def ref_funcs(body: bytes) -> set[int]:
    """Return the functions that a body references by ``ref.func``."""
    if REF_FUNC not in body:
        return set()
    return {int(each.immediates[0]) for each in instructions(body, start=read_locals(body).end) if each.name == "ref.func"}


def constant(value: ValType) -> bytes:
    """Return the instruction for a type's default value, or ``unreachable`` for a non-nullable reference."""
    return zero(value) or b"\x00"


__all__ = ["DataDraft", "Draft", "ElementDraft", "constant", "draft", "encode_data", "encode_element", "map_subtype"]
