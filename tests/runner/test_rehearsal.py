"""Planned rows run in their order before they are used: those that do not end there are left out."""

from __future__ import annotations

import pytest

from diffcheck.backend import registry
from diffcheck.backend.contract import RunLimits, local_host
from diffcheck.capsule.build import build
from diffcheck.capsule.seal import World
from diffcheck.cases.rows import choose
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.row_plans import rehearsal
from diffcheck.wasm import module as wasm

SPINS = """
(module
  (global $on (mut i32) (i32.const 0))
  (func (export "on") (global.set $on (i32.const 1)))
  (func (export "off") (global.set $on (i32.const 0)))
  (func (export "spin") (param i32) (loop $l (br_if $l (global.get $on))))
  (func (export "count") (param i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "trap") unreachable))
"""


@pytest.fixture
def left(monkeypatch):
    """The rows that remain of some, and the number of capsules that were built."""
    monkeypatch.setattr(rehearsal, "DEADLINE_S", 0.5)
    built = []

    def rehearse(*rows):
        def side(calls):
            built.append(calls)
            return CapsuleSide(oracle, build(module, "", calls, World()), RunLimits(), host)

        built.clear()
        calls = choose(module, rows).calls
        return tuple(each.name for each in rehearsal.rehearsed(calls, side)), len(built)

    with local_host() as host:
        oracle = registry.create("wasmtime", {})
        module = wasm.read(oracle.assemble(SPINS.encode(), RunLimits(), host))
        yield rehearse
        oracle.close()


def test_rows_that_end_remain_and_one_capsule_is_built(left):
    assert left("spin=1", "trap", "on", "off", "spin=1") == (("spin=1", "trap", "on", "off", "spin=1"), 1)


def test_a_row_that_is_endless_behind_another_is_left_out_and_those_behind_it_remain(left):
    assert left("on", "spin=1", "off", "spin=2") == (("on", "off", "spin=2"), 2)


def test_the_instance_begins_anew_behind_a_trap(left):
    assert left("on", "trap", "spin=1", "on", "spin=2") == (("on", "trap", "spin=1", "on"), 2)


def test_a_row_that_ends_too_late_for_a_slow_engine_is_left_out(left, monkeypatch):
    monkeypatch.setattr(rehearsal, "DEADLINE_S", 30.0)
    monkeypatch.setattr(rehearsal, "TOTAL_FUEL", 100_000)
    assert left("count=1000", "count=100000", "off") == (("count=1000", "off"), 2)


@pytest.mark.whole
def test_after_some_rounds_the_rows_from_the_first_endless_one_on_are_left_out(left):
    rows, built = left("on", *(f"spin={at}" for at in range(8)), "off")
    assert rows in (("on",), ("on", "off"))
    assert built <= 4
