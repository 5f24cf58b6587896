"""The verdict on a pass that differs, where the artifact has results that the specification leaves open.

The pass is run again in deterministic form (``capsule.deterministic``). What differs there is a divergence; what no longer differs
was a legal choice and becomes an allowance. Where the form made no choice, or cannot be compared, it says nothing: see ``judge``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.compare import allowances as allow
from diffcheck.observation import Refused, sentence
from diffcheck.verdict import Allowance, Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.capsule.deterministic.form import Choices
    from diffcheck.compare.findings import Findings
    from diffcheck.verdict import Divergence, PassReport, SideReport

FIRST_PASSES: Final = 8
"""How many executions the plain form may spend on locating differences before the deterministic form is asked about them."""
_NOT_ALLOWED: Final = "not allowed by the specification"
_FAILURES: Final = ("crashed", "refused", "harness failed")
"""How the words for outcomes begin (``observation.sentence``) that no choice of a program's values explains."""


class FormPass(msgspec.Struct, frozen=True):
    """A pass over one form: its report, what it found by place, which choices the oracle made (None: not known), and whether
    bytes that differ were not located.
    """

    report: PassReport
    findings: Findings
    choices: Choices | None = None
    unlocated: bool = False

    @property
    def differs(self) -> bool:
        """Whether anything differs, located or not."""
        return bool(self.findings.total or self.unlocated)


def compare_choices(oracle: Choices, subject: Choices, findings: Findings, row: str = "") -> None:
    """Compare what both engines' runs of a deterministic form say of its open results; ``row`` is where one is not allowed.

    Their number says something of its own only where nothing else differs: a NaN that nothing depends on.
    """
    place = oracle.not_allowed or subject.not_allowed
    if oracle.not_allowed != subject.not_allowed and place is not None:
        words = [_NOT_ALLOWED if each.not_allowed == place else "allowed" for each in (oracle, subject)]
        item = f"{place.name} of function {place.function} at {place.offset:#x}"
        findings.diverge("instruction", item, *words, row=row, shape=place.name)
    elif oracle != subject and not findings.total:
        numbers = [str(each.nans + each.relaxed) for each in (oracle, subject)]
        findings.diverge("instruction", "results with a NaN or a relaxed operation", *numbers, shape="choices")


def judge(plain: FormPass, found: FormPass, whole: Callable[[], FormPass]) -> PassReport:
    """The verdict on a ``plain`` pass that differs, where ``found`` is the one in deterministic form.

    The plain one stands where the oracle made no choice; ``whole`` then runs it without a bound on locating.
    """
    if found.choices is not None and not found.choices.nans and not found.choices.relaxed:
        return (whole() if plain.unlocated else plain).report
    certain = [each for each in plain.report.divergences if _certain(each)]
    if why := _not_comparable(found.report):
        return _inconclusive(plain.report, certain, why)
    return _joined(plain, found, certain, *_rule(found.choices))


def _certain(each: Divergence) -> bool:
    """Whether no legal choice explains a difference: a crash, a refusal, an answer that is damaged."""
    return each.kind == "stream" or (each.kind == "outcome" and each.subject.startswith(_FAILURES))


def _not_comparable(report: PassReport) -> str:
    """Why the deterministic form could not be compared; empty where it was."""
    if report.verdict == "inconclusive":
        return report.reason
    subject = report.subject
    if subject is not None and isinstance(subject.outcome, Refused) and report.verdict == "diverge":
        return f"the subject {sentence(subject.outcome)}"
    failed = [each for each in report.divergences if _certain(each)]
    if failed and len(failed) == report.divergences_total:
        return f"the subject {failed[0].subject}"
    return ""


def _inconclusive(plain: PassReport, certain: list[Divergence], why: str) -> PassReport:
    """What is left to say where only the plain form was compared."""
    reason = f"the differences may be legal choices, and the deterministic form could not be compared: {why}"
    agreement = msgspec.structs.replace(plain.agreement, not_compared=(*plain.agreement.not_compared, reason))
    if certain:
        return _with(plain, certain, len(certain), agreement=agreement)
    return msgspec.structs.replace(
        plain, verdict="inconclusive", reason=reason, divergences=(), divergences_total=0, mcdc=(), vacuous=False
    )


def _joined(plain: FormPass, found: FormPass, certain: list[Divergence], rule: str, section: str) -> PassReport:
    """The deterministic form's divergences and those of the plain one that no choice explains; what else differed is allowed."""
    report, places = found.report, found.findings.places
    own = [msgspec.structs.replace(each, form="deterministic") for each in report.divergences]
    known = {each.signature for each in own}
    added = [each for each in certain if each.signature not in known]
    allowed = tuple(
        msgspec.structs.replace(each, rule=rule, section=section)
        for key, each in plain.findings.places.items()
        if key not in places and not any((one.kind, one.where.row, one.where.item) == key for one in certain)
    )
    rest = plain.findings.total - sum(each.count for each in plain.findings.places.values())
    if not report.divergences and (rest or plain.unlocated):
        where = Where("", "further differences")
        allowed = (*allowed, Allowance(rule, section, where, count=max(rest, 1), at_least=plain.unlocated))
    report = msgspec.structs.replace(
        report,
        allowances=(*report.allowances, *allowed),
        oracle=_both(plain.report.oracle, report.oracle),
        subject=_both(plain.report.subject, report.subject),
    )
    return _with(report, [*own, *added], report.divergences_total + len(added))


def _both(plain: SideReport | None, found: SideReport | None) -> SideReport | None:
    """A side of the deterministic form, at the cost of both."""
    return found if plain is None or found is None else msgspec.structs.replace(found, cost=plain.cost + found.cost)


def _with(report: PassReport, divergences: list[Divergence], total: int, **changes: object) -> PassReport:
    """The report with these divergences, and the verdict that follows from them."""
    if not divergences:
        return report
    first = divergences[0]
    row = f"row {first.where.row}: " if first.where.row else ""
    reason = f"{row}{first.where.item}: {first.oracle} against {first.subject}"
    return msgspec.structs.replace(
        report, verdict="diverge", reason=reason, divergences=tuple(divergences), divergences_total=total, vacuous=False, **changes
    )


def _rule(choices: Choices | None) -> tuple[str, str]:
    """The rule by which the results were open, and its section."""
    if choices is not None and not choices.relaxed:
        return allow.NAN_RULE, allow.NAN_SECTION
    if choices is not None and not choices.nans:
        return allow.RELAXED_RULE, allow.RELAXED_SECTION
    return f"{allow.NAN_RULE} or {allow.RELAXED_RULE}", f"{allow.NAN_SECTION}; {allow.RELAXED_SECTION}"
