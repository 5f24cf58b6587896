"""Build a capsule from an artifact, its rows and its world.

The order of a capsule's functions: stubs (in place of imports), the artifact's functions, ``digest``, ``reserve``, ``record``,
``finish``, ``_start``, an extension's functions, those that describe references, value functions (``constants``).
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import import_calls as calls_
from diffcheck.capsule import layout as lo
from diffcheck.capsule.batch.batch_form import StateCopy
from diffcheck.capsule.batch.row_effects import unrestorable
from diffcheck.capsule.build_inputs import (
    BuildInputs,
    passed_types,
    plan_digest,
    recorded_tags,
    recorded_types,
    tested_elements,
    visible_globals,
)
from diffcheck.capsule.driver import Call, DriverCatch, DriverRanges, start
from diffcheck.capsule.forms import Capsule, Extension, Form
from diffcheck.capsule.printing import PLACEHOLDER, put_import
from diffcheck.capsule.recorder import functions as recorder
from diffcheck.capsule.recorder.reference_types import payload, probed_bodies
from diffcheck.capsule.recorder.references import References
from diffcheck.capsule.recorder.texts import CARRY_PRINT, MARK_START
from diffcheck.capsule.seal import Sealed, StubbedImport, World, extended, seal
from diffcheck.capsule.slicing.slice_form import TRAP
from diffcheck.capsule.stub_code import EXIT_EITHER, EXIT_TRAP, encode_dropped, encode_stub
from diffcheck.wasm import section as ids
from diffcheck.wasm.debug.names import function_names
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import sized, u
from diffcheck.wasm.module import Module
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.section import Section, section, vector_section, write
from diffcheck.wasm.types import FuncType, RefType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from diffcheck.capsule.slicing.slice_form import Slice
    from diffcheck.wasm.types import ValType


def first_extension(module: Module) -> int:
    """Return the index of an extension's first function."""
    return len(module.all_functions) + len(_OWN)


def functions_of_artifact(capsule: Module) -> range:
    """Return the functions of a capsule that are the artifact's or stubs, by funcidx."""
    start = next(each.index for each in capsule.exports if each.name == lo.ENTRY)
    return range(capsule.n_imported("func"), start - _OWN.index("_start"))


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
    return _build(BuildInputs(module, artifact_sha256, tuple(calls), world, form, extension, made))


def _build(inputs: BuildInputs) -> Capsule:
    module, globals_ = inputs.module, visible_globals(inputs.module, inputs.witness)
    first = first_extension(module) + inputs.n_extension
    roots, tested = tuple(recorded_types(inputs, globals_)), tested_elements(inputs)
    passed = any(passed_types(module))
    references = References(module, roots, inputs.form.references, first, tested, unwinds=inputs.form.unwinds, passes=passed)
    sealed = seal(module, inputs.world, first + references.count)
    return _Builder(inputs, sealed, references, globals_).capsule()


class _Builder:
    """Builds recorder and driver around a sealed artifact."""

    def __init__(self, inputs: BuildInputs, sealed: Sealed, references: References, globals_: Mapping[str, int]) -> None:
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
            tags=recorded_tags(inputs.artifact),
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
            None if self.module.start is None else section(ids.START, u(self.indices.finish)),
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
        mark = "" if self.module.start is None else MARK_START
        if form.records:
            view = extension is None and form.batch is None
            own = recorder.functions(self.layout, self.indices, names, carry, self.references, mark=mark, view=view)
        else:
            own = recorder.unrecorded(names, mark + (carry if form.prints else ""))
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
