"""Closed and full standard streams, and a working folder that is gone: an exit code with a meaning, and never a traceback."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

ROOT = Path(__file__).parents[2]
ANSWER = '(module (func (export "run") (result i32) (i32.const %d)))'
COMMANDS = {"--version": 0, "--help": 0, "run --help": 0, "backends": 0, "show none": 2, "nonsense": 2, "history": 2}
"""The exit code of each where its streams are open."""
SHORT = {name: COMMANDS[name] for name in ("--version", "nonsense")}


@pytest.fixture
def shell(tmp_path):
    """Runs diffcheck with a shell's redirections; gives the exit code and what came out where nothing was redirected."""

    def run(arguments, redirections="", before=""):
        line = f"{before} {shlex.join([sys.executable, '-m', 'diffcheck'])} {arguments} {redirections}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIFFCHECK_KILND": ""}
        return subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )

    return run


@pytest.fixture
def artifact(tmp_path):
    (tmp_path / "a.wasm").write_bytes(wasmtime.wat2wasm(ANSWER % 1))
    return "run --subject wasmtime-pulley --mode capsule a.wasm"


@pytest.mark.parametrize("commands", [SHORT, pytest.param(COMMANDS, marks=pytest.mark.whole)], ids=["short", "whole"])
@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", pytest.param(">&- 2>&-", marks=pytest.mark.whole), "<&- >&- 2>&-"])
def test_a_closed_stream_is_as_dev_null(shell, artifact, redirection, commands, tmp_path):
    for arguments, code in {**commands, artifact: 0}.items():
        closed = shell(arguments, redirection)
        assert closed.returncode == code, arguments
        assert "Traceback" not in closed.stderr
    assert b'"verdict":"agree"' in (tmp_path / "reports" / "report.json").read_bytes().replace(b" ", b"")


@pytest.mark.parametrize("arguments", ["--version", "--help", "run --help", "backends"])
def test_full_standard_output_is_an_error_and_no_divergence(shell, arguments):
    ended = shell(arguments, ">/dev/full")
    assert ended.returncode == 2
    assert (
        ended.stderr
        == "error: standard output cannot be written: No space left on device\nhint: free some space, or write elsewhere\n"
    )


def test_a_run_with_full_standard_output_has_written_its_report(shell, artifact, tmp_path):
    ended = shell(artifact, ">/dev/full")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "standard output cannot be written" in ended.stderr
    assert (tmp_path / "reports" / "report.json").exists()


@pytest.mark.parametrize("commands", [SHORT, pytest.param(COMMANDS, marks=pytest.mark.whole)], ids=["short", "whole"])
def test_full_standard_error_changes_no_exit_code(shell, artifact, commands):
    for arguments, code in {**commands, artifact: 0}.items():
        assert shell(arguments, "2>/dev/full").returncode == code, arguments


def test_with_both_full_the_exit_code_is_that_of_an_error(shell, artifact):
    for arguments in ("--help", "nonsense", artifact):
        assert shell(arguments, ">/dev/full 2>/dev/full").returncode == 2, arguments


@pytest.mark.parametrize("arguments", ["--help", "backends"])
def test_a_reader_that_has_gone_is_told_nothing(shell, arguments):
    ended = shell(arguments, "| true; echo ${PIPESTATUS[0]}", "sleep 0.1;")
    assert ended.stdout.strip() in ("0", "141")
    assert ended.stderr == ""


@pytest.mark.parametrize(
    "arguments", ["run .", "run {folder}/a.wasm", "localise {folder}/a.wasm", "snapshot {folder}/a.wasm", "show a"]
)
def test_a_working_folder_that_is_gone_is_an_error(shell, artifact, tmp_path, arguments):
    (tmp_path / "gone").mkdir()
    ended = shell(arguments.format(folder=tmp_path), before="cd gone; rmdir ../gone;")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("error: ")


def test_help_needs_no_working_folder(shell, tmp_path):
    (tmp_path / "gone").mkdir()
    assert shell("run --help", before="cd gone; rmdir ../gone;").returncode == 0
