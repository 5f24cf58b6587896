"""What a case costs diffcheck itself: user and system time of the worker process alone, without its engines.

    python benchmarks/own_cost.py [--kilnd PATH] [--artifacts 48] [--rounds 3]

A worker is run in this process, as a worker process runs it, case after case: reading, validating, sealing, starting kilnd, talking to
the wasmtime server, comparing, the report. kilnd and the server are its children and are not counted. The first cases of a process
fill its caches; they are counted like all others. Each round is a process of its own. Small artifacts have one to eight functions.
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
from diffcheck.corpus import discover, load_case
from diffcheck.process.keeper import keep
from diffcheck.runner import worker as w
from diffcheck.runner.request import Request

TARGET_MS = 3.0


def measure(folder: Path, kilnd: str) -> list[float]:
    """Milliseconds of own CPU of each case in ``folder``; every case has to agree."""
    request = Request((str(folder),), subject="kilnd", mode="capsule", options={"kilnd": kilnd})
    decoder = msgspec.msgpack.Decoder(w.Prepare)
    costs = []
    with process.Reactor() as reactor, process.private_folder() as private:
        worker = w.Worker(w.Setup(request, "kilnd", str(private)), reactor)
        for item in discover([folder]).items:
            frame = msgspec.msgpack.encode(w.Prepare(load_case(item)))
            begun = common.own_cpu_s()
            prepared = msgspec.msgpack.encode(worker.prepare(decoder.decode(frame).case))
            done = worker.go()
            answer = msgspec.msgpack.encode(done)
            costs.append((common.own_cpu_s() - begun) * 1e3)
            assert prepared
            assert answer
            assert done.report.verdict == "agree", done.report.reason
    return costs


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kilnd", help="path of kilnd (default: DIFFCHECK_KILND, then PATH)")
    parser.add_argument("--artifacts", type=int, default=48, help="number of artifacts (default: 48)")
    parser.add_argument("--rounds", type=int, default=3, help="processes, one after the other (default: 3)")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    kilnd = common.kilnd(given.kilnd)
    if given.folder:
        Path(given.answer).write_bytes(msgspec.json.encode(measure(given.folder, kilnd)))
        return 0
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "artifacts"
        common.write_artifacts(folder, given.artifacts, lambda at: 1 + at % 8)
        rounds = []
        for _ in range(given.rounds):
            answer = Path(work) / "answer"
            command = [sys.executable, __file__, "--kilnd", kilnd, "--folder", str(folder), "--answer", str(answer)]
            subprocess.run(command, check=True)
            rounds.append(statistics.median(msgspec.json.decode(answer.read_bytes(), type=list[float])))
    detail = f"{given.artifacts} artifacts a round; medians {common.spread(rounds, ' ms')}; {common.load()}"
    figure = statistics.median(rounds)
    return common.show(common.Line("own CPU a case at the median, small artifacts", figure, TARGET_MS, unit=" ms", detail=detail))


if __name__ == "__main__":
    # What measures has a keeper above it, as a worker has.
    sys.exit(keep(Path(__file__).stem) if "--folder" in sys.argv else main())
