"""Expected results of scripts and case files in runs: what is a finding, what is not checked, and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck.cases import scripts
from diffcheck.cases.discovery import discover
from diffcheck.cli.main import run as run_command
from tests.runner.test_run import artifact, reports

if TYPE_CHECKING:
    from diffcheck.verdict import CaseReport

pytestmark = pytest.mark.skipif(scripts.converter() is None, reason="wasm-tools is not installed")


DIVIDES = '(module (func (export "div") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0))){})'
COUNTS = """(memory 1) (func (export "count") (result i32)
  (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))) (i32.load (i32.const 0)))"""


def test_a_case_file_may_expect_results_too(tmp_path: Path) -> None:
    artifact(tmp_path, "plain", '(module (func (export "f") (param i32) (result i32) (local.get 0)))')
    (tmp_path / "plain.toml").write_text('rows = ["f=1 -> 1", "f=2 -> 3"]')
    (report,) = reports(tmp_path).values()
    assert [(each.kind, each.where.row) for each in report.passes[0].divergences] == [("expectation", "f=2")]
    for row in ("f=1", "init:f=1"):
        (tmp_path / "plain.toml").write_text(f'rows = ["{row} -> 1.5", "f=2"]')
        (report,) = reports(tmp_path).values()
        assert report.verdict == "skipped"
        assert f"row {row}: " in report.reason


@pytest.mark.parametrize(
    ("command", "seen", "expected"),
    [
        ('(assert_trap (module (func $f) (start $f)) "unreachable")', "returned", "trap: unreachable"),
        ('(assert_trap (module (func $f unreachable) (start $f)) "integer overflow")', "trapped: unreachable", "trap: integer overflow"),
        ('(assert_trap (module (memory 1) (data (i32.const 0) "a")) "out of bounds memory access")', "returned", "trap: out of bounds memory access"),
        ('(assert_trap (module (memory 1) (data (i32.const 65536) "a")) "unreachable")', "trapped: out of bounds memory access", "trap: unreachable"),
        ("(module (func $f unreachable) (start $f))", "trapped: unreachable", "()"),
        ("(module (table 1 funcref) (elem (i32.const 1) $f) (func $f))", "trapped: out of bounds table access", "()"),
    ],
)  # fmt: skip
def test_an_instantiation_that_ends_otherwise_than_the_script_expects_diverges(tmp_path, command, seen, expected) -> None:
    path = tmp_path / "start.wast"
    path.write_text(command)
    (report,) = reports(path).values()
    (divergence,) = report.passes[0].divergences
    assert (divergence.kind, divergence.oracle, divergence.subject) == ("expectation", seen, seen)
    assert divergence.detail == f"expected {expected}: both engines give the same other result"


@pytest.mark.parametrize(
    "command",
    [
        '(assert_trap (module (func $f unreachable) (start $f)) "unreachable")',
        '(assert_trap (module (memory 1) (data (i32.const 65536) "a")) "out of bounds memory access")',
        "(module (func $f) (start $f))",
    ],
)
@pytest.mark.parametrize("subject", ["wasmtime-pulley", "kilnd"])
def test_an_instantiation_as_the_script_expects_agrees(tmp_path, command, subject, standin_kilnd) -> None:
    path = tmp_path / "start.wast"
    path.write_text(command)
    (report,) = reports(path, subject=subject, options={"kilnd": str(standin_kilnd())}).values()
    assert report.verdict == "agree"


def test_reasons_that_are_no_kind_of_trap_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "odd.wast"
    path.write_text(f'{DIVIDES.format("")}(assert_trap (invoke "div" (i32.const 0)) "odd words")')
    assert discover([path]).notes == (f"{path}: 1 assertion accepts any trap: unknown trap reason odd words",)


def test_equal_rows_are_checked_one_by_one(tmp_path: Path) -> None:
    artifact(tmp_path, "plain", f"(module {COUNTS})")
    (tmp_path / "plain.toml").write_text('rows = ["count -> 7", "count -> 2", "count -> 9"]')
    (report,) = reports(tmp_path).values()
    found = [(each.where.row, each.oracle, each.detail.partition(":")[0]) for each in report.passes[0].divergences]
    assert found == [("count", "1", "expected 7"), ("count #3", "3", "expected 9")]


def test_where_the_engines_agree_on_something_else_nothing_is_localised(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    artifact(tmp_path, "plain", f"(module {COUNTS})")
    (tmp_path / "plain.toml").write_text('rows = ["count -> 7"]')
    assert run_command(["run", "plain.wasm", "--subject", "wasmtime-pulley", "--causes", "1"]) == 1
    assert "localising" not in capsys.readouterr().err
    assert run_command(["show", "plain"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "oracle 1, subject 1 (expected 7: both engines give the same other result)" in shown
    assert "next diffcheck show -v plain" in shown
    assert "section" not in shown
    assert run_command(["localise", "plain"]) == 0
    assert "the engines do not differ on the capsule: agree" in capsys.readouterr().out


@pytest.mark.parametrize("end", ["(throw $e)", "(unreachable)"])
def test_state_that_an_action_without_return_left_to_another_instance_is_no_finding(tmp_path: Path, end: str) -> None:
    path = tmp_path / "shared.wast"
    action = '(assert_exception (invoke "x"))' if "throw" in end else '(assert_trap (invoke "x") "unreachable")'
    path.write_text(
        f'(module $M (tag $e) (global (export "g") (mut i32) (i32.const 4)) (func (export "x") (global.set 0 (i32.const 5)) {end}))'
        f'(register "M" $M){action}(module (import "M" "g" (global $g (mut i32))) (func (export "both") (result i32) (global.get $g)))'
        f'(assert_return (invoke "both") (i32.const 5))'
    )
    first, second = reports(path).values()
    assert (first.verdict, second.verdict) == ("agree", "agree")
    assert any("an earlier action did not return" in each for each in second.left_out)


def test_an_earlier_action_that_has_no_effect_leaves_the_rows_of_another_instance_checked(tmp_path: Path) -> None:
    path = tmp_path / "shared.wast"
    path.write_text(
        '(module $M (memory (export "m") 1) (func (export "set") (i32.store (i32.const 0) (i32.const 5)))\n'
        '(func (export "div") (param i32) (result i32) (i32.div_u (i32.const 4) (local.get 0))))\n'
        '(register "M" $M) (invoke "set") (invoke "other")\n(assert_trap (invoke "div" (i32.const 0)) "integer divide by zero")\n'
        '(module (import "M" "m" (memory 1)) (func (export "get") (result i32) (i32.load (i32.const 0))))\n'
        '(assert_return (invoke "get") (i32.const 5)) (assert_return (invoke "get") (i32.const 6))'
    )
    first, second = reports(path).values()
    assert first.verdict == "agree"
    assert "line 3: row other does not name an exported function" in first.left_out
    (divergence,) = second.passes[0].divergences
    assert (divergence.where.row, divergence.where.line, divergence.oracle) == ("get #2", 6, "5")


OBJECTS = """(module (type $s (struct (field anyref))) (type $a (array anyref))
  (func (export "both") (result anyref anyref) (struct.new $s (ref.null any)) (array.new_default $a (i32.const 1)))
  (func (export "i31") (result i31ref) (ref.i31 (i32.const 1))) (func (export "null") (result structref) (ref.null none))
  (func (export "host") (param externref) (result i32) (ref.is_null (local.get 0))) (func (export "one") (result i32) (i32.const 1)))
"""


def unmet(path: Path, assertions: str) -> tuple[list[str], CaseReport]:
    """The rows of the script that are not as expected, and its report."""
    path.write_text(OBJECTS + assertions)
    (report,) = reports(path).values()
    return [each.where.row for one in report.passes for each in one.divergences], report


@pytest.mark.parametrize(
    ("assertion", "met"),
    [
        ('(assert_return (invoke "both") (ref.struct) (ref.array))', True),
        ('(assert_return (invoke "both") (ref.array) (ref.array))', False),
        ('(assert_return (invoke "both") (ref.struct) (ref.struct))', False),
        ('(assert_return (invoke "i31") (ref.i31))', True),
        ('(assert_return (invoke "i31") (ref.null i31))', False),
        ('(assert_return (invoke "null") (ref.null struct))', True),
        ('(assert_return (invoke "null")\n  (either (ref.struct) (ref.null struct)))', True),
        ('(assert_return (invoke "null") (ref.struct))', False),
        ('(assert_return (invoke "one") (i32.const 1) (i32.const 1))', False),
        ('(assert_return (invoke "one"))', False),
    ],
)
def test_an_assertion_holds_as_the_reference_interpreter_reads_it(tmp_path: Path, assertion: str, met: bool) -> None:
    rows, _ = unmet(tmp_path / "objects.wast", assertion)
    assert rows == ([] if met else [assertion.split('"')[1]])


def test_a_reference_of_the_host_leaves_earlier_rows_checked(tmp_path: Path) -> None:
    wrong = '(assert_return (invoke "one") (i32.const 2))'
    rows, report = unmet(tmp_path / "host.wast", f'{wrong}(assert_return (invoke "host" (ref.extern 3)) (i32.const 0)){wrong}')
    assert rows == ["one"]
    assert "the expected results of 1 row (one #2): references of the host are passed, as i31s" in report.left_out


def test_an_assertion_that_cannot_be_called_is_noted_and_the_others_are_checked(tmp_path: Path) -> None:
    assertions = '(assert_return (invoke "other"))\n(assert_return (invoke "one" (i32.const 1)))\n(assert_return (invoke "one") (i32.const 2))'
    rows, report = unmet(tmp_path / "odd.wast", assertions)
    assert (rows, report.rows, report.passes[0].divergences[0].where.line) == (["one"], ("one",), 7)
    assert [each for each in report.left_out if each.startswith("line")] == [
        "line 5: row other does not name an exported function",
        "line 6: row one=1 has 1 argument, one takes none",
    ]


@pytest.mark.parametrize("engines", [("wasmtime", "wasmtime-pulley"), ("wasmtime", "kilnd"), ("kilnd", "wasmtime")])
def test_expected_results_of_a_case_file_are_checked_at_and_after_a_trap(tmp_path: Path, engines, standin_kilnd) -> None:
    artifact(tmp_path, "plain", DIVIDES.format(COUNTS))
    rows = ["count -> 7", "div=0 -> 3", "count #2 -> 1", "div=0 #2 -> trap", "div=1 -> 2", "count #3 -> 8"]
    (tmp_path / "plain.toml").write_text(f"rows = {rows}")
    oracle, subject = engines
    (report,) = reports(tmp_path, oracle=oracle, subject=subject, options={"kilnd": str(standin_kilnd())}).values()
    found = [(each.kind, each.where.row) for each in report.passes[0].divergences]
    assert found == [("expectation", row) for row in ("count", "div=0", "div=1", "count #3")]
    assert not any("expected results" in each for each in report.not_done)


@pytest.mark.parametrize(
    ("functions", "before", "verdict"),
    [
        ("", "", "diverge"),
        (COUNTS, "", "diverge"),
        (COUNTS, '(invoke "count")', "agree"),
        (('(table 1 funcref) (elem (i32.const 0) $g) (global $n (mut i32) (i32.const 0)) (func $g (global.set $n (i32.const 1)))'
         '(func (export "f") (call_indirect (i32.const 0)))'), '(invoke "f")', "agree"),
    ],
)  # fmt: skip
def test_a_row_of_a_script_after_a_trap_is_checked_if_no_earlier_row_may_change_state(tmp_path, functions, before, verdict) -> None:
    path = tmp_path / "trap.wast"
    trap = '(assert_trap (invoke "div" (i32.const 0)) "integer divide by zero")'
    path.write_text(f'{DIVIDES.format(functions)}{before}{trap}(assert_return (invoke "div" (i32.const 1)) (i32.const 2))')
    (report,) = reports(path).values()
    assert report.verdict == verdict
    assert any("expected results of 1 row (div=1): their instance lacks the state" in each for each in report.not_done) == (
        verdict == "agree"
    )
