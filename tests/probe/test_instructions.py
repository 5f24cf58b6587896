"""Known answers name the instruction of the capsule's own code that an engine gets wrong, without the recorder and its digest."""

from __future__ import annotations

import hashlib
import shlex
import sys
from pathlib import Path

import msgspec
import pytest
import wasmtime

from diffcheck.backend import registry
from diffcheck.backend.contract import RunLimits, StoredExecution
from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import build
from diffcheck.capsule.driver import Call
from diffcheck.capsule.seal import World
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.observation import Execution, HarnessFailed
from diffcheck.probe import diagnose, engine_check
from diffcheck.probe.instruction_answers import GROUPS
from diffcheck.probe.instructions import wrong_instructions
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import instructions, read_locals
from tests.doubles.wrong_everywhere import wrong
from tests.triage.localising import changed

ENGINE = Path(__file__).parents[1] / "doubles" / "wrong_everywhere.py"
WITHOUT_ANSWER = {
    "block", "else", "end", "return", "unreachable", "drop", "try_table", "i32.const", "i64.const",
    "f32.const", "f64.const", "v128.const",
}  # fmt: skip
"""What no answer can do without, or what an engine without it refuses."""
EVERYTHING = """(module (import "env" "f" (func $f (param i32)))
  (memory (export "m") 1) (memory $wide i64 1) (memory (export "__witness_trace") 1) (table (export "t") 3 funcref) (tag $e)
  (global (export "g") (mut i32) (i32.const 0)) (global (export "__witness_counter_0") (mut i32) (i32.const 0))
  (func (export "run_row_a") (result i32 i64 f32 f64 v128 funcref)
    (call $f (i32.const 1)) (i32.const 0) (i64.const 0) (f32.const 0) (f64.const 0) (v128.const i64x2 0 0) (ref.null func)))"""
COMPARES = {"i64.ne", "if"}
"""What a program without counters cannot do without."""
WRITERS = {"struct.new", "struct.set"}
READERS = {"local.get", "global.get", "struct.get", "array.get", "array.len"}
NAMES = sorted(
    {each.name for group in GROUPS for each in group} - {"br", "loop", "call", "local.set", "global.set"} - READERS - WRITERS
)


def own_instructions():
    """What the code that a capsule adds to an artifact consists of."""
    data = bytes(wasmtime.wat2wasm(EVERYTHING))
    module = wasm.read(data)
    row = module.n_imported("func")
    capsule = build(module, hashlib.sha256(data).hexdigest(), (Call("a", row, module.function_type(row)),), World())
    for at, (offset, size) in enumerate(wasm.read(capsule.wasm).bodies):
        if at != row:
            body = capsule.wasm[offset : offset + size]
            yield from (each.name for each in instructions(body, start=read_locals(body).end))


def test_every_instruction_of_the_capsules_own_code_has_a_known_answer():
    known = {each.name for group in GROUPS for each in group}
    assert set(own_instructions()) - known - WITHOUT_ANSWER == set()


def test_an_engine_that_is_right_has_no_wrong_instruction(host):
    oracle = registry.create("wasmtime", {})
    try:
        assert wrong_instructions(oracle, host, RunLimits()) == ()
    finally:
        oracle.close()


_IN_SHORT = NAMES[::8]


@pytest.mark.parametrize("name", [pytest.param(each, marks=[] if each in _IN_SHORT else [pytest.mark.whole]) for each in NAMES])
def test_an_instruction_that_is_wrong_everywhere_is_named(host, name):
    oracle = registry.create("wasmtime", {})
    try:
        engine = FaultyBackend(oracle, Fault("", "", Expected(), edit=wrong(name)), words=False)
        assert [each.name for each in wrong_instructions(engine, host, RunLimits())] == [name]
    finally:
        oracle.close()


class CapsulesOnly(FaultyBackend):
    """An engine whose adapter reads the recorder memory of every program, and reports no counters."""

    def __init__(self, inner, fault, *, words=False):
        super().__init__(inner, fault, words=words)
        self.capabilities = msgspec.structs.replace(inner.capabilities, direct=False)

    def start(self, program, limits, host):
        if lo.MEMORY_EXPORT not in {each.name for each in wasm.read(program.wasm).exports}:
            return StoredExecution(Execution(HarnessFailed("no recorder memory")))
        return super().start(msgspec.structs.replace(program, kind="capsule"), limits, host)


def quieting(name, immediates):
    """The edit of an engine that quiets a signalling NaN of type f32 in this instruction."""
    return changed(
        lambda each, raw: raw + b"\x43\x00\x00\x80\x3f\x94" if (each.name, each.immediates) == (name, immediates) else raw
    )


QUIETED = {"global.get": (1,), "local.get": (1,), "struct.get": (2, 0), "array.get": (3,)}


@pytest.mark.parametrize("name", ["global.get", "local.get", "struct.get", "array.get"])
@pytest.mark.parametrize("kind", [FaultyBackend, CapsulesOnly])
def test_an_instruction_that_quiets_a_nan_is_named_and_not_the_one_that_wrote_it(host, name, kind):
    oracle = registry.create("wasmtime", {})
    try:
        engine = kind(oracle, Fault("", "", Expected(), edit=quieting(name, QUIETED[name])), words=False)
        assert [each.name for each in wrong_instructions(engine, host, RunLimits())] == [name]
    finally:
        oracle.close()


@pytest.mark.parametrize(
    ("name", "instead"), [("struct.new", b"\x1a\xfb\x01\x08"), ("struct.set", b"\x1a\xd0\x02\xfb\x05\x08\x00")]
)
def test_an_instruction_that_loses_an_object_in_a_field_is_named(host, name, instead):
    edit = changed(lambda each, raw: instead if each.name == name and each.immediates[0] == 8 else raw)
    oracle = registry.create("wasmtime", {})
    try:
        engine = FaultyBackend(oracle, Fault("", "", Expected(), edit=edit), words=False)
        assert [each.name for each in wrong_instructions(engine, host, RunLimits())] == [name]
    finally:
        oracle.close()


_RECORDERS = ("memory.size", "i64.shr_u", "i64.xor", "i32.add", "br_if", "i64.store")


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each in _RECORDERS else [pytest.mark.whole]) for each in sorted(NAMES)]
)
def test_it_is_named_of_an_engine_that_only_runs_capsules(host, name):
    oracle = registry.create("wasmtime", {})
    try:
        engine = CapsulesOnly(oracle, Fault("", "", Expected(), edit=wrong(name)))
        engine_check.require(engine, "engine", host)
        named = [each.name for each in wrong_instructions(engine, host, RunLimits())]
        assert (named == [name]) or name in COMPARES
    finally:
        oracle.close()


def engine_with(kind, name, command):
    return f"{kind}:{shlex.join([sys.executable, '-I', str(ENGINE), name, str(command)])}"


def test_it_is_named_of_an_engine_that_carries_no_counters(host, standin_wasi):
    engine = registry.create(engine_with("wasi", "i64.rotl", standin_wasi()), {})
    assert not engine.capabilities.direct
    assert [each.name for each in wrong_instructions(engine, host, RunLimits())] == ["i64.rotl"]


def test_doctor_names_it(standin_kilnd):
    (diagnosis,) = diagnose((engine_with("harness", "i64.shr_u", standin_kilnd()),), {}, RunLimits())
    assert diagnosis.problem.startswith("i64.shr_u: expected 0x")
    assert ", got 0x" in diagnosis.problem
