"""Sections of the specification: what a reader is sent to."""

from __future__ import annotations

import pytest

from diffcheck.triage.localise.spec_sections import section
from diffcheck.triage.reduce.symptom import Symptom
from diffcheck.wasm.opcodes import OPS

TRAPS = Symptom(signature="", mode="capsule", kind="outcome", row="", item="", oracle="returned", subject="trapped")


@pytest.mark.parametrize(
    "instruction, words",
    [
        ("i32.add", "4.3.2 (Integer Operations), `iadd` of N = 32, and 4.6.10 (Numeric Instructions), `i32.add`"),
        ("i64.trunc_f64_s", "4.3.4 (Conversions) and 4.6.10 (Numeric Instructions), `i64.trunc_f64_s`"),
        ("i64.load32_u offset=8", "4.6.8 (Memory Instructions), `i64.load32_u`"),
        ("v128.load8_lane", "4.6.8 (Memory Instructions), `v128.load8_lane`"),
        ("f32x4.relaxed_madd", "4.3.6 (Relaxed Operations) and 4.6.11 (Vector Instructions), `f32x4.relaxed_madd`"),
        ("struct.get 0 0", "4.6.9 (Reference Instructions), `struct.get`"),
        ("call_indirect 0 1", "4.6.2 (Control Instructions), `call_indirect`"),
        ("elem.drop 0", "4.6.7 (Table Instructions), `elem.drop`"),
        ("", "4.7.2 (Instantiation): no instruction differs in its execution"),
    ],
)
def test_an_instruction_has_the_section_that_says_what_it_does(instruction, words):
    assert section(instruction, TRAPS) == f"WebAssembly core specification 3.0, {words}"


@pytest.mark.parametrize("name", ["i32.atomic.load", "memory.atomic.notify", "i64.add128", "delegate"])
def test_what_is_not_in_the_core_specification_is_told_as_such(name):
    assert name in {op.name for op in OPS}
    assert "not in the core specification" in section(name, TRAPS)
