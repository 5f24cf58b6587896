"""The selftest: faults are planted, and each must be reported with its kind and place.

Faults are planted in artifacts on which both engines agree. After each fault the same run without a fault must report no
difference. The seed determines all faults, their places and their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.backend.contract import HARNESS_ENTRIES, Program
from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import rows, state
from diffcheck.cases.discovery import Case, discover, load_case
from diffcheck.errors import CaseError, NothingToDoError
from diffcheck.faults import altered_answers, capsule_faults, direct_faults
from diffcheck.faults.fault import FaultTarget
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.faults.samples import SAMPLES
from diffcheck.observation import Trapped
from diffcheck.runner import case_run as cases
from diffcheck.runner import plan as plans
from diffcheck.runner import slicing
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.request import Request
from diffcheck.verdict import SelftestResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.faults.fault import Fault, Plant
    from diffcheck.observation import RowRecord
    from diffcheck.runner.plan import RunnablePlan
    from diffcheck.verdict import PassReport

Mode = Literal["capsule", "direct"]
MODES: Final[tuple[Mode, ...]] = ("capsule", "direct")

PLANTS: Final[dict[Mode, dict[str, Plant]]] = {
    "capsule": capsule_faults.PLANTS | altered_answers.CAPSULE,
    "direct": direct_faults.PLANTS | altered_answers.DIRECT,
}
"""The classes of faults of each pass, by name."""

MAX_PASSES: Final = 24
_STACK: Final = "call stack exhausted"
_LARGEST_BYTES: Final = 300_000


class SelftestRun(msgspec.Struct, frozen=True):
    """One run and whether its report was ``correct``. An empty ``kind`` means that no fault was planted.

    ``verdict`` and ``reported`` are the report's verdict and first finding, ``expected`` the required finding.
    """

    mode: Mode
    kind: str
    artifact: str
    where: str
    words: bool
    expected: str
    verdict: str
    reported: str
    correct: bool
    missed: bool = False
    """The verdict for a fault was agreement."""


def result(runs: Sequence[SelftestRun], sha256: str, engine: str, seed: int) -> SelftestResult:
    """The runs in numbers; ``sha256`` is the digest of diffcheck's sources."""
    faulty, clean = [each for each in runs if each.kind], [each for each in runs if not each.kind]
    reported, findings = sum(each.correct for each in faulty), sum(not each.correct for each in clean)
    return SelftestResult(sha256, engine, seed, len(faulty), reported, findings)


class Selftest:
    """Plants faults in the artifacts under ``paths``, or in the built-in samples if there are none."""

    def __init__(self, oracle: Oracle, inner: Backend, host: Host, request: Request) -> None:
        self._oracle, self._inner, self._host = oracle, inner, host
        self._request = request
        self.artifacts: list[FaultTarget] = []
        self.left_out: list[str] = []

    def prepare(self, paths: Sequence[Path]) -> None:
        """Collect the artifacts on which both engines agree; ``NothingToDoError`` if there are none."""
        for case in self._cases(paths):
            artifact = self._artifact(case)
            if artifact is not None:
                self.artifacts.append(artifact)
        if not self.artifacts:
            raise NothingToDoError("no artifact is suitable for planting faults", hint="; ".join(self.left_out[:3]))

    def run(self, seed: int, number: int) -> Iterator[SelftestRun]:
        """Run ``number`` faults, half of them on the direct pass, each followed by the same run without a fault."""
        chance = Random(seed)  # noqa: S311 - reproducible, not secret
        kinds = {mode: cycle(sorted(plants)) for mode, plants in PLANTS.items()}
        for at in range(number):
            mode: Mode = "direct" if at % 2 else "capsule"
            for kind in islice(kinds[mode], len(PLANTS[mode])):
                chosen = self._choose(mode, kind, chance)
                if chosen is not None:
                    break
            else:
                continue
            artifact, fault = chosen
            words = chance.random() < 0.5  # noqa: PLR2004 - half of the runs
            if kind in capsule_faults.STATE_FAULTS and artifact.traps:
                words = False  # windows carry no state at a trap, and the report marks it as not compared
            yield self._one(mode, artifact, fault, words=words)
            yield self._one(mode, artifact, None, words=words)

    def _choose(self, mode: Mode, kind: str, chance: Random) -> tuple[FaultTarget, Fault] | None:
        suitable = tuple(each for each in self.artifacts if (each.capsule if mode == "capsule" else each.direct))
        for artifact in chance.sample(suitable, len(suitable)):
            fault = PLANTS[mode][kind](artifact, chance, suitable)
            if fault is not None and (fault.edit or fault.carry):
                return artifact, msgspec.structs.replace(fault, kind=kind)
        return None

    def _one(self, mode: Mode, artifact: FaultTarget, fault: Fault | None, *, words: bool) -> SelftestRun:
        plan = artifact.capsule if mode == "capsule" else artifact.direct
        assert plan is not None, "artifacts are chosen by pass"  # noqa: S101
        backend = FaultyBackend(self._inner, fault, words=words)
        report = self._pass(plan, mode, backend)
        if fault is None:
            correct = report.verdict == "agree" and not report.divergences_total and not report.allowances
        else:
            correct = fault.expected.met(report)
        return SelftestRun(
            mode=mode,
            kind=fault.kind if fault else "",
            artifact=artifact.name,
            where=fault.where if fault else "",
            words=backend.words,
            expected=str(fault.expected) if fault else "agreement",
            verdict=report.verdict,
            reported=_first_finding(report),
            correct=correct,
            missed=fault is not None and not correct and report.verdict == "agree",
        )

    def _pass(self, plan: RunnablePlan, mode: Mode, backend: Backend) -> PassReport:
        report = cases.run(plan, MAX_PASSES, self._oracle, backend, self._host, "selftest")
        return next(each for each in report.passes if each.mode == mode)

    # Artifacts.

    def _cases(self, paths: Sequence[Path]) -> Iterator[Case]:
        if not paths:
            for name, (text, declared) in SAMPLES.items():
                file = Path(self._host.folder) / f"{name}.wat"
                file.write_text(text)
                yield Case(name, str(file), rows=declared)
            return
        for item in discover(paths).items:
            try:
                yield load_case(item)
            except CaseError as error:
                self.left_out.append(f"{item.id}: {error}")

    def _artifact(self, case: Case) -> FaultTarget | None:
        accepted: dict[str, RunnablePlan] = {}
        reason = ""
        for mode in MODES:
            request = msgspec.structs.replace(self._request, mode=mode)
            plan = slicing.make(case, request, self._oracle, FaultyBackend(self._inner, None, words=False), self._host)
            if isinstance(plan, plans.SkippedPlan):
                reason = plan.reason
            if not isinstance(plan, plans.RunnablePlan) or len(plan.artifact) > _LARGEST_BYTES:
                continue
            reports = [self._pass(plan, mode, FaultyBackend(self._inner, None, words=words)) for words in (False, True)]
            if all(report.verdict == "agree" and not report.allowances for report in reports):
                accepted[mode] = plan
            else:
                reason = f"the engines do not agree: {reports[0].verdict}, {reports[0].reason or reports[1].reason}"
        if not accepted:
            self.left_out.append(f"{case.id}: {reason or 'over 300 kB'}")
            return None
        return self._observe(case.id, accepted)

    def _observe(self, name: str, accepted: dict[str, RunnablePlan]) -> FaultTarget:
        sealed, plain = accepted.get("capsule"), accepted.get("direct")
        artifact = FaultTarget(name, next(iter(accepted.values())).module, direct=plain)
        if plain is not None:
            program = Program(kind="direct", wasm=plain.artifact, entry=plain.entry or HARNESS_ENTRIES[0])
            execution = self._oracle.execute(program, plain.limits, self._host)
            artifact = msgspec.structs.replace(artifact, execution=execution)
        if isinstance(sealed, plans.CapsulePlan):
            layout = sealed.layout
            parameters = lo.Parameters(0, len(layout.rows) - layout.n_init)
            run = CapsuleSide(self._oracle, sealed.capsules.standard, sealed.limits, self._host).run(parameters)
            if run.image is None:
                return artifact
            artifact = msgspec.structs.replace(
                artifact,
                capsule=sealed,
                rows=tuple(_with_trap_kind(row, run.outcome) for row in rows(run.image, layout)),
                # The specification leaves the state after an exhausted call stack open, so it is not compared.
                state=None if isinstance(run.outcome, Trapped) and run.outcome.kind == _STACK else state(run.image, layout),
                stream_bytes=run.image.header.length,
            )
        return artifact


def _with_trap_kind(row: RowRecord, outcome: object) -> RowRecord:
    """Return the row with the kind of its trap, which the stream does not contain."""
    if row.outcome == Trapped("unknown") and isinstance(outcome, Trapped):
        return msgspec.structs.replace(row, outcome=outcome)
    return row


def _first_finding(report: PassReport) -> str:
    for each in report.divergences[:1]:
        row = f"row {each.where.row}: " if each.where.row else ""
        return f"{each.kind}, {row}{each.where.item}: oracle {each.oracle}, subject {each.subject}"
    for allowed in report.allowances[:1]:
        return f"allowance {allowed.rule}, {allowed.where.item}"
    return report.reason or report.verdict
