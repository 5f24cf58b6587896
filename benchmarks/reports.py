"""Reading a stored run of 10,000 cases and rendering it in every format, in a process of its own: its time and its memory.

python benchmarks/reports.py [--cases 10000] [--share 0.1] [--most 11] [--seed 7]

The cases are drawn at random from the seed: a share of them diverges, each in up to as many differences. What is run is
``diffcheck report`` with all formats, so reading the file counts as well.
"""

from __future__ import annotations

import argparse
import gzip
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from diffcheck.report import files, json_file
from tests.report import large

MAX_SECONDS, MAX_MB = 10.0, 300.0
SARIF_PACKED_MB, MARKDOWN_MIB = 10.0, 1.0


def rendered(stored: Path, folder: Path) -> tuple[float, float, float]:
    """Seconds and CPU seconds of the command, and its largest memory in MB."""
    targets = [part for name in files.FORMATS for part in (f"--{name.replace('_', '-')}", str(folder / f"out.{name}"))]
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    child = subprocess.Popen([*common.diffcheck(), "report", str(stored), *targets])
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"diffcheck report ended with {child.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, used.ru_maxrss / 1e3


def written(given: argparse.Namespace, folder: Path) -> Path:
    """The stored run, made by another process, so that its memory is not counted: a child's peak begins with its parent's size."""
    code = (
        "import sys; from pathlib import Path; from tests.report import large; from diffcheck.report import json_file; "
        "json_file.write(large.report(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])), Path(sys.argv[5]))"
    )
    values = (given.cases, given.seed, given.share, given.most, folder)
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", code, *map(str, values)], cwd=root, check=True)
    return folder / json_file.FILE_NAME


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=large.CASES)
    parser.add_argument("--share", type=float, default=0.1, help="how many of the cases diverge (default: 0.1)")
    parser.add_argument("--most", type=int, default=11, help="differences of a case at the most (default: 11)")
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stored = written(given, folder)
        seconds, cpu, megabytes = rendered(stored, folder)
        sizes = {each: (folder / f"out.{each}").stat().st_size for each in files.FORMATS}
        packed = len(gzip.compress((folder / "out.sarif").read_bytes())) / 1e6
        detail = f"{cpu:.1f} s CPU; report.json {stored.stat().st_size / 1e6:.1f} MB, " + ", ".join(
            f"{each} {size / 1e6:.2f} MB" for each, size in sizes.items()
        )
    what = f"{given.cases:,} cases in all formats"
    return common.show(
        common.Line(f"{what}, seconds", seconds, MAX_SECONDS, detail=f"{detail}; {common.load()}"),
        common.Line(f"{what}, MB of memory", megabytes, MAX_MB),
        common.Line("SARIF packed, MB", packed, SARIF_PACKED_MB),
        common.Line("Markdown, MiB", sizes["markdown"] / (1 << 20), MARKDOWN_MIB),
    )


if __name__ == "__main__":
    sys.exit(main())
