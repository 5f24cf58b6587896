"""Whether a subject that timed out hangs or is only slow, by the fuel that the oracle used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.observation import TimedOut, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend.contract import Capabilities
    from diffcheck.observation import Outcome

SLOWER: Final = 100
"""A subject up to this factor slower than measured is slow and does not hang."""
_LOAD_MARGIN: Final = 3
CONFIRM: Final = 3
"""The factor of the deadline that confirms a hang: on a busy machine a slow engine looks like one that hangs."""


def why_slow(
    first: TimedOut, oracle: Outcome, fuel: int | None, functions: int, capabilities: Capabilities,
    rerun: Callable[[float], Outcome],
) -> tuple[str, Outcome]:  # fmt: skip
    """(reason, outcome): why the timeout is slowness, empty for a hang.

    A possible hang is rerun with ``CONFIRM`` times the deadline, and the outcome is then that of the rerun.
    ``oracle`` and ``fuel`` are the oracle's with the same program; ``rerun`` runs the subject with a deadline in seconds.
    """
    if not should_have_ended(fuel, functions, capabilities, first.deadline_s):
        return f"slow: the subject {sentence(first)}, the oracle {sentence(oracle)}", first
    again = rerun(CONFIRM * first.deadline_s)
    if isinstance(again, TimedOut):
        return "", again
    return f"slow: the subject {sentence(first)}, and with {CONFIRM} times the deadline {sentence(again)}", again


def should_have_ended(fuel: int | None, functions: int, capabilities: Capabilities, deadline_s: float) -> bool:
    """Whether even a subject a hundred times slower than measured would have met the deadline.

    ``fuel`` is the oracle's for the same rows, about one unit for each instruction; None if unknown. Loading is not a hundred
    times slower on a busy machine: it counts three times.
    """
    if fuel is None:
        return False
    load_s = capabilities.startup_s + functions * capabilities.function_s
    return fuel * SLOWER / capabilities.instructions_per_s + load_s * _LOAD_MARGIN < deadline_s
