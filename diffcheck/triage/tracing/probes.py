"""The functions that instrumented code calls: a probe for each type of value, and helpers that read memories, tables and objects.

A probe logs a value at a site and returns it, so that it can follow any instruction. A value is logged as one or two 64-bit words; a
reference by what a program can observe: whether it is null, an i31's number, an array's length. With ``identities`` the object or
function of a reference is logged too. Objects are numbered by first occurrence. The log's own functions are in ``log_writer``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.triage.tracing import event_log, log_writer
from diffcheck.triage.tracing.log_writer import ASIDE, LOG_FUNCTIONS, NOTE, TAKE, VECTOR_BYTES, VISIT, copied
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.types import ArrayType, Limits, RefType, StructType, TableType, ValType, encode_tabletype

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from diffcheck.capsule.constants import Types
    from diffcheck.triage.tracing.event_log import Variant
    from diffcheck.triage.tracing.log_writer import MemoryWatch
    from diffcheck.wasm.module import Module

_REGION_BYTES: Final = 65_024
_ELEMENTS: Final = 1024

_I32 = "local.get $site local.get $v {wide} call $note local.get $v"
_I64 = "local.get $site local.get $v call $note local.get $v"
_FLOAT = "local.get $site local.get $v {bits} {extend} call $note local.get $v"
_V128 = """
  local.get $site local.get $v {low} call $note
  local.get $site i32.const 1 {plus32} local.get $v {high} call $note
  local.get $v
"""


Kind = Literal["probe", "memory", "region", "table", "size", "grown", "object", "contents", "number"]
NUMBERS: Final[tuple[ValType, ...]] = ("i32", "i64", "f32", "f64")


class HelperKey(msgspec.Struct, frozen=True):
    """The purpose of a helper function.

    ``kind`` is ``probe`` for a value of ``type``, ``memory`` for ``width`` bytes of memory ``index``, ``region`` for a range of it,
    ``table`` for a range of table ``index``, ``size`` for the size of one (``shape``: region or table), ``grown`` for what was added to
    it, ``object`` for elements or fields of an object of ``type``, ``contents`` for those of a new one, ``number`` for an object's
    number. With ``aside`` it logs no event; with ``contents_only`` it does not log the identity of a reference.
    """

    kind: Kind
    type: ValType = "i32"
    shape: Literal["region", "table"] = "region"
    index: int = 0
    width: int = 0
    aside: bool = False
    contents_only: bool = False


class Helpers:
    """The helper functions of one instrumented artifact, added when they are first used."""

    def __init__(
        self, module: Module, first: int, variant: Variant, watch: MemoryWatch | None = None, *, identities: bool = False
    ) -> None:
        self.module, self.first, self.variant, self.watch = module, first, variant, watch
        self._operations = event_log.operations(variant)
        self.numbers_objects = identities and has_objects(module)
        self._identifies_functions = False
        self._apart = event_log.SPLIT_ACCESSES if variant == "add" else ()
        self._log_functions = LOG_FUNCTIONS + len(self._apart)
        self._keys: dict[HelperKey, int] = {}
        for each in NUMBERS:
            self.index(HelperKey("probe", each))
        if self.numbers_objects:
            self.index(_NUMBER)

    @property
    def count(self) -> int:
        """The number of functions, those of the log included."""
        return self._log_functions + len(self._keys)

    def index(self, key: HelperKey) -> int:
        """The function index of a helper, which is added if it is new."""
        if key not in self._keys:
            self._keys[key] = self.first + self._log_functions + len(self._keys)
            if key.kind == "memory" and key.width == VECTOR_BYTES:
                self.index(HelperKey("probe", "v128"))
            if key.kind == "grown":
                self.index(HelperKey(key.shape, index=key.index))
            if key.kind == "contents":
                self.index(_object_of(key))
        return self._keys[key]

    @property
    def visit(self) -> int:
        """The index of the function that counts executions of the instruction with details: ()."""
        return self.first + VISIT

    @property
    def note(self) -> int:
        """The index of the function that logs an event: (site i32, value i64)."""
        return self.first + NOTE

    def functions(self, types: Types, symbols: Mapping[str, int], *, unwind: bool) -> list[tuple[int, bytes]]:
        """The typeidx and the code entry of each function, in order."""
        names = {**symbols, "note": self.note, "take": self.first + TAKE}
        self._identifies_functions = "function_word" in symbols
        names |= {name: self.first + LOG_FUNCTIONS + at for at, (name, _, _) in enumerate(self._apart)}
        watch, watch_text = self.watch, ""
        note_names = names
        note_locals: Locals = log_writer.NOTE_LOCALS
        if watch is not None:
            watch_text = log_writer.watch_text(watch, self.module, self.variant)
            note_names, note_locals = {**names, "m": watch.memory}, (*note_locals, ("at", self._index_type("region", watch.memory)))
        event_type, plain_type = types.function(("i32", "i64"), ()), types.function((), ())
        event = ("site", "value")
        note = log_writer.note(self.variant, watch_text, unwind=unwind)
        probes = {each: self.index(HelperKey("probe", each)) for each in NUMBERS}
        made = [
            (plain_type, self._linked(log_writer.begin(self.variant, probes), names, (), log_writer.PAGES)),
            (event_type, self._linked(note, note_names, event, note_locals)),
            (event_type, self._linked(log_writer.aside(self.variant), names, event, log_writer.NOTE_LOCALS)),
            (plain_type, self._linked(log_writer.visit(self.variant), names)),
            (plain_type, self._linked(log_writer.TAKE_TEXT, names, (), log_writer.PAGES)),
        ]
        for name, params, text in self._apart:
            typeidx = types.function(params, (name[:3],) if name.endswith(".from") else ())
            made.append((typeidx, link(assemble(text, params=("at", "v", "offset")[: len(params)]), names)))
        for key in self._keys:
            made.append(self._helper(key, types, {**names, "note": self.first + ASIDE if key.aside else self.note}))
        return made

    def _linked(self, text: str, names: Mapping[str, int], params: tuple[str, ...] = (), locals_: Locals = ()) -> bytes:
        declared = tuple((name, str(type_)) for name, type_ in locals_)
        return link(assemble(event_log.variant_text(self.variant, text), params=params, locals=declared), names)

    # The helpers.

    def _helper(self, key: HelperKey, types: Types, names: Mapping[str, int]) -> tuple[int, bytes]:
        make: dict[Kind, Callable[[HelperKey], _Helper]] = {
            "probe": self._probe, "memory": self._memory, "region": self._region, "table": self._table, "size": self._size,
            "grown": self._grown, "object": self._object, "contents": self._contents, "number": self._number,
        }  # fmt: skip
        text, params, results, locals_ = make[key.kind](key)
        linked = {**names, "m": key.index}
        if isinstance(key.type, RefType) and isinstance(key.type.heap, int):
            linked["T"] = key.type.heap
        param_types = tuple(type_ for _, type_ in params)
        return types.function(param_types, results), self._linked(text, linked, tuple(name for name, _ in params), locals_)

    def _index_type(self, kind: str, index: int) -> Literal["i32", "i64"]:
        space = self.module.all_tables if kind == "table" else self.module.all_memories
        return "i64" if space[index].limits.is64 else "i32"

    def _probe(self, key: HelperKey) -> _Helper:
        own = self._operations
        params = (("v", key.type), ("site", "i32"))
        if isinstance(key.type, RefType):
            word = self._reference(key.type, contents_only=key.contents_only)
            return f"{word} local.get $site local.get $w call $note local.get $v", params, (key.type,), _W
        text = {"i32": _I32, "i64": _I64, "v128": _V128}.get(key.type)
        if text is None:
            text = _FLOAT.replace("{bits}", own[f"{key.type}.bits"]).replace("{extend}", "{wide}" if key.type == "f32" else "")
        return text.format(**own), params, (key.type,), self._held(key.type)

    def _reference(self, type_: RefType, *, contents_only: bool = False) -> str:
        """Code that sets ``$w`` from ``$v``: 0 for null, 1 for an opaque reference, 2 and the number for an i31, 3 for a structure, 4 and
        the length for an array; with identities also the object's number from bit 40 on, and ``_FUNCTION_WORD`` for a function.
        """
        family = self._family(type_.heap)
        own = self._operations
        number_of = "" if contents_only or not self.numbers_objects else f"call {self.index(_NUMBER)} i64.const 40 i64.shl i64.or"
        object_ = f"local.get $w local.get $v {{}} {number_of} local.set $w" if number_of else ""
        tagged = f"{{{{}}}} {own['times256']} i64.const {{}} {own['plus64']} local.set $w"
        number = tagged.format(2).format(f"i31.get_u {own['wide']}")
        length = tagged.format(4).format(f"array.len {own['wide']}")
        word = {
            "any": f"""
              local.get $v ref.test (ref i31)
              if local.get $v ref.cast (ref i31) {number}
              else
                local.get $v ref.test (ref struct) if i64.const 3 local.set $w end
                local.get $v ref.test (ref array) if local.get $v ref.cast (ref array) {length} end
                {f"local.get $v ref.test (ref eq) if {object_.format('ref.cast (ref eq)')} end" if object_ else ""}
              end
            """,
            "i31": f"local.get $v {number}",
            "struct": f"i64.const 3 local.set $w {object_.format('')}",
            "array": f"local.get $v {length} {object_.format('')}",
            "func": _FUNCTION_WORD if self._identifies_functions else "",
        }.get(family, "")
        return f"""
          i64.const 0 local.set $w
          local.get $v ref.is_null
          if else i64.const 1 local.set $w {word} end
        """

    def _family(self, heap: str | int) -> str:
        if isinstance(heap, int):
            composite = self.module.types[heap].composite
            return "struct" if isinstance(composite, StructType) else "array" if isinstance(composite, ArrayType) else "func"
        return "any" if heap in ("any", "eq") else heap

    def _memory(self, key: HelperKey) -> _Helper:
        """Reads back what was stored: by a copy to the recorder's memory, so that a fault of loads does not look like one of stores, or
        by loads of other widths, so that a fault of copies does not either.
        """
        address = self._index_type("region", key.index)
        plus = self._operations["plus64" if address == "i64" else "plus32"]
        here = f"local.get $at local.get $offset {plus} local.set $at {copied(self.variant, key.width)}"
        noted = "local.get $site i32.const $SCRATCH i64.load $rec call $note"
        if key.width == VECTOR_BYTES:
            noted = f"i32.const $SCRATCH v128.load $rec local.get $site call {self.index(HelperKey('probe', 'v128'))} drop"
        return f"{here} {noted}", (("at", address), ("offset", address), ("site", "i32")), (), ()

    def _region(self, key: HelperKey) -> _Helper:
        """A digest of the first bytes of a range: of a copy by the recorder's function, or of each byte in place."""
        address = self._index_type("region", key.index)
        digest = f"""
          i32.const $SCRATCH i32.const 0 i32.const {_REGION_BYTES + 8} memory.fill $rec
          i32.const $SCRATCH local.get $at local.get $n i32.wrap_i64 memory.copy $rec $m
          i32.const $SCRATCH local.get $n i32.wrap_i64 i32.const 7 i32.add i32.const -8 i32.and i32.const $LANES call $digest
          i32.const $LANES i64.load $rec local.set $w
        """
        if self.variant == "add":
            digest = f"""
              block $all
                loop $each
                  local.get $n i64.const 1 i64.lt_u br_if $all
                  local.get $w i64.const 7 i64.shl local.get $w i64.const 57 i64.shr_u i64.add local.get $w i64.add
                  local.get $at i64.load8_u $m i64.add i64.const 1 i64.add local.set $w
                  local.get $at {address}.const 1 {address}.add local.set $at
                  local.get $n i64.const -1 i64.add local.set $n
                  br $each
                end
              end
            """
        text = f"""
          local.get $n i64.const {_REGION_BYTES} local.get $n i64.const {_REGION_BYTES} i64.lt_u select local.set $n
          {digest}
          local.get $where local.get $w call $note
        """
        return text, (("at", address), ("n", "i64"), ("where", "i32")), (), _W

    def _table(self, key: HelperKey) -> _Helper:
        """A digest of the first elements of a range of a table."""
        own, address = self._operations, self._index_type("table", key.index)
        text = f"""
          local.get $n i64.const {_ELEMENTS} local.get $n i64.const {_ELEMENTS} i64.lt_u select local.set $n
          block $all
            loop $each
              local.get $n {own["none"]} br_if $all
              local.get $at table.get $m {self._mixed(self.module.all_tables[key.index].ref)}
              local.get $at {address}.const 1 {own[_PLUS[address]]} local.set $at
              local.get $n i64.const -1 {own["plus64"]} local.set $n
              br $each
            end
          end
          local.get $where local.get $lane call $note
        """
        params: Locals = (("at", address), ("n", "i64"), ("where", "i32"))
        return text, params, (), (*_MIXING, *self._held(self.module.all_tables[key.index].ref))

    def _size(self, key: HelperKey) -> _Helper:
        """The size of a memory or table, or the result of growing it by zero."""
        address = self._index_type(key.shape, key.index)
        text = f"{'memory' if key.shape == 'region' else 'table'}.size $m"
        if self.variant == "add" and key.shape == "region":
            text = f"{address}.const 0 memory.grow $m"
        elif self.variant == "add" and self.module.all_tables[key.index].ref.nullable:
            text = f"ref.null {self.module.all_tables[key.index].ref.heap} {address}.const 0 table.grow $m"
        wide = self._operations["wide"] if address == "i32" else ""
        return f"local.get $where {text} {wide} call $note", (("where", "i32"),), (), ()

    def _grown(self, key: HelperKey) -> _Helper:
        """A digest of what was added, if growing succeeded; parameters are the old size and the number of pages or elements."""
        address = self._index_type(key.shape, key.index)
        wide = "i64.extend_i32_u" if address == "i32" else ""
        log2 = 0
        if key.shape == "region":
            page = self.module.all_memories[key.index].limits.page_size_log2
            log2 = 16 if page is None else page
        text = f"""
          local.get $old {address}.const -1 {address}.ne
          if
            local.get $old {address}.const {log2} {address}.shl
            local.get $n {wide} i64.const {log2} i64.shl
            local.get $where call {self.index(HelperKey(key.shape, index=key.index))}
          end
        """
        return text, (("old", address), ("n", address), ("where", "i32")), (), ()

    def _object(self, key: HelperKey) -> _Helper:
        """A digest of a structure's fields, or of an array's elements: of all if they are few, else of some from an index on."""
        assert isinstance(key.type, RefType), "an object's"  # noqa: S101
        assert isinstance(key.type.heap, int), "of a defined type"  # noqa: S101
        composite, own = self.module.types[key.type.heap].composite, self._operations
        if isinstance(composite, StructType):
            storages = tuple(each.storage for each in composite.fields)
            text = " ".join(
                f"local.get $o struct.get{_packed(each)} $T {at} {self._mixed(each)}" for at, each in enumerate(storages)
            )
        else:
            assert isinstance(composite, ArrayType), "an object's"  # noqa: S101
            storages = (composite.field.storage,)
            text = f"""
              local.get $o array.len local.set $n
              local.get $n i32.const {_ELEMENTS} {own["within"]} if i32.const 0 local.set $at end
              block $all
                loop $each
                  local.get $at local.get $n {own["below"]} i32.eqz br_if $all
                  local.get $count i32.const {_ELEMENTS} {own["below"]} i32.eqz br_if $all
                  local.get $o local.get $at array.get{_packed(storages[0])} $T {self._mixed(storages[0])}
                  local.get $at i32.const 1 {own["plus32"]} local.set $at
                  local.get $count i32.const 1 {own["plus32"]} local.set $count
                  br $each
                end
              end
            """
        held = dict.fromkeys(each for storage in storages for each in self._held(storage))
        params: Locals = (("o", key.type), ("at", "i32"), ("where", "i32"))
        return f"{text} local.get $where local.get $lane call $note", params, (), (*_MIXING, *_COUNTING, *held)

    def _contents(self, key: HelperKey) -> _Helper:
        """A digest of an object, which is returned."""
        text = f"local.get $v i32.const 0 local.get $where call {self.index(_object_of(key))} local.get $v"
        return text, (("v", key.type), ("where", "i32")), (key.type,), ()

    def _number(self, key: HelperKey) -> _Helper:  # noqa: ARG002 - as the other helpers
        """The number of an object, from 1: that of an equal one among the last ones, else a new number."""
        text = f"""
          i32.const 0 i32.load $rec offset={event_log.SEEN_AT} local.tee $n local.set $at
          block $new
            loop $each
              local.get $at i32.eqz br_if $new
              local.get $n local.get $at i32.sub i32.const {_NUMBERED} i32.ge_u br_if $new
              local.get $at i32.const 1 i32.sub i32.const {_NUMBERED - 1} i32.and table.get $seen_objects local.get $o ref.eq
              if local.get $at i64.extend_i32_u return end
              local.get $at i32.const 1 i32.sub local.set $at
              br $each
            end
          end
          local.get $n i32.const {_NUMBERED - 1} i32.and local.get $o table.set $seen_objects
          i32.const 0 local.get $n i32.const 1 i32.add i32.store $rec offset={event_log.SEEN_AT}
          local.get $n i32.const 1 i32.add i64.extend_i32_u
        """
        return text, (("o", _OBJECT),), ("i64",), (("n", "i32"), ("at", "i32"))

    def _held(self, storage: ValType) -> Locals:
        """The locals that are needed to mix a value of this type."""
        if isinstance(storage, RefType):
            return ((_holder(storage), RefType(nullable=True, heap=storage.heap)),)
        return {"f32": (("f", "f32"),), "f64": (("d", "f64"),), "v128": (("b", "v128"), ("x", "v128"))}.get(storage, ())

    def _mixed(self, storage: ValType) -> str:
        """Code that pops a value and mixes it into ``$lane``."""
        own = self._operations
        step = f"local.set $value local.get $lane {own['step']} local.set $lane"
        if isinstance(storage, RefType):
            holder = _holder(storage)
            return f"local.set ${holder} {self._reference(storage).replace('$v ', f'${holder} ')} local.get $w {step}"
        if storage == "v128":
            return f"local.set $x local.get $x {own['low']} {step} local.get $x {own['high']} {step}"
        bits = own.get(f"{storage}.bits", "")
        return f"{bits} {'' if storage in ('i64', 'f64') else own['wide']} {step}"


def by_contents(type_: ValType) -> HelperKey:
    """The probe of a value that was read to log it; without identity, since an engine may return a copy on reading."""
    return HelperKey("probe", type_, contents_only=isinstance(type_, RefType))


def has_objects(module: Module) -> bool:
    """Whether a module has types of structures or arrays."""
    return any(isinstance(each.composite, StructType | ArrayType) for each in module.types)


def object_table() -> bytes:
    """The type of the table of numbered objects."""
    return encode_tabletype(TableType(_OBJECT, Limits(_NUMBERED, _NUMBERED)))


_OBJECT: Final = RefType(nullable=True, heap="eq")
_NUMBER: Final = HelperKey("number")
_NUMBERED: Final = 256
"""A reference is compared with this many objects, those with the highest numbers."""
_FUNCTION_WORD: Final = """
  local.get $v call $function_word local.tee $w i64.const 32 i64.shr_u i64.const 8 i64.shl
  local.get $w i64.const 15 i64.and i64.or i64.const 16 i64.or local.set $w
"""
"""A function's word (``values``): its kind and 16 in the low byte, then its index or type."""
Locals = tuple[tuple[str, "ValType"], ...]
_Helper = tuple[str, Locals, tuple["ValType", ...], Locals]
"""The text, parameters, result types and locals of a helper."""
_W: Final[Locals] = (("w", "i64"),)
_MIXING: Final[Locals] = (("w", "i64"), ("value", "i64"), ("lane", "i64"), ("site", "i32"))
_COUNTING: Final[Locals] = (("n", "i32"), ("count", "i32"))
_PLUS: Final = {"i32": "plus32", "i64": "plus64"}


def _object_of(key: HelperKey) -> HelperKey:
    assert isinstance(key.type, RefType), "an object's"  # noqa: S101
    return HelperKey("object", RefType(nullable=True, heap=key.type.heap))


def _packed(storage: ValType) -> str:
    return "_u" if storage in ("i8", "i16") else ""


def _holder(type_: RefType) -> str:
    """The name of the local that holds a reference while it is logged."""
    return f"r{type_.heap}"
