"""Every instruction that changes state is named where an engine skips its write, and not what reads it next."""

from __future__ import annotations

import pytest
import wasmtime

from diffcheck.triage.tracing.read_back import WRITES
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.module import read
from tests.doubles.write_faults import PROGRAMS, skipped
from tests.triage.localising import localised

_OTHER_WIDTHS = (
    "i32.store16",
    "i64.store8",
    "i64.store16",
    "i64.store32",
    "f32.store",
    "v128.store16_lane",
    "v128.store32_lane",
    "v128.store64_lane",
)
_ATOMIC = ("i32.atomic.rmw8.add_u", "i64.atomic.store")
_IN_SHORT = sorted(name for name in PROGRAMS if name in _ATOMIC or (".atomic." not in name and name not in _OTHER_WIDTHS))


def named(wasm, name):
    """The function and the offset in its body at which a program has an instruction."""
    module = read(wasm)
    for function, (offset, size) in enumerate(module.bodies):
        body = wasm[offset : offset + size]
        for each in instructions(body, start=read_locals(body).end):
            if each.name == name:
                return function, each.offset
    raise AssertionError(f"no {name}")


def test_every_instruction_that_changes_state_has_a_program():
    assert set(PROGRAMS) == WRITES


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in _IN_SHORT else [pytest.mark.whole]) for name in sorted(PROGRAMS)],
)
def test_a_skipped_write_is_named(host, tmp_path, name):
    wasm = bytes(wasmtime.wat2wasm(PROGRAMS[name]))
    answer = localised(host, wasm, skipped(name, read(wasm)), tmp_path)
    function, offset = named(wasm, name)
    found = answer.depth, answer.instruction.split(" ")[0], answer.function_index, answer.offset
    assert found == ("instruction", name, function, offset), answer
    assert answer.confirmed


FIELDS = """(module (type $s (struct (field (mut f32)) (field (mut f64)) (field (mut v128)) (field (mut i8)) (field (mut i64))))
  (func (export "run_row_a") (result f64) (local $x (ref $s)) (local.set $x (struct.new_default $s))
    (struct.set $s 1 (local.get $x) (f64.const 3)) (struct.get $s 1 (local.get $x))))"""


def test_a_skipped_write_is_named_in_a_structure_of_all_types(host, tmp_path):
    wasm = bytes(wasmtime.wat2wasm(FIELDS))
    answer = localised(host, wasm, skipped("struct.set", read(wasm)), tmp_path)
    assert (answer.depth, answer.instruction, answer.confirmed) == ("instruction", "struct.set 0 1", True)


OUT_OF_BOUNDS = {
    "memory.fill": '(module (memory 1) (func (export "run_row_a") (memory.fill (i32.const 65530) (i32.const 9) (i32.const 30))))',
    "i32.store": '(module (memory 1) (func (export "run_row_a") (i32.store (i32.const 65534) (i32.const 9))))',
    "table.set": '(module (table 1 funcref) (func (export "run_row_a") (table.set (i32.const 1) (ref.null func))))',
    "array.set": """(module (type $a (array (mut i32)))
      (func (export "run_row_a") (array.set $a (array.new_default $a (i32.const 1)) (i32.const 1) (i32.const 9))))""",
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_a_write_that_should_trap_is_named_though_reading_it_back_traps(host, tmp_path, name):
    wasm = bytes(wasmtime.wat2wasm(OUT_OF_BOUNDS[name]))
    answer = localised(host, wasm, skipped(name, read(wasm)), tmp_path)
    assert (answer.depth, answer.instruction.split(" ")[0]) == ("instruction", name)
    assert (answer.oracle[:22], answer.subject) == ("trapped: out of bounds", "returned")


ACTIVE = """(module (memory 1) (data $d (i32.const 0) "abc")
  (func (export "run_row_a") (memory.init $d (i32.const 8) (i32.const 0) (i32.const 1))))"""


def test_a_segment_that_instantiation_should_have_dropped_is_reported_as_such(host, tmp_path):
    wasm = bytes(wasmtime.wat2wasm(ACTIVE))
    answer = localised(host, wasm, skipped("memory.init", read(wasm)), tmp_path)
    assert answer.depth == "row"
    assert "instantiation should have dropped data segment 0" in answer.why
    assert "`memory.init 0 0` of 8, 0, 1" in answer.notes[0]
