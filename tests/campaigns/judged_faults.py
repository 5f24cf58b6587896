"""Faults in oracle, subject and a judge: the engine that stands alone is named, and of two that share a fault neither is.

    python -m tests.campaigns.judged_faults [--faults 100] [--shared 20] [--seed 1]

Four engines, all of them wasmtime or its interpreter taken as independent: oracle, subject, and two judges, of which one has no fault.
The twin proves that a fault shows. A fault of a judge is planted beside another one of the subject.
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
import wasmtime

from diffcheck import process
from diffcheck.backend.contract import Backend
from diffcheck.cases.discovery import Case
from diffcheck.compare.judgement import with_judgements
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import case_run, judges, planning
from diffcheck.verdict import CaseReport, Opinion
from tests.campaigns import proof
from tests.campaigns.planted_faults import CLASSES, PROGRAMS
from tests.campaigns.program import Program
from tests.campaigns.trial import Bench, Drawn, Edit, draw

ALONE = ("oracle", "subject", "judge")
SHARED = (("oracle", "judge"), ("subject", "judge"))


class Judged(msgspec.Struct, frozen=True):
    """A trial: which engines have a fault, who should stand alone, who does, and the verdict."""

    class_: str
    seed: int
    faulty: tuple[str, ...]
    expected: str
    alone: str
    verdict: str
    words: str

    @property
    def right(self) -> bool:
        return self.alone == self.expected and self.verdict == ("oracle" if self.expected == "oracle" else "diverge")


def trials(bench: Bench, seed: int, alone: int, shared: int) -> Iterator[Judged]:
    """So many faults of one engine in turn, then so many that two engines share."""
    for at in range(alone + shared):
        faulty = (ALONE[at % len(ALONE)],) if at < alone else SHARED[at % len(SHARED)]
        yield _trial(bench, at, faulty, seed * 1_000_003 + at * PROGRAMS)


def _trial(bench: Bench, at: int, faulty: tuple[str, ...], first: int) -> Judged:
    name, kind, generate = CLASSES[at % len(CLASSES)]
    for seed in range(first, first + PROGRAMS):
        program, chance = generate(seed), Random(seed)
        if ".atomic." in program.sites[0].instruction and bench.target:
            continue
        words = faulty == ("subject",) and chance.randrange(2) == 0
        drawn, _ = draw(program, chance, kind, tries=6, words=words, target=bench.target)
        other = _another(program, drawn) if drawn is not None and faulty == ("judge",) else None
        if drawn is None or (faulty == ("judge",) and other is None):
            continue
        return _judged(bench, program, drawn, other, faulty, words, name, seed)
    raise RuntimeError(f"no observable fault of {name}")


def _another(program: Program, drawn: Drawn) -> int | None:
    """Another fault at the same instruction that gives another value where the first one shows."""

    def values(fault: int) -> list[object]:
        seen = proof.behaviour(program, drawn.marked, fault)
        return [each.values for each in seen if each.place in drawn.first]

    for fault in range(len(program.sites[drawn.marked].wrong)):
        try:
            if fault != drawn.fault and values(fault) != values(drawn.fault):
                return fault
        except proof.UnprovedError:
            continue
    return None


def _judged(
    bench: Bench, program: Program, drawn: Drawn, other: int | None, faulty: tuple[str, ...], words: bool, class_: str, seed: int
) -> Judged:
    artifact = wasmtime.wat2wasm(program.artifact(drawn.marked))
    path = Path(bench.host.folder) / "program.wasm"
    path.write_bytes(artifact)

    def engine(inner: Backend, fault: int | None, *, words: bool = False) -> Backend:
        if fault is None:
            return FaultyBackend(inner, None, words=words)
        edit = Edit(artifact, wasmtime.wat2wasm(program.artifact(drawn.marked, fault)))
        return FaultyBackend(inner, Fault("", "", Expected(), edit=edit), words=words)

    def fault_of(role: str) -> int | None:
        if role == "judge" and other is not None:
            return other
        return drawn.fault if role in faulty or (role == "subject" and other is not None) else None

    oracle = engine(bench.oracle, fault_of("oracle"))
    subject = engine(bench.inner, fault_of("subject"), words=words)

    def report(tested: Backend) -> CaseReport:
        case = Case("program", str(path), rows=tuple(program.rows))
        plan = planning.make(case, bench.request, bench.oracle, oracle, tested, bench.host)
        return case_run.run(plan, bench.request.max_passes, oracle, tested, bench.host, "subject", bench.request)

    found = report(subject)
    opinions: dict[str, tuple[Opinion, ...]] = {}
    for name, backend in (("C", engine(bench.inner, fault_of("judge"))), ("D", engine(bench.oracle, None))):
        judge = judges.Judge(name, Opinion(name, name), backend)
        for signature, each in judges.opinions(judge, found, report(backend), same_form=True).items():
            opinions[signature] = (*opinions.get(signature, ()), each)
    done = with_judgements(found, opinions, "A", "B")
    first = next((each.judgement for one in done.passes for each in one.divergences if each.judgement is not None), None)
    expected = "" if len(faulty) > 1 else "oracle" if faulty == ("oracle",) else "subject"
    alone = first.alone if first is not None else "not judged"
    return Judged(class_, seed, faulty, expected, alone, done.verdict, str(first))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100, help="faults of one engine (default: 100)")
    parser.add_argument("--shared", type=int, default=20, help="faults that two engines share (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="a number that all programs and faults follow from (default: 1)")
    given = parser.parse_args()
    with process.Reactor() as reactor, tempfile.TemporaryDirectory() as folder:
        bench = Bench(reactor, Path(folder), "wasmtime")
        try:
            begun, found = time.monotonic(), []
            for each in trials(bench, given.seed, given.faults, given.shared):
                found.append(each)
                if not each.right:
                    where = f"{each.class_}, seed {each.seed}, fault in {' and '.join(each.faulty)}"
                    print(f"  {where}: {each.verdict}, {each.words}; expected: {each.expected or 'undecided'}", flush=True)
        finally:
            bench.close()
    for name, own in (("one engine", [e for e in found if e.expected]), ("two engines", [e for e in found if not e.expected])):
        print(f"faults of {name}: {len(own)}, judged rightly {sum(each.right for each in own)}")
    print(f"in {time.monotonic() - begun:.0f} s")
    return int(not all(each.right for each in found))


if __name__ == "__main__":
    sys.exit(main())
