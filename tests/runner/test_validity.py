"""What is said of artifacts that the oracle refuses, and of those that nothing but their instantiation can be seen of."""

from __future__ import annotations

import pytest
import wasmtime

from tests.runner.test_run import NOTHING, artifact, reports

WRONG_RESULT = '(module (func (export "answer") (result i64) (i32.const 7)))'
WRONG_OPERAND = '(module (memory 1) (func (export "other") (drop (f32.neg (i64.load (i32.const 24))))))'
UNKNOWN_LOCAL = '(module (func (export "third") (drop (local.get 9))))'
WITH_IMPORTS = (
    '(module (import "env" "f" (func)) (memory (import "env" "m") 1) (func (export "run_row_0") (result f32) (i64.const 1)))'
)
STARTING = '(module (func $s unreachable) (start $s) (func (export "x") (result f64) (i32.const 1)))'
CUT = bytes.fromhex("0061736d0100000001040160")


def kilnd(engine):
    return {"subject": "kilnd", "options": {"kilnd": str(engine)}}


@pytest.fixture(scope="module")
def trusting(lenient, tmp_path_factory):
    """An engine that loads whatever it is given, and then finds no entry."""
    return lenient(artifact(tmp_path_factory.mktemp("valid"), "valid", "(module)"))


def test_an_invalid_artifact_that_the_subject_loads_diverges_without_an_entry_too(tmp_path, trusting):
    for at, text in enumerate((WRONG_RESULT, UNKNOWN_LOCAL, WITH_IMPORTS, STARTING)):
        artifact(tmp_path, f"invalid{at}", text)
    for report in reports(tmp_path, **kilnd(trusting)).values():
        assert report.verdict == "diverge", report.reason
        (divergence,) = report.passes[-1].divergences
        assert divergence.kind == "validity"
        assert divergence.subject == "accepts the module"


def test_divergences_of_validity_are_one_cluster_for_each_rule(tmp_path, trusting):
    for name, text in (("one", WRONG_RESULT), ("two", WRONG_OPERAND), ("three", UNKNOWN_LOCAL)):
        artifact(tmp_path, name, text)
    found = {name: each.passes[-1].signatures for name, each in reports(tmp_path, **kilnd(trusting)).items()}
    assert found["one"] == found["two"] != found["three"]


@pytest.mark.parametrize("subject", ["kilnd", "wasmtime-pulley"])
def test_both_engines_refusing_is_a_vacuous_agreement_about_validity(subject, tmp_path, standin_kilnd):
    for at, content in enumerate((WRONG_RESULT, WITH_IMPORTS, CUT, STARTING)):
        artifact(tmp_path, f"invalid{at}", content)
    for report in reports(tmp_path, **(kilnd(standin_kilnd()) if subject == "kilnd" else {"subject": subject})).values():
        assert (report.verdict, report.vacuous) == ("agree", True), report.reason
        assert "only validity is compared" in report.reason
        assert any("both engines refuse" in each for each in report.not_done)


def test_an_engine_without_an_entry_rule_can_still_be_asked_whether_it_loads(tmp_path, standin_wasi):
    options = {"subject": f"wasi:{standin_wasi()}"}
    (report,) = reports(artifact(tmp_path, "invalid", WRONG_RESULT), **options).values()
    assert (report.verdict, report.vacuous) == ("agree", True), report.reason


UNJUDGED = {
    "locals": ("(module (func (local " + "i64 " * 50_001 + ")))", "implementation limit"),
    "stack switching": ("(module (type $f (func)) (type (cont $f)) (func))", "proposal"),
    "parameters": ("(module (type (func (param " + "i32 " * 1001 + "))) (func))", "implementation limit"),
    "shared globals": ("(module (global (shared i32) (i32.const 0)) (func))", "proposal"),
    "memories": ("(module " + "(memory 0)" * 101 + "(func))", "implementation limit"),
}


def test_a_refusal_for_a_proposal_or_a_limit_of_the_oracle_is_inconclusive(tmp_path, trusting):
    for name, (text, _) in UNJUDGED.items():
        artifact(tmp_path, name, text)
    for name, report in reports(tmp_path, **kilnd(trusting)).items():
        assert report.verdict == "inconclusive"
        assert UNJUDGED[name][1] in report.reason


def test_an_answer_that_does_not_show_loading_is_inconclusive(tmp_path, standin_kilnd):
    (report,) = reports(artifact(tmp_path, "invalid", WRONG_RESULT), **kilnd(standin_kilnd("--fault", "half"))).values()
    assert report.verdict == "agree"  # that engine refuses it before it answers
    engine = tmp_path / "silent"
    engine.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/asked ] && exit 1\ntouch {tmp_path}/asked\nexec {standin_kilnd()}\n"
    )  # after the known answer
    engine.chmod(0o755)
    (report,) = reports(artifact(tmp_path, "invalid", WRONG_RESULT), subject=f"harness:{engine}").values()
    assert report.verdict == "inconclusive"
    assert "unknown" in report.reason


INSTANTIATION = {
    "a start function that traps": "(module (func $s unreachable) (start $s))",
    "a start function that writes": "(module (memory 1) (func $s (i32.store8 (i32.const 3) (i32.const 8))) (start $s))",
    "a data segment": '(module (memory (export "m") 1) (data (i32.const 7) "seven"))',
    "a segment out of bounds": '(module (memory 1) (data (i32.const 65534) "seven"))',
    "an element segment": "(module (table 4 funcref) (func $f) (elem (i32.const 1) $f $f))",
}


@pytest.mark.parametrize("subject", ["kilnd", "wasmtime-pulley"])
def test_instantiation_is_compared_where_nothing_is_exported(subject, tmp_path, standin_kilnd):
    for name, text in INSTANTIATION.items():
        artifact(tmp_path, name, text)
    for report in reports(tmp_path, **(kilnd(standin_kilnd()) if subject == "kilnd" else {"subject": subject})).values():
        assert (report.verdict, report.vacuous) == ("agree", False), (report.case, report.reason)
        assert any("only instantiation is compared" in each for each in report.not_done)


def test_a_wrong_instantiation_diverges_where_nothing_is_exported(tmp_path, standin_kilnd, patched):
    text = "(module (memory 1) (func $s (i32.store (i32.const 16) (i32.const 7))) (start $s))"
    engine = patched(standin_kilnd(), "41104107", "41104108")
    (report,) = reports(artifact(tmp_path, "wrong", text), **kilnd(engine)).values()
    assert report.verdict == "diverge"
    assert report.passes[0].divergences[0].kind == "memory"


def test_a_case_none_of_whose_declared_rows_ran_is_inconclusive(tmp_path):
    trapping = '(module (func $s unreachable) (start $s) (func (export "row") (result i32) (i32.const 5)))'
    artifact(tmp_path, "trapping", trapping)
    (tmp_path / "trapping.toml").write_text('rows = ["row"]\n')
    (report,) = reports(tmp_path).values()
    assert report.verdict == "inconclusive"
    assert "none of the declared rows ran" in report.reason


def test_a_declared_row_that_ran_is_enough(tmp_path):
    artifact(tmp_path, "running", NOTHING.replace("run", "row"))
    (tmp_path / "running.toml").write_text('rows = ["row"]\n')
    (report,) = reports(tmp_path).values()
    assert report.verdict == "agree"


def test_declared_rows_are_not_missed_where_only_the_direct_pass_was_asked_for(tmp_path):
    artifact(tmp_path, "running", NOTHING)
    (tmp_path / "running.toml").write_text('rows = ["run"]\n')
    (report,) = reports(tmp_path, mode="direct").values()
    assert report.verdict == "agree"


def test_every_module_here_is_what_it_is_named():
    for text in (WRONG_RESULT, WRONG_OPERAND, UNKNOWN_LOCAL, WITH_IMPORTS, STARTING):
        with pytest.raises(wasmtime.WasmtimeError):
            wasmtime.Module.validate(wasmtime.Engine(), bytes(wasmtime.wat2wasm(text)))
