"""The reports of a pass over several slices of one case, joined to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.observation import Cost, Returned
from diffcheck.verdict import Agreement, Allowance, PassReport, SideReport, StubUse, worst

if TYPE_CHECKING:
    from collections.abc import Sequence


def joined(reports: Sequence[PassReport]) -> PassReport:
    """Return the report of all, in the order of their rows.

    MC/DC conclusions depend on all rows together, so those of single slices are left out.
    """
    if len(reports) == 1:
        return reports[0]
    verdict = worst([each.verdict for each in reports])
    agreement = sum((each.agreement for each in reports), Agreement())
    if any(each.mcdc for each in reports):
        conclusions = "MC/DC conclusions: they depend on rows of several slices"
        agreement = msgspec.structs.replace(agreement, not_compared=(*agreement.not_compared, conclusions))
    return PassReport(
        mode=reports[0].mode,
        applicable=True,
        verdict=verdict,
        reason=next(each.reason for each in reports if each.verdict == verdict),
        oracle=_side([each.oracle for each in reports if each.oracle is not None]),
        subject=_side([each.subject for each in reports if each.subject is not None]),
        divergences=tuple(each for report in reports for each in report.divergences),
        divergences_total=sum(each.divergences_total for each in reports),
        allowances=_allowances(reports),
        agreement=agreement,
        stubs=_stubs(reports),
        printed=tuple(each for report in reports for each in report.printed),
        vacuous=all(each.vacuous for each in reports),
        in_recorder=any(each.in_recorder for each in reports),
    )


def _side(sides: Sequence[SideReport]) -> SideReport | None:
    """One engine's part: the first outcome that is not a return, and the sum of the costs."""
    if not sides:
        return None
    first = next((each for each in sides if not isinstance(each.outcome, Returned)), sides[0])
    log = next((each.log for each in sides if each.log), "")
    digest = "-".join(each.digest for each in sides if each.digest)
    return SideReport(first.outcome, first.words, sum((each.cost for each in sides), Cost()), digest, log)


def _allowances(reports: Sequence[PassReport]) -> tuple[Allowance, ...]:
    found: dict[tuple[object, ...], Allowance] = {}
    for each in (allowance for report in reports for allowance in report.allowances):
        key = each.rule, each.where
        known = found.get(key)
        found[key] = each if known is None else msgspec.structs.replace(known, count=known.count + each.count)
    return tuple(found.values())


def _stubs(reports: Sequence[PassReport]) -> tuple[StubUse, ...]:
    calls: dict[tuple[str, str, str], int] = {}
    for each in (stub for report in reports for stub in report.stubs):
        calls[each.module, each.name, each.kind] = calls.get((each.module, each.name, each.kind), 0) + each.calls
    return tuple(StubUse(*key, count) for key, count in calls.items())
