"""The text of the recorder's functions. Names in it are addresses, indices and code that depends on the layout: ``functions``."""

from __future__ import annotations

from diffcheck.capsule import import_calls
from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map as mm
from diffcheck.capsule.recorder import digest as d

_WORD = f"""
  local.get $p i64.load $rec offset={{offset}} local.tee $w
  local.get $a i64.xor i64.const {d.ROTATE_A} i64.rotl i64.const {d.PRIME_A} i64.mul local.set $a
  local.get $b i64.const {d.ROTATE_B} i64.rotl local.get $w i64.add i64.const {d.PRIME_B} i64.mul local.set $b
"""
_AVALANCHE = f"""
  local.tee $w i64.const 33 i64.shr_u local.get $w i64.xor i64.const {d.MIX_1} i64.mul
  local.tee $w i64.const 29 i64.shr_u local.get $w i64.xor i64.const {d.MIX_2} i64.mul
  local.tee $w i64.const 32 i64.shr_u local.get $w i64.xor
"""
_UNROLL = 8

DIGEST = f"""
  i64.const {d.SEED_A} local.set $a
  i64.const {d.SEED_B} local.set $b
  local.get $p local.get $n i32.add local.set $end
  local.get $p local.get $n i32.const {-8 * _UNROLL} i32.and i32.add local.set $bulk
  block $rest
    loop $words
      local.get $p local.get $bulk i32.ge_u br_if $rest
      {"".join(_WORD.format(offset=8 * at) for at in range(_UNROLL))}
      local.get $p i32.const {8 * _UNROLL} i32.add local.set $p
      br $words
    end
  end
  block $done
    loop $words
      local.get $p local.get $end i32.ge_u br_if $done
      {_WORD.format(offset=0)}
      local.get $p i32.const 8 i32.add local.set $p
      br $words
    end
  end
  local.get $out
  local.get $a local.get $n i64.extend_i32_u i64.xor {_AVALANCHE}
  i64.store $rec
  local.get $out
  local.get $b local.get $n i64.extend_i32_u i64.add {_AVALANCHE}
  i64.store $rec offset=8
"""

RESERVE = f"""
  ;; $n bytes at the heap's end, rounded up to 8: their address, or 0 if the memory cannot grow
  i32.const $HEAP_END i32.load $rec local.tee $at
  local.get $n i32.const 7 i32.add i32.const -8 i32.and i32.add local.tee $end
  i64.extend_i32_u memory.size $rec i64.extend_i32_u i64.const 16 i64.shl i64.gt_u
  if
    local.get $end i32.const 65535 i32.add i32.const 16 i32.shr_u memory.size $rec i32.sub memory.grow $rec
    i32.const -1 i32.eq
    if
      {import_calls.flag(lo.FLAG_CUT)}
      i32.const 0 return
    end
  end
  i32.const $HEAP_END local.get $end i32.store $rec
  local.get $at
"""

_BEGIN = f"""
  i32.const {lo.HEADER_ADDRESS + 24} i32.const {lo.RUNNING} i32.store $rec
  i32.const {lo.HEADER_ADDRESS + 28} local.get $slot i32.store $rec
  local.get $r i32.const {lo.ENTERED} i32.store $rec
  i32.const $CAPTURES i64.const 0 i64.store $rec
  i32.const $CAPTURES i64.const {d.OUTPUT_SEED} i64.store $rec offset=8
  i32.const $CAPTURES i32.const 0 i32.store $rec offset=16
  i32.const $CAPTURES i64.const 0 i64.store $rec offset=24
  i32.const $CAPTURES i64.const {d.OUTPUT_SEED} i64.store $rec offset=32
  i32.const $CAPTURES i32.const 0 i32.store $rec offset=40
"""

_TRACE = """
  ;; the trace: cursor, capacity, overflow flag, then the records up to the cursor, which must be within the memory
  memory.size $trace
  if
  local.get $r i32.const 0 i32.load $trace local.tee $n i32.store $rec offset=$TRACE
  local.get $r i32.const 0 i32.load $trace offset=8 i32.store $rec offset=$TRACE_OVERFLOW
  local.get $n memory.size $trace i32.const 16 i32.shl i32.le_u local.get $n i32.const 16 i32.gt_u i32.and
  if
    local.get $n i32.const 16 i32.sub local.tee $n call $reserve local.tee $at
    if
      local.get $at i32.const 16 local.get $n memory.copy $rec $trace
      local.get $r local.get $at i32.const $STREAM i32.sub i64.extend_i32_u i64.store $rec offset=$TRACE_AT
      local.get $at local.get $n i32.const 7 i32.add i32.const -8 i32.and i32.const $LANES call $digest
      local.get $r i32.const $LANES i64.load $rec i64.store $rec offset=$TRACE_DIGEST
    end
  end
  end
"""

_OUTPUT = """
  local.get $r i32.const $CAPTURES i64.load $rec offset={capture} i64.store $rec offset=${name}
  local.get $r i32.const $CAPTURES i32.load $rec offset={captured} local.tee $n i32.store $rec offset=${name}_CAPTURED
  local.get $r i32.const $CAPTURES i64.load $rec offset={running} i64.store $rec offset=${name}_DIGEST
  local.get $n
  if
    local.get $n call $reserve local.tee $at
    if
      local.get $at i32.const $BUFFERS i32.const {buffer} i32.add local.get $n memory.copy $rec $rec
      local.get $r local.get $at i32.const $STREAM i32.sub i32.store $rec offset=${name}_AT
    end
  end
"""


_CALLS = """
  local.get $r i32.const $CALLS_LANE i64.load $rec i64.store $rec offset=$CALLS_DIGEST
  local.get $r i32.const $CALLS i32.add i32.const $COUNTERS i32.const $CALLS_BYTES memory.copy $rec $rec
"""


def record_text(layout: lo.Layout) -> str:
    """Return the text of ``record``, which begins the record of a row and completes it."""
    begin = (import_calls.BEGIN_ROW if layout.stubs else "") + (
        "" if layout.log_row is None else import_calls.begin_log(layout.log_row)
    )
    outputs = "".join(
        _OUTPUT.format(name=name, capture=24 * at, running=24 * at + 8, captured=24 * at + 16, buffer=at * mm.OUTPUT_CAP)
        for at, name in enumerate(("OUT", "ERR"))
    )
    return f"""
      local.get $slot i32.const $RECORD_SIZE i32.mul i32.const $STREAM i32.add local.set $r
      local.get $outcome i32.const {lo.ENTERED} i32.eq
      i32.const {lo.HEADER_ADDRESS + 24} i32.load $rec i32.const {lo.RUNNING} i32.ne i32.and
      if {_BEGIN} {begin} i32.const 0 return end
      i32.const $EXIT_FLAG i32.load $rec local.get $outcome i32.const {lo.RETURNED} i32.eq i32.and
      if
        i32.const $EXIT_STATUS i32.load $rec i32.const {lo.SWALLOWED}
        i32.const $EXIT_STATUS i32.load $rec i32.const {lo.LEFT} i32.eq select local.set $outcome
      end
      local.get $r local.get $outcome i32.store $rec
      local.get $r i32.const $EXIT_CODE i32.load $rec i32.store $rec offset=4
      {_TRACE if layout.has_trace else ""}
      {outputs if layout.has_output else ""}
      {_CALLS if layout.stubs else ""}
      raw $row_state
      {"local.get $r i32.const $OBJECTS_AT i32.add call $write_objects" if layout.objects else ""}
      i32.const {lo.HEADER_ADDRESS + 24} i32.const {lo.NOT_BEGUN} i32.store $rec
      local.get $outcome i32.const {lo.RETURNED} i32.ne
    """


_PAGES = """
  ;; memory {index}: its size, then a digest of each page within the budget; the digest of a page of zeros is (0, 0)
  local.get $f memory.size $m{index} {extend} local.tee $size i64.store $rec offset={record}
  local.get $size local.get $budget local.get $size local.get $budget i64.lt_u select local.set $count
  local.get $budget local.get $count i64.sub local.set $budget
  local.get $count i32.wrap_i64 i32.const 4 i32.shl call $reserve local.tee $out
  if
    local.get $f local.get $out i32.const $STREAM i32.sub i64.extend_i32_u i64.store $rec offset={at}
    local.get $f local.get $count i64.store $rec offset={number}
    i64.const 0 local.set $page
    block $all
      loop $each
        local.get $page local.get $count i64.ge_u br_if $all
        i32.const $SCRATCH local.get $page i64.const 16 i64.shl {wrap} i32.const 65536 memory.copy $rec $m{index}
        {zero}
        if i32.const $SCRATCH i32.const 65536 local.get $out call $digest end
        local.get $out i32.const 16 i32.add local.set $out
        local.get $page i64.const 1 i64.add local.set $page
        br $each
      end
    end
  end
"""

_NONZERO = """
  i32.const $SCRATCH local.set $p
  i32.const 0
  block $found
    loop $words
      local.get $p i64.load $rec
      {ors}
      i64.eqz i32.eqz br_if $found
      local.get $p i32.const {step} i32.add local.tee $p
      i32.const $SCRATCH i32.const 65536 i32.add i32.lt_u br_if $words
    end
    i32.const 0 local.set $p
  end
  drop local.get $p
"""
_ZERO_WORDS = 32
_NONZERO_TEXT = _NONZERO.replace(
    "{ors}", " ".join(f"local.get $p i64.load $rec offset={8 * at} i64.or" for at in range(1, _ZERO_WORDS))
).replace("{step}", str(8 * _ZERO_WORDS))

_VIEW = f"""
  i32.const {lo.VIEW_ADDRESS} i32.const 0 i32.const {lo.VIEW_BYTES} memory.fill $rec
  i32.const $STREAM local.set $p
  i32.const {lo.HEADER_ADDRESS + 32} i32.load $rec local.set $n
  i32.const 16 i32.load $rec local.tee $space
  if i32.const $SCRATCH local.set $p i32.const 65536 local.set $n end
  raw $load_page
  i32.const 24 i64.load $rec local.tee $size local.get $n i64.extend_i32_u i64.lt_u
  if
    local.get $p local.get $size i32.wrap_i64 i32.add local.set $p
    local.get $n local.get $size i32.wrap_i64 i32.sub local.set $n
    i32.const 12 i32.load $rec
    if
      i32.const 32 i32.load $rec local.set $step
      i32.const {lo.VIEW_ADDRESS} local.set $out
      block $all
        loop $each
          local.get $n i32.eqz br_if $all
          local.get $out i32.const {lo.VIEW_ADDRESS + lo.VIEW_BYTES} i32.ge_u br_if $all
          local.get $p
          local.get $step local.get $n local.get $step local.get $n i32.lt_u select local.tee $take
          i32.const $LANES call $digest
          local.get $out i32.const $LANES i64.load $rec i64.store $rec
          local.get $p local.get $take i32.add local.set $p
          local.get $n local.get $take i32.sub local.set $n
          local.get $out i32.const 8 i32.add local.set $out
          br $each
        end
      end
    else
      i32.const {lo.VIEW_ADDRESS} local.get $p
      local.get $n i32.const {lo.VIEW_BYTES} local.get $n i32.const {lo.VIEW_BYTES} i32.lt_u select
      memory.copy $rec $rec
    end
  end
"""

_LOAD_PAGE = """
  local.get $space i32.const {space} i32.eq
  if
    i32.const $SCRATCH i32.const 20 i32.load $rec {extend} {shift} i32.const 65536 memory.copy $rec $m{index}
  end
"""

FINISH_LOCALS = (
    ("f", "i32"),
    ("p", "i32"),
    ("n", "i32"),
    ("out", "i32"),
    ("take", "i32"),
    ("step", "i32"),
    ("space", "i32"),
    ("size", "i64"),
    ("count", "i64"),
    ("page", "i64"),
    ("budget", "i64"),
)


MARK_START = f"""
  ;; before the driver, finish is the start function
  i32.const {lo.HEADER_ADDRESS} i64.load $rec i64.eqz
  if i32.const $STARTED i32.const 1 i32.store $rec return end
"""


def finish_text(layout: lo.Layout, elements: str, carry: str, *, view: bool) -> str:
    """Return the text of ``finish``: the final record, the digests and the view, then ``carry``."""
    pages, loads = [], []
    for at, memory in enumerate(layout.memories):
        record = layout.memories_offset + 24 * at
        pages.append(
            _PAGES.format(
                index=memory.index,
                extend="" if memory.is64 else "i64.extend_i32_u",
                wrap="" if memory.is64 else "i32.wrap_i64",
                record=record,
                at=record + 8,
                number=record + 16,
                zero=_NONZERO_TEXT,
            )
        )
        shift = "i64.const 16 i64.shl" if memory.is64 else "i32.const 16 i32.shl"
        loads.append(
            _LOAD_PAGE.format(space=memory.index + 1, index=memory.index, shift=shift, extend="i64.extend_i32_u" * memory.is64)
        )
    return f"""
      i32.const {lo.HEADER_ADDRESS + 24} i32.load $rec i32.const {lo.RUNNING} i32.eq
      if i32.const {lo.HEADER_ADDRESS + 28} i32.load $rec i32.const {lo.ENTERED} call $record drop end
      ;; the final record follows the records of this pass
      i32.const 4 i32.load $rec i32.const 0 i32.load $rec i32.sub i32.const $N_INIT i32.add
      i32.const $RECORD_SIZE i32.mul i32.const $STREAM i32.add local.set $f
      raw $final_state
      {elements}
      {"local.get $f i32.const $FINAL_OBJECTS_AT i32.add call $write_objects" if layout.objects else ""}
      i64.const $DIGEST_PAGES local.set $budget
      {"".join(pages)}
      i32.const {lo.HEADER_ADDRESS + 32}
      i32.const $HEAP_END i32.load $rec i32.const $STREAM i32.sub local.tee $n i64.extend_i32_u i64.store $rec
      i32.const $STREAM local.get $n i32.const {lo.HEADER_ADDRESS + 40} call $digest
      ;; the known answer: a copy, then a digest of it
      i32.const $SCRATCH_LINE i32.const $PATTERN i32.const 64 memory.copy $rec $rec
      i32.const $SCRATCH_LINE i32.const 64 i32.const $LANES call $digest
      i32.const {lo.HEADER_ADDRESS + 16}
      i32.const $LANES i64.load $rec i32.const $LANES i64.load $rec offset=8 i64.const 32 i64.rotl i64.xor i64.store $rec
      i32.const {lo.HEADER_ADDRESS + 24} i32.const {lo.FINISHED} i32.store $rec
      {_VIEW.replace("raw $load_page", "".join(loads)) if view else ""}
      {carry}
    """


CARRY_PRINT = f"""
  ;; write the marker and the length from the scratch page, then the whole image, to file descriptor 1
  i32.const $SCRATCH i64.const {int.from_bytes(b"diffchec", "little")} i64.store $rec
  i32.const $SCRATCH i64.const {int.from_bytes(b"k:image" + bytes([10]), "little")} i64.store $rec offset=8
  i32.const $SCRATCH i32.const $HEAP_END i32.load $rec i64.extend_i32_u i64.store $rec offset=16
  i32.const $SCRATCH local.set $p
  i32.const 24 local.set $n
  i32.const 0 local.set $space
  loop $both
    loop $rest
      i32.const $SCRATCH local.get $p i32.store $rec offset=32
      i32.const $SCRATCH local.get $n i32.store $rec offset=36
      i32.const 1 i32.const $SCRATCH i32.const 32 i32.add i32.const 1 i32.const $SCRATCH i32.const 40 i32.add
      call $fd_write
      ;; a full non-blocking pipe returns EAGAIN (6): retry
      local.tee $step
      i32.const 6 i32.eq br_if $rest
      local.get $step
      if unreachable end
      local.get $p i32.const $SCRATCH i32.load $rec offset=40 local.tee $take i32.add local.set $p
      local.get $n local.get $take i32.sub local.tee $n br_if $rest
    end
    local.get $space
    if else
      i32.const 1 local.set $space
      i32.const 0 local.set $p
      i32.const $HEAP_END i32.load $rec local.set $n
      br $both
    end
  end
"""
"""Prints the recorder memory up to the heap's end to stdout: a marker of 16 bytes, a u64 length, the image."""
