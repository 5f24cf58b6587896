"""SIGINT and SIGTERM end every command with 130 and a line about it, and what is incomplete is not reported as complete."""

from __future__ import annotations

import contextlib
import re
import signal
from itertools import islice
from pathlib import Path

import pytest
import wasmtime

from diffcheck import probe
from diffcheck.cli import sweep as sweep_command
from diffcheck.cli.main import run
from diffcheck.hunt.explore.call_search import CallSearch
from diffcheck.hunt.explore.exploration import Exploration
from diffcheck.hunt.hunt import Hunt
from diffcheck.report import command_tables
from diffcheck.runner import run as runs
from diffcheck.runner.sweep import operations
from diffcheck.runner.sweep.sweep import Sweep
from diffcheck.triage.workflow import TriageWorkflow

CORPUS = Path(__file__).parents[2] / "corpus"
COUNTS = '(module (func (export "bits") (param i32) (result i32) (i32.popcnt (local.get 0))))'
CONSTANT = '(module (func (export "one") (result i32) (i32.const 1)))'
SUBJECT = ("--subject", "wasmtime-pulley")


def _ignore(_number, _frame):
    """What SIGTERM does outside a command, so that no test ends the tests."""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def interrupted_in(request, monkeypatch, tmp_path, capsys):
    """Calls a command that receives a signal when it calls a function; gives what it printed. Its exit code is 130."""
    (tmp_path / "one.wasm").write_bytes(wasmtime.wat2wasm(CONSTANT))
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGTERM, _ignore)

    def call(owner, name, *arguments):
        work = getattr(owner, name)

        def signalled(*given, **options):
            signal.raise_signal(request.param)
            return work(*given, **options)

        with monkeypatch.context() as patched:
            patched.setattr(owner, name, signalled)
            assert run(list(arguments)) == 130
        assert signal.getsignal(signal.SIGTERM) is _ignore
        return "".join(capsys.readouterr())

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def small_sweep(monkeypatch):
    """The sweep has two instructions."""
    every = operations.of
    monkeypatch.setattr(operations, "of", lambda families: islice(every(families), 2))


def test_an_interruption_that_a_deferred_import_discarded_is_no_defect(monkeypatch, capsys):
    def executed(*_):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ImportError("cannot import name")

    monkeypatch.setattr(command_tables, "doctor", executed)
    monkeypatch.setattr(probe, "diagnose", lambda *_: ())
    assert run(["doctor"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_a_command_that_polls_nothing_ends_at_once(interrupted_in):
    assert interrupted_in(probe, "diagnose", "doctor").strip() == "error: interrupted"


@pytest.mark.usefixtures("small_sweep")
def test_a_sweep_writes_no_map(interrupted_in):
    assert "stopped   interrupted; no map was written\n" in interrupted_in(Sweep, "run", "sweep", *SUBJECT)
    assert not Path("reports/sweep/sweep.json").exists()


@pytest.mark.usefixtures("small_sweep")
def test_a_sweep_whose_cases_were_not_all_run_keeps_the_last_map(interrupted_in, monkeypatch):
    assert run(["sweep", *SUBJECT, "--budget", "1"]) == 0
    whole = Path("reports/sweep/sweep.json").read_bytes()

    def written(_rows, folder, _programs):
        folder.mkdir(exist_ok=True)
        (folder / "one.wasm").write_bytes(Path("one.wasm").read_bytes())
        return {"one": "one"}

    monkeypatch.setattr(sweep_command, "_write_cases", written)
    output = interrupted_in(runs, "_journal", "sweep", *SUBJECT, "--budget", "1")
    assert "error: interrupted" in output
    output = interrupted_in(runs, "_events", "sweep", *SUBJECT, "--budget", "1")
    assert "stopped   interrupted; no map was written\n" in output
    assert "--resume" not in output
    assert Path("reports/sweep/sweep.json").read_bytes() == whole


@pytest.mark.usefixtures("small_sweep")
@pytest.mark.parametrize(
    ("owner", "name", "missing"),
    [(Sweep, "run", "the sweep and the cases"), (runs, "_journal", "the cases"), (runs, "_events", "the cases")],
)
def test_a_gate_ends_with_what_is_missing_and_without_a_verdict(interrupted_in, owner, name, missing):
    output = interrupted_in(owner, name, "gate", "wasmtime-pulley", "one.wasm", "--budget", "1")
    assert f"gate      exit code 130, interrupted: {missing} of wasmtime-pulley did not complete\n" in output
    assert "exit code 0" not in output
    assert "exit code  0" not in output
    assert "by cause" not in output


@pytest.mark.usefixtures("small_sweep")
def test_a_gate_whose_other_build_was_interrupted_does_not_check_the_build(interrupted_in):
    output = interrupted_in(Sweep, "run", "gate", "wasmtime", "one.wasm", "--budget", "1", "--against", "wasmtime-pulley")
    assert output.count("interrupted") == 2
    assert "the cases of wasmtime-pulley" in output


def test_a_matrix_is_not_written(interrupted_in):
    output = interrupted_in(runs, "_events", "matrix", "one.wasm", "--engine", "wasmtime-pulley")
    assert "stopped   interrupted; no matrix was written\n" in output


def test_a_hunt_can_be_resumed(interrupted_in, capsys):
    output = interrupted_in(Hunt, "check_finds", "hunt", *SUBJECT)
    assert "stopped   interrupted; the same command with --resume continues\n" in output
    assert run(["hunt", *SUBJECT, "--time", "1", "--sources", "generate", "--resume"]) == 0
    assert "interrupted" not in capsys.readouterr().out


def test_a_search_is_reported_as_interrupted(interrupted_in):
    artifact = str(CORPUS / "01-decisions/triangle.wasm")
    assert interrupted_in(Exploration, "run", "explore", artifact).strip() == "error: interrupted"
    assert "stopped   interrupted before the search ended\n" in interrupted_in(CallSearch, "run", "explore", artifact)


@pytest.mark.parametrize("command", ["triage", "reduce", "reproduce", "export-wast"])
def test_a_triage_is_resumed_by_the_same_command(interrupted_in, command):
    output = interrupted_in(TriageWorkflow, "find", command, "one.wasm", *SUBJECT)
    assert re.search("^stopped +interrupted; the same command resumes$", output, re.MULTILINE)


def test_a_reproduction_that_was_not_tried_is_not_reported_as_impossible(interrupted_in, standin_kilnd, patched):
    Path("one.wasm").write_bytes(wasmtime.wat2wasm(COUNTS))
    engine = f"kilnd:{patched(standin_kilnd(), '200069', '200068')}"
    output = interrupted_in(TriageWorkflow, "write", "reproduce", "one.wasm", "--subject", engine, "--rows", "bits=6")
    assert "\nstopped     interrupted; the same command resumes\n" in output
    assert "\nstandalone" not in output
