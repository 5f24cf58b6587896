"""Thirty simulated nights for each seed: what is called new, known, fixed and returned, against what is so.

A pure simulation: no engine is run. A night's differences go through the same ``Findings`` that a run's do (signatures, causes,
masking), the report through ``baseline.apply``, and each morning an operator does `baseline update` and `baseline add --all`. Bugs
appear, drift in their values, get fixed, come back, turn flaky, and mask one another; builds repeat and cases drop out.

Thresholds, fixed beforehand: false new 0, missed new 0, false fixed 0, missed fixed 0, missed return 0, for every seed.
"""

from __future__ import annotations

import argparse
import random
import sys
from datetime import date, timedelta

import msgspec

from diffcheck import baseline
from diffcheck.backend import Identity
from diffcheck.compare.findings import Findings
from diffcheck.observation import Cost, Returned
from diffcheck.runner import confirm
from diffcheck.verdict import CaseReport, PassReport, Report, Side, Tool, totals, worst

CASES = 40
ROWS = 5
NIGHTS = 30
CONFIRM = 3
FLAKY_SHARE = 0.5


class Bug:
    """A bug of the engine, which the tool is told nothing of: its cases, the row it shows in, the kind of its difference."""

    def __init__(self, draw: random.Random, number: int) -> None:
        self.number = number
        self.cases = draw.sample(range(CASES), draw.choice((1, 1, 2, 4)))
        self.row = draw.randrange(ROWS)
        self.kind = draw.choice(("result", "result", "counter", "outcome", "memory"))
        self.shape = f"shape {number}"
        self.alive = self.flaky = False


class Score(msgspec.Struct):
    """What was wrong over the nights of a seed, beside what there was to see."""

    appeared: int = 0
    fixes: int = 0
    returns: int = 0
    hidden: int = 0
    false_new: int = 0
    missed_new: int = 0
    false_fixed: int = 0
    missed_fixed: int = 0
    missed_return: int = 0

    @property
    def wrong(self) -> int:
        return self.false_new + self.missed_new + self.false_fixed + self.missed_fixed + self.missed_return


def row_name(row: int) -> str:
    return f"run_row_{row}"


def findings(bugs: list[Bug], case: int, draw: random.Random) -> Findings:
    """What a run of a case shows: rows in order; an outcome ends its instance; memory and counters show in the state after."""
    told = Findings()
    here = [bug for bug in bugs if bug.alive and case in bug.cases and not (bug.flaky and draw.random() < FLAKY_SHARE)]
    state = []
    for row in range(ROWS):
        for bug in sorted((bug for bug in here if bug.row == row), key=lambda bug: (bug.kind != "outcome", bug.number)):
            if bug.kind in ("counter", "memory"):
                state.append(bug)
                continue
            value = draw.getrandbits(32)  # values drift from night to night
            item = "outcome" if bug.kind == "outcome" else "result 0"
            told.diverge(bug.kind, item, str(value), str(value ^ 1), row=row_name(row), shape=bug.shape)
            if bug.kind == "outcome":
                return told
    for bug in sorted(state, key=lambda bug: bug.number):
        item = f"{bug.kind} {draw.randrange(99)}"  # counters' numbers and addresses drift too
        told.diverge(bug.kind, item, str(draw.getrandbits(32)), "0", shape=bug.shape)
    return told


def a_pass(bugs: list[Bug], case: int, draw: random.Random) -> PassReport:
    told = findings(bugs, case, draw)
    side = Side(Returned(), "returned", Cost(10**7, 10**7, 1 << 25, 1))
    first = told.divergences[0] if told.divergences else None
    return PassReport(
        "capsule", applicable=True, verdict="diverge" if first else "agree", reason=f"{first.where.item} differs" if first else "",
        oracle=side, subject=side, divergences=tuple(told.divergences), divergences_total=told.total,
    )  # fmt: skip


def a_case(bugs: list[Bug], case: int, draw: random.Random, known: dict[str, tuple[str, ...]], *, failed: bool) -> CaseReport:
    name = f"case{case:02}"
    if failed:
        passes = (PassReport("capsule", applicable=True, verdict="inconclusive", reason="the oracle timed out"),)
    else:
        expected = [signature for signature, cases in known.items() if name in cases]
        passes = confirm.passes((lambda: a_pass(bugs, case, draw),), CONFIRM, known, expected)
    verdict = worst([each.verdict for each in passes])
    rows = tuple(map(row_name, range(ROWS)))
    return CaseReport(name, f"{name}.wasm", "00" * 32, verdict, "", "agree", vacuous=False, plan="p", rows=rows, passes=passes)


def a_night(bugs: list[Bug], build: int, draw: random.Random, known: dict[str, tuple[str, ...]], started: str) -> Report:
    failing = {case for case in range(CASES) if draw.random() < 0.02}
    cases = tuple(a_case(bugs, case, draw, known, failed=case in failing) for case in range(CASES))
    subject = Identity("stand-in", f"0.{build}", "/stand-in", f"{build:064x}")
    oracle = Identity("oracle", "1")
    return Report(
        "diffcheck-report-v1", Tool("diffcheck", "0"), subject, oracle, started, 0, "", {}, totals(cases), (), cases
    )  # fmt: skip


def live(bugs: list[Bug], draw: random.Random, number: int) -> int:
    """A new build: some bugs appear, get fixed, come back, turn flaky. Gives the number for the next new bug."""
    for bug in bugs:
        if bug.alive and draw.random() < 0.08:
            bug.alive = False
        elif not bug.alive and draw.random() < 0.06:
            bug.alive, bug.flaky = True, False
        elif bug.alive and not bug.flaky and draw.random() < 0.02:
            bug.flaky = True
    for _ in range(draw.choice((0, 0, 1, 1, 2))):
        bug = Bug(draw, number)
        bug.alive = True
        bugs.append(bug)
        number += 1
    return number


def own_signatures(bug: Bug) -> set[str]:
    """What a bug is told as where nothing hides it."""
    shown = Bug.__new__(Bug)
    shown.__dict__ |= bug.__dict__ | {"alive": True, "flaky": False}
    return {each.signature for each in findings([shown], bug.cases[0], random.Random(0)).divergences}


def truth(bugs: list[Bug], report: Report, known: dict[str, baseline.Entry]) -> tuple[set[str], set[str]]:
    """From the bugs alone: signatures that show steadily tonight, and known ones whose fix could be seen tonight."""
    ran = {case.case for case in report.cases if case.verdict != "inconclusive"}
    showing, visible_fixes = set(), set()
    steady = [bug for bug in bugs if bug.alive and not bug.flaky]
    for case in range(CASES):
        if f"case{case:02}" in ran:
            showing |= {each.signature for each in findings(steady, case, random.Random(0)).divergences}
    for bug in bugs:
        (signature,) = own_signatures(bug)
        entry = known.get(signature)
        if bug.alive or entry is None or entry.fixed is not None or entry.flaky or entry.since.sha256 == report.subject.sha256:
            continue
        if all(name in ran and not hidden(bug, bugs, int(name[4:])) for name in entry.cases):
            visible_fixes.add(signature)
    return showing, visible_fixes


def hidden(bug: Bug, bugs: list[Bug], case: int) -> bool:
    """Whether a living bug in the same case would keep this one from being seen."""
    others = [each for each in bugs if each.alive and case in each.cases]
    if bug.kind in ("counter", "memory"):
        return bool(others)
    return any(each.kind == "outcome" or (each.kind == "result" and each.row == bug.row) for each in others)


def nights(seed: int) -> Score:
    draw = random.Random(seed)
    score, bugs, known, build = Score(), [], baseline.Baseline(), 1
    number = live(bugs, draw, 0)
    day = date(2026, 1, 1)
    for _ in range(NIGHTS):
        if draw.random() < 0.75:  # else last night's build again
            build += 1
            number = live(bugs, draw, number)
        report = a_night(bugs, build, draw, known.known(), day.isoformat())
        told = baseline.apply(report, known, day).baseline
        assert told is not None
        judge(score, told, report, bugs, known)
        signatures = [
            each.signature for each in told.of("new", "returned", "flaky")
            if each.signature not in known.entries or known.entries[each.signature].fixed is not None
        ]  # fmt: skip
        known, _ = baseline.update(known, report, day)
        known, _ = baseline.add(known, report, signatures, "", "", None)
        known = baseline.parse(baseline.render(known))  # every night through the file
        day += timedelta(days=1)
    return score


def judge(score: Score, told: object, report: Report, bugs: list[Bug], known: baseline.Baseline) -> None:
    showing, fixes = truth(bugs, report, known.entries)
    new = {each.signature for each in told.of("new")}
    returned = {each.signature for each in told.of("returned")}
    fixed = {each.signature for each in told.of("fixed")}
    flaky = {each.signature for each in told.of("flaky")}  # told that morning too: a flaky bug hides it in some runs
    unknown = {key for key in showing if key not in known.entries}
    gone = {key for key in showing if key in known.entries and known.entries[key].fixed is not None}
    alive = {signature for bug in bugs if bug.alive for signature in own_signatures(bug)}
    score.appeared += len(unknown)
    score.returns += len(gone)
    score.fixes += len(fixes)
    score.hidden += len(told.of("masked"))
    score.false_new += len({key for key in new | returned if key not in alive}) + len(new & known.entries.keys())
    score.missed_new += len(unknown - new - flaky)
    score.missed_return += len(gone - returned)
    score.false_fixed += len(fixed & alive)
    score.missed_fixed += len(fixes - fixed)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seeds", type=int, default=20, help="how many seeds, from --first on")
    options.add_argument("--first", type=int, default=1)
    chosen = options.parse_args()
    total = Score()
    for seed in range(chosen.first, chosen.first + chosen.seeds):
        score = nights(seed)
        print(f"seed {seed}: {score}")
        total = Score(*(getattr(total, name) + getattr(score, name) for name in Score.__struct_fields__))
    print(f"in all, {chosen.seeds} seeds of {NIGHTS} nights of {CASES} cases, no engine run: {total}")
    print("as it should be" if not total.wrong else f"WRONG: {total.wrong}")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
