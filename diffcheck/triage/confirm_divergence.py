"""Whether a divergence holds: again, without instrumentation, on the file as it is, and under every other engine at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend import registry
from diffcheck.errors import DiffcheckError
from diffcheck.triage.reduce.interestingness import Answers, Checker, Question
from diffcheck.triage.reduce.symptom import symptoms
from diffcheck.triage.triage_folder import ConfirmedOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.triage.reduce.symptom import Symptom
    from diffcheck.triage.session import Session
    from diffcheck.triage.triage_folder import State
    from diffcheck.verdict import CaseReport

RUNS: Final = 3


class Confirmer:
    """Runs the case again in several ways; ``wasm`` is what is worked on, witness's instrumentation perhaps left out."""

    def __init__(self, session: Session, symptom: Symptom, wasm: bytes, say: Callable[[str], None]) -> None:
        self.session, self.symptom, self.wasm, self.say = session, symptom, wasm, say

    def again(self) -> str:
        """Three more runs; in words what came out where they do not all show it, else nothing."""
        said = []
        for _ in range(RUNS):
            report = self.session.run(self.wasm, self.session.rows)
            found = next((each for each in symptoms(report) if each.signature == self.symptom.signature), None)
            said.append(found is not None)
        self.say(f"{sum(said)} of {RUNS} further runs show it")
        return "" if all(said) else f"{1 + sum(said)} of {1 + RUNS} runs show it"

    def others(self) -> tuple[ConfirmedOutcome, ...]:
        """What the other engines at hand say of the same rows."""
        request, found = self.session.request, []
        for name in registry.names():
            if name in (request.oracle, request.subject):
                continue
            try:
                registry.create(name, request.options).identity()
                seen = self._as(name)
            except DiffcheckError:  # it is not here, needs a command, or cannot run
                continue
            self.say(f"{seen.engine}: {seen.says}")
            found.append(seen)
        return tuple(found)

    def _as(self, name: str) -> ConfirmedOutcome:
        session = self.session
        asked = Checker(
            msgspec.structs.replace(session.request, jobs=1, subject=name), session.case, lambda _: False, Answers(None, ""),
            session.reactor, session.folder, session.budget,
        )  # fmt: skip
        try:
            report = asked.report(Question(self.wasm, session.rows))
        finally:
            asked.close()
        shows = any(each.signature == self.symptom.signature for each in symptoms(report))
        if shows:
            return ConfirmedOutcome(name, f"shows it too ({report.reason})")
        return ConfirmedOutcome(name, _plainly(report), agrees=report.verdict == "agree")


def _plainly(report: CaseReport) -> str:
    if report.verdict == "agree":
        return "agrees with the oracle"
    return f"{report.verdict}: {report.reason}" if report.reason else report.verdict


def confirmed(state: State, work: Confirmer) -> State:
    """The state with what confirming showed."""
    flaky = work.again()
    if flaky:
        return msgspec.structs.replace(state, flaky=flaky)
    return msgspec.structs.replace(state, engines=work.others(), notes=direct_notes(work)).finished("confirm")


def direct_notes(work: Confirmer) -> tuple[str, ...]:
    """What the direct pass over the untouched artifact says, in a sentence."""
    session = work.session
    if work.symptom.mode == "direct" and work.wasm != session.artifact:
        return ("it shows in a module without diffcheck's recorder, which uses the instruction that is wrong",)
    if work.symptom.mode == "direct":
        return ("it shows on the untouched artifact, in the direct pass",)
    if session.plan.no_direct:
        return (f"the untouched artifact has no direct pass: {session.plan.no_direct}",)
    report = session.run(session.artifact, session.rows, request=msgspec.structs.replace(session.request, mode="direct"))
    direct = next((each for each in report.passes if each.mode == "direct"), None)
    if direct is None or not direct.applicable:
        return ()
    said = "shows a difference too" if direct.divergences else f"says: {direct.verdict}"
    return (f"the direct pass over the untouched artifact {said}" + (f" ({direct.reason})" if direct.reason else ""),)
