"""The subject's executions and CPU time for N trapping rows, in a generated module or in the cases of given paths.

    python benchmarks/traps.py [--kilnd PATH] [--traps 20] [PATH ...]

The generated module has 60 functions, a memory of 17 pages, and a row that changes the state before each trapping row. Cases that do
not agree are left out, since locating a difference takes executions as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import common
import wasmtime

from diffcheck.backend import contract, registry
from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import first_stop, left_open
from diffcheck.cases.discovery import discover, load_case
from diffcheck.errors import CaseError
from diffcheck.runner import case_run, slicing
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.instances import MAX_INSTANCES
from diffcheck.runner.plan import CapsulePlan
from diffcheck.runner.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = 2
FUNCTIONS = 57


def write_case(folder: Path, traps: int) -> None:
    """A module and a case file with ``traps`` pairs of a row that changes the state and a row that traps."""
    others = "".join(f"(func (param i32) (result i32) (i32.mul (local.get 0) (i32.const {at})))" for at in range(FUNCTIONS))
    text = f"""(module (memory (export "memory") 17) (global $g (export "g") (mut i32) (i32.const 0)) {others}
      (func (export "store") (param i32) (i32.store (local.get 0) (i32.const 1)) (global.set $g (local.get 0)))
      (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"""
    (folder / "traps.wasm").write_bytes(wasmtime.wat2wasm(text))
    rows = [row for at in range(traps) for row in (f'"store={4 * at}"', f'"load={1_114_112 + at}"')]
    (folder / "traps.toml").write_text(f"rows = [{', '.join(rows)}]\n")


def trapping_rows(plan: CapsulePlan, oracle: contract.Oracle, host: contract.Host) -> int:
    """The rows that trap under the oracle, in as many instances as a run has."""
    side = CapsuleSide(oracle, plan.capsules.oracle, plan.limits, host, whole=True)
    first, last, traps = 0, plan.layout.n_rows, 0
    for _ in range(MAX_INSTANCES):
        image = side.run(lo.rows(first, last)).image
        at = first_stop(image, plan.layout) if image is not None else None
        if image is None or at is None or at < plan.layout.n_init:
            break
        traps += left_open(image, plan.layout, at)
        first += at - plan.layout.n_init + 1
        if first >= last:
            break
    return traps


def measure(paths: Sequence[Path], kilnd: str) -> list[common.Line]:
    """A line for each case with trapping rows."""
    request, lines = Request((), subject="kilnd", mode="capsule", options={"kilnd": kilnd}), []
    with contract.local_host() as host:
        oracle, subject = registry.create("wasmtime", {}), registry.create("kilnd", request.options)
        assert isinstance(oracle, contract.Oracle), "wasmtime is one"
        for item in discover(paths).items:
            try:
                plan = slicing.make(load_case(item), request, oracle, subject, host)
            except CaseError as error:
                common.note(f"{item.id}: {error}")
                continue
            if not isinstance(plan, CapsulePlan) or not (traps := trapping_rows(plan, oracle, host)):
                continue
            report = case_run.run(plan, request.max_passes, oracle, subject, host, "kilnd")
            side = report.passes[0].subject
            if report.verdict != "agree" or side is None:
                common.note(f"{item.id}: {report.verdict}, {report.reason}")
                continue
            detail = f"{side.cost.executions} executions, {side.cost.cpu_ns / 1e9:.2f} s of CPU"
            name = f"{item.id}: executions more than {traps} trapping rows"
            lines.append(common.Line(name, side.cost.executions - traps, TARGET, detail=detail))
        oracle.close()
        subject.close()
    return lines


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kilnd", help="path of kilnd (default: DIFFCHECK_KILND, then PATH)")
    parser.add_argument("--traps", type=int, default=20, help="trapping rows of the generated module (default: 20)")
    parser.add_argument("paths", nargs="*", type=Path, help="cases in place of the generated module")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_case(Path(folder), given.traps)
        return common.show(*measure(given.paths or [Path(folder)], common.kilnd(given.kilnd)))


if __name__ == "__main__":
    sys.exit(main())
