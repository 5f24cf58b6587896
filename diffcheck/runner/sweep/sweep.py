"""The sweep: calls, packed loops, traps and random operands, and the search for the operands of each difference."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from diffcheck.runner.sweep.attribution import needs
from diffcheck.runner.sweep.coverage import OUTCOMES, Cell
from diffcheck.runner.sweep.operands import RANDOM
from diffcheck.runner.sweep.programs import SCAFFOLD, Piece, Program, call, calls, narrowed, packed, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from diffcheck.runner.sweep.coverage import Outcome
    from diffcheck.runner.sweep.operation import Operation
    from diffcheck.runner.sweep.programs import Row
    from diffcheck.verdict import CaseReport

    Execute = Callable[[Sequence[Program], float | None], Iterator[tuple[Program, CaseReport]]]
    """Runs programs under both engines until a time of ``time.monotonic``; those that did not end by then have no report."""

T = TypeVar("T")
_FUNCTIONS: Final = 24
_PIECES: Final = 64
_TRAPPING_FUNCTIONS: Final = 6
_ROWS: Final = 120
_TRAPS_SHARE: Final = 0.2
_OF_PROGRAM: Final = frozenset({"counter", "instruction"})
"""Divergences besides that of a row: counters of the deterministic form, and the place of a NaN that is not allowed."""
_NO_TIME: Final = "the time was used up"


class Sweep:
    """Checks operations. ``note`` receives a line for each stage.

    ``found`` are the differences: rows with their operands, and packed rows of which no single operands differ.
    """

    def __init__(self, operations: Iterable[Operation], execute: Execute, note: Callable[[str], None] = lambda _: None) -> None:
        self._operations, self._execute, self._note = tuple(operations), execute, note
        self._cells: dict[tuple[str, str], Cell] = {}
        self.found: list[Row] = []
        self.packed_checks = self.packed_cpu_ns = 0

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells so far, in order of the families and instructions."""
        return tuple(sorted(self._cells.values(), key=lambda each: (each.family, each.instruction, each.class_)))

    @property
    def checks_per_s(self) -> float:
        """Checks in loops by CPU second of the subject; 0 if unknown."""
        return self.packed_checks / self.packed_cpu_ns * 1e9 if self.packed_cpu_ns else 0.0

    def run(self, seed: int, budget_s: float) -> None:
        """Check boundary operands, then traps for a part of the budget, then random operands until it is used up."""
        until = time.monotonic() + budget_s
        base = [each for each in self._operations if each.instruction in SCAFFOLD and each.rows]
        loops = [each for each in self._operations if not each.rows]
        self._calls(base, "instructions of the loops")
        wrong = {each.operation.instruction for each in self.found} & SCAFFOLD
        self._calls([each for each in self._operations if each.rows and each not in base], "calls")
        if wrong:
            for each in loops:
                self._settle(packed([whole(each)]).rows, "not reached", f"the loops need {', '.join(sorted(wrong))}")
        else:
            self._packed(loops, 0, "loops")
        self._traps(time.monotonic() + _TRAPS_SHARE * budget_s)
        round_ = 0
        while loops and not wrong and time.monotonic() < until:
            round_ += 1
            self._packed(loops, seed * 1_000_003 + round_, f"random operands, round {round_}", until)
        self._attribute()

    # Stages.

    def _calls(self, operations: Sequence[Operation], stage: str) -> None:
        rows = [
            call(each, values, class_)
            for each in operations
            for class_, values in each.cases()
            if each.traps is None or not each.traps(values)
        ]
        self._checked(self._programs(rows, _FUNCTIONS), stage)

    def _packed(self, operations: Sequence[Operation], seed: int, stage: str, until: float | None = None) -> None:
        groups: dict[object, list[Piece]] = defaultdict(list)
        for each in operations:
            groups[each.fields, "relaxed" in each.instruction].append(whole(each, seed))
        self._checked([packed(part) for group in groups.values() for part in _chunks(group, _PIECES)], stage, until)

    def _traps(self, until: float) -> None:
        """Trapping operands: the first of each operation and class, then the second, and so on."""
        by_cell: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for each in self._operations:
            if each.traps is not None:
                for class_, values in each.cases():
                    if each.traps(values):
                        by_cell[each.name, class_].append(call(each, values, f"trap: {class_}"))
        rounds = ([row for row in round_ if row is not None] for round_ in zip_longest(*by_cell.values()))
        for rows in islice(rounds, 1 << 20):
            if time.monotonic() > until:
                self._settle(rows, "not reached", _NO_TIME)
                continue
            self._checked(self._programs(rows, _TRAPPING_FUNCTIONS), "traps", until)

    def _programs(self, rows: Iterable[Row], functions: int) -> list[Program]:
        """Programs of calls; operations with equal fields stand together."""
        groups: dict[object, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for each in rows:
            groups[each.operation.fields, each.operation.padded][each.operation.name].append(each)
        programs = []
        for group in groups.values():
            for part in _chunks(list(group.values()), functions):
                programs += [calls(each) for each in _chunks([row for rows in part for row in rows], _ROWS)]
        return programs

    # Results.

    def _checked(self, programs: Sequence[Program], stage: str, until: float | None = None) -> None:
        """Run programs, enter the results into the cells, and find the operands of what differs."""
        if not programs:
            return
        self._note(f"{stage}: {len(programs)} programs, {sum(row.checks for each in programs for row in each.rows):,} checks")
        differing: dict[tuple[str, str], Row] = {}
        for row in self._run(programs, until):
            differing.setdefault((row.operation.name, row.class_), row)
        if differing:
            self._note(f"searching the operands of {len(differing)} differing cells")
            self._narrow(differing)

    def _run(self, programs: Sequence[Program], until: float | None = None, *, counted: bool = True) -> Iterator[Row]:
        """Yield the rows that differ. A program whose difference has no row is divided."""
        left = list(programs)
        while left:
            done: set[int] = set()
            divided: list[Program] = []
            for program, report in self._execute(left, until):
                done.add(id(program))
                halves, rows = self._judged(program, report, counted=counted)
                divided += halves
                yield from rows
            for each in left if counted else ():
                if id(each) not in done and each.rows[0].class_ != RANDOM:
                    self._settle(each.rows, "not reached", _NO_TIME)
            left = divided

    def _judged(self, program: Program, report: CaseReport, *, counted: bool) -> tuple[tuple[Program, ...], list[Row]]:
        """The halves of a program that must be divided, or its differing rows."""
        every = [each for one in report.passes for each in one.divergences]
        found = {each.where.row for each in every if each.kind not in _OF_PROGRAM}
        located = found <= {each.text for each in program.rows} and len(every) == sum(
            each.divergences_total for each in report.passes
        )
        if report.verdict not in ("agree", "diverge") or not located:
            halves = program.halves()
            if halves:
                return halves, []
            found = {each.text for each in program.rows} if report.verdict == "diverge" else set()
            if not found:
                self._settle(program.rows, "unsupported", report.reason)
                return (), []
        if counted:
            self._count(program, report, found)
        return (), [each for each in program.rows if each.text in found]

    def _count(self, program: Program, report: CaseReport, found: set[str]) -> None:
        allowed = {each.where.row for one in report.passes for each in one.allowances}
        for each in program.rows:
            outcome: Outcome = "diverge" if each.text in found else "allowed" if each.text in allowed else "agree"
            self._settle([each], outcome)
        if program.pieces and not found:
            self.packed_checks += sum(each.checks for each in program.rows)
            self.packed_cpu_ns += sum(each.subject.cost.cpu_ns or 0 for each in report.passes if each.subject is not None)

    def _settle(self, rows: Iterable[Row], outcome: Outcome, reason: str = "") -> None:
        for each in rows:
            key = each.operation.instruction, each.class_
            old = self._cells.get(key) or Cell(each.operation.family, *key, "agree")
            checks = each.checks if outcome in ("agree", "allowed", "diverge") else 0
            findings = (*old.findings, each.operation.name) if outcome == "diverge" else old.findings
            worst = max(old.outcome, outcome, key=OUTCOMES.index)
            self._cells[key] = msgspec.structs.replace(
                old, outcome=worst, checks=old.checks + checks, findings=tuple(dict.fromkeys(findings)), reason=reason or old.reason
            )

    def _attribute(self) -> None:
        """Take out the differences that follow from another instruction."""
        following = needs(self.found)
        self.found = [each for each in self.found if each.operation.name not in following]
        for key, cell in self._cells.items():
            own = tuple(each for each in cell.findings if each not in following)
            if own != cell.findings:
                reason = f"it needs {following[next(each for each in cell.findings if each in following)]}, which is wrong"
                outcome: Outcome = "diverge" if own else "not reached"
                self._cells[key] = msgspec.structs.replace(cell, outcome=outcome, findings=own, reason="" if own else reason)

    def _narrow(self, differing: dict[tuple[str, str], Row]) -> None:
        """Divide differing rows until each is one call."""
        while differing:
            self.found += [each for each in differing.values() if not each.packed]
            differing = {key: each for key, each in differing.items() if each.packed}
            finer = {key: narrowed(each) for key, each in differing.items()}
            pieces = [each for each in finer.values() if isinstance(each, Piece)]
            rows = [row for each in finer.values() if not isinstance(each, Piece) for row in each]
            programs = [*map(packed, _chunks(pieces, _PIECES)), *self._programs(rows, _FUNCTIONS)]
            again: dict[tuple[str, str], Row] = {}
            for row in self._run(programs, counted=False):
                again.setdefault((row.operation.name, row.class_), row)
            self.found += [each for key, each in differing.items() if key not in again]
            differing = again


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
