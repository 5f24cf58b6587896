"""Instruction faults of every family, half of them for one class of operands only: a sweep finds each, at its instruction.

    python -m tests.campaigns.sweep_faults [--faults 200] [--seed 1] [-v]

The oracle is wasmtime; the subject is wasmtime with the fault, wherever a program of the sweep has the instruction.
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

import msgspec

from diffcheck import process
from diffcheck.runner.sweep import operations
from diffcheck.runner.sweep.sweep import Sweep
from tests.campaigns.sweep_engine import SweepBench, Wrong

NO_FAULT = frozenset(
    {
        *("nop", "block", "loop", "else", "end", "drop", "unreachable", "return", "br", "atomic.fence"),  # no operand and no result
        *(
            "data.drop",
            "elem.drop",
            "ref.null",
            "ref.func",
            "ref.as_non_null",
            "table.get",
            "any.convert_extern",
            "extern.convert_any",
        ),
        *("br_on_null", "br_on_non_null", "br_on_cast", "br_on_cast_fail", "ref.cast", "ref.cast_null", "throw_ref", "try_table"),
        *("try", "catch", "catch_all", "rethrow", "delegate", "memory.atomic.wait32", "memory.atomic.wait64", "return_call_ref"),
        *("table.set", "struct.new_default", "array.init_elem", "array.new_elem"),
    }
)
"""Instructions without a numeric operand or result to be wrong, or with none that a program could see."""
INDEXED = ("memory", "tables", "references")


class Trial(msgspec.Struct, frozen=True):
    """A fault with what the sweep reported: the instructions, the first rows."""

    family: str
    wrong: Wrong
    found: tuple[str, ...]
    rows: tuple[str, ...]
    elapsed_s: float

    @property
    def right(self) -> bool:
        """Whether the instruction is reported, and no other."""
        return self.found == (self.wrong.instruction,)


def draw(seed: int, count: int) -> Iterator[tuple[str, Wrong]]:
    """So many faults, the families in turn, every second one for a class of operands."""
    chance = Random(seed)
    by_family: dict[str, list[str]] = {}
    for each in operations.of(operations.FAMILIES):
        if (
            each.instruction not in NO_FAULT
            and each.family != "immediates"
            and each.instruction not in by_family.get(each.family, ())
        ):
            by_family.setdefault(each.family, []).append(each.instruction)
    families = sorted(by_family)
    for at in range(count):
        family = families[at % len(families)]
        instruction = chance.choice(by_family[family])
        classes = ("odd",) if family in INDEXED else ("negative", "odd")
        yield family, Wrong(instruction, chance.choice(classes) if at // len(families) % 2 else "")


def trial(bench: SweepBench, family: str, wrong: Wrong) -> Trial:
    """The fault as a sweep of its family reports it; control has the instructions that all programs need."""
    begun, chosen = time.monotonic(), operations.of({family, "control"})
    bench.wrong = wrong
    sweep = Sweep(chosen, bench)
    sweep.run(1, 0.0)
    found = tuple(dict.fromkeys(each.operation.instruction for each in sweep.found))
    return Trial(family, wrong, found, tuple(each.text for each in sweep.found[:3]), time.monotonic() - begun)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200, help="faults (default: 200)")
    parser.add_argument("--seed", type=int, default=1, help="a number that all faults follow from (default: 1)")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each fault")
    given = parser.parse_args()
    begun, found = time.monotonic(), []
    with process.Reactor() as reactor, tempfile.TemporaryDirectory() as folder:
        bench = SweepBench(reactor, Path(folder))
        try:
            for family, wrong in draw(given.seed, given.faults):
                found.append(trial(bench, family, wrong))
                if given.verbose or not found[-1].right:
                    _show(found[-1])
        finally:
            bench.close()
    return _summary(found, time.monotonic() - begun)


def _show(each: Trial) -> None:
    which = f" with {each.wrong.class_} operands" if each.wrong.class_ else ""
    reported = f"{', '.join(each.found)}: {'; '.join(each.rows)}" if each.found else "nothing"
    print(f"  {each.wrong.instruction}{which}: reported {reported}  ({each.elapsed_s:.0f} s)", flush=True)


def _summary(found: list[Trial], elapsed_s: float) -> int:
    planted, right = Counter(each.family for each in found), Counter(each.family for each in found if each.right)
    print(f"{'family':14} planted  found at the right instruction")
    for family, count in planted.items():
        print(f"{family:14} {count:7} {right[family]:8}")
    print(f"{'all':14} {planted.total():7} {right.total():8}  in {elapsed_s:.0f} s")
    return int(right.total() < 0.975 * planted.total())


if __name__ == "__main__":
    sys.exit(main())
