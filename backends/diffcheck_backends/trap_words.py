"""Messages of engines when a module traps, is refused or runs out of memory, for ``harness:`` and ``wasi:``.

The tables of regular expressions, one for each engine or family, are tried in order; the first match counts. ``kiln_words`` has
kilnd's messages with their codes, and is tried first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.observation import Crashed, HarnessFailed, Outcome, OutOfMemory, RefusalKind, Refused, Stage, TrapKind, Trapped
from diffcheck.text import printed_end, visible
from diffcheck_backends import kiln_words, refusal_words

if TYPE_CHECKING:
    from diffcheck.backend.contract import RunLimits

V8: Final[tuple[tuple[str, TrapKind], ...]] = (
    # Measured with Node 20.20, which prints the name of the error before the message.
    (r"RuntimeError: (?:divide|remainder) by zero", "integer divide by zero"),
    (r"RuntimeError: divide result unrepresentable", "integer overflow"),
    # V8 has the same message for a NaN and a number too large, and for a null entry and one of another type.
    (r"RuntimeError: float unrepresentable in integer range", "unstated"),
    (r"RuntimeError: null function or function signature mismatch", "unstated"),
    (r"RuntimeError: memory access out of bounds", "out of bounds memory access"),
    (r"RuntimeError: table index is out of bounds", "out of bounds table access"),
    (r"RuntimeError: element segment out of bounds", "out of bounds table access"),
    (r"RuntimeError: data segment out of bounds", "out of bounds memory access"),
    (r"RuntimeError: operation does not support unaligned accesses", "unaligned atomic"),
    (r"RangeError: Maximum call stack size exceeded", "call stack exhausted"),
    (r"\[?WebAssembly\.Exception", "uncaught exception"),
    # Measured with Node 24.19 by the contract kit; Node 20 does not have these features.
    (r"RuntimeError: dereferencing a null pointer", "null reference"),
    (r"RuntimeError: rethrowing null value", "null reference"),
    (r"RuntimeError: illegal cast", "cast failure"),
    (r"RuntimeError: array element access out of bounds", "out of bounds array access"),
    (r"RuntimeError: requested new array is too large", "allocation too large"),
)

RUST_FAMILY: Final[tuple[tuple[str, TrapKind], ...]] = (
    # Wasmtime 50 (measured through its Python package) prints these after "wasm trap: "; wasmi and wasmer have the same messages.
    (r"wasm `?unreachable`? instruction executed|RuntimeError: unreachable", "unreachable"),
    (r"integer divide by zero", "integer divide by zero"),
    (r"integer overflow", "integer overflow"),
    (r"invalid conversion to integer", "invalid conversion to integer"),
    (r"out of bounds memory access", "out of bounds memory access"),
    (r"undefined element: out of bounds table access|out of bounds table access", "out of bounds table access"),
    (r"uninitialized element", "uninitialized element"),
    (r"indirect call type mismatch", "indirect call type mismatch"),
    (r"call stack exhausted", "call stack exhausted"),
    (r"out of bounds array access", "out of bounds array access"),
    (r"allocation size too large", "allocation too large"),
    (r"unaligned atomic", "unaligned atomic"),
    (r"wasm trap: null reference", "null reference"),
    (r"wasm trap: cast failure", "cast failure"),
    (r"thrown Wasm exception|uncaught exception", "uncaught exception"),
)

JAVASCRIPT_CORE: Final[tuple[tuple[str, TrapKind], ...]] = (
    # Measured with Bun 1.4.5.
    (r"RuntimeError: Unreachable code should not be executed", "unreachable"),
    (r"RuntimeError: Division by zero", "integer divide by zero"),
    (r"RuntimeError: Integer overflow", "integer overflow"),
    # The same message for a NaN and a number too large, and for a null entry and one of another type.
    (r"RuntimeError: Out of bounds Trunc operation", "unstated"),
    (r"RuntimeError: call_indirect to a signature that does not match", "unstated"),
    (r"RuntimeError: Out of bounds or failed to allocate in array\.new_(?:data|elem)", "unstated"),
    (r"RuntimeError: (?:Out of bounds memory access|Invalid data segment initialization)", "out of bounds memory access"),
    (r"RuntimeError: (?:Out of bounds (?:call_indirect|table access)|Element is trying to set)", "out of bounds table access"),
    (r"RuntimeError: Out of bounds array\.", "out of bounds array access"),
    (r"RuntimeError: Failed to allocate new array", "allocation too large"),
    (r"RuntimeError: \S+ (?:on|to) a null reference", "null reference"),
    (r"RuntimeError: ref\.cast failed to cast", "cast failure"),
    (r"RuntimeError: Unaligned memory access", "unaligned atomic"),
)

WAZERO: Final[tuple[tuple[str, TrapKind], ...]] = (
    # wazero's internal/wasmruntime/errors.go, without the messages of the family above.
    (r"wasm error: unreachable", "unreachable"),
    (r"wasm error: stack overflow", "call stack exhausted"),
    (r"wasm error: null reference", "null reference"),
    # The same message for an index out of bounds and an empty element.
    (r"wasm error: invalid table access", "unstated"),
)

TRAPS: Final = tuple((re.compile(pattern), kind) for pattern, kind in (*V8, *JAVASCRIPT_CORE, *WAZERO, *RUST_FAMILY))

REFUSALS: Final[tuple[tuple[re.Pattern[str], Stage, RefusalKind], ...]] = (
    (re.compile(r"CompileError: .*"), "load", "invalid"),
    # V8's TypeError is for imports without an object for their module's name.
    (re.compile(r"(?:LinkError: |TypeError: WebAssembly\.\w+\(\): Import).*"), "instantiate", "unlinkable"),
    (re.compile(r".*\(at offset 0x[0-9a-f]+\).*"), "load", "invalid"),  # wasmparser's, which all engines in Rust use
    (re.compile(r".*(?:multi-?memory|multiple memories).*", re.IGNORECASE), "load", "unsupported"),
    (re.compile(r".*failed to (?:parse|compile|validate|load).*", re.IGNORECASE), "load", "unstated"),
    (
        re.compile(r".*(?:Invalid input WebAssembly code|magic header not detected|Validation error|error compiling).*"),
        "load",
        "unstated",
    ),
    (re.compile(r".*unknown import.*"), "instantiate", "unlinkable"),
    (re.compile(r".*(?:failed to instantiate|error instantiating).*"), "instantiate", "unstated"),
)
"""Messages of wasmtime, wasmi, wasmer, wazero and V8 for a refused module; the line is the reason. The kind applies unless the
reason names a limit or a proposal.
"""

_MEMORY: Final = re.compile(r"memory allocation of \d+ bytes failed|JavaScript heap out of memory|could not allocate memory")
_SHELL_SIGNAL: Final = 128
_SHELL_SIGNALS: Final = range(_SHELL_SIGNAL + 1, _SHELL_SIGNAL + 32)
"""Exit statuses of a shell whose command died of a signal."""


_TRACEBACK: Final = "Traceback (most recent call last):"


def wrapper_failure(text: str) -> HarnessFailed | None:
    """The failure of a Python program around the engine, if ``text`` ends with its traceback; used after ``classify``.

    The exception of an engine written in Python names a trap.
    """
    last = text.strip().rpartition("\n")[2]
    if _TRACEBACK not in text or "trap" in last.lower():
        return None
    return HarnessFailed("the program around the engine failed", printed_end(last), wrapper=True)


def classify(text: str, status: int | None, signal: int | None, limits: RunLimits) -> Outcome | None:
    """The outcome by the message of any known engine; None if it is in no table.

    ``status`` is the exit code and ``signal`` the number of the signal, None if there is none; ``limits`` are for ``OutOfMemory``.
    """
    outcome = kiln_words.classify(text, status, signal, limits)
    if outcome is not None:
        return outcome
    if memory := _MEMORY.search(text):
        return OutOfMemory(limits.memory_bytes, memory[0])
    if status is None:
        return None
    outcome = _known_message(text)
    if outcome is None and status in _SHELL_SIGNALS:
        return Crashed(status - _SHELL_SIGNAL, printed_end(text))
    return outcome


def _known_message(text: str) -> Outcome | None:
    # A refusal may contain the message of a trap ("failed to parse ... out of bounds"), but not the reverse.
    for pattern, stage, refusal in REFUSALS:
        if match := pattern.search(text):
            reason = visible(_with_cause(text, match), 400)
            return Refused(stage, reason, refusal_words.kind(reason, refusal))
    for pattern, kind in TRAPS:
        if match := pattern.search(text):
            return Trapped(kind, visible(match[0]))
    return None


def _with_cause(text: str, match: re.Match[str]) -> str:
    """The matching line, and the next lines with its causes."""
    following = [line.strip() for line in text[match.end() :].splitlines() if line.strip() and line.strip() != "Caused by:"]
    return "; ".join([match[0].strip(), *following[:3]])
