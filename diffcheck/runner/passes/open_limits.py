"""Limits that the specification leaves to engines: how deep calls may go, how large an allocation may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.compare import allowances as allow
from diffcheck.compare import outcomes
from diffcheck.observation import Exited, Outcome, OutOfMemory, Returned, Threw, TrapKind, Trapped, sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend.contract import RunLimits
    from diffcheck.compare.findings import Findings


class OpenLimit(msgspec.Struct, frozen=True):
    """A limit: the trap of an engine that meets it, the allowance, what is open in words.

    ``stack_bytes`` or ``memory_bytes`` is a small limit for the oracle: a program that meets it may meet the subject's own.
    """

    trap: TrapKind
    rule: str
    section: str
    name: str
    what: str
    stack_bytes: int | None = None
    memory_bytes: int | None = None

    def met_by(self, outcome: Outcome | None) -> bool:
        """Whether an engine met this limit."""
        return isinstance(outcome, Trapped) and outcome.kind == self.trap

    def small(self, limits: RunLimits) -> RunLimits:
        """The oracle's limits with this one small."""
        return msgspec.structs.replace(
            limits, stack_bytes=self.stack_bytes or limits.stack_bytes, memory_bytes=self.memory_bytes or limits.memory_bytes
        )


OPEN_LIMITS: Final = (
    OpenLimit(
        "call stack exhausted",
        allow.STACK_RULE,
        allow.STACK_SECTION,
        "stack",
        "how deep calls may go is open",
        stack_bytes=32 << 10,
    ),
    OpenLimit(
        "allocation too large",
        allow.ALLOCATION_RULE,
        allow.ALLOCATION_SECTION,
        "implementation limit",
        "how large an allocation may be is open",
        memory_bytes=64 << 20,
    ),
)


def differ(
    oracle: Outcome | None, subject: Outcome | None, small: Callable[[OpenLimit], Outcome], findings: Findings, row: str = ""
) -> str:
    """Why two outcomes cannot be compared, since only one engine met a limit that is open; empty where they can.

    It is recorded as an allowance. ``small`` runs the oracle with that limit small: a subject that meets a limit where the oracle
    would have room even so is wrong.
    """
    if oracle is None or subject is None or outcomes.same(oracle, subject):
        return ""
    for limit in OPEN_LIMITS:
        met = limit.met_by(oracle), limit.met_by(subject)
        if met[0] == met[1] or not all(isinstance(each, Returned | Exited | Threw | Trapped) for each in (oracle, subject)):
            continue
        if met[1] and not _met_small(limit, small(limit)):
            return ""
        words = sentence(oracle), sentence(subject)
        findings.allow(limit.rule, limit.section, "outcome", *words, row=row)
        where = f"row {row}: " if row else ""
        return f"{limit.name}: {where}{words[0]} against {words[1]}; {limit.what}"
    return ""


def _met_small(limit: OpenLimit, outcome: Outcome) -> bool:
    return limit.met_by(outcome) or (limit.memory_bytes is not None and isinstance(outcome, OutOfMemory))
