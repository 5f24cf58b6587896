"""``diffcheck gate``: a build against another, with stand-ins for the engine's builds."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import wasmtime
from click.testing import CliRunner

from diffcheck.cli.command_group import cli
from diffcheck.runner.sweep import operations

PROGRAM = '(module (func (export "bits") (param i32) (result i32) (i32.popcnt (local.get 0))) (func (export "one") (result i32) (i32.const 1)))'
COUNTS_TRAILING_ZEROS = ("200069", "200068")


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one case. The sweep has two instructions."""
    every = operations.of
    monkeypatch.setattr(operations, "of", lambda families: islice(every(families), 2))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cases"
    folder.mkdir()
    (folder / "bits.wasm").write_bytes(wasmtime.wat2wasm(PROGRAM))
    (folder / "bits.toml").write_text('rows = ["bits=6", "one"]')
    return folder


def gate(*arguments: str):
    """The exit code and the output of a gate."""
    ended = CliRunner().invoke(
        cli, ["gate", *arguments, "--no-cache", "--budget", "1"], prog_name="diffcheck", standalone_mode=False
    )
    assert ended.exception is None, ended.exception
    return ended.return_value, ended.output


def test_a_build_is_compared_by_cause_with_another(cases, standin_kilnd, patched) -> None:
    good = standin_kilnd()
    bad = patched(good, *COUNTS_TRAILING_ZEROS)
    code, output = gate(str(bad), str(cases), "--against", str(good))
    assert (code, "1 new, 0 returned, 0 fixed, 0 known" in output) == (1, True), output
    assert "result 0 in bits=6: 1, expected 2" in output
    code, output = gate(str(good), str(cases), "--against", str(bad))
    assert (code, "0 new, 0 returned, 1 fixed, 0 known" in output) == (0, True), output


@pytest.mark.whole
def test_what_the_baseline_has_is_known_and_both_reports_are_written(cases, standin_kilnd, patched) -> None:
    bad = str(patched(standin_kilnd(), *COUNTS_TRAILING_ZEROS))
    code, output = gate(bad, str(cases), "--causes", "0")
    assert (code, "1 new" in output) == (1, True), output
    written = {str(path.relative_to("reports")) for path in Path("reports").rglob("*") if path.is_file()}
    assert {"report.json", "report.html", "sweep/sweep.json", "sweep/sweep.html"} <= written
    CliRunner().invoke(cli, ["baseline", "add", "--all"], prog_name="diffcheck", standalone_mode=False)
    code, output = gate(bad, str(cases), "--baseline", "baseline.toml")
    assert (code, "0 new, 0 returned, 0 fixed, 1 known" in output) == (0, True), output
