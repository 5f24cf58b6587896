"""Control flow in a typed body: from an event to the instruction that executes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import RefType
from diffcheck.wasm.values import Value, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.wasm.code import Instruction
    from diffcheck.wasm.typing import Body

_SILENT: Final = frozenset({"nop", "drop", "block", "loop", "try_table"})

_DIVISIONS: Final = ("div_s", "div_u", "rem_s", "rem_u")
_CAPABLE: Final[dict[str, Callable[[str], bool]]] = {
    "unreachable": lambda name: name == "unreachable",
    "integer divide by zero": lambda name: name.endswith(_DIVISIONS),
    "integer overflow": lambda name: name.endswith("div_s") or "trunc_f" in name,
    "invalid conversion to integer": lambda name: "trunc_f" in name,
    "out of bounds memory access": lambda name: (
        ".load" in name or ".store" in name or ".atomic" in name or name.startswith(("memory.", "array."))
    ),
    "out of bounds table access": lambda name: name.startswith("table.") or "call_indirect" in name or name == "array.new_elem",
    "uninitialized element": lambda name: "call_indirect" in name,
    "indirect call type mismatch": lambda name: "call_indirect" in name,
    "null reference": lambda name: name.startswith(("struct.", "array.", "ref.", "i31.", "throw_ref")) or "call_ref" in name,
    "cast failure": lambda name: name.startswith("ref.cast"),
    "out of bounds array access": lambda name: name.startswith(("array.", "struct.")),
    "allocation too large": lambda name: name.startswith(("array.new", "struct.new")),
}

_CONSTANTS: Final = frozenset({"f32.const", "f64.const", "v128.const"})
"""Constants whose immediates are bit patterns."""
_LANE: Final = (1 << 64) - 1


def may_trap(name: str, kind: str) -> bool:
    """Whether an instruction can trap with that kind. Of a kind without a rule any can, unless an engine's message names another."""
    if name.startswith("call") or name in ("end", "return"):
        return True
    rule = _CAPABLE.get(kind)
    named = kind.partition(":")[0]
    return rule(name) if rule is not None else named not in BY_NAME or named == name


def acting(body: Body, position: int, unprobed: frozenset[str] = frozenset()) -> int:
    """The position of the first instruction after ``position`` that does more than continue; else of the final ``end``."""
    at, last = position + 1, len(body.code) - 1
    silent = _SILENT | unprobed
    for _ in range(len(body.code)):
        if at >= last:
            break
        each = body.code[at]
        name = each.instruction.name
        if name == "br":
            at = _target(body, at, int(each.instruction.immediates[0]))
        elif name == "else":
            at = next(body.ends[start] for start, middle in body.middles.items() if middle == at)
        elif name in silent or (name == "end" and not (each.results and each.ends_reachable)):
            at += 1
        else:
            return at
    return min(at, last)


def _target(body: Body, at: int, depth: int) -> int:
    """The target of a branch: after the start of a loop, else at the ``end`` of a block."""
    around = sorted((start for start, end in body.ends.items() if 0 <= start < at <= end), reverse=True)
    if depth >= len(around):
        return len(body.code) - 1
    start = around[depth]
    return start + 1 if body.code[start].instruction.name == "loop" else body.ends[start]


def _constant(type_: str, bits: int) -> str:
    """A constant's immediate in the text format; a vector has two lanes of 64 bits."""
    if type_ == "v128":
        return f"i64x2 {bits & _LANE:#x} {bits >> 64:#x}"
    return render(Value(type_, bits))


def instruction_text(instruction: Instruction) -> str:
    """An instruction with its simple immediates, as text."""
    words = [instruction.name.removesuffix("_t").removesuffix("_null")] if instruction.name == "select_t" else [instruction.name]
    for each in instruction.immediates:
        if instruction.name in _CONSTANTS:
            words.append(_constant(instruction.name.partition(".")[0], each))
        elif isinstance(each, int | str | RefType):
            words.append(str(each))
        elif hasattr(each, "memidx"):
            words += [f"memory={each.memidx}"] * bool(each.memidx) + [f"offset={each.offset}"] * bool(each.offset)
        elif instruction.name == "br_table":
            words.append(" ".join(map(str, each[:12])) + (" ..." if len(each) > 12 else ""))  # noqa: PLR2004 - to fit a line
    return " ".join(words)
