"""Finds the rows on which two engines differ, by a normal capsule pass; localising starts there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.compare.findings import Findings
from diffcheck.errors import CaseError
from diffcheck.observation import Refused
from diffcheck.runner.passes.capsule_pass import CapsulePass
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.pass_state import RECORDER
from diffcheck.runner.passes.streams.window_search import RunBudget
from diffcheck.text import unescaped_name, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.backend.contract import Backend, Host
    from diffcheck.observation import LeftSlice
    from diffcheck.runner.passes.instances import Instance
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.runner.request import Request
    from diffcheck.verdict import PassReport


class DivergingRows(msgspec.Struct, frozen=True):
    """The rows [first, last) of the instance that differs, the ``flags`` of its run, and the reported row and difference.

    ``runs`` is the number of runs of the subject and ``peak_bytes`` the most memory of its process in them. ``memory`` is the first
    location in a memory that differs, or empty. ``in_recorder`` is whether the subject failed in the recorder, ``compared`` whether
    something else differs; ``refused`` is whether the subject refused the capsule.
    """

    first: int
    last: int
    flags: int
    row: str
    what: str
    runs: int
    peak_bytes: int = 0
    memory: str = ""
    in_recorder: bool = False
    compared: bool = True
    refused: bool = False

    @property
    def run(self) -> tuple[int, int, int]:
        """First row, last row and flags: the parameters of a run of these rows."""
        return self.first, self.last, self.flags


class NoDivergence(msgspec.Struct, frozen=True):
    """The engines do not differ on the capsule: the reason, and the number of runs of the subject.

    ``made_choices`` is whether the program had results that the specification leaves open.
    """

    why: str
    runs: int
    made_choices: bool = False


class _RowPass(CapsulePass):
    """A capsule pass that records the rows of the first instance with a difference: in the ``wanted`` row or the state after the rows,
    unless ``wanted`` is empty.
    """

    wanted = ""
    found: tuple[int, int] | None = None

    def _group(self, instance: Instance) -> int:
        before = self._differing()
        after = instance.last
        try:
            after = super()._group(instance)
        finally:
            if self.found is None and self._differing() > before:
                self.found = instance.first, after
        return after

    def _differing(self) -> int:
        if not self.wanted:
            return self.findings.total
        return sum(row in (self.wanted, "") for _, row, _ in self.findings.places)

    @property
    def of_row(self) -> bool:
        """Whether the wanted row itself differs."""
        return any(row == self.wanted for _, row, _ in self.findings.places)


class RowSearch:
    """Searches for the rows on which the subject differs from the oracle."""

    def __init__(self, plan: CapsulePlan, request: Request, engines: tuple[Backend, Backend], host: Host) -> None:
        self.plan, self.request = plan, request
        self.oracle = CapsuleSide(engines[0], plan.capsules.oracle, plan.limits, host, whole=True)
        self.subject = CapsuleSide(engines[1], plan.capsules.subject, plan.limits, host)
        self.names = plan.rows
        self.left: LeftSlice | None = None
        """Where the subject left the slice, if it did."""

    def find(self, wanted: str = "") -> DivergingRows | NoDivergence:
        """The rows of the first instance that differs, or the wanted row and the fewest rows before it with which it differs.

        Raises ``CaseError`` if there is no such row.
        """
        if not wanted:
            return self._first()
        wanted = unescaped_name(wanted, self.names)
        if wanted not in self.names:
            names = ", ".join(map(visible, self.names[:12]))
            raise CaseError(f"there is no row {visible(wanted)}", hint=f"the rows are: {names}")
        at = self.names.index(wanted) - self.plan.layout.n_init
        end = max(0, at + 1)  # a row of instantiation is in every run, also in one of no other rows
        why = f"row {visible(wanted)} agrees, and the state after it"
        for begin in _begins(at):
            part, report = self._run_pass(begin, end, wanted)
            if part.found is not None and not part.of_row and self._differs(begin, at):
                why = f"row {visible(wanted)} agrees; the state after it already differs after an earlier row"
            elif part.found is not None:
                return self._rows(part, report, (part.found[0], end), wanted, _first_divergence(report, wanted))
            if begin == 0 and report.in_recorder:
                return self._rows(part, report, (0, end), wanted, report.reason)
        return NoDivergence(why, self.subject.cost.executions, _made_choices(part))

    def _differs(self, first: int, last: int) -> bool:
        """Whether the rows [first, last) differ, or the state after them."""
        return first < last and self._run_pass(first, last, "")[0].found is not None

    def _first(self) -> DivergingRows | NoDivergence:
        part, report = self._run_pass(0, len(self.names) - self.plan.layout.n_init, "")
        if part.found is None and not report.in_recorder:
            why = f"the engines do not differ on the capsule: {report.verdict}" + (f" ({report.reason})" if report.reason else "")
            if not self.plan.no_direct:
                why += "; a difference of the direct pass alone cannot be localised by instrumentation"
            return NoDivergence(why, self.subject.cost.executions, _made_choices(part))
        row = report.divergences[0].where.row if report.divergences else ""
        return self._rows(part, report, part.found or (0, part.instances.last), row, report.reason)

    def _run_pass(self, begin: int, end: int, wanted: str) -> tuple[_RowPass, PassReport]:
        plan = self.plan
        part = _RowPass(
            self.oracle, self.subject, Findings(plan.manifest), RunBudget(self.request.max_passes), plan.functions, form=plan.form
        )
        part.wanted = wanted
        part.expected.why_unchecked = lambda _row, _first: "only the engines are compared"
        part.instances.first, part.instances.last, part.instances.limit = begin, end, end - begin + 1
        report = part.report()
        self.left = part.left[1] if part.left is not None else None
        return part, report

    def _rows(self, part: _RowPass, report: PassReport, range_: tuple[int, int], row: str, what: str) -> DivergingRows:
        cost = self.subject.cost
        memory = next((each.where.item for each in report.divergences if each.kind == "memory"), "")
        compared = any(each.where.item != RECORDER for each in report.divergences) or not report.in_recorder
        refused = report.subject is not None and isinstance(report.subject.outcome, Refused)
        return DivergingRows(
            *range_,
            part.instances.flags,
            row,
            what,
            cost.executions,
            cost.peak_bytes,
            memory,
            report.in_recorder,
            compared,
            refused,
        )


def _first_divergence(report: PassReport, row: str) -> str:
    """The first divergence in a row as text, else the reason of the report."""
    first = next((each for each in report.divergences if each.where.row == row), None)
    return f"row {row}: {first.where.item}: oracle {first.oracle}, subject {first.subject}" if first is not None else report.reason


def _made_choices(part: _RowPass) -> bool:
    return part.choices is None or bool(part.choices.nans or part.choices.relaxed)


def _begins(row: int) -> Iterator[int]:
    """First rows of runs that end with ``row``: only that row, then twice as many rows before it each time, finally all."""
    before = 0
    while before < row:
        yield row - before
        before = 2 * before or 1
    yield 0
