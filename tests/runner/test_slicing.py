"""Slices of cases: the same verdict as for the whole artifact, with the functions that the rows execute alone."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from diffcheck.backend import registry
from diffcheck.backend.contract import local_host
from diffcheck.cases.discovery import discover, load_case
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import case_run, planning, slicing
from diffcheck.runner.request import Request
from diffcheck.runner.split.row_groups import ExecutedFunctions
from tests.runner.test_run import CORPUS, artifact, reports

WRONG = Path(__file__).parents[1] / "doubles" / "wrong_everywhere.py"
BRANCHES = """
(module
  (memory (export "memory") 1)
  (global $c (export "__witness_counter_0") (mut i64) (i64.const 0))
  (table funcref (elem $double $never))
  (type $unary (func (param i32) (result i32)))
  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $never (type $unary) (i32.const 9))
  (func $also_never (param i64))
  (func $only_after_a_trap (global.set $c (i64.const 5)))
  (func (export "run_row_0") (result i32)
    (global.set $c (i64.const 1)) (call_indirect (type $unary) (i32.const 21) (i32.const 0)))
  (func (export "run_row_1") (result i32) unreachable)
  (func (export "run_row_2") (call $only_after_a_trap))
  (func (export "unused") (call $also_never (i64.const 1)) (drop (call $never (i32.const 1)))))
"""
NAN_LEADS = """
(module
  (func $positive (result i32) (i32.const 1))
  (func $negative (result i32) (i32.const 2))
  (func (export "run_row_0") (param) (result i32) (local $z f32)
    (if (result i32) (i32.lt_s (i32.reinterpret_f32 (f32.div (local.get $z) (local.get $z))) (i32.const 0))
      (then (call $negative)) (else (call $positive)))))
"""
_MANY = "".join(f"(func $f{at} (param i32) (result i32) (i32.add (local.get 0) (i32.const {at})))" for at in range(100))
OTHER_BRANCH = f"""
(module
  {_MANY}
  (func (export "run_row_0") (result i32) (call $f3 (i32.const 1)))
  (func (export "run_row_1") (result i32)
    (if (result i32) (i32.lt_s (i32.const 0) (i32.const 1))
      (then (call $f2 (i32.const 7))) (else (call $f40 (i32.const 7))))))
"""
OTHER_ELEMENT = f"""
(module
  (type $unary (func (param i32) (result i32)))
  (table 100 funcref)
  (elem (i32.const 0) {" ".join(f"$f{at}" for at in range(100))})
  {_MANY}
  (func (export "run_row_0") (result i32) (call $f3 (i32.const 1)))
  (func (export "run_row_1") (result i32) (call_indirect (type $unary) (i32.const 5) (i32.rem_u (i32.const 170) (i32.const 100)))))
"""
ONLY_STATE = """
(module
  (global $g (export "g") (mut i32) (i32.const 0))
  (func $other (global.set $g (i32.const 1)))
  (func (export "run_row_0") (if (i32.lt_s (i32.const 3) (i32.const 1)) (then (call $other)))))
"""
WITHOUT_EFFECT = """
(module
  (func $other)
  (func (export "run_row_0") (if (i32.lt_s (i32.const 3) (i32.const 1)) (then (call $other)))))
"""
CATCHES = """
(module
  (func $other)
  (func (export "run_row_0") (result i32)
    block $caught
      try_table (catch_all $caught)
        (if (i32.lt_s (i32.const 3) (i32.const 1)) (then (call $other)))
      end
      i32.const 1
      return
    end
    i32.const 2))
"""


@pytest.fixture
def opened(tmp_path):
    def open_(text):
        path = artifact(tmp_path, "sliced", text)
        request = Request((str(path),), subject="wasmtime-pulley", oracle="wasmtime")
        return planning.make(load_case(discover([path]).items[0]), request, oracle, oracle, subject, host)

    with local_host() as host:
        oracle, subject = registry.create("wasmtime", {}), registry.create("wasmtime-pulley", {})
        open_.oracle, open_.subject, open_.host = oracle, subject, host
        yield open_
        oracle.close()
        subject.close()


def functions(plan, opened):
    instances = ExecutedFunctions(plan, opened.oracle, opened.host).instances()
    return frozenset().union(*(each.functions for each in instances))


def test_what_the_rows_enter_is_found_also_after_a_trap(opened):
    plan = opened(BRANCHES)
    executed = functions(plan, opened)
    assert executed == {0, 3, 4, 5, 6}, "double, only_after_a_trap and the rows"
    made = slicing.sliced(plan, executed, opened.subject)
    assert made.rows == plan.rows
    assert made.memory_bytes <= plan.memory_bytes
    assert len(made.module.functions) == 8, "five functions and a stub for each of the three types of the others"


def test_functions_to_which_the_deterministic_form_leads_are_kept(opened):
    plan = opened(NAN_LEADS)
    assert functions(plan, opened) == {0, 1, 2}


def test_the_deterministic_form_is_run_only_if_a_function_with_an_open_result_is_entered(opened):
    runs = []
    oracle = FaultyBackend(opened.oracle, Fault("", "", Expected(), edit=lambda wasm: runs.append(wasm) or wasm), words=False)
    not_entered = NAN_LEADS.replace('(export "run_row_0")', "").replace("(module", '(module (func (export "run_row_0"))')
    for text, number in ((NAN_LEADS, 2), (not_entered, 1)):
        plan = opened(text)
        assert plan.deterministic is not None
        runs.clear()
        ExecutedFunctions(plan, oracle, opened.host).instances()
        assert len(runs) == number


@pytest.mark.parametrize(
    "folder", [pytest.param("03-arithmetic", marks=pytest.mark.whole), "05-tables", "07-traps", "10-components"]
)
def test_a_slice_has_the_verdict_of_the_whole(folder):
    whole = reports(CORPUS / folder, slice="never")
    sliced = reports(CORPUS / folder, slice="always")
    assert {name: (each.verdict, each.rows) for name, each in sliced.items()} == {
        name: (each.verdict, each.rows) for name, each in whole.items()
    }
    assert all(any("ran a slice of" in note for note in each.not_done) for each in sliced.values())


@pytest.mark.whole
def test_a_fault_in_an_engine_shows_in_the_slice_as_in_the_whole(tmp_path):
    path = artifact(tmp_path, "program", BRANCHES)
    inner = Path(__file__).parents[1] / "doubles" / "wasi_engine.py"
    subject = f"wasi:{sys.executable} {WRONG} i32.mul {sys.executable} {inner}"
    (whole,) = reports(path, subject=subject, slice="never").values()
    (sliced,) = reports(path, subject=subject, slice="always").values()
    assert sliced.verdict == whole.verdict == "diverge"
    assert {each.signature for one in sliced.passes for each in one.divergences} == {
        each.signature for one in whole.passes if one.mode == "capsule" for each in one.divergences
    }


def the_subject(fault):
    inner = Path(__file__).parents[1] / "doubles" / "wasi_engine.py"
    return f"wasi:{sys.executable} {WRONG} {fault} {sys.executable} {inner}"


def divergences(report):
    (capsule,) = (each for each in report.passes if each.mode == "capsule")
    return [(str(each), each.signature) for each in capsule.divergences], [each.detail for each in capsule.divergences]


@pytest.mark.parametrize(("text", "fault", "function"), [(OTHER_BRANCH, "i32.lt_s", 40), (OTHER_ELEMENT, "i32.rem_u", 71)])
def test_a_function_that_only_the_subject_enters_is_named_and_the_divergences_are_those_of_the_whole(
    tmp_path, text, fault, function
):  # fmt: skip
    path = artifact(tmp_path, "program", text)
    (whole,) = reports(path, subject=the_subject(fault), slice="never").values()
    (sliced,) = reports(path, subject=the_subject(fault), slice="always").values()
    assert whole.verdict == sliced.verdict == "diverge"
    assert divergences(sliced)[0] == divergences(whole)[0]
    assert divergences(sliced)[1][0].startswith(
        f"the subject entered function {function} `f{function}`, which the oracle does not enter"
    )


def test_a_function_that_only_the_subject_enters_is_named_at_the_state_if_only_that_differs(tmp_path):
    path = artifact(tmp_path, "program", ONLY_STATE)
    (report,) = reports(path, subject=the_subject("i32.lt_s"), slice="always").values()
    assert divergences(report)[1] == ["in row run_row_0 the subject entered function 0 `other`, which the oracle does not enter"]


def test_a_function_without_effect_that_only_the_subject_enters_is_a_divergence(tmp_path):
    path = artifact(tmp_path, "program", WITHOUT_EFFECT)
    (report,) = reports(path, subject=the_subject("i32.lt_s"), slice="always").values()
    assert report.verdict == "diverge"
    assert [each for each, _ in divergences(report)[0]] == [
        "row run_row_0: outcome: oracle returned, subject entered function 0 `other`, which the oracle does not enter"
    ]


def test_an_entered_stub_is_recorded_although_the_program_catches_its_exception(tmp_path):
    path = artifact(tmp_path, "program", CATCHES)
    (report,) = reports(path, subject=the_subject("i32.lt_s"), slice="always").values()
    assert report.verdict == "diverge"
    assert [each.subject for each in report.passes[0].divergences] == [
        "entered function 0 `other`, which the oracle does not enter"
    ]


@pytest.fixture
def compared(tmp_path):
    """Runs a program under an engine that edits it, whole and sliced."""

    def run(text, edit):
        path = artifact(tmp_path, "program", text)
        for when in ("never", "always"):
            request = Request((str(path),), subject="wasmtime", oracle="wasmtime", mode="capsule", slice=when)
            plan = slicing.make(load_case(discover([path]).items[0]), request, oracle, subject, host)
            engine = FaultyBackend(subject, Fault("", "", Expected(), edit=edit), words=False)
            yield case_run.run(plan, 50, oracle, engine, host, "wasmtime", request)

    with local_host() as host:
        oracle, subject = registry.create("wasmtime", {}), registry.create("wasmtime", {})
        yield run
        oracle.close()
        subject.close()


REFERENCES = """(module
  (type $t (func (param i32) (result i32)))
  (global $g (export "g") (mut (ref null $t)) (ref.null $t)) (table $table (export "t") 5 (ref null $t))
  (elem (table $table) (i32.const 0) (ref null $t) (ref.func $a) (ref.func $b) (ref.func $c))
  (func $a (type $t) (i32.const 1)) (func $b (type $t) (i32.const 2)) (func $c (type $t) (i32.const 3))
  (func $takes (global.set $g (ref.func $b)))
  (func (export "run_row_0") (global.set $g (table.get $table (i32.const 1)))))"""


def test_which_function_a_reference_is_to_is_compared_although_only_a_dropped_function_takes_one(compared):
    whole, sliced = compared(REFERENCES, lambda wasm: wasm.replace(b"\x41\x01\x25", b"\x41\x02\x25"))
    assert divergences(sliced) == divergences(whole) != []


def test_a_stubbed_import_of_a_slice_may_need_values_of_its_own(compared):
    text = """(module (type $must (func (param (ref func)) (result i32))) (type $self (func (result i32)))
      (table 2 funcref) (elem (i32.const 0) $trusts $self) (elem declare func $self)
      (func $trusts (type $must) (i32.const 4)) (func $self (type $self) (i32.const 7))
      (func (export "run_row_0") (result i32) (call_indirect (type $must) (ref.func $self) (i32.const 0))))"""
    assert [each.verdict for each in compared(text, None)] == ["agree", "agree"]


def test_the_function_that_a_row_entered_is_no_detail_of_another_row(compared):
    text = """(module (func $z (result i32) (i32.const 7)) (func $y (result i32) (i32.const 7))
      (func (export "run_row_0") (result i32) (if (result i32) (i32.const 1) (then (call $y)) (else (call $z))))
      (func (export "run_row_1") (result i32) (i32.const 4242)))"""
    wrong = {b"\x41\x01\x04\x7f": b"\x41\x00\x04\x7f", b"\x41\x92\x21": b"\x41\x93\x21"}

    def edit(wasm):
        for right, other in wrong.items():
            wasm = wasm.replace(right, other)
        return wasm

    whole, sliced = compared(text, edit)
    assert divergences(sliced) == divergences(whole)
    assert [each.detail for each in sliced.passes[0].divergences] == [each.detail for each in whole.passes[0].divergences]


def test_a_chain_of_functions_that_only_the_subject_enters_is_added_in_a_few_reruns(compared):
    chain = " ".join(f"(func $d{at} (result i32) (call $d{at + 1}))" for at in range(100))
    text = f"""(module {chain} (func $d100 (result i32) (i32.const 1))
      (func (export "run_row_0") (result i32) (if (result i32) (i32.const 1) (then (i32.const 7)) (else (call $d0)))))"""
    whole, sliced = compared(text, lambda wasm: wasm.replace(b"\x41\x01\x04\x7f", b"\x41\x00\x04\x7f"))
    assert sliced.passes[0].signatures == whole.passes[0].signatures != ()
    assert "entered function 0 `d0`" in sliced.passes[0].divergences[0].detail


def test_a_slice_keeps_the_names_of_tags(compared):
    text = """(module (tag $named (param i32)) (table $t (export "t") 1 exnref) (func $dropped)
      (func (export "run_row_0") (block $caught (result exnref)
        (try_table (catch_all_ref $caught) (throw $named (i32.const 4242))) unreachable) (global.set $e) (table.set $t (i32.const 0) (global.get $e)))
      (global $e (mut exnref) (ref.null exn)))"""
    for report in compared(text, lambda wasm: wasm.replace(b"\x41\x92\x21", b"\x41\x93\x21")):
        (found,) = report.passes[0].divergences
        assert found.oracle.endswith("($named)")


def test_an_artifact_is_sliced_by_itself_only_if_the_whole_does_not_fit(tmp_path):
    many = "(func)" * 1500  # 30 MB under Wasmtime
    path = artifact(tmp_path, "program", f"(module {many} {BRANCHES.strip().removeprefix('(module')}")
    (report,) = reports(path).values()
    assert not any("ran a slice of" in note for note in report.not_done)
    (report,) = reports(path, memory_bytes=100_000_000).values()
    assert any("ran a slice of" in note for note in report.not_done)


def test_an_artifact_that_takes_long_to_load_is_sliced_by_itself(opened):
    plan = opened(OTHER_BRANCH)
    request = Request((), slice="auto")
    for function_s, expected in ((0.0, False), (0.001, False), (0.02, True)):
        opened.subject.capabilities = msgspec.structs.replace(opened.subject.capabilities, function_s=function_s)
        assert slicing.applies(plan, request, opened.subject) == expected
        assert not slicing.applies(plan, msgspec.structs.replace(request, slice="never"), opened.subject)
