"""Whether a build of an engine has a fault: the same cause as the bad build, and not only the same case failing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from diffcheck.compare import judgement
from diffcheck.errors import AdapterError, EngineMissingError, EngineUnusableError
from diffcheck.runner import events, run
from diffcheck.triage import causes
from diffcheck.triage.bisect.search import Trial
from diffcheck.verdict import Divergence, Opinion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.runner.request import Request
    from diffcheck.verdict import CaseReport, PassReport

_PLACES = 4
"""The differences of a case that are localised."""
_UNUSABLE = (AdapterError, EngineMissingError, EngineUnusableError)


class BisectFault(msgspec.Struct, frozen=True):
    """The fault that is searched: its first difference, in which pass, and its cause; without one its values identify it.

    ``others`` are further differences with that cause, in which it may show where another fault hides the first one.
    """

    place: Divergence
    mode: str
    cause: str = ""
    others: tuple[Divergence, ...] = ()

    @property
    def places(self) -> tuple[Divergence, ...]:
        """All differences of the fault."""
        return self.place, *self.others

    def __str__(self) -> str:
        return f"{self.cause}, first in {self.place}" if self.cause else str(self.place)


def report_of(request: Request) -> CaseReport:
    """The report of the only case of a request; raises an error of the engine, and ``KeyboardInterrupt`` if it is interrupted."""
    with contextlib.closing(run.run(request)) as stream:
        for event in stream:
            if isinstance(event, events.CaseFinished):
                return event.report
    raise KeyboardInterrupt


def fault_of(request: Request, report: CaseReport, signature: str = "", row: str = "") -> BisectFault | None:
    """The fault that the difference with that signature, or in that row, shows, else the first one; None if nothing differs in
    every run.
    """
    return chosen_fault(report, lambda place: cause_of(request, report, place), signature, row)


def chosen_fault(report: CaseReport, cause: Callable[[Divergence], str], signature: str = "", row: str = "") -> BisectFault | None:
    """As ``fault_of``; ``cause`` localises a difference."""
    every = [(one.mode, each) for one in report.passes for each in _first_of_each(one)]
    named = [pair for pair in every if signature in ("", pair[1].signature) and row in ("", pair[1].where.row)]
    if not named:
        return None
    mode, place = named[0]
    name = cause(place)
    others = [each for its, each in every if its == mode and each.signature != place.signature][: _PLACES - 1] if name else []
    return BisectFault(place, mode, name, tuple(each for each in others if cause(each) == name))


def _first_of_each(one: PassReport) -> list[Divergence]:
    """The first difference with each signature of a pass that differs in every run."""
    if one.verdict not in ("diverge", "known", "oracle"):
        return []
    return list({each.signature: each for each in reversed(one.divergences)}.values())[::-1]


def cause_of(request: Request, report: CaseReport, place: Divergence) -> str:
    """The name of the cause of a difference; empty if it was not localised."""
    found, _ = causes.find_causes(request, [causes.FirstOccurrence(place.signature, report.case, report.artifact, place.where.row)])
    return found[0].name if found else ""


def trial(build: str, request: Request, fault: BisectFault) -> Trial:
    """Run the case under a build, which is the subject of ``request``."""
    try:
        report = report_of(request)
        return classified(build, report, fault, lambda each: cause_of(request, report, each))
    except _UNUSABLE as error:
        return Trial(build, "unusable", error.line, runs=0)


def classified(build: str, report: CaseReport, fault: BisectFault, cause: Callable[[Divergence], str]) -> Trial:
    """Whether a report shows the fault in any of its places. ``cause`` localises a difference.

    A build is good only if no place has another fault: two faults together may give the right value.
    """
    own = next((each for each in report.passes if each.mode == fault.mode), None)
    if own is not None and own.verdict == "flaky":
        return Trial(build, "unclear", f"flaky: {own.reason}")
    answers = [_at(place, build, report, fault, cause) for place in fault.places]
    for answer in ("bad", "unclear"):
        for each in answers:
            if each.answer == answer:
                return each
    return next(_elsewhere(build, own, fault, cause), Trial(build, "good"))


def _at(place: Divergence, build: str, report: CaseReport, fault: BisectFault, cause: Callable[[Divergence], str]) -> Trial:
    """Whether a report shows the fault in one place."""
    found = judgement.opinion(Opinion(build, build), place, report, fault.mode, same_form=True)
    if found.gives == "oracle":
        return Trial(build, "good")
    every = (each for one in report.passes if one.mode == fault.mode for each in one.divergences)
    at = next((each for each in every if each.key == place.key), None)
    if at is None:
        return Trial(build, "unclear", found.why or f"another difference hides it: {found.value}")
    name = cause(at) if fault.cause else ""
    if name and name != fault.cause:
        return Trial(build, "unclear", f"another fault is at that place: {name}")
    if found.gives == "subject" or name:
        return Trial(build, "bad", name or str(at))
    return Trial(build, "unclear", f"another value is at that place: {at.subject}")


def _elsewhere(build: str, own: PassReport | None, fault: BisectFault, cause: Callable[[Divergence], str]) -> Iterator[Trial]:
    """The differences of a build with the fault's cause in other places: two faults together may give the right value in one."""
    known = {each.key for each in fault.places}
    for each in _first_of_each(own)[:_PLACES] if own is not None and fault.cause else ():
        if each.key not in known and cause(each) == fault.cause:
            yield Trial(build, "bad", f"{fault.cause}, in {each}")
