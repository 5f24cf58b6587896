"""The messages of kilnd when a run fails: its error line, its panics, its allocator.

They are those of kilnd 0.4.4 (see ``tests/transcripts/kilnd-0.4.4``). The line is ``Error: Error { category: Runtime, code: 8601,
message: "integer divide by zero" }``. Code and message together identify the error, since 1005 and 7000 are used for very different
ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.observation import Crashed, HarnessFailed, Outcome, OutOfMemory, Refused, TimedOut, TrapKind, Trapped

if TYPE_CHECKING:
    from diffcheck.backend.contract import RunLimits

VERSION: Final = "0.4.4"
"""The version of kilnd of these tables."""

TRAP_CODE: Final = 8601

TRAPS: Final[dict[str, TrapKind]] = {
    "unreachable": "unreachable",
    "integer divide by zero": "integer divide by zero",
    "integer overflow": "integer overflow",
    "invalid conversion to integer": "invalid conversion to integer",
    "out of bounds memory access": "out of bounds memory access",
    # Messages of the atomic instructions, with another one for a memory smaller than one access.
    "Memory access error": "out of bounds memory access",
    "Memory access out of bounds": "out of bounds memory access",
    "Memory read out of bounds": "out of bounds memory access",
    "Memory write out of bounds": "out of bounds memory access",
    "Memory read would overflow": "out of bounds memory access",
    "Memory write would overflow": "out of bounds memory access",
    "Memory fill would overflow": "out of bounds memory access",
    "Memory copy out of bounds": "out of bounds memory access",
    "out of bounds table access": "out of bounds table access",
    # From table.get and table.set, with category Resource and code 2000, which is not a trap's code.
    "Table access out of bounds": "out of bounds table access",
    "undefined element": "out of bounds table access",
    "uninitialized element": "uninitialized element",
    "indirect call type mismatch": "indirect call type mismatch",
    "call stack exhausted": "call stack exhausted",
    "null reference": "null reference",
    "null function reference": "null reference",
    "null structure reference": "null reference",
    "null array reference": "null reference",
    "null i31 reference": "null reference",
    "null exception reference": "null reference",
    "cast failure": "cast failure",
    "out of bounds array access": "out of bounds array access",
    # Code 7000, for an array too long for kilnd's store.
    "Failed to push to array": "allocation too large",
    "exception": "uncaught exception",
    "unaligned atomic access": "unaligned atomic",
}
"""Kinds of traps by kilnd's message, for any code."""

REFUSALS: Final[tuple[tuple[str, Outcome], ...]] = (
    ("failed to load WITNESS_MODULE", Refused("load", "failed to load, no reason given")),
    ("failed to instantiate WITNESS_MODULE", Refused("instantiate", "failed to instantiate, no reason given")),
    ("WITNESS_MODULE is not a core module", Refused("load", "not a core module")),
    ("no witness harness entry export found", Refused("entry", "no entry export")),
    ("function invoked with wrong number of arguments", Refused("entry", "the entry has parameters")),
    ("WITNESS_MODULE could not be read", HarnessFailed("the engine could not read the module")),
    ("WITNESS_OUTPUT could not be written", HarnessFailed("the engine could not write its answer")),
    ("exported counter global is not an integer", HarnessFailed("counter of another type")),
    ("witness counter id is not a numeric u32", HarnessFailed("a counter's name is not a u32")),
)
"""Outcomes before and after the run in harness mode, by the beginning of the message."""

FUEL: Final = "fuel exhausted"

_ERROR: Final = re.compile(r'^Error: Error \{ category: (\w+), code: (\d+), message: "((?:[^"\\]|\\.)*)" \}\s*$', re.MULTILINE)
_PANIC: Final = re.compile(r"^thread '[^'\n]*'(?: \(\d+\))? panicked at ([^\n]*)(?:\n([^\n]*))?", re.MULTILINE)
_ALLOCATION: Final = re.compile(r"memory allocation of (\d+) bytes failed")
_OVERFLOW: Final = re.compile(r"thread '[^'\n]*'(?: \(\d+\))? has overflowed its stack")
_PANIC_STATUS: Final = 101


def classify(text: str, status: int | None, signal: int | None, limits: RunLimits) -> Outcome | None:
    """The outcome by kilnd's stderr and exit; None if it is not a message of kilnd.

    ``status`` is the exit status, None after a ``signal``. stderr also has debug lines, so the last error line counts.
    """
    if allocation := _ALLOCATION.search(text):
        return OutOfMemory(limits.memory_bytes, f"an allocation of {allocation[1]} bytes failed")
    if overflow := _OVERFLOW.search(text):
        return Crashed(signal or 0, overflow[0])
    if signal is not None:
        return None
    if status == _PANIC_STATUS and (panic := _PANIC.search(text)):
        return Crashed(0, f"panicked at {panic[1]} {panic[2] or ''}".strip())
    errors = _ERROR.findall(text)
    if not errors:
        return None
    category, code, message = errors[-1]
    return _meaning(category, int(code), message, limits)


def _meaning(category: str, code: int, message: str, limits: RunLimits) -> Outcome:
    if message.startswith(FUEL):
        return TimedOut(limits.deadline_s, "the engine's own fuel is exhausted")
    kind = TRAPS.get(message)
    if kind is not None:
        return Trapped(kind, message)
    for beginning, outcome in REFUSALS:
        if message.startswith(beginning):
            return outcome
    # Any other error is compared as a trap of unknown kind.
    return Trapped("unknown", message if code == TRAP_CODE else f"{message} ({category}, code {code})")
