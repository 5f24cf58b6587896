import pytest
import wasmtime

from diffcheck.backend.contract import Capabilities
from diffcheck.capsule import layout as lo
from diffcheck.runner.expected_memory import expected_memory
from diffcheck.wasm.module import read

KNOWN = Capabilities("words", base_bytes=0, function_bytes=10, code_bytes=100, vector_bytes=1_000_000, segment_bytes=2_000_000)
BR_TABLE = "(block (br_table 0 0 (i32.const 0)))"
SELECT = "(drop (select (result i32) (i32.const 1) (i32.const 2) (i32.const 0)))"
TRY = "(block (try_table (catch_all 0)))"


def expected(fields):
    return expected_memory(read(wasmtime.wat2wasm(f"(module {fields})")), 1, KNOWN)


def test_code_is_counted_as_well_as_functions():
    assert expected("(func " + "(drop (i32.const 1))" * 20 + ")") - expected("(func)") == 60 * 100


@pytest.mark.parametrize("instruction", [BR_TABLE, SELECT, TRY])
def test_each_instruction_with_a_vector_is_counted(instruction):
    many, one = (expected(f"(func {instruction * times})") for times in (4, 1))
    assert (many - one) // 1_000_000 == 3


def test_active_segments_elements_and_pages_are_counted():
    table = "(table 8 funcref) (func $f)"
    assert expected(f"{table} (elem (i32.const 0) $f) (elem (i32.const 1) $f) (elem func $f)") - expected(table) == 2 * 2_000_000
    assert expected("(func) (table 1000 funcref)") - expected("(func)") == 1000 * 24
    assert expected("(func) (memory 3)") - expected("(func)") == 3 * 2 * lo.PAGE


def test_an_artifact_with_an_unknown_instruction_is_still_estimated():
    wasm = bytearray(wasmtime.wat2wasm("(module (func nop))"))
    wasm[wasm.rindex(b"\x01")] = 0xFE  # nop
    assert expected_memory(read(bytes(wasm)), 1, KNOWN)
