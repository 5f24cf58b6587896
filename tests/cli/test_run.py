"""The run command over a runner that is a list of events."""

import os
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


def test_what_was_finished_before_ctrl_c_is_reported(called):
    def events():
        yield from samples.events(samples.CASES[:3], finished=False)
        raise KeyboardInterrupt

    code, out, _, _, path = called(events)
    assert code == 130
    report = json_file.read(path)
    assert report.interrupted
    assert len(report.cases) == 3
    assert "interrupted" in out


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
    assert "the run was ended by an error" in out
    assert len(json_file.read(path).cases) == 3
