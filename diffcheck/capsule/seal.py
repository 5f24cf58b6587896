"""Replace an artifact's imports: each becomes a defined item before the artifact's own, so that no index and no code byte changes.

Imports come first in every index space (core specification 2.5.1). A function is replaced by a stub, a global by its type's zero,
a memory or table by an empty one of its type, a tag by a tag of its type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.binding import Binder, Bound
from diffcheck.capsule.constants import Constants, Types, i32_const
from diffcheck.capsule.layout import COMPARED, PARAMETERS_ADDRESS, VARIABLES_ADDRESS, Stub
from diffcheck.capsule.memory_map import MemoryMap, initial_variables, lay_out
from diffcheck.capsule.recorder.functions import kind_of
from diffcheck.capsule.stubs import OUT_OF_SCOPE, Input, Spec, find, inputs, out_of_scope, why_none
from diffcheck.errors import UnsealableError
from diffcheck.wasm import section as ids
from diffcheck.wasm.constexpr import substitute_globals
from diffcheck.wasm.global_constants import rewrite_data, rewrite_elements, rewrite_globals
from diffcheck.wasm.leb import u, vector
from diffcheck.wasm.module import Module
from diffcheck.wasm.opcodes import END, REF_FUNC
from diffcheck.wasm.section import Section, section
from diffcheck.wasm.types import (
    FuncType,
    GlobalType,
    Limits,
    MemoryType,
    TableType,
    encode_globaltype,
    encode_memorytype,
    encode_tabletype,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from diffcheck.wasm.externs import Import

MAX_MEMORIES: Final = 100  # wasmtime 50 refuses the 101st, and the recorder needs one
PAGE_LOG2: Final = 16
_ELEMENT_ENTRIES: Final = 4096  # kilnd 0.4.4 refuses a longer segment
_DROPPED: Final = (".debug_", "metadata.code.", "reloc.", "linking", "dylink", "external_debug_info", "sourceMappingURL")
_NUMBERS: Final = frozenset({"i32", "i64", "f32", "f64", "v128"})


class World(msgspec.Struct, frozen=True):
    """The inputs of a case's program, and its limits.

    ``memory_pages`` (of 64 KiB) and ``table_elements`` limit the maximum of all memories and tables. ``unknown_stubs`` is ``zero``
    or ``trap``, for imports without a functional stub.
    """

    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    stdin: bytes = b""
    memory_pages: int = 4096
    table_elements: int = 100_000
    digest_pages: int = 1024
    unknown_stubs: str = "zero"


class StubbedImport(msgspec.Struct, frozen=True):
    """A stubbed imported function: its stub, its type, and the functional stub's code if there is one.

    ``bound`` is the memory and the realloc of the functional stub, ``inputs`` are the compared bytes in that memory.
    """

    stub: Stub
    type: FuncType
    typeidx: int
    spec: Spec | None
    bound: Bound = Bound()
    inputs: tuple[Input, ...] = ()


def check_scope(module: Module) -> None:
    """Raise ``UnsealableError`` if functions of the asynchronous component model are imported, which cannot be stubbed."""
    for each in module.imports:
        if each.kind == "func" and (reason := out_of_scope(each.module, each.name)):
            raise UnsealableError(f"{OUT_OF_SCOPE}: it imports {each.module} {each.name}; {reason}", hint="build it for wasi 0.2")


def close_functions(module: Module, unknown: str) -> tuple[StubbedImport, ...]:
    """Return a stub for each imported function. ``unknown`` is ``zero`` or ``trap``, for functions without a functional stub.

    A known function that cannot be supported here gets a trap stub with the reason, since any result would be a guess.
    """
    binder = Binder(module)
    imports = [each for each in module.imports if each.kind == "func"]
    return tuple(_close(module, binder, index, each, unknown) for index, each in enumerate(imports))


def _close(module: Module, binder: Binder, index: int, import_: Import, unknown: str) -> StubbedImport:
    type_ = module.function_type(index)
    name = import_.module, import_.name
    spec = find(*name, tuple(map(kind_of, type_.params)), tuple(map(kind_of, type_.results)))
    bound = Bound()
    kind, reason = ("functional", "") if spec is not None else (unknown, why_none(*name))
    if spec is not None and spec.needs_memory:
        bound = binder.bind(index, import_.module, realloc=spec.needs_realloc)
        reason = bound.reason
    if spec is not None and (reason := reason or spec.traps):
        spec, kind = None, "trap"
    passed = inputs(*name) if spec is not None else ()
    if passed and spec is not None and not spec.needs_memory:
        bound = binder.bind(index, import_.module, realloc=False)
    buffers = (bound.reason or COMPARED) if passed else ""
    stub = Stub(*name, kind, index, signature(type_), reason, tuple(map(kind_of, type_.params)), buffers)
    return StubbedImport(stub, type_, module.all_functions[index], spec, bound, passed if buffers == COMPARED else ())


def signature(type_: FuncType) -> str:
    """Return a function type in the text format: ``(param i32 i32) (result i32)``."""
    parts = [
        f"({word} {' '.join(map(str, values))})" for word, values in (("param", type_.params), ("result", type_.results)) if values
    ]
    return " ".join(parts)


class Sealed(msgspec.Struct, frozen=True):
    """An artifact with closed imports, before recorder and driver are added.

    ``tables``, ``memories``, ``tags`` and ``globals`` are encoded items; ``globals`` are only the imported ones. ``own_globals``,
    ``elements`` and ``data`` are section contents in which reads of imported numbers are replaced. ``types`` and ``constants`` grow
    while other parts are built, so their sections must be created last. ``places`` is the map of the recorder memory, whose index
    is ``rec``.
    """

    module: Module
    stubs: tuple[StubbedImport, ...]
    types: Types
    constants: Constants
    places: MemoryMap
    tables: list[bytes]
    memories: list[bytes]
    tags: list[bytes]
    globals: list[bytes]
    own_globals: bytes
    elements: bytes
    data: bytes

    @property
    def rec(self) -> int:
        """The index of the recorder memory."""
        return len(self.memories)

    @property
    def may_exit(self) -> bool:
        """Whether a stub can end the program."""
        return any(each.spec is not None and each.spec.exits for each in self.stubs)

    @property
    def writes_output(self) -> bool:
        """Whether a stub writes to the capture buffers."""
        return _writes_output(self.stubs)

    def type_section(self) -> Section:
        """Return the artifact's types and the added ones."""
        return extended(self.module, ids.TYPE, (), self.types.encoded)

    def function_section(self, added: Sequence[int]) -> Section:
        """Return the types of stubs, the artifact's functions, ``added`` functions and value functions."""
        after = map(u, (*added, *self.constants.function_types))
        return extended(self.module, ids.FUNCTION, (u(each.typeidx) for each in self.stubs), after)

    def global_section(self, added: Sequence[bytes] = ()) -> Section | None:
        """Return all globals, ``added`` ones last."""
        count = len(self.globals) + len(self.module.globals) + len(added)
        return section(ids.GLOBAL, b"".join([u(count), *self.globals, self.own_globals, *added])) if count else None

    def element_section(self, *, exports: bool) -> Section | None:
        """Return the artifact's segments, then a declaration of the functions that code or constants may reference.

        ``exports`` is whether the artifact's exports stay, which declare functions as well.
        """
        referenced = [*(() if exports else self._exported_references()), *self.constants.functions]
        groups = [referenced[at : at + _ELEMENT_ENTRIES] for at in range(0, len(referenced), _ELEMENT_ENTRIES)]
        count = self.module.n_elements + len(groups)
        segments = (b"\x03\x00" + vector([u(each) for each in group]) for group in groups)
        return section(ids.ELEMENT, b"".join([u(count), self.elements, *segments])) if count else None

    def _exported_references(self) -> list[int]:
        """The exported functions if code takes functions by reference."""
        code = self.module.section(ids.CODE)
        if code is None or bytes(code.payload).find(REF_FUNC) < 0:
            return []
        return sorted({each.index for each in self.module.exports if each.kind == "func"})

    def data_count_sections(self) -> list[Section]:
        """Return the data count section, including the recorder's segment, if the artifact has one."""
        return [] if self.module.data_count is None else [section(ids.DATA_COUNT, u(self.module.n_data + 1))]

    def data_section(self) -> tuple[Section, int]:
        """Return the artifact's segments and the recorder's, and the offset of a pass's parameters in the payload."""
        content = bytearray(VARIABLES_ADDRESS - PARAMETERS_ADDRESS) + initial_variables() + self.places.data
        mode = b"\x00" if self.rec == 0 else b"\x02" + u(self.rec)
        head = b"".join([u(self.module.n_data + 1), self.data, mode, i32_const(0), END, u(len(content))])
        return section(ids.DATA, head + content), len(head)

    def custom_sections(self) -> list[Section]:
        """Return the custom sections that stay valid: names and provenance, but not those with code offsets."""
        return [each for each in self.module.sections if each.id == ids.CUSTOM and not each.name.startswith(_DROPPED)]


def seal(module: Module, world: World, first_value: int) -> Sealed:
    """Close all imports of ``module``. ``first_value`` is the funcidx of the first value function (``Constants``).

    Raises ``UnsealableError`` if an import cannot be closed, ``CaseError`` if the world is too large.
    """
    check_scope(module)
    stubs = close_functions(module, world.unknown_stubs)
    types = Types(len(module.types))
    constants = Constants(module, types, first_value)
    globals_ = _imported_globals(module, constants)
    gets = {index: init for index, (type_, init) in enumerate(globals_) if not type_.mutable}
    numeric = {index: init for index, init in gets.items() if globals_[index][0].value in _NUMBERS}
    return Sealed(
        module=module,
        stubs=stubs,
        types=types,
        constants=constants,
        tables=_tables(module, constants, gets, world.table_elements),
        memories=_memories(module, world.memory_pages),
        places=lay_out(len(stubs), world.args, world.env, world.stdin, output=_writes_output(stubs)),
        tags=[b"\x00" + u(tag.typeidx) for tag in module.all_tags],
        globals=[encode_globaltype(type_) + init + END for type_, init in globals_],
        own_globals=rewrite_globals(module, numeric),
        elements=rewrite_elements(module, numeric),
        data=rewrite_data(module, numeric),
    )


def _writes_output(stubs: Iterable[StubbedImport]) -> bool:
    return any(each.spec is not None and each.spec.output for each in stubs)


def _imported_globals(module: Module, constants: Constants) -> list[tuple[GlobalType, bytes]]:
    inits = []
    for each in module.imports:
        if isinstance(each.type, GlobalType):
            init = constants.value(each.type.value)
            if init is None:
                raise UnsealableError(f"the imported global {each.module!r} {each.name!r} has a type without a value")
            inits.append((each.type, init))
    return inits


def _tables(module: Module, constants: Constants, gets: Mapping[int, bytes], bound: int) -> list[bytes]:
    tables = []
    for each in module.imports:
        if isinstance(each.type, TableType):
            init = None if each.type.ref.nullable else constants.value(each.type.ref)
            if init is None and not each.type.ref.nullable:
                raise UnsealableError(f"the imported table {each.module!r} {each.name!r} has an element type without a value")
            tables.append(_table(each.type, None if init is None else init + END, bound))
    own = (_table(each.type, None if each.init is None else substitute_globals(each.init, gets), bound) for each in module.tables)
    return [*tables, *own]


def _table(type_: TableType, init: bytes | None, bound: int) -> bytes:
    bounded = encode_tabletype(TableType(type_.ref, _bounded(type_.limits, bound)))
    return bounded if init is None else b"\x40\x00" + bounded + init


def _memories(module: Module, bound_pages: int) -> list[bytes]:
    count = len(module.all_memories)
    if count >= MAX_MEMORIES:
        raise UnsealableError(f"the artifact has {count} memories, but the recorder needs one of {MAX_MEMORIES}")
    return [
        encode_memorytype(MemoryType(_bounded(each.limits, bound_pages << (PAGE_LOG2 - page_log2(each)))))
        for each in module.all_memories
    ]


def page_log2(type_: MemoryType) -> int:
    """Return the base-2 logarithm of a memory's page size in bytes."""
    log2 = type_.limits.page_size_log2
    return PAGE_LOG2 if log2 is None else log2


def _bounded(limits: Limits, bound: int) -> Limits:
    maximum = max(bound, limits.minimum)
    if limits.maximum is not None:
        maximum = min(maximum, limits.maximum)
    return msgspec.structs.replace(limits, maximum=maximum)


def extended(module: Module, id_: int, before: Iterable[bytes], after: Iterable[bytes]) -> Section:
    """Return the artifact's section with items added before and after its own."""
    existing = module.section(id_)
    count, content = (existing.vector()[0], existing.content()) if existing is not None else (0, b"")
    before, after = list(before), list(after)
    return section(id_, b"".join([u(count + len(before) + len(after)), *before, content, *after]))
