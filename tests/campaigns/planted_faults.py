"""Faults of every class, planted where the twin proves that they show: none may be called agreement, nearly all are at the right place.

    python -m tests.campaigns.planted_faults [--faults 500] [--seed 1] [--only CLASS]

The oracle is wasmtime. The subject is wasmtime or its interpreter with the fault, half of them as an engine that carries windows of
the stream and nothing at a trap; what such an engine cannot carry is neither planted nor counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import msgspec

from diffcheck import process
from tests.campaigns import (
    call_programs,
    exception_programs,
    nan_programs,
    reference_programs,
    table_programs,
    trap_programs,
    write_programs,
)
from tests.campaigns.nan_campaign import KINDS as NAN_KINDS
from tests.campaigns.program import Program
from tests.campaigns.trial import Bench, Trial, draw, judge

Generate = Callable[[int], Program]
CLASSES: tuple[tuple[str, str, Generate], ...] = (
    *((f"NaN bits: {kind}", kind, nan_programs.generate) for kind in NAN_KINDS),
    *((kind, kind, call_programs.generate) for kind in ("import argument", "import order", "import buffer")),
    *((kind, kind, exception_programs.generate) for kind in ("exception tag", "exception payload")),
    *(
        (f"reference: {kind}", kind, reference_programs.generate)
        for kind in ("i31", "field", "element", "identity", "function identity")
    ),
    ("table element", "table element", table_programs.generate),
    ("state before a trap", "state before a trap", trap_programs.generate),
    *(("state-changing instruction", "write", write_programs.generate),) * 4,
)
"""The class in a table, its name among sites, and the generator of its programs; what stands several times has more faults."""
PROGRAMS = 100
"""How many programs are tried for one observable fault."""


class Planted(msgspec.Struct, frozen=True):
    """A trial with its class, its seed and how many faults were planted until one showed; ``trial`` is None where none did."""

    class_: str
    seed: int
    planted: int
    trial: Trial | None

    @property
    def agreed(self) -> bool:
        return self.trial is not None and self.trial.verdict == "agree"


def trials(
    benches: tuple[Bench, ...], seed: int, count: int, classes: tuple[tuple[str, str, Generate], ...] = CLASSES
) -> Iterator[Planted]:
    """So many observable faults, the classes in turn; where an instruction is atomic, in the first engine, which has threads."""
    for at in range(count):
        name, kind, generate = classes[at % len(classes)]
        yield _trial(benches, name, kind, generate, seed * 1_000_003 + at * PROGRAMS)


def _trial(benches: tuple[Bench, ...], name: str, kind: str, generate: Generate, first: int) -> Planted:
    planted = 0
    for seed in range(first, first + PROGRAMS):
        program, chance = generate(seed), Random(seed)
        words = chance.randrange(2) == 0
        bench = benches[(seed // PROGRAMS) % len(benches) if ".atomic." not in program.sites[0].instruction else 0]
        drawn, tried = draw(program, chance, kind, tries=6, words=words, target=bench.target)
        planted += tried
        if drawn is not None:
            report = bench.run(program, marked=drawn.marked, fault=drawn.fault, words=words)
            return Planted(name, seed, planted, judge(program, drawn, report))
    return Planted(name, first, planted, None)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=500, help="observable faults (default: 500)")
    parser.add_argument("--seed", type=int, default=1, help="a number that all programs and faults follow from (default: 1)")
    parser.add_argument("--only", default="", help="classes whose name has this text")
    given = parser.parse_args()
    classes = tuple(each for each in CLASSES if given.only in each[0])
    with process.Reactor() as reactor, tempfile.TemporaryDirectory() as folder:
        benches = tuple(Bench(reactor, Path(folder), subject) for subject in ("wasmtime", "wasmtime-pulley"))
        try:
            begun, found = time.monotonic(), []
            for each in trials(benches, given.seed, given.faults, classes):
                found.append(each)
                _show(each)
            return _summary(found, time.monotonic() - begun)
        finally:
            for bench in benches:
                bench.close()


def _show(each: Planted) -> None:
    trial = each.trial
    if trial is None:
        print(f"  seed {each.seed}: {each.class_}: no observable fault in {each.planted}", flush=True)
    elif not trial.right:
        print(f"  seed {each.seed}: {each.class_}: {trial.instruction} as {trial.wrong}")
        places = ", ".join(f"{place.row or 'state'}: {place.item}" for place in trial.where)
        print(f"      {trial.verdict}: {trial.reported}; expected at {places}", flush=True)


def _summary(found: list[Planted], elapsed_s: float) -> int:
    planted: Counter[str] = Counter()
    for each in found:
        planted[each.class_] += each.planted
    print(f"{'class':32} planted  observable  agreement  right place")
    for name in dict.fromkeys(each[0] for each in CLASSES):
        ours = [each for each in found if each.class_ == name and each.trial]
        if planted[name]:
            print(f"{name:32} {planted[name]:7} {len(ours):11} {sum(each.agreed for each in ours):10} {_right(ours):12}")
    every = [each for each in found if each.trial]
    agreed, right = sum(each.agreed for each in every), _right(every)
    print(f"{'all':32} {planted.total():7} {len(every):11} {agreed:10} {right:12}  in {elapsed_s:.0f} s")
    return int(agreed > 0 or right < 0.99 * len(every))


def _right(found: list[Planted]) -> int:
    return sum(each.trial is not None and each.trial.right for each in found)


if __name__ == "__main__":
    sys.exit(main())
