"""What a candidate does under the oracle: which functions run, and the values that their instructions leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.runner import plan as plans
from diffcheck.runner import planning
from diffcheck.triage.localise.instrumenter import Instrumenter
from diffcheck.triage.reduce.straight_line import BRANCHES, Piece, piece
from diffcheck.triage.tracing.event_log import NEVER, LogParameters
from diffcheck.wasm.values import WIDTHS, Value

if TYPE_CHECKING:
    from diffcheck.backend.contract import Host, Oracle
    from diffcheck.cases.discovery import Case
    from diffcheck.runner.request import Request
    from diffcheck.triage.reduce.interestingness import Candidate
    from diffcheck.triage.tracing.event_log import Record
    from diffcheck.triage.tracing.instrument import Instrumentation, Site

_RECORDS: Final = 300_000
_DISTINCT: Final = 3
_DEADLINE_S: Final = 5.0
"""A reduction gains nothing from a longer trace; it works without one."""


class OracleTrace(msgspec.Struct, frozen=True):
    """The functions that ran, and by function and instruction the first few distinct values and the last one.

    ``pieces`` are the instructions with their operands, in the order of their first execution.
    """

    executed: frozenset[int]
    values: dict[tuple[int, int], tuple[Value, ...]]
    pieces: tuple[Piece, ...] = ()

    def at(self, function: int, position: int) -> tuple[Value, ...]:
        """The values of an instruction; empty if it did not run or leaves no number."""
        return self.values.get((function, position), ())


def trace_oracle(oracle: Oracle, host: Host, request: Request, case: Case, candidate: Candidate) -> OracleTrace | None:
    """Trace a candidate of ``case`` under the oracle; None if it has no capsule or the run has no log."""
    request = msgspec.structs.replace(request, mode="capsule", deadline_s=min(request.deadline_s, _DEADLINE_S))
    path = host.folder / "traced.wasm"
    path.write_bytes(candidate.wasm)
    case = msgspec.structs.replace(case, artifact=str(path), manifest="", rows=candidate.rows)
    plan = planning.make(case, request, oracle, oracle, oracle, host)
    if not isinstance(plan, plans.CapsulePlan):
        return None
    instrumenter = Instrumenter(plan, request, host)  # not the deterministic form: positions and bytes are the candidate's own
    program = instrumenter.instrument("rotate", "full", {})
    side = instrumenter.side(program, oracle)
    parameters = LogParameters(0, len(plan.rows) - plan.layout.n_init, 0, halt=NEVER, limit=_RECORDS)
    log = side.logged(parameters).log
    if log is None:
        return None
    records = log.records(0)
    if log.count > _RECORDS:  # also the end of a long run
        late = msgspec.structs.replace(parameters, start=log.count - _RECORDS)
        late_log = side.logged(late).log
        records += late_log.records(late.start) if late_log is not None else ()
    return _TraceReader(program, candidate.wasm).read(records)


class _TraceReader:
    """Collects values and pieces from a candidate's records."""

    def __init__(self, program: Instrumentation, wasm: bytes) -> None:
        self.program, self.wasm = program, wasm
        self.executed: set[int] = set()
        self.values: dict[tuple[int, int], list[Value]] = {}
        self.last: dict[tuple[int, int], Value] = {}
        self.pieces: dict[Piece, None] = {}
        self.branches: dict[int, dict[int, list[int]]] = {}

    def read(self, records: tuple[Record, ...]) -> OracleTrace:
        """The trace of all records."""
        for record in records:
            site = self.program.site(record.site)
            if site is None:
                continue
            self.executed.add(site.function)
            if site.position < 0 or site.number:
                continue
            if not site.half:
                self._piece(site.function, site.position)
            if site.role == "result" and isinstance(site.type, str):
                self._value(site, record.value)
        values = {key: tuple(dict.fromkeys(found)) for key, found in self.values.items()}
        return OracleTrace(frozenset(self.executed), values, tuple(self.pieces))

    def _value(self, site: Site, bits: int) -> None:
        key = site.function, site.position
        type_ = str(site.type)
        if type_ == "v128" and site.half:
            bits = self.last[key].bits | bits << 64 if key in self.last else bits << 64
        value = Value(type_, bits & ((1 << WIDTHS[type_]) - 1))
        self.last[key] = value
        if type_ == "v128" and not site.half:
            return
        values = self.values.setdefault(key, [])
        if len(values) > _DISTINCT:
            values[-1] = value
        else:
            values.append(value)
        for branch in self._branches(site.function).get(site.position, ()):
            self._piece(site.function, branch)

    def _piece(self, function: int, position: int) -> None:
        """Add an instruction with the operands that it had, unless it is there with the same ones."""
        body = self.program.bodies_of.get(function)
        if body is None:
            return
        typed = body.code[position]
        at = typed.instruction
        operands = [self.last.get((function, each)) for each in typed.producers]
        found = piece(typed, self.wasm[at.offset : at.end], operands)
        if found is not None:
            self.pieces[found] = None

    def _branches(self, function: int) -> dict[int, list[int]]:
        """The branches of a function by the position of the instruction that leaves their condition."""
        if function not in self.branches:
            branches: dict[int, list[int]] = {}
            body = self.program.bodies_of.get(function)
            for at, each in enumerate(body.code if body is not None else ()):
                if each.instruction.name in BRANCHES and each.producers:
                    branches.setdefault(each.producers[-1], []).append(at)
            self.branches[function] = branches
        return self.branches[function]
