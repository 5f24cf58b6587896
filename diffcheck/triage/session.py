"""The engines, the workers and the folder that every step of a triage shares."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import msgspec

from diffcheck.errors import RunFailedError
from diffcheck.runner import plan as plans
from diffcheck.runner.engines import choose, open_engines
from diffcheck.text import visible
from diffcheck.triage.reduce.interestingness import Answers, Checker, Inline, Question, execution_s
from diffcheck.triage.reduce.oracle_trace import Watcher
from diffcheck.triage.reduce.symptom import Symptom, symptoms

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from diffcheck.backend.contract import Backend
    from diffcheck.runner.request import Request
    from diffcheck.triage.reduce.interestingness import TimeBudget
    from diffcheck.triage.reduce.oracle_trace import Watched
    from diffcheck.triage.target import Target
    from diffcheck.verdict import CaseReport

ANSWERS: Final = "answers.txt"


class Session:
    """Open as a context. ``artifact`` are the core module's bytes, ``rows`` those that are driven, without the init rows."""

    def __init__(
        self,
        request: Request,
        target: Target,
        budget: TimeBudget,
        say: Callable[[str], None],
        *,
        subject: Backend | None = None,
    ) -> None:
        """``subject`` is a backend that is no installed adapter's: it is asked in this process, and not by workers."""
        self.target, self.budget, self.say = target, budget, say
        self._given = subject
        self.engines = choose(request)
        self.request = msgspec.structs.replace(self.engines.request, confirm=0, known={}, mode="both")
        self._runners: dict[str, Checker] = {}
        self.longest_s = 0.0

    def __enter__(self) -> Self:
        """Start the engines and read the case."""
        with ExitStack() as stack:
            opened = stack.enter_context(open_engines(self.request, self._given))
            self.oracle, self.subject, self.host = opened.oracle, opened.subject, opened.host
            self.reactor, self.folder = self.host.reactor, self.host.folder
            self._read()
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End everything that was started; EngineUnusableError where an engine was replaced meanwhile."""
        self._open.__exit__(kind, error, trace)

    def _read(self) -> None:
        case = self.target.case
        plan = plans.make(case, self.request, self.oracle, self.oracle, self.subject, self.host)
        if isinstance(plan, plans.SkippedPlan):
            raise RunFailedError(f"{visible(case.artifact)} cannot be run: {plan.reason}")
        self.plan = plan
        self.artifact, self.manifest = plan.artifact, plan.manifest
        self.rows = plan.rows[plan.layout.n_init :] if isinstance(plan, plans.CapsulePlan) else ()
        self.request = msgspec.structs.replace(self.request, rows="declared")
        self.case = msgspec.structs.replace(case, manifest="", rows=(), findings=(), expect={}, notes=())

    # Asking.

    def checker(self, request: Request, says: Callable[[CaseReport], bool], answers: Answers) -> Checker:
        """Workers that look for something; they end with the session."""
        given = (request, self.case, says, answers, self.reactor, self.folder, self.budget)
        if self._given is not None:
            return Inline((self.oracle, self.subject, self.host), *given)
        found = Checker(*given)
        self._open.callback(found.close)
        return found

    def run(self, wasm: bytes, rows: tuple[str, ...], *, request: Request | None = None) -> CaseReport:
        """One run of an artifact, without its manifest."""
        wanted = request or self.request
        if wanted.mode not in self._runners:
            self._runners[wanted.mode] = self.checker(msgspec.structs.replace(wanted, jobs=1), lambda _: False, Answers(None, ""))
        begun = time.monotonic()
        report = self._runners[wanted.mode].report(Question(wasm, rows))
        self.longest_s = max(self.longest_s, time.monotonic() - begun)
        return report

    def symptom(self, report: CaseReport, row: str = "") -> Symptom | None:
        """The symptom to look for: the one that the target names, else the first one, of ``row`` if that is given."""
        found = symptoms(report)
        named = self.target
        wanted = row or named.row
        for exact in (True, False):
            for each in found:
                if (not wanted or each.row == wanted) and (not exact or not named.kind or each.kind == named.kind):
                    return each
        return found[0] if found and not row else None

    def looking_for(self, symptom: Symptom, report: CaseReport, folder: Path | None, about: str = "") -> Checker:
        """A checker for a symptom, in its pass only and with a deadline that fits what ``report`` took; its answers are kept in
        ``folder`` as those of ``about``, which names artifact and engines.
        """
        hangs = "hang" in symptom.subject
        request = msgspec.structs.replace(self.request, mode=symptom.mode, hangs=hangs)
        answers = Answers(folder / ANSWERS if folder is not None else None, f"{about}-{symptom.signature}-{symptom.mode}")
        found = self.checker(request, symptom.shown_by, answers)
        found.within_s = None if hangs else execution_s(report)
        return found

    def watch(self, wasm: bytes, rows: tuple[str, ...]) -> Watched | None:
        """What a candidate does under the oracle."""
        return Watcher(self.oracle, self.request, self.case, self.folder, self.host).watch(Question(wasm, rows))
