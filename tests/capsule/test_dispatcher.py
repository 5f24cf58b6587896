"""The dispatcher: any calls with any numbers, in one compiled capsule."""

from __future__ import annotations

import hashlib

import pytest
import wasmtime
from hypothesis import given, settings
from hypothesis import strategies as st

from diffcheck.backend import registry
from diffcheck.backend.contract import RunLimits, local_host
from diffcheck.capsule.build import build
from diffcheck.capsule.driver import Call
from diffcheck.capsule.seal import World
from diffcheck.observation import Trapped
from diffcheck.runner.row_plans.row_trials import MOST_CALLS, RowTrials
from diffcheck.wasm import module as wasm
from diffcheck.wasm.values import Value

TEXT = """
(module
  (import "env" "unknown" (func $import (param i32) (result i32)))
  (memory (export "memory") 2)
  (global $sum (mut i64) (i64.const 0))
  (func $i32 (param i32 i64) (result i32) local.get 0)
  (func $i64 (param i32 i64) (result i64) local.get 1)
  (func $f32 (param f64 f32) (result f32) local.get 1)
  (func $f64 (param f64 f32) (result f64) local.get 0)
  (func $two (param i32 f64) (result f64 i32) local.get 1 local.get 0)
  (func $vector (result v128) v128.const i64x2 1 2)
  (func $none (param i64) local.get 0 global.get $sum i64.add global.set $sum)
  (func $sum (result i64) global.get $sum)
  (func $store (param i32 i32) local.get 0 local.get 1 i32.store call $deep)
  (func $deep)
  (func $traps (param i32) local.get 0 i32.load drop)
  (func $ends (param i32) (loop $again (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))
"""
NAMES = ("i32", "i64", "f32", "f64", "two", "vector", "none", "sum", "store", "deep", "traps", "ends")
INDEX = {name: at for at, name in enumerate(NAMES, 1)}
BITS = {"i32": 32, "i64": 64, "f32": 32, "f64": 64}


@pytest.fixture(scope="module")
def trials():
    data = wasmtime.wat2wasm(TEXT)
    module = wasm.read(data)

    def capsule(form, calls):
        return build(form, hashlib.sha256(data).hexdigest(), calls, World())

    oracle = registry.create("wasmtime", {})
    with local_host() as host:
        made = RowTrials(module, sorted(INDEX.values()), capsule, oracle, RunLimits(), host)
        made.module = module
        yield made
        oracle.close()


def call(trials: RowTrials, name: str, *args: int) -> Call:
    type_ = trials.module.function_type(INDEX[name])
    values = tuple(Value(str(kind), bits) for kind, bits in zip(type_.params, args, strict=True))
    return Call(name, INDEX[name], type_, values)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_every_number_arrives_and_the_first_result_comes_back(trials: RowTrials, data: st.DataObject) -> None:
    calls, expected = [], []
    for name in data.draw(st.lists(st.sampled_from(("i32", "i64", "f32", "f64")), min_size=1, max_size=20)):
        kinds = trials.module.function_type(INDEX[name]).params
        args = [data.draw(st.integers(0, (1 << BITS[kind]) - 1)) for kind in kinds]
        calls.append(call(trials, name, *args))
        expected.append(args[kinds.index(name)])
    assert trials.run(calls).results == tuple(expected)


def test_calls_share_an_instance_and_trials_do_not(trials: RowTrials) -> None:
    calls = [call(trials, "none", 5), call(trials, "none", 7), call(trials, "sum")]
    assert trials.run(calls).results == trials.run(calls).results == (0, 0, 12)
    assert trials.run([call(trials, "two", 3, 0x3FF8 << 48), call(trials, "vector")]).results == (0x3FF8 << 48, 0)


def test_what_the_calls_enter_is_reported_also_after_a_trap(trials: RowTrials) -> None:
    done = trials.run([call(trials, "store", 8, 9), call(trials, "traps", 0xFFFFFFF0), call(trials, "sum")])
    assert done.entered == {INDEX["store"], INDEX["deep"], INDEX["traps"]}
    assert isinstance(done.stop, Trapped)
    assert done.results == (0,)
    assert done.memory_bytes == 2 << 16


def test_a_peek_reads_what_a_call_stored(trials: RowTrials) -> None:
    assert trials.run([call(trials, "store", 0x100, 77)], [0x100, 0x104]).results == (0, 77, 0)


def test_fuel_is_that_of_the_calls(trials: RowTrials) -> None:
    few, many = (trials.run([call(trials, "ends", count)]).fuel for count in (10, 100_000))
    assert many - few > 300_000


def test_a_trial_has_room_for_a_limited_number_of_calls(trials: RowTrials) -> None:
    assert trials.fits([call(trials, "sum")] * MOST_CALLS)
    assert not trials.fits([call(trials, "sum")] * (MOST_CALLS + 1))
    assert not trials.fits([call(trials, "i64", 1, 2)] * MOST_CALLS)
    fitting = [call(trials, "i64", 1, at) for at in range(121)]
    assert trials.fits(fitting)
    assert trials.run(fitting).results == tuple(range(121))
