"""Whether a divergence is reproducible: again, without instrumentation, on the untouched artifact, and under the other engines."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend import registry
from diffcheck.errors import AdapterError, DiffcheckError
from diffcheck.text import visible
from diffcheck.triage.reduce.interestingness import Answers, Candidate, Checker
from diffcheck.triage.reduce.symptom import symptoms
from diffcheck.triage.triage_folder import ConfirmedOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.runner.request import Request
    from diffcheck.triage.reduce.symptom import Symptom
    from diffcheck.triage.session import Session
    from diffcheck.triage.triage_folder import State
    from diffcheck.verdict import CaseReport, Judgement

RUNS: Final = 3


class Confirmer:
    """Reruns the case. ``wasm`` is the artifact, or the artifact without witness's instrumentation."""

    def __init__(self, session: Session, symptom: Symptom, wasm: bytes, request: Request, say: Callable[[str], None]) -> None:
        self.session, self.symptom, self.wasm, self.request, self.say = session, symptom, wasm, request, say

    def confirm(self, state: State) -> State:
        """The state with the results of all reruns; only with ``flaky`` if some run does not show the symptom."""
        shown = sum(self._shows(self.session.run(self.wasm, self.session.rows, request=self.request)) for _ in range(RUNS))
        self.say(f"{shown} of {RUNS} reruns show it")
        if shown < RUNS:
            return msgspec.structs.replace(state, flaky=f"{1 + shown} of {1 + RUNS} runs show it")
        judgement, notes = self._judgement(), self._direct_notes()
        engines = tuple(self._other_engines())
        return msgspec.structs.replace(state, engines=engines, judgement=judgement, notes=notes).finished("confirm")

    def _judgement(self) -> Judgement | None:
        """The judgement on the symptom; None without judges."""
        if not self.session.judges:
            return None
        report = self._report(judges=self.session.judges)
        every = (each for one in report.passes for each in one.divergences if each.signature == self.symptom.signature)
        judgement = next((each.judgement for each in every if each.judgement is not None), None)
        self.say(str(judgement) if judgement is not None else "the judges have no opinion: the rerun does not show it")
        return judgement

    def _report(self, **changes: object) -> CaseReport:
        """The report of the case with other engines."""
        session = self.session
        request = msgspec.structs.replace(self.request, jobs=1, **changes)
        with closing(Checker(
            request, session.case, lambda _: False, Answers(None, ""), session.reactor, session.folder, session.budget
        )) as checker:  # fmt: skip
            return checker.report(Candidate(self.wasm, session.rows))

    def _shows(self, report: CaseReport) -> bool:
        return any(each.signature == self.symptom.signature for each in symptoms(report))

    def _other_engines(self) -> Iterator[ConfirmedOutcome]:
        """The outcomes of the other available engines on the same rows."""
        request = self.session.request
        for name in registry.names():
            if name in (request.oracle, request.subject):
                continue
            try:
                registry.create(name, request.options).identity()
                outcome = self._under(name)
            except Exception as error:  # noqa: BLE001 - an adapter of others may raise anything
                # Another error means that it is not installed, has no command or cannot run.
                if isinstance(error, AdapterError) or not isinstance(error, DiffcheckError):
                    self.say(f"{visible(name)} was left out: {type(error).__name__}: {visible(str(error), 200)}")
                continue
            self.say(f"{outcome.engine}: {outcome.says}")
            yield outcome

    def _under(self, name: str) -> ConfirmedOutcome:
        report = self._report(subject=name)
        if self._shows(report):
            return ConfirmedOutcome(name, f"has the same difference ({report.reason})")
        if report.verdict == "agree":
            return ConfirmedOutcome(name, "agrees with the oracle", agrees=True)
        return ConfirmedOutcome(name, f"{report.verdict}: {report.reason}" if report.reason else report.verdict)

    def _direct_notes(self) -> tuple[str, ...]:
        """The result of the direct pass over the unmodified artifact, as a sentence."""
        session = self.session
        if self.symptom.mode == "direct" and self.wasm != session.artifact:
            return ("it reproduces in a module without diffcheck's recorder, which itself uses the wrong instruction",)
        if self.symptom.mode == "direct":
            return ("it reproduces on the unmodified artifact, in the direct pass",)
        if session.plan.no_direct:
            return (f"the unmodified artifact has no direct pass: {session.plan.no_direct}",)
        report = session.run(session.artifact, session.rows, request=msgspec.structs.replace(session.request, mode="direct"))
        direct = next((each for each in report.passes if each.mode == "direct"), None)
        if direct is None or not direct.applicable:
            return ()
        result = "also differs" if direct.divergences else f"has the verdict {direct.verdict}"
        return (f"the direct pass over the unmodified artifact {result}" + (f" ({direct.reason})" if direct.reason else ""),)
