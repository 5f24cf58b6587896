"""One case from its plan to its report: both passes, the verdict, and what was not compared."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec

from diffcheck.backend import registry
from diffcheck.capsule.batch.row_effects import may_change_state
from diffcheck.capsule.recorder.reference_types import needs_gc
from diffcheck.cases import scripts
from diffcheck.cases.rows import INIT, usable
from diffcheck.compare.findings import Findings
from diffcheck.compare.judgement import with_judgements
from diffcheck.observation import LeftSlice, sentence
from diffcheck.runner import slicing
from diffcheck.runner.passes import confirmation, validity_pass
from diffcheck.runner.passes.capsule_pass import CapsulePass
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.direct_pass import DirectPass
from diffcheck.runner.passes.legal_choices import FIRST_PASSES, FormPass, conclude
from diffcheck.runner.passes.load_check import LoadCheck, fits_whole
from diffcheck.runner.passes.refusals import Refusals
from diffcheck.runner.passes.streams.window_search import RunBudget
from diffcheck.runner.plan import ONLY_DIRECT, CapsulePlan, RefusedPlan, RunnablePlan, SkippedPlan, world
from diffcheck.runner.split.slice_reports import joined
from diffcheck.text import visible
from diffcheck.verdict import CaseReport, PassReport, worst

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend.contract import Backend, Host
    from diffcheck.cases.case_file import KnownFinding
    from diffcheck.cases.discovery import Case
    from diffcheck.runner.passes.load_check import LoadedBodies
    from diffcheck.runner.plan import Plan
    from diffcheck.runner.request import Request
    from diffcheck.verdict import Divergence

P = TypeVar("P", bound=RunnablePlan)
_HOST = "spectest"
"""The host module of the specification's test suite; its functions only print."""


def run(
    plan: Plan, max_passes: int, oracle: Backend, subject: Backend, host: Host, subject_name: str,
    request: Request | None = None, bodies: LoadedBodies | None = None,
) -> CaseReport:  # fmt: skip
    """The report of a plan. Divergences are confirmed as ``request`` says, and not without it; ``bodies`` are not loaded again."""
    begun = time.monotonic_ns()
    if isinstance(plan, SkippedPlan):
        return skipped(plan.case, plan.reason, subject_name, plan.sha256, bad_input=plan.bad_input)
    times = request.confirm if request else 0
    known = request.known if request else {}
    if times:
        oracle = confirmation.MemoizingBackend(oracle)
    runs: tuple[Callable[[], PassReport], Callable[[], PassReport]]
    if isinstance(plan, RefusedPlan):
        no_capsule = PassReport(mode="capsule", applicable=False, why=plan.no_capsule)
        runs = (lambda: no_capsule), partial(validity_pass.report, plan, subject, host)
    else:
        both = _Passes(plan, max_passes, oracle, subject, host, request, bodies)
        runs = both.capsule, both.direct
    passes = confirmation.passes(
        runs,
        times,
        known,
        [signature for signature, cases in known.items() if plan.case.id in cases],
    )
    passes = tuple(_in_script(each, plan) for each in passes)
    applicable = [each for each in passes if each.applicable]
    verdict = worst([each.verdict for each in applicable])
    deciding = next((each for each in applicable if each.verdict == verdict), None)
    reason = f"{deciding.mode}: {deciding.reason}" if deciding and deciding.reason else ""
    if verdict == "agree" and (why := _no_declared_row(plan, passes)):
        verdict, reason = "inconclusive", why
    not_done = (*plan.notes, *(what for each in applicable for what in each.agreement.not_compared))
    if plan.no_capsule:
        not_done = (*not_done, f"no capsule pass: {plan.no_capsule}")
    report = CaseReport(
        case=plan.case.id,
        artifact=plan.case.artifact,
        sha256=plan.sha256,
        verdict=verdict,
        reason=reason,
        expected=plan.case.expected(subject_name),
        vacuous=verdict == "agree" and all(each.vacuous for each in applicable),
        plan=plan.digest,
        rows=plan.case_rows,
        passes=passes,
        purpose=plan.case.purpose,
        elapsed_ns=time.monotonic_ns() - begun,
        not_done=tuple(dict.fromkeys(not_done)),
        explanation=_explanation(passes),
        findings=tuple(_finding(each) for each in plan.case.findings),
        requirements=plan.case.requirements,
        made_by=plan.made_by,
    )
    engines = (registry.engine(request.oracle), registry.engine(request.subject)) if request else ("oracle", "subject")
    return with_judgements(report, {}, *engines)


def skipped(case: Case, reason: str, subject_name: str, sha256: str = "", *, bad_input: bool = False) -> CaseReport:
    """The report of a case that was not run, with the reason; ``bad_input`` is whether its artifact or case file is to blame."""
    return CaseReport(
        case=case.id,
        artifact=case.artifact,
        sha256=sha256,
        verdict="skipped",
        reason=reason,
        expected=case.expected(subject_name),
        vacuous=False,
        plan="",
        rows=(),
        passes=(),
        purpose=case.purpose,
        not_done=case.notes,
        bad_input=bad_input,
        requirements=case.requirements,
    )


class _Passes:
    """The two passes over a plan, each of which can be repeated; a cause that both show has one signature."""

    def __init__(
        self, plan: RunnablePlan, max_passes: int, oracle: Backend, subject: Backend, host: Host, request: Request | None,
        bodies: LoadedBodies | None,
    ) -> None:  # fmt: skip
        self._hangs = request.hangs if request else True
        self._rules_out_choices = request.deterministic if request else True
        self._load_check = request is not None and request.load_check == "auto" and request.mode != "capsule"
        self._bodies = bodies
        self._plan, self._max_passes, self._host = plan, max_passes, host
        self._slices = [plan, *plan.others] if isinstance(plan, CapsulePlan) else []
        self._oracle, self._subject = oracle, subject
        self._refusals: dict[bytes, Refusals] = {}
        self._diverged: PassReport | None = None
        self._left: tuple[str, LeftSlice] | None = None

    def _refusals_of(self, plan: RunnablePlan) -> Refusals:
        """What the refusals of a plan mean, also those of its deterministic form."""
        if plan.artifact not in self._refusals:
            given = world(plan.case, program_name=False)
            self._refusals[plan.artifact] = Refusals(plan.artifact, plan.module, given, self._subject, plan.limits, self._host)
        return self._refusals[plan.artifact]

    def capsule(self) -> PassReport:
        """Run the capsule under both engines, or the capsules of all slices."""
        if not self._slices:
            return PassReport(mode="capsule", applicable=False, why=self._plan.no_capsule)
        report = joined([self._slice(at) for at in range(len(self._slices))])
        if report.divergences and self._diverged is None:
            self._diverged = report
        return report

    def _slice(self, at: int) -> PassReport:
        report = self._capsule_pass(self._slices[at])
        return report if not report.divergences or self._left is None else self._widened(at, report, *self._left)

    def _widened(self, at: int, report: PassReport, row: str, entered: LeftSlice) -> PassReport:
        """The report of the slice that has the functions that only the subject enters, with the first of them, entered in ``row``,
        as detail.

        If nothing differs then, it is the last report in which the subject leaves the slice.
        """
        left: tuple[str, LeftSlice] | None = (row, entered)
        plan = self._slices[at]
        for _ in range(slicing.WIDENINGS):
            if left is None:
                break
            entered = left[1] if entered.count > 1 else entered
            plan = slicing.widened(plan, left[1].stub, self._subject)
            wider, left = self._capsule_pass(plan), self._left
            if not wider.divergences:
                break
            report, self._slices[at] = wider, plan
        return _with_detail(report, row, sentence(entered))

    def _capsule_pass(self, plan: CapsulePlan) -> PassReport:
        first = min(FIRST_PASSES, self._max_passes)
        rest = self._max_passes - first
        report = self._judged(self._capsule, plan, RunBudget(first, lambda: rest if self._form_of(plan) is None else 0))
        if report.in_recorder:
            from diffcheck.runner.passes.wrong_instruction import with_wrong_instructions  # noqa: PLC0415 - rare

            report = with_wrong_instructions(report, plan.capsules.subject.wasm, self._subject, plan.limits, self._host)
        return report

    def direct(self) -> PassReport:
        """Run the unmodified artifact under both engines."""
        plan = self._plan
        if isinstance(plan, CapsulePlan) and plan.whole is not None:
            if not plan.whole.no_direct and fits_whole(plan):
                plan = plan.whole
            elif self._load_check:
                return LoadCheck(plan, self._oracle, self._subject, self._host, self._bodies).report()
        if plan.no_direct:
            return PassReport(mode="direct", applicable=False, why=plan.no_direct)
        report = self._judged(self._direct, plan, RunBudget(0))
        return report if self._diverged is None else _one_cause(report, self._diverged)

    def _form_of(self, plan: P) -> P | None:
        """The plan of the deterministic form in which choices are ruled out; None if there are none."""
        return plan.deterministic if self._rules_out_choices else None

    def _judged(self, run: Callable[[P, RunBudget, Refusals], FormPass], plan: P, budget: RunBudget) -> PassReport:
        """A pass over the artifact, and over its deterministic form if the artifact differs."""
        refusals = self._refusals_of(plan)
        plain = run(plan, budget, refusals)
        form = self._form_of(plan) if plain.differs else None
        if form is None:
            return plain.report
        found = run(form, RunBudget(self._max_passes), refusals)
        return conclude(plain, found, lambda: run(plan, RunBudget(self._max_passes), refusals))

    def _capsule(self, plan: CapsulePlan, budget: RunBudget, refusals: Refusals) -> FormPass:
        oracle = CapsuleSide(self._oracle, plan.capsules.oracle, plan.limits, self._host, whole=True)
        subject = CapsuleSide(self._subject, plan.capsules.subject, plan.limits, self._host, refusals=refusals)
        run = CapsulePass(
            oracle, subject, findings(plan), budget, plan.functions,
            manifest=plan.manifest, hangs=self._hangs, form=plan.form,
        )  # fmt: skip
        run.expected.why_unchecked = partial(_why_unchecked, plan)
        run.expected.instantiation = plan.case.module.instantiation if plan.case.module is not None else ""
        report = run.report()
        self._left = run.left
        return FormPass(report, run.findings, run.choices, bool(run.unlocated))

    def _direct(self, plan: RunnablePlan, _: RunBudget, refusals: Refusals) -> FormPass:
        direct = DirectPass(plan, self._oracle, self._subject, self._host, findings(plan), refusals)
        return FormPass(direct.report(), direct.findings, direct.choices)


def _with_detail(report: PassReport, row: str, entered: str) -> PassReport:
    """The report with the function that the subject entered in a row as detail of the row's first divergence, or of the first one
    of the state if the row itself does not differ; unless it is the subject.
    """
    rows = [each.where.row for each in report.divergences]
    at = next((rows.index(each) for each in (row, "") if each in rows), None)
    if at is None or report.divergences[at].subject == entered:
        return report
    one = report.divergences[at]
    place = "" if one.where.row == row else f"in row {visible(row)} "
    detail = "; ".join(each for each in (f"{place}the subject {entered}", one.detail) if each)
    changed = msgspec.structs.replace(one, detail=detail)
    return msgspec.structs.replace(report, divergences=(*report.divergences[:at], changed, *report.divergences[at + 1 :]))


def _no_declared_row(plan: RefusedPlan | RunnablePlan, passes: tuple[PassReport, ...]) -> str:
    """Why no declared row ran; empty if one ran, or the case declares only init rows, or only the direct pass was requested."""
    if all(each.startswith(INIT) for each in plan.case.rows) or isinstance(plan, RefusedPlan) or plan.no_capsule == ONLY_DIRECT:
        return ""
    capsule, direct = passes
    if isinstance(plan, CapsulePlan) and capsule.agreement.rows > plan.layout.n_init * (1 + len(plan.others)):
        return ""
    if direct.applicable and not plan.no_direct and plan.entry in plan.case.rows:
        return ""
    return f"none of the declared rows ran: {capsule.why or (capsule.oracle.words if capsule.oracle else '')}"


def _one_cause(direct: PassReport, capsule: PassReport) -> PassReport:
    """The direct pass with the signature of the capsule pass, if both show the same counter or the same outcome.

    The direct pass has one instance, so its differences have one cause, and only the capsule pass knows the first of them.
    """
    known = {_common(each): each.signature for each in reversed(capsule.divergences)}
    signature = next((known[_common(each)] for each in direct.divergences if _common(each) in known), "")
    if not signature:
        return direct
    return msgspec.structs.replace(
        direct, divergences=tuple(msgspec.structs.replace(each, signature=signature) for each in direct.divergences)
    )


def _common(each: Divergence) -> tuple[str, ...]:
    """What both passes have in common of a difference. The values of a counter differ, since the calls do."""
    return (each.kind, each.oracle, each.subject) if each.kind == "outcome" else (each.kind, each.where.item)


def findings(plan: RunnablePlan) -> Findings:
    """The findings of a case, without any. Of a script each row has signatures of its own."""
    return Findings(plan.manifest, unit(plan.case), by_row=plan.case.module is not None)


def unit(case: Case) -> str:
    """The artifact's name in signatures: without folders, so that it does not depend on the place of the corpus, and in a script
    with the module's number, since lines change.
    """
    name = case.id.rpartition("/")[2]
    return name if case.module is None else f"{name.rpartition(':')[0]} {case.module.number}"


def _why_unchecked(plan: CapsulePlan, row: str, first: int) -> str:
    """Why an unmet expectation of a row, or of instantiation, may be due to the capsule, the arguments or the state; empty if not.

    In a script the state before a trap remains; in a capsule, and so by definition in a case file, the next instance is new, which
    begins with row number ``first``.
    """
    types = [plan.module.function_type(at) for at in range(plan.module.n_imported("func"))]
    if any(each.kind != "func" or each.module != _HOST for each in plan.module.imports) or any(each.results for each in types):
        return "the artifact has imports that are stubbed"
    until = [each.name for each in plan.calls].index(row) + 1 if row else 0
    if needs_gc(plan.module) and any(value.bits for each in plan.calls[:until] for value in each.args if value.type == "ref"):
        return "references of the host are passed, as i31s"
    module = plan.case.module
    if module is None or module.unknown:
        return module.unknown if module is not None else ""
    if may_change_state(plan.module, usable(plan.module, module.lost)[0]):
        return "an earlier action did not return, and its effects are missing"
    earlier = [each for each in plan.calls if not each.init][:first] if plan.case.rows == module.rows else []
    return "their instance lacks the state before an earlier trap" if may_change_state(plan.module, earlier) else ""


def _in_script(one: PassReport, plan: RefusedPlan | RunnablePlan) -> PassReport:
    """The pass with the script's lines as the places of its divergences."""
    module = plan.case.module
    if module is None or not one.divergences:
        return one
    names = [each.name for each in plan.calls if not each.init] if isinstance(plan, CapsulePlan) else []
    lines, file = dict(zip(names, module.lines, strict=False)), scripts.split(plan.case.artifact)[0]

    def placed(each: Divergence) -> Divergence:
        where = msgspec.structs.replace(each.where, file=file, line=lines.get(each.where.row, module.line))
        return msgspec.structs.replace(each, where=where)

    return msgspec.structs.replace(one, divergences=tuple(map(placed, one.divergences)))


def _finding(finding: KnownFinding) -> str:
    section = f" ({finding.spec})" if finding.spec else ""
    return f"{finding.subject + ': ' if finding.subject else ''}{finding.what}{section}"


def _explanation(passes: tuple[PassReport, ...]) -> str:
    """The divergences as deepdiff explains them, as two mappings from place to value."""
    unequal = [each for one in passes for each in one.divergences]
    if not unequal:
        return ""
    from deepdiff import DeepDiff  # noqa: PLC0415 - takes 290 ms, and only a divergence needs it

    oracle: dict[str, dict[str, str]] = {}
    subject: dict[str, dict[str, str]] = {}
    for each in unequal[:50]:
        row = each.where.row or "(whole pass)"
        oracle.setdefault(row, {})[each.where.item] = each.oracle
        subject.setdefault(row, {})[each.where.item] = each.subject
    return str(DeepDiff(oracle, subject, verbose_level=2).pretty())
