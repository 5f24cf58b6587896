"""The run command over a runner that is a list of events."""

import os
import re
import signal

import pytest

from diffcheck.cli import main as entry
from diffcheck.errors import EngineMissingError
from diffcheck.report import json_file
from tests.report import samples


@pytest.fixture
def called(monkeypatch, tmp_path, capsys):
    def call(events, *arguments):
        requests = []

        def run(request):
            requests.append(request)
            yield from events()

        monkeypatch.setattr("diffcheck.runner.run.run", run)
        code = entry.run(["run", "some.wasm", "--reports", str(tmp_path / "reports"), *arguments])
        seen = capsys.readouterr()
        return code, seen.out, seen.err, requests, tmp_path / "reports" / "report.json"

    return call


def test_results_go_to_stdout_progress_to_stderr_and_the_report_to_its_folder(called):
    code, out, err, _, path = called(samples.events)
    assert code == 1
    assert "counter 17" in out
    assert "[1/8]" in err
    assert "[1/8]" not in out
    assert len(json_file.read(path).cases) == 8
    assert "report.json" in out


def test_options_become_the_request(called, monkeypatch):
    monkeypatch.setenv("DIFFCHECK_MODE", "direct")
    _, _, _, (request,), path = called(
        samples.events, "--memory-limit", "1GiB", "--jobs", "3", "--kilnd", "/k", "--only", "a*", "--only", "b"
    )
    assert (request.paths, request.memory_bytes, request.jobs, request.mode) == (("some.wasm",), 1 << 30, 3, "direct")
    assert (request.options, request.only, request.deadline_s, request.max_passes) == ({"kilnd": "/k"}, ("a*", "b"), 10.0, 1000)
    recorded = json_file.read(path).options
    assert recorded["mode"] == "direct"
    assert recorded["only"] == "a*, b"
    assert "jobs" not in recorded


def test_what_was_finished_before_ctrl_c_is_reported(called, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")

    def events():
        yield from samples.events(samples.CASES[:3], finished=False, total=8)
        raise KeyboardInterrupt

    code, out, _, _, path = called(events)
    assert code == 130
    report = json_file.read(path)
    assert report.interrupted
    assert len(report.cases) == 3
    assert "3 of 8 cases" in out
    assert "; interrupted" in out
    resume = next(line for line in out.splitlines() if line.startswith("next "))
    assert resume.split() == ["next", "diffcheck", "run", "some.wasm", "--reports", str(path.parent), "--resume"]
    assert report.planned == 8


def test_sigterm_ends_a_run_as_ctrl_c_does(called):
    def events():
        yield from samples.events(samples.CASES[:3], finished=False)
        os.kill(os.getpid(), signal.SIGTERM)
        yield from ()

    before = signal.getsignal(signal.SIGTERM)
    assert called(events)[0] == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_before_the_run_began_writes_nothing(called):
    def events():
        raise KeyboardInterrupt
        yield

    code, out, err, _, path = called(events)
    assert (code, out, err.strip()) == (130, "", "error: interrupted")
    assert not path.exists()


def test_an_error_of_the_runner_is_a_line_and_a_hint(called):
    def events():
        raise EngineMissingError("kilnd was not found", hint="give --kilnd PATH")
        yield

    code, _, err, _, _ = called(events)
    assert code == 2
    assert err == "error: kilnd was not found\nhint: give --kilnd PATH\n"


def test_a_defect_of_our_own_is_no_divergence(called):
    def events():
        raise ValueError("odd \x1b[31m")
        yield

    code, _, err, _, _ = called(events)
    assert code == 2
    assert "ValueError" in err
    assert "error: this is a defect of diffcheck" in err
    assert "\x1b" not in err


def test_what_was_finished_before_an_error_is_reported_and_the_error_is_told(called):
    def events():
        yield from samples.events(samples.CASES[:3], finished=False)
        raise EngineMissingError("kilnd is gone", hint="look for it")

    code, out, err, _, path = called(events)
    assert code == 2
    assert "error: kilnd is gone" in err
    assert "an error ended the run" in out
    assert len(json_file.read(path).cases) == 3


def test_quiet_prints_only_the_totals(called):
    _, out, err, _, _ = called(samples.events, "-q")
    assert err == ""
    assert re.fullmatch(r"8 cases: [^.]* in [\d.]+ s exit code 1, [^.]*", " ".join(out.split()))


@pytest.mark.parametrize("given", [True, False])
def test_quiet_names_a_file_that_cannot_be_used(called, given):
    reason = "it is not a core module: " + "x" * 200
    bad = samples.case("odd/text", [], "skipped", reason=reason, bad_input=given)
    as_expected = samples.case("odd/old", [], "skipped", expected="skipped")
    code, out, _, _, _ = called(lambda: samples.events((*samples.CASES[3:4], bad, as_expected)), "-q")
    assert code == (2 if given else 3)
    assert [each for each in out.splitlines() if ".wasm" in each] == [f"corpus/odd/text.wasm: {reason}"]


def test_a_run_stops_at_the_first_failing_case_and_can_be_resumed(called):
    closed = []

    def events():
        try:
            yield from samples.events(tuple(reversed(samples.CASES)))
        finally:
            closed.append(True)

    code, out, _, _, path = called(events, "-x")
    report = json_file.read(path)
    assert code == 3  # the first one that fails is skipped, and agreement was expected
    assert [each.case for each in report.cases] == ["odd/empty", "odd/memories", "odd/refused"]
    assert "3 of 8 cases" in out
    assert "stopped at the first failing case" in " ".join(out.split())
    assert "--resume" in out
    assert closed


def test_only_the_cases_that_failed_are_run_again(called):
    assert called(samples.events)[0] == 1
    _, _, _, (request,), _ = called(samples.events, "--last-failed")
    assert request.ids == ("decisions/leap_year", "decisions/triangle", "memory/grow", "odd/memories")


def test_without_a_failed_case_all_are_run(called):
    called(lambda: samples.events(samples.CASES[3:4]))
    _, _, err, (request,), _ = called(samples.events, "--last-failed")
    assert request.ids == ()
    assert "no case failed in the last report" in err


@pytest.mark.parametrize(
    ("given", "calls", "rows"),
    [
        (["--rows", "f=1,2", "--rows", "g"], ("f=1,2", "g"), "declared"),
        (["--auto-rows"], (), "auto"),
        (["--rows", "auto"], (), "auto"),
        (["--rows", "declared"], (), "declared"),
        (["--auto-rows", "--rows", "g"], ("g",), "auto"),
    ],
)
def test_rows_replace_those_of_the_case_file(called, given, calls, rows):
    _, _, err, (request,), path = called(samples.events, *given)
    assert (request.calls, request.rows) == (calls, rows)
    assert err.count("`--rows auto` is now `--auto-rows`") == ("auto" in given)
    recorded = json_file.read(path).options
    assert recorded.get("auto-rows", "false") == ("true" if rows == "auto" else "false")


def test_live_progress_names_what_the_baseline_knows(called, tmp_path):
    signature = samples.COUNTER.signature
    (tmp_path / "baseline.toml").write_text(
        f'[[known]]\nsignature = "{signature}"\nwhat = "x"\ncases = ["decisions/leap_year", "decisions/triangle"]\n'
        'modes = ["capsule"]\nrows = []\nsince = { subject = "kilnd", version = "0.4.4", sha256 = "ab" }\n'
    )
    _, _, err, _, _ = called(samples.events, "--baseline", str(tmp_path / "baseline.toml"))
    verdicts = {line.split()[2]: line.split()[1] for line in err.splitlines() if line.startswith("[")}
    assert (verdicts["decisions/leap_year"], verdicts["memory/grow"]) == ("known", "diverge")


def test_engine_findings_are_one_line_each_and_in_full_on_request(called, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    _, out, _, _, _ = called(samples.events)
    assert out.count("missing memory import") == 1
    assert "(core specification, instantiation)" not in " ".join(out.split())
    _, out, _, _, _ = called(samples.events, "-v")
    assert "(core specification, instantiation)" in " ".join(out.split())
