"""Localises or explains the divergence of one artifact in this process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from diffcheck.errors import RunFailedError
from diffcheck.runner import plan as plans
from diffcheck.runner import slicing
from diffcheck.runner.engines import choose, open_engines
from diffcheck.runner.observation_reader import ObservationReader
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.side_by_side import SideBySide, compare_side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.runner.request import Request
    from diffcheck.triage.localise.location import Localisation


def localise(request: Request, row: str, say: Callable[[str], None], note: Callable[[str], None] | None = None) -> Localisation:
    """Localise in the only artifact of the request; raises ``DiffcheckError`` if it cannot be run.

    ``say`` receives progress; ``note``, or ``say``, receives a notice if the subject is a substitute for another engine.
    """
    with _localised(request, row, say, note or say) as (_, answer):
        return answer


def explain(request: Request, row: str, say: Callable[[str], None], note: Callable[[str], None] | None = None) -> SideBySide:
    """Localise, then read both observations and compare them side by side; parameters and errors as for ``localise``."""
    with _localised(request, row, say, note or say) as (localiser, answer):
        if row and answer.depth == "none":
            return SideBySide(answer, row)
        plan = localiser.plan
        oracle = CapsuleSide(localiser.oracle, plan.capsules.oracle, plan.limits, localiser.host)
        subject = CapsuleSide(localiser.subject, plan.capsules.subject, plan.limits, localiser.host)
        say("reading both observations")
        oracle_case = ObservationReader(oracle, oracle, full=False, max_passes=request.max_passes).read(keep_going=True)
        try:
            # If no row of the oracle stops, the subject's first stop is the difference, and later rows would only cost runs.
            reader = ObservationReader(oracle, subject, full=False, max_passes=request.max_passes)
            subject_case = reader.read(keep_going=bool(oracle_case.stops))
        except RunFailedError as error:
            return SideBySide(answer, answer.row, unread=f"the subject's observation cannot be read completely: {error}")
        return compare_side_by_side(answer, oracle_case, subject_case, plan.places, row)


@contextmanager
def _localised(
    request: Request, row: str, say: Callable[[str], None], note: Callable[[str], None]
) -> Iterator[tuple[Localiser, Localisation]]:
    """The answer and its localiser: of the slice that has the row, else of the first slice in which something differs."""
    engines = choose(request)
    if engines.notice:
        note(engines.notice)
    request = engines.request
    with open_engines(request) as opened:
        oracle, subject, host = opened.oracle, opened.subject, opened.host
        plan = slicing.make(case_of(ObserveRequest(request.paths[0])), request, oracle, subject, host)
        plan = slicing.part_with(plans.require_capsule(plan, "localised in"), row)
        for each in (plan,) if row else (plan, *plan.others):
            localiser = Localiser(each, request, oracle, subject, host, say)
            answer = localiser.localise(row)
            if answer.depth != "none":
                break
        yield localiser, answer
