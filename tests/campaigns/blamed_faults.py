"""Faults in meld's output, in witness's output and in the engine: a triage of the component names who has the fault.

    python -m tests.campaigns.blamed_faults [--faults 60] [--seed 1]

Each trial draws a component: functions over lists of records, strings and variants, with branches. meld and witness make the artifact;
without meld its place is taken by the component's only core module. A fault is a wrong index, a lost memory offset, another length, a
field at another alignment, two counters exchanged, or an instruction that the engine executes wrongly. One that changes nothing, by
Wasmtime alone, is drawn anew.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from diffcheck.backend.contract import CallProgram, ExportCall, RunLimits, local_host
from diffcheck.cases import prepare
from diffcheck.cases.discovery import item_at, load_case
from diffcheck.cases.wit_rows.wit_rows import parse, with_callers
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner.engines import preferred_oracle
from diffcheck.runner.request import Request
from diffcheck.triage.reduce.interestingness import TimeBudget
from diffcheck.triage.session import Session
from diffcheck.triage.target import Target
from diffcheck.triage.triage_folder import TriageFolder
from diffcheck.triage.workflow import TriageWorkflow
from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.code import Instruction, MemArg, instructions, read_locals
from diffcheck.wasm.encode import encode, plain
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import sized, vector
from diffcheck.witness.formats import COUNTER, PREFIX
from tests.components import component, core_module, stand_ins
from tests.doubles.instruction_faults import draw
from tests.wit_programs import folding_program

CULPRITS = ("meld", "witness", "the engine")
ENGINE_FAULTS = ("integer", "comparison", "load", "load, wrong address", "store", "branch", "local")
TRIES = 60


class Trial(msgspec.Struct, frozen=True):
    """A fault, who has it, and who is blamed."""

    seed: int
    culprit: str
    fault: str
    blamed: str
    words: str

    @property
    def right(self) -> bool:
        return self.blamed == self.culprit


# Faults in bytes.


def _wrong_index(rng: Random, module: wasm.Module, function: int, locals_: list[str], each: Instruction) -> bytes | None:
    """Another function, local or global of the same type."""
    match each.name:
        case "call":
            types = module.all_functions
            others = [at for at, type_ in enumerate(types) if type_ == types[each.immediates[0]] and at != each.immediates[0]]
        case "local.get" | "local.set":
            others = [at for at, type_ in enumerate(locals_) if type_ == locals_[each.immediates[0]] and at != each.immediates[0]]
        case _:
            return None
    return plain(each.name, rng.choice(others)) if others else None


def _memory(each: Instruction) -> MemArg | None:
    return each.immediates[0] if each.immediates and isinstance(each.immediates[0], MemArg) else None


def _with_offset(each: Instruction, offset: int) -> bytes:
    memarg = each.immediates[0]
    return encode(msgspec.structs.replace(each, immediates=(memarg._replace(offset=offset), *each.immediates[1:])))


def _lost_offset(rng: Random, module: wasm.Module, function: int, locals_: list[str], each: Instruction) -> bytes | None:
    memarg = _memory(each)
    return _with_offset(each, 0) if memarg is not None and memarg.offset else None


def _alignment(rng: Random, module: wasm.Module, function: int, locals_: list[str], each: Instruction) -> bytes | None:
    """The field, or the stride of a list, as if it had another alignment."""
    memarg = _memory(each)
    if memarg is not None and memarg.offset:
        return _with_offset(each, memarg.offset + rng.choice((-2, -1, 1, 2, 4)) if memarg.offset > 1 else memarg.offset + 1)
    if each.name == "i32.const" and each.immediates[0] % 4 == 0 and 8 <= each.immediates[0] <= 64:
        return plain("i32.const", each.immediates[0] + rng.choice((-4, 4)))
    return None


def _length(rng: Random, module: wasm.Module, function: int, locals_: list[str], each: Instruction) -> bytes | None:
    """One byte or element fewer is stored."""
    if each.name != "i32.store" or not (_memory(each) or MemArg(0, 0, 0)).offset:
        return None
    return plain("i32.const", 1) + plain("i32.sub") + encode(each)


FAULTS = {"wrong index": _wrong_index, "lost offset": _lost_offset, "alignment": _alignment, "length": _length}


def mutated(rng: Random, data: bytes, kind: str) -> tuple[bytes, str] | None:
    """The module with one instruction of the program changed, and where; None if there is none that fits."""
    module = wasm.read(data)
    first = module.n_imported("func")
    own = {each.index for each in module.exports if each.kind == "func" and each.name.startswith(PREFIX)}
    found = []
    for at, (offset, size) in enumerate(module.bodies):
        if first + at in own:
            continue
        body = data[offset : offset + size]
        declared = read_locals(body, offset)
        locals_ = [
            *map(str, module.function_type(first + at).params),
            *(str(type_) for count, type_ in declared.groups for _ in range(count)),
        ]
        for each in instructions(body, offset, start=declared.end):
            code = FAULTS[kind](rng, module, first + at, locals_, each)
            if code is not None:
                found.append((at, each, code))
    if not found:
        return None
    at, each, code = rng.choice(found)
    bodies = [data[offset : offset + size] for offset, size in module.bodies]
    start = module.bodies[at][0]
    bodies[at] = bodies[at][: each.offset - start] + code + bodies[at][each.end - start :]
    code_section = wasm.section(ids.CODE, vector([sized(body) for body in bodies]))
    changed = wasm.write([code_section if one.id == ids.CODE else one for one in module.sections])
    return changed, f"{kind}: {each.name} in function {first + at}"


def exchanged_counters(rng: Random, data: bytes) -> tuple[bytes, str] | None:
    """The module with the names of two counters exchanged, as if each counted the other's branch."""
    module = wasm.read(data)
    counters = [each for each in module.exports if each.name.startswith(COUNTER)]
    if len(counters) < 2:
        return None
    one, two = rng.sample(counters, 2)
    index = {one.name: two.index, two.name: one.index}
    exports = [encode_export(each.name, each.kind, index.get(each.name, each.index)) for each in module.exports]
    section = wasm.section(ids.EXPORT, vector(exports))
    changed = wasm.write([section if each.id == ids.EXPORT else each for each in module.sections])
    return changed, f"counters exchanged: {one.name} and {two.name}"


# Trials.


class Bench:
    """The tools, and an oracle for proofs; ``environment`` is a monkeypatch."""

    def __init__(self, host, folder: Path, tools: dict[str, str], environment) -> None:
        self.host, self.folder, self.tools, self.environment = host, folder, tools, environment
        self.oracle = preferred_oracle({})
        self.maker = prepare.Maker(tools, prepare.quietly(host.reactor))

    def fused(self, source: bytes, work: Path) -> bytes:
        if "meld" not in self.tools:
            return core_module(source)
        return self.maker.step("meld", ("fuse", "--preserve-names", "--reproducible"), source, "app", work, [])

    def instrumented(self, fused: bytes, work: Path) -> tuple[bytes, bytes]:
        made = self.maker.step("witness", ("instrument",), fused, "app", work, [])
        return made, (work / "app.wasm.witness.json").read_bytes()

    def behaviour(self, artifact: bytes, source: bytes, rows: list[str], *, counters: bool = False) -> object:
        """The results of the rows in a core module, by Wasmtime alone."""
        callable_ = parse(rows, self.oracle.call(CallProgram(source), RunLimits(), self.host).functions)
        before = tuple(
            each.name for each in wasm.read(artifact).exports if each.name in (f"{PREFIX}row_reset", f"{PREFIX}trace_reset")
        )
        program = CallProgram(with_callers(artifact, callable_), tuple(ExportCall(each.text) for each in callable_), before=before)
        found = self.oracle.call(program, RunLimits(deadline_s=2.0), self.host)
        return (
            found.counters
            if counters
            else [(each.results, type(each.outcome), getattr(each.outcome, "kind", "")) for each in found.results]
        )

    def trials(self, count: int, seed: int) -> Iterator[Trial]:
        for at in range(count):
            yield self._trial(CULPRITS[at % len(CULPRITS)], seed * 1_000_003 + at)

    def _trial(self, culprit: str, seed: int) -> Trial:
        rng = Random(seed)
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            place = Path(name)
            for attempt in range(TRIES):
                work = place / str(attempt)
                work.mkdir()
                found = self._attempt(culprit, rng, work, seed)
                if found is not None:
                    return found
        raise RuntimeError(f"no observable fault of {culprit}, seed {seed}")

    def _attempt(self, culprit: str, rng: Random, work: Path, seed: int) -> Trial | None:
        wit, core, rows = folding_program(rng)
        path = component(work, wit, core)
        source = path.read_bytes()
        path.with_suffix(".toml").write_bytes(b"rows = " + msgspec.json.encode(rows) + b"\n")
        fused = self.fused(source, work / "meld")
        artifact, manifest = self.instrumented(fused, work / "witness")
        fault = "an instruction of the engine"
        if culprit == "meld":
            changed = mutated(rng, fused, rng.choice(list(FAULTS)))
            if changed is None or self.behaviour(changed[0], source, rows) == self.behaviour(fused, source, rows):
                return None
            fused, fault = changed
            artifact, manifest = self.instrumented(fused, work / "again")
        elif culprit == "witness":
            counters = rng.random() < 0.5
            changed = exchanged_counters(rng, artifact) if counters else mutated(rng, artifact, rng.choice(list(FAULTS)))
            if changed is None or self.behaviour(changed[0], source, rows, counters=counters) == self.behaviour(
                artifact, source, rows, counters=counters
            ):
                return None
            artifact, fault = changed
        stand_ins(work, self.environment, fused, artifact, manifest)
        return self._triaged(culprit, rng, path, work, seed, fault)

    def _triaged(self, culprit: str, rng: Random, path: Path, work: Path, seed: int, fault: str) -> Trial | None:
        request = Request((str(path),), subject="wasmtime", mode="both", deadline_s=5.0, cache=str(work / "cache"))
        target = Target(load_case(item_at(path)))
        subject = FaultyBackend(preferred_oracle({}), None, words=False)
        with Session(request, target, TimeBudget(None, lambda: None), lambda _: None, subject=subject) as session:
            if culprit == "the engine":
                planted = draw(rng, wasm.read(session.artifact), session.artifact, rng.choice(ENGINE_FAULTS))
                if planted is None:
                    return None
                subject.fault, fault = planted.fault(wasm.read(session.artifact)), str(planted)
            steps = TriageWorkflow(session, TriageFolder(work / "triage"), lambda _: None)
            diverges = steps.find()
            if culprit == "the engine" and not diverges:
                return None
            steps.blame()
            blame = steps.state.blame
        return Trial(seed, culprit, fault, blame.culprit if blame is not None else "nobody", str(blame))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=60, help="faults, a third of them each tool's (default: 60)")
    parser.add_argument("--seed", type=int, default=1, help="a number that all programs and faults follow from (default: 1)")
    given = parser.parse_args()
    tools = prepare.tools(os.environ)
    if "witness" not in tools:
        raise SystemExit("witness is not installed: put it on PATH or set DIFFCHECK_WITNESS")
    begun, found = time.monotonic(), []
    with local_host() as host, tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        for each in Bench(host, Path(folder), tools, environment).trials(given.faults, given.seed):
            found.append(each)
            print(
                f"{'right' if each.right else 'WRONG'}  {each.culprit}: {each.fault}  seed {each.seed}\n       {each.words}",
                flush=True,
            )
    for culprit in CULPRITS:
        own = [each for each in found if each.culprit == culprit]
        print(f"faults of {culprit}: {len(own)}, blamed rightly {sum(each.right for each in own)}")
    print(
        f"{sum(each.right for each in found)} of {len(found)}, meld {'' if 'meld' in tools else 'not '}run, in {time.monotonic() - begun:.0f} s"
    )
    return int(not all(each.right for each in found))


if __name__ == "__main__":
    sys.exit(main())
