"""The whole way from a divergence to a folder: what stands in it is true, it is taken up again, and a flaky case is not triaged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import wasmtime

from diffcheck.cli import main as entry
from diffcheck.runner.request import Request
from diffcheck.triage import workflow
from diffcheck.triage.reduce.interestingness import BudgetExhausted, TimeBudget
from diffcheck.triage.session import Session
from diffcheck.triage.target import find
from diffcheck.triage.triage_folder import STEPS, State, TriageFolder
from diffcheck.triage.workflow import TriageWorkflow
from diffcheck.triage.writeup.reproducer import Reproduction
from tests.conftest import DOUBLES, _executable
from tests.wasm.oracle import refusal

PROGRAM = """
(module
  (memory 1)
  (global $g (mut i32) (i32.const 0))
  (func $magic (result i32) (i32.const 1000001))
  (func $sum (param $n i32) (result i32) (local $s i32)
    (loop $again
      (local.set $s (i32.add (local.get $s) (local.get $n)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $s))
  (func (export "f") (param i32) (result i32)
    (i32.store (i32.const 8) (call $sum (i32.const 50)))
    (if (result i32) (i32.gt_s (local.get 0) (i32.const 5))
      (then (i32.add (call $magic) (i32.load (i32.const 8))))
      (else (call $sum (local.get 0)))))
  (func (export "g") (result i32) (call $sum (i32.const 3))))
"""
RIGHT, WRONG = "41c1843d", "41c2843d"
CASE = 'rows = ["g", "f=3", "f=77"]\n'


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "magic's $(name).wasm"
    path.write_bytes(wasmtime.wat2wasm(PROGRAM))
    path.with_suffix(".toml").write_text(CASE)
    return path


@pytest.fixture
def engine(standin_kilnd: Callable[..., Path], patched: Callable[..., Path]) -> Path:
    return patched(standin_kilnd(), RIGHT, WRONG)


def _state(folder: Path) -> State:
    return msgspec.json.decode((folder / "triage.json").read_bytes(), type=State)


def test_rows_of_the_command_are_those_in_which_the_artifact_is_localised(engine: Path, tmp_path: Path) -> None:
    artifact, folder = tmp_path / "small.wasm", tmp_path / "out"
    artifact.write_bytes(wasmtime.wat2wasm('(module (func (export "f") (param i32) (result i32) (i32.const 1000001)))'))
    arguments = ["triage", str(artifact), "--rows", "f=77", "--subject", "kilnd", "--kilnd", str(engine), "-o", str(folder)]
    assert entry.run(arguments) == 1
    state = _state(folder)
    assert state.localised is not None, state.not_localised
    assert state.localised.instruction == "i32.const 1000001"


def test_a_divergence_becomes_a_folder_whose_script_shows_it(
    artifact: Path, engine: Path, tmp_path: Path, standin_wasi: Callable[..., Path]
) -> None:
    folder = tmp_path / "out"
    arguments = ["triage", str(artifact), "--subject", "kilnd", "--kilnd", str(engine), "-o", str(folder)]
    arguments += ["--judge", f"wasi:{standin_wasi()}"]
    assert entry.run(arguments) == 1
    state = _state(folder)
    assert state.done == STEPS
    assert "Wasi-engine agrees with the oracle: the subject stands alone." in (folder / "issue.md").read_text()
    assert len(state.rows) == 1
    assert state.rows[0].startswith("f=")
    assert state.localised is not None
    assert state.localised.instruction == "i32.const 1000001"
    assert state.before is not None
    assert state.after is not None
    assert state.after.code < state.before.code / 3
    reduced = (folder / artifact.name).read_bytes()
    assert refusal(reduced) == ""
    assert bytes.fromhex(RIGHT) in reduced

    script = str(folder / "reproduce.sh")
    environment = {**os.environ, "PYTHON": sys.executable}
    answers = {}
    for given in ((), (str(engine),), ("wasmtime",), ("/bin/false",), ("/bin/true",), ("/no/such/engine",)):
        ended = subprocess.run([script, *given], env=environment, capture_output=True, text=True, cwd="/", check=False)
        answers[given] = ended.returncode
    assert list(answers.values()) == [1, 1, 0, 125, 125, 125], "as git bisect run expects it"
    issue = (folder / "issue.md").read_text()
    assert issue.startswith("# i32.const returns 1000002, not 1000001\n")
    assert "with `counter 0: 1000001`" in issue
    assert "with `counter 0: 1000002`" in issue
    assert "wasmtime run -W all-proposals=y --invoke observed standalone.wasm" in issue
    assert str(tmp_path) not in issue.replace(str(engine), "")
    if (folder / "reproduce.wast").exists():  # where a tool prints modules
        assert "(i32.const 1000001))" in (folder / "reproduce.wast").read_text().splitlines()[-1]

    before = (folder / "log.txt").read_text()
    assert entry.run(arguments) == 1
    again = (folder / "log.txt").read_text().removeprefix(before).splitlines()
    assert all("without diffcheck" in line or "text form" in line for line in again), again


def test_another_judge_starts_a_new_triage(artifact: Path, tmp_path: Path) -> None:
    folder = TriageFolder(tmp_path / "out")
    resumed = []
    for judges in ((), (), ("wasmtime-pulley",)):
        request = Request((str(artifact),), subject="wasmtime-pulley", judges=judges)
        with Session(request, find(str(artifact), None, ""), TimeBudget(None), lambda _: None) as session:
            steps = TriageWorkflow(session, folder, lambda _: None)
            folder.save(steps.state)
            resumed.append(steps.resumed)
    assert resumed == [False, True, False]


def test_a_flaky_divergence_is_told_and_not_chased(
    artifact: Path, standin_kilnd: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flaky = _executable(
        tmp_path / "flaky", DOUBLES / "flaky_engine.py", (str(tmp_path / "runs"), RIGHT, WRONG, str(standin_kilnd()))
    )
    folder = tmp_path / "out"
    arguments = ["triage", str(artifact), "--subject", "kilnd", "--kilnd", str(flaky), "-o", str(folder), "--jobs", "1"]
    assert entry.run(arguments) == 3
    assert "not triaged" in capsys.readouterr().out
    assert _state(folder).flaky
    assert not list(folder.glob("*.wasm"))


def _command(artifact: Path, engine: Path, folder: Path) -> list[str]:
    options = ["--subject", "kilnd", "--kilnd", str(engine), "-o", str(folder)]
    return [sys.executable, "-m", "diffcheck", "triage", str(artifact), *options]


def _valid(folder: Path) -> None:
    """Whatever stands in a folder can be read, and is valid."""
    if (folder / "triage.json").exists():
        _state(folder)
    for each in folder.glob("*.wasm"):
        assert refusal(each.read_bytes()) == ""


@pytest.mark.whole
def test_killed_at_any_moment_it_goes_on(artifact: Path, engine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = _command(artifact, engine, folder)
    for wait_s in (3.0, 6.0):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(wait_s)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        _valid(folder)
    assert entry.run(command[3:]) == 1
    assert _state(folder).done == STEPS


def test_an_interrupted_triage_ends_at_once_and_goes_on_with_what_it_had(artifact: Path, engine: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = _command(artifact, engine, folder)
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True)
    until = time.monotonic() + 120
    while time.monotonic() < until and not ((folder / "triage.json").exists() and _state(folder).done):
        time.sleep(0.05)
    begun = time.monotonic()
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does it: the whole group
    said, _ = child.communicate(timeout=30)
    assert time.monotonic() - begun < 3
    assert child.returncode == 130
    assert "stopped   interrupted; the same command resumes" in said
    _valid(folder)
    assert _state(folder).done[:1] == ("confirm",)
    assert entry.run([*command[3:], "--budget", "4"]) == 1
    log = (folder / "log.txt").read_text()
    assert log.count("reruns show it") == 1
    assert (folder / "issue.md").exists()


_BUSY_S = 1.0
"""What the start of one execution may take on a machine that other tests share."""


@pytest.mark.whole
def test_a_budget_is_kept_and_what_there_is_by_then_is_written(artifact: Path, engine: Path, tmp_path: Path) -> None:
    folder, budget_s = tmp_path / "out", 4.0
    begun = time.monotonic()
    assert entry.run([*_command(artifact, engine, folder)[3:], "--budget", str(budget_s), "--jobs", "1"]) == 1
    assert time.monotonic() - begun < 1.1 * budget_s + _BUSY_S
    _valid(folder)
    if (folder / "triage.json").exists():  # on a busy machine not even the first run is done by then
        assert "result 0" in (folder / "issue.md").read_text()
        assert os.access(folder / "reproduce.sh", os.X_OK)


@pytest.mark.whole
def test_what_was_not_reduced_in_its_part_of_the_time_is_localised_all_the_same(
    artifact: Path, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    command = _command(artifact, engine, folder)[3:]

    def spent(self: TriageWorkflow) -> bool:
        self._better(self.base)  # as far as it came
        raise BudgetExhausted

    with monkeypatch.context() as only:
        only.setattr(TriageWorkflow, "reduce", spent)
        assert entry.run(command) == 1
    state = _state(folder)
    assert state.done == ("confirm", "minimise", "write")
    assert state.localised is not None
    assert state.localised.instruction == "i32.const 1000001"
    before = state.localised_reduced
    assert before is not None
    _valid(folder)
    assert entry.run(command) == 1
    assert _state(folder).done == STEPS
    reduced = _state(folder).localised_reduced
    assert reduced is not None
    assert reduced.depth == "instruction"
    assert reduced.events < before.events, "it is localised in what it was reduced to"


def test_a_part_of_the_time_leaves_the_rest_and_what_is_reserved() -> None:
    budget = TimeBudget(100.0)
    budget.reserve(20.0)
    with budget.part(0.5):
        assert 39 < budget.left_s() <= 40
        budget.reserve(90.0)  # a third at most
        assert 39 < budget.left_s() <= 40
    assert 66 < budget.left_s() <= 67
    budget.release()
    assert 99 < budget.left_s() <= 100
    with TimeBudget(None).part(0.5):
        assert TimeBudget(None).left_s() == 86_400


@pytest.mark.whole
def test_an_artifact_named_as_what_is_written_is_not_overwritten(artifact: Path, engine: Path, tmp_path: Path) -> None:
    named, folder = tmp_path / "standalone.wasm", tmp_path / "out"
    named.write_bytes(artifact.read_bytes())
    named.with_suffix(".toml").write_text(CASE)
    assert entry.run(_command(named, engine, folder)[3:]) == 1
    assert {each.name for each in folder.glob("*.wasm")} == {"standalone.wasm", "standalone-plain.wasm"}
    assert b"__witness_counter_0" not in (folder / "standalone.wasm").read_bytes()
    assert "WITNESS_MODULE=standalone-plain.wasm" in (folder / "issue.md").read_text()
    assert "standalone-plain.wasm" in (folder / "reproduce.sh").read_text()


@pytest.mark.whole
def test_an_earlier_stage_is_what_plain_commands_show_where_the_last_one_needs_the_driver(
    artifact: Path, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    most = 80  # bytes: what is smaller does not show it, as if the driver counted

    def reproduction(session, symptom, wasm, rows, found=None):  # type: ignore[no-untyped-def]
        made = original(session, symptom, wasm, rows, found)
        return made if len(wasm) > most else Reproduction(why="it needs the driver", driver=True)

    original = workflow.reproduction
    monkeypatch.setattr(workflow, "reproduction", reproduction)
    assert entry.run(_command(artifact, engine, folder)[3:]) == 1
    assert _state(folder).standalone == ""
    assert len((folder / artifact.name).read_bytes()) <= most < len((folder / f"{artifact.stem}.earlier.wasm").read_bytes())
    assert "from an earlier reduction stage" in (folder / "issue.md").read_text()
    first = (folder / "standalone.wasm").read_bytes()
    (folder / "triage.json").write_text((folder / "triage.json").read_text().replace('"reduce",', ""))
    assert entry.run(_command(artifact, engine, folder)[3:]) == 1
    assert len((folder / "standalone.wasm").read_bytes()) <= len(first), "what there was is not lost"
