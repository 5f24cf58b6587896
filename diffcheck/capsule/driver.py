"""The capsule's ``_start``: it initialises the instance, then calls the rows of the pass in order.

Before each row, witness's row state and trace are reset exactly as by witness itself. A row that does not return ends the pass. If
the program can exit or throw, all rows are in one ``try_table`` with a clause for each tag, since an engine may need as much memory
for each ``try_table`` as for a function (kilnd 0.4.4: 8 MB). The handlers are after the rows.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.constants import constant
from diffcheck.capsule.import_calls import RESERVE_LOG
from diffcheck.capsule.recorder.functions import kind_of, store
from diffcheck.capsule.recorder.references import ANY
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link, link_body, link_expression
from diffcheck.wasm.leb import u
from diffcheck.wasm.types import RefType
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from diffcheck.capsule.recorder.references import References
    from diffcheck.wasm.types import FuncType, ValType

    _Keep = Callable[[Sequence[ValType]], bytes]

_LOCALS: Final = (("slot", "i32"), ("r", "i32"), ("i32", "i32"), ("i64", "i64"), ("f32", "f32"), ("f64", "f64"))
_CALL, _GLOBAL_GET = b"\x10", b"\x23"
_VECTOR: Final = ("v128", "v128")
_TEMPORARY: Final = {name: index for index, (name, _) in enumerate((*_LOCALS, _VECTOR))}


_SELECT: Final = f"""
  i32.const {lo.RANGE_ADDRESS} i32.load $rec i32.const {{at}} i32.eq
  if i32.const {lo.PARAMETERS_ADDRESS} i64.const {{rows}} i64.store $rec end
"""
_LOOP: Final = f"""
  raw $save
  loop $ranges
    {{select}}
    {{rows}}
    i32.const {lo.RANGE_ADDRESS} i32.const {lo.RANGE_ADDRESS} i32.load $rec i32.const 1 i32.add i32.store $rec
    i32.const {lo.RANGE_ADDRESS} i32.load $rec i32.const $RANGES i32.lt_u
    if
      i32.const $STREAM i32.const 0 i32.const $HEAP_END i32.load $rec i32.const $STREAM i32.sub memory.fill $rec
      raw $restore
      br $ranges
    end
  end
"""


START: Final = "(start)"
"""The row of the artifact's start function, which is called only if the engine has executed the capsule's start section."""
_CALL_START: Final = "i32.const $STARTED i32.load $rec if call {function} end"


class Call(msgspec.Struct, frozen=True):
    """A row: the function's index and type, and its arguments; ``reads`` is whether it reads the global of this index instead.

    ``expected`` is what the row should do (``compare.expectations``), empty if that is not known.
    """

    name: str
    function: int
    type: FuncType
    args: tuple[Value, ...] = ()
    init: bool = False
    reads: bool = False
    expected: str = ""


_PROLOGUE = f"""
  i32.const {lo.HEADER_ADDRESS} i64.const {lo.MAGIC | lo.VERSION << 32} i64.store $rec
  i32.const {lo.HEADER_ADDRESS} i64.const $PLAN i64.store $rec offset=8
  i32.const {lo.HEADER_ADDRESS} i32.const $STREAM i32.store $rec offset=56
  ;; the heap begins after the records and the final record
  i32.const $HEAP_END
  i32.const 4 i32.load $rec i32.const 0 i32.load $rec i32.sub i32.const $N_INIT i32.add
  i32.const $RECORD_SIZE i32.mul i32.const $FINAL_SIZE i32.add i32.const $STREAM i32.add
  i32.store $rec
  i32.const 0 call $reserve
  if else unreachable end
"""

_INERT = f"i32.const 8 i32.load $rec i32.const {lo.INERT} i32.and br_if $done"

_ROW = f"""
  block $next
    {{within}}
    raw $reset
    {{slot}}
    local.tee $slot i32.const {lo.ENTERED} call $record drop
    local.get $slot i32.const $RECORD_SIZE i32.mul i32.const $STREAM i32.add local.set $r
    raw $call
    local.get $slot i32.const {lo.RETURNED} call $record br_if {{done}}
  end
"""
_WITHIN = """
    i32.const $K i32.const 0 i32.load $rec i32.lt_u br_if $next
    i32.const $K i32.const 4 i32.load $rec i32.ge_u br_if {done}
"""
_THREW: Final = f"local.get $slot i32.const {lo.THREW} call $record drop local.get $r i32.const {{tag}} i32.store $rec offset=4"


class DriverRanges(msgspec.Struct, frozen=True):
    """The ranges of rows of a batch, each [first, last), and code that saves the state and restores it between them."""

    ranges: tuple[tuple[int, int], ...]
    save: bytes
    restore: bytes

    def around(self, text: str) -> str:
        """Return ``text`` in a loop over the ranges; it has the symbols ``save``, ``restore`` and ``RANGES``."""
        select = "".join(_SELECT.format(at=at, rows=first | last << 32) for at, (first, last) in enumerate(self.ranges))
        return _LOOP.format(select=select, rows=text)


class DriverCatch(msgspec.Struct, frozen=True):
    """The exceptions that the driver catches.

    ``exits`` is whether stubs throw the capsule's exit tag. ``tags`` are the artifact's tags, each as the typeidx of a block that
    returns its payload, and the payload's types.
    """

    exits: bool
    tags: tuple[tuple[int, tuple[ValType, ...]], ...]

    @property
    def depth(self) -> int:
        """The number of blocks around the rows, without the outermost block: the handlers' and the ``try_table``."""
        return len(self.tags) + 2 + self.exits

    def _around(self, text: str) -> str:
        """Return the text inside a ``try_table``, which is within the handler blocks."""
        clauses = [f"(catch {at} {at})" for at in range(len(self.tags))]
        if self.exits:
            clauses.append(f"(catch $exit {len(self.tags) + 1})")
        return f"try_table {' '.join(clauses)} (catch_all {len(self.tags)}) {text} end"

    def handle(self, rows: str, keep: _Keep) -> tuple[str, dict[str, bytes]]:
        """Return ``rows`` inside the blocks that handle exceptions, for use in the block ``$done``, and the text's symbols."""
        payloads, text = {}, f"{self._around(rows)} br {self.depth - 1}"
        for at, (typeidx, types) in enumerate(self.tags):
            payloads[f"payload{at}"] = keep(types)
            text = f"block (type {typeidx}) {text} end raw $payload{at} {_THREW.format(tag=at)} br {self.depth - 2 - at}"
        text = f"block {text} end {_THREW.format(tag=lo.NO_TAG)} br {int(self.exits)}"
        if self.exits:
            text = f"block {text} end local.get $slot i32.const $EXIT_STATUS i32.load $rec call $record drop br 0"
        return text, payloads


def _row_text(*, init: bool, catch: DriverCatch | None) -> str:
    done = 1 + (catch.depth if catch is not None else 0)
    return _ROW.format(
        within="" if init else _WITHIN.format(done=done),
        slot="i32.const $K" if init else "i32.const $K i32.const $N_INIT i32.add i32.const 0 i32.load $rec i32.sub",
        done=done,
    )


def _call(call: Call, keep: _Keep) -> bytes:
    """Return code for the arguments, the call, and its results, the last of which is on top of the stack."""
    parts = [
        constant(kind_of(kind), value.bits, "func" if isinstance(kind, str) else kind.heap)
        for kind, value in zip(call.type.params, call.args, strict=True)
    ]
    parts.append((_GLOBAL_GET if call.reads else _CALL) + u(call.function))
    return b"".join([*parts, keep(call.type.results)])


def _drop(types: Sequence[ValType]) -> bytes:
    """Return code that drops the values on the stack."""
    return b"\x1a" * len(types)


def _keep(types: Sequence[ValType], rec: int, references: References, temporary: int) -> bytes:
    """Return code that stores the values on the stack, results or a payload, into the record.

    Several references to objects are kept in the locals from ``temporary`` on, since objects are numbered in the order of values.
    """
    parts: list[bytes] = []
    waiting: list[bytes] = []
    offset = 8 + sum(16 if kind == "v128" else 8 for kind in types)
    several = _numbering(types, references) > 1
    for type_ in reversed(types):
        kind = kind_of(type_)
        offset -= 16 if kind == "v128" else 8
        to_any = references.to_any(type_) if several else None
        if to_any is not None:
            local = u(temporary + len(waiting))
            parts += [to_any, b"\x21", local]
            waiting.append(b"\x20\x01\x20" + local + references.word(ANY) + store(kind, rec)(offset))
            continue
        if isinstance(type_, RefType):
            parts.append(references.word(type_))
        local = u(_TEMPORARY["i64" if kind == "ref" else kind])
        parts += [b"\x21", local, b"\x20\x01\x20", local, store(kind, rec)(offset)]
    return b"".join([*parts, *reversed(waiting)])


def _numbering(types: Sequence[ValType], references: References) -> int:
    """Count the values that may refer to objects."""
    return sum(1 for each in types if references.to_any(each) is not None)


def start(
    calls: Sequence[Call],
    symbols: Mapping[str, int],
    references: References,
    *,
    catch: DriverCatch | None,
    begin: int | None = None,
    log_calls: bool = False,
    records: bool = True,
    ranges: DriverRanges | None = None,
) -> bytes:
    """Return the code entry of ``_start``.

    ``symbols`` are the recorder's, and witness's ``row_reset`` and ``trace_reset`` if they exist. ``catch`` is None if nothing can
    be thrown, or if the engine has no exceptions. Without ``records`` results and payloads are dropped. ``begin`` is a function to
    call first. Witness's resets are the program's own functions, so one that does not return ends the row that it precedes.
    ``ranges`` are those of a batch.
    """
    stored = {*(call.type.results for call in calls), *(types for _, types in (catch.tags if catch is not None else ()))}
    several = max((_numbering(types, references) for types in stored), default=0)
    numbers = (*_LOCALS, _VECTOR) if any("v128" in types for types in stored) else _LOCALS
    temporary = len(numbers)
    locals_ = (*numbers, *((f"any{at}", "anyref") for at in range(several if several > 1 else 0)))
    keep = cache(partial(_keep, rec=symbols["rec"], references=references, temporary=temporary)) if records else _drop
    reset = b"".join(b"\x10" + u(symbols[name]) for name in ("row_reset", "trace_reset") if name in symbols)  # call
    within = b"" if catch is None and begin is None else reset
    rows = []
    position = {True: 0, False: 0}
    fragments = {init: assemble(_row_text(init=init, catch=catch), locals=locals_) for init in position}
    declarations = len(link_body(assemble("", locals=locals_), {})) - 1  # without the end
    names: dict[str, int | bytes] = {**symbols, "reset": b"" if within else reset}
    for call in calls:
        if call.name == START:
            code = link_expression(assemble(_CALL_START.format(function=call.function)), symbols)
        else:
            code = _call(call, keep)
        names |= {"K": position[call.init], "call": within + code}
        rows.append(link_body(fragments[call.init], names)[declarations:-1])
        position[call.init] += 1
    first = "" if begin is None else f"call {begin}"
    log = RESERVE_LOG if log_calls else ""
    driven, payloads = ("raw $rows", {}) if catch is None else catch.handle("raw $rows", keep)
    text = f"{_PROLOGUE} {log} {first} block $done {_INERT} {driven} end call $finish"
    linked: dict[str, int | bytes] = {**symbols, **payloads, "rows": b"".join(rows)}
    if ranges is not None:
        text = ranges.around(text)
        linked |= {"save": ranges.save, "restore": ranges.restore, "RANGES": len(ranges.ranges)}
    return link(assemble(text, locals=locals_), linked)
