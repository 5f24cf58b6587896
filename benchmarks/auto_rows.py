"""What ``--auto-rows`` executes of real modules, in functions entered under the oracle.

    python benchmarks/auto_rows.py FOLDER [--against CHECKOUT]

For each module in FOLDER: its functions, those that the default rows enter and those that the rows of ``--auto-rows`` enter. Rows that
do not return end their instance, as in a run, and at most 64 instances are run; a row that does not end is the last. With ``--against`` another checkout, which has a
``.venv`` of its own, does the same. Targets: the median module executes at least 35 % of its functions; three times as many in
sum as the other checkout's.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.slicing.entry_marks import entered, mark_entries
from diffcheck.errors import DiffcheckError
from diffcheck.runner import plan as plans
from diffcheck.runner import planning
from diffcheck.runner.engines import choose, open_engines
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.decoded_instance import decoded
from diffcheck.runner.passes.instances import MAX_INSTANCES
from diffcheck.runner.request import Request
from diffcheck.wasm import module as wasm

MEDIAN, TIMES = 0.35, 3.0
COMPILING_S = 8e-6
"""Seconds for each byte of a module."""
ROWS_S = 5.0
"""Seconds for the rows of an instance."""


class Measured(msgspec.Struct, frozen=True):
    """The functions of a module, and those that the default rows and the rows of ``--auto-rows`` enter; ``rows`` of the latter, and
    the executions that they take; ``planning_s`` is the time for all plans.
    """

    module: str
    functions: int
    default: int
    auto: int
    rows: int = 0
    executions: int = 0
    planning_s: float = 0.0
    why: str = ""


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--against", type=Path, default=None)
    parser.add_argument("--json", action="store_true", help="a line of JSON for each module")
    given = parser.parse_args()
    every = [each for path in given.paths for each in ([path] if path.is_file() else path.glob("*.wasm"))]
    files = sorted(every, key=lambda each: (each.stat().st_size, each.name))
    mine = []
    for file in files:
        found = measure(file)
        mine.append(found)
        if given.json:
            print(msgspec.json.encode(found).decode(), flush=True)
        else:
            print(line(found), flush=True)
    if given.json:
        return 0
    other = _other(given.against, given.paths) if given.against else {}
    return _summary(mine, other)


def line(found: Measured) -> str:
    """A module's line."""
    share = found.auto / max(1, found.functions)
    return (
        f"{found.module[:60]:60} {found.functions:6} default {found.default:5} auto {found.auto:5} {share:6.1%}"
        f" rows {found.rows:4} executions {found.executions:3} {found.planning_s:6.1f} s {found.why}"
    )


def _other(checkout: Path, paths: list[Path]) -> dict[str, Measured]:
    command = [str(checkout / ".venv/bin/python"), __file__, "--json", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=checkout)
    found = [msgspec.json.decode(each, type=Measured) for each in done.stdout.splitlines()]
    return {each.module: each for each in found}


def _summary(mine: list[Measured], other: dict[str, Measured]) -> int:
    median = statistics.median(each.auto / max(1, each.functions) for each in mine)
    total = sum(each.auto for each in mine)
    print(f"{len(mine)} modules: the median executes {median:.1%} (target {MEDIAN:.0%}), {total:,} functions in sum")
    if not other:
        return int(median < MEDIAN)
    for each in mine:
        print(f"{each.module[:60]:60} {each.functions:6} before {other[each.module].auto:5} after {each.auto:5}")
    before = sum(each.auto for each in other.values())
    share = statistics.median(each.auto / max(1, each.functions) for each in other.values())
    print(f"before: the median executes {share:.1%}, {before:,} in sum: {total / max(1, before):.2f} times (target {TIMES})")
    return int(median < MEDIAN or total < TIMES * before)


def measure(path: Path) -> Measured:
    """What the rows of one module enter."""
    functions, counts, why, rows, executions = len(wasm.read(path.read_bytes()).functions), [0, 0], "", 0, 0
    begun, planning_s = time.monotonic(), 0.0
    deadline_s = 10.0 + COMPILING_S * path.stat().st_size
    for at, mode in enumerate(("declared", "auto")):
        asked = Request((str(path),), subject="wasmtime-pulley", mode="capsule", rows=mode, deadline_s=deadline_s)
        request = choose(asked).request
        try:
            with open_engines(request) as opened:
                begun = time.monotonic()
                case = case_of(ObserveRequest(str(path)))
                plan = planning.make(case, request, opened.oracle, opened.oracle, opened.subject, opened.host)
                planning_s = time.monotonic() - begun
                capsule = plans.require_capsule(plan)
                found, executions = _entered(capsule, opened.oracle, opened.host)
                counts[at], rows = len(found), len(capsule.rows)
        except DiffcheckError as error:
            why = error.line[:120]
    return Measured(path.name, functions, counts[0], counts[1], rows, executions, planning_s, why)


def _entered(plan: plans.CapsulePlan, oracle: object, host: object) -> tuple[set[int], int]:
    """The functions that a plan's rows enter up to the first that does not end, and the number of instances."""
    capsule = plan.rebuild(wasm.read(mark_entries(plan.module)), plan.calls).oracle
    side = CapsuleSide(oracle, capsule, plan.limits, host)
    side.run(lo.Parameters(0, 0))  # compiles
    side.limits = msgspec.structs.replace(side.limits, deadline_s=ROWS_S)
    layout, found, first, instances = capsule.layout, set(), 0, 0
    last = len(layout.rows) - layout.n_init
    while (first < last or not instances) and instances < MAX_INSTANCES:
        instances += 1
        ran = side.run(lo.Parameters(first, last))
        if ran.image is None:
            last = _first_endless(side, first, last)
            ran = side.run(lo.Parameters(first, last))
        if ran.image is None:
            break
        instance = decoded(ran.image, ran.outcome, layout)
        found |= entered({name: value.bits for name, value in instance.state.globals.items()})
        first = last if instance.stop is None else first + max(0, instance.stop - layout.n_init) + 1
    return found, instances


def _first_endless(side: CapsuleSide, first: int, last: int) -> int:
    """The first row that does not end, by bisection."""
    low, high = first, last
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if side.run(lo.Parameters(first, middle)).image is None else (middle, high)
    return low


if __name__ == "__main__":
    sys.exit(main())
