"""How far the expected memory of a subject is from what it takes, for real modules as a whole and sliced.

    python benchmarks/expected_memory.py FOLDER [--kilnd PATH] [--memory 12] [--whole-only]

FOLDER has the modules, fetched by their package managers. Each is run once with rows by the automatic rules; a form that is expected
to need more than ``--memory`` GB is left out. The target is an error of at most 30 %.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import common

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.capsule import layout as lo
from diffcheck.cases.discovery import discover, load_case
from diffcheck.errors import DiffcheckError
from diffcheck.observation import Returned, Trapped, sentence
from diffcheck.runner import plan as plans
from diffcheck.runner import planning, slicing
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.request import Request
from diffcheck.runner.split.row_groups import ExecutedFunctions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.cases.discovery import Item
    from diffcheck.runner.plan import CapsulePlan

TARGET = 0.3


class Measure:
    """The engines, and the memory that a plan may be expected to need."""

    def __init__(self, request: Request, host: contract.Host, most_bytes: float, *, slices: bool) -> None:
        oracle = registry.create("wasmtime", {})
        assert isinstance(oracle, contract.Oracle), "wasmtime is one"
        self._oracle, self._subject = oracle, registry.create(request.subject, request.options)
        self._request, self._host, self._most_bytes, self._slices = request, host, most_bytes, slices

    def errors(self, item: Item) -> Iterator[float]:
        """Yield the error of each form of a module as a ratio, and print it."""
        plan = planning.make(load_case(item), self._request, self._oracle, self._oracle, self._subject, self._host)
        if not isinstance(plan, plans.CapsulePlan):
            return
        yield from self._run("whole", item.id, plan)
        if self._slices:
            try:
                made = slicing.in_slices(plan, ExecutedFunctions(plan, self._oracle, self._host), self._subject)
                if isinstance(made, plans.CapsulePlan):
                    yield from self._run("sliced", item.id, made)
            except DiffcheckError as error:
                common.note(f"{item.id}: not sliced: {error.line}")

    def _run(self, form: str, name: str, plan: CapsulePlan) -> Iterator[float]:
        if plan.memory_bytes > self._most_bytes:
            return
        side = CapsuleSide(self._subject, plan.capsules.subject, plan.limits, self._host)
        ended = side.run(lo.Parameters(0, len(plan.rows) - plan.layout.n_init)).outcome
        if not isinstance(ended, Returned | Trapped):
            common.note(f"{name}: {form}: {sentence(ended)}")
            return
        error = plan.memory_bytes / max(1, side.cost.peak_bytes) - 1
        sizes = (
            f"{plan.functions:6} functions, expected {plan.memory_bytes / 1e6:7,.0f} MB, took {side.cost.peak_bytes / 1e6:7,.0f} MB"
        )
        print(f"{error:+7.1%}  {form:6}  {sizes}  {name}", flush=True)
        yield error


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kilnd", help="the program (default: DIFFCHECK_KILND, else on PATH)")
    parser.add_argument("--memory", type=float, default=12.0, help="the most memory of a run in GB (default: 12)")
    parser.add_argument("--whole-only", action="store_true", help="no slices")
    given = parser.parse_args()
    request = Request(
        (str(given.folder),), subject="kilnd", options={"kilnd": common.kilnd(given.kilnd)}, mode="capsule", rows="auto",
        deadline_s=120.0, memory_bytes=round(given.memory * 1.4e9),
    )  # fmt: skip
    with process.Reactor() as reactor, process.private_folder() as folder:
        measure = Measure(request, contract.Host(reactor, folder), given.memory * 1e9, slices=not given.whole_only)
        errors = [error for item in discover([given.folder]).items for error in measure.errors(item)]
    sizes = [abs(each) for each in errors]
    detail = f"median {statistics.median(sizes):.1%} of {len(sizes)} runs; {common.load()}"
    return common.show(common.Line("the largest error of the expected memory", max(sizes), TARGET, detail=detail))


if __name__ == "__main__":
    sys.exit(main())
