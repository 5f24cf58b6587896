"""Explore an artifact: search rows for its exports, or stdin for its entry, and write them as cases."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck import process
from diffcheck.cases.case_file import CaseLimits
from diffcheck.cases.discovery import item_at, load_case
from diffcheck.cases.rows import INIT, choose, exported, is_program
from diffcheck.config.input_files import read_regular
from diffcheck.errors import ManifestError, RunFailedError, UnrunnableError
from diffcheck.hunt.explore.argument_choice import ArgumentChoice
from diffcheck.hunt.explore.call_search import CallSearch
from diffcheck.hunt.explore.coverage import Coverage, Reached
from diffcheck.hunt.explore.stdin_search import StdinSearch, size
from diffcheck.runner import plan as plans
from diffcheck.runner import planning
from diffcheck.runner.observation_reader import ObservationReader
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.row_plans.auto_rows import AutoRows, offered_exports
from diffcheck.runner.row_plans.row_trials import RowTrials
from diffcheck.text import visible
from diffcheck.triage.writeup.case_text import case_text
from diffcheck.witness import formats

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend.contract import Host, Oracle
    from diffcheck.capsule.driver import Call
    from diffcheck.capsule.forms import Capsule
    from diffcheck.cases.discovery import Case
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.runner.plan import CapsulePlan
    from diffcheck.runner.request import Request
    from diffcheck.wasm.module import Module
    from diffcheck.witness.formats import Manifest

_SEARCHED: Final = 0.8
"""The share of the time for the search; the rest is for leaving out rows."""
_TRIAL_S: Final = 0.5
"""The time limit of a row that is tried before the search."""
_PURPOSE: Final = "rows that reach more decisions, found by diffcheck explore"


class ExploredCase(msgspec.Struct, frozen=True):
    """Rows and stdin that were found."""

    rows: tuple[str, ...]
    stdin: bytes = b""


class Explored(msgspec.Struct, frozen=True):
    """The result: the artifact's numbers of decisions and branches, the cases that were found, how many rows or inputs were tried,
    how many of them did not end, and what was reached ``before``, and ``after`` with these cases.
    """

    decisions: int
    branches: int
    cases: tuple[ExploredCase, ...]
    tried: int
    endless: int
    noun: Literal["row", "input"]
    before: Reached = Reached()
    after: Reached = Reached()


class Exploration:
    """Explores one artifact; ``request`` has its limits and stubs. Everything follows from the seed, but for the time."""

    def __init__(self, request: Request, seed: int, oracle: Oracle, host: Host, over: Callable[[], bool]) -> None:
        self._request = msgspec.structs.replace(request, mode="capsule", slice="never", rows="declared")
        self._oracle, self._host, self._over = oracle, host, over
        self._chance = Random(seed)  # noqa: S311 - reproducible, not secret

    def run(self, artifact: Path, time_s: float) -> Explored:
        """Explore for a time; raises ``UnrunnableError`` if the artifact has no capsule, no manifest, or nothing to search, and
        ``KeyboardInterrupt`` if it is over before the search.
        """
        end = time.monotonic() + time_s
        case = load_case(item_at(artifact))
        case = msgspec.structs.replace(case, limits=msgspec.structs.replace(case.limits, digest_pages=1))
        if case.manifest:  # before the plan, for which an artifact without counters may have no rows
            data = read_regular(case.manifest, formats.MANIFEST_CAP, "the manifest", ManifestError)
            _require_branches(formats.read_manifest(data), artifact)
        plan = self._plan(case)
        if plan.manifest is None:
            hint = "run `witness instrument`, and keep the manifest beside the artifact"
            raise UnrunnableError(f"{visible(str(artifact))} has no manifest of witness", hint=hint)
        _require_branches(plan.manifest, artifact)
        coverage = Coverage(plan.module, plan.manifest)
        self._require_more()
        try:
            before = coverage.reached_by(self._instances(plan))
        except RunFailedError as error:  # what the search adds could not be compared with it
            hint = "name other rows, or another stdin, in the case file"
            raise UnrunnableError(f"the rows to begin with cannot be run: {error}", hint=hint) from error
        self._require_more()
        rows = [each.name for each in plan.calls if not each.init]
        found = self._stdin(plan, coverage, end) if rows and all(map(is_program, rows)) else self._rows(plan, coverage, end)
        return msgspec.structs.replace(found, before=before)

    def _require_more(self) -> None:
        if self._over():
            raise KeyboardInterrupt

    def _plan(self, case: Case) -> CapsulePlan:
        plan = planning.make(case, self._request, self._oracle, self._oracle, self._oracle, self._host)
        return plans.require_capsule(plan, "explored")

    def _instances(self, plan: CapsulePlan) -> tuple[DecodedInstance, ...]:
        """The instances in which the rows of a plan are run."""
        sides = [CapsuleSide(self._oracle, plan.capsules.oracle, plan.limits, self._host) for _ in range(2)]
        return ObservationReader(*sides, full=False, max_passes=self._request.max_passes).read(keep_going=True).instances

    # Rows.

    def _rows(self, plan: CapsulePlan, coverage: Coverage, end: float) -> Explored:
        def build(form: Module, calls: tuple[Call, ...]) -> Capsule:
            return plan.rebuild(form, calls).oracle

        module = plan.module
        targets = offered_exports(module, exported(module))
        if not targets:
            hint = "export functions that take numbers, or `_start` of a program that reads stdin"
            raise UnrunnableError(f"{visible(plan.case.artifact)} exports no function that the search can call", hint=hint)
        given = choose(module, plan.case.rows)
        planned = AutoRows(module, plan.artifact, build, self._oracle, plan.limits, self._host).plan(given, trial_s=_TRIAL_S)
        first = choose(module, [each.row for each in planned.rows])
        called = [each.function for each in (*first.calls, *given.calls)]
        functions = list(dict.fromkeys([*called, *(each.index for each in targets)]))
        trials = RowTrials(module, functions, build, self._oracle, plan.limits, self._host)
        addresses = sorted({each.bits for call in first.calls for each in call.args if each.type == "i32" and each.bits >= _LOWEST})
        search = CallSearch(trials, coverage, first.init, targets, ArgumentChoice(module, self._chance, addresses), self._chance)
        start = [each for each in (*given.rows, *first.rows) if not each.reads]
        search.run(start, time.monotonic() + _SEARCHED * (end - time.monotonic()), self._over)
        search.minimise(end)
        rows = tuple(each.name for each in (*first.init, *search.rows) if not each.init or each.name.startswith(INIT))
        found = self._plan(msgspec.structs.replace(plan.case, rows=rows))
        after, cases = coverage.reached_by(self._instances(found)), (ExploredCase(rows),)
        return Explored(coverage.decisions, coverage.branches, cases, search.tried, len(search.endless), "row", after=after)

    # Inputs.

    def _stdin(self, plan: CapsulePlan, coverage: Coverage, end: float) -> Explored:
        filled = self._plan(msgspec.structs.replace(plan.case, stdin=bytes(size(plan))))
        world = plans.world(plan.case, program_name=self._request.program_name)
        search = StdinSearch(filled, world.args, coverage, self._oracle, self._host, self._chance)
        search.run(plan.case.stdin, time.monotonic() + _SEARCHED * (end - time.monotonic()), self._over)
        cases = tuple(ExploredCase(plan.case.rows, each) for each in search.inputs)
        return Explored(coverage.decisions, coverage.branches, cases, search.tried, search.endless, "input", after=search.reached())


_LOWEST: Final = 1024
"""Numbers below are rarely addresses."""


def _require_branches(manifest: Manifest, artifact: Path) -> None:
    if not manifest.branches:
        hint = "there is nothing to cover: run it with `diffcheck run --auto-rows`"
        raise UnrunnableError(f"{visible(str(artifact))} has no branches", hint=hint)


def write(explored: Explored, artifact: Path, folder: Path) -> list[Path]:
    """Write the cases, if more was reached, into a folder: each as the artifact with its manifest and case file; returns the
    artifacts.
    """
    if explored.before.includes(explored.after):
        return []
    process.make_folder(folder, "choose another folder with --reports")
    case = msgspec.structs.replace(load_case(item_at(artifact)), rows=(), stdin=b"", limits=CaseLimits())
    manifest = formats.manifest_path(artifact)
    paths = []
    for at, each in enumerate(explored.cases, 1):
        path = folder / f"{artifact.stem}{f'_{at}' if len(explored.cases) > 1 else ''}.wasm"
        process.write_atomically(path, [artifact.read_bytes()])
        if manifest.is_file():
            process.write_atomically(formats.manifest_path(path), [manifest.read_bytes()])
        text = case_text(msgspec.structs.replace(case, stdin=each.stdin), each.rows, _PURPOSE, f"{path.stem}.stdin")
        process.write_atomically(path.with_suffix(".toml"), [text.encode()])
        if each.stdin:
            process.write_atomically(path.with_suffix(".stdin"), [each.stdin])
        paths.append(path)
    return paths
