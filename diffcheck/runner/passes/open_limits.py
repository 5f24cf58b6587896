"""Limits that the specification leaves to engines: the depth of calls, the size of an allocation."""

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
    """A limit: the trap when it is reached, the allowance, and what is open as text.

    ``stack_bytes`` or ``memory_bytes`` is a small limit for the oracle: a program that reaches it may reach the subject's limit.
    """

    trap: TrapKind
    rule: str
    section: str
    name: str
    what: str
    stack_bytes: int | None = None
    memory_bytes: int | None = None

    def met_by(self, outcome: Outcome | None) -> bool:
        """Whether an engine reached this limit."""
        return isinstance(outcome, Trapped) and outcome.kind == self.trap

    def small(self, limits: RunLimits) -> RunLimits:
        """The limits of the oracle with a small value for this one."""
        return msgspec.structs.replace(
            limits, stack_bytes=self.stack_bytes or limits.stack_bytes, memory_bytes=self.memory_bytes or limits.memory_bytes
        )


OPEN_LIMITS: Final = (
    OpenLimit(
        "call stack exhausted",
        allow.STACK_RULE,
        allow.STACK_SECTION,
        "stack",
        "the depth of calls is not specified",
        stack_bytes=32 << 10,
    ),
    OpenLimit(
        "allocation too large",
        allow.ALLOCATION_RULE,
        allow.ALLOCATION_SECTION,
        "implementation limit",
        "the size of an allocation is not specified",
        memory_bytes=64 << 20,
    ),
)


def differ(
    oracle: Outcome | None, subject: Outcome | None, small: Callable[[OpenLimit], Outcome], findings: Findings, row: str = ""
) -> str:
    """Why two outcomes cannot be compared because only one engine reached an open limit; empty if they can.

    The difference is recorded as an allowance. ``small`` runs the oracle with a small limit: a subject that reaches its limit in a
    program that needs less is wrong.
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
        return f"{limit.name}: {where}oracle {words[0]}, subject {words[1]}; {limit.what}"
    return ""


def _met_small(limit: OpenLimit, outcome: Outcome) -> bool:
    return limit.met_by(outcome) or (limit.memory_bytes is not None and isinstance(outcome, OutOfMemory))
