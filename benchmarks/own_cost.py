"""What a case costs diffcheck itself: user and system time of the worker process alone, without its engines.

    python benchmarks/own_cost.py [--kilnd PATH] [--artifacts 48] [--rounds 3]
    python benchmarks/own_cost.py --against CHECKOUT [--subject kilnd] [--rounds 5] [--largest 30000]

A worker is run in this process, as a worker process runs it, case after case: reading, validating, sealing, starting kilnd, talking to
the wasmtime server, comparing, the report. kilnd and the server are its children and are not counted. The first cases of a process
fill its caches; they are counted like all others. Each round is a process of its own. Small artifacts have one to eight functions.

With ``--against`` the corpus is run by this checkout and by another one, in turns, each case three times in a process. The
least is counted, of a process and of all rounds, since another load on the machine only adds. Figures are the medians of the cases' ratios: own CPU, and what the engines took for the case; artifacts with imports,
tables or references apart from those without. Cases that do not agree under both are left out.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import msgspec

from diffcheck import process
from diffcheck.cases.discovery import discover, load_case
from diffcheck.process.keeper import keep
from diffcheck.runner import worker as w
from diffcheck.runner.engines import choose
from diffcheck.runner.request import Request
from diffcheck.wasm import module as wasm
from diffcheck.wasm.types import FuncType, RefType

TARGET_MS = 3.0
PLAIN, OTHERS = "without imports, tables and references", "with imports, tables or references"
ANY = RefType(nullable=True, heap="any")
"""Stands for the references that a struct or an array has to do with."""
TARGETS = {PLAIN: 1.0, OTHERS: 1.1}


class Measured(msgspec.Struct, frozen=True):
    """A case: milliseconds of own CPU and of its engines, and its verdict."""

    case: str
    own_ms: float
    engines_ms: float
    verdict: str


def measure(folder: Path, subject: str, kilnd: str, largest: int, times: int) -> list[Measured]:
    """Each case in ``folder``, the least that it took in several runs."""
    options = {"kilnd": kilnd} if subject == "kilnd" else {}
    request = choose(Request((str(folder),), subject=subject, mode="capsule", options=options)).request
    decoder = msgspec.msgpack.Decoder(w.PrepareRequest)
    found: dict[str, Measured] = {}
    with process.Reactor() as reactor, process.private_folder() as private:
        worker = w.Worker(w.Setup(request, str(private)), reactor)
        items = [each for each in discover([folder]).items if Path(each.artifact).stat().st_size <= largest]
        for item in items * times:
            name = str(Path(item.artifact).relative_to(folder))
            frame = msgspec.msgpack.encode(w.PrepareRequest(load_case(item)))
            begun = common.own_cpu_s()
            prepared = msgspec.msgpack.encode(worker.prepare(decoder.decode(frame).case))
            done = worker.run_plan(w.RunPlanRequest())
            answer = msgspec.msgpack.encode(done)
            own_ms = (common.own_cpu_s() - begun) * 1e3
            assert prepared
            assert answer
            sides = [side for each in done.report.passes for side in (each.oracle, each.subject) if side]
            engines_ms = sum(side.cost.elapsed_ns for side in sides) / 1e6
            if name in found:  # the first time fills caches
                own_ms, engines_ms = min(own_ms, found[name].own_ms), min(engines_ms, found[name].engines_ms)
            found[name] = Measured(name, own_ms, engines_ms, done.report.verdict)
    return list(found.values())


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kilnd", help="path of kilnd (default: DIFFCHECK_KILND, then PATH)")
    parser.add_argument("--artifacts", type=int, default=48, help="number of artifacts (default: 48)")
    parser.add_argument("--rounds", type=int, default=3, help="processes, one after the other (default: 3)")
    parser.add_argument(
        "--against", type=Path, help="another checkout of diffcheck, to be measured on the corpus in turns with this one"
    )
    parser.add_argument("--subject", default="kilnd", help="the subject on the corpus (default: kilnd)")
    parser.add_argument("--largest", type=int, default=30_000, help="bytes of the largest artifact of the corpus (default: 30,000)")
    for hidden in ("--folder", "--answer"):
        parser.add_argument(hidden, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    kilnd = common.kilnd(given.kilnd) if given.subject == "kilnd" else ""
    if given.folder:
        given.answer.write_bytes(msgspec.json.encode(measure(given.folder, given.subject, kilnd, given.largest, given.times)))
        return 0
    return _compared(given, kilnd) if given.against else _small(given, kilnd)


def _small(given: argparse.Namespace, kilnd: str) -> int:
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "artifacts"
        common.write_artifacts(folder, given.artifacts, lambda at: 1 + at % 8)
        rounds = []
        for _ in range(given.rounds):
            found = _round(given, kilnd, folder, Path(__file__).parents[1], 1)
            assert all(each.verdict == "agree" for each in found), "every case agrees"
            rounds.append(statistics.median(each.own_ms for each in found))
    detail = f"{given.artifacts} artifacts a round; medians {common.spread(rounds, ' ms')}; {common.load()}"
    figure = statistics.median(rounds)
    return common.show(common.Line("own CPU a case at the median, small artifacts", figure, TARGET_MS, unit=" ms", detail=detail))


def _round(given: argparse.Namespace, kilnd: str, folder: Path, checkout: Path, times: int) -> list[Measured]:
    """A process that measures a checkout."""
    with tempfile.TemporaryDirectory() as work:
        answer = Path(work) / "answer"
        options = {
            "--folder": folder, "--answer": answer, "--subject": given.subject, "--largest": given.largest, "--times": times,
            **({"--kilnd": kilnd} if kilnd else {}),
        }  # fmt: skip
        python = checkout / ".venv/bin/python"  # where it has one: its adapters are found by what is installed there
        command = [
            str(python) if python.exists() else sys.executable,
            str(checkout / "benchmarks" / Path(__file__).name),  # its own, written for its modules
            *(str(part) for pair in options.items() for part in pair),
        ]
        subprocess.run(command, check=True, cwd=checkout)
        return msgspec.json.decode(answer.read_bytes(), type=list[Measured])


def _compared(given: argparse.Namespace, kilnd: str) -> int:
    """This checkout's costs as ratios to the other's."""
    checkouts = (Path(__file__).resolve().parents[1], given.against.resolve())
    rounds: list[list[dict[str, Measured]]] = [[], []]
    for turn in range(given.rounds):
        for at in (0, 1) if turn % 2 == 0 else (1, 0):
            common.note(f"round {turn + 1} of {given.rounds}: {checkouts[at]}")
            rounds[at].append({each.case: each for each in _round(given, kilnd, common.CORPUS, checkouts[at], 3)})
    agreed = [case for case in rounds[0][0] if all(each[case].verdict == "agree" for ours in rounds for each in ours)]
    lines = []
    for name, target in TARGETS.items():
        cases = [case for case in agreed if _group(case) == name]
        for what in ("own_ms", "engines_ms"):
            ratios = [_least(rounds[0], case, what) / _least(rounds[1], case, what) for case in cases]
            medians = [statistics.median(_least(ours, case, what) for case in cases) for ours in rounds]
            detail = f"{len(cases)} artifacts; medians {medians[0]:.2f} ms and {medians[1]:.2f} ms; {common.load()}"
            title = f"{'own CPU' if what == 'own_ms' else 'time of engines'} against the other checkout, {given.subject}, {name}"
            lines.append(common.Line(title, statistics.median(ratios), target, detail=detail))
    return common.show(*lines)


def _least(rounds: list[dict[str, Measured]], case: str, what: str) -> float:
    return min(getattr(each[case], what) for each in rounds)


def _group(case: str) -> str:
    module = wasm.read((common.CORPUS / case).read_bytes())
    types = [each.type.value for each in module.globals]
    for each in module.types:
        types += [*each.composite.params, *each.composite.results] if isinstance(each.composite, FuncType) else [ANY]
    return OTHERS if module.imports or module.all_tables or any(isinstance(each, RefType) for each in types) else PLAIN


if __name__ == "__main__":
    # What measures has a keeper above it, as a worker has.
    sys.exit(keep(Path(__file__).stem) if "--folder" in sys.argv else main())
