"""What a candidate does under the oracle: which functions run, and the values that their instructions leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.runner import plan as plans
from diffcheck.triage.localise import Localiser
from diffcheck.triage.log import NEVER, LogParameters
from diffcheck.triage.sides import LogSide
from diffcheck.values import WIDTHS, Value

if TYPE_CHECKING:
    from pathlib import Path

    from diffcheck.backend import Host, Oracle
    from diffcheck.corpus import Case
    from diffcheck.runner.request import Request
    from diffcheck.triage.checker import Question
    from diffcheck.triage.instrument import Instrumented
    from diffcheck.triage.log import Record

_RECORDS: Final = 300_000
_DISTINCT: Final = 3
_DEADLINE_S: Final = 5.0
"""A longer record than fits in this time is of no use to a reduction; it works without one."""


class Watched(msgspec.Struct, frozen=True):
    """By function and instruction: the first few different values, and the last one; ``whole`` where the record has every event."""

    executed: frozenset[int]
    values: dict[tuple[int, int], tuple[Value, ...]]
    whole: bool

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
        if plan.capsule is None or plan.module is None:
            return None
        work = Localiser(plan, self.request, self.oracle, self.oracle, self.host)
        made = work.instrumented("rotate", "full", {})
        side = LogSide(self.oracle, work._capsule(made, self.oracle), plan.limits, self.host)  # noqa: SLF001 - one package
        rows = len(plan.rows) - plan.capsule.layout.n_init
        parameters = LogParameters(0, rows, 0, quiet_alike=False, halt=NEVER, limit=_RECORDS)
        log = side.logged(parameters).log
        if log is None:
            return None
        records = log.records(0)
        if log.count > _RECORDS:  # the end of a long run as well
            late = msgspec.structs.replace(parameters, start=log.count - _RECORDS)
            more = side.logged(late).log
            records += more.records(late.start) if more is not None else ()
        return _read(made, records, whole=log.count <= 2 * _RECORDS)


def _read(made: Instrumented, records: tuple[Record, ...], *, whole: bool) -> Watched:
    executed: set[int] = set()
    found: dict[tuple[int, int], list[Value]] = {}
    low: dict[tuple[int, int], int] = {}
    for record in records:
        site = made.site(record.site)
        if site is None:
            continue
        executed.add(site.function)
        if site.role != "result" or site.number or not isinstance(site.type, str):
            continue
        key = site.function, site.position
        bits = record.value
        if site.type == "v128":
            if not site.half:
                low[key] = bits
                continue
            bits = low.get(key, 0) | bits << 64
        value = Value(site.type, bits & ((1 << WIDTHS[site.type]) - 1))
        values = found.setdefault(key, [])
        if len(values) > _DISTINCT:
            values[-1] = value
        else:
            values.append(value)
    return Watched(frozenset(executed), {key: tuple(dict.fromkeys(values)) for key, values in found.items()}, whole)
