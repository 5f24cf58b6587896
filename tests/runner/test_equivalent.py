"""Equivalent programs are valid and have the same results; what they replace is gone."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
import wasmtime

from diffcheck.backend import registry
from diffcheck.cli.main import run
from diffcheck.runner import engines
from diffcheck.runner import run as runs
from diffcheck.runner.equivalent.equivalent_oracle import EquivalentOracle
from diffcheck.runner.equivalent.equivalent_program import equivalent_program
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.request import Request
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import all_instructions
from tests.hunt.running import CaseBench, programs

DOUBLES = Path(__file__).parents[1] / "doubles"
MEMORY = """(module (memory (export "m") 1) (data (i32.const 0) "abcdefghijkl")
  (func (export "copy") (param i32 i32 i32) (result i32)
    (memory.copy (local.get 0) (local.get 1) (local.get 2)) (i32.load (i32.const 4))))"""
CALLS = """(module (type $t (func (param i64) (result i64))) (table 4 funcref) (elem (i32.const 0) $f $g)
  (func $f (type $t) (i64.mul (local.get 0) (i64.const 3)))
  (func $g (type $t) (return_call $f (i64.xor (local.get 0) (i64.const 5))))
  (func (export "i") (param i64 i32) (result i64) (drop (ref.func $f) (ref.is_null))
    (call_indirect (type $t) (local.get 0) (local.get 1))) (elem declare func $f)
  (func (export "r") (param i32) (result i32) (drop (ref.as_non_null (ref.func $f)))
    (block $a (block $b (block $c (br_table $a $b $c (local.get 0))) (return (i32.const 7))) (return (i32.const 8)))
    (i32.const 9)))"""
THROW = """(module (tag $e (param i32)) (tag $o)
  (func (export "f") (param i32) (result i32)
    (block $done (block $h (result i32) (try_table (catch $o $done) (catch $e $h)
      (if (local.get 0) (then (throw $e (local.get 0)))) (throw $o)) (unreachable)) (return))
    (i32.const -1)))"""
LOOP = """(module (func $f (export "f") (param i32 i64) (result i64)
  (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
  (return_call $f (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const 3)))))"""
CASES = [
    (MEMORY, "i32.store8", ["copy=2,0,5", "copy=0,2,5", "copy=0,65530,6", "copy=65531,0,6", "copy=3,-1,2", "copy=0,0,70000"]),
    (CALLS, "call_ref", [*(f"r={at}" for at in (-1, 0, 1, 2, 3)), *(f"i=9,{at}" for at in (0, 1, 2, 5))]),
    (THROW, "i32.eqz", ["f=0", "f=4"]),
    (LOOP, "return_call", ["f=1000000,5"]),
]


@pytest.fixture
def bench(tmp_path):
    with CaseBench(tmp_path) as made:
        yield made


@pytest.mark.parametrize(("text", "other", "rows"), CASES, ids=[each[1] for each in CASES])
def test_an_equivalent_program_has_other_instructions_and_the_same_rows_and_traps(tmp_path, text, other, rows):
    data = bytes(wasmtime.wat2wasm(text))
    module = wasm.read(data)
    made = wasm.read(equivalent_program(data, range(len(module.all_functions))))
    assert other in {each.name for each in all_instructions(wasm.write(made.sections), made.bodies)}
    artifact = tmp_path / "p.wasm"
    artifact.write_bytes(data)
    given = [word for each in rows for word in ("--rows", each)]
    assert run(["run", str(artifact), "--subject", "wasmtime", "--oracle", "self", "--reports", str(tmp_path), *given]) == 0


def agrees(bench, count, seed):
    oracle = EquivalentOracle(bench.inner, registry.create("wasmtime", {}))
    for program in programs(seed, count):
        report = bench.report(program, oracle=oracle)
        assert report.verdict == "agree", (program.seed, report.reason)


def test_equivalent_programs_have_the_same_results(bench):
    agrees(bench, 3, "21")


@pytest.mark.whole
def test_many_equivalent_programs_have_the_same_results(bench):
    agrees(bench, 200, "22")


def test_an_engine_that_is_wrong_differs_from_itself(tmp_path):
    stand_in = [sys.executable, str(DOUBLES / "kilnd.py")]
    subject = shlex.join([sys.executable, str(DOUBLES / "wrong_everywhere.py"), "i64.popcnt", *stand_in])
    artifact = tmp_path / "p.wasm"
    text = '(module (func (export "f") (param i64) (result i64) (i64.popcnt (local.get 0))))'
    artifact.write_bytes(wasmtime.wat2wasm(text))
    request = Request((str(artifact),), subject=f"harness:{subject}", oracle="self", calls=("f=7",), mode="capsule")
    found = engines.choose(request)
    assert found.oracle_identity.name.endswith("with an equivalent program")
    (report,) = [each.report for each in runs.run(found.request) if isinstance(each, CaseFinished)]
    assert [(each.oracle, each.subject) for one in report.passes for each in one.divergences] == [("3", "4")]
