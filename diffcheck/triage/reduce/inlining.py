"""Calls replaced by the body of their callee, if that is short and is left only at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.triage.reduce.units import labels
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.draft import constant
from diffcheck.wasm.encode import encode, encode_locals, plain
from diffcheck.wasm.opcodes import BLOCKS, TAIL_CALLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.draft import Draft
    from diffcheck.wasm.encode import Maps

_LARGEST: Final = 100
_RETURNS: Final = {"return"} | TAIL_CALLS


def inlinings(source: Draft) -> Iterator[Draft]:
    """Drafts with one call each replaced. A callee that is referenced elsewhere stays."""
    for caller, body in source.bodies.items():
        for each in instructions(body, start=read_locals(body).end):
            if each.name == "call" and each.immediates[0] != caller and _is_straight(source, each.immediates[0]):
                yield source.with_bodies({caller: _inlined(source, caller, each)})


def _is_straight(source: Draft, callee: int) -> bool:
    """Whether a body can be inlined: nothing in it returns or branches to the body's own label."""
    body = source.bodies.get(callee)
    if body is None or len(body) > _LARGEST:
        return False
    depth = 0
    for each in instructions(body, start=read_locals(body).end):
        if each.name in _RETURNS or any(label >= depth for label in labels(each.immediates, each.name)):
            return False
        depth += (each.name in BLOCKS) - (each.name == "end")
    return True


def _inlined(source: Draft, caller: int, call: Instruction) -> bytes:
    """The caller's body with the callee's in place of the call."""
    body, callee = source.bodies[caller], call.immediates[0]
    inner = source.bodies[callee]
    own, its = read_locals(body), read_locals(inner)
    params = source.module.function_type(callee).params
    types = [*params, *(value for count, value in its.groups for _ in range(count))]
    first = len(source.module.function_type(caller).params) + sum(count for count, _ in own.groups)
    code = [plain("local.set", first + at) for at in range(len(params) - 1, -1, -1)]
    # A call starts with zeros in its locals, in every iteration of a loop.
    code += [constant(types[at]) + plain("local.set", first + at) for at in range(len(params), len(types))]
    numbers: Maps = {"local": {at: first + at for at in range(len(types))}}
    for each in instructions(inner[:-1], start=its.end):
        code.append(encode(each, numbers) if each.name.startswith("local.") else inner[each.offset : each.end])
    declared = encode_locals([*own.groups, *((1, each) for each in types)])
    return declared + body[own.end : call.offset] + b"".join(code) + body[call.end :]
