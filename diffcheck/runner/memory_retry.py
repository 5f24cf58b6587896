"""A second run of a case whose subject needed more memory than its plan expected: once, alone, and with a higher limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.observation import OutOfMemory
from diffcheck.runner.plan import CapsulePlan, SkippedPlan
from diffcheck.runner.slicing import MACHINE_SHARE
from diffcheck.text import size

if TYPE_CHECKING:
    from diffcheck.runner.plan import Plan
    from diffcheck.verdict import CaseReport

_FACTOR: Final = 2
_LEAST_SHARE: Final = 0.4
"""Below this share of the limit the expected memory is not the reason: the program itself takes more and more."""


def needed(plan: Plan, report: CaseReport) -> int:
    """Return the memory in bytes with which a case is to be run again, or 0.

    The expected memory, which is that after loading, has to be near the limit, and the machine has to have more.
    """
    if isinstance(plan, SkippedPlan):
        return 0
    sides = (each.subject for each in report.passes if each.verdict == "inconclusive" and not each.in_recorder)
    if not any(isinstance(side.outcome, OutOfMemory) for side in sides if side is not None):
        return 0
    limit = plan.limits.memory_bytes
    more = min(_FACTOR * limit, int(process.machine_memory_bytes() * MACHINE_SHARE))
    return more if more > limit and plan.memory_bytes >= _LEAST_SHARE * limit else 0


def with_limit(plan: Plan, memory_bytes: int) -> Plan:
    """Return the plan with a memory limit for each execution, and a note on it."""
    if isinstance(plan, SkippedPlan):
        return plan
    note = f"run again alone with {size(memory_bytes)} of memory, since {size(plan.limits.memory_bytes)} were not enough"
    limits = msgspec.structs.replace(plan.limits, memory_bytes=memory_bytes)
    plan = msgspec.structs.replace(plan, limits=limits, notes=(*plan.notes, note))
    if not isinstance(plan, CapsulePlan):
        return plan
    whole = None if plan.whole is None else msgspec.structs.replace(plan.whole, limits=limits)
    return msgspec.structs.replace(
        plan, whole=whole, others=tuple(msgspec.structs.replace(each, limits=limits) for each in plan.others)
    )
