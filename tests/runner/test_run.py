"""Whole runs: cases in, exactly one verdict each out, whatever happens to a case."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgspec
import pytest
import wasmtime

from diffcheck.runner import run as runs
from diffcheck.runner.engines import choose
from diffcheck.runner.events import CaseFinished, EngineProbed, RunFinished, RunStarted
from diffcheck.runner.request import Request
from diffcheck.runner.run import plan, run
from diffcheck.runner.worker import Setup

CORPUS = Path(__file__).parents[2] / "corpus"

COUNTING = """
(module
  (memory (export "memory") 1)
  (global $c (export "__witness_counter_0") (mut i64) (i64.const 0))
  (func (export "run_row_0") (result i32) (global.set $c (i64.add (global.get $c) (i64.const 1))) (i32.const 7))
  (func (export "run_row_1") (result f64) (i32.store (i32.const 16) (i32.const 5)) (f64.const 0.5)))
"""
TRAPPING = """
(module
  (global $c (export "__witness_counter_0") (mut i64) (i64.const 0))
  (func $up (global.set $c (i64.add (global.get $c) (i64.const 1))))
  (func (export "run_row_0") call $up)
  (func (export "run_row_1") call $up unreachable)
  (func (export "run_row_2") call $up))
"""
ENDLESS = '(module (func (export "run") (loop br 0)))'
START = '(module (global $g (export "g") (mut i32) (i32.const 0)) (func $s (global.set $g (i32.const 3))) (start $s) (func (export "run")))'
NOTHING = '(module (func (export "run")))'
INVALID = b"\0asm\1\0\0\0\1\4\1\x60\0\0\3\2\1\0\7\7\1\3run\0\0\x0a\5\1\3\0\x41\0"


def artifact(folder, name, text):
    path = folder / f"{name}.wasm"
    path.write_bytes(text if isinstance(text, bytes) else bytes(wasmtime.wat2wasm(text)))
    return path


def reports(*paths, subject="wasmtime-pulley", **options):
    events = list(run(Request(tuple(map(str, paths)), subject=subject, deadline_s=options.pop("deadline_s", 10.0), **options)))
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    found = {each.report.case: each.report for each in events if isinstance(each, CaseFinished)}
    assert len(found) == events[0].total == sum(isinstance(each, CaseFinished) for each in events)
    assert sum(isinstance(each, EngineProbed) for each in events) == 1
    return found


def capsule(report):
    return next(each for each in report.passes if each.mode == "capsule")


def test_equal_engines_agree_and_say_how_much_was_compared(tmp_path):
    report = reports(artifact(tmp_path, "counting", COUNTING))["counting"]
    assert (report.verdict, report.vacuous, report.rows) == ("agree", False, ("run_row_0", "run_row_1"))
    seen = capsule(report).agreement
    assert (seen.rows, seen.counters, seen.counters_nonzero, seen.pages) == (2, 1, 1, 1)


def test_rows_after_a_trap_run_on_a_new_instance(tmp_path):
    report = reports(artifact(tmp_path, "trapping", TRAPPING))["trapping"]
    assert report.verdict == "agree"
    seen = capsule(report)
    assert seen.oracle.words == "trapped: unreachable"
    assert seen.oracle.cost.executions >= 2
    assert seen.agreement.rows == 3


def test_a_subject_that_reports_nothing_at_a_trap_gets_the_same_verdict(tmp_path, standin_kilnd):
    report = reports(artifact(tmp_path, "trapping", TRAPPING), subject="kilnd", options={"kilnd": str(standin_kilnd())})["trapping"]
    assert report.verdict == "agree"
    assert any("trap" in each for each in report.not_done)


RESET_TRAPS = """
(module
  (func (export "__witness_row_reset") unreachable)
  (func (export "run_row_0"))
  (func (export "run_row_1") (result i32) (i32.const 2)))
"""


def test_a_trap_before_a_row_is_entered_is_that_rows_on_both_sides(tmp_path, standin_kilnd):
    report = reports(artifact(tmp_path, "resets", RESET_TRAPS), subject="kilnd", options={"kilnd": str(standin_kilnd())})["resets"]
    assert capsule(report).verdict == "agree", capsule(report).reason
    assert capsule(report).oracle.words == "trapped: unreachable"


def test_the_start_function_is_a_row_of_its_own(tmp_path):
    report = reports(artifact(tmp_path, "start", START))["start"]
    assert (report.verdict, report.rows) == ("agree", ("(start)", "run"))


def test_a_program_in_which_nothing_changes_agrees_vacuously(tmp_path):
    assert reports(artifact(tmp_path, "nothing", NOTHING))["nothing"].vacuous


def test_both_engines_timed_out_is_inconclusive_and_leaves_no_process(tmp_path):
    report = reports(artifact(tmp_path, "endless", ENDLESS), deadline_s=0.5)["endless"]
    assert report.verdict == "inconclusive"
    assert "both timed out" in report.reason


def test_an_artifact_that_the_oracle_refuses_is_put_to_the_subject_as_it_is(tmp_path):
    report = reports(artifact(tmp_path, "invalid", INVALID))["invalid"]
    assert report.verdict == "agree"
    direct = next(each for each in report.passes if each.mode == "direct")
    assert direct.subject.words.startswith("refused")


def test_what_cannot_be_run_is_skipped_with_its_reason_and_the_rest_goes_on(tmp_path):
    artifact(tmp_path, "good", COUNTING)
    (tmp_path / "empty.wasm").write_bytes(b"")
    artifact(tmp_path, "misspelt", COUNTING)
    (tmp_path / "misspelt.toml").write_text('rows = ["run_row_9"]\n')
    artifact(tmp_path, "broken", COUNTING)
    (tmp_path / "broken.toml").write_text("rowz = []\n")
    found = reports(tmp_path)
    assert {name: each.verdict for name, each in found.items()} == {
        "good": "agree", "empty": "skipped", "misspelt": "skipped", "broken": "skipped",
    }  # fmt: skip
    assert "empty" in found["empty"].reason
    assert "run_row_0" in found["misspelt"].reason
    assert "rows" in found["broken"].reason


def test_a_given_file_that_cannot_be_read_is_marked_and_the_rest_runs(tmp_path):
    good = artifact(tmp_path, "good", COUNTING)
    broken = artifact(tmp_path, "broken", COUNTING)
    (tmp_path / "broken.toml").mkdir()
    text = tmp_path / "text.wat"
    text.write_text("(module")
    empty = tmp_path / "empty.wasm"
    empty.write_bytes(b"")
    found = reports(good, broken, text, empty)
    assert {name: each.bad_input for name, each in found.items()} == {"good": False, "broken": True, "text": True, "empty": True}
    assert found["good"].verdict == "agree"
    assert len(found["text"].reason.splitlines()) > 2  # with the line and a mark below it
    assert not any(each.bad_input for each in reports(tmp_path).values())


def test_the_plan_digest_is_that_of_the_rows_too(tmp_path):
    path = artifact(tmp_path, "counting", COUNTING)
    one = reports(path)["counting"].plan
    (tmp_path / "counting.toml").write_text('rows = ["run_row_0"]\n')
    other = reports(path)["counting"].plan
    assert one
    assert other
    assert one != other


def test_the_report_does_not_depend_on_the_number_of_jobs():
    def results(jobs):
        found = reports(CORPUS / "01-decisions", CORPUS / "07-traps", jobs=jobs)
        return {
            name: (each.verdict, each.reason, each.plan, each.rows, [one.agreement for one in each.passes])
            for name, each in found.items()
        }

    assert results(1) == results(4)


def test_a_worker_that_is_killed_costs_no_other_case_its_verdict(tmp_path):
    for at in range(6):
        artifact(tmp_path, f"case{at}", COUNTING)
    found, killed = {}, False
    for event in run(Request((str(tmp_path),), subject="wasmtime-pulley", jobs=1)):
        if isinstance(event, CaseFinished):
            found[event.report.case] = event.report
            if not killed:
                killed = True
                children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
                os.kill(int(children[0]), signal.SIGKILL)
    assert len(found) == 6
    assert sum(each.verdict == "agree" for each in found.values()) >= 5


def test_no_engine_of_that_name_is_an_error_and_auto_falls_back_loudly(monkeypatch):
    monkeypatch.delenv("DIFFCHECK_KILND", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    chosen = choose(Request(("x",), subject="auto"))
    assert chosen.request.subject == "wasmtime-pulley"
    assert "compares Wasmtime with itself" in chosen.notice


def test_the_plan_runs_nothing_and_says_what_would_be_skipped(tmp_path):
    artifact(tmp_path, "counting", COUNTING)
    (tmp_path / "empty.wasm").write_bytes(b"")
    lines = {each.case: each for each in plan(Request((str(tmp_path),), subject="wasmtime-pulley"))}
    assert lines["counting"].rows == 2
    assert lines["counting"].skipped == ""
    assert "harness entry" in lines["counting"].direct
    assert lines["empty"].skipped


@pytest.mark.kilnd
def test_the_fused_component_agrees_in_all_counters_and_has_no_direct_pass(real_kilnd):
    path = CORPUS / "02-programs" / "json_check_fused.wasm"
    (report,) = reports(path, subject="kilnd", options={"kilnd": str(real_kilnd)}).values()
    assert report.verdict == "agree"
    assert capsule(report).agreement.counters == 1269
    direct = next(each for each in report.passes if each.mode == "direct")
    assert (direct.applicable, direct.why) == (False, "29 imports")


@pytest.mark.kilnd
def test_more_than_256_exports_agree_as_a_capsule_and_are_refused_as_they_are(real_kilnd):
    path = CORPUS / "08-limits" / "many_exports.wasm"
    (report,) = reports(path, subject="kilnd", options={"kilnd": str(real_kilnd)}).values()
    assert {each.mode: each.verdict for each in report.passes} == {"capsule": "agree", "direct": "diverge"}


def test_every_case_of_the_corpus_has_its_expected_verdict_on_the_embedded_subject():
    found = reports(CORPUS, jobs=2)
    assert len(found) >= 24
    wrong = {name: (each.verdict, each.reason) for name, each in found.items() if not each.as_expected}
    assert wrong == {}
    assert all(each.purpose for each in found.values())


def test_reports_survive_the_trip_through_json(tmp_path):
    report = reports(artifact(tmp_path, "trapping", TRAPPING))["trapping"]
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report


def test_a_cause_that_both_passes_show_has_one_signature(tmp_path, standin_kilnd, patched):
    text = """(module (global $c (export "__witness_counter_0") (mut i64) (i64.const 0))
      (func (export "run") (result i32) (global.set $c (i64.add (global.get $c) (i64.const 1))) (i32.wrap_i64 (global.get $c))))"""
    engine = patched(standin_kilnd(), "7e0142000b", "7e0142050b")
    (report,) = reports(artifact(tmp_path, "counted", text), subject="kilnd", options={"kilnd": str(engine)}).values()
    in_capsule, direct = report.passes
    assert [each.kind for each in in_capsule.divergences] == ["result", "counter"]
    assert [each.kind for each in direct.divergences] == ["counter"]
    assert in_capsule.signatures == direct.signatures
    assert len(direct.signatures) == 1


def test_a_single_case_that_is_watched_keeps_the_engine_findings(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(runs, "Setup", lambda *values, **live: seen.append(live) or Setup(*values))
    found = reports(artifact(tmp_path, "case", COUNTING), verbose=True)  # which asserts that there was one probe
    assert found["case"].verdict == "agree"
    assert seen == [{"live": True, "ask": True}, {}]
