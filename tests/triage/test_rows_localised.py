"""A row that is named is the one that is localised in; one that agrees is reported as such."""

from __future__ import annotations

import pytest

from tests.triage.localising import changed, localised, localiser

TWO_BUGS = """(module (global $g (mut i32) (i32.const 1))
  (func (export "run_row_a") (result i32) (i32.div_s (i32.const 1000) (i32.const 7)))
  (func (export "run_row_b") (result i32) (i32.const 5))
  (func (export "run_row_c") (global.set $g (i32.rotl (i32.const 3) (i32.const 4))))
  (func (export "run_row_d") (result i32) (i32.const 6))
  (func (export "run_row_e") (result i32) (i32.mul (global.get $g) (i32.const 2)))
  (func (export "run_row_f") (result i32) (i32.div_s (i32.const 2000) (i32.const 9))))"""
OTHERS = {"i32.div_s": b"\x6f", "i32.rotl": b"\x78"}
"""Remainders for quotients, and turns to the right for turns to the left."""

two_bugs = changed(lambda each, raw: OTHERS.get(each.name, raw))


@pytest.mark.parametrize(
    "row, instruction, function",
    [("run_row_a", "i32.div_s", 0), ("run_row_e", "i32.rotl", 2), ("run_row_f", "i32.div_s", 5)],
)
def test_bugs_of_one_artifact_are_localised_row_by_row(host, tmp_path, row, instruction, function):
    """What a row reads may have been written by one before it, whose instruction is wrong then; other rows' bugs are not its own."""
    answer = localised(host, TWO_BUGS, two_bugs, tmp_path, row=row)
    assert (answer.depth, answer.instruction, answer.function_index) == ("instruction", instruction, function)
    assert answer.confirmed


@pytest.mark.parametrize("row", ["run_row_b", "run_row_d"])
def test_a_row_that_agrees_is_reported_as_such(host, tmp_path, row):
    answer = localised(host, TWO_BUGS, two_bugs, tmp_path, row=row)
    assert (answer.depth, answer.why) == ("none", f"row {row} agrees, and the state after it")


STORES = """(module (memory (export "m") 1)
  (func (export "store") (param i32) (i32.store8 offset=7 (local.get 0) (i32.const 99)))
  (func (export "nothing")))"""
one_byte_on = changed(lambda _, raw: b"\x3a\x00\x08" if raw == b"\x3a\x00\x07" else raw)


@pytest.mark.parametrize("rows", ['"store=500"', '"nothing", "store=400", "store=500"'])
def test_a_row_after_which_the_state_differs_is_localised_in(host, tmp_path, rows):
    answer = localised(host, STORES, one_byte_on, tmp_path, rows=rows, row="store=500")
    assert (answer.instruction, answer.row, answer.operands) == ("i32.store8 offset=7", "store=500", ("500", "99"))


def test_the_state_that_an_earlier_row_left_is_not_a_difference_of_the_row(host, tmp_path):
    answer = localised(host, STORES, one_byte_on, tmp_path, rows='"store=500", "nothing"', row="nothing")
    assert (answer.depth, answer.why) == ("none", "row nothing agrees; the state after it already differs after an earlier row")


MANY = """(module (func (export "run_row_a") (result i32) (local $i i32)
  (loop $again
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $again (i32.lt_u (local.get $i) (i32.const 300))))
  (i32.mul (local.get $i) (i32.const 1234))))"""
other_constant = changed(lambda _, raw: b"\x41\xd3\x09" if raw == b"\x41\xd2\x09" else raw)


def test_a_search_that_ends_too_early_names_the_option_that_goes_on(host, tmp_path):
    with localiser(host, MANY, other_constant, tmp_path) as work:
        work.max_runs = 0
        answer = work.localise()
    assert answer.depth == "row"
    assert "not found within 0 runs of the subject; use a larger --max-passes" in answer.why
