"""The capsule's ``_start``: it initialises the instance, then calls the rows of the pass one after the other.

Before each row witness's row state and trace are reset, exactly as witness itself does. A row that does not return ends the
group. Where a program can exit or throw, each row is called inside a ``try_table``; a row without is a plain call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.constants import constant
from diffcheck.capsule.recorder import kind_of, store
from diffcheck.values import Value
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import u

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diffcheck.wasm.types import FuncType

_LOCALS: Final = (("slot", "i32"), ("r", "i32"), ("i32", "i32"), ("i64", "i64"), ("f32", "f32"), ("f64", "f64"))
_VECTOR: Final = ("v128", "v128")
_TEMPORARY: Final = {name: index for index, (name, _) in enumerate((*_LOCALS, _VECTOR))}


class Call(msgspec.Struct, frozen=True):
    """A row as the driver makes it: the function's index and type, and its arguments."""

    name: str
    function: int
    type: FuncType
    args: tuple[Value, ...] = ()
    init: bool = False


_PROLOGUE = f"""
  i32.const {lo.HEADER_ADDRESS} i64.const {lo.MAGIC | lo.VERSION << 32} i64.store $rec
  i32.const {lo.HEADER_ADDRESS} i64.const $PLAN i64.store $rec offset=8
  i32.const {lo.HEADER_ADDRESS} i32.const $STREAM i32.store $rec offset=56
  ;; the heap begins behind the records and the final record
  i32.const $HEAP_END
  i32.const 4 i32.load $rec i32.const 0 i32.load $rec i32.sub i32.const $N_INIT i32.add
  i32.const $RECORD_SIZE i32.mul i32.const $FINAL_SIZE i32.add i32.const $STREAM i32.add
  i32.store $rec
  i32.const 0 call $reserve
  if else unreachable end
"""

_INERT = f"i32.const 8 i32.load $rec i32.const {lo.INERT} i32.and br_if 0"

_PLAIN = "raw $call"
_CAUGHT = f"""
  block $exit
    block $any
      try_table (catch $exit $exit) (catch_all $any)
        raw $call
      end
      local.get $slot i32.const {lo.RETURNED} call $record br_if $done
      br $next
    end
    local.get $slot i32.const {lo.THREW} call $record br_if $done
    br $next
  end
  local.get $slot i32.const {lo.EXITED} call $record br_if $done
  br $next
"""
_CAUGHT_ANY = f"""
  block $any
    try_table (catch_all $any)
      raw $call
    end
    local.get $slot i32.const {lo.RETURNED} call $record br_if $done
    br $next
  end
  local.get $slot i32.const {lo.THREW} call $record br_if $done
"""

_ROW = f"""
  block $done
    block $next
      {{within}}
      raw $reset
      {{slot}}
      local.tee $slot i32.const {lo.ENTERED} call $record drop
      local.get $slot i32.const $RECORD_SIZE i32.mul i32.const $STREAM i32.add local.set $r
      {{call}}
    end
  end
"""
_WITHIN = """
      i32.const $K i32.const 0 i32.load $rec i32.lt_u br_if $next
      i32.const $K i32.const 4 i32.load $rec i32.ge_u br_if $done
"""


def _row_text(*, init: bool, catch: str) -> str:
    plain = f"{_PLAIN} local.get $slot i32.const {lo.RETURNED} call $record br_if $done br $next"
    return _ROW.format(
        within="" if init else _WITHIN,
        slot="i32.const $K" if init else "i32.const $K i32.const $N_INIT i32.add i32.const 0 i32.load $rec i32.sub",
        call={"": plain, "any": _CAUGHT_ANY, "exit": _CAUGHT}[catch],
    )


def _call(call: Call, rec: int) -> bytes:
    """Arguments, the call, and a store of each result into the record; the last result is on top of the stack."""
    parts = [
        constant(kind_of(kind), value.bits, "func" if isinstance(kind, str) else kind.heap)
        for kind, value in zip(call.type.params, call.args, strict=True)
    ]
    parts.append(b"\x10" + u(call.function))
    kinds = [kind_of(kind) for kind in call.type.results]
    offset = 8 + sum(16 if kind == "v128" else 8 for kind in kinds)
    for kind in reversed(kinds):
        offset -= 16 if kind == "v128" else 8
        if kind == "ref":
            parts.append(b"\xd1\x45")  # ref.is_null, i32.eqz
        temporary = u(_TEMPORARY["i32" if kind == "ref" else kind])
        parts += [b"\x21", temporary, b"\x20\x01\x20", temporary, store(kind, rec)(offset)]
    return b"".join(parts)


def start(calls: Sequence[Call], symbols: Mapping[str, int], *, catch: str, begin: int | None = None) -> bytes:
    """The code entry of ``_start``. ``catch`` is ``exit`` where stubs throw, ``any`` where only the program can, else empty.

    ``symbols`` has the recorder's, and ``row_reset`` and ``trace_reset`` where witness has them. ``begin`` is called first; the
    program may then end itself anywhere, so that witness's resets are called where that is caught.
    """
    locals_ = (*_LOCALS, _VECTOR) if any("v128" in call.type.results for call in calls) else _LOCALS
    found = [symbols[name] for name in ("row_reset", "trace_reset") if name in symbols]
    reset = b"".join(b"\x10" + u(each) for each in found)  # call
    within = b"" if begin is None else reset
    rows = []
    position = {True: 0, False: 0}
    for call in calls:
        fragment = assemble(_row_text(init=call.init, catch=catch), locals=locals_)
        names: dict[str, int | bytes] = {
            **symbols,
            "K": position[call.init],
            "call": within + _call(call, symbols["rec"]),
            "reset": b"" if within else reset,
        }
        rows.append(_expression(link(fragment, names), locals_)[2:-1])  # without `block $done` and its end: all rows share one
        position[call.init] += 1
    before = "" if begin is None else f"call {begin}"
    text = f"{_PROLOGUE} {before} block {_INERT} raw $rows end call $finish"
    return link(assemble(text, locals=locals_), {**symbols, "rows": b"".join(rows)})


def _expression(entry: bytes, locals_: tuple[tuple[str, str], ...]) -> bytes:
    """The instructions of a linked code entry without its size, locals and ``end``."""
    declarations = len(link(assemble("", locals=locals_), {})) - 2  # without a byte of size and one of end
    head = next(at for at, byte in enumerate(entry, 1) if byte < 0x80)  # noqa: PLR2004 - the last byte of a LEB128
    return entry[head + declarations : -1]
