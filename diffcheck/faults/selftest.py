"""``diffcheck selftest``: an instrument must be seen to fail. Faults are planted, and each has to be told as what it is.

Each fault is planted in an artifact that both engines agree on; an equal number of runs through the same stand-in without a
fault has to give nothing. Which faults, where, and in what order follow from the seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.backend.contract import HARNESS_ENTRIES, Program
from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import rows, state
from diffcheck.cases.discovery import Case, discover, load_case
from diffcheck.errors import CaseError, NothingToDoError
from diffcheck.faults import altered_answers, capsule, direct
from diffcheck.faults.engine import FaultyBackend
from diffcheck.faults.model import FaultTarget
from diffcheck.faults.samples import SAMPLES
from diffcheck.observation import Trapped
from diffcheck.runner import case_run as cases
from diffcheck.runner import plan as plans
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.faults.model import Fault
    from diffcheck.observation import RowSeen
    from diffcheck.runner.plan import RunnablePlan
    from diffcheck.verdict import PassReport

Mode = Literal["capsule", "direct"]
MODES: Final[tuple[Mode, ...]] = ("capsule", "direct")

PLANTS: Final[dict[str, dict[str, object]]] = {
    "capsule": {**capsule.PLANTS, **altered_answers.CAPSULE},
    "direct": {**direct.PLANTS, **altered_answers.DIRECT},
}
"""The classes of faults of each pass, by name."""

MAX_PASSES: Final = 24
_STACK: Final = "call stack exhausted"
_LARGEST_BYTES: Final = 300_000


class Planted(msgspec.Struct, frozen=True):
    """One run: with a fault, or clean where ``kind`` is empty. ``right`` is whether the report said what it had to.

    ``verdict`` and ``said`` are the report's; ``expected`` in words what it should have been.
    """

    mode: Mode
    kind: str
    artifact: str
    where: str
    words: bool
    expected: str
    verdict: str
    said: str
    right: bool
    missed: bool = False
    """A fault that was called agreement."""


class Selftest:
    """Plants faults in the artifacts under ``paths``, or in its own ones where there are none."""

    def __init__(self, oracle: Oracle, inner: Backend, host: Host, deadline_s: float = 10.0) -> None:
        self._oracle, self._inner, self._host = oracle, inner, host
        self._request = Request((), deadline_s=deadline_s)
        self.artifacts: list[FaultTarget] = []
        self.left_out: list[str] = []

    def prepare(self, paths: Sequence[Path]) -> None:
        """Find out what both engines agree on; raises ``NothingToDoError`` where that is nothing."""
        for case in self._cases(paths):
            artifact = self._artifact(case)
            if artifact is not None:
                self.artifacts.append(artifact)
        if not self.artifacts:
            raise NothingToDoError("no artifact that a fault could be planted in", hint="; ".join(self.left_out[:3]))

    def run(self, seed: int, number: int) -> Iterator[Planted]:
        """``number`` runs with a fault, half of them on the direct pass, each followed by the same run without one."""
        chance = Random(seed)  # noqa: S311 - to be had again, not to be secret
        kinds = {mode: sorted(PLANTS[mode]) for mode in PLANTS}
        done = dict.fromkeys(PLANTS, 0)
        for at in range(number):
            mode: Mode = "direct" if at % 2 else "capsule"
            for _ in kinds[mode]:  # a class that has no place here is passed over
                kind = kinds[mode][done[mode] % len(kinds[mode])]
                done[mode] += 1
                chosen = self._choose(mode, kind, chance)
                if chosen is not None:
                    break
            else:
                continue
            artifact, fault = chosen
            words = chance.random() < 0.5  # noqa: PLR2004 - half of them
            if kind in capsule.OF_STATE and artifact.traps:
                words = False  # no state comes out at a trap there, and the report says that it was not compared
            yield self._one(mode, artifact, fault, words=words)
            yield self._one(mode, artifact, None, words=words)

    def _choose(self, mode: Mode, kind: str, chance: Random) -> tuple[FaultTarget, Fault] | None:
        suited = [each for each in self.artifacts if (each.capsule if mode == "capsule" else each.direct)]
        own = capsule.plant if mode == "capsule" else direct.plant
        way = altered_answers.CAPSULE if mode == "capsule" else altered_answers.DIRECT
        for artifact in chance.sample(suited, len(suited)):
            fault = (
                altered_answers.plant(way, kind, artifact, chance, suited) if kind in way else own(kind, artifact, chance, suited)
            )
            if fault is not None:
                return artifact, fault
        return None

    def _one(self, mode: Mode, artifact: FaultTarget, fault: Fault | None, *, words: bool) -> Planted:
        plan = artifact.capsule if mode == "capsule" else artifact.direct
        assert plan is not None, "it was chosen for that"  # noqa: S101
        backend = FaultyBackend(self._inner, fault, words=words)
        report = self._pass(plan, mode, backend)
        if fault is None:
            right = report.verdict == "agree" and not report.divergences_total and not report.allowances
        else:
            right = fault.expected.met(report)
        return Planted(
            mode=mode,
            kind=fault.kind if fault else "",
            artifact=artifact.name,
            where=fault.where if fault else "",
            words=backend.words,
            expected=str(fault.expected) if fault else "agreement",
            verdict=report.verdict,
            said=_said(report),
            right=right,
            missed=fault is not None and not right and report.verdict == "agree",
        )

    def _pass(self, plan: RunnablePlan, mode: Mode, backend: Backend) -> PassReport:
        report = cases.run(plan, MAX_PASSES, self._oracle, backend, self._host, "selftest")
        return next(each for each in report.passes if each.mode == mode)

    # What faults are planted in.

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
        found: dict[str, RunnablePlan] = {}
        why = ""
        for mode in MODES:
            request = msgspec.structs.replace(self._request, mode=mode)
            plan = plans.make(case, request, self._oracle, self._oracle, FaultyBackend(self._inner, None, words=False), self._host)
            if isinstance(plan, plans.SkippedPlan):
                why = plan.reason
            if not isinstance(plan, plans.RunnablePlan) or len(plan.artifact) > _LARGEST_BYTES:
                continue
            reports = [self._pass(plan, mode, FaultyBackend(self._inner, None, words=words)) for words in (False, True)]
            if all(report.verdict == "agree" and not report.allowances for report in reports):
                found[mode] = plan
            else:
                why = f"the engines do not agree on it: {reports[0].verdict}, {reports[0].reason or reports[1].reason}"
        if not found:
            self.left_out.append(f"{case.id}: {why or 'over 300 kB'}")
            return None
        return self._observed(case.id, found)

    def _observed(self, name: str, found: dict[str, RunnablePlan]) -> FaultTarget:
        sealed, plain = found.get("capsule"), found.get("direct")
        artifact = FaultTarget(name, next(iter(found.values())).module, direct=plain)
        if plain is not None:
            program = Program(kind="direct", wasm=plain.artifact, entry=plain.entry or HARNESS_ENTRIES[0])
            execution = self._oracle.execute(program, plain.limits, self._host)
            artifact = msgspec.structs.replace(artifact, execution=execution)
        if isinstance(sealed, plans.CapsulePlan):
            layout = sealed.layout
            parameters = lo.Parameters(0, len(layout.rows) - layout.n_init)
            ran = CapsuleSide(self._oracle, sealed.capsules.standard, sealed.limits, self._host).run(parameters)
            if ran.image is None:
                return artifact
            artifact = msgspec.structs.replace(
                artifact,
                capsule=sealed,
                rows=tuple(_named(row, ran.outcome) for row in rows(ran.image, layout)),
                # What the end of a call stack leaves behind is open: nothing in it is compared.
                state=None if isinstance(ran.outcome, Trapped) and ran.outcome.kind == _STACK else state(ran.image, layout),
                stream_bytes=ran.image.header.length,
            )
        return artifact


def _named(row: RowSeen, outcome: object) -> RowSeen:
    """The row with the trap's kind, which the stream does not know."""
    if row.outcome == Trapped("unknown") and isinstance(outcome, Trapped):
        return msgspec.structs.replace(row, outcome=outcome)
    return row


def _said(report: PassReport) -> str:
    for each in report.divergences[:1]:
        row = f"row {each.where.row}: " if each.where.row else ""
        return f"{each.kind}, {row}{each.where.item}: {each.oracle} against {each.subject}"
    for allowed in report.allowances[:1]:
        return f"allowance {allowed.rule}, {allowed.where.item}"
    return report.reason or report.verdict


__all__ = ["PLANTS", "Planted", "Selftest"]
