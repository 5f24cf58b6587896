"""An engine whose answer is missing or damaged: no instruction is blamed for that."""

from __future__ import annotations

import sys

import pytest
from wasmtime import wat2wasm

from diffcheck.runner.request import Request
from diffcheck.triage.localise_artifact import localise

PROGRAM = """(module (memory (export "m") 1)
  (func (export "div") (param i32 i32) (result i32)
    (i32.store (i32.const 0) (local.get 0)) (i32.div_s (local.get 0) (local.get 1))))"""
ROWS = "div=6,3", "div=6,0"
SILENT = '"$ENGINE" "$@" 2>/dev/null || exit 1'
WITHOUT_IMAGE = '"$ENGINE" "$@" 2>/dev/null; exit 0'
OTHER_KIND = (
    '"$ENGINE" "$@" 2>"$0.log"; status=$?; sed "s/integer divide by zero/out of bounds memory access/" "$0.log" >&2; exit $status'
)
DAMAGE = "import sys; data = bytearray(sys.stdin.buffer.read()); data[-3:-2] = bytes(1 ^ each for each in data[-3:-2]); sys.stdout.buffer.write(data)"
DAMAGED = f"""("$ENGINE" "$@"; echo $? >"$0.status") | "{sys.executable}" -c '{DAMAGE}'; exit "$(cat "$0.status")" """


@pytest.fixture
def find(standin_wasi, tmp_path):
    """Localise with a script around an engine without exceptions, whose instrumented runs end by a trap."""

    def found(script, rows=ROWS):
        engine, path, program = standin_wasi("--no-exceptions"), tmp_path / "engine.sh", tmp_path / "program.wasm"
        path.write_text(f"#!/bin/sh\nENGINE='{engine}'\n{script}\n")
        path.chmod(0o755)
        program.write_bytes(wat2wasm(PROGRAM))
        (tmp_path / "program.toml").write_text(f"rows = {list(rows)}\n")
        request = Request((str(program),), subject=f"wasi:{path}", mode="capsule", deadline_s=60.0)
        return localise(request, "", lambda _: None)

    return found


@pytest.mark.parametrize("script", [SILENT, pytest.param(WITHOUT_IMAGE, marks=pytest.mark.whole)])
def test_a_trap_without_an_answer_blames_no_instruction(find, script):
    answer = find(script)
    assert (answer.depth, answer.row, answer.instruction) == ("row", "div=6,0", "")
    assert "the subject gave no answer (harness failed: " in answer.why
    assert "oracle trapped: integer divide by zero" in answer.why


@pytest.mark.parametrize("rows", [pytest.param(ROWS[:1], marks=pytest.mark.whole), ROWS])
def test_a_damaged_answer_blames_no_instruction(find, rows):
    answer = find(DAMAGED, rows)
    assert (answer.depth, answer.instruction) == ("row", "")
    assert "damaged" in answer.why


def test_a_trap_of_another_kind_is_that_of_the_instruction(find):
    answer = find(OTHER_KIND, ROWS[1:])
    assert (answer.instruction, answer.confirmed) == ("i32.div_s", True)
    assert (answer.oracle, answer.subject) == ("trapped: integer divide by zero", "trapped: out of bounds memory access")
