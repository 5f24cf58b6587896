"""Histories of builds: a fault appears, vanishes and returns, beside another fault and builds that do not start.

    python -m tests.campaigns.histories [--histories 30] [--builds 64] [--seed 1]

A build is wrong in some instructions, wherever they stand. Each set of wrong instructions is run and localised once; the search sees
the answers as builds. An answer is wrong if the last good build has the fault, the first bad one does not, or one between them was run
and could tell. Programs in which two faults together give all the right values are left out: no run can tell.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import msgspec
import wasmtime

from diffcheck import process
from diffcheck.cases.discovery import Case
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import case_run, planning
from diffcheck.triage import causes
from diffcheck.triage.bisect import trials
from diffcheck.triage.bisect.search import Trial, search
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.verdict import Divergence
from tests.campaigns.trial import Bench
from tests.doubles.wrong_everywhere import wrong

UNARY = ("i32.popcnt", "i32.clz", "i32.ctz", "i32.extend8_s", "i32.extend16_s")
RUNS = 9
UNUSABLE = "x"
State = frozenset[str] | str
"""The wrong instructions of a build, or ``UNUSABLE``."""


class History(msgspec.Struct, frozen=True):
    """A history and its answer; ``problem`` is what is wrong with the answer, empty if nothing."""

    seed: int
    kind: str
    runs: int
    problem: str


class Lab:
    """Runs a program under each state of an engine."""

    def __init__(self, bench: Bench, text: str, rows: tuple[str, ...]) -> None:
        self._bench = bench
        self._path = Path(bench.host.folder) / "history.wasm"
        self._path.write_bytes(wasmtime.wat2wasm(text))
        self._rows = rows
        self.answer = cache(self._answer)

    def _engine(self, state: frozenset[str]) -> FaultyBackend:
        def edit(data: bytes) -> bytes:
            for name in sorted(state):
                data = wrong(name)(data)
            return data

        return FaultyBackend(self._bench.inner, Fault("", "", Expected(), edit=edit), words=False)

    def fault(self, state: frozenset[str]) -> trials.BisectFault | None:
        """The first difference of a state, with its cause."""
        return trials.chosen_fault(*self._run(state), row=self._rows[0])

    def differs(self, state: frozenset[str]) -> bool:
        """Whether the program shows a state at all."""
        return self._run(state)[0].verdict == "diverge"

    def _run(self, state: frozenset[str]):
        bench, subject = self._bench, self._engine(state)
        case = Case("history", str(self._path), rows=self._rows)
        plan = planning.make(case, bench.request, bench.oracle, bench.oracle, subject, bench.host)
        report = case_run.run(plan, bench.request.max_passes, bench.oracle, subject, bench.host, "subject", bench.request)

        def cause(place: Divergence) -> str:
            return causes.cause_name(Localiser(plan, bench.request, bench.oracle, subject, bench.host).localise(place.where.row))

        return report, cause

    def _answer(self, state: frozenset[str], fault: trials.BisectFault) -> Trial:
        report, cause = self._run(state)
        return trials.classified("", report, fault, cause)


def program(chance: Random) -> tuple[str, tuple[str, ...], str, str]:
    """A program, its rows, the instruction whose fault is searched and another one; both may stand in one row."""
    names = chance.sample(UNARY, 4)
    functions = [chance.sample(names, chance.randrange(1, 4)) for _ in range(4)]
    functions[0] = chance.choice(([names[0]], [names[1], names[0]], [names[0], names[1]]))
    text = "".join(
        f'(func (export "f{at}") (param i32) (result i32) local.get 0 {" ".join(each)})' for at, each in enumerate(functions)
    )
    rows = tuple(f"f{at}={chance.randrange(1, 1 << 20)}" for at in range(len(functions)))
    return f"(module {text})", rows, names[0], names[1]


def history(chance: Random, builds: int, fault: str, other: str) -> tuple[str, list[State]]:
    """The kind of a history, and the state of each of its builds: the first is good, the last has the fault."""
    kind = chance.choice(("appears", "vanishes", "another", "unusable", "all"))
    first = chance.randrange(1, builds)
    wrong_in: list[set[str]] = [{fault} if at >= first else set() for at in range(builds)]
    if kind in ("vanishes", "all") and first < builds - 2:
        begin = chance.randrange(first, builds - 1)
        for at in range(begin, chance.randrange(begin, builds - 1) + 1):
            wrong_in[at].discard(fault)
    if kind in ("another", "all"):
        begin = chance.randrange(1, builds - 1)
        for at in range(begin, min(builds - 1, begin + chance.randrange(1, builds // 2))):
            wrong_in[at].add(other)
    states: list[State] = [frozenset(each) for each in wrong_in]
    if kind in ("unusable", "all"):
        for _ in range(3):
            begin = chance.randrange(1, builds - 1)
            for at in range(begin, min(builds - 1, begin + chance.randrange(1, 6))):
                states[at] = UNUSABLE
    return kind, states


def histories(bench: Bench, seed: int, count: int, builds: int) -> Iterator[History]:
    """So many histories, with their answers."""
    at = seed * 1009
    for _ in range(count):
        while True:
            at += 1
            chance = Random(at)
            text, rows, instruction, other = program(chance)
            lab = Lab(bench, text, rows)
            if lab.differs(frozenset({instruction, other})):
                break
        kind, states = history(chance, builds, instruction, other)
        yield _searched(lab, states, instruction, at, kind)


def _searched(lab: Lab, states: list[State], instruction: str, seed: int, kind: str) -> History:
    fault = lab.fault(frozenset({instruction}))
    assert fault is not None, "f0 has the instruction"
    runs: list[bool] = []
    known: dict[str, Trial] = {}

    def run(build: str) -> Trial:
        state = states[int(build)]
        runs.append(state != UNUSABLE)
        if isinstance(state, str):
            return Trial(build, "unusable", "it does not start", runs=0)
        return msgspec.structs.replace(lab.answer(state, fault), build=build)

    def trial(build: str) -> Trial:
        return known[build] if build in known else known.setdefault(build, run(build))

    found = search([str(at) for at in range(len(states))], trial, run, lambda: sum(runs))
    return History(seed, kind, sum(runs), _problem(states, found, instruction, known))


def _problem(states: list[State], found, instruction: str, known: dict[str, Trial]) -> str:
    if found.why:
        return f"no answer: {found.why}"
    good, bad = states[int(found.last_good)], states[int(found.first_bad)]
    if instruction in good or good == UNUSABLE:
        return f"{found.last_good} has the fault"
    if instruction not in bad or bad == UNUSABLE:
        return f"{found.first_bad} does not have the fault"
    tells = [each for each in found.between if each in known and known[each].answer in ("good", "bad")]
    return f"{tells[0]} could tell" if tells else ""


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=30, help="histories (default: 30)")
    parser.add_argument("--builds", type=int, default=64, help="builds of a history (default: 64)")
    parser.add_argument("--seed", type=int, default=1, help="a number that all histories follow from (default: 1)")
    given = parser.parse_args()
    begun, found = time.monotonic(), []
    with process.Reactor() as reactor, tempfile.TemporaryDirectory() as folder:
        bench = Bench(reactor, Path(folder), "wasmtime")
        try:
            for each in histories(bench, given.seed, given.histories, given.builds):
                found.append(each)
                if each.problem or each.runs > RUNS:
                    print(f"  seed {each.seed}, {each.kind}: {each.runs} runs; {each.problem or 'right'}", flush=True)
        finally:
            bench.close()
    wrong_answers = sum(bool(each.problem) for each in found)
    most = max(each.runs for each in found)
    print(f"{len(found)} histories of {given.builds} builds: {wrong_answers} wrong answers, at most {most} runs", end="")
    print(f", {sum(each.runs > RUNS for each in found)} over {RUNS}; in {time.monotonic() - begun:.0f} s")
    return int(wrong_answers > 0 or most > RUNS)


if __name__ == "__main__":
    sys.exit(main())
