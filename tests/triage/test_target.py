"""What a user may name: a file, a case of the last report, a signature of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import wasmtime
from click.testing import CliRunner

from diffcheck.cli.command_group import cli
from diffcheck.errors import NothingToDoError
from diffcheck.triage.target import find
from diffcheck.verdict import CaseReport, Divergence, PassReport, Report, Tool, Where
from tests.report import samples

WHERE = Where(row="f=1", item="result 0", function="f")
PASS = PassReport(
    "capsule", applicable=True, verdict="diverge", divergences=(Divergence("result", WHERE, "1", "2", "0123456789ab"),)
)


def _report(artifact: Path) -> Report:
    case = CaseReport("folder/name", str(artifact), "", "diverge", "", "agree", vacuous=False, plan="", rows=(), passes=(PASS,))
    return Report(
        "diffcheck-report-v1", Tool("diffcheck", "0"), samples.SUBJECT, samples.ORACLE, "2026-11-25T00:00:00Z", 0, "", {}, {}, (), (case,)
    )  # fmt: skip


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "name.wasm"
    path.write_bytes(b"\0asm\x01\0\0\0")
    path.with_suffix(".toml").write_text('rows = ["f=1"]\n')
    return path


def test_a_file_needs_no_report_and_brings_its_case_file(artifact: Path) -> None:
    assert find(str(artifact), None, "reports").case.rows == ("f=1",)


def test_a_signature_names_the_row_and_the_kind(artifact: Path) -> None:
    found = find("0123456789ab", _report(artifact), "reports")
    assert (found.case.artifact, found.row, found.kind, found.signature) == (str(artifact), "f=1", "result", "0123456789ab")


def test_a_case_is_found_by_its_name(artifact: Path) -> None:
    found = find("folder/name", _report(artifact), "reports")
    assert (found.case.artifact, found.kind) == (str(artifact), "")


@pytest.mark.parametrize("name", ["no/such/case", "ffffffffffff", "missing.wasm"])
def test_what_is_nowhere_is_an_error_with_a_hint(name: str, artifact: Path) -> None:
    with pytest.raises(NothingToDoError) as caught:
        find(name, _report(artifact), "reports")
    assert caught.value.hint


def test_an_artifact_that_no_longer_exists_is_an_error(artifact: Path) -> None:
    report = _report(artifact)
    artifact.unlink()
    with pytest.raises(NothingToDoError, match="no longer at"):
        find("folder/name", report, "reports")


def test_a_reported_case_has_the_engines_of_the_reported_run(standin_kilnd, patched, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    counts_trailing_zeros = patched(standin_kilnd(), "200067", "200068")
    source = '(module (func (export "zeros") (param i32) (result i32) (i32.clz (local.get 0))))'
    Path("zeros.wasm").write_bytes(wasmtime.wat2wasm(source))

    def run(*arguments: str) -> int:
        return CliRunner().invoke(cli, arguments, prog_name="diffcheck", standalone_mode=False).return_value

    assert run("run", "zeros.wasm", "--rows", "zeros=16", "--subject", f"kilnd:{counts_trailing_zeros}", "--reports", "kept") == 1
    assert run("localise", "zeros", "--reports", "kept") == 1
    assert run("localise", "zeros", "--reports", "kept", "--subject", "wasmtime-pulley") == 0
