"""Judges: further engines that run a case in which oracle and subject differ, to show which of them stands alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend import registry
from diffcheck.backend.contract import Backend
from diffcheck.compare import judgement
from diffcheck.runner.plan import CapsulePlan
from diffcheck.verdict import Opinion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diffcheck.runner.plan import Plan
    from diffcheck.runner.request import Request
    from diffcheck.verdict import CaseReport, Divergence, PassReport


class Judge(msgspec.Struct, frozen=True):
    """A judge: ``spec`` is the backend as the user wrote it, ``blank`` an opinion with its names only."""

    spec: str
    blank: Opinion
    backend: Backend

    @property
    def role(self) -> str:
        """Its role in the execution cache."""
        return f"judge {self.spec}"


def create(request: Request, options: Mapping[str, str]) -> tuple[Judge, ...]:
    """The judges of a request; raises ``ConfigError`` or ``EngineMissingError``."""
    return tuple(
        Judge(spec, Opinion(_name(spec), registry.engine(spec)), registry.create(spec, options)) for spec in request.judges
    )


def _name(spec: str) -> str:
    """A short name: that of the adapter, or of the engine that a command runs."""
    return registry.engine(spec) if ":" in spec else spec


def hangs(report: CaseReport) -> bool:
    """Whether the subject hangs in a row, so that a judge has to be given time to hang as well."""
    return any(each.subject.startswith("hangs") for _, each in places(report))


def places(report: CaseReport) -> Iterator[tuple[PassReport, Divergence]]:
    """The first difference with each signature, without flaky passes and without results that only contradict a script."""
    seen = set()
    for one in report.passes:
        for each in one.divergences if one.verdict in ("diverge", "oracle") else ():
            if each.signature not in seen and each.kind != "expectation":
                seen.add(each.signature)
                yield one, each


def opinions(judge: Judge, report: CaseReport, own: CaseReport, *, same_form: bool) -> dict[str, Opinion]:
    """The opinion of a judge on each signature; ``own`` is the report with it as subject, ``same_form`` as in ``compare``."""
    return {
        each.signature: judgement.opinion(judge.blank, each, own, one.mode, same_form=same_form) for one, each in places(report)
    }


def same_form(plan: Plan | None, own: Plan) -> bool:
    """Whether two plans have capsules that record the same."""
    if not isinstance(plan, CapsulePlan) or not isinstance(own, CapsulePlan):
        return True
    one, other = (each.capsules.standard.form for each in (plan, own))
    return (one.unwinds, one.references) == (other.unwinds, other.references)
