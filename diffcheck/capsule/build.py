"""Build a capsule from an artifact, its rows and its world.

The order of a capsule's functions: stubs (in place of imports), the artifact's functions, ``digest``, ``reserve``, ``record``,
``finish``, ``_start``, an extension's functions, those that describe references, value functions (``constants``).
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from diffcheck.capsule import calls as calls_
from diffcheck.capsule import layout as lo
from diffcheck.capsule.batch.batch_form import Batch, StateCopy
from diffcheck.capsule.batch.restorable import unrestorable
from diffcheck.capsule.driver import Call, DriverCatch, DriverRanges, start
from diffcheck.capsule.printing import PLACEHOLDER, put_import
from diffcheck.capsule.recorder import functions as recorder
from diffcheck.capsule.recorder.reference_types import hierarchy, identities_can_differ, payload, probed_bodies, typed_elements
from diffcheck.capsule.recorder.references import FUNC, ReferenceForm, References
from diffcheck.capsule.recorder.texts import CARRY_PRINT
from diffcheck.capsule.seal import Sealed, StubbedImport, World, extended, seal
from diffcheck.capsule.slicing.slice_form import TRAP
from diffcheck.capsule.stub_code import EXIT_EITHER, EXIT_TRAP, encode_dropped, encode_stub
from diffcheck.wasm import section as ids
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import sized, u
from diffcheck.wasm.module import Module
from diffcheck.wasm.names import function_names, tag_names
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.section import Section, section, vector_section, write
from diffcheck.wasm.types import FuncType, RefType
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from diffcheck.capsule.constants import Types
    from diffcheck.capsule.recorder.reference_types import TypedElements
    from diffcheck.capsule.slicing.slice_form import Slice
    from diffcheck.observation import LeftSlice
    from diffcheck.wasm.types import ValType


class Form(msgspec.Struct, frozen=True):
    """The variant of a capsule, chosen once for a case. Only ``prints`` may differ between the engines.

    ``unwinds``: exits unwind by an exception, and exceptions are caught; otherwise an exit traps. ``references``: the recorded
    properties of references. ``log_row`` selects the logging form, which logs the calls of imports in that record's row
    (``calls``). ``prints`` is for an engine that runs WASI commands: the capsule imports ``fd_write`` and prints its recorder
    memory. Without ``records`` the capsule has the unrecorded form, which only calls the rows. ``batch`` selects the batch form.
    """

    unwinds: bool = True
    references: ReferenceForm = "described"
    log_row: int | None = None
    prints: bool = False
    records: bool = True
    batch: Batch | None = None


class Capsule(msgspec.Struct, frozen=True):
    """A capsule: ``wasm`` without parameters, their file offset, the stream's layout, and the form.

    ``logging`` builds the logging form for a record, ``unrecorded`` the unrecorded form. ``identified`` builds the identity form
    (``references``); None if functions cannot be confused with each other. ``batch`` builds the batch form, and ``unrestorable``
    are the rows that can only be the last ones of a batch; None if there is no batch form.
    """

    wasm: bytes
    parameters_offset: int
    layout: lo.Layout
    sha256: str
    may_exit: bool
    logging: Callable[[int], Capsule]
    identified: Callable[[], Capsule | None]
    unrecorded: Callable[[], Capsule]
    batch: Callable[[Batch], Capsule]
    unrestorable: Callable[[], frozenset[int] | None]
    form: Form

    def with_parameters(self, parameters: lo.Parameters) -> bytes:
        """Return the capsule's bytes for one pass."""
        encoded = parameters.encode()
        return self.wasm[: self.parameters_offset] + encoded + self.wasm[self.parameters_offset + len(encoded) :]


class Extension(Protocol):
    """Additional functions of a capsule, and artifact bodies that call them. They write the view instead of ``finish``.

    Their indices begin at ``first_extension``. The first function is called at the beginning of ``_start``.
    """

    @property
    def count(self) -> int:
        """The number of functions."""
        ...

    @property
    def tables(self) -> list[bytes]:
        """The types of additional tables, at most one: the symbol ``seen_objects``."""
        ...

    def bodies(self) -> list[bytes]:
        """Return code entries that replace all of the artifact's."""
        ...

    def functions(self, types: Types, symbols: Mapping[str, int], *, unwind: bool) -> list[tuple[int, bytes]]:
        """Return the typeidx and the code entry of each function. ``symbols`` are the recorder's."""
        ...

    def carry(self, slots: range, rec: int) -> bytes:
        """Return instructions that copy header and view to the slot globals, in place of ``recorder.carry_words``."""
        ...


def first_extension(module: Module) -> int:
    """Return the index of an extension's first function."""
    return len(module.all_functions) + len(_OWN)


def build(
    module: Module,
    artifact_sha256: str,
    calls: Sequence[Call],
    world: World,
    form: Form = Form(),  # noqa: B008 - frozen
    *,
    extension: Extension | None = None,
    made: Slice | None = None,
) -> Capsule:
    """Build the capsule of ``module`` that calls ``calls`` (init rows first) in ``world``.

    The artifact must be valid: the oracle validates it first. ``extension`` replaces the artifact's bodies without changing the
    stream. ``made`` is the slice that ``module`` is, or is a form of. Raises ``UnsealableError`` if the artifact cannot have a
    capsule, ``CaseError`` if the world is too large.
    """
    return _build(_Inputs(module, artifact_sha256, tuple(calls), world, form, extension, made))


class _Inputs(msgspec.Struct, frozen=True, dict=True):
    """The arguments of ``build``."""

    module: Module
    artifact_sha256: str
    calls: tuple[Call, ...]
    world: World
    form: Form
    extension: Extension | None
    slice: Slice | None

    @property
    def artifact(self) -> Module:
        """The module that is run; of a slice the module that was sliced, which has all names and all code."""
        return self.slice.whole if self.slice is not None else self.module

    @cached_property
    def dropped(self) -> dict[int, LeftSlice]:
        """The outcomes of rows that enter stubs of the slice, by the stub's funcidx."""
        return self.slice.dropped() if self.slice is not None else {}

    @cached_property
    def witness(self) -> formats.Instrumentation:
        """The items that witness added to the artifact."""
        return formats.instrumentation(self.module)

    @cached_property
    def identities_can_differ(self) -> bool:
        """Whether references to functions can be confused with each other."""
        return identities_can_differ(self.artifact)

    @property
    def n_extension(self) -> int:
        """The number of the extension's functions."""
        return self.extension.count if self.extension is not None else 0


def _build(inputs: _Inputs) -> Capsule:
    module, globals_ = inputs.module, _visible_globals(inputs.module, inputs.witness)
    first = first_extension(module) + inputs.n_extension
    roots, tested = tuple(_roots(inputs, globals_)), _tested(inputs)
    passed = any(_passed(module))
    references = References(module, roots, inputs.form.references, first, tested, unwinds=inputs.form.unwinds, passes=passed)
    sealed = seal(module, inputs.world, first + references.count)
    return _Builder(inputs, sealed, references, globals_).capsule()


def _tested(inputs: _Inputs) -> dict[int, tuple[TypedElements, ...]]:
    """Return the elements of each table whose function types are tested; none if the identity form compares them."""
    if inputs.form.references != "described":
        return {}
    elements = ((table, typed_elements(inputs.module, table)) for table in range(len(inputs.module.all_tables)))
    tested = {table: runs for table, runs in elements if runs}
    return {} if tested and inputs.identities_can_differ else tested


def _visible_globals(module: Module, witness: formats.Instrumentation) -> dict[str, int]:
    """Return the globals visible to a host, by name: exported globals except witness's, and imported mutable globals."""
    own = {index for index, _ in witness.counters.values()} | {*witness.brvals.values(), *witness.brcnts.values()}
    exported = {each.name: each.index for each in module.exports if each.kind == "global" and each.index not in own}
    excluded = {*exported.values()} | own
    mutable = {
        f"{each.module} {each.name} (imported, {index})": index
        for index, each in enumerate(each for each in module.imports if each.kind == "global")
        if index not in excluded and module.all_globals[index].mutable
    }
    return mutable | exported


def _roots(inputs: _Inputs, globals_: Mapping[str, int]) -> Iterator[ValType]:
    """Yield the types of all recorded values."""
    module = inputs.module
    if inputs.extension is not None and inputs.form.references == "identified":
        yield FUNC
    for each in inputs.calls:
        yield from each.type.results
    yield from _passed(module)
    yield from (module.all_globals[index].value for index in globals_.values())
    kinds = (each.ref for each in module.all_tables)
    yield from (each for each in kinds if inputs.form.references == "identified" or hierarchy(module, each) != "func")
    for tag in module.all_tags if inputs.form.unwinds else ():
        yield from payload(module, tag.typeidx)


def _passed(module: Module) -> Iterator[RefType]:
    """Yield the types of references that imports receive."""
    for index in range(module.n_imported("func")):
        yield from (each for each in module.function_type(index).params if isinstance(each, RefType))


class _Builder:
    """Builds recorder and driver around a sealed artifact."""

    def __init__(self, inputs: _Inputs, sealed: Sealed, references: References, globals_: Mapping[str, int]) -> None:
        self.inputs, self.form = inputs, inputs.form
        self.sealed, self.references, self.globals = sealed, references, globals_
        self.module, self.rec = inputs.module, sealed.rec
        self.witness = inputs.witness
        self.first_own = len(inputs.module.all_functions)
        first_slot = len(inputs.module.all_globals)
        self.slots = range(first_slot, first_slot + lo.SLOTS)
        self.copy = self._state_copy()
        self.throws = bool(sealed.may_exit or inputs.dropped or inputs.extension) and inputs.form.unwinds
        self.layout = self._layout()
        self.indices = self._indices()
        self.symbols = self._symbols()

    def _state_copy(self) -> StateCopy | None:
        """Return the copy of the state in the batch form; its items follow all others."""
        if self.form.batch is None:
            return None
        first_table = len(self.module.all_tables) + len(self.references.tables())
        return StateCopy(self.sealed, self.form.batch, first_table, self.slots.stop - lo.SLOTS * self.form.prints)

    def _layout(self) -> lo.Layout:
        module, witness, inputs = self.module, self.witness, self.inputs
        memories = [
            lo.Memory(index, each.limits.is64)
            for index, each in enumerate(module.all_memories)
            if index != witness.trace and each.limits.page_size_log2 is None
        ]
        rows = [
            lo.RowLayout(each.name, tuple(map(recorder.kind_of, each.type.results)), each.init, each.expected)
            for each in inputs.calls
        ]
        return lo.Layout(
            rows=tuple(rows),
            stubs=tuple(each.stub for each in self.sealed.stubs),
            branches=witness.branches,
            counters=tuple(witness.counters),
            globals=tuple((name, recorder.kind_of(module.all_globals[index].value)) for name, index in self.globals.items()),
            tables=len(module.all_tables),
            memories=tuple(memories),
            digest_pages=inputs.world.digest_pages,
            plan_digest=plan_digest(inputs.artifact_sha256, inputs.calls, inputs.world),
            has_trace=witness.trace is not None,
            has_output=self.sealed.writes_output,
            known_answer=recorder.KNOWN_ANSWER,
            tags=_tags(inputs.artifact),
            log_row=self.form.log_row,
            objects=self.references.objects,
            described=self.references.described,
            functions=function_names(inputs.artifact) if self.references.identified else {},
            dropped=inputs.dropped,
        )

    def _indices(self) -> recorder.Indices:
        module, witness, own = self.module, self.witness, self.first_own
        return recorder.Indices(
            rec=self.rec,
            digest=own,
            reserve=own + 1,
            record=own + 2,
            finish=own + 3,
            trace=witness.trace,
            counters=tuple(witness.counters.values()),
            brvals=tuple(witness.brvals[each] for each in witness.branches),
            brcnts=tuple(witness.brcnts[each] for each in witness.branches),
            globals=tuple((index, module.all_globals[index].value) for index in self.globals.values()),
            tables=module.all_tables,
        )

    def _symbols(self) -> dict[str, int]:
        symbols = recorder.symbols(self.layout, self.sealed.places, self.indices)
        symbols |= self.references.symbols()
        symbols["seen_objects"] = len(self.module.all_tables) + len(self.references.tables())
        symbols |= {
            "PLAN": self.layout.plan_digest,
            "FINAL_SIZE": self.layout.final_size,
            "exit": len(self.module.all_tags),
        }
        if self.witness.row_reset is not None:
            symbols["row_reset"] = self.witness.row_reset
        if self.witness.trace_reset is not None:
            symbols["trace_reset"] = self.witness.trace_reset
        return symbols

    def capsule(self) -> Capsule:
        """Build all sections. The type section is created last, since others add types."""
        sealed, types, prints = self.sealed, self.sealed.types, self.form.prints
        fd_write_type = types.function(("i32", "i32", "i32", "i32"), ("i32",)) if prints else 0
        describers = self.references.functions(types, sealed.constants, self.symbols)
        extension = self.inputs.extension
        added = extension.functions(types, self.symbols, unwind=self.form.unwinds) if extension is not None else []
        code = self._code([entry for _, entry in (*added, *describers)])
        functions = sealed.function_section([*self._own_types(), *(typeidx for typeidx, _ in (*added, *describers))])
        exit_tag = [b"\x00" + u(types.function((), ()))] if self.throws else []
        slots, copy = [_SLOT] * (0 if prints else lo.SLOTS), self.copy
        tables = copy.tables() if copy else extension.tables if extension else ()
        body = [
            functions,
            vector_section(ids.TABLE, [*sealed.tables, *self.references.tables(), *tables]),
            vector_section(ids.MEMORY, [*sealed.memories, self._recorder_memory(), *([copy.memory()] if copy else ())]),
            vector_section(ids.TAG, [*sealed.tags, *exit_tag]),
            sealed.global_section([*slots, *(copy.globals() if copy else ())]),
            vector_section(ids.EXPORT, self._exports()),
            sealed.element_section(exports=False),
            *sealed.data_count_sections(),
            code,
        ]
        data, parameters_at = sealed.data_section()
        head = write([each for each in [sealed.type_section(), *body] if each is not None])
        wasm = b"".join([head, write([data])[8:], write(sealed.custom_sections())[8:]])
        offset = len(head) + 1 + len(u(len(data.payload))) + parameters_at
        if prints:
            wasm, offset = put_import(wasm, fd_write_type)
        return Capsule(
            wasm=wasm,
            parameters_offset=offset,
            layout=self.layout,
            sha256=hashlib.sha256(wasm).hexdigest(),
            may_exit=sealed.may_exit,
            logging=self._logging,
            identified=lambda: self._identified,
            unrecorded=self._unrecorded,
            batch=lambda batch: self._in_form(msgspec.structs.replace(self.form, batch=batch)),
            unrestorable=lambda: unrestorable(self.module, self.inputs.calls),
            form=self.form,
        )

    def _logging(self, row: int) -> Capsule:
        return self._in_form(msgspec.structs.replace(self.form, log_row=row))

    @cached_property
    def _identified(self) -> Capsule | None:
        if not self.references.described or not self.inputs.identities_can_differ:
            return None
        return self._in_form(msgspec.structs.replace(self.form, references="identified", log_row=None))

    def _unrecorded(self) -> Capsule:
        return self._in_form(msgspec.structs.replace(self.form, references="nullness", log_row=None, records=False))

    def _in_form(self, form: Form) -> Capsule:
        return _build(msgspec.structs.replace(self.inputs, form=form))

    def _own_types(self) -> list[int]:
        """Return the typeidx of each function in ``_OWN``."""
        function = self.sealed.types.function
        return [
            function(("i32", "i32", "i32"), ()),
            function(("i32",), ("i32",)),
            function(("i32", "i32"), ("i32",)),
            function((), ()),
            function((), ()),
        ]

    def _recorder_memory(self) -> bytes:
        fixed = self.sealed.places.stream + self.layout.heap_offset(0, len(self.inputs.calls))
        pages = (fixed + lo.PAGE - 1) // lo.PAGE + 1
        return b"\x00" + u(pages)

    def _exports(self) -> list[bytes]:
        exports = [
            encode_export(lo.ENTRY, "func", self.first_own + _OWN.index("_start")),
            encode_export(lo.AFTER_TRAP_EXPORT, "func", self.indices.finish),
            encode_export("memory" if self.form.prints else lo.MEMORY_EXPORT, "memory", self.rec),
        ]
        return exports if self.form.prints else exports + _slot_exports(self.slots)

    def _code(self, added: Sequence[bytes]) -> Section:
        form, extension = self.form, self.inputs.extension
        carry = CARRY_PRINT if form.prints else "raw $carry"
        if form.batch is not None:
            carry = recorder.carry_keys(len(form.batch.ranges), carry)
        words = recorder.carry_words(self.slots, self.rec) if extension is None else extension.carry(self.slots, self.rec)
        names: dict[str, int | bytes] = {**self.symbols, "carry": words, "fd_write": PLACEHOLDER}
        if form.records:
            view = extension is None and form.batch is None
            own = recorder.functions(self.layout, self.indices, names, carry, self.references, view=view)
        else:
            own = recorder.unrecorded(names, carry if form.prints else "")
        stubs = [self._stub(each) for each in self.sealed.stubs]
        after = [*own, self._start(), *added, *self.sealed.constants.function_bodies(self._prologue)]
        if extension is None and not self.references.identified and not self.inputs.dropped:
            return extended(self.module, ids.CODE, stubs, after)
        count = len(stubs) + len(self.module.functions) + len(after)
        bodies = probed_bodies(self.module, self._prologue, self._bodies())
        return section(ids.CODE, b"".join([u(count), *stubs, bodies, *after]))

    def _bodies(self) -> Iterator[bytes]:
        """Yield the bodies of the artifact's functions. Those of a slice's stubs trap at their end, and leave the slice instead."""
        extension, dropped = self.inputs.extension, self.inputs.dropped
        own = (body for _, body in self.module.body_bytes()) if extension is None else extension.bodies()
        for funcidx, body in enumerate(own, self.module.n_imported("func")):
            if funcidx in dropped:
                yield body.removesuffix(TRAP) + encode_dropped(funcidx, self.symbols, self._exit_text) + END
            else:
                yield body

    @property
    def _exit_text(self) -> str:
        return EXIT_EITHER if self.form.unwinds else EXIT_TRAP

    def _start(self) -> bytes:
        """Return the code entry of the driver."""
        form = self.form
        catches = form.unwinds and bool(self.module.all_tags or self.throws)
        tags = [self._tag_block(each.typeidx) for each in self.module.all_tags] if catches else []
        return start(
            self.inputs.calls,
            self.symbols,
            self.references,
            catch=DriverCatch(exits=self.throws, tags=tuple(tags)) if catches else None,
            begin=None if self.inputs.extension is None else first_extension(self.module),
            log_calls=form.log_row is not None,
            records=form.records,
            ranges=DriverRanges(form.batch.ranges, self.copy.save(), self.copy.restore()) if form.batch and self.copy else None,
        )

    def _prologue(self, funcidx: int, type_: FuncType) -> bytes:
        made = self.inputs.slice
        identity = funcidx if made is None else made.original(funcidx)
        return self.references.prologue(identity, type_, self.sealed.constants, self.rec)

    def _tag_block(self, typeidx: int) -> tuple[int, tuple[ValType, ...]]:
        """Return the typeidx of a block that returns a tag's payload, and the payload's types."""
        kinds = payload(self.module, typeidx)
        return self.sealed.types.function((), kinds), kinds

    def _stub(self, stub: StubbedImport) -> bytes:
        log = self.form.log_row is not None
        return encode_stub(
            self.sealed,
            stub,
            self.symbols,
            self._exit_text,
            prologue=self._prologue(stub.stub.index, stub.type),
            note=calls_.note(tuple(map(recorder.kind_of, stub.type.params)), stub.inputs, log=log),
            note_words=[self.references.passed(each) if isinstance(each, RefType) else b"" for each in stub.type.params],
            note_locals=(*(calls_.LOCALS if stub.inputs else ()), *(calls_.LOG_LOCAL if log else ())),
        )


_OWN: Final = ("digest", "reserve", "record", "finish", "_start")


@lru_cache(maxsize=1024)  # small artifacts share few numbers of globals
def _slot_exports(slots: range) -> list[bytes]:
    return [name + u(index) for name, index in zip(_SLOT_NAMES, slots, strict=True)]


_SLOT_NAMES: Final = tuple(sized(f"{lo.SLOT_PREFIX}{lo.FIRST_SLOT + at}".encode()) + b"\x03" for at in range(lo.SLOTS))
_SLOT: Final = b"\x7e\x01\x42\x00\x0b"  # a mutable i64, zero


def _tags(module: Module) -> tuple[lo.Tag, ...]:
    """Return the artifact's tags, named by export, import or name section."""
    if not module.all_tags:
        return ()
    exported = {each.index: each.name for each in reversed(module.exports) if each.kind == "tag"}
    imported = [f"{each.module}.{each.name}" for each in module.imports if each.kind == "tag"]
    names = {**tag_names(module), **dict(enumerate(imported)), **exported}
    payloads = [payload(module, each.typeidx) for each in module.all_tags]
    return tuple(lo.Tag(names.get(at, ""), tuple(map(recorder.kind_of, each))) for at, each in enumerate(payloads))


def plan_digest(artifact_sha256: str, calls: Sequence[Call], world: World) -> int:
    """Return a 64-bit key of what is run: artifact, rows, world and the recorder's version; equal on both engines."""
    rows = [
        (each.name, each.function, [(value.type, str(value.bits)) for value in each.args], each.init, each.reads) for each in calls
    ]
    plan = msgspec.json.encode([lo.VERSION, artifact_sha256, rows, world])
    return int.from_bytes(hashlib.sha256(plan).digest()[:8], "little")


__all__ = ["Call", "Capsule", "Extension", "Form", "World", "build", "first_extension", "plan_digest"]
