"""A state that is wrong since instantiation is not blamed on the instruction that reads it, and is a cause."""

from __future__ import annotations

import pytest

from diffcheck.triage.causes import cause_name
from diffcheck.wasm.section import START, split, write
from tests.triage.localising import localised

GLOBAL = """(module (global $g (export "g") (mut i64) (i64.const 77777))
  (func (export "read") (result i64) (i64.add (global.get $g) (i64.const 1))))"""
TABLE = """(module (type $t (func (result i32))) (table (export "t") 4 funcref) (elem (i32.const 1) $a)
  (func $a (type $t) (i32.const 7))
  (func (export "read") (result i32) (call_indirect (type $t) (i32.const 1))))"""
DATA = """(module (memory (export "m") 1) (data (i32.const 40) "hello")
  (func (export "read") (result i32) (i32.load8_u (i32.const 41))))"""


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        (GLOBAL, b"\x42\xd1\xdf\x04\x0b", b"\x42\xd2\xdf\x04\x0b"),
        (TABLE, b"\x00\x41\x01\x0b\x01\x00", b"\x00\x41\x02\x0b\x01\x00"),
        (DATA, b"hello", b"hullo"),
    ],
)
def test_what_instantiation_leaves_wrong_is_not_blamed_on_the_instruction_that_reads_it(host, tmp_path, text, before, after):
    def edit(data):
        at = data.rfind(before)
        return data[:at] + after + data[at + len(before) :] if at >= 0 else data

    answer = localised(host, text, edit, tmp_path, rows='"read"')
    assert (answer.depth, answer.instruction) == ("row", "")
    assert answer.why.startswith("the state differs before any instruction ran, after instantiation")
    assert cause_name(answer) == "instantiation leaves a wrong state"


@pytest.mark.parametrize("body", ["(global.set $g (i32.const 7))", "(global.set $g (i32.const 7)) (unreachable)"])
def test_a_start_function_that_is_not_called_is_the_fault_of_instantiation(host, tmp_path, body):
    text = f"""(module (global $g (export "g") (mut i32) (i32.const 1)) (func $s {body}) (start $s)
      (func (export "read") (result i32) (global.get $g)))"""

    def edit(data):
        return write(each for each in split(data) if each.id != START)

    answer = localised(host, text, edit, tmp_path, rows='"read"')
    assert (answer.depth, answer.why.partition(" (")[0]) == ("row", cause_name(answer))
    assert cause_name(answer) == "instantiation does not call the start function"


@pytest.mark.parametrize("row", ["", "(start)"])
def test_a_start_function_that_is_not_called_is_named_where_the_subject_reports_nothing_at_its_trap(host, tmp_path, row):
    text = """(module (global $g (export "g") (mut i32) (i32.const 0)) (func $s (global.set $g (i32.const 7))) (start $s)
      (func (export "read") (if (i32.eqz (global.get $g)) (then unreachable))))"""

    def edit(data):
        return write(each for each in split(data) if each.id != START)

    answer = localised(host, text, edit, tmp_path, rows='"read"', row=row, words=True)
    assert cause_name(answer) == "instantiation does not call the start function"


def test_a_global_that_no_record_has_may_be_wrong_since_instantiation(host, tmp_path):
    text = GLOBAL.replace('(export "g")', "")
    answer = localised(host, text, lambda data: data.replace(b"\x42\xd1\xdf\x04\x0b", b"\x42\xd2\xdf\x04\x0b"), tmp_path)
    assert answer.instruction == "global.get 0"
    assert "nothing wrote global 0 before; its contents after instantiation were not compared" in answer.notes
