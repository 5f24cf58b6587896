"""What an issue has: a title by the instruction, a script of assertions, a script for bisecting."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
import wasmtime

from diffcheck.triage.localise.location import Localisation
from diffcheck.triage.reduce.symptom import Symptom
from diffcheck.triage.writeup import shell_script
from diffcheck.triage.writeup.reproducer import Differs, Reproduction
from diffcheck.triage.writeup.single_instruction import nan_masks, single_instruction
from diffcheck.triage.writeup.standalone import standalone
from diffcheck.triage.writeup.text_form import _without_offset
from diffcheck.triage.writeup.title import instruction_title, symptom_title
from diffcheck.triage.writeup.wast import by_calls, wast

if TYPE_CHECKING:
    from pathlib import Path


def found(instruction: str, oracle: str, subject: str, *operands: str, difference: str = "result") -> Localisation:
    return Localisation(
        "instruction", "a.wasm", instruction=instruction, oracle=oracle, subject=subject, operands=operands, difference=difference
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        (found("f32.floor", "nan", "nan:0x200001", "nan:0x200001"), "f32.floor of a signalling NaN returns it unquieted"),
        (found("f64.ceil", "nan", "-nan", "nan:0x8000000000001"), "f64.ceil of a quiet NaN returns -nan, not nan"),
        (found("i32.rotl", "gave 6 (0x6)", "gave 3 (0x3)", "3 (0x3)", "1"), "i32.rotl of 3 and 1 returns 3, not 6"),
        (
            found("i32.trunc_f32_s", "trapped: integer overflow", "did not trap", "3e10"),
            "i32.trunc_f32_s of 3e10 does not trap: integer overflow",
        ),
        (found("v128.load 0", "gave 0x0", "trapped: SIMD: expected i32", "8"), "v128.load of 8 traps: SIMD: expected i32"),
        (
            found("elem.drop 0", "left element segment 0 empty", "left its contents", difference="state"),
            "elem.drop does not empty element segment 0",
        ),
        (
            found("i32.store 0", "has 3 there afterwards", "has 4", "8", "3", difference="state"),
            "i32.store of 8 and 3 writes 4, not 3",
        ),
        (
            found("br_if 0", "went on to `a` at 0x3 of `f` (1)", "went on to `b` at 0x9 of `f` (1)", difference="control"),
            "br_if continues at b, not a",
        ),
        (
            Localisation(
                "row", "a.wasm", why="instantiation should have dropped data segment 1 (core ...): `memory.init` reads it"
            ),
            "instantiation does not drop a data segment",
        ),
        (Localisation("none", "a.wasm", why="the runs are equal"), ""),
    ],
)
def test_a_title_names_the_instruction_and_its_effect(answer: Localisation, title: str) -> None:
    assert instruction_title(answer) == title


def symptom(kind: str = "result", row: str = "f=41", item: str = "result 0", oracle: str = "41", subject: str = "42") -> Symptom:
    return Symptom("0" * 12, "capsule", kind, row, item, oracle, subject)


@pytest.mark.parametrize(
    ("seen", "title"),
    [
        (symptom(), "f=41: result 0 is 42, not 41"),
        (symptom("outcome", "", "outcome", "returned", "refused at load"), "a valid module is refused at load"),
    ],
)
def test_a_bug_that_was_not_localised_has_a_title_too(seen: Symptom, title: str) -> None:
    assert symptom_title(seen) == title


def test_one_numeric_instruction_makes_a_module_of_its_own() -> None:
    text, row = single_instruction(found("i8x16.extract_lane_s 3", "1", "2", "0x" + "01" * 16))
    assert row == "i8x16.extract_lane_s=0x" + "01" * 16
    assert wasmtime.wat2wasm(text)
    assert single_instruction(found("memory.grow 0", "1", "2", "8")) == ("", "")


def test_a_nan_that_the_specification_leaves_open_is_compared_by_its_fixed_bits() -> None:
    floor = found("f32.floor", "nan", "nan:0x200001", "nan:0x200001")
    assert nan_masks(floor, "nan")["f32"] == 0x7FC0_0000
    assert nan_masks(found("f32.div", "nan", "1", "0", "0"), "nan")["f32"] == 0x7FFF_FFFF
    assert nan_masks(found("f32.neg", "-nan", "nan", "nan"), "-nan") == {}
    assert nan_masks(floor, "1.5") == {}


PROGRAM = """(module (memory (export "m") 1)
  (func (export "f") (param i32 f32) (result f64 v128 i32) f64.const -0.5 v128.const i64x2 1 2 local.get 0)
  (func (export "set") (param i64)))"""


def reproduction(seen: Symptom, counters: dict[int, int], rows: tuple[str, ...], **more: object) -> Reproduction:
    made = standalone(bytes(wasmtime.wat2wasm(PROGRAM)), rows, seen)
    return Reproduction(
        made.wasm, "_start", counters=counters, shown=made.shown, source=made.source, rows=rows, symptom=seen, **more
    )  # type: ignore[arg-type]


def test_a_script_of_assertions_calls_the_programs_own_exports() -> None:
    rows = ("set=-1", "f=41,nan:0x200001")
    counters = {0: 41, 1: 1, 2: 2, 3: 0xBFE0_0000_0000_0000}
    made = reproduction(symptom(row=rows[1], item="result 2"), counters, rows, oracle="returned", subject="returned")
    assert by_calls(made)
    assert wast(made, "a title", "(module)\n") == (
        ';; a title\n(module)\n(invoke "set" (i64.const -1))\n'
        '(assert_return (invoke "f" (i32.const 41) (f32.const nan:0x200001))'
        " (f64.const -0.5) (v128.const i64x2 0x1 0x2) (i32.const 41))\n"
    )


def test_a_script_cannot_call_a_function_in_a_slot_of_the_table() -> None:
    program = PROGRAM[:-1] + "(table 1 funcref) (elem (i32.const 0) $own) (func $own (param i32) (result i32) local.get 0))"
    for rows, exported in ((("init:set=1", "set=1"), True), (("set=1", "table[0]=5"), False)):
        seen = symptom(row=rows[-1])
        made = standalone(bytes(wasmtime.wat2wasm(program)), rows, seen)
        whole = Reproduction(made.wasm, "_start", shown=made.shown, source=made.source, rows=rows, symptom=seen)
        assert by_calls(whole) == exported


def test_a_trap_that_is_missing_is_asserted() -> None:
    made = reproduction(symptom("outcome", "set=1", "outcome"), {}, ("set=1",), oracle="trapped: unreachable", subject="returned")
    assert wast(made, "t", "(module)").splitlines()[-1] == '(assert_trap (invoke "set" (i64.const 1)) "unreachable")'


def test_state_is_asserted_by_the_counters_that_differ() -> None:
    seen = symptom("memory", "", "memory 0 at 0x10", "1", "2")
    differs = (Differs("counter 0", "1", "2"),)
    made = reproduction(seen, {0: 1}, ("set=1",), oracle="returned", subject="returned", differs=differs)
    assert not by_calls(made)
    assert wast(made, "t", "(module)").splitlines()[2:] == [
        '(invoke "_start")', '(assert_return (get "__witness_counter_0") (i64.const 1))',
    ]  # fmt: skip


def test_the_wrong_instruction_is_marked_at_its_offset() -> None:
    assert _without_offset("(;@2a    ;)    f32.floor", 0x2A, "x: nan") == "   f32.floor  ;; @2a: x: nan"
    assert _without_offset("(;@2b    ;)    drop", 0x2A, "x: nan") == "   drop"
    assert _without_offset("no offset", 0x2A, "x") == "no offset"


@pytest.mark.parametrize(
    ("made", "status", "answer", "code"),
    [
        (Reproduction(oracle="returned", counters={3: 5}, differs=(Differs("counter 3", "5", "6"),)), 0, '{"3": 5}', 0),
        (Reproduction(oracle="returned", counters={3: 5}, differs=(Differs("counter 3", "5", "6"),)), 0, '{"3": 55}', 1),
        (Reproduction(oracle="returned", counters={3: 5}, differs=(Differs("counter 3", "5", "6"),)), 1, '{"3": 5}', 1),
        (Reproduction(oracle="returned", counters={0: (1 << 64) - 2}, differs=(Differs("counter 0", "", ""),)), 0, '{"0":-2}', 0),
        (Reproduction(oracle="returned", subject="refused at load"), 0, "{}", 0),
        (Reproduction(oracle="trapped: unreachable", subject="returned"), 134, "", 0),
        (Reproduction(oracle="trapped: unreachable", subject="returned"), 0, "{}", 1),
        (Reproduction(oracle="trapped: unreachable", subject="trapped: x", log="Error: x"), 1, "Error: y", 0),
        (Reproduction(oracle="trapped: unreachable", subject="trapped: x", log="Error: x"), 1, "Error: x", 1),
    ],
)
def test_the_script_tells_by_its_exit_code_whether_the_bug_is_there(
    tmp_path: Path, made: Reproduction, status: int, answer: str, code: int
) -> None:
    run = f"run() {{ if [ $1 = control ]; then echo '{{\"0\": 7}}'; else echo '{answer}' | tee /dev/stderr; return {status}; fi; }}"
    lines = ["work=$1", run, shell_script._CHECK, *shell_script._verdict(made, counters=True)]
    ended = subprocess.run(["sh", "-c", "\n".join(lines), "sh", str(tmp_path)], capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended
