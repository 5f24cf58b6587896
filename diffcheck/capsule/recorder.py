"""The recorder's functions, which write the observation stream (``layout``) inside the capsule.

They are few and small, since each function has a cost in an engine: ``digest``, ``reserve``, ``record``, ``finish``. Code that
depends on the artifact (a store for each counter, global and branch) is encoded here and inserted in their text with ``raw``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import calls
from diffcheck.capsule import digest as d
from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map as mm
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link, memarg
from diffcheck.wasm.leb import u

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from diffcheck.capsule.references import References
    from diffcheck.wasm.types import RefType, TableType, ValType

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

_DIGEST = f"""
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

_RESERVE = f"""
  ;; $n bytes at the heap's end, rounded up to 8: their address, or 0 if the memory cannot grow
  i32.const $HEAP_END i32.load $rec local.tee $at
  local.get $n i32.const 7 i32.add i32.const -8 i32.and i32.add local.tee $end
  i64.extend_i32_u memory.size $rec i64.extend_i32_u i64.const 16 i64.shl i64.gt_u
  if
    local.get $end i32.const 65535 i32.add i32.const 16 i32.shr_u memory.size $rec i32.sub memory.grow $rec
    i32.const -1 i32.eq
    if
      {calls.flag(lo.FLAG_CUT)}
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


def _record_text(layout: lo.Layout) -> str:
    begin = (calls.BEGIN_ROW if layout.stubs else "") + ("" if layout.log_row is None else calls.begin_log(layout.log_row))
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

_FINISH_LOCALS = (
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


def _finish_text(layout: lo.Layout, elements: str, carry: str, *, view: bool) -> str:
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


_PATTERN_LANES: Final = d.digest(mm.PATTERN_BYTES)
KNOWN_ANSWER: Final = _PATTERN_LANES[0] ^ ((_PATTERN_LANES[1] << 32 | _PATTERN_LANES[1] >> 32) & d.MASK)
"""The digest of ``PATTERN_BYTES``, which every pass computes: lane a xor lane b rotated by 32."""


class Indices(msgspec.Struct, frozen=True):
    """The indices that the recorder uses: its functions and memory, and the globals and tables that it records."""

    rec: int
    digest: int
    reserve: int
    record: int
    finish: int
    trace: int | None
    counters: tuple[tuple[int, str], ...]
    brvals: tuple[int, ...]
    brcnts: tuple[int, ...]
    globals: tuple[tuple[int, ValType], ...]
    tables: tuple[TableType, ...]


def symbols(layout: lo.Layout, places: mm.MemoryMap, indices: Indices) -> dict[str, int]:
    """Return all symbols in the recorder's and the driver's texts."""
    trace, out, err = layout.trace_offset, layout.stdout_offset, layout.stdout_offset + 24
    return {
        **places.symbols,
        "rec": indices.rec,
        "trace": indices.trace if indices.trace is not None else 0,
        "digest": indices.digest,
        "reserve": indices.reserve,
        "record": indices.record,
        "finish": indices.finish,
        "RECORD_SIZE": layout.record_size,
        "N_INIT": layout.n_init,
        "DIGEST_PAGES": layout.digest_pages,
        "TRACE": trace,
        "TRACE_OVERFLOW": trace + 4,
        "TRACE_AT": trace + 8,
        "TRACE_DIGEST": trace + 16,
        "OUT": out,
        "OUT_CAPTURED": out + 8,
        "OUT_AT": out + 12,
        "OUT_DIGEST": out + 16,
        "ERR": err,
        "ERR_CAPTURED": err + 8,
        "ERR_AT": err + 12,
        "ERR_DIGEST": err + 16,
        "OBJECTS_AT": layout.objects_offset,
        "FINAL_OBJECTS_AT": layout.final_objects_offset,
        "CALLS": layout.calls_offset,
        "CALLS_DIGEST": layout.calls_digest_offset,
        "CALLS_BYTES": 4 * len(layout.stubs),
        **{f"m{memory.index}": memory.index for memory in layout.memories},
    }


def functions(
    layout: lo.Layout,
    indices: Indices,
    names: Mapping[str, int | bytes],
    carry: str,
    references: References,
    *,
    view: bool = True,
) -> list[bytes]:
    """Return the code entries of ``digest``, ``reserve``, ``record`` and ``finish``, in this order.

    ``carry`` is the text at the end of ``finish`` that transports the view. Without ``view`` an extension writes the view.
    """
    final_state = _final_state(layout, indices, references.word)
    elements, elements_names = references.elements(layout)
    raws = {"row_state": _row_state(layout, indices), "final_state": final_state, **elements_names}
    return _linked(_record_text(layout), _finish_text(layout, elements, carry, view=view), {**names, **raws})


def carry_keys(ranges: int, carry: str) -> str:
    """Return the text at the end of ``finish`` in the batch form: it adds the range's key to the view."""
    lengths = (lo.HEADER_ADDRESS + at for at in (32, 40, 48))
    stores = " ".join(
        f"local.get $out i32.const {at} i64.load $rec i64.store $rec offset={lo.VIEW_ADDRESS + 8 * word}"
        for word, at in enumerate(lengths)
    )
    return f"""
      i32.const {lo.RANGE_ADDRESS} i32.load $rec local.tee $n i32.const {lo.KEY.size} i32.mul local.set $out
      {stores}
      local.get $n i32.const {ranges - 1} i32.eq
      if {carry} end
    """


def unrecorded(names: Mapping[str, int | bytes], carry: str) -> list[bytes]:
    """Return the same functions for the unrecorded form, in which ``finish`` only executes ``carry``."""
    return _linked(f"local.get $outcome i32.const {lo.RETURNED} i32.gt_u", carry, names)


def _linked(record: str, finish: str, names: Mapping[str, int | bytes]) -> list[bytes]:
    ints = (("end", "i32"), ("bulk", "i32"), ("a", "i64"), ("b", "i64"), ("w", "i64"))
    return [
        link(assemble(_DIGEST, params=("p", "n", "out"), locals=ints), names),
        link(assemble(_RESERVE, params=("n",), locals=(("at", "i32"), ("end", "i32"))), names),
        link(assemble(record, params=("slot", "outcome"), locals=(("r", "i32"), ("n", "i32"), ("at", "i32"))), names),
        link(assemble(finish, locals=_FINISH_LOCALS), names),
    ]


_STORES: Final[dict[str, tuple[bytes, int]]] = {
    "i32": (b"\x36", 2),
    "i64": (b"\x37", 3),
    "f32": (b"\x38", 2),
    "f64": (b"\x39", 3),
    "v128": (b"\xfd\x0b", 4),
}


def store(kind: str, memory: int) -> Callable[[int], bytes]:
    """Return an encoder, by offset, of stores of ``kind`` into ``memory``. The kind ``ref`` is a word."""
    opcode, align = _STORES["i64" if kind == "ref" else kind]
    return lambda offset: opcode + memarg(align, memory, offset)


def _stores(base: bytes, reads: Iterable[bytes], encode: Callable[[int], bytes], offset: int, step: int) -> bytes:
    return b"".join(base + read + encode(offset + step * at) for at, read in enumerate(reads))


def kind_of(value: ValType) -> str:
    """Return the kind of a type in the stream: a number or vector type's name, or ``ref``."""
    return value if isinstance(value, str) else "ref"


def _global_get(index: int) -> bytes:
    return b"\x23" + u(index)


def _row_state(layout: lo.Layout, indices: Indices) -> bytes:
    base, encode = b"\x20\x02", store("i32", indices.rec)  # local.get $r
    return _stores(base, map(_global_get, indices.brvals), encode, layout.brvals_offset, 4) + _stores(
        base, map(_global_get, indices.brcnts), encode, layout.brcnts_offset, 4
    )


def _final_state(layout: lo.Layout, indices: Indices, word: Callable[[RefType], bytes]) -> bytes:
    base = b"\x20\x00"  # local.get $f
    i64 = store("i64", indices.rec)
    reads = (_global_get(index) + (b"\xad" if kind == "i32" else b"") for index, kind in indices.counters)
    code = [_stores(base, reads, i64, 0, 8)]
    offset = layout.globals_offset
    for index, value in indices.globals:
        kind = kind_of(value)
        described = b"" if isinstance(value, str) else word(value)
        code.append(base + _global_get(index) + described + store(kind, indices.rec)(offset))
        offset += 16 if kind == "v128" else 8
    sizes = (b"\xfc\x10" + u(index) + (b"" if type_.limits.is64 else b"\xad") for index, type_ in enumerate(indices.tables))
    code.append(_stores(base, sizes, i64, layout.tables_offset, 8))
    return b"".join(code)


@lru_cache(maxsize=1024)  # small artifacts share few numbers of globals
def carry_words(slots: range, rec: int) -> bytes:
    """Return instructions that copy the header and the view to the slot globals."""
    return b"".join(load + u(index) for load, index in zip(_slot_loads(rec), slots, strict=True))


@lru_cache(maxsize=128)  # by the recorder memory's index, at most 99
def _slot_loads(rec: int) -> tuple[bytes, ...]:
    load, global_set = b"\x41\x00\x29", b"\x24"  # i32.const 0, i64.load; global.set
    return tuple(load + memarg(3, rec, lo.HEADER_ADDRESS + 8 * at) + global_set for at in range(lo.SLOTS))


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
