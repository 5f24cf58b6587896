"""What a candidate does under the oracle: which functions run, and the values that their instructions leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.runner import plan as plans
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.reduce.straight_line import BRANCHES, Piece, piece
from diffcheck.triage.tracing.event_log import NEVER, LogParameters
from diffcheck.values import WIDTHS, Value

if TYPE_CHECKING:
    from pathlib import Path

    from diffcheck.backend.contract import Host, Oracle
    from diffcheck.cases.discovery import Case
    from diffcheck.runner.request import Request
    from diffcheck.triage.reduce.interestingness import Question
    from diffcheck.triage.tracing.event_log import Record
    from diffcheck.triage.tracing.instrument import Instrumented, Site

_RECORDS: Final = 300_000
_DISTINCT: Final = 3
_DEADLINE_S: Final = 5.0
"""A longer record than fits in this time is of no use to a reduction; it works without one."""


class Watched(msgspec.Struct, frozen=True):
    """By function and instruction: the first few different values, and the last one; ``whole`` where the record has every event.

    ``pieces`` are the instructions with what they took, in the order in which each was first executed.
    """

    executed: frozenset[int]
    values: dict[tuple[int, int], tuple[Value, ...]]
    whole: bool
    pieces: tuple[Piece, ...] = ()

    def at(self, function: int, position: int) -> tuple[Value, ...]:
        """The values that an instruction left; none where it did not run, or leaves no number."""
        return self.values.get((function, position), ())


class Watcher:
    """Runs candidates under the oracle alone."""

    def __init__(self, oracle: Oracle, request: Request, case: Case, folder: Path, host: Host) -> None:
        self.oracle, self.case, self.host = oracle, case, host
        self.request = msgspec.structs.replace(request, mode="capsule", deadline_s=min(request.deadline_s, _DEADLINE_S))
        self.path = folder / "watched.wasm"

    def watch(self, question: Question) -> Watched | None:
        """What was seen; None where the candidate has no capsule or did not come to a log."""
        self.path.write_bytes(question.wasm)
        case = msgspec.structs.replace(self.case, artifact=str(self.path), manifest="", rows=question.rows)
        plan = plans.make(case, self.request, self.oracle, self.oracle, self.oracle, self.host)
        if not isinstance(plan, plans.CapsulePlan):
            return None
        work = Localiser(plan, self.request, self.oracle, self.oracle, self.host)
        work.use(plan)  # not the deterministic form: positions and bytes are the candidate's own
        made = work.instrumented("rotate", "full", {})
        side = work.side(made, self.oracle)
        rows = len(plan.rows) - plan.layout.n_init
        parameters = LogParameters(0, rows, 0, halt=NEVER, limit=_RECORDS)
        log = side.logged(parameters).log
        if log is None:
            return None
        records = log.records(0)
        if log.count > _RECORDS:  # the end of a long run as well
            late = msgspec.structs.replace(parameters, start=log.count - _RECORDS)
            more = side.logged(late).log
            records += more.records(late.start) if more is not None else ()
        return _Reading(made, question.wasm).read(records, whole=log.count <= 2 * _RECORDS)


class _Reading:
    """What a candidate's records say."""

    def __init__(self, made: Instrumented, wasm: bytes) -> None:
        self.made, self.wasm = made, wasm
        self.executed: set[int] = set()
        self.found: dict[tuple[int, int], list[Value]] = {}
        self.last: dict[tuple[int, int], Value] = {}
        self.pieces: dict[Piece, None] = {}
        self.branches: dict[int, dict[int, list[int]]] = {}

    def read(self, records: tuple[Record, ...], *, whole: bool) -> Watched:
        """Go through all of them."""
        for record in records:
            site = self.made.site(record.site)
            if site is None:
                continue
            self.executed.add(site.function)
            if site.position < 0 or site.number:
                continue
            if not site.half:
                self._piece(site.function, site.position)
            if site.role == "result" and isinstance(site.type, str):
                self._value(site, record.value)
        values = {key: tuple(dict.fromkeys(found)) for key, found in self.found.items()}
        return Watched(frozenset(self.executed), values, whole, tuple(self.pieces))

    def _value(self, site: Site, bits: int) -> None:
        key = site.function, site.position
        type_ = str(site.type)
        if type_ == "v128" and site.half:
            bits = self.last[key].bits | bits << 64 if key in self.last else bits << 64
        value = Value(type_, bits & ((1 << WIDTHS[type_]) - 1))
        self.last[key] = value
        if type_ == "v128" and not site.half:
            return
        values = self.found.setdefault(key, [])
        if len(values) > _DISTINCT:
            values[-1] = value
        else:
            values.append(value)
        for branch in self._branches(site.function).get(site.position, ()):
            self._piece(site.function, branch)

    def _piece(self, function: int, position: int) -> None:
        """Note an instruction with the operands that it had; an instruction over the same ones is noted once."""
        body = self.made.bodies_of.get(function)
        if body is None:
            return
        typed = body.code[position]
        at = typed.instruction
        operands = [self.last.get((function, each)) for each in typed.producers]
        made = piece(typed, self.wasm[at.offset : at.end], operands)
        if made is not None:
            self.pieces[made] = None

    def _branches(self, function: int) -> dict[int, list[int]]:
        """The branches of a function by the position of what leaves their condition."""
        if function not in self.branches:
            found: dict[int, list[int]] = {}
            body = self.made.bodies_of.get(function)
            for at, each in enumerate(body.code if body is not None else ()):
                if each.instruction.name in BRANCHES and each.producers:
                    found.setdefault(each.producers[-1], []).append(at)
            self.branches[function] = found
        return self.branches[function]
