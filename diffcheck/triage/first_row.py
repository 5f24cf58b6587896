"""The rows on which two engines differ, by an ordinary capsule pass: where localising begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.compare.findings import Findings
from diffcheck.errors import RunFailedError
from diffcheck.runner.capsule_pass import CapsulePass
from diffcheck.runner.locate import Budget
from diffcheck.runner.side import Side
from diffcheck.runner.wrong_instruction import in_recorder
from diffcheck.text import visible

if TYPE_CHECKING:
    from diffcheck.backend import Backend, Host, Oracle
    from diffcheck.runner.plan import Plan
    from diffcheck.runner.request import Request


class Rows(msgspec.Struct, frozen=True):
    """The rows that share the instance on which something differs, and the row as it was reported; ``runs`` found them.

    ``peak_bytes`` is the most memory that the subject's process had in these, ``memory`` the first place of a memory that differs.
    """

    first: int
    last: int
    flags: int
    row: str
    what: str
    runs: int
    peak_bytes: int = 0
    memory: str = ""


class _Watched(CapsulePass):
    """A capsule pass that keeps the first group with a divergence."""

    found: tuple[int, int] | None = None

    def _group(self, first: int) -> int:
        before = self.findings.total
        try:
            after = super()._group(first)
        except Exception:
            if self.findings.total > before and self.found is None:
                self.found = first, self.rows_total
            raise
        if self.findings.total > before and self.found is None:
            self.found = first, after
        return after


class NotShown(msgspec.Struct, frozen=True):
    """The engines do not differ on the capsule: why that is told, and how many runs of the subject showed it."""

    why: str
    runs: int


def diverging(
    plan: Plan, request: Request, engines: tuple[Oracle, Backend], host: Host, wanted: str = "", *, alone: bool = False
) -> Rows | NotShown:
    """The rows on which the subject differs from the oracle; ``wanted`` is a row to look at, by its name, ``alone`` whether without
    those before it. A RunFailedError where there is no such row.
    """
    assert plan.capsule is not None, "the caller looked"  # noqa: S101
    one = Side(engines[0], plan.oracle_capsule or plan.capsule, plan.limits, host, whole=True)
    other = Side(engines[1], plan.subject_capsule or plan.capsule, plan.limits, host)
    budget = Budget(request.max_passes)
    watched = _Watched(one, other, Findings(plan.places), budget, plan.functions, form=plan.form)
    report = watched.report()
    if wanted:
        names = [row.name for row in watched.layout.rows[watched.layout.n_init :]]
        if wanted not in names:
            raise RunFailedError(f"there is no row {visible(wanted)}", hint=f"rows are: {', '.join(map(visible, names[:12]))}")
        first, last, row = names.index(wanted) if alone else 0, names.index(wanted) + 1, wanted
    elif watched.found is None and not in_recorder(report):
        why = f"the engines do not differ on the capsule: {report.verdict}" + (f" ({report.reason})" if report.reason else "")
        why += "; what the untouched file shows alone (the direct pass) cannot be seen by instrumenting it"
        return NotShown(why, other.cost.executions)
    else:
        first, last = watched.found or (0, watched.rows_total)
        row = report.divergences[0].where.row if report.divergences else ""
    memory = next((each.where.item for each in report.divergences if each.kind == "memory"), "")
    return Rows(first, last, watched.flags, row, report.reason, other.cost.executions, other.cost.peak_bytes, memory)
