"""Planted faults are reported with their kind and place, and runs without a fault report no difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffcheck.cli import main as entry
from diffcheck.faults.samples import SAMPLES
from diffcheck.faults.selftest import PLANTS, Selftest, SelftestRun
from diffcheck.runner.request import Request
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


def test_faults_in_artifacts_of_the_corpus_are_reported(host):
    done = runs(host, 21, 30, CORPUS / "04-memory", CORPUS / "05-tables", CORPUS / "07-traps")
    assert not wrong(done)
    assert len(done) >= 30  # none of these has a harness entry


def test_the_same_seed_plants_the_same_faults(host):
    assert [(each.kind, each.where) for each in runs(host, 5, 12)] == [(each.kind, each.where) for each in runs(host, 5, 12)]


@pytest.mark.parametrize("arguments, code", [(("--faults", "10"), 0), ((str(CORPUS / "09-engine"), "--engine", "none"), 2)])
def test_the_command_reports_its_faults(arguments, code, capsys):
    assert entry.run(["selftest", "--seed", "3", *arguments]) == code
    if code == 0:
        assert "10 faults planted, 5 in the direct pass: 10 reported" in capsys.readouterr().out
