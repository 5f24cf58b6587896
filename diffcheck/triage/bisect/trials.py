"""Whether a build of an engine has a fault: the same cause as the bad build, and not only the same case failing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.compare import judgement
from diffcheck.errors import AdapterError, EngineMissingError, EngineUnusableError
from diffcheck.runner import events, run
from diffcheck.triage import causes
from diffcheck.triage.bisect.search import Trial
from diffcheck.verdict import Divergence, Opinion

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.runner.request import Request
    from diffcheck.verdict import CaseReport

_UNUSABLE = (AdapterError, EngineMissingError, EngineUnusableError)


class Fault(msgspec.Struct, frozen=True):
    """The fault that is searched: its first difference, in which pass, and its cause; without one its values identify it."""

    place: Divergence
    mode: str
    cause: str = ""

    def __str__(self) -> str:
        return f"{self.cause}, first in {self.place}" if self.cause else str(self.place)


def report_of(request: Request) -> CaseReport:
    """The report of the only case of a request; raises an error of the engine."""
    return next(event.report for event in run.run(request) if isinstance(event, events.CaseFinished))


def fault_of(request: Request, report: CaseReport, signature: str = "", row: str = "") -> Fault | None:
    """The difference with that signature, or in that row, else the first one; None if nothing differs in every run."""
    every = [(one.mode, each) for one in report.passes if one.verdict in ("diverge", "known", "oracle") for each in one.divergences]
    named = [pair for pair in every if signature in ("", pair[1].signature) and row in ("", pair[1].where.row)]
    if not named:
        return None
    mode, place = named[0]
    return Fault(place, mode, cause_of(request, report, place))


def cause_of(request: Request, report: CaseReport, place: Divergence) -> str:
    """The name of the cause of a difference; empty if it was not localised."""
    found, _ = causes.find_causes(request, [causes.FirstOccurrence(place.signature, report.case, report.artifact, place.where.row)])
    return found[0].name if found else ""


def trial(build: str, request: Request, fault: Fault) -> Trial:
    """Run the case under a build, which is the subject of ``request``."""
    try:
        report = report_of(request)
        return classified(build, report, fault, lambda each: cause_of(request, report, each))
    except _UNUSABLE as error:
        return Trial(build, "unusable", error.line, runs=0)


def classified(build: str, report: CaseReport, fault: Fault, cause: Callable[[Divergence], str]) -> Trial:
    """Whether a report shows the fault. ``cause`` localises a difference."""
    own = next((each for each in report.passes if each.mode == fault.mode), None)
    if own is not None and own.verdict == "flaky":
        return Trial(build, "unclear", f"flaky: {own.reason}")
    found = judgement.opinion(Opinion(build, build), fault.place, report, fault.mode, same_form=True)
    if found.gives == "oracle":
        return Trial(build, "good")
    at = next((each for each in own.divergences if _place(each) == _place(fault.place)), None) if own is not None else None
    if at is None:
        return Trial(build, "unclear", found.why or f"another difference hides it: {found.value}")
    name = cause(at) if fault.cause else ""
    if name and name != fault.cause:
        return Trial(build, "unclear", f"another fault is at that place: {name}")
    if found.gives == "subject" or name:
        return Trial(build, "bad", name or str(at))
    return Trial(build, "unclear", f"another value is at that place: {at.subject}")


def _place(each: Divergence) -> tuple[str, str, str]:
    return each.kind, each.where.row, each.where.item
