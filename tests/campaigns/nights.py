"""Thirty simulated nights for each seed: what is called new, known, fixed and returned, against what is so.

Each night's stand-in engine runs every artifact through the real runner: capsules, the transport that kilnd has, comparing,
confirming, the baseline's file. Each morning an operator does `baseline update` and `baseline add --all`. Bugs appear, drift in
their values, get fixed, come back, turn flaky (each execution anew), and mask one another; builds repeat, artifacts are rebuilt
with other indices, and now and then the oracle comes to no answer.

Thresholds, fixed beforehand: false new 0, missed new 0, false fixed 0, missed fixed 0, missed return 0, for every seed.

    python -m tests.campaigns.nights --first 1 --seeds 20
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.nightly import baseline, baseline_changes, baseline_file
from diffcheck.observation import Identity
from diffcheck.runner import case_run as cases
from diffcheck.runner import plan as plans
from diffcheck.runner import planning
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.passes import confirmation
from diffcheck.runner.request import Request
from diffcheck.verdict import CaseReport, Report, Tool, totals
from tests.campaigns.night_engine import ROWS, STORING_ROW, TRAPS, Ailing, Bug, Standin, text, write

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host
    from diffcheck.runner.plan import Plan
    from diffcheck.verdict import BaselineReport

CASES = 8
NIGHTS = 30
CONFIRM = 3
REQUEST = Request((), mode="capsule", confirm=CONFIRM)
COUNTED = ("false_new", "missed_new", "false_fixed", "missed_fixed", "missed_return")


class Score(msgspec.Struct):
    """What was wrong over the nights of a seed, beside what there was to see."""

    appeared: int = 0
    fixes: int = 0
    returns: int = 0
    masked: int = 0
    false_new: int = 0
    missed_new: int = 0
    false_fixed: int = 0
    missed_fixed: int = 0
    missed_return: int = 0

    @property
    def wrong(self) -> int:
        return sum(getattr(self, name) for name in COUNTED)


class World:
    """The artifacts, as built and as rebuilt, planned once; the oracle, asked once for each program; the inner engine."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        real = registry.create("wasmtime", {})
        assert isinstance(real, contract.Oracle)
        self.oracle = confirmation.MemoizingBackend(real)
        self.inner = registry.create("wasmtime", {})
        self.plans: dict[tuple[int, bool], Plan] = {}
        for rebuilt in (False, True):
            binary = real.assemble(text(rebuilt=rebuilt).encode(), contract.RunLimits(), host)
            for case in range(CASES):
                path = write(folder / str(int(rebuilt)), f"case{case}", binary, rebuilt=rebuilt)
                standin = Standin(self.inner, [], random.Random(0), rebuilt=rebuilt)
                plan = planning.make(case_of(ObserveRequest(str(path))), REQUEST, real, self.oracle, standin, host)
                assert isinstance(plan, plans.CapsulePlan), plan
                self.plans[case, rebuilt] = plan
        self._own: dict[tuple[object, ...], str] = {}

    def run(
        self, case: int, bugs: list[Bug], draw: random.Random, request: Request, *, rebuilt: bool = False, ailing: bool = False
    ) -> CaseReport:
        """One case of a night, by the runner."""
        here = [bug for bug in bugs if bug.alive and case in bug.cases]
        standin = Standin(self.inner, here, draw, rebuilt=rebuilt)
        oracle: Backend = Ailing(self.oracle) if ailing else self.oracle
        return cases.run(self.plans[case, rebuilt], 24, oracle, standin, self.host, "standin", request)

    def own(self, bug: Bug, case: int) -> str:
        """What a bug is reported as in a case where nothing else is wrong: its one signature there."""
        key = (bug.number, case)
        if key not in self._own:
            alone = Bug(bug.kind, bug.row, bug.cases, bug.variant, bug.number)
            alone.alive = True
            report = self.run(case, [alone], random.Random(0), msgspec.structs.replace(REQUEST, confirm=0))
            (self._own[key],) = report.passes[0].signatures
        return self._own[key]


def visible(bugs: list[Bug], case: int) -> list[Bug]:
    """The bugs that an observer of the whole program could see in a case: from where they are, not from what the tool says.

    A row that traps ends its instance, and its own state is not seen; the next row begins another. In a row the first difference
    counts, on an instance the first one explains what counters and memory hold.
    """
    here = [bug for bug in bugs if bug.alive and case in bug.cases]
    shown: list[Bug] = []
    rows: list[int] = []
    heads: list[Bug] = []

    def end() -> None:
        if not heads:
            state = [
                bug for bug in here if (bug.kind == "counter" and bug.row in rows) or (bug.kind == "memory" and STORING_ROW in rows)
            ]
            shown.extend(sorted(state, key=lambda bug: (bug.kind == "memory", bug.counter))[:1])
        rows.clear()
        heads.clear()

    for row in range(ROWS):
        trap = next((bug for bug in here if bug.kind == "outcome" and bug.row == row), None)
        result = next((bug for bug in here if bug.kind == "result" and bug.row == row), None)
        if trap is not None:
            end()
            shown.append(trap)
        else:
            rows.append(row)
            if result is not None:
                heads.append(result)
                shown.append(result)
    end()
    return shown


def hidden(bug: Bug, bugs: list[Bug], case: int) -> bool:
    """Whether a living bug in the same case may keep this one from being seen; a flaky one may also change the state between two
    executions of one comparison, which then cannot be finished.
    """
    others = [each for each in bugs if each.alive and case in each.cases]
    if bug.kind in ("counter", "memory") or any(each.flaky for each in others):
        return bool(others)
    return any(each.kind == "outcome" or (each.kind == "result" and each.row == bug.row) for each in others)


def new_bug(draw: random.Random, number: int, taken: set[tuple[object, ...]]) -> Bug | None:
    """A bug at a place that had none; None where it is hard to find one."""
    for _ in range(20):
        kind = draw.choice(("result", "result", "counter", "counter", "outcome", "memory"))
        row = STORING_ROW if kind == "memory" else draw.randrange(ROWS)
        where = tuple(draw.sample(range(CASES), draw.choice((1, 1, 1, 2, 3))))
        bug = Bug(kind, row, where, draw.randrange(len(TRAPS)), number)
        if not bug.slots & taken:
            taken |= bug.slots
            return bug
    return None


def live(bugs: list[Bug], draw: random.Random, taken: set[tuple[object, ...]]) -> None:
    """A new build: some bugs appear, get fixed, come back, turn flaky."""
    for bug in bugs:
        if bug.alive and draw.random() < 0.18:
            bug.alive = False
        elif not bug.alive and draw.random() < 0.12:
            bug.alive, bug.flaky = True, False
        elif bug.alive and not bug.flaky and draw.random() < 0.03:
            bug.flaky = True
    for _ in range(draw.choice((0, 0, 1, 1, 2))):
        bug = new_bug(draw, len(bugs), taken)
        if bug is not None:
            bug.alive = True
            bug.flaky = draw.random() < 0.1
            bugs.append(bug)


def a_night(world: World, bugs: list[Bug], build: int, draw: random.Random, known: baseline.Baseline, started: str) -> Report:
    """One night's report."""
    rebuilt = draw.random() < 0.3
    request = msgspec.structs.replace(REQUEST, known=known.known())
    reports = tuple(world.run(case, bugs, draw, request, rebuilt=rebuilt, ailing=draw.random() < 0.02) for case in range(CASES))
    subject = Identity("standin", f"0.{build}", "/standin", f"{build:064x}")
    return Report(
        "diffcheck-report-v1", Tool("diffcheck", "0"), subject, Identity("oracle", "1"), started, 0, "", {}, totals(reports), (), reports
    )  # fmt: skip


def truth(world: World, bugs: list[Bug], report: Report, known: dict[str, baseline.BaselineEntry]) -> tuple[set[str], set[str]]:
    """From the bugs alone: signatures that show steadily tonight, and known ones whose fix could be seen tonight.

    What a flaky bug hides whenever it strikes does not show steadily.
    """
    ran = {case.case for case in report.cases if case.verdict != "inconclusive"}
    steady = [bug for bug in bugs if bug.alive and not bug.flaky]
    showing = {
        world.own(bug, case)
        for case in range(CASES)
        if f"case{case}" in ran
        for bug in set(visible(steady, case)) & set(visible(bugs, case))
    }
    fixes = set()
    for bug in bugs:
        for signature in {world.own(bug, case) for case in bug.cases}:
            entry = known.get(signature)
            if bug.alive or entry is None or entry.fixed is not None or entry.flaky or entry.since.sha256 == report.subject.sha256:
                continue
            if all(name in ran and not hidden(bug, bugs, int(name[4:])) for name in entry.cases):
                fixes.add(signature)
    return showing, fixes


def nights(seed: int, number_of_nights: int = NIGHTS, *, verbose: bool = False) -> Score:
    """What was wrong in the nights of a seed."""
    draw = random.Random(seed)
    score, bugs, taken, known, build = Score(), [], set(), baseline.Baseline(), 1
    with tempfile.TemporaryDirectory() as folder, process.Reactor() as reactor:
        world = World(contract.Host(reactor, Path(folder)), Path(folder))
        live(bugs, draw, taken)
        day = date(2026, 1, 1)
        for number in range(number_of_nights):
            if draw.random() < 0.75:  # else last night's build again
                build += 1
                live(bugs, draw, taken)
            report = a_night(world, bugs, build, draw, known, day.isoformat())
            status = baseline.apply(report, known, day).baseline
            assert status is not None
            before = score.wrong
            judge(score, status, report, bugs, known, world)
            if verbose and score.wrong > before:
                print(f"seed {seed} night {number}: {score}")
                print(*status.of("new", "returned", "fixed", "flaky", "masked"), sep="\n")
                print(*((bug.kind, bug.row, bug.cases, bug.alive, bug.flaky) for bug in bugs), sep="\n")
            signatures = [
                each.signature for each in status.of("new", "returned", "flaky")
                if each.signature not in known.entries or known.entries[each.signature].fixed is not None
            ]  # fmt: skip
            known, _ = baseline_changes.update(known, report, day)
            known, _ = baseline_changes.add(known, report, signatures, "", "", None)
            known = baseline_file.parse(baseline_file.render(known).encode())  # every night through the file
            day += timedelta(days=1)
        world.inner.close()
        world.oracle.close()
    return score


def judge(score: Score, status: BaselineReport, report: Report, bugs: list[Bug], known: baseline.Baseline, world: World) -> None:
    """Count what was said against what is so."""
    showing, fixes = truth(world, bugs, report, known.entries)
    new, returned, fixed, flaky = ({each.signature for each in status.of(state)} for state in ("new", "returned", "fixed", "flaky"))
    unknown = {key for key in showing if key not in known.entries}
    gone = {key for key in showing if key in known.entries and known.entries[key].fixed is not None}
    alive = {world.own(bug, case) for bug in bugs if bug.alive for case in bug.cases}
    score.appeared += len(unknown)
    score.returns += len(gone)
    score.fixes += len(fixes)
    score.masked += len(status.of("masked"))
    score.false_new += len((new | returned) - alive) + len(new & known.entries.keys())
    score.missed_new += len(
        unknown - new - flaky
    )  # a bug that a flaky one hides in some runs is reported as flaky, the same morning
    score.missed_return += len(gone - returned - flaky)
    score.false_fixed += len(fixed & alive)
    score.missed_fixed += len(fixes - fixed)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=20, help="how many seeds, from --first on")
    options.add_argument("--first", type=int, default=1)
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("-v", "--verbose", action="store_true", help="show the nights on which something was wrong")
    chosen = options.parse_args()
    begun, total = time.monotonic(), Score()
    seeds = range(chosen.first, chosen.first + chosen.seeds)
    with ProcessPoolExecutor(chosen.jobs) as pool:
        for seed, score in zip(seeds, pool.map(_nights, seeds, [chosen.verbose] * len(seeds)), strict=True):
            print(f"seed {seed}: {score}", flush=True)
            total = Score(*(getattr(total, name) + getattr(score, name) for name in Score.__struct_fields__))
    print(f"in all, {chosen.seeds} seeds of {NIGHTS} nights of {CASES} cases in {time.monotonic() - begun:.0f} s: {total}")
    print("as it should be" if not total.wrong else f"WRONG: {total.wrong}")
    return 1 if total.wrong else 0


def _nights(seed: int, verbose: bool) -> Score:
    return nights(seed, verbose=verbose)


if __name__ == "__main__":
    sys.exit(main())
