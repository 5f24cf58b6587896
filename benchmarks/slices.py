"""CPU time of a sliced capsule against the whole one, and against kilnd alone on the artifact with closed imports.

    python benchmarks/slices.py [--kilnd PATH] [--auto-rows] [--memory 12] MODULE...

For each module: the same rows, planned beforehand, sliced and whole, each with planning, slicing, the oracle and kilnd. Kilnd alone
loads what ``diffcheck seal`` writes and executes no row; it counts once for each execution of the sliced run, since a row that traps
ends an execution of kilnd alone as well. The load check, which only the first night has, is printed apart. A module that is expected
to need more than ``--memory`` GB as a whole is left out. Starting the oracle's server is not counted. Targets, for the sums: at most
half of each for modules of more than 200 functions, at most as much for smaller ones.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import common
import msgspec

from diffcheck.backend import contract, registry
from diffcheck.capsule.sealed_artifact import close, loadable
from diffcheck.cases.discovery import Case
from diffcheck.errors import DiffcheckError
from diffcheck.observation import Execution, Refused, sentence
from diffcheck.runner import case_run, slicing
from diffcheck.runner import plan as plans
from diffcheck.runner.passes.load_check import LoadCheck
from diffcheck.runner.plan import CapsulePlan, Plan, world
from diffcheck.runner.request import Request, Slice
from diffcheck.runner.row_plans.row_planning import RowPlan
from diffcheck.verdict import CaseReport

MANY, TARGETS = 200, {True: 0.5, False: 1.0}
"""Functions, and the target for modules with more of them, and with fewer."""
T = TypeVar("T")
_EMPTY = b"\0asm\x01\0\0\0"


class Measured(msgspec.Struct, frozen=True):
    """CPU times of a module in seconds: the sliced run, kilnd in it with so many ``executions``, the whole run, and kilnd alone for
    one execution (``load``) and for as many.
    """

    module: str
    functions: int
    kept: int
    rows: int
    executions: int
    sliced: float
    kilnd: float
    whole: float
    load: float
    load_check: float
    verdicts: tuple[str, str]
    bare_outcome: str

    @property
    def bare(self) -> float:
        """The CPU time of kilnd alone for as many executions as the sliced run has."""
        return self.load * max(1, self.executions)

    def __str__(self) -> str:
        return (
            f"{self.module[:44]:44} {self.functions:6} {self.kept:5} {self.rows:4} {self.executions:4}  {self.sliced:6.2f} "
            f"({self.kilnd:6.2f}) {self.whole:6.2f} {self.bare:6.2f}  {self.sliced / self.whole:5.2f} {self.sliced / self.bare:5.2f}  "
            f"{self.load_check:6.2f}  {' / '.join(dict.fromkeys(self.verdicts))}; alone: {self.bare_outcome}"
        )


HEAD = f"{'module':44} {'funcs':>6} {'kept':>5} rows runs  sliced (kilnd)   whole  alone  /whole /alone  load check"


class Engines:
    """Engines that live for one measurement, and the CPU time of all that it started."""

    def __init__(self, kilnd: str, limits: contract.RunLimits) -> None:
        self._kilnd, self._limits, self._idle_s = kilnd, limits, 0.0
        self._idle_s = statistics.median(self.cpu_s(lambda *_: None)[1] for _ in range(3))

    def cpu_s(self, work: Callable[[contract.Oracle, contract.Backend, contract.Host], T]) -> tuple[T, float]:
        """The result of a work, and its CPU time in seconds without that of a server that does nothing."""
        before = _cpu_s()
        with contract.local_host() as host:
            oracle, subject = registry.create("wasmtime", {}), registry.create("kilnd", {"kilnd": self._kilnd})
            assert isinstance(oracle, contract.Oracle), "wasmtime is one"
            oracle.validate(_EMPTY, self._limits, host)
            result = work(oracle, subject, host)
            oracle.close()
            subject.close()
        return result, _cpu_s() - before - self._idle_s


def _cpu_s() -> float:
    return sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


class Rows:
    """Planned rows, kept from one plan to the next."""

    def __init__(self) -> None:
        self._plans: dict[str, RowPlan] = {}

    def get(self, name: str) -> RowPlan | None:
        """The rows planned under a name."""
        return self._plans.get(name)

    def put(self, name: str, plan: RowPlan) -> None:
        """Keep planned rows."""
        self._plans[name] = plan


class Measurement:
    """The measurement of one module."""

    def __init__(self, path: Path, request: Request, engines: Engines) -> None:
        self._path, self._engines, self._rows = path, engines, Rows()
        self._requests = {when: msgspec.structs.replace(request, slice=when) for when in ("always", "never")}

    def measure(self, most_bytes: float) -> Measured | str:
        """The figures; the reason if there are none."""
        (plan, _), _ = self._engines.cpu_s(lambda *engines: (self._plan("never", *engines), None))
        if not isinstance(plan, CapsulePlan):
            return plan.reason if isinstance(plan, plans.SkippedPlan) else plan.no_capsule
        if plan.memory_bytes > most_bytes:
            return f"expected to need {plan.memory_bytes / 1e9:.1f} GB as a whole"
        (sliced, made), sliced_s = self._run("always")
        if not isinstance(made, CapsulePlan) or made.slice is None:
            return f"not sliced: {'; '.join(made.notes) if isinstance(made, CapsulePlan) else sliced.reason}"
        (whole, _), whole_s = self._run("never")
        bare, bare_s = self._bare(plan)
        _, load_s = self._engines.cpu_s(lambda oracle, subject, host: LoadCheck(made, oracle, subject, host, None).report())
        side = next(each.subject for each in sliced.passes if each.mode == "capsule")
        assert side is not None, "the pass was run"
        return Measured(
            module=self._path.name, functions=len(plan.module.functions), kept=made.slice.kept, rows=len(plan.case_rows),
            executions=side.cost.executions, sliced=sliced_s, kilnd=side.cost.cpu_ns / 1e9, whole=whole_s, load=bare_s,
            load_check=load_s, verdicts=(sliced.verdict, whole.verdict), bare_outcome=bare,
        )  # fmt: skip

    def _plan(self, when: Slice, oracle: contract.Oracle, subject: contract.Backend, host: contract.Host) -> Plan:
        request = self._requests[when]
        plan = plans.make(Case(self._path.name, str(self._path)), request, oracle, oracle, subject, host, stored=self._rows)
        return slicing.chosen(plan, request, oracle, subject, host)

    def _run(self, when: Slice) -> tuple[tuple[CaseReport, Plan], float]:
        def run(oracle: contract.Oracle, subject: contract.Backend, host: contract.Host) -> tuple[CaseReport, Plan]:
            plan = self._plan(when, oracle, subject, host)
            request = self._requests[when]
            return case_run.run(plan, request.max_passes, oracle, subject, host, "kilnd", request), plan

        return self._engines.cpu_s(run)

    def _bare(self, plan: CapsulePlan) -> tuple[str, float]:
        """The outcome of kilnd alone and its CPU time; without exports if it does not load it with them."""
        given = world(plan.case, program_name=False)

        def execute(wasm: bytes) -> Execution:
            program = contract.Program(kind="direct", wasm=wasm, entry=plan.entry or contract.HARNESS_ENTRIES[0])
            return self._engines.cpu_s(lambda _, subject, host: subject.execute(program, plan.limits, host))[0]

        execution, what = execute(close(plan.module, given).wasm), ""
        if isinstance(execution.outcome, Refused) and execution.outcome.stage == "load":
            execution, what = execute(loadable(plan.module, given)), ", without exports"
        return sentence(execution.outcome) + what, execution.cost.cpu_ns / 1e9


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="+", metavar="MODULE", help="modules, or folders of them")
    parser.add_argument("--kilnd", help="path of kilnd (default: DIFFCHECK_KILND, then PATH)")
    parser.add_argument("--auto-rows", action="store_true", help="rows by --auto-rows in place of the default rows")
    parser.add_argument("--memory", type=float, default=12.0, help="the most memory of a whole module in GB (default: 12)")
    given = parser.parse_args()
    kilnd = common.kilnd(given.kilnd)
    request = Request(
        (), subject="kilnd", options={"kilnd": kilnd}, mode="capsule", rows="auto" if given.auto_rows else "declared",
        deadline_s=600.0, memory_bytes=round(given.memory * 1.2e9), load_check="never", hangs=False,
    )  # fmt: skip
    every = [each for path in given.paths for each in ([path] if path.is_file() else path.glob("*.wasm"))]
    engines, found = Engines(kilnd, contract.RunLimits(request.deadline_s, request.memory_bytes)), []
    print(HEAD, flush=True)
    for path in sorted(every, key=lambda each: (each.stat().st_size, each.name)):
        begun = time.monotonic()
        try:
            measured = Measurement(path, request, engines).measure(given.memory * 1e9)
        except DiffcheckError as error:
            measured = error.line
        if isinstance(measured, Measured):
            found.append(measured)
            print(measured, flush=True)
        else:
            print(f"{path.name[:44]:44} {measured}", flush=True)
        common.note(f"{path.name}: {time.monotonic() - begun:.0f} s")
    return common.show(*(line for many in (True, False) for line in _sums(found, many=many)))


def _sums(found: list[Measured], *, many: bool) -> list[common.Line]:
    """The ratios of sums over the modules of more than ``MANY`` functions, or over the others."""
    ours = [each for each in found if (each.functions > MANY) == many]
    if not ours:
        return []
    sliced, whole, bare, load = (sum(getattr(each, name) for each in ours) for name in ("sliced", "whole", "bare", "load_check"))
    which = f"{len(ours)} modules of {'more than' if many else 'at most'} {MANY} functions"
    detail = f"sliced {sliced:.1f} s, whole {whole:.1f} s, alone {bare:.1f} s; the first load check {load:.1f} s; {common.load()}"
    return [
        common.Line(f"{which}: sliced against whole", sliced / whole, TARGETS[many], detail=detail),
        common.Line(f"{which}: sliced against kilnd alone", sliced / bare, TARGETS[many]),
    ]


if __name__ == "__main__":
    sys.exit(main())
