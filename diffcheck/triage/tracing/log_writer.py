"""The functions that write the log: initialisation with the known answer, events, and asides, which are records that are not events.

Each is text with the operations of the log's variant; ``probes`` assembles them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.recorder.digest import SEED_A
from diffcheck.text import plural
from diffcheck.triage.tracing import event_log
from diffcheck.triage.tracing.event_log import Variant, mix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType

BEGIN, NOTE, ASIDE, VISIT, TAKE = range(5)
LOG_FUNCTIONS: Final = 5
"""The indices of the log's functions, and their number."""
VECTOR_BYTES: Final = 16
_MASK: Final = (1 << 64) - 1
_PATTERN_COUNT: Final = -(1 << 62)
_BITS: Final = {"i32": 32, "i64": 64}

_NOTE = f"""
  i32.const 0 i64.load $rec offset={event_log.COUNT_AT} local.tee $count
  {{watch}}
  i32.const 0 i64.load $rec offset={event_log.HALT_AT} {{reached}}
  if {{halt}} end
  local.get $count i32.const 0 i64.load $rec offset={event_log.START_AT} {{reached}}
  if
    i32.const 0 i32.load $rec offset={event_log.OUT_AT} local.set $out
    i32.const 0 i64.load $rec offset={event_log.STEP_AT} local.tee $w {{none}}
    if
      {{raw}}
    else
      i32.const 0 local.get $w local.get $count {{plus64}} i64.store $rec offset={event_log.START_AT}
      local.get $out {{some}}
      if
        local.get $out i32.const {event_log.SLOTS} {{within}}
        if
          local.get $out {{times8}}
          i32.const 0 i64.load $rec offset={event_log.LANE_AT}
          i64.store $rec offset={event_log.TABLE_AT - 8}
        end
      else
        i32.const 0 i64.const {SEED_A} i64.store $rec offset={event_log.LANE_AT}
      end
      i32.const 0 local.get $out i32.const 1 {{plus32}} i32.store $rec offset={event_log.OUT_AT}
      call $take
    end
  end
  i32.const 0 local.get $count i64.const 1 {{plus64}} local.tee $count i64.store $rec offset={event_log.COUNT_AT}
  i32.const 0
  i32.const 0 i64.load $rec offset={event_log.LANE_AT} {{step}}
  i64.store $rec offset={event_log.LANE_AT}
  local.get $count i32.const 0 i64.load $rec offset={event_log.HALT_AT} {{reached}}
  if {{halt}} end
"""
_WATCH = """
  ;; the count stays on the stack; events of the known answer have negative numbers and do not read memory
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
  local.get $out {{some}} if else i32.const 0 i64.const {SEED_A} i64.store $rec offset={event_log.LANE_AT} end
  local.get $out i32.const 0 i32.load $rec offset={event_log.LIMIT_AT} {{below}}
  if
    local.get $out {{times16}} i32.const 0 i32.load $rec offset={event_log.BASE_AT} {{plus32}} local.tee $p
    local.get $site i32.store $rec
    local.get $p local.get $count i64.store $rec offset=4
    local.get $p local.get $value i64.store $rec offset=8
    i32.const 0 local.get $out i32.const 1 {{plus32}} i32.store $rec offset={event_log.OUT_AT}
    call $take
  end
"""
_ASIDE = f"""
  ;; a record that is not an event: it changes neither count nor digest, and is written in raw mode only
  i32.const 0 i64.load $rec offset={event_log.COUNT_AT} local.tee $count
  i32.const 0 i64.load $rec offset={event_log.START_AT} {{reached}}
  if
    i32.const 0 i64.load $rec offset={event_log.STEP_AT} {{none}}
    if
      i32.const 0 i32.load $rec offset={event_log.OUT_AT} local.set $out
      {{raw}}
    end
  end
"""
_VISIT = f"""
  i32.const 0 i64.load $rec offset={event_log.STEP_AT} {{none}}
  if
    i32.const 0 i32.const 0 i64.load $rec offset={event_log.VISITS_AT} i64.const 1 {{plus64}} i64.store $rec offset={event_log.VISITS_AT}
  end
"""
_LOADED: Final = {
    1: "i32.const $SCRATCH local.get $at i64.load8_u $m i64.store $rec",
    2: "i32.const $SCRATCH local.get $at i64.load16_u $m i64.store $rec",
    4: "i32.const $SCRATCH local.get $at i64.load32_u $m i64.store $rec",
    8: "i32.const $SCRATCH local.get $at i64.load32_u $m offset=4 i64.const 32 i64.shl local.get $at i64.load32_u $m i64.add i64.store $rec",
    VECTOR_BYTES: "i32.const $SCRATCH local.get $at v128.load $m v128.store $rec",
}
"""Copies bytes of memory m to the scratch page by loads, by width."""
_WRITTEN = "i32.const 16 i32.shl i32.const 0 local.get $pages i32.const 16 i32.shl memory.fill $rec"
_PAD = f"""
  ;; all at once, since an engine may move a memory that grows; no blocks if it cannot grow
  i32.const 0 i32.load $rec offset={event_log.PAD_AT} local.tee $pages
  if
    local.get $pages i32.const 0 i32.load16_u $rec offset={event_log.AHEAD_AT} i32.add memory.grow $rec local.tee $at
    i32.const -1 i32.eq
    if i32.const 0 i32.const 0 i32.store16 $rec offset={event_log.BLOCK_AT}
    else
      i32.const 0 local.get $at local.get $pages i32.add i32.store $rec offset={event_log.PAD_AT}
      local.get $at {_WRITTEN}
    end
  end
"""
TAKE_TEXT = f"""
  ;; one more block of memory, written to, so that it is resident
  i32.const 0 i32.load16_u $rec offset={event_log.BLOCK_AT} local.tee $pages
  if
    i32.const 0 i32.load16_u $rec offset={event_log.AHEAD_AT}
    if
      i32.const 0 i32.load $rec offset={event_log.PAD_AT} local.set $at
      i32.const 0 local.get $at local.get $pages i32.add i32.store $rec offset={event_log.PAD_AT}
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
PAGES: Final = (("pages", "i32"), ("at", "i32"), ("turn", "i64"))
NOTE_LOCALS: Final = (("count", "i64"), ("w", "i64"), ("out", "i32"), ("p", "i32"))

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
"""Further events of the known answer: their values are the digest so far, and their sites are computed like the log's addresses.
They cover many values, for an engine that is wrong for few.
"""


def known_answer(variant: Variant) -> int:
    """The digest that the initialisation computes over its pattern."""
    lane = mix(variant, ((at + 1, value) for at, (_, value) in enumerate(_PATTERN)))
    word = 1
    for _ in range(_FED):
        word = (9 * word + 7) % (1 << 32)
        site = (17 * word + (word < _BOUND) + (word <= _BOUND)) % (1 << 32)
        lane = mix(variant, ((site, lane),), lane)
    count = _PATTERN_COUNT + len(_PATTERN) + _FED
    return (lane ^ count if variant == "rotate" else lane + count) & _MASK


class MemoryWatch(msgspec.Struct, frozen=True):
    """At most eight bytes of a memory that are added to every event's value, so that events differ as soon as these bytes do."""

    memory: int
    address: int
    width: int

    def __str__(self) -> str:
        return f"{plural(self.width, 'byte')} at {self.address:#x} of memory {self.memory}"


def note(variant: Variant, watch: str, *, unwind: bool) -> str:
    """The function that logs an event with ``$site`` and ``$value``; ``watch`` is the result of ``watch_text`` or empty. With ``unwind``
    the program is ended by a throw.
    """
    own = event_log.operations(variant)
    return _NOTE.format(**own, halt=_HALT_THROWS if unwind else _HALT_TRAPS, raw=_RAW.format(**own), watch=watch)


def aside(variant: Variant) -> str:
    """The function that logs an aside."""
    own = event_log.operations(variant)
    return _ASIDE.format(**own, raw=_RAW.format(**own))


def visit(variant: Variant) -> str:
    """The function that counts executions of the instruction with details."""
    return _VISIT.format(**event_log.operations(variant))


def copied(variant: Variant, width: int) -> str:
    """Copies ``width`` bytes at ``$at`` of memory m to the scratch page, followed by zeros."""
    clear = " ".join(f"i32.const $SCRATCH i64.const 0 i64.store $rec offset={at}" for at in (0, 8))
    if variant == "add":
        return f"{clear} {_LOADED[width]}"
    return f"{clear} i32.const $SCRATCH local.get $at i32.const {width} memory.copy $rec $m"


def watch_text(watch: MemoryWatch, module: Module, variant: Variant) -> str:
    """The part of the log function that adds watched bytes; empty if the memory can never have them."""
    limits = module.all_memories[watch.memory].limits
    address = "i64" if limits.is64 else "i32"
    page = 16 if limits.page_size_log2 is None else limits.page_size_log2
    pages = (watch.address + watch.width - 1 >> page) + 1
    if pages >> _BITS[address] - page:
        return ""
    return _WATCH.format(
        **event_log.operations(variant),
        address=address,
        pages=pages,
        enough=f"{address}.{'ge_u' if variant == 'rotate' else 'lt_u i32.eqz'}",
        at=watch.address,
        copied=copied(variant, watch.width),
    )


def begin(variant: Variant, probes: Mapping[ValType, int]) -> str:
    """The initialisation: allocates raw records and computes the known answer, with the probes of the four number types."""
    calls = " ".join(
        f"{each}.const {value if each[0] == 'i' else f'bits:{value:#x}'} i32.const {at + 1} call {probes[each]} drop"
        for at, (each, value) in enumerate(_PATTERN)
    )
    own = event_log.operations(variant)
    return f"""
      i32.const 0 i32.load $rec offset={event_log.BASE_AT} {own["some"]}
      if else
        i32.const 0 i32.const 0 i32.load $rec offset={event_log.LIMIT_AT} {own["times16"]} call $reserve
        i32.store $rec offset={event_log.BASE_AT}
      end
      {_PAD}
      i32.const 0 i64.const {_PATTERN_COUNT} i64.store $rec offset={event_log.COUNT_AT}
      i32.const 0 i64.const {SEED_A} i64.store $rec offset={event_log.LANE_AT}
      {calls}
      i32.const 1 local.set $at
      loop $more
        local.get $at {own["times8"]} local.get $at {own["plus32"]} i32.const 7 {own["plus32"]} local.tee $at
        local.get $at {own["times16"]} {own["plus32"]}
        local.get $at i32.const {_BOUND} {own["below"]} {own["plus32"]}
        local.get $at i32.const {_BOUND} {own["within"]} {own["plus32"]}
        i32.const 0 i64.load $rec offset={event_log.LANE_AT} call $note
        local.get $turn i64.const 1 {own["plus64"]} local.tee $turn i64.const {_FED} {own["reached"]}
        if else br $more end
      end
      i32.const 0
      i32.const 0 i64.load $rec offset={event_log.LANE_AT} i32.const 0 i64.load $rec offset={event_log.COUNT_AT} {own["join"]}
      i64.store $rec offset={event_log.KNOWN_AT}
      i32.const 0 i64.const 0 i64.store $rec offset={event_log.COUNT_AT}
      i32.const 0 i64.const {SEED_A} i64.store $rec offset={event_log.LANE_AT}
    """
