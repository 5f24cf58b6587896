"""Faults of engines in programs of which the rows execute little: a slice has the divergences of the whole artifact.

    python -m tests.campaigns.sliced_faults [--faults 100] [--seed 1] [--only CLASS]

Half of the faults are in instructions that the oracle executes, a quarter lead the subject to a function that a slice lacks, and for
a quarter the subject does not load a function that no row enters. Each observable fault is tried on the whole artifact and on its
slice, as is each program without a fault. In a third of the trials the artifact does not fit the subject's memory.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import wasmtime

from diffcheck import process
from diffcheck.backend.contract import Backend, Host, Pending, Program, RunLimits, StoredExecution
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.observation import Crashed, Execution, Refused
from diffcheck.runner.request import Slice
from diffcheck.verdict import CaseReport
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import all_instructions
from tests.campaigns import sparse_programs
from tests.campaigns.sparse_programs import RARE
from tests.campaigns.trial import BEGIN_MARK, Bench, Edit, draw, judge

CLASSES = (
    "value", "other branch", "write", "other element", "value", "refused instruction",
    "write", "other branch", "value", "other element", "write", "refused function",
)  # fmt: skip
"""The classes in turn."""
SLICES: tuple[Slice, Slice] = ("never", "always")
PROGRAMS = 100
"""The programs that are tried for one observable fault."""
REFUSALS = (Refused("load", "not valid", "invalid"), Crashed(11))
LARGE_FUNCTION_BYTES = 60 << 20
"""A cost of functions with which few programs fit the subject's memory, but each slice does."""


class Outcomes(msgspec.Struct, frozen=True):
    """The reports on the whole artifact and on its slice: verdicts, the capsule pass's divergences, verdicts without the fault.

    ``right`` is whether the first divergence is where the twin has it, or the load check names a function that is refused;
    ``entered`` whether the slice's report names a function that only the subject enters.
    """

    class_: str
    seed: int
    fault: str
    verdicts: tuple[str, str]
    found: tuple[tuple[str, ...], tuple[str, ...]]
    clean: tuple[str, str]
    right: bool
    entered: bool

    @property
    def missed(self) -> bool:
        """Whether one of the reports does not say what it should."""
        if set(self.verdicts) != {"diverge"} or set(self.clean) != {"agree"} or not self.right:
            return True
        return self.differs or (self.class_.startswith("other") and not self.entered)

    @property
    def differs(self) -> bool:
        """Whether the divergences of rows and state are not the same ones; there are none if a module is refused."""
        return not self.class_.startswith("refused") and self.found[0] != self.found[1]


class Loader(FaultyBackend):
    """An engine that does not load functions with a certain instruction, or with a mark if ``name`` is empty."""

    def __init__(self, inner: Backend, name: str, outcome: Refused | Crashed, *, words: bool) -> None:
        super().__init__(inner, None, words=words)
        self.name, self.outcome = name, outcome

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """See ``Backend``."""
        if self.refused(program.wasm):
            return StoredExecution(Execution(self.outcome))
        return super().start(program, limits, host)

    def refused(self, data: bytes) -> set[int]:
        """The functions of a module that are not loaded, by funcidx."""
        module = wasm.read(data)
        return {
            at
            for at, (offset, body) in enumerate(module.bodies, module.n_imported("func"))
            if (any(each.name == self.name for each in all_instructions(data, [(offset, body)])) if self.name
                else BEGIN_MARK in data[offset : offset + body])
        }  # fmt: skip


class Trial:
    """The trials of one program in one engine."""

    def __init__(self, bench: Bench, class_: str, seed: int) -> None:
        self.bench, self.class_, self.seed = bench, class_, seed
        self.program, self.chance = sparse_programs.generate(seed), Random(seed)
        self.words, self.large = self.chance.randrange(2) == 0, self.chance.randrange(3) == 0

    def outcomes(self) -> Outcomes | None:
        """The outcomes of a fault; None if none was found that is observable."""
        return self._refused() if self.class_.startswith("refused") else self._wrong()

    def _wrong(self) -> Outcomes | None:
        drawn, _ = draw(self.program, self.chance, self.class_, tries=8, words=self.words, target=self.bench.target)
        if drawn is None:
            return None
        program, marked, fault = self.program, drawn.marked, drawn.fault
        artifact = wasmtime.wat2wasm(program.artifact(marked))
        edit = Edit(artifact, wasmtime.wat2wasm(program.artifact(marked, fault)))
        reports = self._reports(artifact, FaultyBackend(self.bench.inner, Fault("", "", Expected(), edit=edit), words=self.words))
        site = program.sites[marked]
        return self._both(f"{site.instruction} as {site.wrong[fault]}", reports, right=judge(program, drawn, reports[0]).right)

    def _refused(self) -> Outcomes | None:
        name = self.chance.choice(sorted(RARE)) if self.class_ == "refused instruction" else ""
        engine = Loader(self.bench.inner, name, self.chance.choice(REFUSALS), words=self.words)
        marked = None if name else self.chance.choice(self.program.of_kind(self.class_))
        artifact = wasmtime.wat2wasm(self.program.artifact(marked))
        refused = engine.refused(artifact)
        if not refused:
            return None
        reports = self._reports(artifact, engine)
        places = [each.where.item for one in reports[1].passes for each in one.divergences if one.mode == "direct"]
        located = {int(place.split()[1]) for place in places if place.startswith("function ")}
        return self._both(f"{name or min(refused)}: {engine.outcome}", reports, right=bool(located) and located <= refused)

    def _reports(self, artifact: bytes, subject: FaultyBackend) -> tuple[CaseReport, CaseReport]:
        if self.large:
            subject.capabilities = msgspec.structs.replace(subject.capabilities, function_bytes=LARGE_FUNCTION_BYTES)
        rows = tuple(self.program.rows)
        whole, sliced = (self.bench.compared(artifact, rows, subject, when) for when in SLICES)
        return whole, sliced

    def _both(self, fault: str, reports: tuple[CaseReport, CaseReport], *, right: bool) -> Outcomes:
        artifact = wasmtime.wat2wasm(self.program.artifact())
        clean = self._reports(artifact, FaultyBackend(self.bench.inner, None, words=self.words))
        return Outcomes(
            class_=self.class_,
            seed=self.seed,
            fault=" ".join(fault.split()),
            verdicts=(reports[0].verdict, reports[1].verdict),
            found=(_found(reports[0]), _found(reports[1])),
            clean=(clean[0].verdict, clean[1].verdict),
            right=right,
            entered=any("the subject entered" in each.detail for one in reports[1].passes for each in one.divergences),
        )


def _found(report: CaseReport) -> tuple[str, ...]:
    """The divergences of the capsule pass without digests of calls, which contain the capsule's own indices of imports."""
    found = [each for one in report.passes for each in one.divergences if one.mode == "capsule"]
    return tuple(f"{re.sub('digest [0-9a-f]+', 'digest', str(each))} ({each.signature})" for each in found)


def trials(benches: tuple[Bench, ...], seed: int, count: int, classes: tuple[str, ...] = CLASSES) -> Iterator[Outcomes]:
    """The outcomes of so many observable faults, the classes in turn."""
    for at in range(count):
        first = seed * 1_000_003 + at * PROGRAMS
        tried = (Trial(benches[at % len(benches)], classes[at % len(classes)], each) for each in range(first, first + PROGRAMS))
        yield next(filter(None, (each.outcomes() for each in tried)))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100, help="observable faults (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="a number that all programs and faults follow from (default: 1)")
    parser.add_argument("--only", default="", help="classes whose name has this text")
    given = parser.parse_args()
    classes = tuple(each for each in CLASSES if given.only in each)
    with process.Reactor() as reactor, tempfile.TemporaryDirectory() as folder:
        benches = tuple(Bench(reactor, Path(folder), subject) for subject in ("wasmtime", "wasmtime-pulley"))
        try:
            begun, found = time.monotonic(), []
            for each in trials(benches, given.seed, given.faults, classes):
                found.append(each)
                _show(each)
            return _summary(found, time.monotonic() - begun)
        finally:
            for bench in benches:
                bench.close()


def _show(each: Outcomes) -> None:
    if each.missed:
        print(
            f"  seed {each.seed}: {each.class_}: {each.fault}: {each.verdicts}, without it {each.clean}, right: {each.right}, function named: {each.entered}"
        )
        for name, found in zip(("whole", "slice"), each.found, strict=True):
            print(f"      {name}: {'; '.join(found)}", flush=True)


def _summary(found: list[Outcomes], elapsed_s: float) -> int:
    print(f"{'class':20} faults  found whole  found sliced  same divergences  function named  clean runs agree  missed")
    for name in (*dict.fromkeys(CLASSES), "all"):
        ours = [each for each in found if name in (each.class_, "all")]
        if ours:
            whole, sliced = (sum(each.verdicts[at] == "diverge" for each in ours) for at in (0, 1))
            same, entered = sum(not each.differs for each in ours), sum(each.entered for each in ours)
            clean, missed = sum(set(each.clean) == {"agree"} for each in ours), sum(each.missed for each in ours)
            print(f"{name:20} {len(ours):6} {whole:12} {sliced:13} {same:17} {entered:15} {clean:17} {missed:7}")
    print(f"{elapsed_s:.0f} s")
    return int(any(each.missed for each in found))


if __name__ == "__main__":
    sys.exit(main())
