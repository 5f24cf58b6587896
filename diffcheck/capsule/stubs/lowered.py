"""Parts of stubs for the canonical ABI's lowered functions: return areas, allocation, common results.

A result of more than one flat value is written to the return area, whose address is the last parameter. A list or string is
allocated by the caller's realloc (component model, CanonicalABI: ``lower_flat_values``, ``store``). Offsets follow from
``alignment`` and ``elem_size`` there: a variant's payload has the alignment of its largest case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.capsule.stubs.spec import Spec, types

if TYPE_CHECKING:
    from collections.abc import Mapping

Table = dict[str, dict[str, Spec]]
"""Interface -> function -> stub, with the names of imports."""

STDIN, STDOUT, STDERR, NETWORK, ERROR, POLLABLE, OTHER = 1, 2, 3, 4, 5, 6, 7
"""The handles: one for each stateless resource. OTHER stands for any other resource."""


def allocate(align: int, size: str) -> str:
    """Return text that allocates ``size`` bytes (text that pushes an i32) for the caller and pushes the address.

    As in the ABI, this includes allocations of zero bytes.
    """
    return f"i32.const 0 i32.const 0 i32.const {align} {size} call $realloc"


def constant_bytes(address: str, data: bytes) -> str:
    """Return text that writes constant bytes to the caller's memory."""
    parts = []
    for at in range(0, len(data), 8):
        piece = data[at : at + 8]
        if len(piece) == 8:  # noqa: PLR2004 - the size of an i64
            parts.append(f"{address} i64.const {int.from_bytes(piece, 'little'):#x} i64.store $mem offset={at} align=1")
        else:
            parts += [f"{address} i32.const {byte} i32.store8 $mem offset={at + index}" for index, byte in enumerate(piece)]
    return " ".join(parts)


def returns(params: str, result: str, value: int) -> Spec:
    """Return a stub with a constant flat result."""
    return Spec(types(params), types(result), f"{ {'i': 'i32', 'l': 'i64'}[result] }.const {value}")


def nothing(params: str) -> Spec:
    """Return a stub without results that does nothing."""
    return Spec(types(params), ())


def drops(*resources: str) -> dict[str, Spec]:
    """Return the ``[resource-drop]`` entries of these resources. Every handle can be dropped, also twice."""
    return {f"[resource-drop]{each}": nothing("i") for each in resources}


def methods(resource: str, of: Mapping[str, Spec]) -> dict[str, Spec]:
    """Return the entries with the import names of a resource's methods."""
    return {f"[method]{resource}.{name}": spec for name, spec in of.items()}


def to_area(params: str, text: str) -> Spec:
    """Return a stub that writes to the return area, the last parameter."""
    return Spec(types(params), (), text, needs_memory=True)


def tag(params: str, value: int) -> Spec:
    """Return a stub whose result is a case without payload in the return area: ``none``, ``ok`` or ``err``."""
    return to_area(params, f"local.get ${len(params) - 1} i32.const {value} i32.store8 $mem")


def error(params: str, code: int, at: int) -> Spec:
    """Return a stub whose result is ``err`` with an enumeration's case ``code`` at offset ``at`` of the return area."""
    area = f"local.get ${len(params) - 1}"
    return to_area(params, f"{area} i32.const 1 i32.store8 $mem {area} i32.const {code} i32.store8 $mem offset={at}")


def empty_list(params: str, align: int) -> Spec:
    """Return a stub whose result is an empty list."""
    area = f"local.get ${len(params) - 1}"
    text = f"{area} {allocate(align, 'i32.const 0')} i32.store $mem {area} i32.const 0 i32.store $mem offset=4"
    return Spec(types(params), (), text, needs_memory=True, needs_realloc=True)


def trap(params: str, result: str, reason: str) -> Spec:
    """Return a stub that traps, since a capsule does not have the object of the call."""
    return Spec(types(params), types(result), traps=reason)
