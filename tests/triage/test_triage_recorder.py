"""A triage of an engine that is wrong in what the recorder uses ends in that instruction, not in any program at all."""

from __future__ import annotations

import msgspec
import pytest
import wasmtime

from diffcheck.cli import main as entry
from diffcheck.triage.triage_folder import State
from tests.probe.test_instructions import engine_with

EXECUTES = """(module
  (func (export "run_row_a") (result i32) (i32.const 7))
  (func (export "run_row_b") (result i64) (i64.shr_u (i64.const -8) (i64.const 3))))"""
DOES_NOT = '(module (func (export "run_row_a") (result i32) (i32.const 7)))'


@pytest.mark.whole
@pytest.mark.parametrize("text, in_artifact", [(EXECUTES, True), (DOES_NOT, False)], ids=["executed", "not executed"])
def test_it_ends_in_the_instruction(tmp_path, standin_kilnd, text, in_artifact):
    path, out = tmp_path / "program.wasm", tmp_path / "out"
    path.write_bytes(wasmtime.wat2wasm(text))
    kilnd = standin_kilnd()
    engine = engine_with("harness", "i64.shr_u", kilnd)
    assert entry.run(["triage", str(path), "--subject", engine, "-o", str(out), "--jobs", "1"]) == 1
    state = msgspec.json.decode((out / "triage.json").read_bytes(), type=State)
    assert (state.symptom.mode, state.symptom.kind) == ("direct", "counter")
    assert state.localised_reduced.instruction == "i64.shr_u"
    assert b"\x88" in (out / "program.wasm").read_bytes()
    assert (state.localised.instruction == "i64.shr_u") == in_artifact
    if not in_artifact:
        assert "does not execute that instruction" in state.localised.why
    assert "known answer" in state.without_recorder or in_artifact
