"""Faults planted and localised, one after the other, from a seed: ``python -m tests.triage.trials --seed 1 --faults 60``."""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import msgspec

from diffcheck import backend, process
from diffcheck.faults.engine import FaultyBackend
from diffcheck.observation import Returned
from diffcheck.runner import plan as plans
from diffcheck.runner.once import Wanted, case_of
from diffcheck.runner.plan import Plan
from diffcheck.runner.request import Request
from diffcheck.triage.localise import Localiser, Rows
from diffcheck.triage.log import NEVER, LogParameters
from diffcheck.triage.result import Localised
from diffcheck.triage.sides import LogSide
from tests.doubles.instruction_faults import CLASSES, Planted, draw

CORPUS = Path(__file__).parents[2] / "corpus"
FOLDERS = ("01-decisions", "02-programs", "03-arithmetic", "04-memory", "05-tables", "06-control", "07-traps")
TRIES = 60


class Trial(msgspec.Struct, frozen=True):
    """A fault, the number of events before its first wrong execution, and what localising said."""

    program: str
    fault: Planted
    truth: int
    words: bool
    answer: Localised
    elapsed_s: float

    @property
    def exact(self) -> bool:
        answer, fault = self.answer, self.fault
        return (answer.depth, answer.event, answer.function_index, answer.offset) == (
            "instruction",
            self.truth,
            fault.function,
            fault.offset,
        )


class Bench:
    """Plans of the corpus's programs, and the engines."""

    def __init__(self, reactor: process.Reactor, folder: Path) -> None:
        self.host = backend.Host(reactor, folder)
        self.oracle = backend.create("wasmtime", {})
        self.inner = backend.create("wasmtime", {})
        self.request = Request((), subject="wasmtime", mode="capsule", deadline_s=30.0)
        self._plans: dict[str, Plan] = {}

    def close(self) -> None:
        self.oracle.close()
        self.inner.close()

    def programs(self) -> list[str]:
        return sorted(str(path) for folder in FOLDERS for path in (CORPUS / folder).glob("*.wasm"))

    def plan(self, program: str) -> Plan:
        if program not in self._plans:
            self._plans[program] = plans.make(
                case_of(Wanted(program)), self.request, self.oracle, self.oracle, self.oracle, self.host
            )
        return self._plans[program]

    def truth(self, plan: Plan, planted: Planted, rows: Rows) -> int | None:
        """How many events come before the first wrong execution; None where there is none on those rows."""
        work = Localiser(plan, self.request, self.oracle, self.inner, self.host)
        made = work.instrumented("rotate", "full", {})
        engine = FaultyBackend(self.inner, planted.fault(plan.module, truth=True), words=False)
        sides = [LogSide(each, work._capsule(made, each), plan.limits, self.host) for each in (engine, self.inner)]
        parameters = LogParameters(rows.first, rows.last, rows.flags, step=NEVER)
        faulty, plain = (side.logged(parameters) for side in sides)
        assert faulty.log is not None, f"{planted}: {faulty.outcome}"
        assert plain.log is not None
        same = faulty.log.count == plain.log.count and type(faulty.outcome) is type(plain.outcome)
        if same and (isinstance(plain.outcome, Returned) or faulty.outcome.kind == plain.outcome.kind):
            return None
        return faulty.log.count

    def trial(self, rng: random.Random, kind: str, *, words: bool) -> Trial | None:
        """One fault of a class that shows; None where none was found in so many tries."""
        for _ in range(TRIES):
            program = rng.choice(self.programs())
            plan = self.plan(program)
            planted = draw(rng, plan.module, plan.artifact, kind) if plan.module is not None and plan.capsule is not None else None
            if (
                planted is None
                or self.truth(plan, planted, Rows(0, len(plan.rows) - plan.capsule.layout.n_init, 0, "", "", 0)) is None
            ):
                continue
            subject = FaultyBackend(self.inner, planted.fault(plan.module), words=words)
            work = Localiser(plan, self.request, self.oracle, subject, self.host)
            rows = work.rows()
            if isinstance(rows, Localised):
                continue  # the fault does not show
            truth = self.truth(plan, planted, rows)
            if truth is None:
                continue
            begun = time.monotonic()
            subject = FaultyBackend(self.inner, planted.fault(plan.module), words=words)
            answer = Localiser(plan, self.request, self.oracle, subject, self.host).localise()
            return Trial(Path(program).stem, planted, truth, words, answer, time.monotonic() - begun)
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=64)
    parser.add_argument("--words", action="store_true", help="an engine that carries windows, and nothing at a trap")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    trials: list[Trial] = []
    with process.Reactor() as reactor, process.private_folder() as folder:
        bench = Bench(reactor, folder)
        for at in range(given.faults):
            kind = CLASSES[at % len(CLASSES)].name
            trial = bench.trial(rng, kind, words=given.words)
            if trial is None:
                print(f"{at:3} {kind}: no such fault shows in {TRIES} tries", flush=True)
                continue
            trials.append(trial)
            mark = "exact" if trial.exact else "WRONG"
            print(
                f"{at:3} {mark} {trial.answer.runs} runs {trial.elapsed_s:.1f} s {trial.program} | {trial.fault} | event {trial.truth}",
                flush=True,
            )
            if not trial.exact or at < 3:
                print("      ", trial.answer, trial.answer.notes, flush=True)
        bench.close()
    exact = sum(each.exact for each in trials)
    runs = sorted(each.answer.runs for each in trials)
    print(
        f"{exact} of {len(trials)} exact; runs: median {runs[len(runs) // 2]}, most {runs[-1]}, over 8: {sum(each > 8 for each in runs)}"
    )


if __name__ == "__main__":
    main()
