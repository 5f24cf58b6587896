"""The walk over the instances of a case: which rows are run, how often, and when it ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diffcheck.capsule import layout as lo
from diffcheck.runner.passes import instances as under_test
from diffcheck.runner.passes.instances import Instances


class FakeSide:
    """A side that records the parameters of its runs."""

    def __init__(self, rows: int, n_init: int = 0) -> None:
        self.capsule = SimpleNamespace(layout=SimpleNamespace(rows=range(rows), n_init=n_init))
        self.runs: list[tuple[int, int, int]] = []

    def start(self, parameters: lo.Parameters) -> SimpleNamespace:
        return SimpleNamespace(wait=lambda: self.run(parameters))

    def run(self, parameters: lo.Parameters) -> str:
        self.runs.append((parameters.first, parameters.last, parameters.flags))
        return "a run"


def test_the_next_instance_begins_after_the_row_that_ended_the_last_one():
    oracle, subject = FakeSide(6, n_init=1), FakeSide(6, n_init=1)
    walk = Instances(oracle, subject)
    for instance in walk:
        walk.first = min(instance.first + 2, instance.last)
    assert oracle.runs == subject.runs == [(0, 5, 0), (2, 5, 0), (4, 5, 0)]
    assert walk.left == 0


def test_a_case_without_rows_has_one_instance():
    oracle = FakeSide(0)
    for _ in Instances(oracle, FakeSide(0)):
        pass
    assert oracle.runs == [(0, 0, 0)]


def test_the_walk_ends_at_its_limit_and_knows_the_rows_that_are_left():
    oracle = FakeSide(9)
    walk = Instances(oracle, FakeSide(9), limit=4)
    for instance in walk:
        walk.first = instance.first + 1
    assert (len(oracle.runs), walk.left) == (4, 5)


def test_rows_in_which_an_exit_returned_run_again_with_exits_that_trap_and_do_not_count(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(under_test, "swallowed", lambda *_: True)
    oracle = FakeSide(2)
    walk = Instances(oracle, FakeSide(2), limit=2)
    for instance in walk:
        walk.first = instance.first if walk.exits_return(None) else instance.first + 1
    assert oracle.runs == [(0, 2, 0), (0, 2, lo.EXIT_TRAPS), (1, 2, lo.EXIT_TRAPS)]


def test_a_trap_in_an_init_row_leaves_no_row_to_run():
    walk = Instances(FakeSide(5, n_init=2), FakeSide(5, n_init=2))
    assert (walk.row(1, 0), walk.row(1, 2), walk.row(1, 3)) == (3, 1, 2)
