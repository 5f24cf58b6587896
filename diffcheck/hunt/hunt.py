"""The hunt: rounds of generated programs until the time is up, with what they found and what was generated so far."""

from __future__ import annotations

import resource
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.backend.contract import RunLimits
from diffcheck.cases.discovery import discover
from diffcheck.config.input_files import read_regular
from diffcheck.errors import NothingToDoError, ReportError
from diffcheck.hunt import rounds
from diffcheck.hunt.examination import Examiner
from diffcheck.hunt.finds import PROGRAM
from diffcheck.hunt.generate.weights import Weights
from diffcheck.hunt.mutants import MutantSource
from diffcheck.runner import run as runs
from diffcheck.runner.events import CaseFinished, RunFinished
from diffcheck.runner.sweep import execution, finding_cases, operations
from diffcheck.runner.sweep.sweep import Sweep
from diffcheck.text import plural, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.backend.contract import Host, Oracle
    from diffcheck.cases.discovery import Item
    from diffcheck.hunt.finds import FindsFolder
    from diffcheck.runner.request import Request
    from diffcheck.verdict import CaseReport

SOURCES: Final = ("sweep", "generate", "mutate")
FILE: Final = "hunt.json"
_CAP_BYTES: Final = 256 << 20
_PROGRAMS: Final = 6
"""Programs of a round and worker."""
_MUTANTS_SHARE: Final = 2
"""Programs of a round for each mutant."""
_SWEEP_SHARE, _MOST_SWEEP_SHARE = 0.1, 0.5
"""The share of the time for random operands, and for the whole sweep with the search for the operands of differences."""
_IDLE_ROUNDS: Final = 60
_MOST_PASSES: Final = 6
"""Executions to locate the differences of a program: the first one is enough."""


class HuntState(msgspec.Struct):
    """What a hunt has done. It is stored first and before each round; a round that was killed runs again with the same programs.

    ``known`` are the finds that were there before, ``idle`` counts the last rounds that reached nothing new.
    """

    seed: int
    engine: str
    known: tuple[str, ...] = ()
    swept: bool = False
    rounds: int = 0
    idle: int = 0
    elapsed_s: float = 0.0
    programs: int = 0
    rows: int = 0
    diverging: int = 0
    engine_s: float = 0.0
    total_s: float = 0.0
    weights: Weights = msgspec.field(default_factory=Weights)

    @property
    def line(self) -> str:
        """The hunt in one line."""
        rate = f", {self.programs / self.total_s:.1f} a CPU second" if self.total_s else ""
        return (
            f"{plural(self.programs, 'program')} with {self.rows:,} rows{rate}; {len(self.weights.seen):,} cells; "
            f"{self.diverging:,} diverged"
        )


class Hunt:
    """A hunt in ``folder``. ``request`` names the chosen engines; ``say`` receives progress. ``interrupted`` is whether a user
    ended it.
    """

    def __init__(
        self, request: Request, state: HuntState, finds: FindsFolder, folder: Path, time_s: float,
        say: Callable[[str], None], stopped: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.state = state
        judged = msgspec.structs.replace(
            request, mode="capsule", slice="never", load_check="never", max_passes=_MOST_PASSES, journal="", cache=""
        )
        self._judges, self._paths = request.judges, request.paths
        self._request = msgspec.structs.replace(judged, judges=())  # they are asked once for each find
        # One run is enough: results of programs are determined, and the examination of what differs confirms it.
        self._of_programs = msgspec.structs.replace(self._request, confirm=0, deterministic=False, known={})
        self._finds, self._folder, self._say, self._stopped = finds, folder, say, stopped
        self.interrupted = False
        self._begun = time.monotonic() - state.elapsed_s
        self._until = self._begun + time_s
        self._examiner = Examiner(judged, finds, folder, state.engine, say, self._is_interrupted)

    @property
    def new(self) -> list[str]:
        """The names of the finds of this hunt."""
        return [name for name in self._finds.finds if name not in self.state.known]

    def _is_interrupted(self) -> bool:
        self.interrupted |= self._stopped()
        return self.interrupted

    def _is_over(self) -> bool:
        return self._is_interrupted() or time.monotonic() > self._until

    def run(self, sources: tuple[str, ...], oracle: Oracle, host: Host) -> None:
        """Check the finds, then use the sources until the time is up, or nothing new was reached for many rounds."""
        self._save()  # else a hunt that is killed now resumes an earlier one
        self.check_finds()
        if "sweep" in sources and not self.state.swept and not self._is_over():
            self._sweep(oracle, host)
        mutants = MutantSource(self._originals() if "mutate" in sources else (), self._request, oracle, host)
        while {"generate", "mutate"} & {*sources} and not self._is_over() and self.state.idle < _IDLE_ROUNDS:
            self._save()
            self._round(oracle, host, mutants, generates="generate" in sources)
        self._save()

    # Finds.

    def check_finds(self) -> None:
        """Run every find again, and enter which of them are fixed."""
        paths = {name: self._finds.path / name / PROGRAM for name in self._finds.finds}
        present = {name: path for name, path in paths.items() if path.is_file()}
        if not present:
            return
        names = {str(path): name for name, path in present.items()}
        for report in self._reports(tuple(map(str, present.values())), self._is_interrupted):
            name = names[report.artifact]
            find = self._finds.finds[name]
            if report.verdict == "agree" and find.state not in ("fixed", "flaky"):
                self._finds.set_state(name, "fixed")
                self._say(f"fixed: {find.title}")
            elif report.verdict == "diverge" and find.state == "fixed":
                self._finds.set_state(name, "known" if find.link else "new")
                self._say(f"returned: {find.title}")

    # Sources.

    def _sweep(self, oracle: Oracle, host: Host) -> None:
        """Sweep all instructions; the cases of what differs are examined as programs are."""
        left_s = max(1.0, self._until - time.monotonic())
        until = time.monotonic() + _MOST_SWEEP_SHARE * left_s

        def is_over() -> bool:
            return self._is_over() or time.monotonic() > until

        execute = execution.PoolExecution(self._request, oracle, host, is_over)
        sweep = Sweep(operations.of(operations.FAMILIES), execute, self._say, is_over)
        sweep.run(1, _SWEEP_SHARE * left_s)
        ended = not is_over()
        folder = self._folder / "sweep"
        if finding_cases.write(sweep.found, folder, lambda program: execution.artifact(program, oracle, host)):
            for path in folder.glob("*.wat"):
                path.with_suffix(".wasm").write_bytes(oracle.assemble(path.read_bytes(), RunLimits(), host))
                path.unlink()
            reports = sorted(self._reports((str(folder),), self._is_over), key=lambda each: each.artifact)
            for at in range(0, len(reports), _PROGRAMS):
                self._examiner.examine(reports[at : at + _PROGRAMS], lambda artifact: f"sweep {Path(artifact).stem}", self._until)
        self.state.swept = ended and not self._is_over()  # else a resumed hunt sweeps again, to examine what is left

    def _originals(self) -> tuple[Item, ...]:
        """The given cases and the finds, of which mutants are made."""
        finds = (self._finds.path / name / PROGRAM for name in self._finds.finds)
        paths = [*map(Path, self._paths), *(each for each in finds if each.is_file())]
        return discover(paths).items if paths else ()

    def _round(self, oracle: Oracle, host: Host, mutants: MutantSource, *, generates: bool) -> None:
        state, begun = self.state, _cpu_s()
        count = _PROGRAMS * self._request.jobs
        folder = self._folder / "programs"
        shutil.rmtree(folder, ignore_errors=True)
        weights = msgspec.convert(msgspec.to_builtins(state.weights), Weights)
        made = rounds.written(folder, state.seed, state.rounds, count * generates, weights, oracle, host)
        made.programs.update(mutants.written(folder, state.seed, state.rounds, count // _MUTANTS_SHARE))
        done = self._screened(made)
        reports = list(self._reports((str(folder),), self._is_over, self._of_programs))
        if len(reports) < len(done.programs):
            return  # the time is up; a resumed hunt runs the whole round
        for report in sorted(reports, key=lambda each: each.artifact):
            rounds.learn(weights, done.programs, report)
        state.total_s += _cpu_s() - begun
        state.engine_s += sum(_engines_s(each) for each in reports)
        new = self._examiner.examine(reports, done.seed, self._until)
        state.weights, state.rounds = weights, state.rounds + 1
        state.idle = 0 if new or done.new_cells else state.idle + 1
        state.programs += len(reports)
        state.rows += sum(len(each.rows) for each in reports)
        state.diverging += sum(each.verdict == "diverge" for each in reports)
        found = plural(len(self.new), "new find")
        self._say(f"round {state.rounds}: {state.line}; {found}; {done.new_cells:,} new cells in this round")

    def _screened(self, done: rounds.Round) -> rounds.Round:
        """The round without programs on which a judge differs from the oracle: a tenth of all runs under the judges as well."""
        for seed in done.invalid:
            self._say(f"the program of seed {seed} is invalid (a defect of the generator) and was not run")
        for name in self._judges if done.sample else ():
            request = msgspec.structs.replace(self._of_programs, subject=name)
            reports = [each for each in self._reports(done.sample, self._is_over, request) if each.verdict == "diverge"]
            if reports:
                engine = f"{name}, as a judge of the oracle"
                examined = msgspec.structs.replace(self._request, subject=name)
                Examiner(examined, self._finds, self._folder, engine, self._say, self._is_interrupted).examine(
                    reports, done.seed, self._until
                )
                done = done.without(each.artifact for each in reports)
        return done

    def _reports(self, paths: tuple[str, ...], over: Callable[[], bool], request: Request | None = None) -> Iterator[CaseReport]:
        """The reports of the cases under some paths; those that finish before it is ``over``."""
        request = msgspec.structs.replace(request or self._request, paths=paths)
        with closing(runs.run(request, over)) as stream:
            for event in stream:
                if isinstance(event, CaseFinished):
                    yield event.report
                elif isinstance(event, RunFinished):  # a signal during a run is the run's
                    self.interrupted |= event.interrupted and time.monotonic() < self._until

    # The state.

    def _save(self) -> None:
        self.state.elapsed_s = time.monotonic() - self._begun
        process.write_atomically(self._folder / FILE, [msgspec.json.encode(self.state)])


def resumed(folder: Path, engine: str) -> HuntState:
    """The state of the interrupted hunt of a folder; raises ``NothingToDoError`` if there is none with this engine."""
    path = folder / FILE
    if not path.is_file():
        raise NothingToDoError("there is no hunt to resume", hint="start one without --resume")
    try:
        state = msgspec.json.decode(read_regular(str(path), _CAP_BYTES, "the hunt", ReportError), type=HuntState)
    except msgspec.DecodeError as error:
        raise ReportError(f"{visible(str(path))} is not a hunt of this version: {visible(str(error))}", hint="remove it") from error
    if state.engine != engine:
        raise NothingToDoError(
            f"the hunt was of {visible(state.engine)}, not of {visible(engine)}", hint="start one without --resume"
        )
    return state


def _cpu_s() -> float:
    """The CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _engines_s(report: CaseReport) -> float:
    sides = [side for each in report.passes for side in (each.oracle, each.subject) if side is not None]
    return sum((each.cost.cpu_ns or 0) / 1e9 for each in sides)
