"""Scripts of the test suite: their modules as cases, their assertions as rows, and what they expect as a third judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime
from click.testing import CliRunner

from diffcheck.cases import scripts
from diffcheck.cases.discovery import discover, item_at, load_case
from diffcheck.cases.rows import choose
from diffcheck.cli.command_group import cli
from diffcheck.errors import ArtifactError, CaseError, ConfigError
from diffcheck.report import json_file
from diffcheck.wasm.module import read
from tests.runner.test_run import artifact, reports

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.skipif(scripts.converter() is None, reason="wasm-tools is not installed")

SCRIPT = """
(module $a
  (global (export "g") (mut i32) (i32.const 7))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "div") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "two") (result f64 i64) (f64.const -0.5) (i64.const -1))
  (func (export "count") (result i32) (global.set 0 (i32.add (global.get 0) (i32.const 1))) (global.get 0))
  (func (export "nan") (result f32) (f32.div (f32.const 0) (f32.const 0)))
  (func (export "lanes") (param v128) (result v128) (local.get 0))
  (func (export "same") (param externref) (result externref) (local.get 0))
  (func $deep (export "deep") (call $deep))
  (tag $t) (func (export "throw") (throw $t))
  (func (export "nothing")))
(assert_return (get "g") (i32.const 7))
(assert_return (invoke "add" (i32.const 2) (i32.const -3)) (i32.const -1))
(invoke "count")
(assert_return (invoke "count") (i32.const 9))
(assert_return (invoke "count") (i32.const 10))
(assert_return (get "g") (i32.const 10))
(assert_return (invoke "two") (f64.const -0.5) (i64.const -1))
(assert_return (invoke "nan") (f32.const nan:canonical))
(assert_return (invoke "lanes" (v128.const f32x4 1 nan 0 -0)) (v128.const f32x4 1 nan:arithmetic 0 -0))
(assert_return (invoke "same" (ref.extern 3)) (ref.extern 3))
(assert_return (invoke "same" (ref.null extern)) (ref.null extern))
(assert_return (invoke "nothing"))
(assert_exception (invoke "throw"))
(assert_trap (invoke "div" (i32.const 1) (i32.const 0)) "integer divide by zero")
(assert_exhaustion (invoke "deep") "call stack exhausted")
(assert_return (invoke "count") (i32.const 11))
(module $b (func (export "one") (result i32) (i32.const 1)))
(assert_return (invoke $a "add" (i32.const 1) (i32.const 1)) (i32.const 2))
(assert_return (invoke "one") (i32.const 1))
(module definition $d (func (export "x") (result i32) (i32.const 5)))
(module instance $i $d)
(assert_return (invoke $i "x") (i32.const 5))
(assert_invalid (module (func (result i32))) "type mismatch")
(assert_malformed (module binary "\\00asm\\02\\00\\00\\00") "unknown binary version")
(assert_malformed (module quote "(func") "unexpected token")
(assert_unlinkable (module (import "spectest" "none" (func))) "unknown import")
(assert_trap (module (func $s unreachable) (start $s)) "unreachable")
(module)
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "all.wast"
    path.write_text(SCRIPT.lstrip())
    return path


def test_each_module_is_a_case_and_each_assertion_a_row_with_its_line(script: Path) -> None:
    found = scripts.read(str(script))
    assert list(found.modules) == ["1", "29", "33", "35", "36", "39", "40"]
    assert (found.text_only, found.linking) == (1, 1)
    one = found.modules["1"]
    assert one.rows[:5] == ("(get) g -> 7", "add=2,-3 -> -1", "count", "count -> 9", "count -> 10")
    assert one.rows[-1] == "add=1,1 -> 2"
    assert (one.lines[0], one.lines[-1]) == (13, 30)
    assert found.modules["29"].rows == ("one -> 1",)
    assert found.modules["33"].rows == ("x -> 5",)
    assert [found.modules[each].refusal for each in ("35", "36")] == ["type mismatch", "unknown binary version"]
    assert found.modules["39"].instantiation == "trap: unreachable"


def test_a_script_and_each_of_its_modules_can_be_named(script: Path) -> None:
    found = discover([script.parent])
    assert [item.id.rpartition("/")[2] for item in found.items][:2] == ["all.wast:1", "all.wast:29"]
    assert any(
        "skipped, not tests of an engine: 1 assertion of the text format, 1 assertion of linking" in note for note in found.notes
    )
    assert [item.id for item in discover([Path(f"{script}:29")]).items] == [found.items[1].id]
    assert len(discover([script], ["all.wast"]).items) == len(found.items)
    assert load_case(item_at(Path(f"{script}:29"))).rows == ("one -> 1",)
    with pytest.raises(ConfigError, match="has no module on line 28") as caught:
        discover([Path(f"{script}:28")])
    assert "all.wast:29" in caught.value.hint


def test_rules_that_the_specification_no_longer_has_are_counted_apart(tmp_path: Path) -> None:
    path = tmp_path / "old.wast"
    path.write_text('(module)(assert_invalid (module (table 1 funcref) (table 1 funcref)) "multiple tables")')
    found = discover([path])
    assert len(found.items) == 1
    assert any(
        "skipped, not tests of an engine: 1 assertion of rules that WebAssembly 3.0 no longer has" in note for note in found.notes
    )


def test_a_script_that_cannot_be_converted_is_an_error_or_a_note(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wast"
    broken.write_text("(module (func (i32.nonsense)))")
    with pytest.raises(ConfigError, match="does not convert the script"):
        discover([broken])
    artifact(tmp_path, "whole", "(module)")
    found = discover([tmp_path])
    assert len(found.items) == 1
    assert any("broken.wast is not run" in note for note in found.notes)


def test_two_engines_that_do_what_a_script_expects_agree(script: Path) -> None:
    found = reports(script)
    assert {name.rpartition(":")[2]: each.verdict for name, each in found.items()} == dict.fromkeys(
        ("1", "29", "33", "35", "36", "39", "40"), "agree"
    )
    (one,) = (each for name, each in found.items() if name.endswith(":1"))
    assert one.passes[0].agreement.rows == len(one.rows) == 17
    assert "count #3" in one.rows
    assert any(
        each.startswith("the expected results of 1 row (") and "lacks the state before an earlier trap" in each
        for each in one.not_done
    )


@pytest.mark.parametrize(
    ("command", "oracle", "expected"),
    [
        ('(assert_return (invoke "f" (i32.const 4)) (i32.const 5))', "4", "5"),
        ('(assert_trap (invoke "f" (i32.const 4)) "unreachable")', "4", "trap: unreachable"),
        ('(assert_trap (invoke "t") "integer overflow")', "trapped: unreachable", "trap: integer overflow"),
        ('(assert_trap (invoke "f" (i32.const 4)) "a reason of its own")', "4", "trap"),
        ('(assert_return (get "g") (i64.const 2))', "1", "2"),
        ('(assert_exception (invoke "f" (i32.const 4)))', "4", "exception"),
        ('(assert_return (invoke "t"))', "trapped: unreachable", "()"),
    ],
)
def test_a_row_in_which_both_engines_differ_from_the_script_diverges(
    tmp_path: Path, command: str, oracle: str, expected: str
) -> None:
    path = tmp_path / "wrong.wast"
    path.write_text(
        f'(module (global (export "g") i64 (i64.const 1)) (func (export "f") (param i32) (result i32) (local.get 0))'
        f'(func (export "t") unreachable))\n\n{command}'
    )
    (report,) = reports(path).values()
    assert report.verdict == "diverge"
    (divergence,) = report.passes[0].divergences
    assert (divergence.kind, divergence.oracle, divergence.where.line) == ("expectation", oracle, 3)
    assert divergence.detail == f"expected {expected}: both engines give the same other result"


def test_a_module_that_only_the_oracle_calls_invalid_is_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "proposal.wast"
    path.write_text('(module (func (export "f") (result i32)))')
    (report,) = reports(path).values()
    assert report.verdict == "inconclusive"
    assert "the script expects a valid module: type mismatch" in report.reason


def test_a_module_that_the_oracle_accepts_against_the_script_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "valid.wast"
    path.write_text('(assert_invalid (module (func (export "f"))) "type mismatch")')
    (report,) = reports(path).values()
    (divergence,) = report.passes[1].divergences
    assert (divergence.kind, divergence.oracle) == ("expectation", "accepts the module")
    assert divergence.subject == "accepts the module"
    assert "type mismatch" in divergence.detail


def test_invalid_modules_that_the_subject_loads_are_one_finding_for_each_rule_of_the_script(tmp_path, lenient) -> None:
    engine = lenient(artifact(tmp_path, "other", "(module)"))
    path = tmp_path / "invalid.wast"
    path.write_text(
        '(assert_invalid (module (func (result i32))) "type mismatch")'
        '(assert_invalid (module (func (drop (f32.neg (i64.const 1))))) "type mismatch")'
        '(assert_invalid (module (func (drop (local.get 3)))) "unknown local")'
    )
    passes = [each.passes[1] for each in reports(path, subject="kilnd", options={"kilnd": str(engine)}, confirm=2).values()]
    assert not any(each.repeats for each in passes)  # one run shows that a module is loaded
    found = [each.divergences[0] for each in passes]
    assert [each.kind for each in found] == ["validity"] * 3
    assert found[0].signature == found[1].signature != found[2].signature
    assert found[2].detail == "the script expects: unknown local"


LINKED = """
(module $m
  (memory (export "m") 1) (table (export "t") 3 funcref) (global (export "g") (mut i32) (i32.const 1)) (tag (export "x") (param i32))
  (func (export "load") (result i32) (i32.load (i32.const 0)))
  (func (export "throw") (throw 0 (i32.const 6)))
  (func (export "call") (param i32) (result i32) (call_indirect (result i32) (local.get 0))))
(register "m" $m)
(assert_return (invoke $m "load") (i32.const 0))
(module $n
  (memory (import "m" "m") 1) (table (import "m" "t") 2 funcref) (global $g (import "m" "g") (mut i32))
  (tag $x (import "m" "x") (param i32)) (func $throw (import "m" "throw"))
  (global $k (import "spectest" "global_i32") i32) (func $print (import "spectest" "print_i32") (param i32))
  (data (i32.const 0) "\\05") (elem (i32.const 1) $two) (func $two (result i32) (i32.const 2))
  (func $start (global.set $g (i32.add (global.get $g) (global.get $k)))) (start $start)
  (func (export "catch") (result i32)
    (call $print (i32.const 3)) (block $b (result i32) (try_table (catch $x $b) (call $throw)) (i32.const 0))))
(assert_return (invoke $m "load") (i32.const 5))
(assert_return (invoke $m "call" (i32.const 1)) (i32.const 2))
(assert_return (get $m "g") (i32.const 667))
(assert_return (invoke "catch") (i32.const 6))
(assert_trap (module (memory (import "m" "m") 1) (data (i32.const 0) "\\07") (data (i32.const 65536) "a")) "out of bounds memory access")
(assert_return (invoke $m "load") (i32.const 7))
(assert_return (get $m "g") (i32.const 667))
(assert_trap
  (module (memory (import "m" "m") 1) (func $start (i32.store (i32.const 0) (i32.const 8)) unreachable) (start $start)) "unreachable")
(assert_return (invoke $m "load") (i32.const 8))
(module (import "m" "load" (func $load (result i32))) (import "m" "none" (func)) (export "load" (func $load)))
"""


def test_instances_that_share_state_are_one_case_for_each_instantiation(tmp_path: Path) -> None:
    path = tmp_path / "linked.wast"
    path.write_text(LINKED.lstrip())
    found = scripts.read(str(path)).modules
    before = ("init:m:(instantiate)", "init:m:load", "init:n:(instantiate)", "init:m:load", "init:m:call=1", "init:n:catch")
    assert [each.rows for each in found.values()][:4] == [
        ("load -> 0",),
        (*before[:2], "init:(instantiate) -> ()", "m:load -> 5", "m:call=1 -> 2", "(get) m:g -> 667", "catch -> 6"),
        (*before, "init:(instantiate) -> trap: out of bounds memory access"),
        (*before, "init:instance3:(instantiate)", "m:load -> 7", "(get) m:g -> 667"),
    ]
    assert [each.lines for each in found.values()] == [(7,), (16, 17, 18, 19), (), (21, 22), (), (25,), ()]


def test_what_linked_modules_share_is_as_the_script_expects(tmp_path: Path) -> None:
    path = tmp_path / "linked.wast"
    path.write_text(LINKED.lstrip())
    found = {name.rpartition(":")[2]: each for name, each in reports(path).items()}
    assert {each.verdict for each in found.values()} == {"agree"}
    unchecked = {name: [why for why in each.not_done if "the expected results" in why] for name, each in found.items()}
    assert {name for name, each in unchecked.items() if each} == {"25"}
    assert "whose effects are missing" in unchecked["25"][0]
    assert found["8"].passes[0].stubs[0].name == "print_i32"


def test_modules_without_state_are_linked_only_to_those_that_import_them(tmp_path: Path) -> None:
    path = tmp_path / "functions.wast"
    one = '(module (import "a" "f" (func $f (result i32))) (memory 1) (func (export "g") (result i32) (call $f)))'
    path.write_text(
        f'(module (func (export "f") (result i32) (i32.const 4))) (register "a")\n{one}\n{one}\n(assert_return (invoke "g") (i32.const 4))'
    )
    found = scripts.read(str(path)).modules
    assert [len(each.parts) for each in found.values()] == [0, 3, 3]  # with the host's
    assert {each.verdict for each in reports(path).values()} == {"agree"}


def test_a_case_file_may_link_modules(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    artifact(tmp_path / "lib", "a", '(module (memory (export "m") 1) (data (i32.const 0) "\\07"))')
    artifact(tmp_path, "own", '(module (import "a" "m" (memory 1)) (func (export "f") (result i32) (i32.load (i32.const 0))))')
    (tmp_path / "own.toml").write_text('link = ["lib/a.wasm"]\nrows = ["f -> 7"]')
    (report,) = reports(tmp_path / "own.wasm").values()
    assert (report.verdict, report.rows) == ("agree", ("(start)", "f"))
    (tmp_path / "own.toml").write_text('link = ["../a.wasm"]')
    (report,) = reports(tmp_path / "own.wasm").values()
    assert "link is not in the folder of the case" in report.reason


def test_a_missing_converter_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wast"
    path.write_text("(module (func))")
    monkeypatch.setattr(scripts, "converter", lambda: None)
    with pytest.raises(ArtifactError) as caught:
        scripts.read(str(path))
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize(
    ("row", "args"), [("f=(ref.extern 3) -> null", [2 | 3 << 32]), ("f=null #2", [0]), ("f=(ref.i31 -1)", [2 | 0x7FFFFFFF << 32])]
)
def test_rows_have_host_references_numbers_and_expectations(row: str, args: list[int]) -> None:
    made = choose(
        read(wasmtime.wat2wasm('(module (func (export "f") (param externref)) (global (export "g") i32 (i32.const 1)))')), [row]
    )
    assert [value.bits for value in made.rows[0].args] == args
    assert made.rows[0].name == row.partition(" -> ")[0]


def test_a_row_may_read_a_global() -> None:
    module_ = read(wasmtime.wat2wasm('(module (global (export "g") i32 (i32.const 1)))'))
    first, second = choose(module_, ["(get) g -> 1", "(get) g #2"]).rows
    assert (first.reads, first.expected, second.name, second.type.results) == (True, "1", "(get) g #2", ("i32",))
    with pytest.raises(CaseError, match="does not name an exported global"):
        choose(module_, ["(get) h"])


def test_only_null_can_be_passed_as_a_function() -> None:
    module_ = read(wasmtime.wat2wasm('(module (func (export "f") (param funcref)))'))
    with pytest.raises(CaseError):
        choose(module_, ["f=(ref.extern 1)"])


def test_each_row_of_a_script_has_a_signature_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "two.wast"
    path.write_text(
        '(module (func (export "f") (param i32) (result i32) (local.get 0)))'
        '(assert_return (invoke "f" (i32.const 1)) (i32.const 9)) (assert_return (invoke "f" (i32.const 2)) (i32.const 9))'
    )
    (report,) = reports(path).values()
    assert len(report.passes[0].signatures) == 2
    moved = tmp_path / "moved" / "two.wast"
    moved.parent.mkdir()
    moved.write_text(f";; a line more\n\n{path.read_text()}")
    (again,) = reports(moved).values()
    assert again.passes[0].signatures == report.passes[0].signatures


ASSERTIONS = """(module
  (func (export "bits") (param i32) (result i32) (i32.popcnt (local.get 0)))
  (func (export "zeros") (param i32) (result i32) (i32.clz (local.get 0))))
(assert_return (invoke "bits" (i32.const 6)) (i32.const 2))
(assert_return (invoke "bits" (i32.const 7)) (i32.const 3))
(assert_return (invoke "zeros" (i32.const 6)) (i32.const 29))
"""


@pytest.mark.whole
def test_a_regression_in_a_script_that_already_fails_is_new(tmp_path, monkeypatch, standin_kilnd, patched) -> None:
    (tmp_path / "numbers.wast").write_text(ASSERTIONS)
    monkeypatch.chdir(tmp_path)

    def diffcheck(*arguments: str) -> tuple[int, str]:
        ended = CliRunner().invoke(cli, [*arguments], prog_name="diffcheck", standalone_mode=False)
        assert ended.exception is None, ended.exception
        return ended.return_value, ended.output

    def checked(engine: Path) -> tuple[int, dict[str, str]]:
        code, _ = diffcheck(
            "run", "numbers.wast", "--kilnd", str(engine), "--baseline", "baseline.toml", "--no-cache", "--causes", "0"
        )
        report = json_file.read(tmp_path / "reports" / "report.json")
        assert report.baseline is not None
        rows = {each.signature: each.where.row for each in report.cases[0].passes[0].divergences}
        return code, {rows.get(each.signature, "gone"): each.state for each in report.baseline.standings}

    failing = patched(standin_kilnd(), "200069", "200068")  # popcnt counts trailing zeros
    worse = patched(failing, "200067", "200068")  # so does clz
    (tmp_path / "baseline.toml").write_text("")
    assert checked(failing) == (1, {"bits=6": "new", "bits=7": "new"})
    diffcheck("baseline", "add", "--all")
    assert checked(failing) == (0, {"bits=6": "known", "bits=7": "known"})
    assert checked(worse) == (1, {"bits=6": "known", "bits=7": "known", "zeros=6": "new"})
    assert checked(standin_kilnd())[1] == {"gone": "fixed"}
    diffcheck("baseline", "update")
    assert checked(failing) == (1, {"bits=6": "returned", "bits=7": "returned"})
