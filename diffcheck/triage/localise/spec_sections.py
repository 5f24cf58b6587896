"""The section of the core specification 3.0 that defines an instruction, with the name used there.

Section numbers are those of release 3.0 (2025-09), from its sources (tag ``wg-3.0``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from diffcheck.triage.reduce.symptom import Symptom

SPEC: Final = "WebAssembly core specification 3.0"
INSTANTIATION: Final = "4.7.2 (Instantiation)"
_CONVERTING: Final = ("trunc", "convert", "demote", "promote", "reinterpret", "extend_i32", "wrap")
_EXECUTION: Final = (
    (r"(unreachable|nop|drop|select)", "4.6.1 (Parametric Instructions)"),
    (r"(local|global)\.", "4.6.6 (Variable Instructions)"),
    (r"(table\.|elem\.drop)", "4.6.7 (Table Instructions)"),
    (r"(memory\.|data\.drop|.*\.(load|store))", "4.6.8 (Memory Instructions)"),
    (r"(ref|struct|array|i31|any|extern)\.", "4.6.9 (Reference Instructions)"),
    (r"[if](32|64)\.", "4.6.10 (Numeric Instructions)"),
    (r"(v128|[if]\d+x\d+)\.", "4.6.11 (Vector Instructions)"),
    (r"", "4.6.2 (Control Instructions)"),
)
_PROPOSALS: Final = (
    (r".*\.atomic\.|atomic\.", "the threads proposal"),
    (r"i64\.(add128|sub128|mul_wide)", "the wide-arithmetic proposal"),
    (r"(try|catch|catch_all|rethrow|delegate)$", "the legacy form of exception handling (appendix, Change History)"),
)


def section(instruction: str, symptom: Symptom) -> str:
    """The section for an instruction (its text may have immediates), or for validation if a module was refused."""
    if "refused" in symptom.subject or "refused" in symptom.oracle:
        return (
            f"{SPEC}, chapter 3 (Validation) and {INSTANTIATION}. Implementations may have limits (7.3, "
            "Implementation Limitations) and refuse modules that exceed them"
        )
    return instruction_section(instruction) or f"{SPEC}, {INSTANTIATION}: no instruction differs in its execution"


def instruction_section(instruction: str) -> str:
    """The section for an instruction (its text may have immediates); empty if it is not an instruction."""
    name = instruction.split(" ", 1)[0]
    if name not in BY_NAME:
        return ""
    proposal = next((words for pattern, words in _PROPOSALS if re.match(pattern, name)), "")
    if proposal:
        return f"`{name}` of {proposal}, which is not in the core specification 3.0"
    execution = next(words for pattern, words in _EXECUTION if re.match(pattern, name))
    numbers = _numbers(name)
    return f"{SPEC}, {numbers}{'and ' * bool(numbers)}{execution}, `{name}`"


def _numbers(name: str) -> str:
    """The section of chapter 4.3 (Numerics) for a numeric or vector instruction; empty for any other."""
    kind, _, operation = name.partition(".")
    if operation.startswith(("load", "store", "const")):
        return ""
    if re.match(r"v128|[if]\d+x\d+", kind):
        return "4.3.6 (Relaxed Operations) " if operation.startswith("relaxed") else "4.3.5 (Vector Operations) "
    if kind not in ("i32", "i64", "f32", "f64"):
        return ""
    if any(each in operation for each in _CONVERTING):
        return "4.3.4 (Conversions) "
    section_ = "4.3.2 (Integer Operations)" if kind.startswith("i") else "4.3.3 (Floating-Point Operations)"
    return f"{section_}, `{kind[0]}{operation}` of N = {kind[1:]}, "
