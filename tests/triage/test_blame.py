"""Who changed a component's results: faults in the output of meld and of witness, and in the engine, planted in bytes and text."""

from __future__ import annotations

import json
import os

import msgspec
import pytest

from diffcheck.cases import prepare, scripts
from diffcheck.cli.main import run as command_line
from diffcheck.triage.blame.artifact_run import Chain
from tests.campaigns.blamed_faults import Bench
from tests.components import ALLOCATOR, compiled, component, manifest, stand_ins, wat
from tests.test_wit_rows import SOURCES

pytestmark = pytest.mark.skipif(scripts.converter() is None, reason="wasm-tools is not installed")

WIT = """
  record item { x: u8, y: string }
  export total: func(items: list<item>) -> tuple<u32, string>;
  export larger: func(a: s32, b: s32) -> s32;
  export trap: func();
"""
BRANCH = """(if (result i32) (i32.gt_s (local.get 0) (local.get 1)) (then {then} (local.get 0)) (else {else_} (local.get 1)))"""
CORE = f"""(module {ALLOCATOR}
  (func (export "total") (param $at i32) (param $n i32) (result i32) (local $sum i32) (local $last i32)
    (local.set $last (local.get $at))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $n)))
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
      (local.set $last (local.get $at))
      (local.set $at (i32.add (local.get $at) (i32.const 12)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $next)))
    (i32.store (i32.const 16) (local.get $sum))
    (i32.store (i32.const 20) (i32.load offset=4 (local.get $last)))
    (i32.store (i32.const 24) (i32.load offset=8 (local.get $last)))
    (i32.const 16))
  (func (export "larger") (param i32 i32) (result i32) {{branch}})
  (func (export "trap") (unreachable))
  {{globals}})"""
PLAIN = CORE.format(branch=BRANCH.format(then="", else_=""), globals="")
COUNT = "(global.set ${0} (i64.add (global.get ${0}) (i64.const 1)))"
ROWS = ['total([{x: 1, y: "a"}, {x: 255, y: "name"}])', "larger(3, 2)", "larger=1,2", "trap()", "larger(-1, 5)"]


def instrumented(text=PLAIN, then="c1", else_="c2"):
    """The core module with witness's counters, of which that of the br_if is added by hand."""
    names = ("c0", "c1", "c2")
    globals_ = " ".join(
        f'(global ${each} (export "__witness_counter_{at}") (mut i64) (i64.const 0))' for at, each in enumerate(names)
    )
    branch = BRANCH.format(then=COUNT.format(then), else_=COUNT.format(else_))
    loop = "(br_if $done (i32.eqz (local.get $n)))"
    counted = f"(if (i32.eqz (local.get $n)) (then {COUNT.format('c0')})) {loop}"
    return wat(text.replace(BRANCH.format(then="", else_=""), branch).replace(loop, counted).removesuffix(")") + globals_ + ")")


@pytest.fixture
def triage(tmp_path, monkeypatch, capfd):
    """The exit code, the line ``blame``, and ``issue.md`` of a triage with these outputs of meld and witness."""

    def run(fused=PLAIN, witness=None, rows=ROWS, subject="wasmtime-pulley"):
        path = component(tmp_path, WIT, wat(PLAIN))
        path.with_suffix(".toml").write_text(f"rows = {json.dumps(rows)}\n")
        module = wat(fused)
        stand_ins(tmp_path, monkeypatch, module, instrumented(fused) if witness is None else witness, manifest(module))
        code = command_line(["triage", str(path), "--subject", subject, "-o", str(tmp_path / "triage")])
        output = capfd.readouterr()
        line = next((each for each in output.err.splitlines() if each.startswith("blame: ")), "").removeprefix("blame: ")
        issue = tmp_path / "triage" / "issue.md"
        return code, line, issue.read_text() if issue.exists() else ""

    return run


def test_a_chain_without_a_fault_has_nobody_to_blame(triage):
    code, line, issue = triage()
    assert (code, issue) == (0, "")
    assert "component, fused module, instrumented module and capsule have the same results with wasmtime" in line


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("i32.load8_u (local.get $at)", "i32.load8_s (local.get $at)", 'component (256, "name"), fused module (0, "name")'),
        ("i32.gt_s", "i32.lt_s", "row larger(3, 2): component 3, fused module 2"),
        ('(export "trap") (unreachable)', '(export "trap")', "row trap(): component trapped: unreachable, fused module returned"),
    ],
)
def test_meld_is_blamed_for_results_that_change_in_its_output(triage, old, new, words):
    code, line, issue = triage(fused=PLAIN.replace(old, new))
    assert (code, line[:6]) == (1, "meld: "), line
    assert words in line
    assert "# meld changes the results of app.wasm" in issue


def test_witness_is_blamed_for_a_result_that_changes_in_its_output(triage):
    code, line, _ = triage(witness=instrumented(PLAIN.replace("(i32.store (i32.const 16)", "(i32.store (i32.const 20)")))
    assert (code, line[:9]) == (1, "witness: "), line


def test_witness_is_blamed_for_a_counter_on_the_wrong_branch(triage):
    code, line, _ = triage(witness=instrumented(then="c2", else_="c1"))
    assert code == 1
    assert "witness: branch 1, if_then in function 0: taken 1 times, its counter is 2; 1 more" in line


def test_the_capsule_is_blamed_for_what_only_it_changes(triage, monkeypatch):
    own = Chain.capsule

    def changed(chain):
        run = own(chain)
        rows = {
            name: msgspec.structs.replace(each, results=(7,), text="7") if name == ROWS[1] else each
            for name, each in run.rows.items()
        }
        return msgspec.structs.replace(run, rows=rows)

    monkeypatch.setattr(Chain, "capsule", changed)
    assert triage()[1] == "the capsule: row larger(3, 2): instrumented module 3, capsule 7"


def test_a_repeated_row_is_a_row_of_its_own(triage):
    code, line, _ = triage(rows=["larger(3, 2)", "trap()", "larger(3, 2)"])
    assert (code, line[:10]) == (0, "component,")


def test_a_core_row_is_compared_with_the_component_too(triage):
    fused = PLAIN.replace("(else  (local.get 1)", "(else  (i32.const 7)")
    _, line, _ = triage(fused=fused, rows=["larger=1,2"])
    assert "meld: row larger=1,2: component 2, fused module 7" in line


@pytest.fixture
def real_tools(monkeypatch, tmp_path):
    """meld and witness, and an own cache."""
    found = prepare.tools(os.environ)
    if not {"meld", "witness"} <= found.keys():
        pytest.skip("meld or witness is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("language", ["c", "rs"])
def test_meld_and_witness_keep_the_results_of_a_compiled_component(tmp_path, real_tools, capfd, language):
    module = compiled(tmp_path, SOURCES / f"stock.{language}")
    if module is None:
        pytest.skip("the compiler is not installed")
    path = component(tmp_path, (SOURCES / "stock.wit").read_text(), module)
    rows = ['marked([{name: "a", count: 3, weight: 1.5, marks: {heavy}}])', "total([], 3)", "marked([])"]
    path.with_suffix(".toml").write_text(f"rows = {json.dumps(rows)}\n")
    assert command_line(["triage", str(path), "--subject", "wasmtime-pulley", "-o", str(tmp_path / "triage")]) == 0
    assert "component, fused module, instrumented module and capsule have the same results" in capfd.readouterr().err


@pytest.mark.kilnd
def test_kilnd_returns_the_values_of_a_component(tmp_path, real_kilnd, real_tools, capfd):
    module = compiled(tmp_path, SOURCES / "stock.c")
    if module is None:
        pytest.skip("the compiler is not installed")
    path = component(tmp_path, (SOURCES / "stock.wit").read_text(), module)
    rows = [
        'total([{name: "a", count: 3, weight: 1.5, marks: {}}], none)',
        'marked([{name: "", count: 0, weight: nan, marks: {sold}}])',
    ]
    path.with_suffix(".toml").write_text(f"rows = {json.dumps(rows)}\n")
    assert command_line(["run", str(path), "--kilnd", str(real_kilnd), "--reports", str(tmp_path / "reports")]) == 0


@pytest.mark.whole
def test_planted_faults_are_blamed_rightly(tmp_path, host):
    """A short form of the campaign, without meld."""
    found = prepare.tools(os.environ)
    if "witness" not in found:
        pytest.skip("witness is not installed")
    with pytest.MonkeyPatch.context() as environment:
        trials = list(Bench(host, tmp_path, {"witness": found["witness"]}, environment).trials(3, 1))
    assert [each for each in trials if not each.right] == []
