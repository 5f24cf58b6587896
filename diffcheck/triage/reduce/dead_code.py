"""Removes code after a jump, values that are dropped at once, and locals that are never read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.encode import encode, encode_locals, plain
from diffcheck.wasm.opcodes import BLOCKS, JUMPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.types import ValType

_PURE: Final = frozenset(
    {"i32.const", "i64.const", "f32.const", "f64.const", "v128.const", "ref.null", "ref.func", "local.get", "global.get"}
)


def without_dead_code(body: bytes, params: int) -> bytes:
    """An equivalent code entry (without its size) without dead code; ``params`` is the number of the function's parameters."""
    while True:
        smaller = _without_unread_locals(_without_drops(body), params)
        if smaller == body:
            return body
        body = smaller


def _without_drops(body: bytes) -> bytes:
    """Without unreachable code, and without values that are dropped or set and read at once."""
    start = read_locals(body).end
    kept: list[tuple[Instruction, bytes]] = []
    reads = Counter(each.immediates[0] for each in instructions(body, start=start) if each.name == "local.get")
    for each in _reachable(instructions(body, start=start)):
        before = kept[-1][0] if kept else None
        if each.name == "nop":
            continue
        if before is not None and (
            (each.name == "drop" and before.name in _PURE)
            or (each.name == "local.get" and before.name == "local.set" and before.immediates == each.immediates
                and reads[each.immediates[0]] == 1)
        ):  # fmt: skip
            kept.pop()
        elif before is not None and each.name == "drop" and before.name == "local.tee":
            kept[-1] = msgspec.structs.replace(before, name="local.set"), plain("local.set", *before.immediates)
        else:
            kept.append((each, body[each.offset : each.end]))
    return body[:start] + b"".join(code for _, code in kept)


def _reachable(code: Iterator[Instruction]) -> Iterator[Instruction]:
    """The instructions except those that follow a jump in their block."""
    dead = False
    nested = 0
    for each in code:
        if dead:
            if each.name in BLOCKS:
                nested += 1
            elif each.name == "end" and nested:
                nested -= 1
                continue
            if each.name not in ("end", "else") or nested:
                continue
        dead = each.name in JUMPS
        yield each


def _without_unread_locals(body: bytes, params: int) -> bytes:
    """Without locals that are never read; the others are renumbered."""
    declared = read_locals(body)
    types: list[ValType] = [value for count, value in declared.groups for _ in range(count)]
    code = list(instructions(body, start=declared.end))
    read = {each.immediates[0] for each in code if each.name == "local.get"}
    used = [index for index in range(params, params + len(types)) if index in read]
    numbers = {index: index for index in range(params)} | {index: params + at for at, index in enumerate(used)}
    out: list[bytes] = []
    for each in code:
        if not each.name.startswith("local."):
            out.append(body[each.offset : each.end])
        elif each.name == "local.get" or each.immediates[0] in read:
            out.append(encode(each, {"local": numbers}))
        elif each.name == "local.set":
            out.append(b"\x1a")
    groups: list[tuple[int, ValType]] = []
    for index in used:
        value = types[index - params]
        if groups and groups[-1][1] == value:
            groups[-1] = groups[-1][0] + 1, value
        else:
            groups.append((1, value))
    return encode_locals(groups) + b"".join(out)
