"""wasi:io 0.2: streams for the case's stdin and the captured stdout and stderr, pollables that are always ready.

A read returns the rest of stdin, then *closed*. A write takes at most ``PERMIT`` bytes; a larger one traps, as the interface
specifies. A blocking write takes at most 4,096 bytes; a larger one fails with an error that has a message.
"""

from __future__ import annotations

from typing import Final

from diffcheck.capsule.stubs.lowered import (
    ERROR,
    POLLABLE,
    STDIN,
    STDOUT,
    Table,
    allocate,
    constant_bytes,
    drops,
    methods,
    returns,
    tag,
)
from diffcheck.capsule.stubs.spec import CAPTURE, TICK, Spec, capture, types

PERMIT: Final = 1 << 20
BLOCKING_CAP: Final = 4096
TOO_LARGE: Final = b"a blocking write takes at most 4096 bytes"
_CLOSED: Final = 1  # stream-error: last-operation-failed, closed

_IS_STDIN = f"local.get ${{at}} i32.const {STDIN} i32.ne if unreachable end"
_FD = f"""
  ;; the handles of stdout and stderr are one more than their file descriptors
  local.get $0 i32.const {STDOUT} i32.sub i32.const 2 i32.ge_u if unreachable end
  local.get $0 i32.const 1 i32.sub local.set $fd
"""
_LEFT = "i32.const $STDIN_BYTES i32.const $STDIN_POSITION i32.load $rec i32.sub"
_ADVANCE = "i32.const $STDIN_POSITION i32.const $STDIN_POSITION i32.load $rec local.get $n i32.add i32.store $rec"
_CAPTURE_LOCALS = (("fd", "i32"), ("from", "i32"), ("n", "i32"), ("c", "i32"))


def _ok(area: int) -> str:
    return f"local.get ${area} i32.const 0 i32.store8 $mem"


def _closed(area: int, at: int) -> str:
    return f"local.get ${area} i32.const 1 i32.store8 $mem local.get ${area} i32.const {_CLOSED} i32.store8 $mem offset={at}"


def _at_most_left(length: int) -> str:
    """Return text that sets ``$n`` to the minimum of the parameter ``length``, an i64, and the non-empty rest of stdin."""
    return f"""
      {_LEFT} local.set $n
      local.get ${length} local.get $n i64.extend_i32_u i64.lt_u if local.get ${length} i32.wrap_i64 local.set $n end
    """


_READ = f"""
  {_IS_STDIN.format(at=0)}
  {TICK}
  {_LEFT} i32.eqz if {_closed(2, 4)} return end
  {_at_most_left(1)}
  {allocate(1, "local.get $n")} local.set $p
  local.get $p i32.const $STDIN i32.const $STDIN_POSITION i32.load $rec i32.add local.get $n memory.copy $mem $rec
  {_ADVANCE}
  {_ok(2)}
  local.get $2 local.get $p i32.store $mem offset=4
  local.get $2 local.get $n i32.store $mem offset=8
"""

_SKIP = f"""
  {_IS_STDIN.format(at=0)}
  {TICK}
  {_LEFT} i32.eqz if {_closed(2, 8)} return end
  {_at_most_left(1)}
  {_ADVANCE}
  {_ok(2)}
  local.get $2 local.get $n i64.extend_i32_u i64.store $mem offset=8
"""

_SPLICE = f"""
  {_FD}
  {_IS_STDIN.format(at=1)}
  {TICK}
  {_LEFT} i32.eqz if {_closed(3, 8)} return end
  {_at_most_left(2)}
  local.get $n i32.const {PERMIT} i32.gt_u if i32.const {PERMIT} local.set $n end
  {_ok(3)}
  local.get $3 local.get $n i64.extend_i32_u i64.store $mem offset=8
  i32.const $STDIN i32.const $STDIN_POSITION i32.load $rec i32.add local.set $from
  {_ADVANCE}
  {capture("local.get $from i32.load8_u $rec")}
"""

_CHECK_WRITE = f"{_FD} {_ok(1)} local.get $1 i64.const {PERMIT} i64.store $mem offset=8"

_PERMITTED = f"i32.const {PERMIT} i32.gt_u if unreachable end"
_BLOCKING = f"""
  i32.const {BLOCKING_CAP} i32.gt_u
  if
    ;; err(last-operation-failed(error))
    local.get ${{area}} i32.const 1 i32.store8 $mem
    local.get ${{area}} i32.const 0 i32.store8 $mem offset=4
    local.get ${{area}} i32.const {ERROR} i32.store $mem offset=8
    return
  end
"""
_WRITE = f"{_FD} local.get $2 {{check}} local.get $1 local.set $from local.get $2 local.set $n {CAPTURE} {_ok(3)}"
_WRITE_ZEROES = f"""
  {_FD}
  local.get $1 i64.const {1 << 32} i64.ge_u if unreachable end
  local.get $1 i32.wrap_i64 local.tee $n {{check}}
  {capture("i32.const 0")}
  {_ok(2)}
"""

_POLL = f"""
  ;; polling nothing traps, as the interface has it; all that is polled is ready
  local.get $1 i32.eqz if unreachable end
  {TICK}
  {allocate(4, "local.get $1 i32.const 2 i32.shl")} local.set $p
  local.get $2 local.get $p i32.store $mem
  local.get $2 local.get $1 i32.store $mem offset=4
  loop $each
    local.get $p local.get $i i32.const 2 i32.shl i32.add local.get $i i32.store $mem
    local.get $i i32.const 1 i32.add local.tee $i local.get $1 i32.lt_u br_if $each
  end
"""

_TO_DEBUG_STRING = f"""
  local.get $0 i32.const {ERROR} i32.ne if unreachable end
  {allocate(1, f"i32.const {len(TOO_LARGE)}")} local.set $p
  {constant_bytes("local.get $p", TOO_LARGE)}
  local.get $1 local.get $p i32.store $mem
  local.get $1 i32.const {len(TOO_LARGE)} i32.store $mem offset=4
"""


def _write(params: str, text: str) -> Spec:
    return Spec(types(params), (), text, locals=_CAPTURE_LOCALS, needs_memory=True, output=True)


_READING = Spec(types("ili"), (), _READ, locals=(("n", "i32"), ("p", "i32")), needs_memory=True, needs_realloc=True)
_SKIPPING = Spec(types("ili"), (), _SKIP, locals=(("n", "i32"),), needs_memory=True)
_SPLICING = _write("iili", _SPLICE)

TABLE: Final[Table] = {
    "error": {
        "[method]error.to-debug-string": Spec(
            types("ii"), (), _TO_DEBUG_STRING, locals=(("p", "i32"),), needs_memory=True, needs_realloc=True
        ),
        **drops("error"),
    },
    "poll": {
        "[method]pollable.ready": Spec(types("i"), types("i"), f"{TICK} i32.const 1"),
        "[method]pollable.block": Spec(types("i"), (), TICK),
        "poll": Spec(types("iii"), (), _POLL, locals=(("p", "i32"), ("i", "i32")), needs_memory=True, needs_realloc=True),
        **drops("pollable"),
    },
    "streams": {
        **methods(
            "input-stream",
            {
                "read": _READING,
                "blocking-read": _READING,
                "skip": _SKIPPING,
                "blocking-skip": _SKIPPING,
                "subscribe": returns("i", "i", POLLABLE),
            },
        ),
        **methods(
            "output-stream",
            {
                "check-write": Spec(types("ii"), (), _CHECK_WRITE, locals=(("fd", "i32"),), needs_memory=True),
                "write": _write("iiii", _WRITE.format(check=_PERMITTED)),
                "blocking-write-and-flush": _write("iiii", _WRITE.format(check=_BLOCKING.format(area=3))),
                "flush": tag("ii", 0),
                "blocking-flush": tag("ii", 0),
                "subscribe": returns("i", "i", POLLABLE),
                "write-zeroes": _write("ili", _WRITE_ZEROES.format(check=_PERMITTED)),
                "blocking-write-zeroes-and-flush": _write("ili", _WRITE_ZEROES.format(check=_BLOCKING.format(area=2))),
                "splice": _SPLICING,
                "blocking-splice": _SPLICING,
            },
        ),
        **drops("input-stream", "output-stream"),
    },
}
