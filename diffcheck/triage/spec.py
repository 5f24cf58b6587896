"""Where the core specification 3.0 says what an instruction does: for a reader to look up, by section and by the name used there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from diffcheck.triage.symptom import Symptom

SPEC: Final = "WebAssembly core specification 3.0"
_CONVERTING: Final = ("trunc", "convert", "demote", "promote", "reinterpret", "extend_i32", "wrap")
_VECTOR: Final = ("v128", "i8x16", "i16x8", "i32x4", "i64x2", "f32x4", "f64x2")


def section(instruction: str, symptom: Symptom) -> str:
    """The section for an instruction as text (its immediates may follow its name); for a module that is refused, validation's."""
    if "refused" in symptom.subject or "refused" in symptom.oracle:
        return (
            f"{SPEC}, chapter 3 (Validation) and 4.7 (Modules, Instantiation). Implementations may have limits (appendix, "
            "Implementation Limitations); a module over one is refused as well"
        )
    name = instruction.split(" ", 1)[0]
    if name not in BY_NAME:
        return f"{SPEC}, 4.7 (Modules, Instantiation): no instruction was found whose execution differs"
    kind, _, operation = name.partition(".")
    execution = f"4.6 (Instructions), `{name}`"
    if kind in _VECTOR:
        return f"{SPEC}, {execution}, and 4.3 (Numerics) for the operation on its lanes"
    if ".load" in name or ".store" in name or kind not in ("i32", "i64", "f32", "f64") or operation == "const":
        return f"{SPEC}, {execution}"
    if any(each in operation for each in _CONVERTING):
        return f"{SPEC}, 4.3.4 (Conversions), and {execution}"
    numbers = "4.3.2 (Integer Operations)" if kind.startswith("i") else "4.3.3 (Floating-Point Operations)"
    letter = kind[0]
    return f"{SPEC}, {numbers}, `{letter}{operation}` of N = {kind[1:]}, and {execution}"
