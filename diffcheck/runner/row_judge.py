"""Judges that only call exports: their opinions on results and outcomes of rows of modules without imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import RowAnswer, RowCall, RowEngine
from diffcheck.compare import judgement
from diffcheck.compare.outcomes import FAILURES
from diffcheck.errors import EngineUnusableError
from diffcheck.observation import UNNAMED_KINDS, HarnessFailed, Returned, Trapped, sentence
from diffcheck.runner.judges import places
from diffcheck.runner.plan import CapsulePlan
from diffcheck.text import visible
from diffcheck.wasm.values import WIDTHS, Value

if TYPE_CHECKING:
    from diffcheck.backend.contract import Host, RunLimits
    from diffcheck.capsule.driver import Call
    from diffcheck.runner.judges import Judge
    from diffcheck.runner.plan import Plan
    from diffcheck.verdict import CaseReport, Divergence, Opinion

_NUMBERS: Final = ("i32", "i64", "f32", "f64")
_KINDS: Final = ("result", "outcome")
_KNOWN_ANSWERS: Final = bytes.fromhex(
    "0061736d01000000010a0260027f7f017f6000000303020001070e02036164640000047472617000010a0d020700200020016a0b0300000b"
)
"""A module with ``add``, of two i32, and ``trap``."""


def opinions(judge: Judge, report: CaseReport, plan: Plan | None, host: Host) -> dict[str, Opinion]:
    """The opinion of a judge on each signature of a report; ``plan`` is that of its case."""
    assert isinstance(judge.backend, RowEngine), "the caller checks"  # noqa: S101
    why, missing = _why_not(plan), "it did not reach this call"
    answers: dict[str, tuple[Call, RowAnswer]] = {}
    if not why and isinstance(plan, CapsulePlan):
        calls, names = _calls(plan)
        module = (plan.whole or plan).artifact
        found = judge.backend.call(module, tuple(RowCall(names[each.function], _bits(each)) for each in calls), plan.limits, host)
        found = tuple(map(_checked, calls, found))
        answers = {call.name: (call, answer) for call, answer in zip(calls, found, strict=True)}
        if any(call.init for call in calls) and any(not isinstance(each.outcome, Returned) for each in found):
            why = "a new instance lacks the calls of init rows"
        missing = next((sentence(each.outcome) for each in found if isinstance(each.outcome, FAILURES)), missing)
    return {each.signature: _opinion(judge.blank, each, answers, why, missing) for _, each in places(report)}


def require(judge: Judge, host: Host, limits: RunLimits) -> None:
    """Raise ``EngineUnusableError`` unless the program answers a call and a trap as the protocol says."""
    assert isinstance(judge.backend, RowEngine), "the caller checks"  # noqa: S101
    calls = RowCall("add", (3, (1 << 32) - 1)), RowCall("trap"), RowCall("add", (1, 1))
    found = judge.backend.call(_KNOWN_ANSWERS, calls, limits, host)
    if [each.results for each in found] != [(2,), (), (2,)] or not isinstance(found[1].outcome, Trapped):
        answers = "; ".join(" ".join([sentence(each.outcome), *map(str, each.results)]) for each in found)
        raise EngineUnusableError(
            f"{visible(judge.spec)} answers calls wrongly: {answers}, expected: returned 2; trapped; returned 2",
            hint="docs/engines/README.md has the protocol",
        )


def _why_not(plan: Plan | None) -> str:
    if not isinstance(plan, CapsulePlan):
        return "the case has no rows"
    if (plan.whole or plan).module.imports:
        return "it can only call modules without imports"
    return ""


def _calls(plan: CapsulePlan) -> tuple[tuple[Call, ...], dict[int, str]]:
    """The calls up to the first that cannot be made by the name of an export with numbers, and the names by function."""
    module = (plan.whole or plan).module
    names = {each.index: each.name for each in reversed(module.exports) if each.kind == "func"}
    made = []
    for call in plan.case_calls:
        types = (*call.type.params, *call.type.results)
        if call.reads or call.function not in names or any(each not in _NUMBERS for each in types):
            break
        made.append(call)
    return tuple(made), names


def _checked(call: Call, answer: RowAnswer) -> RowAnswer:
    """The answer, a failure if its results are not of the function's types."""
    results, widths = answer.results, [WIDTHS[str(each)] for each in call.type.results]
    fits = len(results) == len(widths) and all(value >> width == 0 for value, width in zip(results, widths, strict=True))
    if fits or not isinstance(answer.outcome, Returned):
        return answer
    return RowAnswer(HarnessFailed("the protocol is violated", f"{visible(str(results), 80)} for results {call.type.results}"))


def _bits(call: Call) -> tuple[int, ...]:
    return tuple(each.bits for each in call.args)


def _opinion(blank: Opinion, place: Divergence, answers: dict[str, tuple[Call, RowAnswer]], why: str, missing: str) -> Opinion:
    if not why and place.kind not in _KINDS:
        why = "it reports results and traps only"
    if why or place.where.row not in answers:
        return msgspec.structs.replace(blank, why=why or missing)
    call, answer = answers[place.where.row]
    if isinstance(answer.outcome, FAILURES):
        return msgspec.structs.replace(blank, why=sentence(answer.outcome))
    value = _text(place, call, answer)
    if place.kind == "outcome" and isinstance(answer.outcome, Trapped) and answer.outcome.kind in UNNAMED_KINDS:
        traps = [each for each in (place.oracle, place.subject) if each.startswith("trapped")]
        if len(traps) > 1:
            return msgspec.structs.replace(blank, why=f"the kind of its trap is not known: {value}")
        value = traps[0] if traps else value
    return judgement.by_value(blank, place, value)


def _text(place: Divergence, call: Call, answer: RowAnswer) -> str:
    """The judge's value at a place, in the words of a report."""
    number = place.where.item.rpartition(" ")[2]
    if place.kind == "outcome" or not isinstance(answer.outcome, Returned) or int(number) >= len(answer.results):
        return sentence(answer.outcome)
    type_ = str(call.type.results[int(number)])
    return str(Value(type_, answer.results[int(number)]))
