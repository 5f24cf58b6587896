"""Clusters grouped by cause: each is localised in its first row, and those with the same wrong instruction are one cause.

A signature identifies where a difference shows and is stable from night to night. A cause identifies what the engine does wrong, over
all artifacts: the instruction's name and its kind of difference (result, contents, size, trap, control), without operands.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import DiffcheckError
from diffcheck.runner import plan as plans
from diffcheck.runner import slicing
from diffcheck.runner.engines import choose, open_engines
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.persist.execution_cache import TapePairs, name_of
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.spec_sections import instruction_section
from diffcheck.triage.writeup.title import EFFECTS, instruction_title
from diffcheck.verdict import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from diffcheck.runner.engines import EnginePair
    from diffcheck.runner.plan import Plan
    from diffcheck.runner.request import Request
    from diffcheck.triage.localise.location import Difference, Localisation
    from diffcheck.verdict import Report


_DESCRIPTIONS: Final[dict[Difference, str]] = {
    **EFFECTS,
    "result": "returns a wrong result",
    "allowed": "returns a result that the specification does not allow",
}
_ENDS: Final = {
    "trapped": ("traps", "does not trap"),
    "crashed": ("crashes", "does not crash"),
    "timed out": ("times out", "does not time out"),
    "refused": ("is refused", "is not refused"),
}


class FirstOccurrence(msgspec.Struct, frozen=True):
    """The case, artifact and row in which a signature first shows; ``row`` is empty for the state of an instance."""

    signature: str
    case: str
    artifact: str
    row: str


def first_occurrences(report: Report, signatures: Iterable[str]) -> list[FirstOccurrence]:
    """The first capsule divergence with each of these signatures, in their order."""
    found: dict[str, FirstOccurrence] = {}
    for case in report.cases:
        for each in case.passes:
            for one in each.divergences if each.mode == "capsule" else ():
                if one.kind == "expectation":
                    continue  # the engines agree
                found.setdefault(one.signature, FirstOccurrence(one.signature, case.case, case.artifact, one.where.row))
    return [found[signature] for signature in dict.fromkeys(signatures) if signature in found]


def find_causes(request: Request, occurrences: list[FirstOccurrence], limit_s: float = math.inf) -> tuple[tuple[Cause, ...], int]:
    """The causes of these clusters, that of the most clusters first, and the number of clusters that were localised within
    ``limit_s``. A cluster that cannot be localised has no cause.
    """
    request = choose(request).request
    until, tried = time.monotonic() + limit_s, 0
    found: dict[str, list[tuple[FirstOccurrence, Localisation]]] = {}
    tapes = TapePairs(request)
    with open_engines(request) as engines:
        for place, answer in _localisations(request, occurrences, engines, tapes):
            tried += 1
            name = cause_name(answer) if answer is not None else ""
            if answer is not None and name:
                found.setdefault(name, []).append((place, answer))
            if time.monotonic() > until:
                break
    tapes.store()  # no engine was replaced meanwhile
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


def _localisations(
    request: Request, occurrences: list[FirstOccurrence], engines: EnginePair, tapes: TapePairs
) -> Iterator[tuple[FirstOccurrence, Localisation | None]]:
    oracle, subject, host = engines.oracle, engines.subject, engines.host
    made: dict[str, Plan] = {}
    for place in occurrences:
        answer = None  # a cluster that cannot be localised has no cause
        with contextlib.suppress(DiffcheckError):
            if place.artifact not in made:
                made[place.artifact] = slicing.make(case_of(ObserveRequest(place.artifact)), request, oracle, subject, host)
            plan = made[place.artifact]
            if isinstance(plan, plans.CapsulePlan):
                plan = slicing.part_with(plan, place.row)
                pair = tapes.pair(oracle, subject, f"localise {name_of(plan, 'subject')} {place.row}")
                answer = Localiser(plan, request, *pair, host).localise(place.row)
        yield place, answer


def cause_name(answer: Localisation) -> str:
    """The cause's name, without operands, places and other details that vary; empty if neither an instruction nor a segment that
    instantiation did not drop was found.
    """
    if answer.depth != "instruction":
        return instruction_title(answer)
    name = answer.instruction.split(" ", 1)[0]
    for begin, (wrong, missing) in _ENDS.items():
        if answer.subject.startswith(begin):
            return f"{name} {wrong}{answer.subject.removeprefix(begin)}"
        if answer.oracle.startswith(begin):
            return f"{name} {missing}{answer.oracle.removeprefix(begin)}"
    return f"{name} {_DESCRIPTIONS[answer.difference]}"
