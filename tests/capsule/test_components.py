"""Real components of the corpus over the wasi 0.2 stubs: what they import, print and call."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from diffcheck.capsule import layout as lo
from diffcheck.capsule.seal import World, close_functions
from diffcheck.observation import Exited
from diffcheck.wasm.module import read
from tests.capsule.helpers import Run, capsule, run

if TYPE_CHECKING:
    from diffcheck.capsule.layout import Stub

CORPUS = Path(__file__).parents[2] / "corpus"


def corpus_case(stem: str) -> tuple[bytes, tuple[str, ...], World]:
    path = CORPUS / f"{stem}.wasm"
    case = tomllib.loads(path.with_suffix(".toml").read_text(encoding="utf-8"))
    data = path.read_bytes()
    entry = next(each.name for each in read(data).exports if each.name.startswith("wasi:cli/run@"))
    world = World(args=tuple(case.get("args", ())), env=case.get("env", {}), stdin=case.get("stdin", "").encode())
    return data, tuple(case.get("rows", (entry,))), world


def outputs(run_: Run) -> tuple[list[str], list[str]]:
    row = run_.rows[-1]
    assert row.stdout is not None
    assert row.stderr is not None
    return row.stdout.captured.decode().splitlines(), row.stderr.captured.decode().splitlines()


def stubs_of(stem: str) -> list[Stub]:
    return [each.stub for each in close_functions(read((CORPUS / f"{stem}.wasm").read_bytes()), "trap")]


@pytest.mark.parametrize("stem", ["02-programs/json_check_fused", "10-components/wasi_tour", "10-components/two_printers"])
def test_every_import_of_a_component_has_a_functional_stub(stem: str) -> None:
    assert {each.kind for each in stubs_of(stem)} == {"functional"}


def test_a_fused_component_prints_its_lines() -> None:
    data, rows, world = corpus_case("02-programs/json_check_fused")
    made = capsule(data, rows)
    out, _ = outputs(run(made))
    assert out == ['1 {"a":[1,2,-3.5e2,true,null]}', "0 [1,", '1 "x\\"y"', '0 {"a" 1}']
    more, _ = outputs(run(capsule(data, rows, world)))
    assert more[:4] == out
    assert len(more) > 4


def test_a_component_gets_its_whole_world() -> None:
    data, rows, world = corpus_case("10-components/wasi_tour")
    made = capsule(data, rows, world)
    out, err = outputs(run(made, lo.Parameters(0, 1)))
    assert out[:8] == [
        "program tour",
        "argument --fail",
        "argument ",
        "argument naïve",
        "LANG is C",
        "TOKEN_A is a secret",
        "EMPTY is ",
        "EQUATION is a=b",
    ]
    assert "ready: 01, input is" in out
    assert "time passes, also on the wall, since 1577836800 by 1000000" in out
    assert err == ["terminals: 0", "\0\0\0\0\0a blocking write takes at most 4096 bytes"]
    ends = [run(made, lo.Parameters(at, at + 1)).rows[-1].outcome for at in range(1, 4)]
    assert ends == [Exited(0), Exited(1), Exited(7)]


def test_a_component_calls_all_that_it_imports_but_terminals_that_there_are_not() -> None:
    data, rows, world = corpus_case("10-components/wasi_tour")
    made = capsule(data, rows, world)
    calls = [run(made, lo.Parameters(at, at + 1)).rows[-1].stub_calls for at in range(4)]
    never = {stub.name for at, stub in enumerate(made.layout.stubs) if not any(each[at] for each in calls)}
    assert never == {"[resource-drop]terminal-input", "[resource-drop]terminal-output"}


def test_two_components_write_each_to_their_own_memory() -> None:
    data, rows, world = corpus_case("10-components/two_printers")
    out, _ = outputs(run(capsule(data, rows, world)))
    assert out[:2] == ["  rolled snake-eye 2", "I have 4, they have 3"]
    assert len(out) == 9
