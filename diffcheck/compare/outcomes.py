"""Comparing outcomes: by class, exit code and trap kind, as far as both engines report them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.compare import allowances as allow
from diffcheck.observation import (
    Crashed,
    Exited,
    HarnessFailed,
    Outcome,
    OutOfMemory,
    Refused,
    Returned,
    Threw,
    TimedOut,
    Trapped,
    sentence,
    tag,
    trapped_at_instantiation,
)

if TYPE_CHECKING:
    from diffcheck.compare.findings import Findings

KIND_UNSTATED = "the trap's kind: the engine has the same message for several"
FAILURES = (Crashed, OutOfMemory, TimedOut, HarnessFailed)
"""Outcomes that do not depend on the program alone: the engine or its harness failed."""


def same(oracle: Outcome, subject: Outcome) -> bool:  # noqa: PLR0911 - one line for each pair
    """Whether the outcomes are equal by the specification."""
    match oracle, subject:
        case (Returned(), Returned()) | (Refused(), Refused()):
            return True
        case Exited(one), Exited(other):
            return one == other
        case Threw(), Threw():
            return oracle == subject
        case (Threw(), Trapped("uncaught exception")) | (Trapped("uncaught exception"), Threw()):
            return True
        case Trapped(one_kind, words), Trapped(other_kind, other_words):
            equal = one_kind == other_kind and (one_kind != "unknown" or words == other_words)
            return equal or "unstated" in (one_kind, other_kind) or allow.one_trap(oracle, subject)
        case (Refused(kind="trap") as refused, Trapped(kind)) | (Trapped(kind), Refused(kind="trap") as refused):
            # Not every engine reports that the trap was at instantiation.
            return kind in ("unknown", "unstated") or refused == trapped_at_instantiation(kind)
    return False


def shape(oracle: Outcome, subject: Outcome) -> str:
    """The shape of a divergence of outcomes, for its signature."""
    return f"{_shape(oracle)} / {_shape(subject)}"


def _shape(outcome: Outcome) -> str:
    match outcome:
        case Trapped("unknown", detail):
            return f"trapped {detail}"
        case Trapped(kind, _):
            return f"trapped {kind}"
        case Crashed(signal, _):
            return f"crashed {signal}"
        case Refused(stage, reason):
            return f"refused {stage} {reason[:60]}"
        case HarnessFailed(what, _):
            return f"harness failed {what}"
    return f"threw {outcome.name or outcome.tagidx}" if isinstance(outcome, Threw) else tag(outcome)


def _kind(outcome: Outcome) -> Outcome:
    """The outcome without an engine's words."""
    return Trapped(outcome.kind) if isinstance(outcome, Trapped) else outcome


def compare(oracle: Outcome, subject: Outcome, findings: Findings, row: str = "") -> bool:
    """Compare outcomes and record a divergence if they differ; returns whether they are equal."""
    if isinstance(oracle, Returned) and isinstance(subject, Returned):
        return True
    if same(oracle, subject):
        if isinstance(oracle, Refused) and isinstance(subject, Refused) and "unknown" in (oracle.stage, subject.stage):
            findings.not_compared("why the module was refused: the subject does not report it")
        if any(isinstance(each, Trapped) and each.kind == "unstated" for each in (oracle, subject)):
            findings.not_compared(KIND_UNSTATED)
        if Trapped("uncaught exception") in (_kind(oracle), _kind(subject)):
            findings.not_compared("the tag and the payload of an uncaught exception: the engine reports neither")
        if isinstance(oracle, Trapped) and isinstance(subject, Trapped) and allow.one_trap(oracle, subject):
            words = sentence(oracle), sentence(subject)
            findings.allow(allow.ONE_TRAP_RULE, allow.ONE_TRAP_SECTION, "outcome", *words, row=row)
        return True
    findings.diverge("outcome", "outcome", sentence(oracle), sentence(subject), row=row, shape=shape(oracle, subject))
    return False
