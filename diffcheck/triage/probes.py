"""The functions that instrumented code calls: a probe for each type of value, and what reads memory and tables back (``noting``: the log's own).

A probe takes a value and a site and gives the value back, so that it can stand behind any instruction. Every value becomes one or
two 64-bit words; of a reference the log has what the specification lets a program see: null or not, an i31's number, an array's length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.triage import log, noting
from diffcheck.triage.noting import ASIDE, NOTE, OWN, TAKE, VECTOR_BYTES, VISIT, copied
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.types import ArrayType, RefType, StructType, ValType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.capsule.constants import Types
    from diffcheck.triage.log import Variant
    from diffcheck.triage.noting import Watch
    from diffcheck.wasm.module import Module

_CANONICAL: Final = {"f32": 0x7FC0_0000, "f64": 0x7FF8 << 48}
_REGION_BYTES: Final = 65_024
_REGION_ELEMENTS: Final = 1024

_I32 = "local.get $site local.get $v {wide} call $note local.get $v"
_I64 = "local.get $site local.get $v call $note local.get $v"
_FLOAT = """
  local.get $v {bits}
  {nan}
  if
    i32.const 0 i32.load $rec offset={mode}
    if
      {quiet}
      if {word}.const {canonical} local.set $b end
    end
  end
  local.get $site local.get $b {extend} call $note
  local.get $v
"""
_LANES = """
  local.get $v local.set $b
  i32.const 0 i32.load $rec offset={mode}
  if
    v128.const {splat_canonical}
    local.get $v
    local.get $v local.get $v {shape}.ne
    local.get $v v128.const {splat_quiet} v128.and v128.const i64x2 0 0 {word}.ne v128.and
    v128.bitselect local.set $b
  end
"""
_V128 = """
  local.get $site local.get $b {low} call $note
  local.get $site i32.const 1 {plus32} local.get $b {high} call $note
  local.get $v
"""


NUMBERS: Final[tuple[ValType, ...]] = ("i32", "i64", "f32", "f64")


class Key(msgspec.Struct, frozen=True):
    """What a helper function is for. ``kind``: ``probe`` a value of ``type`` (``shape``: the lanes that may be NaNs), ``memory`` so many
    bytes at an address of memory ``index``, ``region`` a range of it, ``table`` a range of table ``index``. ``aside`` makes it no event.
    """

    kind: str
    type: ValType = "i32"
    shape: str = ""
    index: int = 0
    width: int = 0
    aside: bool = False


class Helpers:
    """The helper functions of one instrumented artifact; ``index`` gives a function's index and adds it where it is new."""

    def __init__(self, module: Module, first: int, variant: Variant, watch: Watch | None = None) -> None:
        self.module, self.first, self.variant, self.watch = module, first, variant, watch
        self._apart = log.APART if variant == "add" else ()
        self._own = OWN + len(self._apart)
        self._keys: dict[Key, int] = {}
        for each in NUMBERS:
            self.index(Key("probe", each))

    @property
    def count(self) -> int:
        """How many functions there are, with the log's own."""
        return self._own + len(self._keys)

    def index(self, key: Key) -> int:
        """The function index of a helper."""
        if key not in self._keys:
            self._keys[key] = self.first + self._own + len(self._keys)
            if key.kind == "memory" and key.width == VECTOR_BYTES:
                self.index(Key("probe", "v128", key.shape))
        return self._keys[key]

    def has(self, key: Key) -> bool:
        """Whether a helper is there already."""
        return key in self._keys

    @property
    def visit(self) -> int:
        """The function index of what counts how often an instruction is reached: ()."""
        return self.first + VISIT

    @property
    def note(self) -> int:
        """The function index of the note: (site i32, value i64)."""
        return self.first + NOTE

    def functions(self, types: Types, symbols: Mapping[str, int], *, unwind: bool) -> list[tuple[int, bytes]]:
        """The typeidx and the code entry of each, in order."""
        names = {**symbols, "note": self.note, "take": self.first + TAKE}
        names |= {name: self.first + OWN + at for at, (name, _, _) in enumerate(self._apart)}
        watch, seen = self.watch, ""
        note_names = names
        note_locals: tuple[tuple[str, str], ...] = noting.NOTE_LOCALS
        if watch is not None:
            seen = noting.watched(watch, self.module, self.variant)
            note_names, note_locals = {**names, "m": watch.memory}, (*noting.NOTE_LOCALS, ("at", self._address(watch.memory)))
        takes_event, doing = types.function(("i32", "i64"), ()), types.function((), ())
        event = ("site", "value")
        note = noting.note(self.variant, seen, unwind=unwind)
        probes = {each: self.index(Key("probe", each)) for each in NUMBERS}
        made = [
            (doing, self._linked(noting.begin(self.variant, probes), names, (), noting.PAGES)),
            (takes_event, self._linked(note, note_names, event, note_locals)),
            (takes_event, self._linked(noting.aside(self.variant), names, event, noting.NOTE_LOCALS)),
            (doing, self._linked(noting.visit(self.variant), names)),
            (doing, self._linked(noting.TAKE_TEXT, names, (), noting.PAGES)),
        ]
        for name, params, text in self._apart:
            typeidx = types.function(params, (name[:3],) if name.endswith(".from") else ())
            made.append((typeidx, link(assemble(text, params=("at", "v", "offset")[: len(params)]), names)))
        for key in self._keys:
            made.append(self._helper(key, types, {**names, "note": self.first + ASIDE if key.aside else self.note}))
        return made

    def _linked(
        self, text: str, names: Mapping[str, int], params: tuple[str, ...] = (), locals_: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        return link(assemble(log.in_words_of(self.variant, text), params=params, locals=locals_), names)

    # The helpers.

    def _helper(self, key: Key, types: Types, names: Mapping[str, int]) -> tuple[int, bytes]:
        if key.kind == "probe":
            text, locals_ = self._probe(key)
            typeidx = types.function((key.type, "i32"), (key.type,))
            return typeidx, self._linked(text, names, ("v", "site"), locals_)
        address: Literal["i32", "i64"] = "i64" if self._is64(key) else "i32"
        if key.kind == "memory":
            typeidx = types.function((address, address, "i32"), ())
            plus = log.words(self.variant)["plus64" if address == "i64" else "plus32"]
            text = f"local.get $at local.get $offset {plus} local.set $at {self._memory(key)}"
            return typeidx, self._linked(text, {**names, "m": key.index}, ("at", "offset", "site"))
        typeidx = types.function((address, "i64", "i32"), ())
        text = self._region(address) if key.kind == "region" else self._table(address)
        locals_ = (("w", "i64"),)
        return typeidx, self._linked(text, {**names, "m": key.index}, ("at", "n", "site"), locals_)

    def _address(self, memory: int) -> Literal["i32", "i64"]:
        return "i64" if self.module.all_memories[memory].limits.is64 else "i32"

    def _is64(self, key: Key) -> bool:
        space = self.module.all_tables if key.kind == "table" else self.module.all_memories
        return space[key.index].limits.is64

    def _probe(self, key: Key) -> tuple[str, tuple[tuple[str, str], ...]]:
        own = log.words(self.variant)
        if isinstance(key.type, RefType):
            return self._reference(key.type), (("w", "i64"),)
        if key.type == "v128":
            return _vector(key.shape) + _V128.format(**own), (("b", "v128"),)
        if key.type in log.QUIET:
            word = "i32" if key.type == "f32" else "i64"
            text = _FLOAT.format(
                bits=own[f"{key.type}.bits"],
                nan=own[f"{key.type}.nan"],
                word=word,
                mode=log.MODE_AT,
                quiet=own[f"{key.type}.quiet"],
                canonical=_CANONICAL[key.type],
                extend=own["wide"] if word == "i32" else "",
            )
            return text, (("b", word), ("f", key.type))
        return _I32.format(**own) if key.type == "i32" else _I64, ()

    def _reference(self, type_: RefType) -> str:
        """0 for null, 1 for what shows nothing, 2 and the number for an i31, 3 for a structure, 4 and the length for an array."""
        family = self._family(type_.heap)
        own = log.words(self.variant)
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
              end
            """,
            "i31": f"local.get $v {number}",
            "struct": "i64.const 3 local.set $w",
            "array": f"local.get $v {length}",
        }.get(family, "")
        return f"""
          local.get $v ref.is_null
          if else i64.const 1 local.set $w {word} end
          local.get $site local.get $w call $note
          local.get $v
        """

    def _family(self, heap: str | int) -> str:
        if isinstance(heap, int):
            composite = self.module.types[heap].composite
            return "struct" if isinstance(composite, StructType) else "array" if isinstance(composite, ArrayType) else "func"
        return "any" if heap in ("any", "eq") else heap

    def _memory(self, key: Key) -> str:
        """What was stored, read back by a copy to the recorder memory, so that a fault in loads does not look like one in stores; or by
        loads of other widths, so that one in copies does not either.
        """
        here = copied(self.variant, key.width)
        if key.shape in ("f32", "f64"):
            probe = self.index(Key("probe", key.shape))
            return f"{here} i32.const $SCRATCH {key.shape}.load $rec local.get $site call {probe} drop"
        if key.width == VECTOR_BYTES:
            probe = self.index(Key("probe", "v128", key.shape))
            return f"{here} i32.const $SCRATCH v128.load $rec local.get $site call {probe} drop"
        return f"{here} local.get $site i32.const $SCRATCH i64.load $rec call $note"

    def _region(self, address: str) -> str:
        """A digest of the first bytes of a range: by the recorder's, of a copy; or byte by byte where they are."""
        digest = """
          i32.const $SCRATCH i32.const 0 i32.const {room} memory.fill $rec
          i32.const $SCRATCH local.get $at local.get $n i32.wrap_i64 memory.copy $rec $m
          i32.const $SCRATCH local.get $n i32.wrap_i64 i32.const 7 i32.add i32.const -8 i32.and i32.const $LANES call $digest
          i32.const $LANES i64.load $rec local.set $w
        """
        if self.variant == "add":
            digest = """
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
        return f"""
          local.get $n i64.const {_REGION_BYTES} local.get $n i64.const {_REGION_BYTES} i64.lt_u select local.set $n
          {digest.format(room=_REGION_BYTES + 8, address=address)}
          local.get $site local.get $w call $note
        """

    def _table(self, address: str) -> str:
        """Which of the first elements of a range are null."""
        own = log.words(self.variant)
        return f"""
          local.get $n i64.const {_REGION_ELEMENTS} local.get $n i64.const {_REGION_ELEMENTS} i64.lt_u select local.set $n
          block $all
            loop $each
              local.get $n {own["none"]} br_if $all
              local.get $w {own["times3"]} local.get $at table.get $m ref.is_null {own["wide"]} {own["plus64"]}
              i64.const 1 {own["plus64"]} local.set $w
              local.get $at {address}.const 1 {address}.add local.set $at
              local.get $n i64.const -1 {own["plus64"]} local.set $n
              br $each
            end
          end
          local.get $site local.get $w call $note
        """


def _vector(shape: str) -> str:
    if shape not in ("f32x4", "f64x2"):
        return "local.get $v local.set $b"
    kind = shape[:3]
    lanes, word = (4, "i32x4") if kind == "f32" else (2, "i64x2")
    return _LANES.format(
        mode=log.MODE_AT,
        shape=shape,
        word=word,
        splat_canonical=f"{word} " + " ".join([str(_CANONICAL[kind])] * lanes),
        splat_quiet=f"{word} " + " ".join([str(log.QUIET[kind])] * lanes),
    )
