"""Mutants: most changes leave a valid module, those that are refused or do not end are not run, and a seed gives the same ones."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from random import Random

import msgspec
import pytest
import wasmtime

from diffcheck.backend import contract
from diffcheck.backend.contract import RunLimits
from diffcheck.cases.discovery import item_at
from diffcheck.hunt import hunt as hunts
from diffcheck.hunt import mutants
from diffcheck.hunt.finds import FindsFolder
from diffcheck.hunt.mutants import MutantSource, mutated
from diffcheck.runner import engines
from diffcheck.runner.request import Request

TEXT = """(module (memory (export "m") 1 2) (data (i32.const 8) "abc")
  (func (export "f") (param i32) (result i32) (i32.add (i32.load (local.get 0)) (i32.mul (local.get 0) (i32.const 7))))
  (func (export "g") (param i32) (result i32) (i32.clz (i32.sub (local.get 0) (i32.const 3))))
  (func (export "loop") (param i32) (result i32) (local i32)
    (loop $l (local.set 1 (i32.add (local.get 1) (i32.const 1))) (br_if $l (i32.lt_u (local.get 1) (local.get 0)))) (local.get 1)))"""
ROWS = 'rows = ["f=5", "g=6", "loop=9"]\n'


@pytest.fixture
def original(tmp_path):
    path = tmp_path / "original.wasm"
    path.write_bytes(wasmtime.wat2wasm(TEXT))
    path.with_suffix(".toml").write_text(ROWS)
    return path


@pytest.mark.parametrize("mutation", mutants.MUTATIONS, ids=lambda each: each.__name__)
def test_each_mutation_changes_the_module_and_leaves_it_valid(monkeypatch, original, mutation):
    monkeypatch.setattr(mutants, "MUTATIONS", (mutation,))
    data = original.read_bytes()
    made = {mutated(data, Random(at)) for at in range(20)}
    assert len(made - {data}) > 1
    with contract.local_host() as host, closing(engines.preferred_oracle({})) as oracle:
        valid = [each for each in made if oracle.validate(each, RunLimits(), host) is None]
    assert len(valid) >= len(made) // 2


def written(original, folder, count):
    with contract.local_host() as host, closing(engines.preferred_oracle({})) as oracle:
        return MutantSource([item_at(original)], Request(()), oracle, host).written(folder, 3, 0, count)


@pytest.mark.whole
def test_mutants_that_pass_are_written_with_rows_and_a_seed_gives_the_same(original, tmp_path):
    found = written(original, tmp_path / "a", 12)
    again = written(original, tmp_path / "b", 12)
    assert len(found) >= 6
    assert all(each.rows == ("f=5", "g=6", "loop=9") for each in found.values())
    assert found == again
    for stem in found:
        one, other = (tmp_path / folder / f"{stem}.wasm" for folder in "ab")
        assert one.read_bytes() == other.read_bytes()
        assert one.with_suffix(".toml").is_file()
    assert {each.stem for each in (tmp_path / "a").glob("*.wasm")} == set(found)


def test_a_mutant_that_does_not_end_is_not_run(original, tmp_path, monkeypatch):
    endless = bytes(wasmtime.wat2wasm('(module (func (export "f") (param i32) (result i32) (loop (br 0)) (unreachable)))'))
    monkeypatch.setattr(mutants, "mutated", lambda *_: endless)
    original.with_suffix(".toml").write_text('rows = ["f=5"]\n')
    assert written(original, tmp_path / "a", 1) == {}
    assert not list((tmp_path / "a").iterdir())


def test_a_hunt_of_mutants_alone_runs_them(original, tmp_path, monkeypatch):
    monkeypatch.setattr(hunts, "_PROGRAMS", 8)
    request = engines.choose(Request((str(original),), subject="wasmtime-pulley", deadline_s=10.0)).request
    state = hunts.HuntState(1, "pulley")
    with contract.local_host() as host, closing(engines.preferred_oracle({})) as oracle:
        request = msgspec.structs.replace(request, jobs=1)
        finds = FindsFolder(tmp_path / "f")
        hunt = hunts.Hunt(request, state, finds, Path(tmp_path), 3600, lambda _: None, lambda: state.rounds >= 1)
        hunt.run(("mutate",), oracle, host)
    assert state.programs >= 2
    assert state.diverging == 0
