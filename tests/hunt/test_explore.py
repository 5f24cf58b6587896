"""Exploring: rows and inputs that reach more of an artifact, as cases that can be run."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random

import pytest
import wasmtime

from diffcheck.backend import contract
from diffcheck.cli.main import run
from diffcheck.errors import UnrunnableError
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


@pytest.fixture
def instrumented(tmp_path):
    """Makes an artifact as witness instruments it, in which ``(call $hit)`` takes the only branch."""

    def make(text, branches=1):
        kinds = {"counter": "i64", "brval": "i32", "brcnt": "i32"}
        items = [f'(global ${name} (export "__witness_{name}_0") (mut {type_}) ({type_}.const 0))' for name, type_ in kinds.items()]
        hit = " ".join(f"(global.set ${name} ({type_}.const 1))" for name, type_ in kinds.items())
        counting = f"{' '.join(items)} (func $hit {hit})" if branches else ""
        artifact = tmp_path / "own.wasm"
        artifact.write_bytes(wasmtime.wat2wasm(f"(module {text} {counting})"))
        manifest = {"schema_version": "2", "branches": [{"id": each} for each in range(branches)], "decisions": []}
        formats.manifest_path(artifact).write_text(json.dumps(manifest))
        return artifact

    return make


def explored(artifact, steps, time_s=3600):
    """The result of so many batches of rows, or inputs."""
    done = count()
    with contract.local_host() as host, closing(engines.preferred_oracle({})) as oracle:
        return Exploration(Request((str(artifact),)), 1, oracle, host, lambda: next(done) >= steps).run(artifact, time_s)


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


@pytest.mark.whole
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


def test_a_start_function_is_not_a_program(instrumented):
    found = explored(instrumented('(func (export "f") (param i32) (if (local.get 0) (then (call $hit)))) (func $s) (start $s)'), 5)
    assert (found.noun, len(found.before.counters), len(found.after.counters)) == ("row", 0, 1)
    with pytest.raises(UnrunnableError, match="exports no function"):
        explored(instrumented("(func $s (call $hit)) (start $s)"), 5)


@pytest.mark.parametrize("parameter", ["", "(param i32)"])
def test_an_artifact_without_branches_is_an_error(instrumented, parameter):
    with pytest.raises(UnrunnableError, match="has no branches") as found:
        explored(instrumented(f'(func (export "f") {parameter})', branches=0), 5)
    assert found.value.hint


def test_rows_to_begin_with_that_do_not_end_are_an_error_and_no_divergence(instrumented, tmp_path, capsys):
    artifact = instrumented('(func (export "f") (loop $l (br $l)) (call $hit))')
    artifact.with_suffix(".toml").write_text("[limits]\ndeadline_s = 0.3\n")
    assert run(["explore", str(artifact), "--time", "5", "--reports", str(tmp_path / "r")]) == 2
    said = capsys.readouterr().err
    assert "timed out" in said
    assert "name other rows" in said


@pytest.mark.whole
def test_calls_that_do_not_end_are_counted_and_cost_little_time(instrumented):
    endless = "(if (i32.lt_s (local.get 0) (i32.const 0)) (then (loop $l (br $l))))"
    artifact = instrumented(
        f'(func (export "f") (param i32) {endless} (if (i32.eq (local.get 0) (i32.const 1234)) (then (call $hit))))'
    )
    begun = time.monotonic()
    found = explored(artifact, 1000, time_s=6)
    assert time.monotonic() - begun < 12
    assert found.endless > 1
    assert len(found.after.counters) == 1


@pytest.mark.whole
def test_inputs_that_do_not_end_are_counted(instrumented):
    read = "(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 1)) (drop (call $read"
    read += " (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))"
    imported = (
        '(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32))) (memory (export "memory") 1)'
    )
    first = "(i32.load8_u (i32.const 16))"
    endless = f"(if (i32.lt_u (i32.sub {first} (i32.const 0x21)) (i32.const 14)) (then (loop $l (br $l))))"
    text = f'{imported} (func (export "_start") {read} {endless} (if {first} (then (call $hit))))'
    found = explored(instrumented(text), 60)
    assert (found.noun, len(found.cases), len(found.after.counters)) == ("input", 1, 1)
    assert found.endless


def test_without_anything_new_no_case_is_written(instrumented, tmp_path, capsys):
    artifact = instrumented('(func (export "f") (param i32) (if (i32.const 0) (then (call $hit))))')
    assert run(["explore", str(artifact), "--time", "1", "--reports", str(tmp_path / "r")]) == 0
    assert "nothing more was reached" in capsys.readouterr().out
    assert not list((tmp_path / "r" / "explore").iterdir())


def test_numbers_of_the_output_have_nouns(instrumented, tmp_path, capsys):
    artifact = instrumented('(func (export "f") (param i32) (if (local.get 0) (then (call $hit))))')
    assert run(["explore", str(artifact), "--time", "1", "--reports", str(tmp_path / "r")]) == 0
    assert "found     1 row\n" in capsys.readouterr().out


def test_arguments_are_constants_of_the_code_and_numbers_near_them():
    module = wasm.read(
        bytes(wasmtime.wat2wasm("(module (func (param i32) (result i32) (i32.rem_u (local.get 0) (i32.const 100))))"))
    )
    choice = ArgumentChoice(module, Random(1))
    found = {choice.new(("i32",))[0].bits for _ in range(2000)}
    assert {99, 100, 101, 200} <= found
    (one, other) = choice.changed(choice.new(("i32", "i64")))
    assert (one.type, other.type) == ("i32", "i64")
