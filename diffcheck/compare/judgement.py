"""Which engine stands alone where oracle and subject differ, by the opinions of judges.

A judge runs the same case against the same oracle. Where it has the subject's difference, it gives the subject's value; where it
has no difference, the oracle's. A value that two independent engines give is *supported*. If one value alone is supported, an
engine that gives another one stands alone; else it is undecided.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.compare.findings import KEPT
from diffcheck.compare.outcomes import KIND_UNSTATED
from diffcheck.verdict import Judgement, worst

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.verdict import Alone, CaseReport, Divergence, Opinion, PassReport

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]|inf|nan)")
_EVERY_FORM: Final = frozenset({"counter", "brval", "brcnt", "trace", "memory", "memory size", "table size", "output"})
_ENDS: Final = frozenset({"outcome", "stream", "validity"})
_BY_FORM: Final = ("exited", "threw", "trapped: uncaught")
_OWN_WORDS: Final = re.compile(r"(hangs|refused[^:]*|crashed)\b.*", re.DOTALL)
"""Outcomes that are followed by an engine's own words or a time."""


def opinion(judge: Opinion, place: Divergence, own: CaseReport, mode: str, *, same_form: bool) -> Opinion:
    """The opinion of ``judge`` on a difference in the pass ``mode``; ``own`` is the case's report with the judge as subject.

    ``same_form`` is whether the judge's capsule records as much as the subject's.
    """
    found = next((each for each in own.passes if each.mode == mode and each.applicable), None)
    if found is None:
        why = next((each.why for each in own.passes if each.mode == mode), "") or own.reason
        return _cannot_say(judge, why or "it was not run")
    at = next((each for each in found.divergences if each.key == place.key), None)
    if at is not None:
        same = _values(at) == _values(place)
        return msgspec.structs.replace(judge, gives="subject" if same else "other", value=at.subject)
    near = next((each for each in found.divergences if _hides(each, place)), None)
    if near is not None:
        return msgspec.structs.replace(judge, gives="other", value=f"{near.subject} ({near.where.item})")
    if why := _why_unknown(place, found, own.rows, same_form=same_form):
        return _cannot_say(judge, why)
    return msgspec.structs.replace(judge, gives="oracle", value=place.oracle)


def _cannot_say(judge: Opinion, why: str) -> Opinion:
    """The opinion of a judge whose own report, in which it is the subject, says ``why`` it has none."""
    return msgspec.structs.replace(judge, why=why.replace("the subject", judge.judge))


def by_value(judge: Opinion, place: Divergence, value: str) -> Opinion:
    """The opinion of a judge that gives ``value`` at a place."""
    own, oracle, subject = (_OWN_WORDS.sub(r"\1", each) for each in (value, place.oracle, place.subject))
    gives: Literal["oracle", "subject", "other"] = "oracle" if own == oracle else "subject" if own == subject else "other"
    return msgspec.structs.replace(judge, gives=gives, value=value)


def _values(each: Divergence) -> tuple[str, ...]:
    """Both values, comparable between engines; for a byte of a memory the words around it too."""
    both = (_OWN_WORDS.sub(r"\1", value) for value in (each.oracle, each.subject))
    return (*both, each.detail if each.kind == "memory" else "")


def _hides(each: Divergence, place: Divergence) -> bool:
    """Whether a difference of a judge makes ``place`` incomparable: the row ends differently, or the same memory, table, trace or
    output differs elsewhere.
    """
    if each.where.row != place.where.row:
        return False
    return each.kind in _ENDS or (each.kind == place.kind != "result" and _thing(each) == _thing(place))


def _thing(each: Divergence) -> str:
    """What an item is a part of: ``memory 0`` of ``memory 0 at 0x10``; of a global, a counter or a branch it is all."""
    return each.where.item if each.kind in ("global", "counter", "brval", "brcnt") else each.where.item.partition(" at ")[0]


def _why_unknown(place: Divergence, found: PassReport, rows: tuple[str, ...], *, same_form: bool) -> str:
    """Why a pass without a difference at ``place`` does not show that the judge gives the oracle's value; empty if it does."""
    if found.verdict not in ("agree", "diverge"):
        return found.reason or found.verdict
    if len(found.signatures) >= KEPT:
        return "it differs in too many places"
    index = {row: at for at, row in enumerate(rows)}
    here = index.get(place.where.row, len(rows))
    if any(each.kind in _ENDS and index.get(each.where.row, -1) < here for each in found.divergences):
        return "it ends differently in an earlier row"
    if place.kind == "outcome" and place.subject.startswith("trapped") and KIND_UNSTATED in found.agreement.not_compared:
        return "it has one message for several traps"
    if not same_form and not _in_every_form(place):
        return "its capsule lacks exceptions or GC instructions"
    return ""


def _in_every_form(place: Divergence) -> bool:
    """Whether every form of a capsule records the values of ``place``: numbers, and outcomes without exceptions."""
    values = place.oracle, place.subject
    if place.kind == "outcome":
        return not any(value.startswith(_BY_FORM) for value in values)
    return place.kind in _EVERY_FORM or all(map(_NUMBER.match, values))


def with_judgements(
    report: CaseReport, opinions: Mapping[str, tuple[Opinion, ...]], oracle: str, subject: str
) -> CaseReport:  # fmt: skip
    """The report with judgements: ``opinions`` are those of engines by signature, beside those of a script in the report.

    ``oracle`` and ``subject`` name their engines. A pass in all of whose differences the oracle stands alone has the verdict
    ``oracle``.
    """
    judged: dict[str, Judgement] = {}
    for each in (each for one in report.passes for each in one.divergences):
        if each.signature not in judged:
            own = each.judgement.opinions if each.judgement is not None else ()
            every = (*own, *opinions.get(each.signature, ()))
            judged[each.signature] = Judgement(every, _alone(every, oracle, subject))
    if not any(each.opinions for each in judged.values()):
        return report
    passes = tuple(_judged(each, judged) for each in report.passes)
    verdict = worst([each.verdict for each in passes if each.applicable])
    if verdict == report.verdict:
        return msgspec.structs.replace(report, passes=passes)
    deciding = next(each for each in passes if each.applicable and each.verdict == verdict)
    return msgspec.structs.replace(report, passes=passes, verdict=verdict, reason=f"{deciding.mode}: {deciding.reason}")


def _judged(one: PassReport, judged: Mapping[str, Judgement]) -> PassReport:
    divergences = tuple(
        msgspec.structs.replace(each, judgement=judged[each.signature]) if judged[each.signature].opinions else each
        for each in one.divergences
    )
    report = msgspec.structs.replace(one, divergences=divergences)
    if one.verdict not in ("diverge", "oracle") or not divergences:
        return report
    if len(one.signatures) < KEPT and all(judged[each.signature].alone == "oracle" for each in divergences):
        return msgspec.structs.replace(report, verdict="oracle", reason=f"the oracle stands alone: {divergences[0]}")
    return report if one.verdict == "diverge" else msgspec.structs.replace(report, verdict="diverge", reason=str(divergences[0]))


def _alone(opinions: tuple[Opinion, ...], oracle: str, subject: str) -> Alone:
    """Which of oracle and subject stands alone; empty if no value, or more than one, has the support of two engines."""
    supporters: dict[str, set[str]] = {"oracle": {oracle}, "subject": {subject}}
    for each in opinions:
        if each.gives:
            supporters.setdefault(each.gives if each.gives != "other" else f"other: {each.value}", set()).add(each.engine)
    supported = [value for value, engines in supporters.items() if len(engines) > 1]
    if len(supported) != 1:
        return ""
    alone: dict[str, Alone] = {"oracle": "subject", "subject": "oracle"}
    return alone.get(supported[0], "both")
