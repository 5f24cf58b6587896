"""wasi:random 0.2: one seeded generator for all of its interfaces."""

from __future__ import annotations

from typing import Final

from diffcheck.capsule.stubs.lowered import Table, allocate
from diffcheck.capsule.stubs.spec import NEXT_RANDOM, Spec, types

_BYTES = f"""
  ;; a list of 4 GiB or more does not fit into a 32-bit memory
  local.get $0 i64.const {1 << 32} i64.ge_u if unreachable end
  local.get $0 i32.wrap_i64 local.set $n
  {allocate(1, "local.get $n")} local.set $p
  local.get $1 local.get $p i32.store $mem
  local.get $1 local.get $n i32.store $mem offset=4
  block $done
    loop $each
      local.get $n i32.eqz br_if $done
      local.get $p
      {NEXT_RANDOM} i64.const 56 i64.shr_u i32.wrap_i64
      i32.store8 $mem
      local.get $p i32.const 1 i32.add local.set $p
      local.get $n i32.const 1 i32.sub local.set $n
      br $each
    end
  end
"""

_GET_BYTES = Spec(types("li"), (), _BYTES, locals=(("n", "i32"), ("p", "i32"), ("x", "i64")), needs_memory=True, needs_realloc=True)
_GET_U64 = Spec((), types("l"), NEXT_RANDOM, locals=(("x", "i64"),))
_SEED = Spec(
    types("i"),
    (),
    f"local.get $0 {NEXT_RANDOM} i64.store $mem local.get $0 {NEXT_RANDOM} i64.store $mem offset=8",
    locals=(("x", "i64"),),
    needs_memory=True,
)

TABLE: Final[Table] = {
    "random": {"get-random-bytes": _GET_BYTES, "get-random-u64": _GET_U64},
    "insecure": {"get-insecure-random-bytes": _GET_BYTES, "get-insecure-random-u64": _GET_U64},
    "insecure-seed": {"insecure-seed": _SEED},
}
