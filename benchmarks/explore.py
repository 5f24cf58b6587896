"""Decisions that rows of ``diffcheck explore`` fully cover, against default rows.

    python benchmarks/explore.py PATH... [--time 60] [--seed 1]

PATH are artifacts instrumented by witness with decisions in their manifests, or folders of them; their case files are not used. Exit code
1 unless the fully covered decisions at least double at the median; where default rows cover none, covering some counts.
"""

from __future__ import annotations

import argparse
import math
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from diffcheck.backend import contract
from diffcheck.errors import DiffcheckError
from diffcheck.hunt.explore.exploration import Exploration
from diffcheck.runner import engines
from diffcheck.runner.request import Request
from diffcheck.witness import formats

TIMES = 2.0


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH")
    parser.add_argument("--time", type=float, default=60.0, help="seconds for each artifact (default: 60)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    every = [each for path in given.paths for each in ([path] if path.is_file() else sorted(path.rglob("*.wasm")))]
    ratios = [measure(each, given.time, given.seed) for each in every if has_decisions(each)]
    median = statistics.median(ratios)
    print(f"{len(ratios)} programs: {median:.1f} times the decisions at the median (target {TIMES})")
    return int(median < TIMES)


def has_decisions(artifact: Path) -> bool:
    """Whether the manifest beside an artifact has decisions."""
    manifest = formats.manifest_path(artifact)
    return manifest.is_file() and bool(formats.read_manifest(manifest.read_bytes()).decisions)


def measure(artifact: Path, time_s: float, seed: int) -> float:
    """How many times the decisions of the default rows are covered."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contract.local_host() as host, closing(engines.preferred_oracle({})) as oracle:
        copy = Path(folder) / artifact.name
        shutil.copyfile(artifact, copy)
        shutil.copyfile(formats.manifest_path(artifact), formats.manifest_path(copy))
        try:
            found = Exploration(Request((str(copy),)), seed, oracle, host, lambda: False).run(copy, time_s)
        except DiffcheckError as error:
            print(f"{artifact.name[:40]:40} {error.line}", flush=True)
            return 0.0
    before, after = len(found.before.covered), len(found.after.covered)
    rows = sum(max(1, len(each.rows)) for each in found.cases)
    print(
        f"{artifact.name[:40]:40} decisions {found.decisions:4} before {before:3} after {after:3}  counters {found.branches:5} before"
        f" {len(found.before.counters):4} after {len(found.after.counters):4}  proved conditions before {len(found.before.proved):4}"
        f" after {len(found.after.proved):4}  tried {found.tried:6} kept {rows:3}  {time.monotonic() - begun:5.0f} s",
        flush=True,
    )
    return after / before if before else math.inf * after if after else 0.0


if __name__ == "__main__":
    sys.exit(main())
