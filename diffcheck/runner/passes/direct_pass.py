"""The direct pass: the unmodified artifact under both engines by the rules of witness's harness protocol.

It has the same entry, no imports and no reset calls, since users run the unmodified artifact. Only the outcome and the counters are
compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend.contract import HARNESS_ENTRIES, Program, finished
from diffcheck.capsule.deterministic.form import Choices
from diffcheck.compare import allowances as allow
from diffcheck.compare import outcomes
from diffcheck.compare import state as compare_state
from diffcheck.observation import (
    HarnessFailed,
    OutOfMemory,
    Refused,
    Returned,
    TimedOut,
    Trapped,
    sentence,
)
from diffcheck.runner.passes import open_limits
from diffcheck.runner.passes.hang_check import why_slow
from diffcheck.runner.passes.legal_choices import compare_choices
from diffcheck.verdict import PassReport, side

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host, RunLimits
    from diffcheck.compare.findings import Findings
    from diffcheck.observation import Execution, Outcome
    from diffcheck.runner.passes.refusals import Refusals
    from diffcheck.runner.plan import RunnablePlan


class DirectPass:
    """Runs the artifact of a plan under both engines; ``choices`` are the oracle's in a deterministic form, None if unknown."""

    def __init__(
        self, plan: RunnablePlan, oracle: Backend, subject: Backend, host: Host, findings: Findings, refusals: Refusals
    ) -> None:  # fmt: skip
        self.program = Program(kind="direct", wasm=plan.artifact, entry=plan.entry or HARNESS_ENTRIES[0])
        self.oracle, self.subject, self.limits, self.host = oracle, subject, plan.limits, host
        self.findings, self.functions = findings, plan.functions
        self.form, self.choices = plan.form, None if plan.form else Choices()
        self.refusals = refusals
        self.inconclusive = ""

    def report(self) -> PassReport:
        """Run the artifact under both engines and return the report."""
        pending = self.subject.start(self.program, self.limits, self.host)
        oracle = self.oracle.execute(self.program, self.limits, self.host)
        subject = finished(pending)
        self._compare(oracle, subject)
        findings = self.findings
        counters = oracle.counters or {}
        return PassReport(
            mode="direct",
            applicable=True,
            verdict="diverge" if findings.total else "inconclusive" if self.inconclusive else "agree",
            reason=str(findings.divergences[0]) if findings.total else self.inconclusive,
            oracle=side(oracle),
            subject=side(subject),
            divergences=tuple(findings.divergences),
            divergences_total=findings.total,
            allowances=findings.allowances,
            agreement=findings.agreement,
            vacuous=not findings.total and isinstance(oracle.outcome, Returned) and not any(counters.values()),
        )

    def _compare(self, oracle: Execution, subject: Execution) -> None:
        self.inconclusive = self._why_not_compared(oracle.outcome, subject.outcome)
        if self.inconclusive or self.findings.total:
            return
        self.findings.compared(1, 1, rows=1)
        one = oracle.outcome
        if isinstance(one, Trapped) and not one.instructions:
            one = msgspec.structs.replace(one, instructions=allow.two_reasons(self.program.wasm))
        if outcomes.compare(one, subject.outcome, self.findings) and isinstance(one, Returned):
            self._counters(oracle, subject)

    def _why_not_compared(self, one: Outcome, other: Outcome) -> str:  # noqa: PLR0911 - one line for each reason
        """Why the outcomes cannot be compared; empty if they can, or if the subject hangs."""
        if isinstance(one, TimedOut) and isinstance(other, TimedOut):
            return f"both timed out ({one.deadline_s:g} s)"
        if isinstance(one, outcomes.FAILURES):
            return f"the oracle {sentence(one)}; the subject {sentence(other)}"
        if isinstance(other, TimedOut):
            return self._timed_out(one, other)
        if isinstance(other, OutOfMemory):
            return f"the subject is {sentence(other)}; use a larger --memory-limit"
        if isinstance(other, HarnessFailed) and other.wrapper:
            return f"the subject did not run: {sentence(other)}"
        if isinstance(other, Refused) and not isinstance(one, Refused):
            return self.refusals.why_no_divergence(other, capsule=False)
        return open_limits.differ(one, other, lambda limit: self._oracle(limit.small(self.limits)).outcome, self.findings)

    def _oracle(self, limits: RunLimits) -> Execution:
        return self.oracle.execute(self.program, limits, self.host)

    def _timed_out(self, one: Outcome, other: TimedOut) -> str:
        def rerun(deadline_s: float) -> Outcome:
            longer = msgspec.structs.replace(self.limits, deadline_s=deadline_s)
            return self.subject.execute(self.program, longer, self.host).outcome

        fuel = self._oracle(msgspec.structs.replace(self.limits, count_fuel=True)).fuel
        slow, again = why_slow(other, one, fuel, self.functions, self.subject.capabilities, rerun)
        if not slow:
            self.findings.diverge("outcome", "outcome", sentence(one), f"hangs ({sentence(again)})", shape="hang")
        return slow

    def _counters(self, oracle: Execution, subject: Execution) -> None:
        ones, theirs = oracle.counters or {}, subject.counters or {}
        if self.form is None:
            compare_state.counters(ones, theirs, self.findings)
            return
        (ones, self.choices), (theirs, choices) = self.form.split(ones), self.form.split(theirs)
        compare_state.counters(ones, theirs, self.findings)
        compare_choices(self.choices, choices, self.findings)
