"""The code of a stub: count the call, trap after an exit, record the call, then the functional stub's text, zeros or a trap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.capsule import layout as lo
from diffcheck.capsule.seal import PAGE_LOG2, page_log2
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link, link_expression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diffcheck.capsule.seal import Sealed, StubbedImport

_COUNT = "i32.const 0 i32.const 0 i32.load $rec offset=$COUNTER i32.const 1 i32.add i32.store $rec offset=$COUNTER"
_TRAP_AFTER_EXIT = " i32.const $EXIT_FLAG i32.load $rec if unreachable end"

EXIT_WITHOUT_DRIVER: Final = "i32.const $EXIT_FLAG i32.const 1 i32.store $rec unreachable"
"""Ends a program without a driver."""
EXIT_TRAP: Final = f"""
  i32.const $EXIT_FLAG i32.const 1 i32.store $rec
  i32.const {lo.HEADER_ADDRESS + 28} i32.load $rec i32.const $EXIT_STATUS i32.load $rec call $record drop
  call $finish
  unreachable
"""
"""Ends a program without exceptions: records the exit and traps."""
EXIT_EITHER: Final = f"""
  i32.const $EXIT_FLAG i32.const 1 i32.store $rec
  i32.const 8 i32.load $rec i32.const {lo.EXIT_TRAPS} i32.and
  if
    i32.const {lo.HEADER_ADDRESS + 28} i32.load $rec i32.const $EXIT_STATUS i32.load $rec call $record drop
    call $finish
    unreachable
  end
  throw $exit
"""
"""Ends a program by an exception to the driver, or by a trap if the pass's parameters have the flag ``EXIT_TRAPS``."""

_LEAVE = f"""
  i32.const $EXIT_FLAG i32.load $rec if unreachable end
  i32.const $EXIT_STATUS i32.const {lo.LEFT} i32.store $rec
  i32.const $EXIT_CODE i32.const $FUNCTION i32.store $rec
"""


def encode_dropped(funcidx: int, symbols: Mapping[str, int], exit_text: str) -> bytes:
    """Return the instructions of a slice's stub, which record its funcidx and end the program by ``exit_text``."""
    return link_expression(assemble(_LEAVE + exit_text), {**symbols, "FUNCTION": funcidx})


def encode_stub(
    sealed: Sealed,
    stub: StubbedImport,
    symbols: Mapping[str, int],
    exit_text: str,
    *,
    prologue: bytes = b"",
    note: str = "",
    note_words: Sequence[bytes] = (),
    note_locals: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """Return the code entry of a stub. ``exit_text`` ends the program; ``note`` records the call and uses ``note_locals``, and
    ``note_words`` by parameter for references.

    ``symbols`` are those of the recorder memory, including ``rec``, and those of ``exit_text`` and ``note``.
    """
    at, bound, spec = stub.stub.index, stub.bound, stub.spec
    memories = sealed.module.all_memories
    names: dict[str, int | bytes] = {
        **symbols,
        **{f"word_{each}": word for each, word in enumerate(note_words)},
        "IMPORT": at,
        "COUNTER": sealed.places.counters + 4 * at,
        "mem": bound.memory,
        "PAGE_LOG2": page_log2(memories[bound.memory]) if bound.memory < len(memories) else PAGE_LOG2,
        "prologue": prologue,
    }
    if bound.realloc is not None:
        names["realloc"] = bound.realloc
    head = f"raw $prologue {_COUNT}{_TRAP_AFTER_EXIT if sealed.may_exit else ''}{note}"
    if spec is None:
        names["body"] = b"\x00" if stub.stub.kind == "trap" else sealed.constants.zero_body(stub.type)
        params = tuple(str(index) for index in range(len(stub.type.params)))
        return link(assemble(f"{head} raw $body", params=params, locals=note_locals), names)
    text = f"{head} {spec.text} {exit_text if spec.exits else ''}"
    return link(assemble(text, params=spec.param_names, locals=(*spec.locals, *note_locals)), names)
