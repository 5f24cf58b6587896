"""Rules by which the specification allows a difference, with their sections; and the differing words of a page.

The deterministic form decides whether a difference is due to NaN bits or relaxed SIMD (``runner.passes.legal_choices``), never the
values.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.wasm import code, module
from diffcheck.wasm.opcodes import OPS

if TYPE_CHECKING:
    from diffcheck.observation import Trapped

_ATOMIC_PREFIX: Final = 0xFE

NAN_RULE: Final = "NaN bits"
NAN_SECTION: Final = "core specification 3.0, 4.3.3.2 (NaN propagation)"
ONE_TRAP_RULE: Final = "one trap"
ONE_TRAP_SECTION: Final = "core specification 3.0, 4.6 (an instruction traps once, whatever its reasons)"
STACK_RULE: Final = "call stack"
STACK_SECTION: Final = "core specification 3.0, appendix, implementation limitations (dynamic structure)"
ALLOCATION_RULE: Final = "allocation"
ALLOCATION_SECTION: Final = STACK_SECTION
RELAXED_RULE: Final = "relaxed SIMD"
RELAXED_SECTION: Final = "core specification 3.0, 4.3.6 (relaxed operations)"

_ATOMIC: Final = frozenset({"unaligned atomic", "out of bounds memory access"})
_TWO_REASONS: Final[dict[str, frozenset[str]]] = {
    "array.copy": frozenset({"null reference", "out of bounds array access"}),
    "array.init_data": frozenset({"null reference", "out of bounds array access", "out of bounds memory access"}),
    "array.init_elem": frozenset({"null reference", "out of bounds array access", "out of bounds table access"}),
    "array.new_data": frozenset({"allocation too large", "out of bounds memory access"}),
    "array.new_elem": frozenset({"allocation too large", "out of bounds table access"}),
    **{op.name: _ATOMIC for op in OPS if op.prefix == _ATOMIC_PREFIX and op.width},
}
"""Kinds of trap for which one execution of an instruction can have a reason at the same time (core specification 3.0, 4.6; threads
proposal, execution). Instructions that reach the second check only after the first are left out: an index out of bounds of
``call_indirect`` has no element with a type, and a null reference has no bounds. So are those whose reasons have one kind, such as
``table.init``."""


def one_trap(oracle: Trapped, subject: Trapped) -> bool:
    """Whether both kinds of trap are possible reasons of the same instruction."""
    kinds = {oracle.kind, subject.kind}
    return len(kinds) > 1 and any(
        kinds <= _TWO_REASONS.get(each, frozenset()) for each in oracle.instructions or subject.instructions
    )


def two_reasons(wasm: bytes) -> tuple[str, ...]:
    """The instructions of a valid module with several possible trap kinds, for engines that do not report the trapping one."""
    names = {each.name for each in code.all_instructions(wasm, module.read(wasm).bodies)}
    return tuple(sorted(names & _TWO_REASONS.keys()))


class Word(msgspec.Struct, frozen=True):
    """A differing 64-bit word of a page: byte offset in the page, and both values."""

    offset: int
    oracle: int
    subject: int


def words(offset: int, oracle: bytes, subject: bytes) -> list[Word]:
    """The differing words of two windows of a page that begin at ``offset``; both have the same length, a multiple of 8."""
    pairs = zip(struct.iter_unpack("<Q", oracle), struct.iter_unpack("<Q", subject), strict=True)
    return [Word(offset + 8 * at, *ours, *theirs) for at, (ours, theirs) in enumerate(pairs) if ours != theirs]
