"""``diffcheck bisect``: the search over histories of builds, and a fault in stand-ins for builds of an engine."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path

import msgspec
import pytest
import wasmtime

from diffcheck.cases.discovery import Case
from diffcheck.cli import main as entry
from diffcheck.errors import ConfigError
from diffcheck.runner import events
from diffcheck.runner.request import Request
from diffcheck.triage.bisect import bisection, builds, trials
from diffcheck.triage.bisect.search import Trial, search
from diffcheck.triage.target import Target
from diffcheck.verdict import CaseReport, Divergence, PassReport, Where

DOUBLE = Path(__file__).parents[1] / "doubles" / "wrong_everywhere.py"
ANSWERS = {"g": "good", "b": "bad", "u": "unclear", "x": "unusable"}


def run(history: str):
    """What a search finds in a history of one letter a build, and how often it runs the case."""
    known, runs = {}, []

    def again(build: str) -> Trial:
        answer = ANSWERS[history[int(build)]]
        runs.append(answer != "unusable")
        return Trial(build, answer, "as scripted")

    def trial(build: str) -> Trial:
        return known[build] if build in known else known.setdefault(build, again(build))

    found = search([str(at) for at in range(len(history))], trial, again, lambda: sum(runs))
    return found, sum(runs), known


def test_the_first_bad_build_of_64_is_found_in_nine_runs() -> None:
    for first in range(1, 64):
        found, runs, _ = run("g" * first + "b" * (64 - first))
        assert (found.last_good, found.first_bad, found.between, found.why) == (str(first - 1), str(first), (), "")
        assert runs <= 9


def test_an_answer_is_a_good_build_then_builds_that_cannot_tell_then_a_bad_one() -> None:
    for history in product("gbux", repeat=5):
        whole = f"g{''.join(history)}b"
        found, runs, known = run(whole)
        assert not found.why
        low, high = int(found.last_good), int(found.first_bad)
        assert (whole[low], whole[high]) == ("g", "b")
        assert {whole[at] for at in range(low + 1, high) if str(at) in known} <= {"u", "x"}
        assert runs <= 6
        assert found.between == tuple(str(at) for at in range(low + 1, high))


def test_builds_that_do_not_start_cost_no_run() -> None:
    found, runs, _ = run("g" * 20 + "x" * 20 + "b" * 24)
    assert (found.last_good, found.first_bad, len(found.between)) == ("19", "40", 20)
    assert runs <= 9


def test_many_builds_that_cannot_tell_end_the_search_within_its_runs() -> None:
    found, runs, known = run("g" * 20 + "u" * 20 + "b" * 24)
    assert (found.last_good <= "19", runs) == (True, 9)
    assert set(map(str, range(20, 40))) <= set(found.between)
    assert len(known) < 64


def test_without_a_bad_or_a_good_end_there_is_no_answer() -> None:
    assert run("gggg")[0].why == "3 does not show the fault: as scripted"
    assert "0 shows the fault too" in run("bbbb")[0].why
    assert "0 is unclear: as scripted" in run("ubbb")[0].why


def test_a_good_build_that_is_bad_when_it_is_run_again_is_no_answer() -> None:
    answers = iter(["bad", "good", "bad"])

    def next_answer(build: str) -> Trial:
        return Trial(build, next(answers))

    known = {}
    found = search(["a", "b", "c"], lambda build: known.setdefault(build, None) or next_answer(build), next_answer, lambda: 0)
    assert found.why
    assert not found.first_bad


def test_builds_of_a_folder_are_ordered_by_number_or_by_a_file(tmp_path: Path) -> None:
    for name in ("kilnd-10", "kilnd-9", "kilnd-100"):
        (tmp_path / name).touch()
    assert builds.of_folder(tmp_path, "", "").names == ("kilnd-9", "kilnd-10", "kilnd-100")
    assert builds.of_folder(tmp_path, "kilnd-10", "").names == ("kilnd-10", "kilnd-100")
    (tmp_path / "builds.txt").write_text("kilnd-100\nkilnd-9\n")
    assert builds.of_folder(tmp_path, "", "kilnd-9").names == ("kilnd-100", "kilnd-9")
    with pytest.raises(ConfigError):
        builds.of_folder(tmp_path, "kilnd-10", "")


def test_the_program_of_a_build_has_a_full_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("1", "2"):
        (tmp_path / name).touch()
    assert builds.of_folder(Path(), "", "").path("2") == tmp_path / "2"


def test_the_fault_is_the_one_with_the_signature_that_was_named() -> None:
    places = [Divergence("result", Where("f", f"result {at}"), "1", "2", signature=f"signature {at}") for at in range(2)]
    one = PassReport("capsule", True, verdict="diverge", divergences=tuple(places))
    report = CaseReport("case", "a.wasm", "", "diverge", "", "agree", False, "", ("f",), (one,))
    for signature, row, expected in (("", "", 0), ("signature 1", "", 1), ("", "f", 0)):
        fault = trials.chosen_fault(report, lambda place: place.where.item, signature, row)
        assert fault == trials.BisectFault(places[expected], "capsule", f"result {expected}")
    assert trials.chosen_fault(report, str, "", "another") is None


def test_an_interrupted_run_interrupts_the_bisection(monkeypatch) -> None:
    monkeypatch.setattr(trials.run, "run", lambda _: (each for each in [events.RunFinished(interrupted=True, elapsed_ns=0)]))
    with pytest.raises(KeyboardInterrupt):
        trials.report_of(Request(()))


def test_a_bisection_is_resumed_only_for_the_same_case(tmp_path: Path) -> None:
    path = tmp_path / "a.wasm"
    path.write_bytes(b"1")
    case = Case("a", str(path), rows=("f",))
    targets = [Target(case), Target(msgspec.structs.replace(case, stdin=b"2")), Target(case, signature="s")]
    digests = {bisection.about(each, "", "kilnd:{}", Request(())) for each in targets}
    digests.add(bisection.about(targets[0], "", "kilnd:{}", Request((), slice="never")))
    path.write_bytes(b"2")
    digests.add(bisection.about(targets[0], "", "kilnd:{}", Request(())))
    assert len(digests) == 5


# Stand-ins for builds.

PROGRAM = """(module
  (func (export "ones") (param i32) (result i32) (i32.popcnt (local.get 0)))
  (func (export "zeros") (param i32) (result i32) (i32.clz (local.get 0)))
  (func (export "both") (param i32) (result i32) (i32.add (i32.popcnt (local.get 0)) (i32.clz (local.get 0)))))"""
WRONG = {"o": "i32.popcnt", "z": "i32.clz"}


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bits.wasm").write_bytes(wasmtime.wat2wasm(PROGRAM))
    (tmp_path / "bits.toml").write_text('rows = ["ones=6", "zeros=6"]')
    return "bits.wasm"


@pytest.fixture
def history(tmp_path: Path, standin_kilnd):
    """Makes a folder of builds: g good, o wrong in popcnt, z wrong in clz, x does not start."""
    engines = {"g": str(standin_kilnd()), "x": "false"}
    engines |= {letter: shlex.join([sys.executable, str(DOUBLE), name, engines["g"]]) for letter, name in WRONG.items()}

    def folder(letters: str) -> Path:
        for at, letter in enumerate(letters):
            path = tmp_path / "all builds" / f"build-{at}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f'#!/bin/sh\nexec {engines[letter]} "$@"\n')
            path.chmod(0o755)
        return tmp_path / "all builds"

    return folder


def answer(case: str, *arguments: str):
    """The exit code and the stored bisection."""
    code = entry.run(["bisect", case, *arguments, "--confirm", "1"])
    return code, json.loads(Path("reports/bisect/bits.json").read_text())


@pytest.mark.whole
def test_the_build_is_found_by_the_cause_and_not_by_the_failing_case(case, history, capsys) -> None:
    folder = history("gzxoo")
    code, found = answer(case, "--engines", str(folder))
    assert (code, found["found"]) == (0, {"last_good": "build-1", "first_bad": "build-3", "between": ["build-2"], "why": ""})
    assert found["fault"]["cause"] == "i32.popcnt returns a wrong result"
    output = capsys.readouterr().out
    assert "first bad  build-3" in output
    assert "between    build-2: unusable, " in output
    runs = found["runs"]
    code, found = answer(case, "--engines", str(folder))  # resumed: only the good neighbour is run again
    assert (code, found["runs"]) == (0, runs + 1)


@pytest.mark.whole
def test_another_fault_at_the_same_place_is_not_the_fault(case, history) -> None:
    Path("bits.toml").write_text('rows = ["both=6"]')
    code, found = answer(case, "--engines", str(history("gzoo")), "--subject", "harness:{}")
    assert (code, found["found"]["last_good"], found["found"]["between"]) == (0, "build-0", ["build-1"])
    (other,) = [each["trial"] for each in found["trials"] if each["trial"]["build"] == "build-1"]
    assert other["answer"] == "unclear"
    assert "i32.clz" in other["why"]


def test_a_bad_build_that_agrees_is_an_error(case, history, capsys) -> None:
    assert entry.run(["bisect", case, "--engines", str(history("gg"))]) == 2
    assert "build-1 does not diverge: agree" in capsys.readouterr().err
    assert entry.run(["bisect", case]) == 2


@pytest.mark.whole
def test_revisions_are_built_by_a_command(case, history, tmp_path) -> None:
    folder = history("go")

    def git(*arguments: str) -> str:
        words = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    revisions = []
    for text in ("0", "0", "broken", "1", "1"):
        Path("which").write_text(text)
        git("add", "which")
        git("commit", "-q", "--allow-empty", "-m", text)
        revisions.append(git("rev-parse", "HEAD"))
    Path("build.sh").write_text(  # all builds have one path
        f'at=$(git show "$1:which"); [ "$at" != broken ] && cp "{folder}/build-$at" engine && echo engine\n'
    )
    code, found = answer(case, "--command", "sh build.sh {rev}", "--good", revisions[0], "--bad", "HEAD")
    assert (code, found["found"]["last_good"], found["found"]["first_bad"]) == (0, revisions[1], revisions[3])
    assert found["found"]["between"] == [revisions[2]]
