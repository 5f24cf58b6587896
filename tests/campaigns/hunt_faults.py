"""Faults of state and control, found by generated programs and localised at their instruction, each within a minute.

    python -m tests.campaigns.hunt_faults [--faults 100] [--seed 1] [--without-oracle] [-v]

The oracle is wasmtime; the subject is wasmtime with one fault at a time. Nothing tells the generator which. Without an oracle the
faulty engine is compared with itself: it runs an equivalent program as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec

from diffcheck.backend.contract import Oracle, Program
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.hunt.examination import first_place
from diffcheck.hunt.generate.program import generate
from diffcheck.hunt.generate.weights import Weights
from diffcheck.runner.equivalent.equivalent_oracle import EquivalentOracle
from diffcheck.runner.plan import CapsulePlan
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.wasm import module as wasm
from tests.campaigns.state_faults import FAULTS, StateFault
from tests.hunt.running import CaseBench

DEADLINE_S = 60.0


class Trial(msgspec.Struct, frozen=True):
    """A fault with the number of programs until one diverged (0 if none did), and the instruction that is reported."""

    fault: StateFault
    programs: int
    instruction: str
    reason: str
    elapsed_s: float

    @property
    def right(self) -> bool:
        """Whether the fault's instruction is reported."""
        return self.instruction.split(" ")[0] == self.fault.instruction


class FaultyOracle(EquivalentOracle):
    """The faulty engine with equivalent programs, in which the added functions are the program's own as well."""

    def __init__(self, bench: CaseBench, fault: StateFault, functions: int) -> None:
        super().__init__(bench.inner, bench.oracle)
        self._fault, self._own = fault, functions

    def _rewritten(self, capsule: bytes) -> bytes:
        made = super()._rewritten(capsule)
        before, now = (len(wasm.read(each).functions) for each in (capsule, made))
        return self._fault.edited(made, {*range(self._own), *range(before, now)})

    def _equivalent(self, program: Program) -> Program:
        made = super()._equivalent(program)
        return msgspec.structs.replace(made, template_sha256=f"{made.template_sha256} {self._fault}")


def trial(bench: CaseBench, fault: StateFault, seed: int, deadline_s: float = DEADLINE_S, *, without_oracle: bool = False) -> Trial:
    """Generate programs until one diverges, and localise it; until the deadline."""
    begun, weights, number = time.monotonic(), Weights(), 0
    word = fault.instruction.replace("ref.test_null", "ref.test (ref null")
    while time.monotonic() - begun < deadline_s:
        program = generate(f"{seed} {number}", weights)
        number += 1
        if f"{word} " not in program.text and f"{word}\n" not in program.text:
            continue  # an engine's programs run; those that a fault cannot change agree
        data = bench.binary(program)
        functions = range(len(wasm.read(data).bodies))
        if fault.edited(data, functions) == data:
            continue
        planted = Fault("", "", Expected(), edit=lambda each, functions=functions: fault.edited(each, functions))
        oracle = FaultyOracle(bench, fault, len(functions)) if without_oracle else bench.oracle
        report = bench.report(program, planted, oracle)
        if report.verdict == "diverge":
            instruction, reason = _localised(bench, oracle, planted, report)
            return Trial(fault, number, instruction, reason or report.reason, time.monotonic() - begun)
    return Trial(fault, 0, "", "", time.monotonic() - begun)


def _localised(bench: CaseBench, oracle: Oracle, fault: Fault, report) -> tuple[str, str]:
    plan, place = bench.plan, first_place(report)
    if not isinstance(plan, CapsulePlan) or place is None:
        return "", "refused"
    subject = FaultyBackend(bench.inner, fault, words=False)
    answer = Localiser(plan, bench.request, oracle, subject, bench.host).localise(place.row)
    return answer.instruction, str(answer)


def draw(seed: int, count: int) -> Iterator[StateFault]:
    """So many faults, all of them before any twice."""
    every = list(FAULTS)
    chance = Random(seed)
    while count > 0:
        chance.shuffle(every)
        yield from every[:count]
        count -= len(every)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100, help="faults (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="a number that all programs and faults follow from (default: 1)")
    parser.add_argument("--without-oracle", action="store_true", help="compare the faulty engine with itself")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each fault")
    given = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder, CaseBench(Path(folder)) as bench:
        for at, fault in enumerate(draw(given.seed, given.faults)):
            found.append(trial(bench, fault, given.seed * 1_000_003 + at, without_oracle=given.without_oracle))
            if given.verbose or not found[-1].right:
                _show(found[-1])
    return _summary(found, 0.4 if given.without_oracle else 0.9)


def _show(each: Trial) -> None:
    what = f"program {each.programs}: {each.instruction or each.reason[:200]}" if each.programs else "not found"
    print(f"  {each.fault}: {what}  ({each.elapsed_s:.0f} s)", flush=True)


def _summary(found: list[Trial], enough: float) -> int:
    times = sorted(each.elapsed_s for each in found if each.programs)
    reported, right = sum(each.programs > 0 for each in found), sum(each.right for each in found)
    median = times[len(times) // 2] if times else 0.0
    print(f"{len(found)} faults: {reported} found within {DEADLINE_S:.0f} s (median {median:.0f} s), {right} at their instruction")
    return int(right < enough * len(found))


if __name__ == "__main__":
    sys.exit(main())
