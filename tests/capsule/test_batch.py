"""The batch form: each range of rows has the stream that it has alone, whatever the ranges before it changed."""

from __future__ import annotations

import msgspec
import pytest

from diffcheck.capsule import layout as lo
from diffcheck.capsule.batch.batch_form import Batch, PageRange, keys
from diffcheck.capsule.batch.row_effects import unrestorable
from diffcheck.capsule.seal import World
from diffcheck.wasm.module import read
from tests.capsule.helpers import binary, calls, capsule, run

STATE = """(module (type $f (func (result i32)))
  (memory (export "m") 3) (memory $wide i64 1) (data (i32.const 8) "\\2a") (data (memory $wide) (i64.const 0) "\\07")
  (table $t (export "t") 4 funcref) (elem (table $t) (i32.const 1) func $one $two)
  (table $x (export "x") i64 2 externref)
  (global $i (export "i") (mut i32) (i32.const 5)) (global $n (mut f64) (f64.const nan:0x4000000000001))
  (global $v (mut v128) (v128.const i64x2 1 2)) (global $r (export "r") (mut funcref) (ref.func $one))
  (global $q (mut (ref $f)) (ref.func $one))
  (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
  (func $start (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))) (start $start)
  (func (export "all") (result i32 i32 i32 f64 v128 i32 i32 i32 i64)
    (i32.load (i32.const 8)) (i32.load (i32.const 0x20000)) (global.get $i) (global.get $n) (global.get $v)
    (call_indirect $t (type $f) (i32.const 1)) (call_ref $f (global.get $q)) (i32.load (i32.const 16))
    (i64.load $wide (i64.const 0))
    (i32.store (i32.const 8) (i32.const 1)) (i32.store (i32.const 0x20000) (i32.const 9)) (global.set $i (i32.const 6))
    (global.set $n (f64.const 2)) (global.set $v (v128.const i64x2 3 4)) (global.set $r (ref.null func))
    (global.set $q (ref.func $two)) (table.set $t (i32.const 1) (ref.func $two)) (table.set $t (i32.const 0) (ref.func $one))
    (i64.store $wide (i64.const 0) (i64.const 99))))"""

STUBS = """(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "all") (result i64 i64 i32)
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 3))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (drop (call $random (i32.const 72) (i32.const 8)))
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 80)))
    (i64.load (i32.const 72)) (i64.load (i32.const 80)) (i32.load (i32.const 64)))
  (func (export "exit") (call $exit (i32.const 3))))"""


def alone(made, first, last):
    return run(made, lo.Parameters(first, last)).header.stream_key


@pytest.mark.parametrize(("text", "rows", "pages"), [
    (STATE, ["all", "all", "all"], (PageRange(0, 0, 1), PageRange(0, 2, 1), PageRange(1, 0, 1))),
    (STUBS, ["all", "all", "all"], (PageRange(0, 0, 1),)),
])  # fmt: skip
@pytest.mark.parametrize("ranges", [((0, 1), (1, 3), (0, 0), (0, 3), (2, 3)), ((0, 3), (0, 1))])
def test_every_range_has_the_stream_that_it_has_alone(text, rows, pages, ranges):
    made = capsule(text, rows, World(stdin=b"a line of input"))
    ran = run(made.batch(Batch(ranges, pages)), lo.Parameters(*ranges[-1]), slots=True)
    assert keys(ran.view, len(ranges)) == [alone(made, *each) for each in ranges]
    assert ran.header.stream_key == alone(made, *ranges[-1])
    assert ran.slots == ran.memory[lo.HEADER_ADDRESS : lo.HEADER_ADDRESS + 8 * lo.SLOTS]


def test_without_its_pages_the_state_is_not_restored():
    made = capsule(STATE, ["all", "all"])
    ran = run(made.batch(Batch(((0, 1), (1, 2)), ())), lo.Parameters(1, 2))
    assert keys(ran.view, 2)[0] == alone(made, 0, 1)
    assert keys(ran.view, 2)[1] != alone(made, 1, 2)


def test_a_range_that_ends_by_an_exit_is_followed_by_another_one():
    made = capsule(STUBS, ["all", "exit", "all"], World(stdin=b"input"))
    ranges = ((1, 3), (0, 3), (2, 3))
    ran = run(made.batch(Batch(ranges, (PageRange(0, 0, 1),))), lo.Parameters(2, 3))
    assert keys(ran.view, 3) == [alone(made, *each) for each in ranges]


def test_a_batch_in_identity_form_has_the_keys_of_that_form():
    made = capsule(STATE, ["all", "all"]).identified()
    assert made is not None
    ran = run(made.batch(Batch(((0, 1), (1, 2)), (PageRange(0, 0, 3), PageRange(1, 0, 1)))), lo.Parameters(1, 2))
    assert keys(ran.view, 2) == [alone(made, 0, 1), alone(made, 1, 2)]


DROPS = """(module (type $v (func)) (table 3 funcref) (elem (i32.const 0) $drop $none) (data $d "x") (memory 1)
  (func $drop (data.drop $d)) (func $none)
  (func (export "drops") (call $drop)) (func (export "calls") (call $none)) (func (export "indirect") (param i32)
    (call_indirect (type $v) (local.get 0))){more})"""


@pytest.mark.parametrize(("more", "rows"), [
    ("", {0, 2}),
    ('(func (export "constant") (call_indirect (type $v) (i32.const 1)))', {0, 2, 3}),
    ("(start $drop)", None),
    ("(memory 5 (pagesize 1))", None),
    ("(table $n 1 (ref func) (ref.func $none)) (func (table.set $n (i32.const 0) (ref.func $drop)))", None),
])  # fmt: skip
def test_rows_that_drop_segments_can_only_end_a_batch(more, rows):
    module = read(binary(DROPS.replace("{more}", more)))
    names = [*("drops", "calls", "indirect=0"), *(["constant"] if "constant" in more else [])]
    found = unrestorable(module, calls(module, names))
    assert found == (None if rows is None else frozenset(rows))


def test_a_row_that_reads_a_global_can_be_followed_by_others():
    module = read(binary(DROPS.replace("{more}", '(global (export "g") i32 (i32.const 1))')))
    call = calls(module, ["drops"])[0]
    assert unrestorable(module, [call, msgspec.structs.replace(call, function=0, reads=True)]) == {0}


def test_rows_that_change_objects_can_only_end_a_batch():
    text = """(module (type $s (struct (field (mut i32)))) (global $o (ref $s) (struct.new $s (i32.const 1)))
      (func (export "get") (result i32) (struct.get $s 0 (global.get $o)))
      (func (export "set") (struct.set $s 0 (global.get $o) (i32.const 2))))"""
    module = read(binary(text))
    assert unrestorable(module, calls(module, ["get", "set", "get"])) == {1}


def test_a_batch_costs_no_function():
    made = capsule(STATE, ["all"])
    batch = made.batch(Batch(((0, 1), (0, 1)), (PageRange(0, 0, 3),)))
    assert len(read(batch.wasm).functions) == len(read(made.wasm).functions)
    assert msgspec.structs.replace(batch.form, batch=None) == made.form
