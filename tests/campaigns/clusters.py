"""Seeded engine bugs against the clusters that a run tells: does one bug make one cluster, and one cluster hold one bug?

Each bug is an instruction that the stand-in engine executes wrongly in every program: its class, the instruction and so its type, what
becomes of the result (a bit flipped, a trap), for which values, and in which place (anywhere, in loops, outside of them) are drawn from
the seed. The programs are generated, each with some hundred instructions of all classes; a bug counts once it shows in at least five of
them. The tool knows nothing of them. What it says: the signatures of a capsule pass by the runner, and what ``--causes`` makes of them.

Measured is pairwise, as fixed beforehand: an item is a signature of an artifact under a bug, its label the bug, its cluster the cause, or
where none was found the signature itself. Precision is the share of the pairs in one cluster that have one bug, recall the share of the
pairs of one bug that are in one cluster. Thresholds, fixed beforehand: precision at least 0.95, recall at least 0.85.

    python -m tests.campaigns.clusters --seed 1 --bugs 30
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import case_run as cases
from diffcheck.runner import planning
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.passes import confirmation
from diffcheck.runner.request import Request
from diffcheck.triage import causes
from diffcheck.triage.localise.localiser import Localiser
from tests.campaigns.wrong_engine import CLASSES, Wrong, draw, program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.runner.plan import Plan

REQUEST = Request((), mode="capsule")
POOL = 24
LEAST = 5
MOST = 6
PRECISION, RECALL = 0.95, 0.85


class Item(msgspec.Struct, frozen=True):
    """A signature of an artifact under a bug, and the cause that was found for it; ``right`` is whether it names the instruction."""

    bug: int
    artifact: str
    signature: str
    cause: str
    right: bool


def shown(plan: Plan, wrong: Wrong, inner: Backend, oracle: Backend, host: Host) -> dict[str, str]:
    """The signatures of a case under a bug, each with the row that it shows in first."""
    subject = FaultyBackend(inner, wrong.fault(), words=True)
    report = cases.run(plan, 24, oracle, subject, host, "standin")
    found: dict[str, str] = {}
    for one in report.passes[0].divergences:
        found.setdefault(one.signature, one.where.row)
    return found


def items(wrong: Wrong, number: int, made: Sequence[Plan], real: Oracle, oracle: Backend, inner: Backend, host: Host) -> list[Item]:
    """What is reported of a bug, in up to ``MOST`` of the programs; nothing where it shows in fewer than ``LEAST``."""
    seen = []
    for plan in made:
        signatures = shown(plan, wrong, inner, oracle, host)
        if signatures:
            seen.append((plan, signatures))
        if len(seen) == MOST:
            break
    if len(seen) < LEAST:
        return []
    found = []
    for plan, signatures in seen:
        for signature, row in signatures.items():
            answer = Localiser(plan, REQUEST, real, FaultyBackend(inner, wrong.fault(), words=False), host).localise(row)
            cause = causes.cause_name(answer)
            found.append(Item(number, plan.case.id, signature, cause, cause.startswith(f"{wrong.instruction} ")))
    return found


def of_seed(seed: int, part: int, parts: int, bugs: int, programs: int = POOL) -> list[tuple[Wrong, list[Item]]]:
    """Every ``parts``-th of a seed's bugs, from ``part`` on; the programs and the order of the bugs follow from the seed alone."""
    rng = random.Random(seed)
    texts = [program(random.Random(rng.random())) for _ in range(programs)]
    wanted = draw(rng, 3 * bugs)
    with tempfile.TemporaryDirectory() as folder, process.Reactor() as reactor:
        host = contract.Host(reactor, Path(folder))
        real, inner = registry.create("wasmtime", {}), registry.create("wasmtime", {})
        assert isinstance(real, contract.Oracle)
        oracle = confirmation.MemoizingBackend(real)
        made = []
        for number, text in enumerate(texts):
            path = Path(folder) / f"program{number:02}.wasm"
            path.write_bytes(real.assemble(text.encode(), contract.RunLimits(), host))
            made.append(
                planning.make(
                    case_of(ObserveRequest(str(path))), REQUEST, real, oracle, FaultyBackend(inner, None, words=True), host
                )
            )
        reported = []
        for number, wrong in list(enumerate(wanted))[part::parts]:
            order = random.Random(f"{seed} {number}")
            found = items(wrong, number, order.sample(made, len(made)), real, oracle, inner, host)
            reported.append((wrong, found))
            if sum(bool(each) for _, each in reported) * parts >= bugs:
                break
        real.close()
        inner.close()
    return reported


def pairwise(labelled: Sequence[tuple[object, object]]) -> tuple[float, float]:
    """Precision and recall over the pairs of items, each with its label and its cluster."""
    both = together = same = 0
    for (label, cluster), (other, another) in itertools.combinations(labelled, 2):
        together += cluster == another
        same += label == other
        both += cluster == another and label == other
    return both / max(together, 1), both / max(same, 1)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--bugs", type=int, default=30)
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("-v", "--verbose", action="store_true", help="show each bug with what was reported of it")
    chosen = options.parse_args()
    begun = time.monotonic()
    with ProcessPoolExecutor(chosen.jobs) as pool:
        parts = pool.map(of_seed, *zip(*((chosen.seed, at, chosen.jobs, chosen.bugs) for at in range(chosen.jobs)), strict=True))
        reported = [each for part in parts for each in part]
    found = [each for _, each in reported if each]
    flat = [each for one in found for each in one]
    if chosen.verbose:
        for wrong, each in reported:
            print(f"{wrong}: {dict(Counter(one.cause or '(none)' for one in each)) or 'shows in too few programs'}")
    print(
        f"seed {chosen.seed}: {len(found)} bugs of {len({wrong.kind for wrong, each in reported if each})} of {len(CLASSES)} classes, "
        f"{sum(not each for _, each in reported)} more drawn that show in fewer than {LEAST} programs; {len(flat)} items "
        f"({sum(each.right for each in flat)} with the right instruction, {sum(not each.cause for each in flat)} without any), "
        f"at least {min((len({one.artifact for one in each}) for each in found), default=0)} programs each, "
        f"in {time.monotonic() - begun:.0f} s"
    )
    by_signature = pairwise([(each.bug, each.signature) for each in flat])
    print(f"by signature alone: precision {by_signature[0]:.3f}, recall {by_signature[1]:.3f}")
    precision, recall = pairwise([(each.bug, each.cause or each.signature) for each in flat])
    print(f"by cause: precision {precision:.3f}, at least {PRECISION:g}; recall {recall:.3f}, at least {RECALL:g}")
    return int(precision < PRECISION or recall < RECALL or len(found) < chosen.bugs)


if __name__ == "__main__":
    sys.exit(main())
