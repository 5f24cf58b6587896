"""``diffcheck gate``: a build against another, with stand-ins for the engine's builds."""

from __future__ import annotations

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
    """A folder with one case. The sweep has one small family."""
    monkeypatch.setattr(operations, "FAMILIES", ("conversions",))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "cases"
    folder.mkdir()
    (folder / "bits.wasm").write_bytes(wasmtime.wat2wasm(PROGRAM))
    (folder / "bits.toml").write_text('rows = ["bits=6", "one"]')
    return folder


def gate(*arguments: str):
    return CliRunner().invoke(cli, ["gate", *arguments, "--no-cache", "--budget", "1"], prog_name="diffcheck")


def test_a_build_is_compared_by_cause_with_another(cases, standin_kilnd, patched) -> None:
    good = standin_kilnd()
    bad = patched(good, *COUNTS_TRAILING_ZEROS)
    same = gate(str(good), str(cases), "--against", str(good))
    assert (same.exit_code, "0 new, 0 returned, 0 fixed, 0 known" in same.output) == (0, True), same.output
    worse = gate(str(bad), str(cases), "--against", str(good))
    assert worse.exit_code == 1
    assert "1 new, 0 returned, 0 fixed, 0 known" in worse.output
    assert "i32.popcnt" in worse.output
    better = gate(str(good), str(cases), "--against", str(bad))
    assert (better.exit_code, "0 new, 0 returned, 1 fixed, 0 known" in better.output) == (0, True), better.output
    as_bad = gate(str(bad), str(cases), "--against", str(bad))
    assert (as_bad.exit_code, "0 new, 0 returned, 0 fixed, 1 known" in as_bad.output) == (0, True), as_bad.output


def test_a_gate_writes_both_reports_and_the_map(cases) -> None:
    ended = gate("wasmtime-pulley", str(cases))
    assert ended.exit_code == 0, ended.output
    written = {str(path.relative_to("reports")) for path in Path("reports").rglob("*") if path.is_file()}
    assert {"report.json", "report.html", "sweep/sweep.json", "sweep/sweep.html"} <= written


def test_a_gate_needs_a_build_and_a_path() -> None:
    assert gate("wasmtime-pulley").exit_code == 2
