"""Pieces of stubs for the canonical ABI's lowered functions: return areas, allocation, answers that are the same for many.

A value of more than one flat result is written to the return area, whose address is the last parameter; a list or string is
allocated by the caller's realloc (component model, CanonicalABI: ``lower_flat_values``, ``store``). Offsets follow its
``alignment`` and ``elem_size``: a variant's payload stands at the alignment of the largest of its cases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.capsule.stubs.spec import Spec, types

if TYPE_CHECKING:
    from collections.abc import Mapping

Table = dict[str, dict[str, Spec]]
"""By interface, then by function, as an import names it."""

STDIN, STDOUT, STDERR, NETWORK, ERROR, POLLABLE, OTHER = 1, 2, 3, 4, 5, 6, 7
"""The handles that there are: one a resource, since none has a state of its own. OTHER is for what only has to exist."""


def allocate(align: int, size: str) -> str:
    """Allocate ``size`` bytes (text that leaves an i32) for the caller and leave the address; no bytes as well, as the ABI does."""
    return f"i32.const 0 i32.const 0 i32.const {align} {size} call $realloc"


def constant_bytes(address: str, data: bytes) -> str:
    """Write bytes that are known here to the caller's memory."""
    parts = []
    for at in range(0, len(data), 8):
        piece = data[at : at + 8]
        if len(piece) == 8:  # noqa: PLR2004 - what one i64.store takes
            parts.append(f"{address} i64.const {int.from_bytes(piece, 'little'):#x} i64.store $mem offset={at} align=1")
        else:
            parts += [f"{address} i32.const {byte} i32.store8 $mem offset={at + index}" for index, byte in enumerate(piece)]
    return " ".join(parts)


def returns(params: str, result: str, value: int) -> Spec:
    """Make a stub that answers a constant as its flat result."""
    return Spec(types(params), types(result), f"{ {'i': 'i32', 'l': 'i64'}[result] }.const {value}")


def nothing(params: str) -> Spec:
    """Make a stub without a result that has nothing to do."""
    return Spec(types(params), ())


def drop() -> Spec:
    """Make a ``[resource-drop]``: every handle can be dropped, also twice."""
    return nothing("i")


def drops(*resources: str) -> dict[str, Spec]:
    """Give the entries for dropping these resources."""
    return {f"[resource-drop]{each}": drop() for each in resources}


def methods(resource: str, of: Mapping[str, Spec]) -> dict[str, Spec]:
    """Give entries under the names that a resource's methods have in an import."""
    return {f"[method]{resource}.{name}": spec for name, spec in of.items()}


def to_area(params: str, text: str) -> Spec:
    """Make a stub that writes to the return area, the last parameter."""
    return Spec(types(params), (), text, needs_memory=True)


def tag(params: str, value: int) -> Spec:
    """Make a stub whose answer is a case without payload in the return area: ``none``, or ``ok`` or ``err`` of nothing."""
    return to_area(params, f"local.get ${len(params) - 1} i32.const {value} i32.store8 $mem")


def error(params: str, code: int, at: int) -> Spec:
    """Make a stub that answers ``err`` of an enumeration's case, which stands ``at`` in the return area."""
    area = f"local.get ${len(params) - 1}"
    return to_area(params, f"{area} i32.const 1 i32.store8 $mem {area} i32.const {code} i32.store8 $mem offset={at}")


def empty_list(params: str, align: int) -> Spec:
    """Make a stub that answers a list of no elements."""
    area = f"local.get ${len(params) - 1}"
    text = f"{area} {allocate(align, 'i32.const 0')} i32.store $mem {area} i32.const 0 i32.store $mem offset=4"
    return Spec(types(params), (), text, needs_memory=True, needs_realloc=True)


def impossible(params: str, result: str, why: str) -> Spec:
    """Make a stub that traps, since it is asked about something that a capsule does not have."""
    return Spec(types(params), types(result), traps=why)
