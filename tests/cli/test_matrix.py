"""``diffcheck matrix``: all engines on all cases, with stand-ins for engines."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import wasmtime
from click.testing import CliRunner

from diffcheck.cli.command_group import cli
from diffcheck.report.matrices.matrix import Matrix, cell, family

PROGRAM = '(module (func (export "bits") (param i32) (result i32) (i32.popcnt (local.get 0))))'
COUNTS_TRAILING_ZEROS = ("200069", "200068")


@pytest.fixture
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    for name, program in (("numbers/bits", PROGRAM), ("control/one", '(module (func (export "one") (result i32) (i32.const 1)))')):
        path = tmp_path / "cases" / f"{name}.wasm"
        path.parent.mkdir(parents=True)
        path.write_bytes(wasmtime.wat2wasm(program))
    (tmp_path / "cases/numbers/bits.toml").write_text('rows = ["bits=6"]')
    return "cases"


def matrix(*arguments: str):
    """The exit code, the output and the matrix."""
    ended = CliRunner().invoke(cli, ["matrix", *arguments], prog_name="diffcheck", standalone_mode=False)
    assert ended.exception is None, ended.exception
    return ended.return_value, ended.output, msgspec.json.decode(Path("reports/matrix/matrix.json").read_bytes(), type=Matrix)


def test_all_engines_are_in_one_table_with_what_each_gets_wrong(cases, standin_kilnd, standin_wasi, patched) -> None:
    good = standin_kilnd()
    bad = patched(good, *COUNTS_TRAILING_ZEROS)
    code, output, found = matrix(
        cases, "--engine", f"kilnd:{bad}", "--engine", f"wasi:{standin_wasi()}", "--engine", "wasmtime-pulley"
    )
    assert code == 1, output
    assert [each.name for each in found.engines] == ["kiln", "wasi-engine", "wasmtime-pulley"]
    assert [(each.name, each.cases, each.agree, each.compared) for each in found.families] == [
        ("cases/control", 1, (1, 1, 1), (1, 1, 1)),
        ("cases/numbers", 1, (0, 1, 1), (1, 1, 1)),
    ]
    (cause,) = found.causes
    assert (cause.answers, cause.judgement) == (("diverges", "agrees", "agrees"), "kiln stands alone")
    assert all(each.cost.elapsed_ns for each in found.engines)
    page = Path("reports/matrix/matrix.html").read_text()
    assert "kiln stands alone" in page
    assert "cases/numbers" in page
    assert "<script" not in page
    # One run of the oracle serves all engines that take the same capsule.
    reports = [
        msgspec.json.decode((Path("reports/matrix") / name / "report.json").read_bytes()) for name in ("kiln", "wasmtime-pulley")
    ]
    assert all("oracle" in case["cached"] for case in reports[1]["cases"])


@pytest.mark.whole
def test_an_oracle_that_all_others_contradict_stands_alone(cases, standin_kilnd, standin_wasi, patched) -> None:
    bad = patched(standin_kilnd(), *COUNTS_TRAILING_ZEROS)
    arguments = ("--oracle", f"kilnd:{bad}", "--engine", f"wasi:{standin_wasi()}", "--engine", "wasmtime")
    _, output, found = matrix(cases, *arguments)
    assert {each.judgement for each in found.causes} == {"the oracle stands alone"}, output


@pytest.mark.whole
def test_an_engine_that_traps_where_another_has_a_wrong_result_does_not_agree(cases, standin_kilnd, patched) -> None:
    good = standin_kilnd()
    engines = (patched(good, *COUNTS_TRAILING_ZEROS), patched(good, "200069", "200000"))  # the second one traps
    _, output, found = matrix(cases, *(word for each in engines for word in ("--engine", f"kilnd:{each}")))
    assert [each.name for each in found.engines] == ["kiln", "kiln 2"]
    assert {each.answers for each in found.causes} == {("diverges", "diverges"), ("agrees", "diverges")}, output


def test_a_file_that_cannot_be_used_is_an_error(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.wasm").write_bytes(b"no module")
    code, output, _ = matrix("broken.wasm", "--engine", "wasmtime-pulley")
    assert code == 2, output


def test_without_names_all_engines_that_are_found_have_a_column(cases) -> None:
    code, _, found = matrix(cases)
    assert code == 0
    assert "wasmtime-pulley" in [each.name for each in found.engines]
    assert "wasmtime" not in [each.name for each in found.engines]


def test_a_family_is_the_folder_and_of_a_script_the_first_word_of_its_name() -> None:
    assert family("corpus/09-engine/sensor") == "corpus/09-engine"
    assert family("suite/memory_grow.wast:12") == "suite/memory"
    assert family("alone") == "."
    assert (cell(3, 3), cell(3, 4)) == ("3", "3 of 4")
