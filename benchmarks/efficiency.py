"""What diffcheck adds to kilnd's own time: a whole run against a bare ``xargs -P`` loop of kilnd over the same capsule files.

    python benchmarks/efficiency.py [--kilnd PATH] [--artifacts 48] [--jobs N] [--rounds 5]

Both have the same parallelism; diffcheck's time has everything in it: its own start, the oracle's compilations and runs, reports.
The loop starts nothing but kilnd, and throws away what it writes. Two lines: modules of more than 20 functions, and of one. Both
sides' CPU time is printed as well, with all that they start: on a machine that is busy with other things diffcheck, which has more
processes than the loop, is given a larger share of it, and only the ratio of CPU times says something.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import common

from diffcheck.capsule import layout as lo
from diffcheck.runner.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = (("programs of 21 to 28 functions", lambda at: 21 + at % 8, 1.15), ("programs of one function", lambda _at: 1, 1.3))


def dump(artifacts: Path, capsules: Path, kilnd: str) -> int:
    """Write the capsule of each artifact as the subject gets it; gives their number."""
    capsules.mkdir()
    request = Request((str(artifacts),), subject="kilnd", mode="capsule", options={"kilnd": kilnd})
    number = 0
    for plan in common.planned([artifacts], request):
        rows = len(plan.rows) - plan.layout.n_init
        (capsules / f"{number:05}.wasm").write_bytes(plan.capsules.subject.with_parameters(lo.Parameters(0, rows)))
        number += 1
    return number


def loop(capsules: Path, kilnd: str, jobs: int) -> None:
    """kilnd alone over all capsule files."""
    names = "\n".join(sorted(str(each) for each in capsules.glob("*.wasm")))
    command = ["xargs", "-P", str(jobs), "-I{}", "env", "WITNESS_MODULE={}", "WITNESS_OUTPUT={}.json", kilnd]
    subprocess.run(command, input=names.encode(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(artifacts: Path, reports: Path, kilnd: str, jobs: int) -> None:
    """diffcheck over all artifacts; every case has to agree."""
    options = ["--no-cache", "--mode", "capsule", "--jobs", str(jobs), "--kilnd", kilnd, "--reports", str(reports)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DIFFCHECK_")}
    subprocess.run([*common.diffcheck(), "run", str(artifacts), *options], check=True, capture_output=True, env=environment)


class Timed:
    """Wall times of a work, and the CPU times of all processes that it waited for."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.cpu_s: list[float] = []

    def __call__(self) -> float:
        """Seconds on the wall."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        elapsed = common.seconds(self.work)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.cpu_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return elapsed


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kilnd", help="path of kilnd (default: DIFFCHECK_KILND, then PATH)")
    parser.add_argument("--artifacts", type=int, default=48, help="number of artifacts of each kind (default: 48)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time, of both (default: the cores)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured, in turns (default: 5)")
    given = parser.parse_args()
    kilnd = common.kilnd(given.kilnd)
    lines = []
    for name, functions, target in KINDS:
        with tempfile.TemporaryDirectory() as work:
            artifacts, capsules, reports = (Path(work) / each for each in ("artifacts", "capsules", "reports"))
            common.write_artifacts(artifacts, given.artifacts, functions)
            number = dump(artifacts, capsules, kilnd)
            ours, alone = (
                Timed(partial(run, artifacts, reports, kilnd, given.jobs)),
                Timed(partial(loop, capsules, kilnd, given.jobs)),
            )
            ones, others = common.in_turns(given.rounds, ours, alone)
            cases = json.loads((reports / "report.json").read_text())["cases"]
            assert len(cases) == number == given.artifacts, "every artifact was run"
            assert all(each["verdict"] == "agree" for each in cases), "generated modules agree"
        detail = (
            f"{number} artifacts, {given.jobs} at a time; diffcheck {common.spread(ones, ' s')}; "
            f"kilnd alone {common.spread(others, ' s')}; CPU time {common.ratio(ours.cpu_s, alone.cpu_s):.3g} times "
            f"({common.spread(ours.cpu_s, ' s')} and {common.spread(alone.cpu_s, ' s')}); {common.load()}"
        )
        lines.append(common.Line(f"diffcheck run against kilnd alone, {name}", common.ratio(ones, others), target, detail=detail))
    return common.show(*lines)


if __name__ == "__main__":
    sys.exit(main())
