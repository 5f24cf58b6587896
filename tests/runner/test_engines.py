"""Which engine is run: found on PATH, asked one known answer before the first case, and the same one until the end."""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path

import pytest
import wasmtime

from diffcheck.cli.main import run as command
from diffcheck.errors import EngineMissingError, EngineUnusableError
from diffcheck.report import json_file
from diffcheck.report.model import exit_code
from diffcheck.runner.engine_files import BuildWatch, build
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.runner.worker import Failed, Unusable, _failure
from diffcheck_backends import command_line, wasi

COUNTING = """
(module
  (global $c (export "__witness_counter_0") (mut i64) (i64.const 0))
  (func (export "run_row_0") (result i32) (global.set $c (i64.add (global.get $c) (i64.const %d))) (i32.const 7)))
"""
NO_ENGINES = {
    "a program that prints": "harness:/bin/ls",
    "a program that succeeds": "harness:true",
    "a mistyped command": "harness:kilndd --fast",
    "a mistyped shell line": "harness:kilndd && true",
    "a script that fails": "harness:python -c 'import no_such_module'",
    "a kilnd that is none": "kilnd:/bin/ls",
    "a printing program without an image": "wasi:ls",
    "a program that prints the module": "wasi:cat",
}
COMMANDS = {
    "run": ("run", "--subject"),
    "run verbosely": ("run", "-v", "--subject"),
    "localise": ("localise", "--subject"),
    "explain": ("explain", "--subject"),
    "triage": ("triage", "--subject"),
    "reduce": ("reduce", "--subject"),
    "snapshot": ("snapshot", "--backend"),
}


@pytest.fixture
def artifacts(tmp_path):
    """Makes a folder of that many small artifacts, each another program."""

    def make(count):
        folder = tmp_path / "artifacts"
        folder.mkdir()
        for at in range(count):
            (folder / f"case-{at:02}.wasm").write_bytes(wasmtime.wat2wasm(COUNTING % (at + 1)))
        return folder

    return make


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def reports(folder, subject, **options):
    events = run(Request((str(folder),), subject=subject, **options))
    return {event.report.case: event.report for event in events if isinstance(event, CaseFinished)}


# A known answer first.


@pytest.mark.parametrize("subject", NO_ENGINES.values(), ids=NO_ENGINES)
def test_a_program_that_is_no_engine_ends_the_run_before_any_case_has_a_verdict(artifacts, subject):
    with pytest.raises(EngineUnusableError, match="does not behave like an engine: .*") as raised:
        reports(artifacts(2), subject)
    assert raised.value.exit_code == 2
    assert "doctor" in raised.value.hint


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_command_that_runs_an_engine_asks_it_first(artifacts, tmp_path, monkeypatch, capsys, words):
    path = next(artifacts(1).iterdir())
    monkeypatch.chdir(tmp_path)
    assert command([*words, "harness:kilndd", str(path)]) == 2
    said = capsys.readouterr().err
    assert "harness:kilndd does not behave like an engine: harness failed: exited 127" in said
    assert "not found" in said


@pytest.mark.parametrize("words", [("selftest", "--engine"), ("imports", "--probe", "--subject")])
def test_commands_without_an_artifact_ask_first_as_well(capsys, words):
    assert command([*words, "harness:kilndd"]) == 2
    assert "does not behave like an engine" in capsys.readouterr().err


def test_an_oracle_that_is_a_users_command_is_asked_too(artifacts):
    with pytest.raises(EngineUnusableError, match="harness:true does not behave"):
        list(run(Request((str(artifacts(1)),), subject="wasmtime-pulley", oracle="harness:true")))


def test_what_the_program_said_is_shown(artifacts, tmp_path):
    engine = script(tmp_path / "engine", "echo 'this needs a licence' >&2; exit 0")
    with pytest.raises(EngineUnusableError, match="it printed: this needs a licence"):
        reports(artifacts(1), f"harness:{engine}")


@pytest.mark.parametrize("spec", ["wasi", "harness"])
@pytest.mark.parametrize("length", [1, 700])
def test_the_last_line_of_a_failing_program_is_shown_once_and_without_a_private_path(artifacts, tmp_path, spec, length):
    module = {"wasi": "$1", "harness": "$WITNESS_MODULE"}[spec]
    for ending in ("exit 3", "kill -SEGV $$"):
        engine = script(tmp_path / "engine", f'echo "cannot open {module}: {"!" * length} give up" >&2; {ending}')
        with pytest.raises(EngineUnusableError) as found:
            reports(artifacts(1) if not (tmp_path / "artifacts").exists() else tmp_path / "artifacts", f"{spec}:{engine}")
        assert str(found.value).count("give up") == 1
        assert str(found.value).count("cannot open module.wasm") == (length == 1)
        assert "/module.wasm" not in str(found.value)


TRACEBACK = """#!/usr/bin/env python3
import sys
sys.stderr.write("one\\n")
raise RuntimeError("no licence")
"""


@pytest.mark.parametrize("spec", ["kilnd", "harness", "wasi"])
def test_what_a_failing_program_printed_is_shown_in_lines_or_by_its_last_one(artifacts, tmp_path, capsys, spec):
    folder, engine = artifacts(1), script(tmp_path / "engine", f"{'echo far >&2;' * 200} echo one >&2; exec nosuch")
    assert command(["run", str(folder), "--subject", f"{spec}:{engine}", "--reports", str(tmp_path / "reports")]) == 2
    said = capsys.readouterr()
    assert "; far; one; " in said.err
    assert "nosuch: not found)" in said.err
    assert "\\x0a" not in said.err
    assert " against " not in said.err
    engine.write_text(TRACEBACK)
    assert command(["run", str(folder), "--subject", f"{spec}:{engine}", "--reports", str(tmp_path / "reports")]) == 2
    assert "the program around the engine failed (RuntimeError: no licence)" in capsys.readouterr().err


@pytest.mark.parametrize("verbose", [[], ["-v"]])
@pytest.mark.parametrize("spec", ["kilnd", "harness"])
def test_no_version_is_shown_of_a_program_that_is_no_engine(artifacts, tmp_path, capsys, spec, verbose):
    program = script(tmp_path / "ls", "echo 'ls (some tools) 9.1'")
    words = ["run", f"{artifacts(1)}/case-00.wasm", "--subject", f"{spec}:{program}", "--reports", str(tmp_path / "reports")]
    assert command([*words, *verbose]) == 2
    said = capsys.readouterr().err
    assert "9.1" not in said
    assert "does not behave like an engine" in said


def test_an_engine_that_is_only_wrong_or_slow_is_an_engine(artifacts, standin_kilnd, tmp_path):
    folder = artifacts(1)
    assert reports(folder, f"kilnd:{standin_kilnd('--fault', 'lie')}")["case-00"].verdict == "diverge"
    slow = script(tmp_path / "slow", f"sleep 1; exec {standin_kilnd()}")
    assert reports(folder, f"harness:{slow}", deadline_s=0.2, mode="capsule")["case-00"].verdict != "agree"


@pytest.mark.whole
def test_a_program_that_never_answers_is_no_engine(artifacts, tmp_path):
    silent = script(tmp_path / "silent", "exec sleep 600")
    with pytest.raises(EngineUnusableError, match="timed out after 20 s"):
        reports(artifacts(1), f"harness:{silent}", deadline_s=0.2)


def test_the_known_answer_is_remembered_for_these_files(artifacts, tmp_path, standin_kilnd):
    log, inner = tmp_path / "log", standin_kilnd()
    engine = script(tmp_path / "bin" / "engine", f'echo "$WITNESS_MODULE" >> {log}; exec {inner}')
    folder, cache = artifacts(1), str(tmp_path / "cache")
    first = reports(folder, f"harness:{engine}", cache=cache, mode="capsule")
    runs = len(log.read_text().splitlines())
    assert (
        reports(folder, f"harness:{engine}", cache=cache, mode="capsule")["case-00"].verdict == first["case-00"].verdict == "agree"
    )
    assert len(log.read_text().splitlines()) == runs
    script(engine, "exit 0")
    with pytest.raises(EngineUnusableError):
        reports(folder, f"harness:{engine}", cache=cache, mode="capsule")


def test_no_case_goes_before_the_answer_is_there(artifacts, tmp_path):
    """Two workers: the second one has a case in hand while the first one still asks."""
    engine = script(tmp_path / "engine", "sleep 1; exit 0")
    seen = []
    with pytest.raises(EngineUnusableError):
        seen.extend(run(Request((str(artifacts(4)),), subject=f"harness:{engine}", jobs=2, mode="capsule")))
    assert not [event for event in seen if isinstance(event, CaseFinished)]


# Found on PATH.


@pytest.fixture
def on_path(tmp_path, monkeypatch):
    """A folder on the user's PATH, which no worker's PATH has."""
    folder = tmp_path / "on-path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize("line", ["wasi:own-wasi", "wasi:own-wasi {}", "harness:own-harness", "harness:own-harness || exit 9"])
def test_an_engine_on_the_users_path_runs_in_every_worker(artifacts, on_path, standin_kilnd, standin_wasi, line):
    script(on_path / "own-wasi", f'exec {standin_wasi()} "$@"')
    script(on_path / "own-harness", f"exec {standin_kilnd()}")
    found = reports(artifacts(3), line, jobs=2, mode="capsule")
    assert {each.verdict for each in found.values()} == {"agree"}, [each.reason for each in found.values()]


def test_a_script_finds_its_interpreter_where_the_user_does(artifacts, on_path, standin_kilnd):
    script(on_path / "own-interpreter", f"exec {standin_kilnd()}")
    engine = on_path / "own-engine"
    engine.write_text("#!/usr/bin/env own-interpreter\n")
    engine.chmod(0o755)
    assert reports(artifacts(1), "harness:own-engine", mode="capsule")["case-00"].verdict == "agree"


# The same one until the end.


@pytest.fixture
def replacing(tmp_path, standin_kilnd):
    """Makes an engine that puts another into its own place after so many runs; ``way`` is a shell command that does it."""

    def make(after, way, other=("--fault", "lie")):
        good, bad = standin_kilnd(), standin_kilnd(*other)
        engine, count = tmp_path / "bin" / "engine", tmp_path / "count"
        text = f"""echo >> {count}
if [ "$(wc -l < {count})" = {after} ]; then {way}; fi
exec {good}"""
        script(engine, text)
        script(tmp_path / "next", f"exec {bad}")
        return engine

    return make


WAYS = {
    "renamed into place": "mv {new} {engine}",
    "with the old one's times": "touch -r {engine} {new}; mv {new} {engine}",
    "removed": "rm {engine}",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_binary_that_is_replaced_ends_the_run_and_poisons_nothing(artifacts, tmp_path, replacing, way):
    text = way.format(new=tmp_path / "next", engine=tmp_path / "bin" / "engine")
    engine, folder, cache = replacing(3, text), artifacts(6), str(tmp_path / "cache")
    kept = engine.read_text()
    finished = []
    with pytest.raises(
        EngineUnusableError, match=f"{engine} was {'removed' if way.startswith('rm') else 'replaced'} during the run: results"
    ):
        finished.extend(
            event.report
            for event in run(Request((str(folder),), subject=f"harness:{engine}", cache=cache, mode="capsule", jobs=2))
            if isinstance(event, CaseFinished)
        )
    assert {each.verdict for each in finished} <= {"agree"}
    # Another engine by the old one's content: what the cache has of it is right.
    time.sleep(0.01)
    engine.write_text(kept)
    engine.chmod(0o755)
    again = reports(folder, f"harness:{engine}", cache=cache, mode="capsule")
    assert {each.verdict for each in again.values()} == {"agree"}


def test_what_ran_by_another_build_that_is_gone_again_is_run_anew(artifacts, tmp_path, replacing):
    """The files are the same as in the beginning, and yet one case ran by others in between."""
    engine = tmp_path / "bin" / "engine"
    way = f"cp -p {engine} {engine}.new; mv {engine}.new {engine}"
    found = reports(artifacts(2), f"harness:{replacing(2, way)}", mode="capsule")
    assert {each.verdict for each in found.values()} == {"agree"}
    assert len((tmp_path / "count").read_text().splitlines()) > 3


@pytest.mark.parametrize("done", ["replaced", "removed"])
def test_an_engine_that_changes_is_exit_code_2_and_what_was_finished_is_reported(
    artifacts, tmp_path, replacing, monkeypatch, capsys, done
):
    way = {"replaced": "mv {0}/next {0}/bin/engine", "removed": "rm {0}/bin/engine"}[done]
    engine = replacing(4, way.format(tmp_path))
    monkeypatch.chdir(tmp_path)
    words = ("run", "--subject", f"harness:{engine}", "--mode", "capsule", "--jobs", "1", str(artifacts(5)))
    assert command(list(words)) == 2
    said = capsys.readouterr()
    error = f"{engine} was {done} during the run: results that were not complete by then are discarded"
    assert error in said.err.replace("\n", "")
    out = " ".join(said.out.split())
    assert "2, an error ended the run" in out
    assert "interrupted" not in out
    stored = json_file.read(tmp_path / "reports" / "report.json")
    assert (stored.error, stored.interrupted, exit_code(stored)) == (error, True, 2)
    assert "Ended by an error" in (tmp_path / "reports" / "report.html").read_text()


def test_a_worker_that_finds_its_engine_removed_says_so(tmp_path):
    engine = wasi.create(shlex.quote(str(script(tmp_path / "engine", "exit 0"))), {})
    watch = BuildWatch([build(engine)])
    error = EngineMissingError("no engine", hint="look")
    assert _failure(error, watch, of_case=True) == Failed("no engine; look")
    (tmp_path / "engine").unlink()
    answer = _failure(error, watch, of_case=True)
    assert isinstance(answer, Unusable)
    assert "engine was removed during the run: results" in answer.what


def test_each_file_that_the_command_names_is_watched(tmp_path):
    helper = script(tmp_path / "helper", "exit 0")
    source = tmp_path / "engine.py"
    source.write_text("pass\n")
    for line, changed in ((f"{sys.executable} {source}", source), (f"sh -c 'exec {helper}'", helper)):
        engine = wasi.create(line, {})
        watch = BuildWatch([build(engine)])
        assert watch.unchanged()
        changed.write_text(changed.read_text() + "# another\n")
        with pytest.raises(EngineUnusableError, match=changed.name):
            watch.unchanged()


def test_a_file_that_only_seems_changed_is_no_other_build(tmp_path):
    engine = wasi.create(shlex.quote(str(script(tmp_path / "engine", "exit 0"))), {})
    watch = BuildWatch([build(engine)])
    os.utime(tmp_path / "engine", ns=(1, 1))
    assert not watch.unchanged()
    assert watch.unchanged()


# Its version.


def test_a_program_that_hangs_on_version_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "_VERSION_DEADLINE_S", 0.5)
    mark = tmp_path / "pid"
    engine = script(tmp_path / "engine", f"sleep 61 & echo $! > {mark}; sleep 62")
    begun = time.monotonic()
    assert wasi.create(shlex.quote(str(engine)), {}).identity().version == ""
    assert time.monotonic() - begun < 5
    assert not Path(f"/proc/{mark.read_text().strip()}").exists()


def test_a_version_that_did_not_come_in_time_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "_VERSION_DEADLINE_S", 0.5)
    engine = script(tmp_path / "engine", f"[ -e {tmp_path}/fast ] || sleep 60; echo engine 3.2.1")
    options = {"cache": str(tmp_path / "cache")}
    assert wasi.create(str(engine), options).identity().version == ""
    (tmp_path / "fast").touch()
    assert wasi.create(str(engine), options).identity().version == "3.2.1"
    (tmp_path / "fast").unlink()
    assert wasi.create(str(engine), options).identity().version == "3.2.1"


@pytest.mark.parametrize(
    "line", ["{python} {source}", "{python} -m own_engine", "env {engine}", "sh {engine}", "nice -n 1 {engine}"]
)
def test_an_interpreters_version_is_not_the_engines(tmp_path, line):
    source, engine = tmp_path / "engine.py", script(tmp_path / "engine", "echo 1.2.3")
    source.write_text("print('4.5.6')\n")
    given = line.format(python=shlex.quote(sys.executable), source=source, engine=engine)
    assert wasi.create(given, {}).identity().version == ""


def test_an_engine_with_files_for_options_still_says_its_version(tmp_path):
    (tmp_path / "engine.cfg").write_text("fast = true\n")
    engine = script(tmp_path / "engine", "echo engine 1.2.3")
    assert wasi.create(f"{engine} run --config {tmp_path}/engine.cfg", {}).identity().version == "1.2.3"


def test_doctor_shows_the_path_of_a_program_that_is_no_engine_and_does_not_suggest_itself(capsys):
    assert command(["doctor", "harness:/bin/true"]) == 1
    written = " ".join(capsys.readouterr().out.split())
    assert "does not work harness (/bin/true): the first program: harness failed" in written
    assert "report this to the authors" in written
    assert "doctor" not in written
