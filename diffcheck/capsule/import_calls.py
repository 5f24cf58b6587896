"""The digest of a row's calls of imports, which every stub updates first, and the log of calls, which locates a difference.

A call consists of 64-bit words: the import's index; its arguments (a v128 as two words; a reference as the word that
``References.passed`` describes); for an import with inputs (``stubs.inputs``) lane a of the digest of the bytes passed, at most
``GATHERED``. Each word ``w`` updates the lane to ``rotl(lane ^ w, ROTATE_A) * PRIME_A``. The lane starts each row as ``SEED_A``.

The *logging form* of a capsule also appends each call to a log, the first part of the heap: u32 bytes used, u32 capacity in bytes
(0 outside the logged row and after a call that did not fit), u32 number of the row's calls, u32 whether the row is running; then
for each call u64 import's index, the argument words, and for an import with inputs u64 number of bytes passed and the bytes, with
zeros to a multiple of 8.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from diffcheck.capsule import layout as lo
from diffcheck.capsule.recorder import digest as d
from diffcheck.errors import StreamError
from diffcheck.observation import StubCall
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.capsule.stubs.inputs import Input

GATHERED: Final = lo.PAGE - 8
"""Digested bytes of a call: the size of the scratch page without padding."""
LOG_BYTES: Final = 1 << 20
_HEAD: Final = struct.Struct("<IIII")
HEAD_BYTES: Final = _HEAD.size
LOCALS: Final = (("in_at", "i32"), ("in_from", "i32"), ("in_each", "i32"), ("in_end", "i32"), ("in_n", "i64"), ("in_room", "i64"))
"""Additional locals of a stub with inputs."""
LOG_LOCAL: Final = (("call_log", "i32"),)

BEGIN_ROW: Final = f"i32.const $CALLS_LANE i64.const {d.SEED_A} i64.store $rec"
RESERVE_LOG: Final = f"i32.const $CALL_LOG i32.const {LOG_BYTES} call $reserve i32.store $rec"

_STEP: Final = f"i64.xor i64.const {d.ROTATE_A} i64.rotl i64.const {d.PRIME_A} i64.mul"
_WORDS: Final = {
    "i32": ("local.get ${at} i64.extend_i32_u",),
    "i64": ("local.get ${at}",),
    "f32": ("local.get ${at} i32.reinterpret_f32 i64.extend_i32_u",),
    "f64": ("local.get ${at} i64.reinterpret_f64",),
    "v128": ("local.get ${at} i64x2.extract_lane 0", "local.get ${at} i64x2.extract_lane 1"),
    "ref": ("local.get ${at} raw $word_{at}",),
}
"""Texts by kind of parameter. For a reference, ``word_{at}`` are the instructions that make its word."""

_PIECE: Final = f"""
  ;; limited to the memory's size, so that nothing traps here that would not trap in the function, then to the scratch page
  {{address}} local.set $in_from
  {{bytes}} local.set $in_n
  memory.size $mem i64.extend_i32_u i64.const $PAGE_LOG2 i64.shl local.get $in_from i64.extend_i32_u i64.sub
  local.tee $in_room i64.const 0 local.get $in_room i64.const 0 i64.gt_s select local.set $in_room
  local.get $in_n local.get $in_room local.get $in_n local.get $in_room i64.lt_u select local.set $in_n
  i64.const {GATHERED} local.get $in_at i64.extend_i32_u i64.sub local.set $in_room
  local.get $in_n local.get $in_room i64.gt_u
  if
    local.get $in_room local.set $in_n
    {{cut}}
  end
  local.get $in_n i32.wrap_i64
  if
    i32.const $SCRATCH local.get $in_at i32.add local.get $in_from local.get $in_n i32.wrap_i64 memory.copy $rec $mem
    local.get $in_at local.get $in_n i32.wrap_i64 i32.add local.set $in_at
  end
"""
_LISTS: Final = """
  block $listed
    loop $lists
      local.get $in_each i32.const 8 i32.add local.get $in_end i32.gt_u br_if $listed
      {piece}
      local.get $in_each i32.const {step} i32.add local.set $in_each
      br $lists
    end
  end
"""
_DIGESTED: Final = """
  i32.const $SCRATCH local.get $in_at i32.add i64.const 0 i64.store $rec
  i32.const $SCRATCH local.get $in_at i32.const 7 i32.add i32.const -8 i32.and i32.const $LANES call $digest
"""
_LOGGED: Final = """
  i32.const $CALL_LOG i32.load $rec local.tee $call_log
  local.get $call_log i32.load $rec offset=8 local.get $call_log i32.load $rec offset=12 i32.add i32.store $rec offset=8
  local.get $call_log i32.load $rec {size} i32.add local.get $call_log i32.load $rec offset=4 i32.gt_u
  if
    local.get $call_log i32.const 0 i32.store $rec offset=4
  else
    local.get $call_log local.get $call_log i32.load $rec i32.add local.set $call_log
    {words}
    i32.const $CALL_LOG i32.load $rec local.tee $call_log
    local.get $call_log i32.load $rec {size} i32.add i32.store $rec
  end
"""


def begin_log(row: int) -> str:
    """Return text that starts the log at the record ``row``, and stops it at the next."""
    log = "i32.const $CALL_LOG i32.load $rec"
    is_row = f"local.get $slot i32.const {row} i32.eq"
    return f"""
      {log} {is_row} i32.store $rec offset=12
      {log} i32.const {LOG_BYTES - _HEAD.size} i32.const 0 {is_row} select i32.store $rec offset=4
    """


def flag(bit: int) -> str:
    """Return text that sets a flag of the header."""
    at = lo.HEADER_ADDRESS + 60
    return f"i32.const {at} i32.const {at} i32.load $rec i32.const {bit} i32.or i32.store $rec"


@lru_cache(maxsize=1024)  # artifacts share few signatures
def note(kinds: tuple[str, ...], inputs: tuple[Input, ...], *, log: bool) -> str:
    """Return text that adds a call of the import ``$IMPORT`` to the digest of the row's calls and, with ``log``, to the log."""
    words = [text.format(at=at) for at, kind in enumerate(kinds) for text in _WORDS[kind]]
    gathered = "".join(map(_gather, inputs)) + _DIGESTED if inputs else ""
    folded = " ".join(f"{word} {_STEP}" for word in ("i64.const $IMPORT", *words))
    passed = f"i32.const $LANES i64.load $rec {_STEP}" if inputs else ""
    text = f"""
      {gathered}
      i32.const $CALLS_LANE i32.const $CALLS_LANE i64.load $rec {folded} {passed} i64.store $rec
    """
    return text + _log(words, inputs) if log else text


def _gather(each: Input) -> str:
    size = f"local.get ${each.count} i64.extend_i32_u i64.const {each.size} i64.mul"
    cut = flag(lo.FLAG_CALLS_CUT)
    text = _PIECE.format(address=f"local.get ${each.address}", bytes=size, cut=cut)
    if not each.lists:
        return text
    pair = "i32.const $SCRATCH local.get $in_each i32.add i32.load $rec"
    piece = _PIECE.format(address=pair, bytes=f"{pair} offset=4 i64.extend_i32_u", cut=cut)
    begin, end = "local.get $in_at local.set $in_each", "local.get $in_at local.set $in_end"
    return begin + text + end + _LISTS.format(piece=piece, step=each.lists)


def _log(words: Sequence[str], inputs: Sequence[Input]) -> str:
    every = ("i64.const $IMPORT", *words, *(("local.get $in_at i64.extend_i32_u",) if inputs else ()))
    stores = "".join(f" local.get $call_log {word} i64.store $rec offset={_HEAD.size + 8 * at}" for at, word in enumerate(every))
    size = f"i32.const {8 * len(every)}"
    if inputs:
        to = f"local.get $call_log i32.const {_HEAD.size + 8 * len(every)} i32.add"
        stores += f" {to} i32.const $SCRATCH local.get $in_at memory.copy $rec $rec"
        size += " local.get $in_at i32.const 7 i32.add i32.const -8 i32.and i32.add"
    return _LOGGED.format(size=size, words=stores)


def read_log(data: bytes, stubs: Sequence[lo.Stub]) -> tuple[int, tuple[StubCall, ...]]:
    """Decode a log, possibly truncated: the number of calls in the logged row, and the first of these calls.

    The bytes passed by the last call may be truncated. ``StreamError`` if the log is damaged.
    """
    used, _, total, _ = _HEAD.unpack_from(data)
    end, at, calls = min(_HEAD.size + used, len(data)), _HEAD.size, []
    while at < end:
        (index,) = struct.unpack_from("<Q", data, at)
        if index >= len(stubs):
            raise StreamError(f"the log of calls has the import {index}, but the artifact has {len(stubs)} imports")
        if at + _fixed(stubs[index]) > end:
            break
        call, at = _call(data, at, stubs[index])
        calls.append(call)
    return total, tuple(calls)


def _fixed(stub: lo.Stub) -> int:
    """Return the size of a call's log entry without the bytes passed."""
    return 8 + sum(16 if kind == "v128" else 8 for kind in stub.params) + 8 * (stub.buffers == lo.COMPARED)


def _call(data: bytes, at: int, stub: lo.Stub) -> tuple[StubCall, int]:
    args, at = [], at + 8
    for kind in stub.params:
        width = 16 if kind == "v128" else 8
        args.append(Value(kind, int.from_bytes(data[at : at + width], "little")))
        at += width
    passed = b""
    if stub.buffers == lo.COMPARED:
        (size,) = struct.unpack_from("<Q", data, at)
        passed = data[at + 8 : at + 8 + size]
        at += 8 + (size + 7 & ~7)
    return StubCall(f"{stub.module}.{stub.name}", tuple(args), passed), at
