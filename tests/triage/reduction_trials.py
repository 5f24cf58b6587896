"""Faults planted, and the artifact reduced: one trial after the other, from a seed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from diffcheck import backend
from diffcheck.faults.engine import FaultyBackend
from diffcheck.runner.request import Request
from diffcheck.triage.checker import Budget
from diffcheck.triage.minimise import Minimiser
from diffcheck.triage.reduce import Reducer, sizes
from diffcheck.triage.session import Session
from diffcheck.triage.target import find
from diffcheck.wasm import module as wasm
from tests.doubles.instruction_faults import Planted, draw
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


def planted(rng: random.Random, program: str, kind: str) -> Planted | None:
    """A fault of a class for a program, that fires whenever its trigger does."""
    data = Path(program).read_bytes()
    found = draw(rng, wasm.read(data), data, kind)
    return msgspec.structs.replace(found, skip=0) if found is not None else None


def trial(program: str, fault: Planted, *, budget_s: float = 300.0, say: Callable[[str], None] = lambda _: None) -> Reduced | None:
    """Reduce one; None where the fault does not show."""
    request = Request((program,), subject="wasmtime", mode="capsule", deadline_s=5.0)
    subject = FaultyBackend(backend.create("wasmtime", {}), everywhere(fault), words=False)
    begun = time.monotonic()
    with Session(request, find(program, None, ""), Budget(budget_s), say, subject=subject) as session:
        report = session.run(session.artifact, session.rows)
        symptom = session.symptom(report)
        if symptom is None:
            return None
        checker = session.looking_for(symptom, report, None)
        rows = Minimiser(checker, session.artifact, session.rows, lambda _: None)
        rows.run(symptom.row)
        work = Reducer(
            checker, rows.rows, session.artifact,
            watch=lambda data: session.watch(data, rows.rows), save=lambda _: None, say=say,
        )  # fmt: skip
        whole = work.run()
        elapsed = time.monotonic() - begun
        session.budget.until = None
        last = session.run(work.best, rows.rows)
        valid = session.oracle.validate(work.best, session.plan.limits, session.host) is None
        return Reduced(
            Path(program).stem, str(fault), sizes(session.artifact).code, sizes(work.best).code, rows.rows,
            symptom.shown_by(last), valid, whole, elapsed, checker.asked, work.best,
        )  # fmt: skip
