"""Faults planted, and the artifact reduced: one trial after the other, from a seed."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
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


def trials(
    programs: Sequence[str], kinds: Sequence[str], rng: random.Random, count: int, budget_s: float, say: Callable[[str], None]
) -> list[Reduced]:
    """So many faults that show, class after class."""
    found: list[Reduced] = []
    at = 0
    while len(found) < count and at < 40 * count:
        kind = kinds[len(found) % len(kinds)] if at % 8 else rng.choice(kinds)
        at += 1
        program = rng.choice(programs)
        fault = planted(rng, program, kind)
        done = trial(program, fault, budget_s=budget_s) if fault is not None else None
        if done is not None:
            found.append(done)
            say(
                f"{done.share:6.1%} {done.before:7,} to {done.after:5,} bytes, {done.elapsed_s:5.1f} s, {done.candidates:4} candidates"
                f"{'' if done.same else ' ANOTHER SIGNATURE'}{'' if done.valid else ' INVALID'}{'' if done.whole else ' (time over)'}"
                f" | {done.program} | {done.fault}"
            )
    return found
