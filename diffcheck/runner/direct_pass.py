"""The direct pass: the artifact as it is, under both engines by the rules of witness's harness protocol.

Same entry, no imports, no reset calls. What kiln's users run is the artifact as it is, so this is compared as well; it sees
how the run ended and the counters, nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend import KILN_ENTRIES, Program
from diffcheck.capsule.deterministic import Choices
from diffcheck.compare import allowances as allow
from diffcheck.compare import outcomes
from diffcheck.compare import state as compare_state
from diffcheck.observation import (
    Cost,
    Execution,
    Exited,
    HarnessFailed,
    OutOfMemory,
    Refused,
    Returned,
    TimedOut,
    Trapped,
    sentence,
)
from diffcheck.runner.hang import CONFIRM, should_have_ended
from diffcheck.runner.legal_choices import compare_choices
from diffcheck.verdict import PassReport
from diffcheck.verdict import Side as SideReport

if TYPE_CHECKING:
    from diffcheck.backend import Backend, Host
    from diffcheck.compare.findings import Findings
    from diffcheck.runner.plan import Plan
    from diffcheck.wasm.module import Module

_COUNTER = re.compile(r"__witness_counter_(.*)\Z", re.DOTALL)
_STACK = "call stack exhausted"


def entry(module: Module) -> str | None:
    """The harness entry: the first of ``KILN_ENTRIES`` that is an exported function."""
    functions = {each.name for each in module.exports if each.kind == "func"}
    return next((name for name in KILN_ENTRIES if name in functions), None)


def why_not(module: Module, oracle: Backend, subject: Backend) -> str:
    """Why an artifact has no direct pass, or nothing."""
    for side, backend in (("subject", subject), ("oracle", oracle)):
        if not backend.capabilities.direct:
            return f"the {side} cannot run an artifact as it is"
    if module.imports:
        return f"it has {len(module.imports)} import{'s' if len(module.imports) > 1 else ''}"
    name = entry(module)
    if name is None:
        return f"it has no harness entry ({', '.join(KILN_ENTRIES)})"
    index = next(each.index for each in module.exports if each.kind == "func" and each.name == name)
    if module.function_type(index).params:
        return f"its harness entry {name} takes parameters"
    for each in module.exports:
        match = _COUNTER.match(each.name) if each.kind == "global" else None
        if match and (
            not match[1].isdecimal() or int(match[1]) >> 32 or module.all_globals[each.index].value not in ("i32", "i64")
        ):
            return f"its global {each.name[:60]} is no counter that the harness protocol can carry"
    return ""


class DirectPass:
    """Runs a plan's artifact as it is under both engines; ``choices`` are those that the oracle made in a deterministic form, None
    where it is not known.
    """

    def __init__(self, plan: Plan, oracle: Backend, subject: Backend, host: Host, findings: Findings) -> None:
        self.program = Program(kind="direct", wasm=plan.artifact, entry=plan.entry or KILN_ENTRIES[0])
        self.oracle, self.subject, self.limits, self.host = oracle, subject, plan.limits, host
        self.findings, self.functions = findings, plan.functions
        self.form, self.choices = plan.form, None if plan.form else Choices()
        self.inconclusive = ""

    def report(self, refusal: Refused | None = None) -> PassReport:
        """Run and compare; ``refusal`` is the oracle's where it would not validate the artifact, which it then need not run."""
        pending = self.subject.start(self.program, self.limits, self.host)
        oracle = Execution(refusal) if refusal else self.oracle.execute(self.program, self.limits, self.host)
        subject = pending.wait()
        self._compare(oracle, subject)
        findings = self.findings
        reason = self.inconclusive
        if findings.total:
            first = findings.divergences[0]
            reason = f"{first.where.item}: {first.oracle} against {first.subject}"
        counters = oracle.counters or {}
        return PassReport(
            mode="direct",
            applicable=True,
            verdict="diverge" if findings.total else "inconclusive" if self.inconclusive else "agree",
            reason=reason,
            oracle=_side(oracle),
            subject=_side(subject),
            divergences=tuple(findings.divergences),
            divergences_total=findings.total,
            allowances=findings.allowances,
            agreement=findings.agreement,
            vacuous=not findings.total and isinstance(oracle.outcome, Returned) and not any(counters.values()),
        )

    def _compare(self, oracle: Execution, subject: Execution) -> None:
        one, other = oracle.outcome, subject.outcome
        if isinstance(one, outcomes.FAILURES):
            both = isinstance(one, TimedOut) and isinstance(other, TimedOut)
            self.inconclusive = (
                f"both timed out ({one.deadline_s:g} s)" if both and isinstance(one, TimedOut)
                else f"the oracle {sentence(one)}; the subject {sentence(other)}"
            )  # fmt: skip
            return
        if isinstance(one, Refused) and not isinstance(other, Refused):
            self._taken(one, other)
            return
        if isinstance(other, TimedOut):
            self._timed_out(other)
            return
        if isinstance(other, OutOfMemory):
            self.inconclusive = f"the subject is {sentence(other)}; give --memory-limit more"
            return
        if self._stack(one, other):
            return
        self.findings.compared(1, 1, rows=1)
        if outcomes.compare(one, other, self.findings) and isinstance(one, Returned):
            self._counters(oracle, subject)

    def _taken(self, one: Refused, other: object) -> None:
        """The oracle refuses the artifact; how far the subject got says that it took it."""
        if isinstance(other, HarnessFailed | OutOfMemory | TimedOut):
            taken = "takes it, and then " + sentence(other)
        else:
            taken = "takes it, and " + sentence(other)  # type: ignore[arg-type]
        self.findings.diverge("outcome", "outcome", sentence(one), taken, shape=f"refused {one.stage} / taken")

    def _timed_out(self, other: TimedOut) -> None:
        limits = msgspec.structs.replace(self.limits, count_fuel=True)
        fuel = self.oracle.execute(self.program, limits, self.host).fuel
        if not should_have_ended(fuel, self.functions, self.subject.capabilities, other.deadline_s):
            self.inconclusive = f"slow: the subject {sentence(other)}, the oracle ended"
            return
        longer = msgspec.structs.replace(self.limits, deadline_s=CONFIRM * other.deadline_s)
        again = self.subject.execute(self.program, longer, self.host).outcome
        if isinstance(again, TimedOut):
            self.findings.diverge("outcome", "outcome", "returned", f"hangs ({sentence(again)})", shape="hang")
        else:
            self.inconclusive = f"slow: the subject {sentence(other)}, and with {CONFIRM} times the deadline {sentence(again)}"

    def _stack(self, one: object, other: object) -> bool:
        """Whether only one stack ended, and how deep calls may go is open there."""
        ended = [isinstance(each, Trapped) and each.kind == _STACK for each in (one, other)]
        if ended[0] == ended[1] or not all(isinstance(each, Returned | Exited | Trapped) for each in (one, other)):
            return False
        if ended[1]:
            small = msgspec.structs.replace(self.limits, stack_bytes=allow.STACK_BYTES)
            outcome = self.oracle.execute(self.program, small, self.host).outcome
            if not (isinstance(outcome, Trapped) and outcome.kind == _STACK):
                return False
        words = [sentence(each) for each in (one, other)]  # type: ignore[arg-type]
        self.findings.allow(allow.STACK_RULE, allow.STACK_SECTION, "outcome", *words)
        self.inconclusive = f"stack: {words[0]} against {words[1]}; how deep calls may go is open"
        return True

    def _counters(self, oracle: Execution, subject: Execution) -> None:
        ones, theirs = oracle.counters or {}, subject.counters or {}
        if self.form is None:
            compare_state.counters(ones, theirs, self.findings)
            return
        (ones, self.choices), (theirs, choices) = self.form.split(ones), self.form.split(theirs)
        compare_state.counters(ones, theirs, self.findings)
        compare_choices(self.choices, choices, self.findings)


def _side(execution: Execution) -> SideReport:
    cost = execution.cost if execution.cost.executions else Cost()
    return SideReport(execution.outcome, sentence(execution.outcome), cost, "", execution.log)
