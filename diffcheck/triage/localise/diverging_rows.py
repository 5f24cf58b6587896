"""The rows on which two engines differ, by an ordinary capsule pass: where localising begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.compare.findings import Findings
from diffcheck.errors import RunFailedError
from diffcheck.runner.passes.capsule_pass import CapsulePass
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.window_search import RunBudget
from diffcheck.text import named, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.runner.passes.instances import Instance
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.runner.request import Request
    from diffcheck.verdict import PassReport


class DivergingRows(msgspec.Struct, frozen=True):
    """The rows that share the instance on which something differs, and the row as it was reported; ``runs`` found them.

    ``peak_bytes`` is the most memory that the subject's process had in these, ``memory`` the first place of a memory that differs.
    ``in_recorder`` is whether the subject ended in the recorder, so that no row differs.
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


class NotShown(msgspec.Struct, frozen=True):
    """The engines do not differ on the capsule: why, and how many runs of the subject showed it.

    ``chosen`` is whether the program made choices that the specification leaves open.
    """

    why: str
    runs: int
    chosen: bool = False


class _Part(CapsulePass):
    """A capsule pass that records the first instance with a difference, in the ``wanted`` row if one is named."""

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
        return sum(row == self.wanted for _, row, _ in self.findings.places)


class FirstRow:
    """Looks for the rows on which the subject differs from the oracle."""

    def __init__(self, plan: CapsulePlan, request: Request, engines: tuple[Oracle, Backend], host: Host) -> None:
        self.plan, self.request = plan, request
        self.oracle = CapsuleSide(engines[0], plan.capsules.oracle, plan.limits, host, whole=True)
        self.subject = CapsuleSide(engines[1], plan.capsules.subject, plan.limits, host)
        self.names = plan.rows[plan.layout.n_init :]

    def find(self, wanted: str = "") -> DivergingRows | NotShown:
        """The first instance that differs; or a wanted row's, with as few rows before it as show it. RunFailedError where there is no
        such row.
        """
        if not wanted:
            return self._first()
        wanted = named(wanted, self.names)
        if wanted not in self.names:
            names = ", ".join(map(visible, self.names[:12]))
            raise RunFailedError(f"there is no row {visible(wanted)}", hint=f"rows are: {names}")
        at = self.names.index(wanted)
        for begin in _begins(at):
            part, report = self._part(begin, at + 1, wanted)
            if part.found is not None:
                return self._rows(part, report, (part.found[0], at + 1), wanted, _words(report, wanted))
            if begin == 0 and report.in_recorder:
                return self._rows(part, report, (0, at + 1), wanted, report.reason)
        return NotShown(f"row {visible(wanted)} agrees", self.subject.cost.executions, _chosen(part))

    def _first(self) -> DivergingRows | NotShown:
        part, report = self._part(0, len(self.names), "")
        if part.found is None and not report.in_recorder:
            why = f"the engines do not differ on the capsule: {report.verdict}" + (f" ({report.reason})" if report.reason else "")
            why += "; what the untouched file shows alone (the direct pass) cannot be seen by instrumenting it"
            return NotShown(why, self.subject.cost.executions, _chosen(part))
        row = report.divergences[0].where.row if report.divergences else ""
        return self._rows(part, report, part.found or (0, part.instances.last), row, report.reason)

    def _part(self, begin: int, end: int, wanted: str) -> tuple[_Part, PassReport]:
        plan = self.plan
        part = _Part(
            self.oracle, self.subject, Findings(plan.places), RunBudget(self.request.max_passes), plan.functions, form=plan.form
        )
        part.wanted = wanted
        part.instances.first, part.instances.last, part.instances.limit = begin, end, end - begin + 1
        return part, part.report()

    def _rows(self, part: _Part, report: PassReport, range_: tuple[int, int], row: str, what: str) -> DivergingRows:
        cost = self.subject.cost
        memory = next((each.where.item for each in report.divergences if each.kind == "memory"), "")
        ended = report.in_recorder and not report.divergences
        return DivergingRows(*range_, part.instances.flags, row, what, cost.executions, cost.peak_bytes, memory, ended)


def _words(report: PassReport, row: str) -> str:
    """The first divergence in a row."""
    first = next((each for each in report.divergences if each.where.row == row), None)
    return f"row {row}: {first.where.item}: {first.oracle} against {first.subject}" if first is not None else report.reason


def _chosen(part: _Part) -> bool:
    return part.choices is None or bool(part.choices.nans or part.choices.relaxed)


def _begins(row: int) -> Iterator[int]:
    """Where to begin so that a row comes last: at itself, then with more and more rows before it, at the first one at last."""
    before = 0
    while before < row:
        yield row - before
        before = 2 * before or 1
    yield 0
