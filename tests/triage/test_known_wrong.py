"""An engine that is wrong in what the tool's own code uses: the instruction is found in the artifact all the same."""

from __future__ import annotations

import pytest
import wasmtime

from diffcheck.probe import programs
from diffcheck.probe.instruction_answers import GROUPS, WITH_OBJECTS
from diffcheck.runner import case_run as cases
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from tests.doubles.wrong_everywhere import wrong
from tests.probe.test_instructions import NAMES, QUIETED, quieting
from tests.triage.localising import changed, localised, localiser

_IN_SHORT = ("i64.shr_u", "i32.and", "i32.load", "br_if", "memory.size", "memory.copy", "ref.is_null", "i64.gt_u")


def program(name: str) -> bytes:
    """A row that executes the instruction, and one that does not."""
    text = next(each.text for group in GROUPS for each in group if each.name == name)
    table = "table" in text
    return programs.module(
        {
            ids.TYPE: [b"\x60\x00\x01\x7e", b"\x60\x00\x01\x7f"],
            ids.FUNCTION: [b"\x00", b"\x01"],
            ids.MEMORY: [b"\x00\x02"],
            ids.EXPORT: [programs.export(f"run_row_{each}", programs.FUNC, each) for each in (0, 1)],
            ids.CODE: [link(assemble(text, locals=(("0", "i64"),)), {}), link(assemble("i32.const 7"), {})],
            **({ids.TABLE: [b"\x70\x00\x03"], ids.ELEMENT: [b"\x00\x41\x00\x0b\x01\x01"]} if table else {}),
        }
    )


_WITHOUT_OBJECTS = sorted(set(NAMES) - {each.name for each in WITH_OBJECTS})


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in _IN_SHORT else [pytest.mark.whole]) for name in _WITHOUT_OBJECTS]
)
def test_an_instruction_that_is_wrong_everywhere_is_named_in_the_artifact(host, tmp_path, name):
    answer = localised(host, program(name), wrong(name), tmp_path)
    assert (answer.depth, answer.instruction.split(" ")[0], answer.function_index) == ("instruction", name, 0), answer


def test_a_run_names_the_instruction_and_not_a_damaged_stream(host, tmp_path):
    with localiser(host, program("i64.rotl"), wrong("i64.rotl"), tmp_path) as work:
        report = cases.run(work.plan, 24, work.oracle, work.subject, host, "subject", work.request)
    (one,) = report.passes[0].divergences
    assert (report.verdict, one.where.item) == ("diverge", "instruction i64.rotl")
    assert "`i64.const" in one.oracle


def test_a_damaged_stream_is_localised_by_known_answers_before_the_subject_runs_again(host, tmp_path):
    rows = ["i64.shl", "i64.xor", "i64.or", "i64.xor"]
    text = "".join(
        f'(func (export "run_row_{at}") (result i64) ({name} (i64.const -3) (i64.const 7)))' for at, name in enumerate(rows)
    )
    edit = changed(lambda each, raw: b"\x84" if each.name == "i64.xor" else raw)
    answer = localised(host, f"(module {text})", edit, tmp_path)
    assert (answer.instruction, answer.function_index, answer.runs) == ("i64.xor", 1, 0)


NAN = "(f32.const nan:0x200001)"
READERS = {
    "global.get": f'(func (export "run_row_a") (result i32) (global.set 1 {NAN}) (i32.reinterpret_f32 (global.get 1)))',
    "struct.get": f"""(func (export "run_row_a") (result i32) (local (ref null 2))
      (local.set 0 (struct.new 2 {NAN})) (i32.reinterpret_f32 (struct.get 2 0 (local.get 0))))
      (func (export "run_row_b") (result (ref null 2)) (struct.new 2 {NAN}))""",
    "array.get": f"""(func (export "run_row_a") (result i32) (local (ref null 3))
      (local.set 0 (array.new_fixed 3 1 {NAN})) (i32.reinterpret_f32 (array.get 3 (local.get 0) (i32.const 0))))
      (func (export "run_row_b") (result (ref null 3)) (array.new_fixed 3 1 {NAN}))""",
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("words", [False, True])
def test_an_instruction_that_quiets_a_nan_is_the_answer_and_not_the_one_that_wrote_it(host, tmp_path, name, words):
    types = "(type (func)) (type (func (result i32))) (type (struct (field (mut f32)))) (type (array (mut f32)))"
    text = f"(module {types} (global i32 (i32.const 0)) (global (mut f32) (f32.const 0)) {READERS[name]})"
    answer = localised(host, text, quieting(name, QUIETED[name]), tmp_path, words=words)
    assert (answer.instruction.partition(" ")[0], answer.function_index) == (name, 0)


def test_an_artifact_that_does_not_execute_it_says_so(host, tmp_path):
    other = wasmtime.wat2wasm('(module (func (export "run_row_a") (result i32) (i32.const 7)))')
    answer = localised(host, bytes(other), wrong("i32.and"), tmp_path)
    assert answer.depth == "row"
    assert "fails a known-answer test (i32.and: expected 0x" in answer.why
    assert answer.why.count("does not execute that instruction") == 1
