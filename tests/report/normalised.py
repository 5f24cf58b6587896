"""Reports without times, costs, cache hits and logs, so that two runs with the same results compare equal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.observation import Cost

if TYPE_CHECKING:
    from diffcheck.verdict import CaseReport, PassReport, Report, SideReport


def normal(report: Report) -> Report:
    """The report in its normal form."""
    return msgspec.structs.replace(report, started="", elapsed_ns=0, cases=tuple(_case(each) for each in report.cases))


def _case(case: CaseReport) -> CaseReport:
    return msgspec.structs.replace(case, elapsed_ns=0, cached=(), passes=tuple(_pass(each) for each in case.passes))


def _pass(each: PassReport) -> PassReport:
    return msgspec.structs.replace(each, oracle=_side(each.oracle), subject=_side(each.subject))


def _side(side: SideReport | None) -> SideReport | None:
    """The number of executions stays; their cost and the log, which may contain times, do not."""
    return side and msgspec.structs.replace(side, cost=Cost(executions=side.cost.executions), log="")
