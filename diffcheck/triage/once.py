"""One artifact localised in this process: engines chosen, planned, searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck import backend, process
from diffcheck.errors import RunFailedError
from diffcheck.runner import plan as plans
from diffcheck.runner.once import Wanted, case_of
from diffcheck.runner.run import choose
from diffcheck.triage.localise import Localiser

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.runner.request import Request
    from diffcheck.triage.result import Localised


def localise(request: Request, row: str, say: Callable[[str], None]) -> Localised:
    """Localise in the one artifact that the request names; raises ``DiffcheckError`` where that cannot be run."""
    engines = choose(request)
    if engines.notice:
        say(engines.notice)
    with process.Reactor() as reactor, process.private_folder() as folder:
        host = backend.Host(reactor, folder)
        oracle = backend.create(request.oracle, engines.options)
        subject = backend.create(engines.subject, engines.options)
        try:
            if not isinstance(oracle, backend.Oracle):
                raise RunFailedError(f"{oracle.identity().name} cannot judge an artifact", hint="leave --oracle as it is")
            plan = plans.make(case_of(Wanted(request.paths[0])), request, oracle, oracle, subject, host)
            if plan.capsule is None:
                raise RunFailedError(f"{request.paths[0]} cannot be localised in: {plan.skipped or plan.no_capsule}")
            return Localiser(plan, request, oracle, subject, host, say).localise(row)
        finally:
            subject.close()
            oracle.close()
