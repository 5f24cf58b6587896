"""Closing an artifact's imports: every one becomes a defined item, put before the artifact's own, so that no index changes.

Imports come first in every index space (core specification 2.5.1); defined items put before the artifact's keep all indices,
and no code byte is touched. What an import is given: a stub for a function, the type's zero for a global, an empty memory or
table of the imported type, the tag itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.binding import Binder, Bound
from diffcheck.capsule.layout import COMPARED, Stub
from diffcheck.capsule.recorder import kind_of
from diffcheck.capsule.stubs import OUT_OF_SCOPE, Input, Spec, find, inputs, out_of_scope, why_none
from diffcheck.errors import UnsealableError
from diffcheck.wasm.constexpr import substitute_globals
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import rewrite_data, rewrite_elements, rewrite_globals
from diffcheck.wasm.types import (
    FuncType,
    GlobalType,
    Limits,
    MemoryType,
    TableType,
    TagType,
    encode_globaltype,
    encode_memorytype,
    encode_tabletype,
    encode_valtype,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.capsule.constants import Constants
    from diffcheck.wasm.externs import Import
    from diffcheck.wasm.module import Module

MAX_MEMORIES: Final = 100  # wasmtime 50 refuses the 101st, and the recorder needs one
PAGE_LOG2: Final = 16
_END = b"\x0b"
_NUMBERS: Final = frozenset({"i32", "i64", "f32", "f64", "v128"})


class Bounds(msgspec.Struct, frozen=True):
    """The maximum of memories (in 64 KiB pages) and of tables (in elements) that have none, or a larger one, of their own."""

    memory_pages: int = 4096
    table_elements: int = 100_000


class Closed(msgspec.Struct, frozen=True):
    """An import of a function as it is closed: its place, its type, and the functional stub if there is one.

    ``bound`` is the memory and the realloc that the functional stub works with, ``inputs`` are the bytes in it that are compared.
    """

    stub: Stub
    type: FuncType
    typeidx: int
    spec: Spec | None
    bound: Bound = Bound()
    inputs: tuple[Input, ...] = ()


def check_scope(module: Module) -> None:
    """Raise ``UnsealableError`` where functions of the asynchronous component model are imported: zeros would be no answers."""
    for each in module.imports:
        if each.kind == "func" and (why := out_of_scope(each.module, each.name)):
            raise UnsealableError(f"{OUT_OF_SCOPE}: it imports {each.module} {each.name}; {why}", hint="build it for wasi 0.2")


def close_functions(module: Module, unknown: str) -> tuple[Closed, ...]:
    """Give each imported function its stub; ``unknown`` is ``zero`` or ``trap``, for those without a functional stub.

    A function that is known, but cannot do here what it should, gets a trap stub with the reason: answering as if it had would
    be a guess.
    """
    binder = Binder(module)
    imports = [each for each in module.imports if each.kind == "func"]
    return tuple(_close(module, binder, index, each, unknown) for index, each in enumerate(imports))


def _close(module: Module, binder: Binder, index: int, import_: Import, unknown: str) -> Closed:
    type_ = module.function_type(index)
    name = import_.module, import_.name
    spec = find(*name, tuple(map(kind_of, type_.params)), tuple(map(kind_of, type_.results)))
    kind, reason, bound = ("functional", "", Bound()) if spec is not None else (unknown, why_none(*name), Bound())
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
    return Closed(stub, type_, module.all_functions[index], spec, bound, passed if buffers == COMPARED else ())


def signature(type_: FuncType) -> str:
    """Give a function type in the text format's words: ``(param i32 i32) (result i32)``."""
    parts = [
        f"({word} {' '.join(each if isinstance(each, str) else _ref(each) for each in values)})"
        for word, values in (("param", type_.params), ("result", type_.results))
        if values
    ]
    return " ".join(parts)


def _ref(type_: object) -> str:
    heap, nullable = getattr(type_, "heap", "?"), getattr(type_, "nullable", True)
    return f"(ref {'null ' if nullable else ''}{heap})"


class Sealed:
    """The contents of the sections that sealing changes, each as (count, content); see ``capsule.build`` for the rest."""

    def __init__(self, module: Module, constants: Constants, bounds: Bounds) -> None:
        self._module, self._constants, self._bounds = module, constants, bounds
        self._inits = self._global_inits()
        self._gets = {index: init for index, (type_, init) in enumerate(self._inits) if not type_.mutable}
        numeric = {index: init for index, init in self._gets.items() if self._inits[index][0].value in _NUMBERS}
        self.tables = self._tables()
        self.memories = self._memories()
        self.tags = [b"\x00" + u(tag.typeidx) for tag in module.all_tags]
        self.globals = [encode_globaltype(type_) + init + _END for type_, init in self._inits]
        self.defined_globals = rewrite_globals(module, numeric)
        self.elements = rewrite_elements(module, numeric)
        self.data = rewrite_data(module, numeric)

    def _global_inits(self) -> list[tuple[GlobalType, bytes]]:
        inits = []
        for each in self._module.imports:
            if isinstance(each.type, GlobalType) and each.kind == "global":
                init = self._constants.value(each.type.value)
                if init is None:
                    raise UnsealableError(f"no value exists for the imported global {each.module!r} {each.name!r}")
                inits.append((each.type, init))
        return inits

    def _tables(self) -> list[bytes]:
        tables = [
            self._table(each.type, self._table_init(each.type, f"{each.module!r} {each.name!r}"))
            for each in self._module.imports
            if isinstance(each.type, TableType)
        ]
        for table in self._module.tables:
            init = None if table.init is None else substitute_globals(table.init, self._gets)
            tables.append(self._table(table.type, init))
        return tables

    def _table_init(self, type_: TableType, name: str) -> bytes | None:
        if type_.ref.nullable:
            return None
        init = self._constants.value(type_.ref)
        if init is None:
            raise UnsealableError(f"no value exists for the elements of the imported table {name}")
        return init + _END

    def _table(self, type_: TableType, init: bytes | None) -> bytes:
        bounded = TableType(type_.ref, _bounded(type_.limits, self._bounds.table_elements))
        return encode_tabletype(bounded) if init is None else b"\x40\x00" + encode_tabletype(bounded) + init

    def _memories(self) -> list[bytes]:
        memories = []
        if len(self._module.all_memories) >= MAX_MEMORIES:
            raise UnsealableError(
                f"the artifact has {len(self._module.all_memories)} memories, and the recorder needs one of {MAX_MEMORIES}"
            )
        for memory in self._module.all_memories:
            log2 = memory.limits.page_size_log2
            pages = self._bounds.memory_pages << (PAGE_LOG2 - (PAGE_LOG2 if log2 is None else log2))
            memories.append(encode_memorytype(MemoryType(_bounded(memory.limits, pages))))
        return memories


def _bounded(limits: Limits, bound: int) -> Limits:
    maximum = max(bound, limits.minimum)
    if limits.maximum is not None:
        maximum = min(maximum, limits.maximum)
    return msgspec.structs.replace(limits, maximum=maximum)


def zero_body(type_: FuncType, constants: Constants) -> bytes:
    """Give the instructions of a zero stub: a value for each result, or a trap where a result has none."""
    values = [constants.value(result) for result in type_.results]
    if any(value is None for value in values):
        return b"\x00"
    return b"".join(value for value in values if value is not None)


def without_imports(mapping: Mapping[str, int]) -> dict[str, int]:
    """Give a copy, for symbols that stubs add to."""
    return dict(mapping)


__all__ = ["Bounds", "Closed", "Sealed", "TagType", "check_scope", "close_functions", "encode_valtype", "signature", "zero_body"]
