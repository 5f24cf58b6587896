"""Faults planted, and the artifact reduced: one trial after the other, from a seed."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec

from diffcheck.backend import registry
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner.request import Request, Rows
from diffcheck.triage.reduce.interestingness import TimeBudget
from diffcheck.triage.reduce.reducer import reduce
from diffcheck.triage.reduce.reduction import Reduction, sizes
from diffcheck.triage.reduce.row_minimiser import RowMinimiser
from diffcheck.triage.session import Session
from diffcheck.triage.target import find
from diffcheck.wasm import module as wasm
from diffcheck.wasm.module import Module
from diffcheck.wasm.typing import Body, type_body
from tests.doubles.instruction_faults import ALWAYS, BY_CLASS, Planted
from tests.doubles.instruction_faults import _places as places
from tests.doubles.semantic_faults import everywhere


class Reduced(msgspec.Struct, frozen=True):
    """What became of one: sizes in bytes of code; ``same`` whether the reduced module shows the same signature, ``valid`` whether the
    oracle takes it.
    """

    program: str
    fault: str
    before: int
    after: int
    rows: tuple[str, ...]
    same: bool
    valid: bool
    whole: bool
    elapsed_s: float
    candidates: int
    wasm: bytes

    @property
    def share(self) -> float:
        return self.after / self.before

    def __str__(self) -> str:
        marks = (
            ("" if self.same else " ANOTHER SIGNATURE")
            + ("" if self.valid else " INVALID")
            + ("" if self.whole else " (time over)")
        )
        return (
            f"{self.share:6.1%} {self.before:7,} to {self.after:5,} bytes, {self.elapsed_s:5.1f} s, {self.candidates:4} candidates{marks}"
            f" | {self.program} | {self.fault}"
        )


@cache
def executed(program: str, rows: Rows) -> frozenset[tuple[int, str]]:
    """The instructions that a program's rows execute, by function and name, as far as they leave a number."""
    request = Request((program,), subject="wasmtime", mode="capsule", deadline_s=20.0, rows=rows)
    with Session(request, find(program, None, ""), TimeBudget(None), lambda _: None) as session:
        trace = session.trace(session.artifact, session.rows)
    places = trace.values if trace is not None else {}
    return frozenset((function, _typed(program, function).code[position].instruction.name) for function, position in places)


@cache
def _typed(program: str, function: int) -> Body:
    module, data = _bodies(program)
    offset, size = module.bodies[function - module.n_imported("func")]
    return type_body(module, function, data[offset : offset + size], offset)


@cache
def _bodies(program: str) -> tuple[Module, bytes]:
    data = Path(program).read_bytes()
    return wasm.read(data), data


@cache
def _places(program: str, kind: str, rows: Rows) -> tuple[tuple[str, int, int, int, str], ...]:
    """Where a fault of a class may stand: in functions that run, and where the instruction leaves a value, at one that is executed."""
    module, data = _bodies(program)
    ran = executed(program, rows)
    functions = {function for function, _ in ran}
    behind = BY_CLASS[kind].place == "behind"
    return tuple(
        (name, function, *rest)
        for name, function, *rest in places(module, data, BY_CLASS[kind])
        if function in functions and (not behind or (function, name) in ran)
    )


def planted(rng: random.Random, program: str, kind: str, rows: Rows = "declared") -> Planted | None:
    """A fault of a class for a program, that fires whenever its trigger does."""
    possible = _places(program, kind, rows)
    if not possible:
        return None
    name = rng.choice(sorted({each[0] for each in possible}))
    _, function, occurrence, offset, type_ = rng.choice([each for each in possible if each[0] == name])
    divisor = 1 if kind in ALWAYS else rng.choice((1, 2, 3, 5))
    bit = 1 << rng.randrange({"i32.store8": 7, "i64.store8": 7, "i32.store16": 15, "i64.store16": 15}.get(name, 30))
    return Planted(kind, name, function, occurrence, offset, type_, bit, divisor, rng.randrange(divisor), 0, everywhere=True)


def trial(
    program: str, fault: Planted, rows: Rows = "declared",
    *, budget_s: float = 300.0, say: Callable[[str], None] = lambda _: None,
) -> Reduced | None:  # fmt: skip
    """Reduce one; None where the fault does not show. ``rows`` as in ``Request``."""
    request = Request((program,), subject="wasmtime", mode="capsule", deadline_s=5.0, rows=rows)
    subject = FaultyBackend(registry.create("wasmtime", {}), everywhere(fault), words=False)
    begun = time.monotonic()
    with Session(request, find(program, None, ""), TimeBudget(budget_s), say, subject=subject) as session:
        report = session.run(session.artifact, session.rows)
        symptom = session.symptom(report)
        if symptom is None or "refused" in symptom.subject:  # an engine that executes something wrongly takes every program
            return None
        checker = session.checker_for(symptom, report, None)
        fewer = RowMinimiser(checker, session.artifact, session.rows, lambda _: None)
        fewer.run(symptom.row)
        checker = session.checker_for(symptom, session.run(session.artifact, fewer.rows), None)
        work = Reduction(
            checker, fewer.rows, session.artifact,
            trace=lambda data: session.trace(data, fewer.rows), save=lambda _: None, say=say,
        )  # fmt: skip
        whole = reduce(work)
        elapsed = time.monotonic() - begun
        session.budget.end = math.inf
        last = session.run(work.best, fewer.rows)
        valid = session.oracle.validate(work.best, session.plan.limits, session.host) is None
        return Reduced(
            Path(program).stem, str(fault), sizes(session.artifact).code, sizes(work.best).code, fewer.rows,
            symptom.shown_by(last), valid, whole, elapsed, checker.tested, work.best,
        )  # fmt: skip
