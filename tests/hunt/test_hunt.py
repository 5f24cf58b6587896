"""Hunts: what is found becomes one find, what is fixed is said, what was interrupted goes on with the same programs."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
import wasmtime

from diffcheck.backend import contract
from diffcheck.cases.discovery import Case
from diffcheck.cli.main import run
from diffcheck.errors import NothingToDoError
from diffcheck.hunt import examination
from diffcheck.hunt import hunt as hunts
from diffcheck.hunt import rounds as hunt_rounds
from diffcheck.hunt.examination import Examiner
from diffcheck.hunt.finds import FILE, PROGRAM, Find, FindsFolder
from diffcheck.hunt.generate.program import Generated
from diffcheck.hunt.generate.weights import Outcomes, Weights
from diffcheck.hunt.program_features import essence, ingredients
from diffcheck.hunt.rounds import learn
from diffcheck.runner import engines
from diffcheck.runner import run as runs
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.request import Request
from diffcheck.triage.reduce.symptom import Symptom
from diffcheck.triage.triage_folder import State
from diffcheck.verdict import CaseReport, Divergence, PassReport, Where
from tests.campaigns.hunt_faults import trial
from tests.campaigns.state_faults import FAULTS
from tests.hunt.running import CaseBench

DOUBLES = Path(__file__).parents[1] / "doubles"
WRONG = """(module (memory 1) (global $g (mut i64) (i64.const 3))
  (func (export "g") (param i32) (result i32) (i32.add (local.get 0) (i32.clz (local.get 0))))
  (func (export "f") (param i64) (result i64) (global.set $g (i64.mul (global.get $g) (local.get 0)))
    (i64.add (i64.popcnt (local.get 0)) (i64.clz (global.get $g)))))"""
ROWS = ("f0=1", "f0=2", "f1", "f2")
PROGRAM_OF_TAGS = Generated("1 0 0", "", ROWS, {f"f{at}": frozenset({f"tag{at}"}) for at in range(3)}, (), ())


def report(*rows, verdict="diverge"):
    found = tuple(Divergence("result", Where(row, "result 0"), "1", "2", "s") for row in rows)
    one = PassReport("capsule", True, verdict=verdict, divergences=found)
    return CaseReport("r0p0", "x/r0p0.wasm", "", verdict, "", "agree", False, "", ROWS, (one,))


@pytest.mark.parametrize(
    ("given", "agreed", "diverged"),
    [
        (report(verdict="agree"), {0, 1, 2}, set()),
        (report("f1", "f2"), {0}, {1}),
        (report("f0=2"), set(), {0}),
        (report(""), set(), {0, 1, 2}),
        (report(verdict="inconclusive"), set(), set()),
    ],
    ids=["agreed", "the second function", "the second row", "the state", "inconclusive"],
)
def test_functions_are_judged_up_to_the_first_that_diverges(given, agreed, diverged):
    weights = Weights()
    learn(weights, {"r0p0": PROGRAM_OF_TAGS}, given)
    expected = {f"tag{at}": Outcomes(agreed=1) for at in agreed} | {f"tag{at}": Outcomes(diverged=1) for at in diverged}
    assert weights.outcomes == expected


def test_ingredients_are_instructions_and_what_there_is_much_of():
    text = f"(module (func (param {'i32 ' * 200}) (result i32) local.get 0 i32.clz))"
    found = ingredients(bytes(wasmtime.wat2wasm(text)))
    assert found == {"i32.clz", "many parameters"}
    assert essence(found) == ("many parameters",)
    assert essence(frozenset({"i32.clz", "f32.abs"})) == ("f32.abs", "i32.clz")
    assert ingredients(b"nothing") == frozenset()


def test_ingredients_are_instructions_of_constant_expressions():
    text = "(module (table 1 i31ref) (elem $e i31ref (ref.i31 (i32.const 5))) (global i32 (i32.add (i32.const 1) (i32.const 2))))"
    assert ingredients(bytes(wasmtime.wat2wasm(text))) == {"ref.i31 in an element segment", "i32.add in a global"}


def hunted(tmp_path, *more):
    return run(
        [
            "hunt",
            "--subject",
            "wasmtime-pulley",
            "--jobs",
            "1",
            "--reports",
            str(tmp_path / "r"),
            "--finds",
            str(tmp_path / "f"),
            *more,
        ]
    )


def rounds(tmp_path, state, count, said=lambda _: None, judges=()):
    """Hunt with the interpreter until so many rounds are done."""
    tmp_path.mkdir(exist_ok=True)
    request = engines.choose(Request((), subject="wasmtime-pulley", deadline_s=10.0)).request
    request = msgspec.structs.replace(request, judges=judges)
    finds = FindsFolder(tmp_path / "f")
    with contract.local_host() as host, closing(engines.preferred_oracle({})) as judge:
        hunt = hunts.Hunt(request, state, finds, tmp_path, 3600, said, lambda: state.rounds >= count > 0)
        hunt.run(("generate",) if count else (), judge, host)
    return sorted((tmp_path / "programs").glob("*.wasm"))


def test_engines_that_agree_give_no_find(tmp_path, monkeypatch):
    monkeypatch.setattr(hunts, "_PROGRAMS", 3)
    state = hunts.HuntState(1, "pulley")
    rounds(tmp_path, state, 2)
    assert (state.rounds, state.programs, state.diverging) == (2, 6, 0)
    assert state.rows > 100
    assert not (tmp_path / "f").exists()


def test_a_resumed_hunt_has_the_programs_of_one_that_was_not_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(hunts, "_PROGRAMS", 1)
    whole = rounds(tmp_path / "whole", hunts.HuntState(1, "pulley"), 2)
    rounds(tmp_path / "parts", hunts.HuntState(1, "pulley"), 1)
    parts = rounds(tmp_path / "parts", hunts.resumed(tmp_path / "parts", "pulley"), 2)
    assert [each.read_bytes() for each in parts] == [each.read_bytes() for each in whole]


def test_a_hunt_that_ends_while_it_checks_the_finds_is_the_one_to_resume(tmp_path, monkeypatch):
    def killed(_):
        raise KeyboardInterrupt

    (tmp_path / hunts.FILE).write_bytes(msgspec.json.encode(hunts.HuntState(1, "pulley", elapsed_s=3600.0)))
    monkeypatch.setattr(hunts.Hunt, "check_finds", killed)
    with pytest.raises(KeyboardInterrupt):
        rounds(tmp_path, hunts.HuntState(2, "pulley"), 1)
    assert hunts.resumed(tmp_path, "pulley").seed == 2


def test_a_sweep_that_did_not_end_in_time_is_repeated_by_a_resumed_hunt(tmp_path, capsys):
    assert hunted(tmp_path, "--sources", "sweep", "--time", "1") == 0
    said = capsys.readouterr()
    assert "finds     0 new" in said.out  # of no folder, as there is none
    assert "resumed" not in said.err
    assert hunted(tmp_path, "--sources", "sweep", "--time", "1", "--resume") == 0
    assert "resumed   0 programs" in capsys.readouterr().err
    state = msgspec.json.decode((tmp_path / "r" / "hunt" / hunts.FILE).read_bytes(), type=hunts.HuntState)
    assert not state.swept


def test_a_program_that_is_not_valid_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(hunts, "_PROGRAMS", 2)
    made = iter(
        ('(module (func (export "f0") (result i64) i32.const 1))', '(module (func (export "f0") (result i64) i64.const 1))')
    )
    monkeypatch.setattr(hunt_rounds, "generate", lambda seed, _: Generated(seed, next(made), ("f0",), {}, (), ()))
    state, lines = hunts.HuntState(1, "pulley"), []
    rounds(tmp_path, state, 1, lines.append)
    assert state.programs == 1
    assert lines[0] == "the program of seed 1 0 0 is invalid (a defect of the generator) and was not run"


@pytest.mark.whole
def test_a_program_on_which_a_judge_differs_from_the_oracle_is_examined_and_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(hunts, "_PROGRAMS", 12)
    examined, lines, state = [], [], hunts.HuntState(1, "pulley")

    def differing(self, paths, over, request=None):
        if request is None or request.subject != "a judge":
            return reports(self, paths, over, request)
        return (msgspec.structs.replace(report("f0"), artifact=each) for each in paths)

    reports = hunts.Hunt._reports
    monkeypatch.setattr(hunts.Hunt, "_reports", differing)
    monkeypatch.setattr(Examiner, "examine", lambda _, found, *__: examined.extend(found) or [])
    rounds(tmp_path, state, 1, lines.append, judges=("a judge",))
    judged = [each for each in examined if each.verdict == "diverge"]
    assert 0 < len(judged) < 6
    assert state.programs == 12 - len(judged)


def test_a_hunt_begins_with_the_finds_and_says_what_is_fixed(tmp_path):
    finds = FindsFolder(tmp_path / "f")
    folder = finds.triage
    folder.mkdir()
    (folder / PROGRAM).write_bytes(wasmtime.wat2wasm('(module (func (export "f") (result i32) i32.const 1))'))
    (folder / "program.toml").write_text('rows = ["f"]\n')
    name = finds.add(Find("f is wrong", "f is wrong", "old 1", "s", "2026-11-28"), folder)
    lines = []
    rounds(tmp_path, hunts.HuntState(1, "pulley"), 0, lines.append)
    assert lines == ["fixed: f is wrong"]
    assert FindsFolder(tmp_path / "f").finds[name].state == "fixed"


@pytest.mark.whole
@pytest.mark.parametrize("oracle", ["auto", "self"])
def test_a_new_cause_becomes_a_find_and_a_known_one_does_not(tmp_path, oracle):
    subject = f"harness:{sys.executable} {DOUBLES / 'wrong_everywhere.py'} i64.popcnt {sys.executable} {DOUBLES / 'kilnd.py'}"
    artifact = tmp_path / "p.wasm"
    artifact.write_bytes(wasmtime.wat2wasm(WRONG))
    artifact.with_suffix(".toml").write_text('rows = ["f=5", "g=6"]\n')
    request = engines.choose(Request((str(artifact),), subject=subject, oracle=oracle, mode="capsule")).request
    reports = [each.report for each in runs.run(request) if isinstance(each, CaseFinished)]
    finds = FindsFolder(tmp_path / "f")
    examiner = Examiner(request, finds, tmp_path, "stand-in 1", lambda _: None, lambda: False)
    (name,) = examiner.examine(reports, lambda _: "1 0 3", time.monotonic() + 600)
    find = finds.finds[name]
    assert (find.cause, find.seed, find.state) == ("i64.popcnt returns a wrong result", "1 0 3", "new")
    assert {PROGRAM, "program.toml", "issue.md", FILE} <= {each.name for each in (finds.path / name).iterdir()}
    assert examiner.examine(reports, lambda _: "", time.monotonic() + 600) == []
    assert list(FindsFolder(finds.path).finds) == [name]


def passes(signature):
    return (PassReport("capsule", True, divergences=(Divergence("result", Where("f=1", "result 0"), "1", "2", signature),)),)


def diverging(tmp_path, name, instruction):
    """The report of a program with an instruction that diverges."""
    path = tmp_path / f"{name}.wasm"
    path.write_bytes(wasmtime.wat2wasm(f'(module (func (export "f") (param i32) (result i32) ({instruction} (local.get 0))))'))
    return msgspec.structs.replace(report("f=1"), case=name, artifact=str(path))


def test_programs_without_the_instructions_of_finds_are_localised_first_and_few_others(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(examination, "find_causes", lambda _, places, __: (seen.extend(places), ((), 0))[1])
    finds = FindsFolder(tmp_path / "f")
    finds.finds["clz"] = Find("i32.clz returns a wrong result", "t", "e", "s", "2026-11-28")
    known = [msgspec.structs.replace(diverging(tmp_path, name, "i32.clz"), passes=passes(name)) for name in "acde"]
    other = msgspec.structs.replace(diverging(tmp_path, "b", "i32.ctz"), passes=passes("b"))
    examiner = Examiner(Request(()), finds, tmp_path, "e", lambda _: None, lambda: True)
    assert examiner.examine([*known, other], str, time.monotonic() + 60) == []
    assert [each.case for each in seen] == ["b", "a", "c"]


@pytest.mark.parametrize("step", ["find_causes", "Session"])
def test_a_defect_in_one_program_does_not_end_the_hunt(tmp_path, monkeypatch, step):
    def defect(*_):
        raise ValueError("a local is named twice")

    monkeypatch.setattr(examination, "find_causes", lambda *_: ((), 1))
    monkeypatch.setattr(examination, step, defect)
    lines, program = [], diverging(tmp_path, "a", "i32.clz")
    Path(program.artifact).with_suffix(".toml").write_text('rows = ["f=1"]\n')
    examiner = Examiner(Request(()), FindsFolder(tmp_path / "f"), tmp_path, "e", lines.append, lambda: False)
    assert examiner.examine([program], str, time.monotonic() + 60) == []
    assert len(lines) == 1
    assert "a local is named twice" in lines[0]


@pytest.mark.whole
def test_a_find_has_the_judgement(tmp_path):
    for name in ("first", "second"):
        stand_in = [sys.executable, str(DOUBLES / "kilnd.py")]
        program = shlex.join([sys.executable, str(DOUBLES / "wrong_everywhere.py"), "i64.popcnt", *stand_in])
        (tmp_path / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (tmp_path / name).chmod(0o755)
    (tmp_path / "p.wasm").write_bytes(wasmtime.wat2wasm(WRONG))
    (tmp_path / "p.toml").write_text('rows = ["f=5", "g=6"]\n')
    path, subject, judge = (str(tmp_path / name) for name in ("p.wasm", "first", "second"))
    request = engines.choose(Request((path,), subject=f"harness:{subject}", judges=(f"harness:{judge}",), mode="capsule")).request
    finds = FindsFolder(tmp_path / "f")
    reports = [each.report for each in runs.run(msgspec.structs.replace(request, judges=())) if isinstance(each, CaseFinished)]
    Examiner(request, finds, tmp_path, "stand-in 1", lambda _: None, lambda: False).examine(reports, str, time.monotonic() + 600)
    assert [each.alone for each in FindsFolder(tmp_path / "f").finds.values()] == ["oracle"]


@pytest.mark.parametrize(("alone", "code"), [("oracle", 0), ("subject", 1), ("", 1)])
def test_a_hunt_does_not_fail_for_a_find_of_which_the_oracle_stands_alone(tmp_path, monkeypatch, capsys, alone, code):
    def examine(request, finds, *_):
        assert request.judges == ("wasmtime-pulley",)
        folder = finds.triage
        folder.mkdir()
        finds.add(Find("f is wrong", "f is wrong", "old 1", "s", "2026-11-28", alone=alone), folder)

    monkeypatch.setattr(hunts, "Examiner", examine)
    assert hunted(tmp_path, "--sources", "sweep", "--time", "1", "--judge", "wasmtime-pulley") == code
    assert ("the oracle stands alone" in capsys.readouterr().out) == (alone == "oracle")


@pytest.mark.parametrize(("misread", "expected"), [(b"\xfb\x01\x02", True), (b"\xfb\x01", False), (b"none", False)])
def test_a_refusal_that_depends_on_the_encoding_of_integers_is_recognised(tmp_path, misread, expected):
    class Refusing:
        case = Case("p", str(tmp_path / "p.wasm"), rows=("f",))

        def run(self, wasm, _rows):
            one = Divergence("outcome", Where("", "outcome"), "returned", "refused at load", "s")
            return msgspec.structs.replace(report(), passes=(PassReport("capsule", True, divergences=(one,) * (misread in wasm)),))

    text = '(module (type (struct)) (type (struct)) (type $s (struct)) (func (export "f") (drop (struct.new_default $s))))'
    (tmp_path / "p.wasm").write_bytes(wasmtime.wat2wasm(text))
    assert examination.depends_on_encoding(Refusing()) is expected


@pytest.mark.parametrize("done", [(), ("reduce",)])
def test_a_program_without_a_wrong_instruction_is_a_find_only_if_it_was_reduced(tmp_path, done):
    (tmp_path / PROGRAM).write_bytes(wasmtime.wat2wasm("(module (func (param i32) (result i32) local.get 0 i32.clz))"))
    symptom = Symptom("s", "capsule", "outcome", "f", "outcome", "returned", "trapped: unreachable")
    state = State("a", "p.wasm", "0", "kilnd", "wasmtime", symptom=symptom, done=done)
    examiner = Examiner(Request(()), FindsFolder(tmp_path / "f"), tmp_path, "e", lambda _: None, lambda: False)
    find = examiner._find(state, tmp_path, "1 0 0", None, flaky=False, encoding=False)
    assert (find.needs if find else None) == (("i32.clz",) if done else None)


def test_only_the_hunt_of_the_same_engine_is_resumed(tmp_path):
    (tmp_path / hunts.FILE).write_bytes(msgspec.json.encode(hunts.HuntState(1, "kilnd 0.4.4")))
    assert hunts.resumed(tmp_path, "kilnd 0.4.4").seed == 1
    with pytest.raises(NothingToDoError):
        hunts.resumed(tmp_path, "kilnd 0.4.5")
    with pytest.raises(NothingToDoError):
        hunts.resumed(tmp_path / "none", "kilnd 0.4.4")


def test_an_unknown_source_is_an_error(tmp_path):
    assert hunted(tmp_path, "--sources", "guess") == 2


@pytest.mark.parametrize("index", [0, 40], ids=lambda at: str(FAULTS[at]))
def test_generated_programs_find_planted_faults_at_their_instruction(tmp_path, index):
    with CaseBench(tmp_path) as bench:
        found = trial(bench, FAULTS[index], 5, deadline_s=600)
    assert found.right, (found.instruction, found.reason)


@pytest.mark.whole
def test_an_engine_without_an_oracle_is_compared_with_itself(tmp_path):
    fault = next(each for each in FAULTS if str(each).startswith("memory.copy: "))
    with CaseBench(tmp_path) as bench:
        found = trial(bench, fault, 5, deadline_s=600, without_oracle=True)
    assert found.right, str(found)
