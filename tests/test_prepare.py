"""``diffcheck prepare`` and components in a run: with stand-ins for meld and witness, and with the real ones where they are found."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import wasmtime

from diffcheck.cases import prepare
from diffcheck.cli.main import run as command_line
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.wasm.module import read

LEAP_YEAR = Path(__file__).parents[1] / "corpus" / "01-decisions" / "leap_year.wasm"
CORE = """(module (memory (export "memory") 1)
  (func (export "pick") (param i32 i32) (result i32)
    (if (result i32) (i32.and (i32.gt_s (local.get 0) (i32.const 3)) (i32.gt_s (local.get 1) (i32.const 3)))
      (then (i32.const 1)) (else (i32.const 0))))
  (func (export "go") (result i32) (if (result i32) (i32.const 1) (then (i32.const 5)) (else (i32.const 6)))))"""
COMPONENT = f"""(component
  (core module $m {CORE.removeprefix("(module")}
  (core instance $i (instantiate $m))
  (func $pick (param "a" s32) (param "b" s32) (result s32) (canon lift (core func $i "pick")))
  (func $go (result s32) (canon lift (core func $i "go")))
  (export "pick" (func $pick))
  (export "go" (func $go)))"""
WASI_03 = '(component (import "wasi:cli/stdout@0.3.0" (instance)))'


def source(folder, text, name="app.component.wasm"):
    path = folder / name
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins: ``meld`` writes ``CORE``, ``witness`` leap_year; a part of a script that is given replaces that tool's last step.

    Each call is a line in ``tools/calls``. There is a cache folder too.
    """
    folder = tmp_path / "tools"
    folder.mkdir()
    core = source(folder, CORE, "core.wasm")
    calls = folder / "calls"
    calls.write_text("")

    def make(meld=f'cp {core} "$out"', witness=f'cp {LEAP_YEAR} "$out"; cp {LEAP_YEAR}.witness.json "$out.witness.json"'):
        for name, step in (("meld", meld), ("witness", witness)):
            tool = folder / name
            out = "while [ $# -gt 1 ]; do shift; [ $1 = -o ] && out=$2; done"
            tool.write_text(
                f'#!/bin/sh\necho "{name} $*" >> {calls}\n{out}\necho "{name} says this"\necho "{name} warns" >&2\n{step}\n'
            )
            tool.chmod(0o755)
            monkeypatch.setenv(f"DIFFCHECK_{name.upper()}", str(tool))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        return lambda: [line.split(" ", 1)[0] for line in calls.read_text().splitlines()]

    return make


@pytest.fixture
def no_tools(tmp_path, monkeypatch):
    for name in ("MELD", "WITNESS", "WASM_OPT"):
        monkeypatch.delenv(f"DIFFCHECK_{name}", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def prepared(path, folder, *options):
    return command_line(["prepare", str(path), "-o", str(folder), *options])


def names(folder):
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


# The command.


def test_a_component_becomes_an_artifact_with_its_manifest_a_case_file_and_the_tools_words(tmp_path, tools, capfd):
    calls = tools()
    assert prepared(source(tmp_path, COMPONENT), tmp_path / "out") == 0
    assert calls() == ["meld", "witness"]
    assert names(tmp_path / "out") == ["app.prepare.log", "app.toml", "app.wasm", "app.wasm.witness.json"]
    assert (tmp_path / "out" / "app.wasm").read_bytes() == LEAP_YEAR.read_bytes()
    said = capfd.readouterr()
    kept = (tmp_path / "out" / "app.prepare.log").read_text()
    for words in ("meld says this", "meld warns", "witness says this", "witness warns"):
        assert words in said.out + said.err, "shown as it comes"
        assert words in kept
    assert "$ meld fuse --preserve-names" in kept


def test_a_file_whose_name_is_like_an_option_is_prepared(tmp_path, tools, monkeypatch):
    careful = 'case "$out" in -*) echo "unexpected argument" >&2; exit 2;; esac; '
    witness = f'{careful} cp {LEAP_YEAR} "$out"; cp {LEAP_YEAR}.witness.json "$out.witness.json"'
    tools(meld=f'{careful} cp {tmp_path}/tools/core.wasm "$out"', witness=witness)
    monkeypatch.chdir(tmp_path)
    source(tmp_path, COMPONENT, "-app.wasm")
    assert command_line(["prepare", "-o", "out", "--", "-app.wasm"]) == 0
    assert names(tmp_path / "out") == ["-app.prepare.log", "-app.toml", "-app.wasm", "-app.wasm.witness.json"]


def test_the_case_file_has_the_rows_that_are_found_and_is_read_back(tmp_path, tools):
    tools()
    prepared(source(tmp_path, COMPONENT), tmp_path / "out")
    text = (tmp_path / "out" / "app.toml").read_text()
    assert tomllib.loads(text) == {"rows": [f"run_row_{number}" for number in range(4)]}
    assert "is_leap(i32) -> i32" in text, "what takes arguments is named"


@pytest.mark.parametrize("made", [LEAP_YEAR, None], ids=["instrumented", "not instrumented"])
def test_only_what_is_needed_is_run(tmp_path, tools, made):
    calls = tools()
    path = tmp_path / "own.wasm"
    path.write_bytes(made.read_bytes() if made else wasmtime.wat2wasm(CORE))
    if made:
        shutil.copy(f"{made}.witness.json", f"{path}.witness.json")
    assert prepared(path, tmp_path / "out") == 0
    assert calls() == ([] if made else ["witness"])
    assert "own.wasm.witness.json" in names(tmp_path / "out")


@pytest.mark.parametrize(
    ("tool", "step", "words"),
    [
        ("meld", 'printf half > "$out"; echo no such world >&2; exit 3', "`meld fuse --preserve-names --reproducible` failed with"),
        ("meld", "kill -SEGV $$", "was ended by signal"),
        ("meld", "true", "its output is"),
        ("meld", 'echo text > "$out"', "it is not a core module"),
        ("witness", 'printf half > "$out"; exit 1', "`witness instrument` failed with exit code 1"),
        ("witness", f'cp {LEAP_YEAR} "$out"', "wrote no manifest"),
    ],
)
def test_a_failing_tool_leaves_nothing(tmp_path, tools, capfd, tool, step, words):
    tools(**{tool: step})
    assert prepared(source(tmp_path, COMPONENT), tmp_path / "out") == 2
    assert names(tmp_path / "out") == []
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_no_file_and_no_process(tmp_path, tools, number):
    begun = tmp_path / "begun"
    tools(meld=f"sleep 100 & echo $! > {begun}.part; mv {begun}.part {begun}; wait")
    command = [sys.executable, "-m", "diffcheck", "prepare", str(source(tmp_path, COMPONENT)), "-o", str(tmp_path / "out")]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(begun.exists)
    running.send_signal(number)
    assert running.wait(60) == 130
    assert names(tmp_path / "out") == names(temporary) == []
    assert not Path(f"/proc/{begun.read_text().strip()}").exists()


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def test_what_the_tool_said_last_is_the_hint(tmp_path, tools, capfd):
    tools(meld="echo no such world >&2; exit 3")
    prepared(source(tmp_path, COMPONENT), tmp_path / "out")
    assert "hint: its last line: no such world" in capfd.readouterr().err


@pytest.mark.parametrize(("text", "tool"), [(COMPONENT, "meld"), (CORE, "witness")])
def test_a_missing_tool_is_named_with_how_to_get_it(tmp_path, no_tools, capfd, text, tool):
    assert prepared(source(tmp_path, text), tmp_path / "out") == 2
    said = capfd.readouterr().err
    assert f"error: {tool} was not found" in said
    assert prepare.HOW_TO_GET[tool] in said
    assert names(tmp_path / "out") == []


def test_a_variable_that_names_no_program_is_told(tmp_path, no_tools, monkeypatch, capfd):
    monkeypatch.setenv("DIFFCHECK_MELD", str(tmp_path / "none"))
    assert prepared(source(tmp_path, COMPONENT), tmp_path / "out") == 2
    assert "DIFFCHECK_MELD names" in capfd.readouterr().err


@pytest.mark.parametrize("data", [b"", b"text", b"\0asm\x0d\0\x01\0\xff", b"\0asm\x01\0\0\0\x01\x7f"])
def test_a_source_that_is_none(tmp_path, tools, capfd, data):
    tools(meld="exit 1")
    (tmp_path / "bad.wasm").write_bytes(data)
    assert prepared(tmp_path / "bad.wasm", tmp_path / "out") == 2
    assert capfd.readouterr().err.count("error: ") == 1
    assert names(tmp_path / "out") == []


def test_wasi_03_is_out_of_scope_and_no_tool_is_asked(tmp_path, tools, capfd):
    calls = tools()
    assert prepared(source(tmp_path, WASI_03), tmp_path / "out") == 2
    assert "asynchronous components (wasi 0.3) are out of scope: it imports wasi:cli/stdout@0.3.0" in capfd.readouterr().err
    assert calls() == []


def test_the_users_case_file_stays_and_an_artifact_that_differs_is_not_replaced_unasked(tmp_path, tools, capfd):
    calls = tools()
    path, out = source(tmp_path, COMPONENT), tmp_path / "out"
    prepared(path, out)
    (out / "app.toml").write_text('rows = ["run_row_2"]\n')
    assert prepared(path, out) == 0, "the same again is no change"
    (out / "app.wasm").write_bytes(b"another")
    assert prepared(path, out) == 2
    assert "exists and differs" in capfd.readouterr().err
    assert (out / "app.wasm").read_bytes() == b"another"
    assert prepared(path, out, "--replace") == 0
    assert (out / "app.wasm").read_bytes() == LEAP_YEAR.read_bytes()
    assert (out / "app.toml").read_text() == 'rows = ["run_row_2"]\n'
    assert len(calls()) == 8


# On the fly, in a run.


def report(path, **options):
    request = Request((str(path),), subject="wasmtime-pulley", mode="capsule", **options)
    return next(event.report for event in run(request) if isinstance(event, CaseFinished))


def test_a_component_in_a_run_is_made_an_artifact_once(tmp_path, tools):
    calls = tools()
    path = source(tmp_path, COMPONENT)
    first, second = report(path), report(path)
    assert (first.verdict, second.verdict) == ("agree", "agree")
    assert calls() == ["meld", "witness"], "the second time it comes from the cache"
    assert any("fused by meld" in note for note in first.not_done)
    digests = {each.name: each.sha256 for each in first.made_by if each.sha256}
    assert {name: len(each) for name, each in digests.items()} == {"meld": 64, "witness": 64}
    assert second.made_by == first.made_by
    tools(meld=f'cp {LEAP_YEAR} "$out"')
    report(path)
    assert calls()[2:] == ["meld"], "another meld is asked anew, and what is instrumented is not instrumented again"


def test_a_component_without_the_tools_is_skipped_with_the_reason(tmp_path, no_tools):
    found = report(source(tmp_path, COMPONENT))
    assert found.verdict == "skipped"
    assert "meld and witness were not found" in found.reason
    assert all(how in found.reason for how in prepare.HOW_TO_GET.values())


def test_a_component_that_a_tool_fails_on_is_skipped_with_what_it_said(tmp_path, tools):
    tools(meld="echo no such world >&2; exit 3")
    found = report(source(tmp_path, COMPONENT))
    assert found.verdict == "skipped"
    assert "failed with exit code 3; its last line: no such world" in found.reason


def test_wasi_03_in_a_run_is_skipped_as_out_of_scope(tmp_path, no_tools):
    assert "wasi 0.3) are out of scope" in report(source(tmp_path, WASI_03)).reason


# Legacy exceptions.

BLOCK = b"\x02\x7f\x41\x07\x1a"  # block (result i32) i32.const 7 drop
TRY = b"\x06\x7f\x41\x07\x19"  # try (result i32) i32.const 7 catch_all
TRANSLATED = wasmtime.wat2wasm('(module (func (export "f") (result i32) (block (result i32) (drop (i32.const 7)) (i32.const 8))))')
LEGACY = TRANSLATED.replace(BLOCK, TRY)


def legacy(folder, wasm=LEGACY):
    path = folder / "app.wasm"
    path.write_bytes(wasm)
    return path


@pytest.fixture
def wasm_opt(tmp_path, monkeypatch, no_tools):
    def make(step):
        (tmp_path / "translated.wasm").write_bytes(TRANSLATED)
        tool = tmp_path / "wasm-opt"
        tool.write_text(
            f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\nwhile [ $# -gt 1 ]; do shift; [ $1 = -o ] && out=$2; done\n{step}\n'
        )
        tool.chmod(0o755)
        monkeypatch.setenv("DIFFCHECK_WASM_OPT", str(tool))

    return make


def test_legacy_exceptions_are_translated_once_and_the_report_says_so(tmp_path, wasm_opt):
    wasm_opt(f'/bin/cp {tmp_path}/translated.wasm "$out"')
    path = legacy(tmp_path)
    for _ in range(2):
        found = report(path)
        assert (found.verdict, found.reason, found.rows) == ("agree", "", ("f",))
        assert any(each.startswith("legacy exceptions were translated") for each in found.not_done)
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.startswith("-g --enable-")
    assert "all-features" not in call  # with these Binaryen 132 writes import sections of a later proposal
    assert call.endswith("--translate-to-exnref source/app.wasm -o app.wasm")


def test_legacy_exceptions_without_wasm_opt_are_skipped_with_the_reason(tmp_path, no_tools):
    found = report(legacy(tmp_path))
    assert found.verdict == "skipped"
    assert "legacy exceptions" in found.reason
    assert prepare.WASM_OPT_HINT in found.reason


def test_an_old_wasm_opt_is_a_reason_as_well(tmp_path, wasm_opt):
    wasm_opt("echo \"Unknown option '--translate-to-exnref'\" >&2; exit 1")
    found = report(legacy(tmp_path))
    assert found.verdict == "skipped"
    assert "its last line: Unknown option '--translate-to-exnref'" in found.reason


@pytest.mark.parametrize("broken", [LEGACY[:-3], TRANSLATED[:-3], TRANSLATED.replace(BLOCK, b"\xff" + BLOCK[1:])])
def test_a_malformed_module_is_not_one_with_legacy_exceptions(tmp_path, no_tools, broken):
    assert "legacy" not in report(legacy(tmp_path, broken)).reason


def test_the_real_wasm_opt_translates(tmp_path, monkeypatch):
    if not shutil.which("wasm-opt"):
        pytest.skip("wasm-opt is not here (PATH)")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = report(legacy(tmp_path))
    assert found.verdict == "agree" or "Unknown option" in found.reason


# The real tools.


@pytest.fixture
def real_tools(tmp_path, monkeypatch):
    if not all(map(shutil.which, prepare.HOW_TO_GET)):
        pytest.skip("meld and witness are not here (PATH)")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_the_real_meld_and_witness_make_the_same_artifact_twice(tmp_path, real_tools):
    path, out = source(tmp_path, COMPONENT), tmp_path / "out"
    assert prepared(path, out) == 0
    made = read((out / "app.wasm").read_bytes())
    assert any(each.name == "__witness_counter_0" for each in made.exports)
    assert tomllib.loads((out / "app.toml").read_text()) == {"rows": ["go"]}
    assert prepared(path, out) == 0


def test_the_real_tools_in_a_run(tmp_path, real_tools):
    found = report(source(tmp_path, COMPONENT), rows="auto")
    assert found.verdict == "agree"
    assert any("fused by meld" in note for note in found.not_done)
