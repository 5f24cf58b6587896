"""Rows that are planned under the oracle: what is called first, pointers and handles, and which rows are chosen."""

from __future__ import annotations

import random

import msgspec
import pytest

from diffcheck.backend import registry
from diffcheck.backend.contract import local_host
from diffcheck.cases.discovery import discover, load_case
from diffcheck.cases.rows import declarable
from diffcheck.runner import planning
from diffcheck.runner.request import Request
from diffcheck.runner.row_plans.row_choice import MOST_STOPS
from tests.runner.test_run import artifact, reports
from tests.triage.reduction_trials import planted as planted_fault
from tests.triage.reduction_trials import trial

HEAP = """
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 0))
  (func (export "__wasm_call_ctors") (global.set $next (i32.const 65536)))
  (func $malloc (export "malloc") (param i32) (result i32)
    (if (i32.eqz (global.get $next)) (then unreachable))
    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 0))))
"""
OBJECTS = f"""
(module {HEAP}
  (data (i32.const 1024) "a text that is long enough\\00")
  (func $deep) (func $deeper) (func $text)
  (func (export "point_new") (param i32) (result i32) (local $at i32)
    (local.set $at (call $malloc (i32.const 8)))
    (i32.store (local.get $at) (i32.const 0x706F696E))
    (local.get $at))
  (func (export "point_move") (param i32 i32)
    (if (i32.ne (i32.load (local.get 0)) (i32.const 0x706F696E)) (then unreachable))
    (call $deep))
  (func (export "point_free") (param i32)
    (if (i32.ne (i32.load (local.get 0)) (i32.const 0x706F696E)) (then unreachable))
    (call $deeper) (i32.store (local.get 0) (i32.const 0)))
  (func (export "parse") (param i32 i32) (result i32)
    (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 97)) (then (call $text)))
    (i32.load8_u (i32.add (local.get 0) (local.get 1)))))
"""
REGISTERS = """
(module
  (import "a" "a" (func $register (param i32 i32 i32 i32 i32 i32)))
  (memory (export "b") 4) (table (export "c") 3 funcref) (elem (i32.const 1) $invoker $unregistered)
  (data (i32.const 1024) "viid\\00scale\\00")
  (func $inner) (func $elsewhere)
  (func $invoker (param i32 i32 f64) (if (i32.eq (local.get 0) (i32.const 4711)) (then (call $inner))) (drop (i32.load (local.get 1))))
  (func $unregistered (param i32) (call $elsewhere) (drop (i32.load (local.get 0))))
  (func (export "d")
    (call $register (i32.const 1029) (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 1) (i32.const 4711)))
  (func (export "e") (param i32) (result i32) (i32.load (local.get 0))))
"""
ORDER = """
(module
  (memory (export "memory") 1)
  (global $spoilt (mut i32) (i32.const 0))
  (func $a) (func $b) (func $c)
  (func (export "spoils") (param i32) (call $a) (call $b) (global.set $spoilt (i32.const 1)) (drop (i32.load (local.get 0))))
  (func (export "needs") (param i32) (call $c) (if (global.get $spoilt) (then unreachable)) (drop (i32.load (local.get 0)))))
"""
LOOPS = """
(module
  (memory 1)
  (func $counts (param i32) (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (export "quick") (param i32) (result i32) (i32.load (i32.const 8)))
  (func (export "long") (param i32) (drop (i32.load (i32.const 8))) (call $counts (i32.const 100000000)))
  (func (export "endless") (param i32) (drop (i32.load (i32.const 8))) (loop $l (br $l))))
"""
TRAPS = "(module (memory 1) {} {})".format(
    " ".join(f"(func $f{at})" for at in range(20)),
    " ".join(f'(func (export "t{at}") (param i32) (call $f{at}) (drop (i32.load (local.get 0))) unreachable)' for at in range(20)),
)


@pytest.fixture
def planned(tmp_path):
    def plan(text, rows=(), name="auto", stored=None):
        path = artifact(tmp_path, name, text)
        request = Request((str(path),), subject="wasmtime-pulley", oracle="wasmtime", rows="auto", calls=tuple(rows))
        return planning.make(load_case(discover([path]).items[0]), request, oracle, oracle, subject, host, stored=stored)

    with local_host() as host:
        oracle, subject = registry.create("wasmtime", {}), registry.create("wasmtime-pulley", {})
        yield plan
        oracle.close()
        subject.close()


def test_what_a_host_calls_first_and_the_buffers_are_init_rows(planned):
    plan = planned(OBJECTS)
    assert plan.rows[:3] == ("init:__wasm_call_ctors", "init:malloc=65536", "init:malloc=64")
    assert plan.reasons["init:malloc=65536"] == "65,536 bytes at 65536"
    assert [each.init for each in plan.calls[:3]] == [True, True, True]


def test_a_method_gets_an_object_that_the_constructor_returned(planned):
    plan = planned(OBJECTS)
    made = next(row for row in plan.rows if row.startswith("init:point_new="))
    address = 65536 + 65536 + 6 * 64
    assert f"point_move={address}," in " ".join(plan.rows)
    assert plan.reasons[made] == "makes an object"
    assert next(row for row in plan.rows if row.startswith("point_free=")) == f"point_free={address}"
    assert "enter 9 of 9 functions" in plan.notes[-1]


def test_an_object_that_takes_very_many_functions_is_not_made_in_every_instance(planned):
    many = "".join(f"(func $m{at})" for at in range(250)), "".join(f"(call $m{at})" for at in range(250))
    text = OBJECTS.replace("(func $deep)", f"(func $deep) {many[0]}").replace(
        "(i32.store (local.get $at)", f"{many[1]} (i32.store (local.get $at)"
    )
    rows = planned(text).rows
    assert "init:malloc=64" in rows
    assert not any(row.startswith("init:point_new=") for row in rows)
    assert any(row.startswith("point_new=") for row in rows)


def test_what_ends_an_object_is_called_last_of_those_that_return(planned):
    rows = planned(OBJECTS).rows
    freed = next(at for at, row in enumerate(rows) if row.startswith("point_free="))
    assert freed > next(at for at, row in enumerate(rows) if row.startswith("point_move="))
    assert freed > next(at for at, row in enumerate(rows) if row.startswith("parse="))


def test_text_of_the_data_is_passed_with_a_length_that_fits(planned):
    assert "parse=1024,16" in planned(OBJECTS).rows


def test_a_registered_function_is_called_by_its_slot_with_its_context(planned):
    plan = planned(REGISTERS)
    assert plan.rows[0] == "init:d"
    assert any(row.startswith("table[1]=4711,") for row in plan.rows)
    assert any(row.startswith("table[2]=") for row in plan.rows)
    assert "enter 6 of 6 functions" in plan.notes[-1]


@pytest.mark.whole
def test_a_row_over_its_share_of_fuel_is_not_chosen(planned):
    plan = planned(LOOPS)
    assert [row.partition("=")[0] for row in plan.rows] == ["quick"]


def test_a_row_that_returns_only_before_another_comes_before_it(planned):
    rows = [row.partition("=")[0] for row in planned(ORDER).rows]
    assert rows.index("needs") < rows.index("spoils")


def test_rows_that_trap_are_few_and_enter_something_new(planned):
    plan = planned(TRAPS)
    assert len(plan.rows) == MOST_STOPS
    assert len({each.function for each in plan.calls}) == MOST_STOPS


def test_numbers_are_tried_at_their_bounds_where_no_pointer_is_possible(planned):
    text = '(module (memory 1) (func (export "f") (param i32) (result i32) local.get 0) (func (export "g") (param i32 f32)))'
    plan = planned(text)
    assert {row for row in plan.rows if row.startswith("f")} == {"f=0", "f=1", "f=-1", "f=-2147483648", "f=2147483647"}
    assert len([row for row in plan.rows if row.startswith("g=")]) == 16


def test_declared_rows_come_first_and_an_entry_stays(planned):
    rows = declarable(planned(OBJECTS, ["parse=7,1"]).calls)
    assert next(row for row in rows if not row.startswith("init:")) == "parse=7,1"
    entry = planned('(module (func (export "_start")) (func (export "f") (param i32)))', name="entry").rows
    assert entry == ("_start", "f=0", "f=1", "f=-1", "f=-2147483648", "f=2147483647")


def test_no_rows_are_planned_behind_an_init_row_that_traps(planned):
    plan = planned(OBJECTS, ["parse=7,1", "init:malloc=3"])
    assert plan.rows == ("init:malloc=3", "parse=7,1")
    assert plan.notes[-1] == "no rows were planned: an init row trapped: unreachable"


def test_the_same_rows_are_planned_again_and_can_be_declared(planned):
    plan = planned(OBJECTS)
    assert planned(OBJECTS).calls == plan.calls
    assert [(each.function, each.args, each.init) for each in planned(OBJECTS, declarable(plan.calls)).calls[: len(plan.calls)]]


def test_a_stored_plan_is_used_unless_the_rows_or_the_artifact_differ(planned):
    class Stored(dict):
        def put(self, name, plan):
            self[name] = plan

    stored = Stored()
    first = planned(OBJECTS, stored=stored)
    (name,) = stored
    stored[name] = msgspec.structs.replace(stored[name], rows=stored[name].rows[:3])
    assert planned(OBJECTS, stored=stored).rows == first.rows[:3]
    planned(OBJECTS, ["parse=1,1"], stored=stored)
    planned(TRAPS, stored=stored)
    assert len(stored) == 3


@pytest.mark.whole
def test_a_divergence_in_a_planned_row_is_reduced_with_the_init_rows_that_it_needs(tmp_path):
    path = str(artifact(tmp_path, "objects", OBJECTS))
    fault = planted_fault(random.Random(2), path, "load", "auto")
    done = trial(path, fault, "auto", budget_s=60.0)
    assert done.same
    assert done.valid
    assert done.rows[0] == "init:__wasm_call_ctors"
    assert done.rows[-1].startswith("point_move=")


def test_a_run_with_planned_rows_agrees_and_reuses_them(tmp_path):
    path = artifact(tmp_path, "objects", OBJECTS)
    options = {"subject": "wasmtime-pulley", "rows": "auto", "cache": str(tmp_path / "cache")}
    first, second = reports(path, **options)["objects"], reports(path, **options)["objects"]
    assert (first.verdict, second.verdict) == ("agree", "agree")
    assert first.rows == second.rows
    assert set(second.cached) == {"oracle", "subject"}
