"""The gate on a build against itself, and against a build with three wrong instructions: it reports nothing, and exactly three.

    python -m tests.campaigns.gate_faults KILND PATH... [--jobs 2]

PATH is what the gate runs besides its sweep. The folder ``reports/gate`` has the reports of the second gate.
"""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FAULTS = {"i32.popcnt": "i32.ctz", "f64.ceil": "f64.floor", "i32x4.min_s": "i32x4.min_u"}
DOUBLE = Path(__file__).parents[1] / "doubles" / "swapped_engine.py"
COUNTS = re.compile(r"gate +(\d+) new, (\d+) returned, (\d+) fixed, (\d+) known")


def gate(build: Path, against: Path, paths: list[str], jobs: int) -> tuple[int, str]:
    """The number of new causes, and the summary."""
    command = [sys.executable, "-m", "diffcheck", "gate", str(build), *paths, "--against", str(against), "--jobs", str(jobs)]
    begun = time.monotonic()
    ended = subprocess.run([*command, "--reports", "reports/gate"], stdout=subprocess.PIPE, text=True, check=False)
    summary = ended.stdout[ended.stdout.find("gate ") :]
    counts = COUNTS.match(summary)
    print(f"exit code {ended.returncode} after {time.monotonic() - begun:.0f} s\n{summary}", flush=True)
    return (int(counts[1]) if counts else -1), summary


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kilnd", type=Path)
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--jobs", type=int, default=2, help="workers (default: 2)")
    given = parser.parse_args()
    own, _ = gate(given.kilnd, given.kilnd, given.paths, given.jobs)
    with tempfile.TemporaryDirectory() as folder:
        faulty = Path(folder) / "kilnd"
        pairs = ",".join(f"{right}={wrong}" for right, wrong in FAULTS.items())
        faulty.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, str(DOUBLE), pairs, str(given.kilnd.absolute())])}\n")
        faulty.chmod(0o755)
        new, summary = gate(faulty, given.kilnd, given.paths, given.jobs)
    named = [each for each in FAULTS if each in summary]
    print(f"against itself {own} new; with {len(FAULTS)} planted faults {new} new, {len(named)} of them named")
    return int((own, new, len(named)) != (0, len(FAULTS), len(FAULTS)))


if __name__ == "__main__":
    sys.exit(main())
