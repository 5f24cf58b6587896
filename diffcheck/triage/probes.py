"""The functions that instrumented code calls: a probe for each type of value, what reads memory and tables back, and the note.

A probe takes a value and a site and gives the value back, so that it can stand behind any instruction. Every value becomes one or
two 64-bit words; of a reference the log has what the specification lets a program see: null or not, an i31's number, an array's length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.digest import SEED_A
from diffcheck.text import plural
from diffcheck.triage import log
from diffcheck.triage.log import Variant, mix
from diffcheck.wasm.asm import assemble, link
from diffcheck.wasm.types import ArrayType, RefType, StructType, ValType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.capsule.constants import Types
    from diffcheck.wasm.module import Module

BEGIN, NOTE, ASIDE, VISIT, TAKE = range(5)
_OWN: Final = 5
_CANONICAL: Final = {"f32": 0x7FC0_0000, "f64": 0x7FF8 << 48}
_MASK: Final = (1 << 64) - 1
_PATTERN_COUNT: Final = -(1 << 62)
_VECTOR_BYTES: Final = 16
_BITS: Final = {"i32": 32, "i64": 64}
_REGION_BYTES: Final = 65_024
_REGION_ELEMENTS: Final = 1024

_NOTE = f"""
  i32.const 0 i64.load $rec offset={log.COUNT_AT} local.tee $count
  {{watch}}
  i32.const 0 i64.load $rec offset={log.HALT_AT} {{reached}}
  if {{halt}} end
  local.get $count i32.const 0 i64.load $rec offset={log.START_AT} {{reached}}
  if
    i32.const 0 i32.load $rec offset={log.OUT_AT} local.set $out
    i32.const 0 i64.load $rec offset={log.STEP_AT} local.tee $w {{none}}
    if
      {{raw}}
    else
      i32.const 0 local.get $w local.get $count {{plus64}} i64.store $rec offset={log.START_AT}
      local.get $out
      if
        local.get $out i32.const {log.SLOTS} {{within}}
        if
          local.get $out {{times8}}
          i32.const 0 i64.load $rec offset={log.LANE_AT}
          i64.store $rec offset={log.TABLE_AT - 8}
        end
      else
        i32.const 0 i64.const {SEED_A} i64.store $rec offset={log.LANE_AT}
      end
      i32.const 0 local.get $out i32.const 1 {{plus32}} i32.store $rec offset={log.OUT_AT}
      call $take
    end
  end
  i32.const 0 local.get $count i64.const 1 {{plus64}} local.tee $count i64.store $rec offset={log.COUNT_AT}
  i32.const 0
  i32.const 0 i64.load $rec offset={log.LANE_AT} {{step}}
  i64.store $rec offset={log.LANE_AT}
  local.get $count i32.const 0 i64.load $rec offset={log.HALT_AT} {{reached}}
  if {{halt}} end
"""
_WATCH = """
  ;; the count that note has just taken stays on the stack; the known answer's events, whose numbers are negative, see no memory
  local.get $count i64.const 0 {reached}
  if
    memory.size $m {address}.const {pages} {enough}
    if
      {address}.const {at} local.set $at
      {copied}
      local.get $value i32.const $SCRATCH i64.load $rec {plus64} local.set $value
    end
  end
"""
_RAW = f"""
  local.get $out if else i32.const 0 i64.const {SEED_A} i64.store $rec offset={log.LANE_AT} end
  local.get $out i32.const 0 i32.load $rec offset={log.LIMIT_AT} {{below}}
  if
    local.get $out {{times16}} i32.const 0 i32.load $rec offset={log.BASE_AT} {{plus32}} local.tee $p
    local.get $site i32.store $rec
    local.get $p local.get $count i64.store $rec offset=4
    local.get $p local.get $value i64.store $rec offset=8
    i32.const 0 local.get $out i32.const 1 {{plus32}} i32.store $rec offset={log.OUT_AT}
    call $take
  end
"""
_ASIDE = f"""
  ;; a record that is no event: it changes neither count nor digest, and is kept in raw mode only
  i32.const 0 i64.load $rec offset={log.COUNT_AT} local.tee $count
  i32.const 0 i64.load $rec offset={log.START_AT} {{reached}}
  if
    i32.const 0 i64.load $rec offset={log.STEP_AT} {{none}}
    if
      i32.const 0 i32.load $rec offset={log.OUT_AT} local.set $out
      {{raw}}
    end
  end
"""
_VISIT = f"""
  i32.const 0 i64.load $rec offset={log.STEP_AT} {{none}}
  if
    i32.const 0 i32.const 0 i64.load $rec offset={log.VISITS_AT} i64.const 1 {{plus64}} i64.store $rec offset={log.VISITS_AT}
  end
"""
_LOADED: Final = {
    1: "i32.const $SCRATCH local.get $at i64.load8_u $m i64.store $rec",
    2: "i32.const $SCRATCH local.get $at i64.load16_u $m i64.store $rec",
    4: "i32.const $SCRATCH local.get $at i64.load32_u $m i64.store $rec",
    8: "i32.const $SCRATCH local.get $at i64.load32_u $m offset=4 i64.const 32 i64.shl local.get $at i64.load32_u $m i64.add i64.store $rec",
    _VECTOR_BYTES: "i32.const $SCRATCH local.get $at v128.load $m v128.store $rec",
}
"""What was stored in memory m, by its width, brought to the scratch page by loads."""
_WRITTEN = "i32.const 16 i32.shl i32.const 0 local.get $pages i32.const 16 i32.shl memory.fill $rec"
_PAD = f"""
  ;; all at once, since an engine may move a memory that grows; no blocks where it cannot grow
  i32.const 0 i32.load $rec offset={log.PAD_AT} local.tee $pages
  if
    local.get $pages i32.const 0 i32.load16_u $rec offset={log.AHEAD_AT} i32.add memory.grow $rec local.tee $at
    i32.const -1 i32.eq
    if i32.const 0 i32.const 0 i32.store16 $rec offset={log.BLOCK_AT}
    else
      i32.const 0 local.get $at local.get $pages i32.add i32.store $rec offset={log.PAD_AT}
      local.get $at {_WRITTEN}
    end
  end
"""
_TAKE = f"""
  ;; a block of memory more, written to, so that the engine's process has it
  i32.const 0 i32.load16_u $rec offset={log.BLOCK_AT} local.tee $pages
  if
    i32.const 0 i32.load16_u $rec offset={log.AHEAD_AT}
    if
      i32.const 0 i32.load $rec offset={log.PAD_AT} local.set $at
      i32.const 0 local.get $at local.get $pages i32.add i32.store $rec offset={log.PAD_AT}
    else
      local.get $pages memory.grow $rec local.set $at
    end
    local.get $at i32.const -1 i32.ne
    if local.get $at {_WRITTEN} end
  end
"""
_HALT_THROWS = "throw $exit"
_HALT_TRAPS = f"""
  i32.const {lo.HEADER_ADDRESS + 28} i32.load $rec i32.const {lo.EXITED} call $record drop
  call $finish
  unreachable
"""
_PAGES: Final = (("pages", "i32"), ("at", "i32"), ("turn", "i64"))
_NOTE_LOCALS: Final = (("count", "i64"), ("w", "i64"), ("out", "i32"), ("p", "i32"))

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


class Watch(msgspec.Struct, frozen=True):
    """Bytes of a memory, at most eight, that are added to every event's value, so that events differ from when these bytes do."""

    memory: int
    address: int
    width: int

    def __str__(self) -> str:
        return f"{plural(self.width, 'byte')} at {self.address:#x} of memory {self.memory}"


class Helpers:
    """The helper functions of one instrumented artifact; ``index`` gives a function's index and adds it where it is new."""

    def __init__(self, module: Module, first: int, variant: Variant, watch: Watch | None = None) -> None:
        self.module, self.first, self.variant, self.watch = module, first, variant, watch
        self._apart = log.APART if variant == "add" else ()
        self._own = _OWN + len(self._apart)
        self._keys: dict[Key, int] = {}
        for each in ("i32", "i64", "f32", "f64"):
            self.index(Key("probe", each))

    @property
    def count(self) -> int:
        """How many functions there are, with the log's own."""
        return self._own + len(self._keys)

    def index(self, key: Key) -> int:
        """The function index of a helper."""
        if key not in self._keys:
            self._keys[key] = self.first + self._own + len(self._keys)
            if key.kind == "memory" and key.width == _VECTOR_BYTES:
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
        names |= {name: self.first + _OWN + at for at, (name, _, _) in enumerate(self._apart)}
        own = log.words(self.variant)
        raw = _RAW.format(**own)
        note = _NOTE.format(**own, halt=_HALT_THROWS if unwind else _HALT_TRAPS, raw=raw, watch=self._watched())
        watched: dict[str, int] = {}
        local: tuple[tuple[str, str], ...] = _NOTE_LOCALS
        if self.watch is not None:
            watched, local = {"m": self.watch.memory}, (*_NOTE_LOCALS, ("at", self._address(self.watch.memory)))
        noting, doing = types.function(("i32", "i64"), ()), types.function((), ())
        event = ("site", "value")
        made = [
            (doing, self._linked(self._begin(), names, (), _PAGES)),
            (noting, self._linked(note, {**names, **watched}, event, local)),
            (noting, self._linked(_ASIDE.format(**own, raw=raw), names, event, _NOTE_LOCALS)),
            (doing, self._linked(_VISIT.format(**own), names)),
            (doing, self._linked(_TAKE, names, (), _PAGES)),
        ]
        for name, params, text in self._apart:
            typeidx = types.function(params, (name[:3],) if name.endswith(".from") else ())
            made.append((typeidx, link(assemble(text, params=("at", "v", "offset")[: len(params)]), names)))
        for key in self._keys:
            made.append(self._helper(key, types, {**names, "note": self.first + ASIDE if key.aside else self.note}))
        return made

    def _watched(self) -> str:
        """What the note does about the bytes that are watched."""
        watch = self.watch
        if watch is None:
            return ""
        own, limits = log.words(self.variant), self.module.all_memories[watch.memory].limits
        address = self._address(watch.memory)
        page = 16 if limits.page_size_log2 is None else limits.page_size_log2
        pages = (watch.address + watch.width - 1 >> page) + 1
        if pages >> _BITS[address] - page:
            return ""
        return _WATCH.format(
            **own,
            address=address,
            pages=pages,
            enough=f"{address}.{'ge_u' if self.variant == 'rotate' else 'lt_u i32.eqz'}",
            at=watch.address,
            copied=self._copied(watch.width),
        )

    def _linked(
        self, text: str, names: Mapping[str, int], params: tuple[str, ...] = (), locals_: tuple[tuple[str, str], ...] = ()
    ) -> bytes:
        return link(assemble(log.in_words_of(self.variant, text), params=params, locals=locals_), names)

    # The beginning: where raw records go, and the known answer.

    def _begin(self) -> str:
        calls = " ".join(
            f"{each}.const {value if each[0] == 'i' else f'bits:{value:#x}'} i32.const {at + 1} call {self.index(Key('probe', each))} drop"
            for at, (each, value) in enumerate(_PATTERN)
        )
        own = log.words(self.variant)
        return f"""
          i32.const 0 i32.load $rec offset={log.BASE_AT}
          if else
            i32.const 0 i32.const 0 i32.load $rec offset={log.LIMIT_AT} {own["times16"]} call $reserve
            i32.store $rec offset={log.BASE_AT}
          end
          {_PAD}
          i32.const 0 i64.const {_PATTERN_COUNT} i64.store $rec offset={log.COUNT_AT}
          i32.const 0 i64.const {SEED_A} i64.store $rec offset={log.LANE_AT}
          {calls}
          i32.const 1 local.set $at
          loop $more
            local.get $at {own["times8"]} local.get $at {own["plus32"]} i32.const 7 {own["plus32"]} local.tee $at
            local.get $at {own["times16"]} {own["plus32"]}
            local.get $at i32.const {_BOUND} {own["below"]} {own["plus32"]}
            local.get $at i32.const {_BOUND} {own["within"]} {own["plus32"]}
            i32.const 0 i64.load $rec offset={log.LANE_AT} call $note
            local.get $turn i64.const 1 {own["plus64"]} local.tee $turn i64.const {_FED} {own["reached"]}
            if else br $more end
          end
          i32.const 0
          i32.const 0 i64.load $rec offset={log.LANE_AT} i32.const 0 i64.load $rec offset={log.COUNT_AT} {own["join"]}
          i64.store $rec offset={log.KNOWN_AT}
          i32.const 0 i64.const 0 i64.store $rec offset={log.COUNT_AT}
          i32.const 0 i64.const {SEED_A} i64.store $rec offset={log.LANE_AT}
        """

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

    def _copied(self, width: int) -> str:
        """So many bytes at ``$at`` of memory m brought to the scratch page, zeros behind them."""
        clear = " ".join(f"i32.const $SCRATCH i64.const 0 i64.store $rec offset={at}" for at in (0, 8))
        if self.variant == "add":
            return f"{clear} {_LOADED[width]}"
        return f"{clear} i32.const $SCRATCH local.get $at i32.const {width} memory.copy $rec $m"

    def _memory(self, key: Key) -> str:
        """What was stored, read back by a copy to the recorder memory, so that a fault in loads does not look like one in stores; or by
        loads of other widths, so that one in copies does not either.
        """
        copied = self._copied(key.width)
        if key.shape in ("f32", "f64"):
            probe = self.index(Key("probe", key.shape))
            return f"{copied} i32.const $SCRATCH {key.shape}.load $rec local.get $site call {probe} drop"
        if key.width == _VECTOR_BYTES:
            probe = self.index(Key("probe", "v128", key.shape))
            return f"{copied} i32.const $SCRATCH v128.load $rec local.get $site call {probe} drop"
        return f"{copied} local.get $site i32.const $SCRATCH i64.load $rec call $note"

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


_PATTERN: Final = (
    ("i32", 0x8000_0001),
    ("i64", 0x8765_4321_0FED_CBA9),
    ("f32", 0x3FC0_0000),
    ("f64", 0xC005_BF0A_8B14_5769),
    ("f32", 0x7FA0_0001),
    ("f64", 0x7FF0_0000_0000_0001),
    ("i32", 7),
    ("i64", 1 << 63),
)


_FED: Final = 400
_BOUND: Final = 0x5000_0000
"""So many events more in the known answer, whose values are the digest so far and whose sites come of what the log computes its
addresses by: values of all kinds, for an engine that is wrong in few.
"""


def known_answer(variant: Variant) -> int:
    """What the beginning computes over its pattern."""
    lane = mix(variant, ((at + 1, value) for at, (_, value) in enumerate(_PATTERN)))
    word = 1
    for _ in range(_FED):
        word = (9 * word + 7) % (1 << 32)
        site = (17 * word + (word < _BOUND) + (word <= _BOUND)) % (1 << 32)
        lane = mix(variant, ((site, lane),), lane)
    count = _PATTERN_COUNT + len(_PATTERN) + _FED
    return (lane ^ count if variant == "rotate" else lane + count) & _MASK


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
