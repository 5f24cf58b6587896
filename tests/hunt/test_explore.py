"""Exploring: rows and inputs that reach more of an artifact, as cases that can be run."""

from __future__ import annotations

import shutil
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random

import pytest
import wasmtime

from diffcheck.backend import contract
from diffcheck.cli.main import run
from diffcheck.hunt.explore.argument_choice import ArgumentChoice
from diffcheck.hunt.explore.exploration import Exploration
from diffcheck.runner import engines
from diffcheck.runner.request import Request
from diffcheck.wasm import module as wasm
from diffcheck.witness import formats

CORPUS = Path(__file__).parents[2] / "corpus"


@pytest.fixture
def copied(tmp_path):
    """Copies an artifact of the corpus with its manifest, without its case file."""

    def copy(name):
        source, target = CORPUS / name, tmp_path / Path(name).name
        shutil.copyfile(source, target)
        shutil.copyfile(formats.manifest_path(source), formats.manifest_path(target))
        return target

    return copy


def explored(artifact, steps):
    """The result of so many batches of rows, or inputs."""
    done = count()
    with contract.local_host() as host, closing(engines.preferred_oracle({})) as oracle:
        return Exploration(Request((str(artifact),)), 1, oracle, host, lambda: next(done) >= steps).run(artifact, 3600)


def test_rows_of_exports_cover_decisions_that_default_rows_do_not(copied):
    found = explored(copied("01-decisions/days_in_month.wasm"), 150)
    assert not found.before.covered
    assert len(found.after.covered) >= 2
    assert len(found.after.counters) == found.branches
    (case,) = found.cases
    assert 4 <= len(case.rows) <= 16


def test_a_search_ends_when_all_is_reached(copied):
    found = explored(copied("01-decisions/leap_year.wasm"), 1000)
    assert (len(found.after.covered), len(found.after.counters)) == (1, 2)
    assert len(found.cases[0].rows) <= 4


def test_stdin_of_a_program_reaches_more(copied):
    found = explored(copied("02-programs/calculator.wasm"), 250)
    assert len(found.after.counters) >= len(found.before.counters) + 10
    assert all(each.rows == () for each in found.cases)


def test_the_cases_are_written_with_their_artifacts_and_can_be_run(copied, tmp_path, capsys):
    artifact = copied("02-programs/calculator.wasm")
    assert run(["explore", str(artifact), "--time", "5", "--reports", str(tmp_path / "r")]) == 0
    said = capsys.readouterr().out
    assert "fully covered before" in said
    folder = tmp_path / "r" / "explore"
    cases = sorted(folder.glob("*.wasm"))
    assert cases
    assert all(formats.manifest_path(each).is_file() and each.with_suffix(".toml").is_file() for each in cases)
    assert run(["run", str(folder), "--subject", "wasmtime", "--oracle", "wasmtime", "--reports", str(tmp_path / "r")]) == 0


def test_an_artifact_without_a_manifest_is_an_error(copied, tmp_path):
    artifact = copied("01-decisions/leap_year.wasm")
    formats.manifest_path(artifact).unlink()
    assert run(["explore", str(artifact), "--reports", str(tmp_path / "r")]) == 2


def test_arguments_are_constants_of_the_code_and_numbers_near_them():
    module = wasm.read(
        bytes(wasmtime.wat2wasm("(module (func (param i32) (result i32) (i32.rem_u (local.get 0) (i32.const 100))))"))
    )
    choice = ArgumentChoice(module, Random(1))
    found = {choice.new(("i32",))[0].bits for _ in range(2000)}
    assert {99, 100, 101, 200} <= found
    (one, other) = choice.changed(choice.new(("i32", "i64")))
    assert (one.type, other.type) == ("i32", "i64")
