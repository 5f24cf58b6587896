"""The start of ``diffcheck --version`` against a bare Python that does nothing.

python benchmarks/startup.py [--rounds 30]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from functools import partial

import common

TARGET = 4.0


def start(command: list[str]) -> float:
    """Seconds until a command has ended."""
    return common.seconds(partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often each is measured, in turns (default: 30)")
    given = parser.parse_args()
    version, bare = [*common.diffcheck(), "--version"], [sys.executable, "-c", "pass"]
    start(version), start(bare)
    ones, others = common.in_turns(given.rounds, partial(start, version), partial(start, bare))
    milliseconds = [[each * 1e3 for each in rounds] for rounds in (ones, others)]
    detail = f"diffcheck --version {common.spread(milliseconds[0], ' ms')}; python {common.spread(milliseconds[1], ' ms')}; {common.load()}"
    return common.show(common.Line("diffcheck --version against a bare Python", common.ratio(ones, others), TARGET, detail=detail))


if __name__ == "__main__":
    sys.exit(main())
