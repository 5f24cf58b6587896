"""A reference to a copy, or to another function, is located at the instruction that gave it, and not where the program finds out."""

from __future__ import annotations

import pytest

from tests.triage.localising import changed, localised

PROGRAM = """(module
  (type $s (struct (field (mut i32)) (field (mut (ref null $s)))))
  (type $r (array (mut (ref null $s))))
  (type $f (func (result i32)))
  (table $t 4 (ref null $s)) (table $functions 4 funcref)
  (global $g (mut (ref null $s)) (ref.null $s)) (global $chosen (export "chosen") (mut funcref) (ref.null func))
  (elem declare func $one $two)
  (func $one (type $f) (i32.const 1))
  (func $two (type $f) (i32.const 2))
  (func $new (param i32) (result (ref $s)) (struct.new $s (local.get 0) (ref.null $s)))
  (func $pick (param $unused i64) (param $x (ref null $s)) (result (ref null $s)) (local.get $x))
  (func (export "run_row_a") (result i32) (local $x (ref null $s)) (local $y (ref null $s)) (local $r (ref null $r))
    (local.set $x (call $new (i32.const 7)))
    (local.set $y (call $new (i32.const 8)))
    {body}))"""
COPY = b"\xfb\x02\x00\x00\xd0\x00\xfb\x00\x00"  # struct.get 0 0, ref.null 0, struct.new 0
SAME = "(ref.eq {} (local.get $x))"
IN_TABLE = "(table.set $t (i32.const 1) (local.get $x))"
IN_FIELD = "(struct.set $s 1 (local.get $y) (local.get $x))"
IN_GLOBAL = "(global.set $g (local.get $x))"
IN_ARRAY = "(local.set $r (array.new $r (local.get $x) (i32.const 3)))"
READS = {
    "local.get 1": SAME.format("(call $pick (i64.const 0) (local.get $x))"),
    "struct.get 0 1": IN_FIELD + SAME.format("(struct.get $s 1 (local.get $y))"),
    "table.get 0": IN_TABLE + SAME.format("(table.get $t (i32.const 1))"),
    "global.get 0": IN_GLOBAL + SAME.format("(global.get $g)"),
    "array.get 1": IN_ARRAY + SAME.format("(array.get $r (local.get $r) (i32.const 1))"),
    "ref.as_non_null": SAME.format("(ref.as_non_null (local.get $x))"),
    "ref.cast 0": SAME.format("(ref.cast (ref $s) (local.get $x))"),
}
WRITTEN = f"{IN_TABLE} (struct.set $s 0 (table.get $t (i32.const 1)) (i32.const 99)) (struct.get $s 0 (local.get $x))"
KEPT = f"{IN_TABLE} (table.set $t (i32.const 3) (table.get $t (i32.const 1))) (i32.const 5)"


MOVED = """
  (table.set $functions (i32.const 1) (ref.func $two))
  (table.set $functions (i32.const 0) (ref.func $one))
  (table.copy $functions $functions (i32.const 2) (i32.const 0) (i32.const 1))
  (call_indirect $functions (type $f) (i32.const 2))"""
FUNCTIONS = {
    "called": "(call_ref $f (ref.func $one))",
    "called in a table": "(table.set $functions (i32.const 0) (ref.func $one)) (call_indirect $functions (type $f) (i32.const 0))",
    "kept": "(global.set $chosen (ref.func $one)) (i32.const 1)",
}


def located(host, tmp_path, body, instruction, change):
    """The answer for an engine that executes other code in the place of an instruction, which the program has once."""
    answer = localised(host, PROGRAM.format(body=body), changed(instead(instruction, change), own=True), tmp_path)
    assert (answer.depth, answer.instruction, answer.confirmed) == ("instruction", instruction, True), answer
    return answer


def instead(instruction, change):
    name, *immediates = instruction.split(" ")

    def bytes_of(each, raw):
        same = each.name == name and [str(value) for value in each.immediates][: len(immediates)] == immediates
        return change(raw) if same else raw

    return bytes_of


def copying(raw):
    return raw + COPY


@pytest.mark.parametrize("instruction", READS)
def test_a_read_that_gives_a_copy_is_located_and_not_the_comparison(host, tmp_path, instruction):
    answer = located(host, tmp_path, READS[instruction], instruction, copying)
    new = 4 if instruction.startswith("array") else 3
    assert (answer.oracle, answer.subject) == ("a structure (object 1)", f"a structure (object {new})")
    assert "`ref.eq` of a structure, a structure: wasmtime 1, wasmtime 0" in answer.notes[0]


@pytest.mark.parametrize("body", [WRITTEN, KEPT], ids=["written to", "in the final state"])
def test_a_copy_that_no_comparison_finds_is_located(host, tmp_path, body):
    located(host, tmp_path, body, "table.get 0", copying)


@pytest.mark.parametrize("use", FUNCTIONS)
def test_a_reference_to_another_function_is_located_where_it_is_made(host, tmp_path, use):
    answer = located(host, tmp_path, FUNCTIONS[use], "ref.func 0", lambda _: b"\xd2\x01")
    assert (answer.oracle, answer.subject) == ("function 0", "function 1")


def test_a_function_at_another_place_of_a_table_is_located_at_the_write(host, tmp_path):
    wrong = b"\x1a\x1a\x1a\x41\x02\x41\x01\x41\x01"  # the source is element 1
    answer = located(host, tmp_path, MOVED, "table.copy 1 1", lambda raw: wrong + raw)
    assert "`call_indirect 2 1` of 2" in answer.notes[0]


def test_objects_that_are_the_same_have_nothing_to_locate(host, tmp_path):
    answer = localised(host, PROGRAM.format(body=KEPT), lambda data: data, tmp_path)
    assert answer.depth == "none"


@pytest.mark.parametrize("words", [False, True])
def test_a_trap_in_what_reads_back_does_not_blame_the_writer(host, tmp_path, words):
    program = """(module (type $s (struct (field (mut i32))))
      (func (export "run_row_0") (result i32) (local $o (ref null $s))
        (local.set $o (struct.new $s (i32.const 7))) (nop) (struct.get $s 0 (local.get $o))))"""
    # Known answers read other types.
    traps = changed(lambda each, raw: b"\x00" if (each.name, each.immediates) == ("struct.get", (0, 0)) else raw)
    answer = localised(host, program, traps, tmp_path, words=words)
    assert answer.instruction.startswith("struct.get")
    assert answer.subject.startswith("trapped")
