"""The engines, workers and case that all steps of a triage share."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import msgspec

from diffcheck.cases.discovery import read_artifact
from diffcheck.cases.rows import declarable
from diffcheck.errors import UnrunnableError
from diffcheck.runner import plan as plans
from diffcheck.runner import slicing
from diffcheck.runner.engines import choose, open_engines
from diffcheck.text import visible
from diffcheck.triage.reduce.interestingness import Answers, Candidate, Checker, InProcessChecker, execution_s
from diffcheck.triage.reduce.oracle_trace import trace_oracle
from diffcheck.triage.reduce.symptom import Symptom, symptoms
from diffcheck.wasm.component import is_component

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from diffcheck.backend.contract import Backend
    from diffcheck.runner.request import Request
    from diffcheck.triage.reduce.interestingness import TimeBudget
    from diffcheck.triage.reduce.oracle_trace import OracleTrace
    from diffcheck.triage.target import Target
    from diffcheck.verdict import CaseReport

ANSWERS: Final = "answers.txt"


class Session:
    """A context manager. ``artifact`` is the core module, ``component`` the component that it was made of, empty if it was not, ``rows``
    are the rows that a case file can declare, ``longest_s`` is the longest run. ``given`` is the request with the command's rows.
    """

    def __init__(
        self,
        request: Request,
        target: Target,
        budget: TimeBudget,
        say: Callable[[str], None],
        *,
        subject: Backend | None = None,
    ) -> None:
        """``subject`` is a backend without an installed adapter; it runs in this process instead of workers."""
        self.target, self.budget, self.say = target, budget, say
        self._subject = subject
        self.engines = choose(request)
        self.judges = self.engines.request.judges  # asked once, and not for every candidate
        self.request = msgspec.structs.replace(self.engines.request, confirm=0, known={}, mode="both", judges=())
        if target.kind != "validity":  # every candidate would be loaded as well
            self.request = msgspec.structs.replace(self.request, load_check="never")
        self._runners: dict[str, Checker] = {}
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        """Start the engines and read the case."""
        with ExitStack() as stack:
            opened = stack.enter_context(open_engines(self.request, self._subject))
            self.oracle, self.subject, self.host = opened.oracle, opened.subject, opened.host
            self.reactor, self.folder = self.host.reactor, self.host.folder
            self._read()
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End engines and workers; raises ``EngineUnusableError`` if an engine's binary was replaced meanwhile."""
        self._open.__exit__(kind, error, trace)

    def _read(self) -> None:
        case = self.target.case
        plan = slicing.make(case, self.request, self.oracle, self.subject, self.host)
        if isinstance(plan, plans.SkippedPlan):
            raise UnrunnableError(f"{visible(case.artifact)} cannot be run: {plan.reason}")
        self.plan = slicing.part_with(plan, self.target.row) if isinstance(plan, plans.CapsulePlan) else plan
        whole = plan.whole if isinstance(plan, plans.CapsulePlan) and plan.whole is not None else plan
        self.artifact, self.manifest = whole.artifact, whole.manifest
        source = read_artifact(case.artifact)
        self.component = source if is_component(source) else b""
        self.rows = declarable(plan.case_calls) if isinstance(plan, plans.CapsulePlan) else ()
        self.given = self.request
        self.request = msgspec.structs.replace(self.request, rows="declared", calls=())
        self.case = msgspec.structs.replace(case, manifest="", rows=(), findings=(), expect={}, notes=(), module=None, link=())

    # Runs.

    def checker(self, request: Request, predicate: Callable[[CaseReport], bool], answers: Answers) -> Checker:
        """A checker for a predicate on a candidate's ``CaseReport``, with stored ``answers``; its workers end with the session."""
        arguments = (request, self.case, predicate, answers, self.reactor, self.folder, self.budget)
        if self._subject is not None:
            return InProcessChecker((self.oracle, self.subject, self.host), *arguments)
        checker = Checker(*arguments)
        self._open.callback(checker.close)
        return checker

    def run(self, wasm: bytes, rows: tuple[str, ...], *, request: Request | None = None) -> CaseReport:
        """The report of an artifact without its manifest."""
        wanted = request or self.request
        if wanted.mode not in self._runners:
            self._runners[wanted.mode] = self.checker(msgspec.structs.replace(wanted, jobs=1), lambda _: False, Answers(None, ""))
        begun = time.monotonic()
        report = self._runners[wanted.mode].report(Candidate(wasm, rows))
        self.longest_s = max(self.longest_s, time.monotonic() - begun)
        return report

    def symptom(self, report: CaseReport, row: str = "") -> Symptom | None:
        """The symptom that the target names, else the first one; only of ``row`` if that is not empty. None if there is none."""
        every = symptoms(report)
        in_row = symptoms(report, row or self.target.row)
        exact = [each for each in in_row if not self.target.kind or each.kind == self.target.kind]
        return next(iter(exact or in_row or (() if row else every)), None)

    def checker_for(self, symptom: Symptom, report: CaseReport, folder: Path | None, about: str = "") -> Checker:
        """A checker for a symptom in its pass, with a deadline from the duration of ``report``. Its answers are cached in ``folder``;
        ``about`` identifies the artifact and the engines.
        """
        hangs = "hang" in symptom.subject
        request = msgspec.structs.replace(self.request, mode=symptom.mode, hangs=hangs)
        answers = Answers(folder / ANSWERS if folder is not None else None, f"{about}-{symptom.signature}-{symptom.mode}")
        checker = self.checker(request, symptom.shown_by, answers)
        checker.within_s = None if hangs else execution_s(report)
        return checker

    def trace(self, wasm: bytes, rows: tuple[str, ...]) -> OracleTrace | None:
        """The trace of a candidate under the oracle; None if it could not be traced."""
        return trace_oracle(self.oracle, self.host, self.request, self.case, Candidate(wasm, rows))
