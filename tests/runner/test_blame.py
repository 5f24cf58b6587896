"""What is not the subject's fault: an instruction's two traps, open limits, the tool's own parts, proposals, programs around it."""

from __future__ import annotations

import struct
import sys

import msgspec
import pytest

from diffcheck.errors import EngineUnusableError
from diffcheck.observation import Refused, Returned, TimedOut, Trapped
from diffcheck.runner import case_run as runner
from diffcheck.runner.planning import make
from diffcheck.runner.request import Request
from diffcheck_backends import wasmtime
from tests.doubles.altered_engine import Altered, carried_as
from tests.runner.test_run import artifact, reports


@pytest.fixture
def oracle():
    made = wasmtime.create(None, {})
    yield made
    made.close()


@pytest.fixture
def compare(oracle, host, tmp_path):
    """Compare a module's text under wasmtime and an altered wasmtime; gives the case's report."""

    def compared(text, alter=lambda _, execution: execution, **capabilities):
        path = artifact(tmp_path, "case", text)
        subject = Altered(oracle, alter, **capabilities)
        request = Request((str(path),))
        from diffcheck.cases.discovery import Case  # noqa: PLC0415 - beside its use

        plan = make(Case("case", str(path)), request, oracle, oracle, subject, host)
        return runner.run(plan, 24, oracle, subject, host, "altered")

    return compared


def ends_rows(kind):
    """An engine in which every row of a capsule traps so and reports no state."""

    def alter(program, execution):
        first, last = struct.unpack_from("<II", program.parameters) if program.kind == "capsule" else (0, 0)
        if first == last or not isinstance(execution.outcome, Returned):
            return execution
        return msgspec.structs.replace(execution, outcome=Trapped(kind), carried=b"")

    return alter


def said(report):
    return [each.rule for one in report.passes for each in one.allowances]


def traps_as(kind):
    def alter(_, execution):
        trapped = isinstance(execution.outcome, Trapped)
        return msgspec.structs.replace(execution, outcome=Trapped(kind)) if trapped else execution

    return alter


ARRAYS = '(type $b (array (mut i8))) (type $f (array (mut funcref))) (func $g) (elem $e funcref (ref.func $g)) (data $d "four")'
TWO_REASONS = {
    "array.init_data": ("(array.init_data $b $d (array.new_default $b (i32.const 3)) (i32.const 2) (i32.const 1) (i32.const 5))",
                        "out of bounds memory access"),
    "array.init_data of null": ("(array.init_data $b $d (ref.null $b) (i32.const 2) (i32.const 1) (i32.const 5))",
                                "out of bounds memory access"),
    "array.init_elem": ("(array.init_elem $f $e (array.new_default $f (i32.const 3)) (i32.const 2) (i32.const 1) (i32.const 5))",
                        "out of bounds table access"),
    "array.copy": ("(array.copy $b $b (ref.null $b) (i32.const 2) (array.new_default $b (i32.const 3)) (i32.const 1) (i32.const 5))",
                   "out of bounds array access"),
    "array.new_data": ("(drop (array.new_data $b $d (i32.const 1) (i32.const 0x7000000)))", "allocation too large"),
    "an atomic load": ("(drop (i32.atomic.load (i32.const 65537)))", "out of bounds memory access"),
    "an atomic rmw": ("(drop (i64.atomic.rmw16.add_u offset=1 (i32.const 65536) (i64.const 1)))", "out of bounds memory access"),
}  # fmt: skip
ONE_REASON = {
    "call_indirect": ('(table 2 funcref) (func (export "run") (call_indirect (i32.const 1)))', "indirect call type mismatch"),
    "out of bounds": ('(table 2 funcref) (func (export "run") (call_indirect (i32.const 7)))', "uninitialized element"),
    "a load": ('(memory 1) (func (export "run") (drop (i32.load (i32.const -2))))', "unaligned atomic"),
    "a division": ('(func (export "run") (drop (i32.div_s (i32.const 1) (i32.const 0))))', "integer overflow"),
    "array.get beside array.init_data": (
        ARRAYS + '(func (export "run") (drop (array.get_u $b (array.new_default $b (i32.const 1)) (i32.const 1))))'
        "(func (array.init_data $b $d (ref.null $b) (i32.const 0) (i32.const 0) (i32.const 0)))",
        "out of bounds memory access",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_REASONS)
def test_an_instruction_with_two_reasons_to_trap_may_give_either(name, compare):
    body, kind = TWO_REASONS[name]
    report = compare(f'(module (memory 1) {ARRAYS} (func (export "run") {body}))', traps_as(kind))
    assert report.verdict == "agree", report.reason
    assert said(report) == ["one trap", "one trap"]  # in both passes


@pytest.mark.parametrize("name", ONE_REASON)
def test_the_kind_of_any_other_trap_is_compared(name, compare):
    fields, kind = ONE_REASON[name]
    report = compare(f"(module {fields})", traps_as(kind))
    assert report.verdict == "diverge"
    assert kind in report.reason


DEEP = """(module (func $down (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1)) (else (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))))
  (func (export "run") (result i32) (call $down (i32.const {depth}))))"""


@pytest.mark.parametrize(("depth", "verdict"), [(4000, "inconclusive"), (30, "diverge")])
def test_only_a_stack_that_is_deep_may_end(depth, verdict, compare):
    report = compare(DEEP.replace("{depth}", str(depth)), ends_rows("call stack exhausted"))
    assert report.verdict == verdict
    assert "call stack exhausted" in report.reason


def test_a_stack_that_ends_with_its_state_reported_is_inconclusive_too(compare):
    report = compare(DEEP.replace("{depth}", "4000"), stack_bytes=48 << 10)
    assert report.verdict == "inconclusive", report.reason
    assert report.reason.startswith("capsule: stack: row run: oracle returned, subject trapped: call stack exhausted")


@pytest.mark.parametrize(("length", "verdict"), [("0x8000000", "inconclusive"), ("2000", "diverge")])
def test_only_a_large_allocation_may_be_too_large(length, verdict, compare):
    text = (
        f'(module (type $a (array i8)) (func (export "run") (result i32) (array.len (array.new_default $a (i32.const {length})))))'
    )
    assert compare(text, ends_rows("allocation too large")).verdict == verdict


STORING = '(module (memory 1) (func (export "run") (result i32) (i32.store8 (i32.const 4) (i32.const 5)) (i32.load (i32.const 4))))'


def refuses(*wanted, reason="failed to load, no reason given"):
    """An engine that refuses programs for which one of ``wanted`` is true."""

    def alter(program, execution):
        refused = any(each(program) for each in wanted)
        return msgspec.structs.replace(execution, outcome=Refused("load", reason), carried=b"") if refused else execution

    return alter


CUSTOM = f'(module (@custom "pad" "{"x" * (3 << 20)}") (func (export "run")))'
DATA = f'(module (memory 64) (data "{"x" * (3 << 20)}") (func (export "run")))'


@pytest.mark.parametrize(
    "text, condition, limit",
    [
        (CUSTOM, lambda program: len(program.wasm) > 3 << 20, "a custom section of 3.1 MB"),
        (CUSTOM, lambda program: bytes(2 << 20) in program.wasm or b"x" * (2 << 20) in program.wasm, "a custom section of 3.1 MB"),
        (DATA, lambda program: len(program.wasm) > 3 << 20, "3.1 MB in all"),
        (DATA, lambda program: b"x" * (2 << 20) in program.wasm, ""),
        (CUSTOM, lambda program: b"x" * (2 << 20) in program.wasm, ""),
    ],
    ids=["a large module", "a large custom section", "a large data segment", "other data", "other custom sections"],
)
def test_a_refusal_for_a_size_is_inconclusive_unless_another_module_as_large_is_taken(compare, text, condition, limit):
    report = compare(text, refuses(condition))
    assert report.verdict == ("inconclusive" if limit else "diverge")
    if limit:
        assert limit in report.reason
        assert "implementation limitations" in report.reason


def several_memories(program):
    from diffcheck.wasm import module  # noqa: PLC0415 - beside its use

    return len(module.read(program.wasm).all_memories) > 1


def test_an_engine_that_takes_the_artifact_but_not_the_capsule_is_inconclusive(compare):
    report = compare(STORING, refuses(several_memories))
    assert report.verdict == "inconclusive"
    assert "instantiates the artifact alone, with stubbed imports, but not the capsule" in report.reason


def test_an_engine_that_refuses_to_instantiate_the_artifact_as_well_as_the_capsule_diverges(compare):
    def alter(program, execution):
        refusal = Refused("instantiate", "trap: out of bounds memory access", "trap")
        return msgspec.structs.replace(execution, outcome=refusal, carried=b"") if b"segment" in program.wasm else execution

    report = compare('(module (memory 1) (data (i32.const 9) "segment") (func (export "run")))', alter, direct=False)
    assert report.verdict == "diverge"


def test_an_engine_without_copies_between_memories_of_two_index_types_is_inconclusive(compare):
    from diffcheck.probe import proposals  # noqa: PLC0415 - beside its use

    copies = "copies between memories of two index types"
    text = '(module (memory i64 1) (func (export "run") (i64.store (i64.const 8) (i64.const 7))))'
    report = compare(text, refuses(lambda program: copies in proposals.used(program.wasm)))
    assert report.verdict == "inconclusive"
    assert "instantiates the artifact alone, with stubbed imports, but not the capsule" in report.reason


EXITING = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (global $g (export "g") (mut i32) (i32.const 0))
  (func (export "run") (global.set $g (i32.const 5)) (call $exit (i32.const 3))))"""


def test_the_code_of_an_exit_is_not_compared_where_no_state_is_reported(compare):
    report = compare(EXITING, carried_as("memory", state_at_trap=False), state_at_trap=False, exceptions=False)
    assert report.verdict == "agree", report.reason
    assert any(each.startswith("the code of an exit") for each in report.not_done)


def test_an_engine_without_state_that_does_not_exit_diverges(compare):
    def runs_on(program, execution):
        return msgspec.structs.replace(execution, outcome=Trapped("integer overflow"), carried=b"")

    assert compare(EXITING, runs_on, state_at_trap=False, exceptions=False).verdict == "diverge"


def test_both_engines_run_one_form(oracle, host, tmp_path):
    from diffcheck.cases.discovery import Case  # noqa: PLC0415 - beside its use
    from diffcheck.triage.localise.localiser import Localiser  # noqa: PLC0415 - as above

    path = artifact(tmp_path, "exiting", EXITING)
    subject = Altered(oracle, lambda _, execution: execution, exceptions=False)
    plan = make(Case("exiting", str(path)), Request((str(path),)), oracle, oracle, subject, host)
    assert plan.capsules.oracle == plan.capsules.subject
    work = Localiser(plan, Request((str(path),)), oracle, subject, host)
    made = work.instrumenter.instrument("rotate", "full", {})
    assert work.instrumenter.side(made, oracle).capsule.sha256 == work.instrumenter.side(made, subject).capsule.sha256


def test_an_engine_that_lacks_a_proposal_of_the_artifact_is_inconclusive(compare):
    text = '(module (memory 1 1 shared) (func (export "run") (result i32) (i32.atomic.rmw.add (i32.const 8) (i32.const 1))))'
    report = compare(text, refuses(lambda program: b"\xfe" in program.wasm or b"\x05\x04\x01\x03\x01\x01" in program.wasm))
    assert report.verdict == "inconclusive"
    assert "threads" in report.reason


def test_an_engine_that_refuses_a_valid_artifact_whose_proposals_it_has_diverges(compare):
    text = '(module (memory 1) (func (export "run") (result i32) (i32.load offset=0x1234 (i32.const 8))))'
    report = compare(text, refuses(lambda program: b"\xb4\x24" in program.wasm))
    assert report.verdict == "diverge"
    assert "refused at load" in report.reason


def test_an_engine_that_refuses_everything_diverges_and_lacks_no_proposal(compare):
    text = '(module (func (export "run") (result i32) (i32x4.extract_lane 0 (v128.const i32x4 1 2 3 4))))'
    assert compare(text, refuses(lambda _: True)).verdict == "diverge"


def test_an_engine_without_threads_is_inconclusive(tmp_path):
    text = '(module (memory 1 1 shared) (func (export "run") (result i32) (i32.atomic.load (i32.const 8))))'
    (report,) = reports(artifact(tmp_path, "threads", text), subject="wasmtime-pulley").values()
    assert report.verdict == "inconclusive"
    assert "threads" in report.reason


@pytest.mark.parametrize("text", [
    '(module (func $s unreachable) (start $s) (func (export "run")))',
    '(module (memory 1) (data (i32.const -1) "x") (func (export "run")))',
])  # fmt: skip
def test_a_subject_that_is_slower_than_an_oracle_that_traps_is_slow(text, compare):
    def slow(_, execution):
        return msgspec.structs.replace(execution, outcome=TimedOut(10.0), carried=b"")

    report = compare(text, slow, startup_s=5.0)
    assert report.verdict == "inconclusive", report.reason
    assert report.reason.startswith(("capsule: slow", "direct: slow"))


TWO_ROWS = """(module (global $g (export "__witness_counter_0") (mut i64) (i64.const 0))
  (func (export "run_row_0") (global.set $g (i64.const 3)) unreachable)
  (func (export "run_row_1") (result i32) (i32.const 9)))"""


def test_a_damaged_answer_after_a_trapping_row_is_reported_as_damaged(tmp_path, standin_kilnd):
    engine = standin_kilnd("--fault", "half")
    (report,) = reports(artifact(tmp_path, "rows", TWO_ROWS), subject="kilnd", options={"kilnd": str(engine)}).values()
    assert report.verdict == "diverge"
    assert "incomplete answer" in report.reason


def test_a_program_around_the_engine_that_fails_is_inconclusive(tmp_path, standin_kilnd):
    script = tmp_path / "wrapper.py"
    script.write_text(
        "import os\n"
        "if os.path.getsize(os.environ['WITNESS_MODULE']) > 200:\n"  # not the known answer that is asked first
        "    import engine_that_is_not_installed\n"
        f"os.execv({str(standin_kilnd())!r}, [{str(standin_kilnd())!r}])\n"
    )
    (report,) = reports(artifact(tmp_path, "rows", TWO_ROWS), subject=f"harness:{sys.executable} {script}").values()
    assert report.verdict == "inconclusive"
    assert "engine_that_is_not_installed" in report.reason


def test_a_program_around_the_engine_that_always_fails_is_no_engine(tmp_path):
    script = tmp_path / "wrapper.py"
    script.write_text("import engine_that_is_not_installed\n")
    with pytest.raises(EngineUnusableError, match="engine_that_is_not_installed"):
        reports(artifact(tmp_path, "rows", TWO_ROWS), subject=f"harness:{sys.executable} {script}")
