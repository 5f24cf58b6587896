"""Instruction faults planted in an engine, one at a time, and localised: ``python -m tests.campaigns.localise --seed 1 --faults 60``.

The faults are drawn from the seed, in programs of the corpus; what localising is given is an artifact and an engine. Where the first wrong
execution is, is known from the engine alone: it counts while it runs the capsule without instrumentation. Exact means the same function,
offset and execution. ``--everywhere`` has the engine wrong in an instruction wherever it stands, the tool's own code included;
``--windows`` has it a process a run that carries windows only, and nothing at a trap, as engines of the harness protocol do.
"""

from __future__ import annotations

import argparse
import sys

from diffcheck import process
from tests.triage.trials import Bench, Trial, summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--everywhere", action="store_true", help="wrong wherever the instruction stands")
    parser.add_argument("--windows", action="store_true", help="an engine that carries windows, and nothing at a trap")
    given = parser.parse_args()
    trials: list[Trial] = []
    with process.Reactor() as reactor, process.private_folder() as folder:
        bench = Bench(reactor, folder, given.seed, words=given.windows, everywhere=given.everywhere)
        for trial in bench.trials(given.faults):
            if isinstance(trial, str):
                print(trial, flush=True)
                continue
            trials.append(trial)
            print(f"{len(trials):3} {trial}", flush=True)
            if not trial.exact:
                print("      ", trial.truth, "|", trial.answer, trial.answer.notes, flush=True)
        bench.close()
    print(summary(trials))
    return int(not all(each.exact for each in trials))


if __name__ == "__main__":
    sys.exit(main())
