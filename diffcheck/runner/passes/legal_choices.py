"""The verdict on a pass with differences, if the specification leaves some results of the artifact open.

The pass is run again in deterministic form (``capsule.deterministic``). Differences that remain are divergences; those that
disappear were legal choices and become allowances. See ``conclude`` for a form without choices, or one that cannot be compared.
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
"""Executions for locating differences of the plain form before the deterministic form is run."""
_NOT_ALLOWED: Final = "not allowed by the specification"
_FAILURES: Final = ("crashed", "refused", "harness failed")
"""The beginnings of outcomes (``observation.sentence``) that no choice of a value explains."""


class FormPass(msgspec.Struct, frozen=True):
    """A pass over one form: ``choices`` are the oracle's (None: unknown), ``unlocated`` is whether a difference was not located."""

    report: PassReport
    findings: Findings
    choices: Choices | None = None
    unlocated: bool = False

    @property
    def differs(self) -> bool:
        """Whether anything differs, located or not."""
        return bool(self.findings.total or self.unlocated)


def compare_choices(oracle: Choices, subject: Choices, findings: Findings, row: str = "") -> None:
    """Compare the open results of both engines in deterministic form; ``row`` is the row of a result that is not allowed.

    Different numbers of choices are reported only if nothing else differs: a NaN that nothing depends on.
    """
    place = oracle.not_allowed or subject.not_allowed
    if oracle.not_allowed != subject.not_allowed and place is not None:
        words = [_NOT_ALLOWED if each.not_allowed == place else "allowed" for each in (oracle, subject)]
        item = f"{place.name} of function {place.function} at {place.offset:#x}"
        findings.diverge("instruction", item, *words, row=row, shape=place.name)
    elif oracle != subject and not findings.total:
        numbers = [str(each.nans + each.relaxed) for each in (oracle, subject)]
        findings.diverge("instruction", "results with a NaN or a relaxed operation", *numbers, shape="choices")


def conclude(plain: FormPass, found: FormPass, whole: Callable[[], FormPass]) -> PassReport:
    """The verdict on a ``plain`` pass with differences; ``found`` is the pass in deterministic form.

    The plain pass counts if the oracle made no choice; ``whole`` then runs it with all executions for locating differences.
    """
    if found.choices is not None and not found.choices.nans and not found.choices.relaxed:
        return (whole() if plain.unlocated else plain).report
    certain = [each for each in plain.report.divergences if _certain(each)]
    if why := _not_comparable(found.report):
        return _inconclusive(plain.report, certain, why)
    return _joined(plain, found, certain, *_rule(found.choices))


def _certain(each: Divergence) -> bool:
    """Whether no legal choice can explain a difference: a crash, a refusal, a damaged answer."""
    return each.kind == "stream" or (each.kind == "outcome" and each.subject.startswith(_FAILURES))


def _not_comparable(report: PassReport) -> str:
    """Why the deterministic form could not be compared; empty if it was."""
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
    """The report if only the plain form was compared."""
    reason = f"the differences may be legal choices, and the deterministic form could not be compared: {why}"
    agreement = msgspec.structs.replace(plain.agreement, not_compared=(*plain.agreement.not_compared, reason))
    if certain:
        return _with(plain, certain, len(certain), agreement=agreement)
    return msgspec.structs.replace(
        plain, verdict="inconclusive", reason=reason, divergences=(), divergences_total=0, mcdc=(), vacuous=False
    )


def _joined(plain: FormPass, found: FormPass, certain: list[Divergence], rule: str, section: str) -> PassReport:
    """The divergences of the deterministic form and the ``certain`` ones of the plain form; other differences are allowed."""
    report, places = found.report, found.findings.places
    own = [msgspec.structs.replace(each, form="deterministic") for each in report.divergences]
    known = {each.signature for each in own}
    added = [each for each in certain if each.signature not in known]
    broken = any(each.kind == "instruction" and _NOT_ALLOWED in (each.oracle, each.subject) for each in own)
    allowed = tuple(
        msgspec.structs.replace(each, rule=rule, section=section)
        for key, each in plain.findings.places.items()
        if key not in places and not any(one.key == key for one in certain) and not broken  # they may follow from that result
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
    """A side of the deterministic form, with the cost of both forms."""
    return found if plain is None or found is None else msgspec.structs.replace(found, cost=plain.cost + found.cost)


def _with(report: PassReport, divergences: list[Divergence], total: int, **changes: object) -> PassReport:
    """The report with these divergences and the resulting verdict."""
    if not divergences:
        return report
    return msgspec.structs.replace(
        report,
        verdict="diverge",
        reason=str(divergences[0]),
        divergences=tuple(divergences),
        divergences_total=total,
        vacuous=False,
        **changes,
    )


def _rule(choices: Choices | None) -> tuple[str, str]:
    """The rule by which the results are open, and its section."""
    if choices is not None and not choices.relaxed:
        return allow.NAN_RULE, allow.NAN_SECTION
    if choices is not None and not choices.nans:
        return allow.RELAXED_RULE, allow.RELAXED_SECTION
    return f"{allow.NAN_RULE} or {allow.RELAXED_RULE}", f"{allow.NAN_SECTION}; {allow.RELAXED_SECTION}"
