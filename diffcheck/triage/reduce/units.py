"""A typed body as nested units: runs of instructions that can be replaced, such as an expression, a statement or a block.

A unit takes no operands and leaves its results, so instructions that leave the same types can replace it, and the body stays
valid (core specification 3.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.wasm.code import instructions
from diffcheck.wasm.draft import constant
from diffcheck.wasm.encode import encode, plain
from diffcheck.wasm.opcodes import BLOCKS, JUMPS
from diffcheck.wasm.types import RefType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from diffcheck.wasm.types import ValType
    from diffcheck.wasm.typing import Body
    from diffcheck.wasm.values import Value

_CONSTANTS: Final = frozenset({"i32.const", "i64.const", "f32.const", "f64.const", "v128.const", "ref.null"})
_DROP: Final = b"\x1a"


class Unit(msgspec.Struct, frozen=True):
    """The instructions [first, last] of a body, its bytes [start, end), which leave ``results``."""

    function: int
    first: int
    last: int
    start: int
    end: int
    results: tuple[ValType, ...]

    def holds(self, other: Unit) -> bool:
        """Whether this unit contains another one of the same body."""
        return self.start <= other.start and other.end <= self.end


class Edit(msgspec.Struct, frozen=True):
    """A unit and the code that replaces it."""

    unit: Unit
    code: bytes


class _Frame(msgspec.Struct):
    start: int | None
    height: int
    params: int


def units(function: int, body: Body) -> tuple[Unit, ...]:
    """Every reachable unit of a body, sorted by first instruction, outer ones before inner ones."""
    stack: list[int | None] = []  # the first instruction of each value's unit, or None if it has none
    frames: list[_Frame] = []
    found: list[Unit] = []
    for at, each in enumerate(body.code):
        name = each.instruction.name
        count = len(each.operands)
        if name == "else":
            frame = frames[-1]
            del stack[frame.height :]
            stack += [None] * frame.params
            continue
        if name == "end":
            if not frames:
                break
            frame = frames.pop()
            del stack[frame.height :]
            start: int | None = frame.start
        else:
            taken = [stack.pop() if stack and len(stack) > (frames[-1].height if frames else 0) else None for _ in range(count)]
            start = at if not taken else None if None in taken else min(each for each in taken if each is not None)
            if name in BLOCKS:
                params = count - (name == "if")
                frames.append(_Frame(start, len(stack), params))
                stack += [None] * params
                continue
        stack += [start if len(each.results) == 1 else None] * len(each.results)
        if start is None or not body.code[start].reachable or len(each.results) > 1 or None in each.results:
            continue
        code = body.code
        results = tuple(result for result in each.results if result is not None)
        found.append(Unit(function, start, at, code[start].instruction.offset, each.instruction.end, results))
    return tuple(sorted(found, key=lambda unit: (unit.first, -unit.last)))


def outermost(units_: Sequence[Unit]) -> list[Unit]:
    """The units that no other one contains."""
    kept: list[Unit] = []
    for each in sorted(units_, key=lambda unit: (unit.function, unit.start, -unit.end)):
        if not (kept and kept[-1].function == each.function and kept[-1].holds(each)):
            kept.append(each)
    return kept


def apply(body: bytes, edits: Sequence[Edit]) -> bytes:
    """The body with the edits applied; their units do not overlap."""
    out, done = [], 0
    for each in sorted(edits, key=lambda edit: edit.unit.start):
        out += [body[done : each.unit.start], each.code]
        done = each.unit.end
    return b"".join([*out, body[done:]])


def literal(value: Value) -> bytes:
    """The constant instruction of a number."""
    width = {"i32": 32, "i64": 64}.get(value.type)
    bits = value.bits - (1 << width) if width and value.bits >> (width - 1) else value.bits
    return plain(f"{value.type}.const", bits)


def replacements(unit: Unit, body: Body, raw: bytes, values: Sequence[Value], ends: Mapping[int, Unit]) -> list[bytes]:
    """Code that can replace a unit: values that it had, zero, its operands, its contents. None is longer than the unit.

    ``values`` are those that the unit left when it ran: with one of them the program continues as it did. ``ends`` are the body's
    units by last instruction.
    """
    name = body.code[unit.last].instruction.name
    if name in JUMPS:
        return [raw[unit.start : body.code[unit.last].instruction.offset]] if _is_redundant_jump(unit, body) else []
    found: list[bytes] = []
    if not unit.results:
        found.append(b"")
    elif unit.first == unit.last and name in _CONSTANTS:
        return []
    else:
        (result,) = unit.results
        literals = [literal(each) for each in values if each.type == result]
        found += [*literals[:1], *literals[-1:]]
        if not (isinstance(result, RefType) and not result.nullable):
            found.append(constant(result))
    found += _operands(unit, body, raw, ends)
    found += _inner(unit, body, raw)
    own = raw[unit.start : unit.end]
    return [
        each
        for each in dict.fromkeys(found)
        if len(each) < len(own) or (len(each) == len(own) and unit.first != unit.last and each != own)
    ]


def _is_redundant_jump(unit: Unit, body: Body) -> bool:
    """Whether a jump leads to the end of its block and is the last instruction in it."""
    instruction, after = body.code[unit.last].instruction, body.code[unit.last + 1].instruction.name
    if instruction.name == "return":
        return unit.last == len(body.code) - 2
    return instruction.name == "br" and instruction.immediates[0] == 0 and after in ("end", "else")


def _operands(unit: Unit, body: Body, raw: bytes, ends: Mapping[int, Unit]) -> list[bytes]:
    """Each of the unit's operands in its place; one of another type is executed and dropped."""
    typed = body.code[unit.last]
    found = []
    for producer in typed.producers:
        part = ends.get(producer)
        if part is None or not unit.holds(part):
            continue
        code = raw[part.start : part.end]
        if typed.instruction.name == "drop":  # without the code between a value and its drop
            found.append(raw[unit.start : part.start] + raw[part.end : typed.instruction.offset])
        if part.results == unit.results:
            found.append(code)
        elif part.first != part.last or body.code[part.last].instruction.name.startswith("call"):
            left = b"".join(map(constant, unit.results))
            found.append(code + _DROP + left)
    return found


def _inner(unit: Unit, body: Body, raw: bytes) -> list[bytes]:
    """The contents of a block without the block."""
    if body.code[unit.last].instruction.name != "end":
        return []
    opens = next((at for at, end in body.ends.items() if end == unit.last), -1)
    if opens < 0:
        return []
    opening = body.code[opens].instruction
    if isinstance(opening.immediates[0], int) or opening.name == "try_table":
        return []
    before = raw[unit.start : opening.offset]
    middle = body.middles.get(opens)
    last = body.code[unit.last].instruction.offset
    if opening.name != "if":
        inner = without_label(raw[opening.end : last])
        return [before + inner] if inner is not None else []
    arms = [raw[opening.end : body.code[middle].instruction.offset if middle else last]]
    if middle:
        arms.append(raw[body.code[middle].instruction.end : last])
    stripped = [without_label(each) for each in arms]
    return [before + _DROP + each for each in stripped if each is not None]


def without_label(code: bytes) -> bytes | None:
    """The contents of a removed block, labels outside of it lowered by one; None if they branch to that block."""
    out, depth = [], 0
    for each in instructions(code):
        if each.name == "end":
            depth -= 1
        named = labels(each.immediates, each.name)
        if depth in named:
            return None
        if any(label > depth for label in named):
            out.append(encode(msgspec.structs.replace(each, immediates=_lower(each.immediates, each.name, depth))))
        else:
            out.append(code[each.offset : each.end])
        if each.name in BLOCKS:
            depth += 1
    return b"".join(out)


_LABELLED: Final = {"br": 0, "br_if": 0, "br_table": 0, "br_on_null": 0, "br_on_non_null": 0, "br_on_cast": 1, "br_on_cast_fail": 1}


def labels(immediates: tuple, name: str) -> tuple[int, ...]:  # type: ignore[type-arg]
    """The labels in an instruction's immediates."""
    if name == "try_table":
        return tuple(each.labelidx for each in immediates[1])
    if name not in _LABELLED:
        return ()
    value = immediates[_LABELLED[name]]
    return value if isinstance(value, tuple) else (value,)


def _lower(immediates: tuple, name: str, depth: int) -> tuple:  # type: ignore[type-arg]
    def lower(label: int) -> int:
        return label - (label > depth)

    if name == "try_table":
        return immediates[0], tuple(each._replace(labelidx=lower(each.labelidx)) for each in immediates[1])
    at = _LABELLED[name]
    value = immediates[at]
    changed = tuple(map(lower, value)) if isinstance(value, tuple) else lower(value)
    return (*immediates[:at], changed, *immediates[at + 1 :])
