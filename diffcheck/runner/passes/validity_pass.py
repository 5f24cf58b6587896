"""The pass over an artifact that the oracle refuses, which the subject should refuse too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend.contract import HARNESS_ENTRIES, Program
from diffcheck.compare import validity
from diffcheck.compare.findings import Findings
from diffcheck.observation import Crashed, loaded, sentence
from diffcheck.verdict import PassReport, SideReport, side

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host
    from diffcheck.observation import Execution
    from diffcheck.runner.plan import RefusedPlan
    from diffcheck.verdict import Verdict


def report(plan: RefusedPlan, subject: Backend, host: Host) -> PassReport:
    """Run the subject with the artifact, and with ``plan.bare`` if the outcome does not show whether the artifact loads."""
    refusal, findings = plan.refusal, Findings()
    oracle = SideReport(refusal, sentence(refusal))
    if plan.accepted:
        return _accepted(plan, findings, oracle, _loading(plan, subject, host))
    unknown = validity.why_unjudged(refusal)
    if unknown:
        return PassReport(mode="direct", applicable=True, verdict="inconclusive", reason=unknown, oracle=oracle)
    execution = _loading(plan, subject, host)
    unknown = validity.compare(refusal, execution.outcome, findings, plan.case.module.refusal if plan.case.module else "")
    verdict: Verdict = "diverge" if findings.total else "inconclusive" if unknown else "agree"
    reason = str(findings.divergences[0]) if findings.total else unknown or validity.BOTH_REFUSE
    return PassReport(
        mode="direct",
        applicable=True,
        verdict=verdict,
        reason=reason,
        oracle=oracle,
        subject=side(execution),
        divergences=tuple(findings.divergences),
        divergences_total=findings.total,
        agreement=findings.agreement,
        vacuous=verdict == "agree",
    )


def _accepted(plan: RefusedPlan, findings: Findings, oracle: SideReport, execution: Execution) -> PassReport:
    """The report of a module that the oracle accepts, although the script expects a refusal."""
    words = validity.ACCEPTS
    theirs = validity.accepted(execution.outcome) if loaded(execution.outcome) else sentence(execution.outcome)
    findings.diverge(
        "expectation", "validity", words, theirs, shape=plan.refusal.reason, detail=f"the script expects {plan.refusal.reason}"
    )
    return PassReport(
        mode="direct",
        applicable=True,
        verdict="diverge",
        reason=str(findings.divergences[0]),
        oracle=msgspec.structs.replace(oracle, words=words),
        subject=side(execution),
        divergences=tuple(findings.divergences),
        divergences_total=findings.total,
    )


def _loading(plan: RefusedPlan, subject: Backend, host: Host) -> Execution:
    """The execution that best shows whether the subject loads the artifact."""
    execution = subject.execute(
        Program(kind="direct", wasm=plan.artifact, entry=plan.entry or HARNESS_ENTRIES[0]), plan.limits, host
    )
    if loaded(execution.outcome) is not None or isinstance(execution.outcome, Crashed) or not plan.bare:
        return execution
    return subject.execute(Program(kind="direct", wasm=plan.bare), plan.limits, host)
