"""Several modules merged into one, as if each had been instantiated with the items that it imports from earlier ones.

The index spaces of the modules are appended. An import that an earlier module exports becomes that module's item; every other one
stays an import. The instantiation of a deferred module (core specification 4.7.2) is code, which initialises tables and memories,
drops the segments, and calls the start function: an exported function of its own, or a part of the merged start function.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.text import visible
from diffcheck.wasm import section as ids
from diffcheck.wasm.constexpr import read_constexpr, substitute_globals
from diffcheck.wasm.draft import Draft, ElementDraft, draft, encode_data, encode_element, map_subtype
from diffcheck.wasm.encode import body_references, map_valtype, plain, references, remap, remap_body
from diffcheck.wasm.externs import KINDS, encode_export, encode_importtype
from diffcheck.wasm.leb import Reader, sized, u, vector
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.section import section, write
from diffcheck.wasm.types import (
    FuncType,
    GlobalType,
    MemoryType,
    RefType,
    TableType,
    TagType,
    encode_functype,
    encode_globaltype,
    encode_memorytype,
    encode_rectype,
    encode_tabletype,
    encode_tagtype,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from diffcheck.wasm.draft import DataDraft
    from diffcheck.wasm.encode import Reference, Space
    from diffcheck.wasm.externs import Import, ImportType, Kind

INSTANTIATE: Final = "(instantiate)"
"""The export that instantiates a deferred module; of a named one it has the module's prefix."""
_NUMBERS: Final = frozenset({"i32.const", "i64.const", "f32.const", "f64.const", "v128.const"})
_SPACES: Final[tuple[Space, ...]] = ("type", "elem", "data", *KINDS)
_LOCALS: Final = b"\x00"
_PAGE_LOG2: Final = 16


class LinkedModule(msgspec.Struct, frozen=True):
    """A module with the modules from which it imports: their numbers, by the names that its imports have.

    Exports are named ``PREFIX:EXPORT``, without a prefix as they are. The instantiation of a ``cut`` module ends at the first
    segment that is out of bounds, and its start function is not called: that is what is left of one that traps.
    """

    wasm: bytes
    prefix: str = ""
    sources: dict[str, int] = {}
    deferred: bool = False
    cut: bool = False

    def name(self, export: str) -> str:
        """The name of an export in the merged module."""
        return f"{self.prefix}:{export}" if self.prefix else export


def link(modules: Sequence[LinkedModule], *, at_start: bool = False) -> bytes:
    """Merge modules, in the order of their instantiation; ``ArtifactError`` if one is malformed or two export the same name.

    With ``at_start`` the start function instantiates all deferred modules. At most one other module may have active segments or a
    start function.
    """
    try:
        return _Linker(modules).write(at_start=at_start)
    except (KeyError, IndexError) as error:
        raise ArtifactError(f"the modules cannot be linked: there is no item {error}") from error


class _Part:
    """A module with the maps of its indices."""

    def __init__(self, given: LinkedModule) -> None:
        self.given = given
        self.draft: Draft = draft(given.wasm)
        self.module = self.draft.module
        self.maps: dict[Space, dict[int, int]] = {}
        self.constants: dict[int, bytes] = {}

    @cached_property
    def exports(self) -> dict[tuple[str, Kind], int]:
        """The indices of exports in the module."""
        return {(each.name, each.kind): each.index for each in self.module.exports}

    def constant(self, raw: bytes) -> bytes:
        """Return a constant expression with reads of numbers replaced and indices mapped."""
        return remap(self._with_constants(raw), self.maps)

    def _with_constants(self, raw: bytes) -> bytes:
        expression = substitute_globals(raw, self.constants)
        self._check(references(expression))
        return expression

    def body(self, funcidx: int) -> bytes:
        """Return a code entry with its indices mapped."""
        body = self.draft.bodies[funcidx]
        self._check(body_references(body))
        return remap_body(body, self.maps)

    def _check(self, referred: Iterable[Reference]) -> None:
        """Raise ``ArtifactError`` if an item does not exist: a merged module may have one of that index."""
        for space, index in referred:
            if index not in self.maps[space]:
                name = f"the linked module {visible(self.given.prefix)}" if self.given.prefix else "the artifact"
                raise ArtifactError(f"{name} is invalid: it uses {space} {index}, which it does not have")

    def element(self, segment: ElementDraft) -> ElementDraft:
        """Return a segment with reads of numbers replaced, passive if the module is deferred."""
        changed = msgspec.structs.replace(
            segment,
            offset=self._with_constants(segment.offset) if segment.table is not None else b"",
            items=tuple(self._with_constants(each) for each in segment.items),
        )
        return msgspec.structs.replace(changed, table=None) if self.given.deferred else changed

    def data(self, segment: DataDraft) -> DataDraft:
        """Return a segment with reads of numbers replaced, passive if the module is deferred."""
        if self.given.deferred or segment.memory is None:
            return msgspec.structs.replace(segment, memory=None)
        return msgspec.structs.replace(segment, offset=self._with_constants(segment.offset))

    def tabletype(self, type_: TableType) -> TableType:
        """Return a table type with its typeidx mapped."""
        ref = map_valtype(type_.ref, self.maps)
        assert isinstance(ref, RefType), "a reference stays one"  # noqa: S101
        return TableType(ref, type_.limits)

    def importtype(self, type_: ImportType) -> ImportType:
        """Return the type of an import with its typeidx mapped."""
        match type_:
            case int(typeidx):
                return self.maps["type"][typeidx]
            case TableType():
                return self.tabletype(type_)
            case GlobalType(value, mutable):
                return GlobalType(map_valtype(value, self.maps), mutable)
            case TagType(typeidx):
                return TagType(self.maps["type"][typeidx])
            case _:
                return type_


class _Linker:
    """Numbers the items of all modules and writes them."""

    def __init__(self, modules: Sequence[LinkedModule]) -> None:
        self.parts = [_Part(each) for each in modules]
        self.imports: list[tuple[_Part, Import]] = []
        open_ = {id(part): dict(self._open(part)) for part in self.parts}
        self._following = dict.fromkeys(_SPACES, 0)
        for _, each in self.imports:
            self._following[each.kind] += 1
        taken = dict.fromkeys(KINDS, 0)
        for part in self.parts:
            self._number(part, open_[id(part)], taken)

    def _open(self, part: _Part) -> Iterator[tuple[int, bool]]:
        """Yield whether each import stays one, and note those that do."""
        for at, each in enumerate(part.module.imports):
            source = part.given.sources.get(each.module)
            stays = source is None or (each.name, each.kind) not in self.parts[source].exports
            if stays:
                self.imports.append((part, each))
            yield at, stays

    def _number(self, part: _Part, stays: dict[int, bool], taken: dict[Kind, int]) -> None:
        for kind in KINDS:
            part.maps[kind] = {}
        for at, each in enumerate(part.module.imports):
            index = len(part.maps[each.kind])
            if stays[at]:
                part.maps[each.kind][index] = taken[each.kind]
                taken[each.kind] += 1
                continue
            source = self.parts[part.given.sources[each.module]]
            of = source.exports[each.name, each.kind]
            part.maps[each.kind][index] = source.maps[each.kind][of]
            if each.kind == "global" and of in source.constants:
                part.constants[index] = source.constants[of]
        for kind in KINDS:
            self._append(part, kind, len(part.maps[kind]), part.module.counts[kind])
        self._append(part, "type", 0, len(part.module.types))
        self._append(part, "elem", 0, part.module.n_elements)
        self._append(part, "data", 0, part.module.n_data)
        first = part.module.n_imported("global")
        for at, defined in enumerate(part.module.globals, first):
            init = substitute_globals(defined.init, part.constants)
            if not defined.type.mutable and {each.name for each in read_constexpr(Reader(init)).instrs} <= _NUMBERS:
                part.constants[at] = init.removesuffix(END)

    def _append(self, part: _Part, space: Space, first: int, last: int) -> None:
        numbers = part.maps.setdefault(space, {})
        numbers |= zip(range(first, last), range(self._following[space], self._following[space] + last - first), strict=True)
        self._following[space] += last - first

    # Writing.

    def write(self, *, at_start: bool) -> bytes:
        """Write all sections."""
        deferred = [part for part in self.parts if part.given.deferred]
        steps = [_instantiation(part) for part in deferred]
        if at_start:
            steps = [b"".join(steps)]
        first_step = self._following["func"]
        data = [encode_data(part.data(each), part.maps) for part in self.parts for each in part.draft.data if each]
        elements = [encode_element(part.element(each), part.maps) for part in self.parts for each in part.draft.elements if each]
        bodies = [part.body(at) for part in self.parts for at in sorted(part.draft.bodies)]
        empty = self._following["type"]
        exported = () if at_start else deferred
        exports = self._exports({part.given.name(INSTANTIATE): first_step + at for at, part in enumerate(exported)})
        vectors = {
            ids.TYPE: [*self._types(), encode_functype(FuncType())],
            ids.IMPORT: [_import(part, each) for part, each in self.imports],
            ids.FUNCTION: [*map(u, self._functions()), *(u(empty) for _ in steps)],
            ids.TABLE: list(self._tables()),
            ids.MEMORY: [encode_memorytype(each) for part in self.parts for each in part.module.memories],
            ids.TAG: list(self._tags()),
            ids.GLOBAL: list(self._globals()),
            ids.EXPORT: [encode_export(name, kind, index) for name, (kind, index) in exports.items()],
            ids.ELEMENT: elements,
            ids.CODE: [*map(sized, bodies), *(sized(_LOCALS + each + END) for each in steps)],
            ids.DATA: data,
        }
        contents = {id_: vector(items) for id_, items in vectors.items() if items}
        contents |= {ids.START: u(first_step)} if at_start else dict(self._start())
        if data:
            contents[ids.DATA_COUNT] = u(len(data))
        return write([section(id_, contents[id_]) for id_ in ids.NAMES if id_ in contents])

    def _start(self) -> Iterator[tuple[int, bytes]]:
        for part in self.parts:
            if part.module.start is not None and not part.given.deferred:
                yield ids.START, u(part.maps["func"][part.module.start])

    def _exports(self, steps: Mapping[str, int]) -> dict[str, tuple[Kind, int]]:
        """Return the exports by name; ``steps`` are the functions that instantiate modules."""
        found: list[tuple[str, tuple[Kind, int]]] = [(name, ("func", index)) for name, index in steps.items()]
        for part in self.parts:
            found += ((part.given.name(each.name), (each.kind, part.maps[each.kind][each.index])) for each in part.module.exports)
        exports = dict(found)
        if len(exports) < len(found):
            raise ArtifactError("two linked modules export the same name")
        return exports

    def _tags(self) -> Iterator[bytes]:
        for part in self.parts:
            yield from (encode_tagtype(TagType(part.maps["type"][each.typeidx])) for each in part.module.tags)

    def _types(self) -> Iterator[bytes]:
        for part in self.parts:
            for group in part.draft.groups:
                yield encode_rectype(tuple(map_subtype(each, part.maps) for each in group))

    def _functions(self) -> Iterator[int]:
        for part in self.parts:
            yield from (part.maps["type"][typeidx] for typeidx in part.module.functions)

    def _tables(self) -> Iterator[bytes]:
        for part in self.parts:
            for each in part.module.tables:
                type_ = encode_tabletype(part.tabletype(each.type))
                yield type_ if each.init is None else b"\x40\x00" + type_ + part.constant(each.init)

    def _globals(self) -> Iterator[bytes]:
        for part in self.parts:
            for each in part.module.globals:
                type_ = GlobalType(map_valtype(each.type.value, part.maps), each.type.mutable)
                yield encode_globaltype(type_) + part.constant(each.init)


def _import(part: _Part, each: Import) -> bytes:
    return sized(each.module.encode()) + sized(each.name.encode()) + encode_importtype(part.importtype(each.type))


# Instantiation as code.


def _instantiation(part: _Part) -> bytes:
    """Return the instructions that instantiate a deferred module."""
    elements = [_initialise(part, "table", at, each, len(each.items)) for at, each in enumerate(part.draft.elements) if each]
    data = [_initialise(part, "memory", at, each, len(each.content)) for at, each in enumerate(part.draft.data) if each]
    start = [] if part.module.start is None or part.given.cut else [plain("call", part.maps["func"][part.module.start])]
    return b"".join([*elements, *data, *start])


def _initialise(part: _Part, kind: Kind, at: int, segment: ElementDraft | DataDraft, size: int) -> bytes:
    """Return the instructions that initialise a table or a memory from an active segment and drop it; none for other segments."""
    target = segment.table if isinstance(segment, ElementDraft) else segment.memory
    if target is None:
        return b""
    space: Space = "elem" if kind == "table" else "data"
    segmentidx, index = part.maps[space][at], part.maps[kind][target]
    offset = part.constant(segment.offset).removesuffix(END)
    type_ = (part.module.all_tables if kind == "table" else part.module.all_memories)[target]
    guard = _guard(kind, index, type_, offset, size) if part.given.cut else b""
    operands = offset + plain("i32.const", 0) + plain("i32.const", size)
    return guard + operands + plain(f"{kind}.init", segmentidx, index) + plain(f"{space}.drop", segmentidx)


def _guard(kind: Kind, index: int, type_: TableType | MemoryType, offset: bytes, size: int) -> bytes:
    """Return instructions that return from the function if ``offset + size`` exceeds the size of a table or a memory."""
    extend = b"" if type_.limits.is64 else plain("i64.extend_i32_u")
    log2 = 0 if kind == "table" else _PAGE_LOG2 if type_.limits.page_size_log2 is None else type_.limits.page_size_log2
    bytes_ = plain(f"{kind}.size", index) + extend + plain("i64.const", log2) + plain("i64.shl")
    end = offset + extend + plain("i64.const", size) + plain("i64.add")
    return end + bytes_ + plain("i64.gt_u") + plain("if", None) + plain("return") + END


__all__ = ["INSTANTIATE", "LinkedModule", "link"]
