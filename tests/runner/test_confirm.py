"""Confirming what diverges: the subject runs again, the oracle does not."""

import itertools

import pytest

from diffcheck.backend.contract import Backend, Capabilities, Program, RunLimits, StoredExecution
from diffcheck.observation import Cost, Execution, Identity, Returned, TimedOut
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.passes import confirmation
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.verdict import Divergence, PassReport, SideReport, Where
from tests.runner.test_run import COUNTING, artifact

AGREE = PassReport("capsule", applicable=True, verdict="agree")


def diverged(*signatures, outcome=None):
    found = tuple(Divergence("result", Where("f", "result 0"), "3", "2", each) for each in signatures)
    side = SideReport(outcome or Returned(), "ended")
    return PassReport("capsule", True, verdict="diverge", reason="result 0: oracle 3, subject 2", subject=side, divergences=found)


def confirmed(*runs, times=3, known=(), expected=()):
    count = itertools.count()
    seen = iter(runs)

    def again():
        next(count)
        return next(seen)

    (report,) = confirmation.passes((again,), times, known, expected)
    return report, next(count)


def test_what_repeats_is_a_divergence_after_four_runs():
    report, runs = confirmed(*[diverged("a")] * 4)
    assert (report.verdict, runs, len(report.repeats)) == ("diverge", 4, 3)


@pytest.mark.parametrize("other", [AGREE, diverged("b")])
def test_what_does_not_repeat_is_flaky_and_all_outcomes_are_told(other):
    report, runs = confirmed(diverged("a"), other, diverged("a"), diverged("a"))
    assert (report.verdict, runs) == ("flaky", 4)
    assert report.reason.endswith("runs: result 0: oracle 3, subject 2") or "1 of 4 runs: agree" in report.reason
    assert [each.signatures for each in report.repeats] == [other.signatures, ("a",), ("a",)]


def test_something_new_in_every_run_diverges_beside_what_comes_and_goes():
    report, runs = confirmed(diverged("a"), diverged("a", "b"), diverged("a"), diverged("a"))
    assert (report.verdict, runs) == ("diverge", 4)
    assert "other differences vary between runs" in report.reason
    assert confirmed(diverged("a", "b"), diverged("a"), diverged("a"), diverged("a"), known=("a",))[0].verdict == "flaky"


@pytest.mark.parametrize(
    "report", [AGREE, diverged("a", outcome=TimedOut(10)), PassReport("direct", applicable=False, why="it has imports")]
)
def test_what_agrees_hangs_or_does_not_apply_is_run_once(report):
    assert confirmed(report) == (report, 1)


def test_known_signatures_and_confirm_0_cost_nothing():
    assert confirmed(diverged("a", "b"), known=("a", "b"))[1] == 1
    assert confirmed(diverged("a"), times=0)[1] == 1
    assert confirmed(diverged("a", "b"), *[diverged("a", "b")] * 3, known=("a",))[1] == 4


def test_what_is_expected_and_does_not_show_up_is_looked_for_longer():
    report, runs = confirmed(*[AGREE] * 13, expected=("a",), known=("a",))
    assert (report.verdict, runs) == ("agree", 13)
    report, runs = confirmed(*[AGREE] * 6, diverged("a"), expected=("a",), known=("a",))
    assert (report.verdict, runs) == ("flaky", 7)
    assert "6 of 7 runs: agree" in report.reason


class Counted(Backend):
    capabilities = Capabilities("words")

    def __init__(self):
        self.runs = 0

    def identity(self):
        return Identity("counted")

    def start(self, program, limits, host):  # noqa: ARG002 - the contract's
        self.runs += 1
        return StoredExecution(Execution(Returned(), b"x" * 100, cost=Cost(5, 5, 5, 1)))


def test_the_oracle_answers_the_same_program_once(host):
    engine = Counted()
    oracle = confirmation.MemoizingBackend(engine)
    first, second = (oracle.execute(Program("direct", b"module"), RunLimits(), host) for _ in range(2))
    assert (engine.runs, first.carried, second.carried) == (1, b"x" * 100, b"x" * 100)
    assert (first.cost.executions, second.cost.executions) == (1, 0)
    oracle.execute(Program("direct", b"module"), RunLimits(deadline_s=3), host)
    oracle.execute(Program("direct", b"module", parameters=b"1"), RunLimits(), host)
    assert engine.runs == 3


@pytest.mark.whole
def test_an_engine_that_lies_now_and_then_is_flaky_in_a_run(tmp_path, standin_kilnd):
    honest, liar = standin_kilnd(), standin_kilnd("--fault", "lie")
    count = tmp_path / "count"
    engine = tmp_path / "kilnd"
    engine.write_text(
        f'#!/bin/sh\n[ -z "$WITNESS_MODULE" ] && exec {honest} "$@"\n'
        f'echo x >> {count}\n[ $(wc -l < {count}) = 12 ] && exec {liar} "$@"\nexec {honest} "$@"\n'
    )
    engine.chmod(0o755)
    path = artifact(tmp_path, "counting", COUNTING)

    def verdict(before):
        count.write_text("x\n" * before)
        request = Request((str(path),), subject="kilnd", options={"kilnd": str(engine)}, mode="capsule", confirm=3)
        return next(each.report for each in run(request) if isinstance(each, CaseFinished))

    # The probes' runs count too: in one of these the first run of the case is the lie.
    flaky = next(each for each in map(verdict, range(11, -1, -1)) if each.verdict != "agree")
    assert flaky.verdict == "flaky"
    assert "runs: agree" in flaky.reason
    assert flaky.passes[0].repeats
