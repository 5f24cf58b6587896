"""Whether a subject that timed out hangs or is only slow, by how much work the oracle's fuel says there was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.observation import TimedOut, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend.contract import Capabilities
    from diffcheck.observation import Outcome

SLOWER: Final = 100
"""A subject that many times slower than measured is still only slow."""
_LOAD_MARGIN: Final = 3
CONFIRM: Final = 3
"""A hang is confirmed once with so many times the deadline: on a busy machine a slow engine looks like one that hangs."""


def why_slow(
    first: TimedOut, oracle: Outcome, fuel: int | None, functions: int, capabilities: Capabilities,
    rerun: Callable[[float], Outcome],
) -> tuple[str, Outcome]:  # fmt: skip
    """Why a subject that timed out is only slow, empty where it hangs; and how it ended at last.

    ``oracle`` and ``fuel`` are what the oracle did with the same program, ``rerun`` runs the subject with a deadline in seconds.
    """
    if not should_have_ended(fuel, functions, capabilities, first.deadline_s):
        return f"slow: the subject {sentence(first)}, the oracle {sentence(oracle)}", first
    again = rerun(CONFIRM * first.deadline_s)
    if isinstance(again, TimedOut):
        return "", again
    return f"slow: the subject {sentence(first)}, and with {CONFIRM} times the deadline {sentence(again)}", again


def should_have_ended(fuel: int | None, functions: int, capabilities: Capabilities, deadline_s: float) -> bool:
    """Whether even a subject a hundred times slower than measured would have been done within the deadline.

    ``fuel`` is what the oracle took for the same rows, about a unit an instruction; None says nothing. Loading is not a
    hundred times slower on a busy machine: it counts three times.
    """
    if fuel is None:
        return False
    load_s = capabilities.startup_s + functions * capabilities.function_s
    return fuel * SLOWER / capabilities.instructions_per_s + load_s * _LOAD_MARGIN < deadline_s
