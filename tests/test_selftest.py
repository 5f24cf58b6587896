"""Planted faults are reported with their kind and place, and runs without a fault report no difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffcheck.cli import main as entry
from diffcheck.faults.samples import SAMPLES
from diffcheck.faults.selftest import PLANTS, Selftest, SelftestRun
from diffcheck.report import json_file
from diffcheck.report.evidence import statement
from diffcheck.runner.request import Request
from diffcheck.verdict import SelftestResult
from diffcheck_backends import wasmtime

CORPUS = Path(__file__).parent.parent / "corpus"
FAULTS = 120


def runs(host, seed: int, number: int, *paths: Path) -> list[SelftestRun]:
    test = Selftest(wasmtime.create(None, {}), wasmtime.create(None, {}), host, Request(()))
    test.prepare(paths)
    if not paths:
        assert len(test.artifacts) == len(SAMPLES), test.left_out
    return list(test.run(seed, number))


def wrong(done: list[SelftestRun]) -> list[str]:
    return [
        f"{each.mode} {each.artifact}: {each.kind} at {each.where}: {each.expected}: {each.reported}"
        for each in done
        if not each.correct
    ]


def test_every_planted_fault_is_reported_and_clean_runs_agree(host):
    done = runs(host, 20, FAULTS)
    faulty, clean = [each for each in done if each.kind], [each for each in done if not each.kind]
    assert not wrong(done)
    assert not [each for each in faulty if each.missed]
    assert len(faulty) == len(clean) == FAULTS
    assert sum(each.mode == "direct" for each in faulty) == FAULTS // 2
    assert {(each.mode, each.kind) for each in faulty} == {(mode, kind) for mode, kinds in PLANTS.items() for kind in kinds}
    assert {each.words for each in faulty} == {True, False}


@pytest.mark.whole
def test_faults_in_artifacts_of_the_corpus_are_reported(host):
    done = runs(host, 21, 15, CORPUS / "04-memory", CORPUS / "05-tables", CORPUS / "07-traps")
    assert not wrong(done)
    assert len(done) >= 15  # none of these has a harness entry


@pytest.mark.whole
def test_the_same_seed_plants_the_same_faults(host):
    assert [(each.kind, each.where) for each in runs(host, 5, 12)] == [(each.kind, each.where) for each in runs(host, 5, 12)]


@pytest.mark.parametrize("arguments, code", [(("--faults", "10"), 0), ((str(CORPUS / "09-engine"), "--engine", "none"), 2)])
def test_the_command_reports_its_faults(arguments, code, capsys):
    assert entry.run(["selftest", "--seed", "3", *arguments]) == code
    if code == 0:
        assert "10 faults planted, 5 in the direct pass: 10 reported" in capsys.readouterr().out


def test_a_run_reports_the_last_selftest_of_the_same_diffcheck(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("x.wat").write_text('(module (func (export "run") (result i32) i32.const 7))')
    assert entry.run(["selftest", "--seed", "3", "--faults", "4"]) == 0
    found = []
    for digest in (statement.own_digest(), "another"):
        monkeypatch.setattr(statement, "own_digest", lambda digest=digest: digest)
        assert entry.run(["run", "x.wat", "--subject", "wasmtime-pulley"]) == 0
        found.append(json_file.read(Path("reports", "report.json")))
    assert found[0].selftest == SelftestResult(found[0].selftest.sha256, "wasmtime", 3, faults=4, reported=4, findings=0)
    assert found[1].selftest is None
    evidence = statement.statement(found[0], "")["predicate"]["diffcheck"]
    assert evidence["selftest"]["reported"] == 4
