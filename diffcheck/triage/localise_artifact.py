"""One artifact localised or explained in this process: engines chosen, planned, searched."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from diffcheck.errors import RunFailedError
from diffcheck.runner import plan as plans
from diffcheck.runner.engines import choose, open_engines
from diffcheck.runner.observation_reader import ObservationReader
from diffcheck.runner.observe_case import ObserveRequest, case_of
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.side_by_side import Explained, explained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.runner.request import Request
    from diffcheck.triage.localise.location import Localisation


def localise(request: Request, row: str, say: Callable[[str], None], note: Callable[[str], None] | None = None) -> Localisation:
    """Localise in the one artifact that the request names; raises ``DiffcheckError`` where that cannot be run.

    ``say`` is told what is being done, ``note`` (else ``say``) where the subject is a stand-in for another engine.
    """
    with _localiser(request, say, note or say) as work:
        return work.localise(row)


def explain(request: Request, row: str, say: Callable[[str], None], note: Callable[[str], None] | None = None) -> Explained:
    """Localise, and read what both engines observed, to show them side by side; told as ``localise``."""
    with _localiser(request, say, note or say) as work:
        answer = work.localise(row)
        if row and answer.depth == "none":
            return Explained(answer, row)
        plan = work.plan
        oracle = CapsuleSide(work.oracle, plan.capsules.oracle, plan.limits, work.host)
        subject = CapsuleSide(work.subject, plan.capsules.subject, plan.limits, work.host)
        say("reading both observations")
        one = ObservationReader(oracle, oracle, full=False, max_passes=request.max_passes).read(keep_going=True)
        try:
            # Where no row of the oracle's traps, the subject's first that does is the difference: the others would only cost runs.
            reader = ObservationReader(oracle, subject, full=False, max_passes=request.max_passes)
            other = reader.read(keep_going=bool(one.stops))
        except RunFailedError as error:
            return explained(answer, one, None, plan.places, unread=f"the subject's observation cannot be read whole: {error}")
        return explained(answer, one, other, plan.places, row=row)


@contextmanager
def _localiser(request: Request, say: Callable[[str], None], note: Callable[[str], None]) -> Iterator[Localiser]:
    engines = choose(request)
    if engines.notice:
        note(engines.notice)
    request = engines.request
    with open_engines(request) as opened:
        oracle, subject, host = opened.oracle, opened.subject, opened.host
        plan = plans.make(case_of(ObserveRequest(request.paths[0])), request, oracle, oracle, subject, host)
        yield Localiser(plans.require_capsule(plan, "localised in"), request, oracle, subject, host, say)
