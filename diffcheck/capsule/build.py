"""From an artifact, its rows and its world to a capsule: the one place that puts all parts together.

Function indices of a capsule: the stubs where the imports were, the artifact's own, then ``digest``, ``reserve``, ``record``,
``finish``, ``_start``, then an extension's, those that describe references, those that only exist to be a reference's value.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from diffcheck import witness
from diffcheck.capsule import calls as calls_
from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map, recorder
from diffcheck.capsule.constants import Constants, Types, i32_const, i64_const
from diffcheck.capsule.driver import Call, Catch, start
from diffcheck.capsule.printing import PLACEHOLDER, put_import
from diffcheck.capsule.reference_types import hierarchy, identities_can_differ, referenced_functions
from diffcheck.capsule.references import ReferenceForm, References
from diffcheck.capsule.seal import PAGE_LOG2, Bounds, Closed, Sealed, check_scope, close_functions, zero_body
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.code import read_locals
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import u
from diffcheck.wasm.names import function_names, tag_names
from diffcheck.wasm.section import Section, section, write
from diffcheck.wasm.types import FuncType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from diffcheck.capsule.binding import Bound
    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType

_ELEMENT_ENTRIES: Final = 4096  # kilnd 0.4.4 refuses a longer segment
_REF_FUNC: Final = b"\xd2"
_END = b"\x0b"
DROPPED: Final = (".debug_", "metadata.code.", "reloc.", "linking", "dylink", "external_debug_info", "sourceMappingURL")


class World(msgspec.Struct, frozen=True):
    """What a case gives its program: arguments, environment, stdin; and the bounds that memories and tables get."""

    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    stdin: bytes = b""
    bounds: Bounds = Bounds()
    digest_pages: int = 1024
    unknown_stubs: str = "zero"


class Capsule(msgspec.Struct, frozen=True):
    """A capsule: ``wasm`` with the parameters of no pass, where those stand in the file, and the stream's layout.

    ``logging`` makes its logging form, in which the calls of imports of a record's row are logged (``calls``); ``identified`` its
    identity form (``references``), None where no function can be at the place of another one. ``unwinds`` is whether a program
    that exits unwinds by an exception; else it traps.
    """

    wasm: bytes
    parameters_offset: int
    layout: lo.Layout
    sha256: str
    may_exit: bool
    logging: Callable[[int], Capsule]
    identified: Callable[[], Capsule | None]
    unwinds: bool = True

    def with_parameters(self, parameters: lo.Parameters) -> bytes:
        """The capsule's bytes for one pass."""
        encoded = parameters.encode()
        return self.wasm[: self.parameters_offset] + encoded + self.wasm[self.parameters_offset + len(encoded) :]


class Extension(Protocol):
    """Functions that a capsule has besides its own, and artifact bodies that call them; they write the view, instead of ``finish``.

    ``count`` is how many they are, the first of them is called at the beginning of ``_start``. Their index begins at
    ``first_extension``.
    """

    @property
    def count(self) -> int:
        """How many functions they are."""
        ...

    def bodies(self) -> bytes:
        """The artifact's code entries one after the other, as many as it has."""
        ...

    def functions(self, types: Types, symbols: Mapping[str, int], *, unwind: bool) -> list[tuple[int, bytes]]:
        """The typeidx and the code entry of each function; ``symbols`` are the recorder's."""
        ...

    def carry(self, slots: range, rec: int) -> bytes:
        """Instructions that copy header and view into the slot globals, instead of ``recorder.carry_words``."""
        ...


def first_extension(module: Module) -> int:
    """The function index of an extension's first function."""
    return len(module.all_functions) + len(_OWN)


def build(  # noqa: PLR0913 - the parts of a form
    module: Module,
    artifact_sha256: str,
    calls: Sequence[Call],
    world: World,
    *,
    unwind: bool = True,
    prints: bool = False,
    references: ReferenceForm = "described",
    extension: Extension | None = None,
    log_row: int | None = None,
) -> Capsule:
    """The capsule of ``module`` that drives ``calls`` (init rows first) in ``world``.

    ``unwind`` is False for an engine without exceptions: a program that exits traps then. ``prints`` is for an engine that runs
    a WASI command: the capsule imports ``fd_write`` and prints its recorder memory. Raises ``UnsealableError`` for what
    has no capsule, ``CaseError`` for a world that is too large. The artifact has to be valid: the oracle says so beforehand.
    ``references`` is what is recorded of references. ``extension`` rewrites the artifact's bodies; the stream stays the same.
    ``log_row`` makes the logging form, in which the calls of imports of that record's row are logged.
    """
    builder = Builder(
        module, artifact_sha256, calls, world,
        unwind=unwind, prints=prints, references=references, extension=extension, log_row=log_row,
    )  # fmt: skip
    return builder.capsule()


class Builder:
    """Puts a capsule together; what the sealed artifact (``closed``) has in common with it is inherited."""

    compares_calls = True

    def __init__(  # noqa: PLR0913 - as above
        self,
        module: Module,
        artifact_sha256: str,
        calls: Sequence[Call],
        world: World,
        *,
        unwind: bool,
        prints: bool,
        references: ReferenceForm = "described",
        extension: Extension | None = None,
        log_row: int | None = None,
    ) -> None:
        self.module, self.artifact_sha256, self.calls, self.world = module, artifact_sha256, calls, world
        self.unwind, self.prints, self.extension = unwind, prints, extension
        self.witness = witness.instrumentation(module)
        check_scope(module)
        self.closed = close_functions(module, world.unknown_stubs)
        self.may_exit = any(each.spec is not None and each.spec.exits for each in self.closed)
        self.log_row = log_row
        self.output = any(each.spec is not None and each.spec.output for each in self.closed)
        self.types = Types(len(module.types))
        self.first_own = len(module.all_functions)
        self.exported = self._exported_globals()
        self.references = References(
            module, self._roots(identified=references == "identified"), references, self.first_own + len(_OWN) + self._extra()
        )
        self.values: list[int] = []  # the typeidx of functions that are only a reference's value
        self.added: list[tuple[int, bytes]] = []
        self.value_of: dict[int, int] = {}
        self.constants = Constants(module, self.types, self._function_of, self.first_own)
        self.sealed = Sealed(module, self.constants, world.bounds)
        self.rec = len(module.all_memories)
        self.places = memory_map.lay_out(len(self.closed), world.args, world.env, world.stdin, output=self.output)
        self.layout = self._layout()
        self.indices = self._indices()
        self.symbols = self._symbols()

    def _function_of(self, typeidx: int) -> int:
        if typeidx not in self.value_of:
            before = self._extra() + self.references.count
            self.value_of[typeidx] = self.first_own + len(_OWN) + before + len(self.values)
            self.values.append(typeidx)
        return self.value_of[typeidx]

    def _extra(self) -> int:
        return self.extension.count if self.extension is not None else 0

    def _exported_globals(self) -> dict[str, int]:
        """The artifact's own exported globals: name to index."""
        found = self.witness
        own = {index for index, _ in found.counters.values()} | {*found.brvals.values(), *found.brcnts.values()}
        return {each.name: each.index for each in self.module.exports if each.kind == "global" and each.index not in own}

    def _roots(self, *, identified: bool) -> Iterator[ValType]:
        """The types of all that is recorded and may be a reference."""
        for each in self.calls:
            yield from each.type.results
        yield from (self.module.all_globals[index].value for index in self.exported.values())
        kinds = (each.ref for each in self.module.all_tables)
        yield from (each for each in kinds if identified or hierarchy(self.module, each) != "func")
        for tag in self.module.all_tags if self.unwind else ():
            yield from _payload(self.module, tag.typeidx)

    def _layout(self) -> lo.Layout:
        module, found = self.module, self.witness
        memories = [
            lo.Memory(index, each.limits.is64)
            for index, each in enumerate(module.all_memories)
            if index != found.trace and each.limits.page_size_log2 is None
        ]
        rows = [lo.RowLayout(each.name, tuple(map(recorder.kind_of, each.type.results)), each.init) for each in self.calls]
        return lo.Layout(
            rows=tuple(rows),
            stubs=tuple(each.stub for each in self.closed),
            branches=found.branches,
            counters=tuple(found.counters),
            globals=tuple((name, recorder.kind_of(module.all_globals[index].value)) for name, index in self.exported.items()),
            tables=len(module.all_tables),
            memories=tuple(memories),
            digest_pages=self.world.digest_pages,
            plan_digest=plan_digest(self.artifact_sha256, self.calls, self.world),
            has_trace=found.trace is not None,
            has_output=self.output,
            known_answer=recorder.KNOWN_ANSWER,
            tags=_tags(module),
            log_row=self.log_row,
            objects=self.references.objects,
            described=self.references.described,
            functions=function_names(module) if self.references.identified else {},
        )

    def _indices(self) -> recorder.Indices:
        module, found, own = self.module, self.witness, self.first_own
        return recorder.Indices(
            rec=self.rec,
            digest=own,
            reserve=own + 1,
            record=own + 2,
            finish=own + 3,
            trace=found.trace,
            counters=tuple(found.counters.values()),
            brvals=tuple(found.brvals[each] for each in found.branches),
            brcnts=tuple(found.brcnts[each] for each in found.branches),
            globals=tuple((index, module.all_globals[index].value) for index in self.exported.values()),
            tables=module.all_tables,
        )

    def _symbols(self) -> dict[str, int]:
        symbols = recorder.symbols(self.layout, self.places, self.indices)
        symbols |= self.references.symbols()
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
        """All sections in their order; the types come last of all, since others add to them."""
        self.fd_write_type = self.types.function(("i32", "i32", "i32", "i32"), ("i32",)) if self.prints else 0
        code = self._code()
        functions = self._function_types()
        data, parameters_at = self._data()
        body = [
            self._vector(ids.FUNCTION, (u(each.typeidx) for each in self.closed), functions),
            self._plain(ids.TABLE, [*self.sealed.tables, *self.references.tables()]),
            self._plain(ids.MEMORY, [*self.sealed.memories, self._recorder_memory()]),
            self._plain(ids.TAG, [*self.sealed.tags, *self._exit_tag()]),
            self._globals(),
            self._plain(ids.EXPORT, self._exports()),
            self._elements(),
            *self._data_count(),
            code,
        ]
        customs = [each for each in self.module.sections if each.id == ids.CUSTOM and not each.name.startswith(DROPPED)]
        sections = [each for each in [self._type_section(), *body] if each is not None]
        head = write(sections)
        wasm = b"".join([head, write([data])[8:], write(customs)[8:]])
        offset = len(head) + 1 + len(u(len(data.payload))) + parameters_at
        if self.prints:
            wasm, offset = put_import(wasm, self.fd_write_type)
        return Capsule(
            wasm=wasm,
            parameters_offset=offset,
            layout=self.layout,
            sha256=hashlib.sha256(wasm).hexdigest(),
            may_exit=self.may_exit,
            logging=self._logging,
            identified=lambda: self._identified,
            unwinds=self.unwind,
        )

    def _logging(self, row: int) -> Capsule:
        return self._form("described" if self.references.described else "nullness", row)

    @cached_property
    def _identified(self) -> Capsule | None:
        return self._form("identified") if self.references.described and identities_can_differ(self.module) else None

    def _form(self, references: ReferenceForm, log_row: int | None = None) -> Capsule:
        return build(
            self.module, self.artifact_sha256, self.calls, self.world,
            unwind=self.unwind, prints=self.prints, references=references, extension=self.extension, log_row=log_row,
        )  # fmt: skip

    # Sections.

    def _vector(self, id_: int, before: Iterable[bytes], after: Iterable[bytes]) -> Section:
        """The artifact's section with items before and behind its own."""
        existing = self.module.section(id_)
        count = existing.vector()[0] if existing is not None else 0
        content = existing.content() if existing is not None else b""
        before, after = list(before), list(after)
        return section(id_, b"".join([u(count + len(before) + len(after)), *before, content, *after]))

    @staticmethod
    def _plain(id_: int, items: Sequence[bytes]) -> Section | None:
        return section(id_, u(len(items)) + b"".join(items)) if items else None

    def _type_section(self) -> Section:
        return self._vector(ids.TYPE, (), self.types.encoded)

    def _function_types(self) -> list[bytes]:
        """The typeidx of the functions behind the artifact's own."""
        i32 = "i32"
        own = [
            self.types.function(_DIGEST_TYPE.params, ()),
            self.types.function((i32,), (i32,)),
            self.types.function((i32, i32), (i32,)),
            self.types.function((), ()),
            self.types.function((), ()),
        ]
        added = (typeidx for typeidx, _ in (*self.added, *self.describers))
        return [u(each) for each in (*own, *added, *self.values)]

    def _recorder_memory(self) -> bytes:
        fixed = self.places.stream + self.layout.heap_offset(0, len(self.calls))
        pages = (fixed + lo.PAGE - 1) // lo.PAGE + 1
        return b"\x00" + u(pages)

    def _exit_tag(self) -> list[bytes]:
        return [b"\x00" + u(self.types.function((), ()))] if self._throws() else []

    def _throws(self) -> bool:
        return (self.may_exit or self.extension is not None) and self.unwind

    def _globals(self) -> Section:
        module = self.module
        first = len(module.all_globals)
        self.slots = range(first, first + lo.SLOTS)
        slot = b"\x7e\x01\x42\x00\x0b"  # a mutable i64, zero
        slots = 0 if self.prints else lo.SLOTS
        count = len(self.sealed.globals) + len(module.globals) + slots
        content = [u(count), *self.sealed.globals, self.sealed.defined_globals, slot * slots]
        return section(ids.GLOBAL, b"".join(content))

    def _exports(self) -> list[bytes]:
        start_index = self.first_own + _OWN.index("_start")
        exports = [
            export(lo.ENTRY, 0, start_index),
            export(lo.AFTER_TRAP_EXPORT, 0, self.indices.finish),
            export("memory" if self.prints else lo.MEMORY_EXPORT, 2, self.rec),
        ]
        if self.prints:
            return exports
        return exports + _slot_exports(self.slots)

    def _elements(self) -> Section | None:
        """The artifact's segments, then a declaration of what a body may name: functions whose export was dropped."""
        count = self.module.n_elements
        declared = sorted({each.index for each in self.module.exports if each.kind == "func"}) if self._names_functions() else []
        declared += [self.indices.digest] * self.constants.names_a_function + [*self.value_of.values()]
        groups = [declared[at : at + _ELEMENT_ENTRIES] for at in range(0, len(declared), _ELEMENT_ENTRIES)]
        segments = [b"\x03\x00" + u(len(group)) + b"".join(map(u, group)) for group in groups]
        content = b"".join([u(count + len(segments)), self.sealed.elements, *segments])
        return section(ids.ELEMENT, content) if count or segments else None

    def _names_functions(self) -> bool:
        code = self.module.section(ids.CODE)
        return code is not None and bytes(code.payload).find(_REF_FUNC) >= 0

    def _data_count(self) -> list[Section]:
        return [] if self.module.data_count is None else [section(ids.DATA_COUNT, u(self.module.n_data + 1))]

    def _data(self) -> tuple[Section, int]:
        """The artifact's segments and the recorder's; and where in the payload the parameters stand."""
        content = bytearray(lo.VARIABLES_ADDRESS - lo.PARAMETERS_ADDRESS)
        content += memory_map.initial_variables() + self.places.data
        mode = b"\x00" if self.rec == 0 else b"\x02" + u(self.rec)
        head = u(self.module.n_data + 1) + self.sealed.data + mode + i32_const(0) + _END + u(len(content))
        return section(ids.DATA, head + content), len(head)

    def _code(self) -> Section:
        first = len(self.module.all_globals)
        carry = recorder.CARRY_PRINT if self.prints else "raw $carry"
        extension = self.extension
        slots = range(first, first + lo.SLOTS)
        words = recorder.carry_words(slots, self.rec) if extension is None else extension.carry(slots, self.rec)
        names: dict[str, int | bytes] = {**self.symbols, "carry": words, "fd_write": PLACEHOLDER}
        prologue = self._prologue(self.indices.digest, _DIGEST_TYPE)
        word = self.references.word
        own = recorder.functions(
            self.layout, self.indices, names, carry, word, self.references.element, prologue=prologue, view=extension is None
        )
        self.describers = self.references.functions(self.types, self.constants, self.symbols)
        self.added = extension.functions(self.types, self.symbols, unwind=self.unwind) if extension is not None else []
        catches = self.unwind and bool(self.module.all_tags or self._throws())
        tags = [self._caught(each.typeidx) for each in self.module.all_tags] if catches else []
        driver = start(
            self.calls, self.symbols, word,
            catch=Catch(exits=self._throws(), tags=tuple(tags)) if catches else None,
            begin=None if extension is None else first_extension(self.module),
            log_calls=self.log_row is not None,
        )  # fmt: skip
        stubs = [self._stub(at, each) for at, each in enumerate(self.closed)]
        values, done = [], 0
        while done < len(self.values):  # a value's body may need the value of another type
            type_ = self.module.types[self.values[done]].composite
            assert isinstance(type_, FuncType), "values of function types"  # noqa: S101
            prologue = self._prologue(self.value_of[self.values[done]], type_)
            values.append(_entry(prologue + zero_body(type_, self.constants)))
            done += 1
        after = [*own, driver, *(entry for _, entry in (*self.added, *self.describers)), *values]
        if extension is None and not self.references.identified:
            return self._vector(ids.CODE, stubs, after)
        count = len(stubs) + len(self.module.functions) + len(after)
        bodies = self._probed_bodies() if extension is None else extension.bodies()
        return section(ids.CODE, b"".join([u(count), *stubs, bodies, *after]))

    def _prologue(self, funcidx: int, type_: FuncType) -> bytes:
        return self.references.prologue(funcidx, type_, self.constants, self.rec)

    def _probed_bodies(self) -> bytes:
        """The artifact's code entries with a prologue in every function that can be referenced."""
        code = self.module.section(ids.CODE)
        payload = b"" if code is None else bytes(code.payload)
        referenced, first = referenced_functions(self.module), self.module.n_imported("func")
        entries = []
        for at, (offset, size) in enumerate(self.module.bodies):
            begin = offset - (code.offset if code else 0)
            body = payload[begin : begin + size]
            if first + at in referenced:
                locals_end = read_locals(body).end
                body = body[:locals_end] + self._prologue(first + at, self.module.function_type(first + at)) + body[locals_end:]
            entries.append(u(len(body)) + body)
        return b"".join(entries)

    def _caught(self, typeidx: int) -> tuple[int, tuple[ValType, ...]]:
        """The typeidx of a block that leaves a tag's payload, and the payload's types."""
        payload = _payload(self.module, typeidx)
        return self.types.function((), payload), payload

    def _stub(self, at: int, closed: Closed) -> bytes:
        bound = closed.bound
        names: dict[str, int | bytes] = {
            **self.symbols,
            "IMPORT": at,
            "COUNTER": self.places.counters + 4 * at,
            "mem": bound.memory,
            "PAGE_LOG2": self._page_log2(bound),
        }
        if bound.realloc is not None:
            names["realloc"] = bound.realloc
        names["prologue"] = self._prologue(closed.stub.index, closed.type)
        head, locals_ = "raw $prologue " + _COUNT + (_REFUSE_AFTER_EXIT if self.may_exit else ""), ()
        if self.compares_calls:
            head += calls_.note(tuple(map(self._argument, closed.type.params)), closed.inputs, log=self.log_row is not None)
            locals_ = (*(calls_.LOCALS if closed.inputs else ()), *(calls_.LOG_LOCAL if self.log_row is not None else ()))
        spec = closed.spec
        if spec is None:
            body = b"\x00" if closed.stub.kind == "trap" else zero_body(closed.type, self.constants)
            params = tuple(str(index) for index in range(len(closed.type.params)))
            return link(assemble(f"{head} raw $body", params=params, locals=locals_), {**names, "body": body})
        tail = self._exit_tail() if spec.exits else ""
        text = f"{head} {spec.text} {tail}"
        return link(assemble(text, params=spec.param_names, locals=(*spec.locals, *locals_)), names)

    def _argument(self, type_: ValType) -> str:
        """The kind of an import's parameter, as ``calls`` has it."""
        if isinstance(type_, str) or not self.references.described:
            return recorder.kind_of(type_)
        kind = hierarchy(self.module, type_)
        return kind if kind in ("any", "extern") else "ref"

    def _page_log2(self, bound: Bound) -> int:
        memories = self.module.all_memories
        log2 = memories[bound.memory].limits.page_size_log2 if bound.memory < len(memories) else None
        return PAGE_LOG2 if log2 is None else log2

    def _exit_tail(self) -> str:
        """What follows in a stub that ends the program."""
        return _EXIT_EITHER if self.unwind else _EXIT_TRAP


_DIGEST_TYPE: Final = FuncType(("i32", "i32", "i32"), ())
_OWN: Final = ("digest", "reserve", "record", "finish", "_start")

_COUNT = "i32.const 0 i32.const 0 i32.load $rec offset=$COUNTER i32.const 1 i32.add i32.store $rec offset=$COUNTER"
_REFUSE_AFTER_EXIT = " i32.const $EXIT_FLAG i32.load $rec if unreachable end"
_EXIT_TRAP = f"""
  i32.const $EXIT_FLAG i32.const 1 i32.store $rec
  i32.const {lo.HEADER_ADDRESS + 28} i32.load $rec i32.const {lo.EXITED} call $record drop
  call $finish
  unreachable
"""
_EXIT_EITHER = f"""
  i32.const $EXIT_FLAG i32.const 1 i32.store $rec
  i32.const 8 i32.load $rec i32.const {lo.EXIT_TRAPS} i32.and
  if
    i32.const {lo.HEADER_ADDRESS + 28} i32.load $rec i32.const {lo.EXITED} call $record drop
    call $finish
    unreachable
  end
  throw $exit
"""


def export(name: str, kind: int, index: int) -> bytes:
    """An export of the item ``index`` of a kind: 0 function, 1 table, 2 memory, 3 global, 4 tag."""
    return _named(name, kind) + u(index)


def _named(name: str, kind: int) -> bytes:
    encoded = name.encode()
    return u(len(encoded)) + encoded + bytes([kind])


@lru_cache(maxsize=1024)  # small artifacts have the same few numbers of globals
def _slot_exports(slots: range) -> list[bytes]:
    return [name + u(index) for name, index in zip(_SLOT_NAMES, slots, strict=True)]


_SLOT_NAMES: Final = tuple(_named(f"{lo.SLOT_PREFIX}{lo.FIRST_SLOT + at}", 3) for at in range(lo.SLOTS))


def _entry(body: bytes) -> bytes:
    return u(len(body) + 2) + b"\x00" + body + _END


def _tags(module: Module) -> tuple[lo.Tag, ...]:
    """The artifact's tags, named by an export or import, or by the name section."""
    if not module.all_tags:
        return ()
    exported = {each.index: each.name for each in reversed(module.exports) if each.kind == "tag"}
    imported = [f"{each.module}.{each.name}" for each in module.imports if each.kind == "tag"]
    named = {**tag_names(module), **dict(enumerate(imported)), **exported}
    payloads = [_payload(module, each.typeidx) for each in module.all_tags]
    return tuple(lo.Tag(named.get(at, ""), tuple(map(recorder.kind_of, each))) for at, each in enumerate(payloads))


def _payload(module: Module, typeidx: int) -> tuple[ValType, ...]:
    composite = module.types[typeidx].composite
    assert isinstance(composite, FuncType), "a valid tag has a function type"  # noqa: S101
    return composite.params


def plan_digest(artifact_sha256: str, calls: Sequence[Call], world: World) -> int:
    """64 bits that name what is run: artifact, rows, world, limits and the recorder's version; the same on both engines."""
    rows = [(each.name, each.function, [(value.type, str(value.bits)) for value in each.args], each.init) for each in calls]
    plan = msgspec.json.encode([lo.VERSION, artifact_sha256, rows, world])
    return int.from_bytes(hashlib.sha256(plan).digest()[:8], "little")


__all__ = ["Call", "Capsule", "Extension", "World", "build", "export", "first_extension", "i64_const", "plan_digest"]
