"""The sweep: calls, packed loops, traps and random operands, and the search for the operands of each difference."""

from __future__ import annotations

import time
from collections import defaultdict
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from diffcheck.runner.passes.refusals import LACKED
from diffcheck.runner.sweep.attribution import instructions, needs
from diffcheck.runner.sweep.coverage import OUTCOMES, Cell
from diffcheck.runner.sweep.operands import RANDOM
from diffcheck.runner.sweep.programs import SCAFFOLD, TRAP, PackedFunction, SweepProgram, call, calls, narrowed, packed, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from diffcheck.runner.sweep.coverage import Outcome
    from diffcheck.runner.sweep.operation import Operation
    from diffcheck.runner.sweep.programs import Row
    from diffcheck.verdict import CaseReport

    Execute = Callable[[Sequence[SweepProgram], float | None], Iterator[tuple[SweepProgram, CaseReport]]]
    """Runs programs under both engines until a time of ``time.monotonic``; those that did not end by then have no report."""

T = TypeVar("T")
_FUNCTIONS: Final = 24
_PIECES: Final = 64
_ROWS: Final = 120
_TRAPS_SHARE: Final = 0.2
_OF_PROGRAM: Final = frozenset({"counter", "instruction"})
"""Divergences besides that of a row: counters of the deterministic form, and the place of a NaN that is not allowed."""
_STATE: Final = _OF_PROGRAM | {"global", "table size", "table", "memory size", "memory"}
"""Divergences of the state after all rows, which follow from a row that differs."""
_MOST: Final = 0.5
_FIRST: Final = frozenset({"i32.const", "i64.const", "local.get"})
_REASON: Final = 160
_FOLLOWS: Final = "it differs only together with others"
_NO_TIME: Final = "the time was used up"


class Sweep:
    """Checks operations. ``note`` receives a line for each stage; once ``stopped`` returns true, no other begins.

    ``found`` are the differences: rows with their operands, and packed rows of which no single operands differ.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        execute: Execute,
        note: Callable[[str], None] = lambda _: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._operations, self._execute, self._note, self._stopped = tuple(operations), execute, note, stopped
        self._cells: dict[tuple[str, str], Cell] = {}
        self.found: list[Row] = []
        self._not_alone: list[Row] = []
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
        others = list(self._operations)
        for instructions_, stage in ((_FIRST, "constants"), (SCAFFOLD, "instructions of the loops")):
            base = [each for each in others if each.instruction in instructions_ and each.rows and each.plain]
            self._calls(base, stage)
            others = self._without_wrong([each for each in others if each not in base])
        self._calls([each for each in others if each.rows], "calls")
        loops = [each for each in others if not each.rows]
        self._packed(loops, 0, "loops")
        self._traps(others, time.monotonic() + _TRAPS_SHARE * budget_s)
        round_ = 0
        while loops and time.monotonic() < until and not self._stopped():
            round_ += 1
            self._packed(loops, seed * 1_000_003 + round_, f"random operands, round {round_}", until)
        self._attribute()

    def _without_wrong(self, operations: list[Operation]) -> list[Operation]:
        """The operations that need no instruction that is known to be wrong."""
        shares = self._shares()
        wrong = {each.operation.instruction for each in self.found if shares.get(each.operation.instruction, 0) > _MOST}
        left = operations if not wrong else []
        for each in operations if wrong else ():
            rows = packed([whole(each)]).rows if not each.rows else [call(each, values, class_) for class_, values in each.cases()]
            needed = wrong & instructions(rows[0]) - ({each.instruction} if each.rows else set())
            if needed:
                self._settle(rows, "not reached", f"it needs {', '.join(sorted(needed))}, which is wrong")
            else:
                left.append(each)
        return left

    # Stages.

    def _calls(self, operations: Sequence[Operation], stage: str) -> None:
        if self._stopped():  # before programs are made, which takes as long as many executions
            return
        rows = [
            call(each, values, class_)
            for each in operations
            for class_, values in each.cases()
            if each.traps is None or not each.traps(values)
        ]
        self._checked(self._programs(rows), stage)

    def _packed(self, operations: Sequence[Operation], seed: int, stage: str, until: float | None = None) -> None:
        if self._stopped():
            return
        groups: dict[object, list[PackedFunction]] = defaultdict(list)
        for each in operations:
            groups[each.fields, "relaxed" in each.instruction, each.proposal].append(whole(each, seed))
        self._checked([packed(part) for group in groups.values() for part in _chunks(group, _PIECES)], stage, until)

    def _traps(self, operations: Sequence[Operation], until: float) -> None:
        """Trapping operands: the first of each operation and class, then the second, and so on."""
        if self._stopped():
            return
        by_cell: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for each in operations:
            if each.traps is not None:
                for class_, values in each.cases():
                    if each.traps(values):
                        by_cell[each.name, class_].append(call(each, values, f"{TRAP}{class_}"))
        rounds = ([row for row in round_ if row is not None] for round_ in zip_longest(*by_cell.values()))
        for rows in islice(rounds, 1 << 20):
            if time.monotonic() > until:
                self._settle(rows, "not reached", _NO_TIME)
                continue
            self._checked(self._programs(rows), "traps", until)

    def _programs(self, rows: Iterable[Row]) -> list[SweepProgram]:
        """Programs of calls; operations with equal fields, of the same proposal, are put together."""
        groups: dict[object, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for each in rows:
            operation = each.operation
            groups[operation.fields, operation.padded, operation.proposal][operation.name].append(each)
        programs = []
        for group in groups.values():
            for part in _chunks(list(group.values()), _FUNCTIONS):
                programs += [calls(each) for each in _chunks([row for rows in part for row in rows], _ROWS)]
        return programs

    # Results.

    def _checked(self, programs: Sequence[SweepProgram], stage: str, until: float | None = None) -> None:
        """Run programs, enter the results into the cells, and find the operands of what differs."""
        if not programs or self._stopped():
            return
        self._note(f"{stage}: {len(programs)} programs, {sum(row.checks for each in programs for row in each.rows):,} checks")
        differing: dict[tuple[str, str], Row] = {}
        for row in self._run(programs, until):
            differing.setdefault((row.operation.name, row.class_), row)
        if differing:
            self._note(f"searching the operands of {len(differing)} differing cells")
            self._narrow(differing)

    def _run(self, programs: Sequence[SweepProgram], until: float | None = None, *, counted: bool = True) -> Iterator[Row]:
        """Yield the rows that differ. A program whose difference has no row is divided."""
        left = list(programs)
        while left:
            done: set[int] = set()
            divided: list[SweepProgram] = []
            for program, report in self._execute(left, until):
                done.add(id(program))
                halves, rows = self._judged(program, report, counted=counted)
                divided += halves
                yield from rows
            for each in left if counted else ():
                if id(each) not in done and each.rows[0].class_ != RANDOM:
                    self._settle(each.rows, "not reached", _NO_TIME)
            left = divided

    def _judged(self, program: SweepProgram, report: CaseReport, *, counted: bool) -> tuple[tuple[SweepProgram, ...], list[Row]]:
        """The halves of a program that must be divided, or its differing rows."""
        every = [each for one in report.passes for each in one.divergences]
        rows = {each.where.row for each in every if each.where.row}
        found = rows | {"" for each in every if not each.where.row and each.kind not in (_STATE if rows else _OF_PROGRAM)}
        located = found <= {each.text for each in program.rows} and len(every) == sum(
            each.divergences_total for each in report.passes
        )
        if report.verdict not in ("agree", "diverge") or not located:
            halves = program.halves()
            if halves and not (LACKED in report.reason and program.operations[0].proposal):
                return halves, []
            found = {each.text for each in program.rows} if report.verdict == "diverge" else set()
            if not found:
                self._settle(program.rows, "unsupported", report.reason[:_REASON])
                return (), []
        if counted:
            self._count(program, report, found)
        return (), [each for each in program.rows if each.text in found]

    def _count(self, program: SweepProgram, report: CaseReport, found: set[str]) -> None:
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
            if outcome == "not reached" and old.checks:
                continue
            checks = each.checks if outcome in ("agree", "allowed", "diverge") else 0
            findings = (*old.findings, each.operation.name) if outcome == "diverge" else old.findings
            worst = max(old.outcome, outcome, key=OUTCOMES.index)
            self._cells[key] = msgspec.structs.replace(
                old, outcome=worst, checks=old.checks + checks, findings=tuple(dict.fromkeys(findings)), reason=reason or old.reason
            )

    def _attribute(self) -> None:
        """Take out the differences that follow from another instruction."""
        shown = {each.operation.name for each in self.found}
        alone = dict.fromkeys((each.operation.name for each in self._not_alone if self.found), _FOLLOWS)
        self.found += [] if self.found else self._not_alone
        following = {name: why for name, why in alone.items() if name not in shown} | {
            name: f"it needs {wrong}, which is wrong" for name, wrong in needs(self.found, self._shares()).items()
        }
        self.found = [each for each in self.found if each.operation.name not in following]
        for key, cell in self._cells.items():
            own = tuple(each for each in cell.findings if each not in following)
            if own != cell.findings:
                reason = following[next(each for each in cell.findings if each in following)]
                outcome: Outcome = "diverge" if own else "not reached"
                self._cells[key] = msgspec.structs.replace(cell, outcome=outcome, findings=own, reason="" if own else reason)

    def _shares(self) -> dict[str, float]:
        """The share of the cells of each instruction that differ, without operands that trap."""
        counts: dict[str, list[bool]] = defaultdict(list)
        for each in self._cells.values():
            if not each.class_.startswith(TRAP) and each.checks:
                counts[each.instruction].append(each.outcome == "diverge")
        return {instruction: sum(each) / len(each) for instruction, each in counts.items()}

    def _narrow(self, differing: dict[tuple[str, str], Row]) -> None:
        """Divide differing rows until each is one call, in a program of its own operation."""
        while differing:
            finer = {key: narrowed(each) if each.packed else (each,) for key, each in differing.items()}
            pieces = [each for each in finer.values() if isinstance(each, PackedFunction)]
            rows: dict[str, list[Row]] = defaultdict(list)
            for key, each in finer.items():
                rows[key[0]] += [] if isinstance(each, PackedFunction) else each
            programs = [*map(packed, _chunks(pieces, _PIECES)), *(calls(each) for each in rows.values() if each)]
            again: dict[tuple[str, str], Row] = {}
            for row in self._run(programs, counted=False):
                again.setdefault((row.operation.name, row.class_), row)
            self.found += [each for key, each in again.items() if not each.packed]
            self._not_alone += [each for key, each in differing.items() if key not in again]
            differing = {key: each for key, each in again.items() if each.packed}


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
