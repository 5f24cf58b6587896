"""SIGKILL to a hunt at random instants, each followed by ``--resume``: no find is lost, damaged or there twice.

    python -m tests.campaigns.hunt_kills [--kills 50] [--seed 1] [--subject kilnd] [--time 10m]

The hunt ends by itself after the last kill. Exit code 1 if any of this did not hold.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random

from diffcheck.hunt.finds import PROGRAM, FindsFolder

LONGEST_S = 60.0
"""The longest time until a kill: a round of programs, and a triage."""
FILES = (PROGRAM, "program.toml", "issue.md")


def hunt(folder: Path, given: argparse.Namespace, *, resume: bool) -> list[str]:
    """The command of the hunt."""
    places = ["--finds", str(folder / "finds"), "--reports", str(folder / "reports")]
    options = ["--sources", "generate", "--subject", given.subject, "--time", given.time, "--seed", str(given.seed), "--jobs", "1"]
    return [sys.executable, "-m", "diffcheck", "hunt", "--quiet", *options, *places, *["--resume"] * resume]


def wrong(folder: Path, before: dict[str, str]) -> list[str]:
    """What is wrong with the finds, of which some were there before: name and cause. Adds the finds that are there."""
    found = FindsFolder(folder / "finds")
    lost = [f"lost: {name}" for name, cause in before.items() if name not in found.finds or found.finds[name].cause != cause]
    halves = [f"damaged: {name}" for name in found.finds if any(not (found.path / name / each).is_file() for each in FILES)]
    twice = [f"twice: {cause}" for cause, count in Counter(each.cause for each in found.finds.values()).items() if count > 1]
    before.update({name: each.cause for name, each in found.finds.items()})
    return [*lost, *halves, *twice]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="kills (default: 50)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the programs and of the instants (default: 1)")
    parser.add_argument("--subject", default="kilnd", help="the subject (default: kilnd)")
    parser.add_argument("--time", default="10m", help="the time of the hunt, without what kills cost (default: 10m)")
    given = parser.parse_args()
    chance, finds, problems, resumable = Random(given.seed), {}, [], False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for at in range(given.kills + 1):
            limit_s = chance.uniform(0.5, LONGEST_S) if at < given.kills else None
            with suppress(subprocess.TimeoutExpired):
                code = subprocess.run(hunt(folder, given, resume=resumable), timeout=limit_s, check=False).returncode  # SIGKILL
                problems += [f"exit code {code}"] if code > 1 else []
            resumable = (folder / "reports" / "hunt" / "hunt.json").is_file()
            problems += wrong(folder, finds)
            print(f"kill {at + 1}: {len(finds)} finds, {len(problems)} problems", flush=True)
    print("\n".join([f"{given.kills} kills: {len(finds)} finds, {len(problems)} problems", *problems]))
    return int(bool(problems) or not finds)


if __name__ == "__main__":
    sys.exit(main())
