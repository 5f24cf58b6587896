"""wasi:clocks 0.2: clocks that advance by one step at each call, and the time zone UTC."""

from __future__ import annotations

from typing import Final

from diffcheck.capsule.stubs.lowered import POLLABLE, Table, allocate, constant_bytes, returns
from diffcheck.capsule.stubs.spec import TICK, Spec, types

_SECOND: Final = 1_000_000_000
_ZONE: Final = b"UTC"

_DATETIME = f"""
  local.set $t
  local.get $0 local.get $t i64.const {_SECOND} i64.div_u i64.store $mem
  local.get $0 local.get $t i64.const {_SECOND} i64.rem_u i32.wrap_i64 i32.store $mem offset=8
"""

_DISPLAY = f"""
  {allocate(1, f"i32.const {len(_ZONE)}")} local.set $p
  {constant_bytes("local.get $p", _ZONE)}
  local.get $2 i32.const 0 i32.store $mem
  local.get $2 local.get $p i32.store $mem offset=4
  local.get $2 i32.const {len(_ZONE)} i32.store $mem offset=8
  local.get $2 i32.const 0 i32.store8 $mem offset=12
"""


def _datetime(nanoseconds: str) -> Spec:
    return Spec(types("i"), (), f"{nanoseconds} {_DATETIME}", locals=(("t", "i64"),), needs_memory=True)


TABLE: Final[Table] = {
    "monotonic-clock": {
        "now": Spec((), types("l"), f"{TICK} i32.const $CLOCK i64.load $rec"),
        "resolution": Spec((), types("l"), "i64.const $CLOCK_STEP"),
        "subscribe-instant": returns("l", "i", POLLABLE),
        "subscribe-duration": returns("l", "i", POLLABLE),
    },
    "wall-clock": {
        "now": _datetime(f"{TICK} i32.const $CLOCK i64.load $rec i64.const $CLOCK_START i64.add"),
        "resolution": _datetime("i64.const $CLOCK_STEP"),
    },
    "timezone": {
        "display": Spec(types("lii"), (), _DISPLAY, locals=(("p", "i32"),), needs_memory=True, needs_realloc=True),
        "utc-offset": returns("li", "i", 0),
    },
}
