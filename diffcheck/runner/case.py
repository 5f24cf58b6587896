"""One case from its plan to its report: both passes, the verdict, and what was not done."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from diffcheck.compare.findings import Findings
from diffcheck.runner import confirm, validity_pass
from diffcheck.runner.capsule_pass import CapsulePass
from diffcheck.runner.direct_pass import DirectPass
from diffcheck.runner.legal_choices import FIRST_PASSES, FormPass, judge
from diffcheck.runner.locate import Budget
from diffcheck.runner.plan import ONLY_DIRECT, deterministic_plan, world
from diffcheck.runner.refusals import Refusals
from diffcheck.runner.side import Side
from diffcheck.runner.wrong_instruction import explained
from diffcheck.verdict import CaseReport, PassReport, worst

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend import Backend, Host
    from diffcheck.casefile import Finding
    from diffcheck.corpus import Case
    from diffcheck.runner.plan import Plan
    from diffcheck.runner.request import Request
    from diffcheck.verdict import Divergence


def run(
    plan: Plan, max_passes: int, oracle: Backend, subject: Backend, host: Host, subject_name: str,
    request: Request | None = None,
) -> CaseReport:  # fmt: skip
    """Run a plan; exactly one report comes of it. ``request`` says how often a divergence is confirmed, without it never."""
    begun = time.monotonic_ns()
    if plan.skipped:
        return skipped(plan.case, plan.skipped, subject_name, plan)
    times = request.confirm if request else 0
    known = request.known if request else {}
    if times:
        oracle = confirm.Remembering(oracle)
    both = _Both(plan, max_passes, oracle, subject, host, hangs=request.hangs if request else True)
    passes = confirm.passes(
        (both.capsule, both.direct),
        times,
        known,
        [signature for signature, cases in known.items() if plan.case.id in cases],
    )
    applicable = [each for each in passes if each.applicable]
    verdict = worst([each.verdict for each in applicable])
    deciding = next((each for each in applicable if each.verdict == verdict), None)
    reason = f"{deciding.mode}: {deciding.reason}" if deciding and deciding.reason else ""
    if verdict == "agree" and (why := _no_declared_row(plan, passes)):
        verdict, reason = "inconclusive", why
    not_done = (*plan.notes, *(what for each in applicable for what in each.agreement.not_compared))
    if plan.no_capsule:
        not_done = (*not_done, f"no capsule pass: {plan.no_capsule}")
    return CaseReport(
        case=plan.case.id,
        artifact=plan.case.artifact,
        sha256=plan.sha256,
        verdict=verdict,
        reason=reason,
        expected=plan.case.expected(subject_name),
        vacuous=verdict == "agree" and all(each.vacuous for each in applicable),
        plan=plan.digest,
        rows=plan.rows,
        passes=passes,
        purpose=plan.case.purpose,
        elapsed_ns=time.monotonic_ns() - begun,
        not_done=tuple(dict.fromkeys(not_done)),
        explanation=_explanation(passes),
        findings=tuple(_finding(each) for each in plan.case.findings),
    )


def skipped(case: Case, reason: str, subject_name: str, plan: Plan | None = None) -> CaseReport:
    """The report of a case that was not run, with the reason."""
    return CaseReport(
        case=case.id,
        artifact=case.artifact,
        sha256=plan.sha256 if plan else "",
        verdict="skipped",
        reason=reason,
        expected=case.expected(subject_name),
        vacuous=False,
        plan=plan.digest if plan else "",
        rows=(),
        passes=(),
        purpose=case.purpose,
        not_done=case.notes,
    )


class _Both:
    """The two passes over a plan, each as often as it is asked for; a cause that both show has one signature."""

    def __init__(self, plan: Plan, max_passes: int, oracle: Backend, subject: Backend, host: Host, *, hangs: bool) -> None:
        self._hangs = hangs
        self._plan, self._max_passes, self._host = plan, max_passes, host
        self._oracle, self._subject = oracle, subject
        self._diverged: PassReport | None = None

    @cached_property
    def _refusals(self) -> Refusals:
        plan = self._plan
        assert plan.module is not None, "the oracle took the artifact"  # noqa: S101
        given = world(plan.case, program_name=False)
        return Refusals(plan.artifact, plan.module, given, self._subject, plan.limits, self._host)

    def capsule(self) -> PassReport:
        """The capsule under both engines."""
        plan = self._plan
        if plan.capsule is None or plan.subject_capsule is None:
            return PassReport(mode="capsule", applicable=False, why=plan.no_capsule)
        first = min(FIRST_PASSES, self._max_passes)
        rest = self._max_passes - first
        told = self._judged(self._capsule, Budget(first, lambda: rest if self._deterministic is None else 0))
        told = explained(told, self._subject, plan.limits, self._host)
        if told.divergences and self._diverged is None:
            self._diverged = told
        return told

    def direct(self) -> PassReport:
        """The artifact as it is under both engines."""
        if self._plan.refusal is not None:
            return validity_pass.report(self._plan, self._plan.refusal, self._subject, self._host)
        if self._plan.no_direct:
            return PassReport(mode="direct", applicable=False, why=self._plan.no_direct)
        told = self._judged(self._direct, Budget(0))
        return told if self._diverged is None else _one_cause(told, self._diverged)

    @cached_property
    def _deterministic(self) -> Plan | None:
        return deterministic_plan(self._plan)

    def _judged(self, run: Callable[[Plan, Budget], FormPass], budget: Budget) -> PassReport:
        """A pass over the artifact as it is, and where that differs over its deterministic form."""
        plain = run(self._plan, budget)
        if not plain.differs or self._deterministic is None:
            return plain.report
        found = run(self._deterministic, Budget(self._max_passes))
        return judge(plain, found, lambda: run(self._plan, Budget(self._max_passes)))

    def _capsule(self, plan: Plan, budget: Budget) -> FormPass:
        assert plan.capsule is not None, "the caller looked"  # noqa: S101
        assert plan.subject_capsule is not None, "as above"  # noqa: S101
        one = Side(self._oracle, plan.oracle_capsule or plan.capsule, plan.limits, self._host, whole=True)
        other = Side(self._subject, plan.subject_capsule, plan.limits, self._host, refusals=self._refusals)
        run = CapsulePass(
            one, other, Findings(plan.places, unit(plan.case)), budget, plan.functions,
            manifest=plan.manifest, hangs=self._hangs, form=plan.form,
        )  # fmt: skip
        return FormPass(run.report(), run.findings, run.choices, bool(run.unlocated))

    def _direct(self, plan: Plan, _: Budget) -> FormPass:
        findings = Findings(plan.places, unit(plan.case))
        direct = DirectPass(plan, self._oracle, self._subject, self._host, findings, self._refusals)
        return FormPass(direct.report(), direct.findings, direct.choices)


def _no_declared_row(plan: Plan, passes: tuple[PassReport, ...]) -> str:
    """Why none of the rows that the case declares ran; empty where one ran, or none is declared or was asked for."""
    if not plan.case.rows or plan.refusal is not None or plan.no_capsule == ONLY_DIRECT:
        return ""
    capsule, direct = passes
    if plan.capsule is not None and capsule.agreement.rows > plan.capsule.layout.n_init:
        return ""
    if direct.applicable and plan.entry in plan.case.rows:
        return ""
    return f"none of the declared rows ran: {capsule.why or (capsule.oracle.words if capsule.oracle else '')}"


def _one_cause(direct: PassReport, capsule: PassReport) -> PassReport:
    """The direct pass under the capsule's signature, where both show the same counter or the same end.

    The direct pass sees one instance, so all its differences have one cause; which comes first it cannot see as the capsule does.
    """
    known = {_same(each): each.signature for each in reversed(capsule.divergences)}
    signature = next((known[_same(each)] for each in direct.divergences if _same(each) in known), "")
    if not signature:
        return direct
    return msgspec.structs.replace(
        direct, divergences=tuple(msgspec.structs.replace(each, signature=signature) for each in direct.divergences)
    )


def _same(each: Divergence) -> tuple[str, ...]:
    """What is the same of a difference in both passes: a counter's values are not, since the calls are others."""
    return (each.kind, each.oracle, each.subject) if each.kind == "outcome" else (each.kind, each.where.item)


def unit(case: Case) -> str:
    """What a signature calls the artifact: its name without folders, so that it is the same wherever the corpus lies."""
    return case.id.rpartition("/")[2]


def _finding(finding: Finding) -> str:
    section = f" ({finding.spec})" if finding.spec else ""
    return f"{finding.subject + ': ' if finding.subject else ''}{finding.what}{section}"


def _explanation(passes: tuple[PassReport, ...]) -> str:
    """What deepdiff says of the unequal part: the divergences as two mappings from place to value."""
    unequal = [each for one in passes for each in one.divergences]
    if not unequal:
        return ""
    from deepdiff import DeepDiff  # noqa: PLC0415 - 290 ms that only a divergence pays for

    oracle: dict[str, dict[str, str]] = {}
    subject: dict[str, dict[str, str]] = {}
    for each in unequal[:50]:
        row = each.where.row or "(whole pass)"
        oracle.setdefault(row, {})[each.where.item] = each.oracle
        subject.setdefault(row, {})[each.where.item] = each.subject
    return str(DeepDiff(oracle, subject, verbose_level=2).pretty())
