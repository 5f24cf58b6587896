"""NaN programs by the thousand: without a fault none may diverge, with one none may agree.

    python -m tests.campaigns.nan_campaign [--seed 1] [--programs 2000] [--faults 500]

The oracle is wasmtime. The subject is its interpreter: as it is, then with a fault in each of ``--faults`` programs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

from diffcheck import process
from diffcheck.verdict import CaseReport
from tests.campaigns import nan_programs
from tests.campaigns.trial import Bench, Trial, draw, judge

KINDS = ("copysign", "neg", "abs", "load", "select", "lane", "const", "call result", "local", "global", "store", "reinterpret",
         "pseudo minimum", "arithmetic")  # fmt: skip


def clean(bench: Bench, seeds: range) -> Iterator[tuple[int, CaseReport]]:
    """The report on each program without a fault."""
    for seed in seeds:
        yield seed, bench.run(nan_programs.generate(seed))


def faulty(bench: Bench, seeds: range) -> Iterator[tuple[int, Trial | None]]:
    """A trial for each program, the classes in turn; None where no observable fault was found in it."""
    for seed in seeds:
        program, chance, kind = nan_programs.generate(seed), Random(seed), KINDS[seed % len(KINDS)]
        words = chance.randrange(2) == 0
        drawn, _ = draw(program, chance, kind, words=words, target=bench.target)
        yield seed, drawn and judge(program, drawn, bench.run(program, marked=drawn.marked, fault=drawn.fault, words=words))


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first program's seed (default: 1)")
    parser.add_argument("--programs", type=int, default=2000, help="programs without a fault (default: 2000)")
    parser.add_argument("--faults", type=int, default=500, help="programs with a fault (default: 500)")
    given = parser.parse_args()
    with process.Reactor() as reactor, tempfile.TemporaryDirectory() as folder:
        bench = Bench(reactor, Path(folder), "wasmtime-pulley")
        try:
            return max(_clean(bench, given.seed, given.programs), _faulty(bench, given.seed, given.faults))
        finally:
            bench.close()


def _clean(bench: Bench, seed: int, count: int) -> int:
    begun, verdicts, allowed = time.monotonic(), Counter[str](), 0
    for at, report in clean(bench, range(seed, seed + count)):
        verdicts[report.verdict] += 1
        allowed += any(each.allowances for each in report.passes)
        if report.verdict != "agree":
            first = next((each for one in report.passes for each in one.divergences), None)
            print(f"  seed {at}: {report.verdict}: {first or report.reason}")
    print(f"without a fault: {count} programs, {dict(verdicts)}, {allowed} with allowances, {time.monotonic() - begun:.0f} s")
    return int(verdicts["agree"] != count)


def _faulty(bench: Bench, seed: int, count: int) -> int:
    begun, found = time.monotonic(), list[Trial]()
    seeds = seed
    while len(found) < count and seeds < seed + 100 * count:
        for at, trial in faulty(bench, range(seeds, seeds + 1)):
            if trial is not None:
                found.append(trial)
                if not trial.right:
                    print(f"  seed {at}: {trial.kind}: {trial.instruction} as {trial.wrong}: {trial.verdict}, {trial.reported}")
                    print(f"      expected: {trial.where}")
        seeds += 1
    for kind in KINDS:
        ours = [each for each in found if each.kind == kind]
        agreed, right = sum(each.verdict == "agree" for each in ours), sum(each.right for each in ours)
        print(f"{kind:16} {len(ours):5} observable, {agreed} called agreement, {right} at the right row and item")
    agreed, right = sum(each.verdict == "agree" for each in found), sum(each.right for each in found)
    print(
        f"with a fault: {len(found)} observable, {agreed} called agreement, {right} at the right row and item, {time.monotonic() - begun:.0f} s"
    )
    return int(agreed > 0 or right < 0.99 * len(found))


if __name__ == "__main__":
    sys.exit(main())
