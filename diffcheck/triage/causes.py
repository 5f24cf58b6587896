"""Clusters grouped by cause: each is localised in its first row, and those with the same wrong instruction are one cause.

A signature identifies where a difference shows and is stable from night to night. A cause identifies what the engine does wrong, over
all artifacts: the instruction's name and its kind of difference (result, contents, size, trap, control), without operands.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import DiffcheckError
from diffcheck.runner import plan as plans
from diffcheck.runner.engines import choose, open_engines
from diffcheck.runner.observe_case import ObserveRequest, case_of
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.spec_sections import instruction_section
from diffcheck.triage.writeup.title import instruction_title
from diffcheck.verdict import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.runner.engines import EnginePair
    from diffcheck.runner.plan import Plan
    from diffcheck.runner.request import Request
    from diffcheck.triage.localise.location import Difference, Localisation
    from diffcheck.verdict import Report


_WORDS: Final[dict[Difference, str]] = {
    "result": "returns a wrong result",
    "allowed": "returns a result that the specification does not allow",
    "state": "writes wrong contents",
    "size": "leaves a wrong size",
    "control": "continues at the wrong place",
    "outcome": "ends differently",
}


_ENDS: Final = {
    "trapped": ("traps", "does not trap"),
    "crashed": ("crashes", "does not crash"),
    "timed out": ("times out", "does not time out"),
    "refused": ("is refused", "is not refused"),
}


class FirstOccurrence(msgspec.Struct, frozen=True):
    """Where a signature shows first: the case, its artifact and the row."""

    signature: str
    case: str
    artifact: str
    row: str


def places(report: Report, signatures: Iterable[str]) -> list[FirstOccurrence]:
    """The first capsule difference under each of these signatures; one that shows in the state of an instance has no row."""
    found: dict[str, FirstOccurrence] = {}
    for case in report.cases:
        for each in case.passes:
            for one in each.divergences if each.mode == "capsule" else ():
                found.setdefault(one.signature, FirstOccurrence(one.signature, case.case, case.artifact, one.where.row))
    return [found[signature] for signature in dict.fromkeys(signatures) if signature in found]


def find_causes(request: Request, wanted: list[FirstOccurrence], limit_s: float = math.inf) -> tuple[tuple[Cause, ...], int]:
    """The causes of these clusters, those with most clusters first, and how many clusters were tried within ``limit_s``. A cluster
    that cannot be localised has no cause.
    """
    request = choose(request).request
    until, tried = time.monotonic() + limit_s, 0
    found: dict[str, list[tuple[FirstOccurrence, Localisation]]] = {}
    with open_engines(request) as engines:
        for place, answer in _answers(request, wanted, engines):
            tried += 1
            name = cause(answer) if answer is not None else ""
            if answer is not None and name:
                found.setdefault(name, []).append((place, answer))
            if time.monotonic() > until:
                break
    causes = [
        Cause(
            name,
            tuple(place.signature for place, _ in each),
            tuple(f"{place.case}: {answer}" for place, answer in each),
            instruction_title(each[0][1]),
            instruction_section(each[0][1].instruction),
        )
        for name, each in found.items()
    ]
    return tuple(sorted(causes, key=lambda each: (-len(each.signatures), each.name))), tried


def _answers(
    request: Request, wanted: list[FirstOccurrence], engines: EnginePair
) -> Iterator[tuple[FirstOccurrence, Localisation | None]]:
    oracle, subject, host = engines.oracle, engines.subject, engines.host
    made: dict[str, Plan] = {}
    for place in wanted:
        try:
            if place.artifact not in made:
                made[place.artifact] = plans.make(case_of(ObserveRequest(place.artifact)), request, oracle, oracle, subject, host)
            answer = localised(made[place.artifact], request, oracle, subject, host, place.row)
        except DiffcheckError:
            answer = None  # it stays a cluster of its own
        yield place, answer


def localised(plan: Plan, request: Request, oracle: Oracle, subject: Backend, host: Host, row: str) -> Localisation | None:
    """Where it goes wrong in a row, with as few rows before it as show it; without a row, in the first that differs. None without a
    capsule.
    """
    if not isinstance(plan, plans.CapsulePlan):
        return None
    return Localiser(plan, request, oracle, subject, host).localise(row)


def cause(answer: Localisation) -> str:
    """The cause's name, without operands, places and other details that vary; empty if no instruction was found."""
    if answer.depth != "instruction":
        return ""
    name = answer.instruction.split(" ", 1)[0]
    for begin, (wrong, missing) in _ENDS.items():
        if answer.subject.startswith(begin):
            return f"{name} {wrong}{answer.subject.removeprefix(begin)}"
        if answer.oracle.startswith(begin):
            return f"{name} {missing}{answer.oracle.removeprefix(begin)}"
    return f"{name} {_WORDS[answer.difference]}"
