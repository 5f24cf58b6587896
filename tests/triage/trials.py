"""Instruction faults drawn from a seed, planted and localised, one after the other; ``tests/campaigns/localise.py`` prints them."""

from __future__ import annotations

import random
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.capsule import layout as lo
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import plan as plans
from diffcheck.runner import planning
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.plan import CapsulePlan
from diffcheck.runner.request import Request
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.location import Localisation
from tests.doubles.instruction_faults import CLASSES, Planted, Wrong, draw, first_wrong

CORPUS = Path(__file__).parents[2] / "corpus"
FOLDERS = ("01-decisions", "02-programs", "03-arithmetic", "04-memory", "05-tables", "06-control", "07-traps")
ENGINE = Path(__file__).parents[1] / "doubles" / "faulty_engine.py"
TRIES = 80
EVERYWHERE = tuple(each.name for each in CLASSES if each.name not in ("global", "global read", "local", "br_table"))
"""The classes of faults that may be everywhere, the tool's own code included: an operation of the others has any type, or its own labels."""


def child_with(planted: Planted, wasm: bytes, folder: Path) -> contract.Backend:
    """An engine of the harness protocol that has this fault, a process a run; its files are in the folder."""
    fault, artifact = folder / "fault.json", folder / "artifact.wasm"
    fault.write_bytes(msgspec.json.encode(planted))
    artifact.write_bytes(wasm)
    command = [sys.executable, "-I", str(ENGINE), str(fault), str(artifact)]
    return registry.create(f"harness:{shlex.join(command)}", {})


class Trial(msgspec.Struct, frozen=True):
    """A fault, its first wrong execution, and what localising said of it."""

    program: str
    fault: Planted
    truth: Wrong
    answer: Localisation
    elapsed_s: float

    @property
    def exact(self) -> bool:
        answer, truth = self.answer, self.truth
        found = (answer.depth, answer.function_index, answer.offset, answer.execution)
        return found == ("instruction", truth.function, truth.offset, truth.execution)

    def __str__(self) -> str:
        answer = self.answer
        mark = "exact" if self.exact else "WRONG"
        place = f"execution {self.truth.execution:,}, event {answer.event:,} of {answer.events:,}"
        return f"{mark}  {answer.runs} runs  {self.elapsed_s:.1f} s  {self.program}  {self.fault}  ({place})"


class Bench:
    """The corpus's programs, and an engine that gets one fault after the other."""

    def __init__(
        self,
        reactor: process.Reactor,
        folder: Path,
        seed: int,
        *,
        words: bool = False,
        everywhere: bool = False,
        largest: int = 1 << 30,
    ) -> None:
        self.host = contract.Host(reactor, folder)
        self.oracle = registry.create("wasmtime", {})
        self.inner = registry.create("wasmtime", {})
        self.request = Request((), subject="wasmtime", mode="capsule", deadline_s=15.0)
        self.rng, self.words, self.everywhere = random.Random(seed), words, everywhere
        found = (path for folder in FOLDERS for path in (CORPUS / folder).glob("*.wasm"))
        self.programs = sorted(str(path) for path in found if path.stat().st_size <= largest)
        self._plans: dict[str, CapsulePlan] = {}

    def close(self) -> None:
        self.oracle.close()
        self.inner.close()

    def plan(self, program: str) -> CapsulePlan:
        if program not in self._plans:
            case = case_of(ObserveRequest(program))
            plan = planning.make(case, self.request, self.oracle, self.oracle, self.oracle, self.host)
            self._plans[program] = plans.require_capsule(plan)
        return self._plans[program]

    def trials(self, count: int) -> Iterator[Trial | str]:
        """So many faults, the classes in turn; a line of text for a class of which none was found that shows."""
        kinds = EVERYWHERE if self.everywhere else [each.name for each in CLASSES]
        for at in range(count):
            kind = kinds[at % len(kinds)]
            trial = next((found for found in (self._try(kind) for _ in range(TRIES)) if found is not None), None)
            yield trial or f"    {kind}: none that shows in {TRIES} tries"

    def _subject(self, planted: Planted, plan: CapsulePlan) -> contract.Backend:
        if not self.words:
            return FaultyBackend(self.inner, planted.fault(plan.module), words=False)
        return child_with(planted, plan.artifact, self.host.folder)

    def _try(self, kind: str) -> Trial | None:
        """One fault of a class, if it shows."""
        program = self.rng.choice(self.programs)
        plan = self.plan(program)
        planted = draw(self.rng, plan.module, plan.artifact, kind, everywhere=self.everywhere)
        every = lo.Parameters(0, len(plan.rows) - plan.layout.n_init, 0)
        if planted is None or first_wrong(plan.capsules.standard, planted, plan.module, every) is None:
            return None
        quick = FaultyBackend(self.inner, planted.fault(plan.module), words=False)
        if isinstance(Localiser(plan, self.request, self.oracle, quick, self.host).rows(), Localisation):
            return None  # it is wrong somewhere, and nothing comes of it
        work = Localiser(plan, self.request, self.oracle, self._subject(planted, plan), self.host)
        begun = time.monotonic()
        answer = work.localise()
        elapsed = time.monotonic() - begun
        rows = work.located
        if rows is None:
            return None
        truth = first_wrong(plan.capsules.standard, planted, plan.module, lo.Parameters(rows.first, rows.last, rows.flags))
        assert truth is not None, f"{planted}: shows where it never fires"
        return Trial(Path(program).stem, planted, truth, answer, elapsed)


def summary(trials: list[Trial]) -> str:
    """The figures of all."""
    runs = sorted(each.answer.runs for each in trials) or [0]
    times = sorted(each.elapsed_s for each in trials) or [0.0]
    exact = sum(each.exact for each in trials)
    return (
        f"{exact} of {len(trials)} exact; runs of the subject: median {runs[len(runs) // 2]}, most {runs[-1]}; "
        f"seconds: median {times[len(times) // 2]:.1f}, most {times[-1]:.1f}"
    )
