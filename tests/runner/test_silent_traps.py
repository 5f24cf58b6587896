"""A subject that reports nothing at a trap is executed at most N + 2 times for N trapping rows; a wrong one is found all the same."""

from __future__ import annotations

import msgspec
import pytest
from wasmtime import wat2wasm

from diffcheck.cases.discovery import Case
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.observation import HarnessFailed, Trapped
from diffcheck.runner import case_run
from diffcheck.runner.observation_reader import ObservationReader
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.planning import make
from diffcheck.runner.request import Request
from diffcheck_backends import wasmtime
from tests.doubles.altered_engine import Altered, carried_as

NUMBERS = """(module (memory (export "m") 1) (global $g (export "g") (mut i32) (i32.const 7)) (table $t 2 funcref)
  (func $f) (elem (table $t) (i32.const 0) func $f)
  (func (export "count") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))
  (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "empty") (table.set $t (i32.const 0) (ref.null func)))
  (func (export "call") (param i32) (call_indirect $t (local.get 0)))
  (func (export "divide") (param i32) (result i32) (i32.div_u (i32.const 9) (local.get 0))))"""
MIXED = [
    "count", "store=0,5", "divide=0", "load=0", "count", "load=65536", "store=0,9", "empty", "call=0", "call=0", "call=1",
    "divide=0", "count", "load=0",
]  # fmt: skip
MIXED_TRAPS = 5
RANDOM = """(module (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1) (data (i32.const 0) "\\40\\00\\00\\00\\02")
  (func (export "random") (result i64) (drop (call $random (i32.const 8) (i32.const 8))) (i64.load (i32.const 8)))
  (func (export "read") (result i32) (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 32)))
    (i32.load (i32.const 64)))
  (func (export "trap") unreachable))"""
INITIALISED = """(module (global $g (mut i32) (i32.const 0)) (start $s) (func $s (global.set $g (i32.const 3)))
  (func (export "next") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))
  (func (export "trap") unreachable))"""
SAME_TYPE = """(module (table (export "t") 3 funcref) (elem (i32.const 0) func $a $b) (func $a) (func $b)
  (func (export "swap") (table.copy (i32.const 0) (i32.const 1) (i32.const 1)))
  (func (export "call") (param i32) (call_indirect (local.get 0))))"""
DROPPED = """(module (memory 1) (data $d "abcd") (func (export "drop") (data.drop $d))
  (func (export "init") (param i32) (memory.init $d (i32.const 0) (i32.const 0) (local.get 0))))"""
GROWN = """(module (memory (export "m") 1) (func (export "grow") (result i32) (memory.grow (i32.const 1)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"""
OBJECT = """(module (type $s (struct (field (mut i32)))) (global $o (ref $s) (struct.new $s (i32.const 1)))
  (func (export "next") (result i32)
    (struct.set $s 0 (global.get $o) (i32.add (struct.get $s 0 (global.get $o)) (i32.const 1))) (struct.get $s 0 (global.get $o)))
  (func (export "trap") unreachable))"""
EXITS = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
  (global $g (mut i32) (i32.const 0))
  (func (export "next") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))
  (func (export "exit") (param i32) (call $exit (local.get 0))) (func (export "trap") unreachable))"""


@pytest.fixture
def oracle():
    made = wasmtime.create(None, {})
    yield made
    made.close()


@pytest.fixture
def compare(oracle, host, tmp_path):
    """Compare rows of a module under wasmtime and one that reports nothing at a trap; gives the capsule pass."""

    def compared(text, rows, alter=lambda _, execution: execution, stdin=b"", deadline_s=10.0, **capabilities):
        path = tmp_path / "case.wasm"
        path.write_bytes(wat2wasm(text))
        silent = carried_as("words", state_at_trap=False)
        subject = Altered(
            oracle, lambda program, execution: silent(program, alter(program, execution)),
            transport="words", state_at_trap=False, **capabilities,
        )  # fmt: skip
        case = Case("case", str(path), rows=tuple(rows), stdin=stdin)
        request = Request((str(path),), mode="capsule", deadline_s=deadline_s)
        return case_run.run(make(case, request, oracle, oracle, subject, host), 24, oracle, subject, host, "silent").passes[0]

    return compared


@pytest.fixture
def faulty(oracle, host, tmp_path):
    """Compare rows of a module under wasmtime and a wasmtime that runs the edited capsule and reports nothing at a trap."""

    def compared(text, rows, edit):
        path = tmp_path / "case.wasm"
        path.write_bytes(wat2wasm(text))
        subject = FaultyBackend(oracle, Fault("edited", "", Expected(), edit=edit), words=True)
        request = Request((str(path),), mode="capsule")
        plan = make(Case("case", str(path), rows=tuple(rows)), request, oracle, oracle, subject, host)
        return case_run.run(plan, 24, oracle, subject, host, "faulty").passes[0]

    return compared


ENDLESS = '(module (func (export "f") (param i32) (loop (br_if 0 (local.get 0)))))'


def test_rows_that_do_not_end_under_the_oracle_never_reach_the_subject(compare):
    found = compare(ENDLESS, ["f=0", "f=1"], deadline_s=0.5)
    assert found.verdict == "inconclusive"
    assert found.reason == "the oracle timed out after 0.5 s, so the subject was not run"
    assert (found.oracle.words, found.subject.cost.executions) == ("timed out after 0.5 s", 0)


@pytest.mark.parametrize(("text", "rows", "traps"), [
    (NUMBERS, MIXED, MIXED_TRAPS),
    (NUMBERS, ["count", "divide=0"] * 12, 12),
    (NUMBERS, ["divide=0"] * 8, 8),
    (NUMBERS, ["divide=0"], 1),
    (NUMBERS, ["count", "count", "divide=0", "count"], 1),
    (RANDOM, ["random", "read", "trap"] * 4 + ["read"], 4),
    (INITIALISED, ["next", "next", "trap"] * 4, 4),
    (SAME_TYPE, ["call=0", "swap", "call=2", "call=1", "swap", "call=2", "call=0"], 2),
    (DROPPED, ["init=4", "init=5", "drop", "init=0", "init=5", "init=2", "init=5", "init=1"], 3),
    (GROWN, ["load=0", "load=65536", "grow", "load=65536", "load=131072", "load=1", "load=65536", "load=4"], 3),
    (EXITS, ["next", "exit=1", "next", "trap", "next", "exit=0", "next", "trap", "next"], 2),
])  # fmt: skip
def test_trapping_rows_cost_at_most_two_more_executions_than_there_are(compare, text, rows, traps):
    report = compare(text, rows, stdin=b"a line of input")
    assert (report.verdict, report.agreement.rows) == ("agree", len(rows) + (text is INITIALISED) * traps)
    assert report.subject.cost.executions <= traps + 2


def test_a_missing_answer_is_that_of_the_row_that_traps(compare):
    missing = HarnessFailed("no answer")

    def alter(_, execution):
        return msgspec.structs.replace(execution, outcome=missing) if isinstance(execution.outcome, Trapped) else execution

    report = compare(NUMBERS, ["count", "divide=0", "count", "divide=0"], alter)
    found = [(each.where.row, each.kind, each.oracle, each.subject) for each in report.divergences]
    assert found == [("divide=0", "outcome", "trapped: integer divide by zero", "harness failed: no answer")] * 2
    assert report.agreement.rows == 4


def test_without_exceptions_an_exit_is_a_trapping_row(compare):
    report = compare(EXITS, ["next", "exit=1", "next", "trap", "next", "exit=0", "next"], exceptions=False)
    assert report.verdict == "agree"
    assert report.subject.cost.executions <= 3 + 2


def test_instances_that_change_objects_run_one_by_one(compare):
    rows = ["next", "trap"] * 4
    report = compare(OBJECT, rows)
    assert (report.verdict, report.agreement.rows) == ("agree", len(rows))
    assert report.subject.cost.executions == 2 * 4


@pytest.mark.parametrize("each_s", [0.0, 1.0])
def test_a_batch_is_run_only_if_it_is_cheaper_than_executions(compare, each_s):
    text = """(module (memory (export "m") 1) (func (export "store") (i32.store (i32.const 0) (i32.const 1)))
      (func (export "trap") unreachable))"""
    report = compare(text, ["store", "trap"] * 3, startup_s=each_s, function_s=0.0)
    assert report.subject.cost.executions == (3 + 1 if each_s else 2 * 3)


def test_an_observation_does_not_repeat_runs_at_a_trap(oracle, host, tmp_path):
    path = tmp_path / "case.wasm"
    path.write_bytes(wat2wasm(NUMBERS))
    subject = FaultyBackend(oracle, None, words=True)
    case = Case("case", str(path), rows=("count", "divide=0") * 4)
    plan = make(case, Request((str(path),)), oracle, oracle, subject, host)
    sides = (
        CapsuleSide(oracle, plan.capsules.oracle, plan.limits, host, whole=True),
        CapsuleSide(subject, plan.capsules.subject, plan.limits, host),
    )
    seen = ObservationReader(*sides, full=False, max_passes=24).read(keep_going=True)
    assert [stop.row for stop in seen.stops] == ["divide=0"] * 4
    assert seen.cost.executions == 3 * 4  # all rows, those before the trap, those with it (not for the last row), and once no row
    assert [instance.rows[0].results[0].bits for instance in seen.instances] == [8] * 4


# Engines that are wrong.


FAULTS = """(module (global $g (mut i32) (i32.const 0))
  (func (export "count") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))
  (func (export "early") (result i32) (i32.div_u (i32.const 6) (i32.const 77)))
  (func (export "zero") (result i32) (i32.div_u (i32.const 5) (i32.const 0))))"""
ROWS = ["count", "zero", "count", "early", "zero", "count", "early", "count", "zero", "early", "zero", "count"]
EARLY, ZERO = b"\x41\x06\x41\xcd\x00\x6e", b"\x41\x05\x41\x00\x6e"


@pytest.mark.parametrize(("before", "after", "row", "values"), [
    (EARLY, b"\x41\x06\x41\x80\x00\x6e", "early", ("returned", "trapped: integer divide by zero")),
    (EARLY, b"\x41\x06\x41\x83\x00\x6e", "early", ("0", "2")),
    (ZERO, b"\x41\x05\x41\x05\x6e", "zero", ("trapped: integer divide by zero", "returned")),
    (ZERO, b"\x00\x01\x41\x00\x6e", "zero", ("trapped: integer divide by zero", "trapped: unreachable")),
])  # fmt: skip
def test_a_subject_that_is_wrong_in_one_row_differs_in_that_row_alone(faulty, before, after, row, values):
    report = faulty(FAULTS, ROWS, lambda wasm: wasm.replace(before, after, 1))
    assert report.verdict == "diverge"
    assert {each.where.row for each in report.divergences} == {row}
    assert values in {(each.oracle, each.subject) for each in report.divergences}
    assert report.divergences_total == ROWS.count(row)


def test_a_subject_that_does_not_restore_the_state_agrees(faulty):
    rows = ["count", "zero"] * 3
    restored = b"\x23\xfb\x01\x24\x00"  # global.get of the copy, global.set 0
    report = faulty(FAULTS, rows, lambda wasm: wasm.replace(restored, b"\x01" * len(restored)))
    assert (report.verdict, report.agreement.rows) == ("agree", len(rows))
