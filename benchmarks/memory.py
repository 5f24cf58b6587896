"""The memory of diffcheck's parent process at 10,000 artifacts against 100, and how long listing 10,000 takes.

    python benchmarks/memory.py [--few 100] [--many 10000] [--subject wasmtime-pulley] [--jobs N]

Real runs over generated modules of one function, reports included. The subject is one that answers fast, since its time does not
matter here. What counts is the parent's own peak (VmHWM), read by itself at its end; workers and engines are other processes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import common

from diffcheck.cases.discovery import discover

TARGET_MB, TARGET_S = 30.0, 1.0
_PARENT = """
import sys
from diffcheck.cli.main import run
code = run(sys.argv[1:])
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
print("peak", peak, code, file=sys.stderr)
"""


def peak_mb(folder: Path, reports: Path, subject: str, jobs: int) -> float:
    """The parent's peak in MB in a run over ``folder``, in which every case agrees."""
    options = ["--no-cache", "--mode", "capsule", "--subject", subject, "--jobs", str(jobs), "--reports", str(reports)]
    command = [sys.executable, "-c", _PARENT, "run", str(folder), *options]
    ended = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, kilobytes, code = ended.stderr.decode().splitlines()[-1].split()
    assert code == "0", "every case agrees"
    return int(kilobytes) * 1024 / 1e6


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=100, help="the smaller number of artifacts (default: 100)")
    parser.add_argument("--many", type=int, default=10_000, help="the larger number of artifacts (default: 10000)")
    parser.add_argument("--subject", default="wasmtime-pulley", help="the engine under test (default: wasmtime-pulley)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at a time (default: the cores)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        few, many, reports = (Path(work) / each for each in ("few", "many", "reports"))
        common.write_artifacts(few, given.few, lambda _at: 1)
        common.write_artifacts(many, given.many, lambda _at: 1)
        times = [common.seconds(lambda: discover([many])) for _ in range(5)]
        small = peak_mb(few, reports, given.subject, given.jobs)
        common.note(f"{given.few} artifacts: {small:.1f} MB; now {given.many}")
        large = peak_mb(many, reports, given.subject, given.jobs)
    detail = f"{small:.1f} MB at {given.few} artifacts, {large:.1f} MB at {given.many}; {common.load()}"
    return common.show(
        common.Line("the parent's memory, what it grows by", large - small, TARGET_MB, unit=" MB", detail=detail),
        common.Line(
            f"listing {given.many} artifacts", statistics.median(times), TARGET_S, unit=" s", detail=common.spread(times, " s")
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
