"""The campaigns in short: programs are what they should be, the twin proves faults, and the reports say what the twin does."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
import wasmtime

from diffcheck import process
from diffcheck.wasm.opcodes import OPS
from tests.campaigns import (
    clusters,
    histories,
    judged_faults,
    nan_campaign,
    nan_programs,
    nights,
    planted_faults,
    proof,
    sliced_faults,
    sparse_programs,
    table_programs,
    trap_programs,
    write_programs,
)
from tests.campaigns.planted_faults import CLASSES
from tests.campaigns.program import Place
from tests.campaigns.trial import Bench, Edit, draw, judge

GENERATORS = {each[2].__module__.rpartition(".")[2]: each[2] for each in CLASSES} | {"sparse_programs": sparse_programs.generate}


@pytest.fixture
def benches(tmp_path):
    with process.Reactor() as reactor:
        found = tuple(Bench(reactor, tmp_path, subject) for subject in ("wasmtime", "wasmtime-pulley"))
        yield found
        for bench in found:
            bench.close()


@pytest.mark.parametrize("name", GENERATORS)
def test_a_program_and_its_twin_are_valid_and_the_twin_does_the_same_each_time(name):
    for seed in range(4):
        program = GENERATORS[name](seed)
        wasmtime.Module(proof.engine(canonical=True), wasmtime.wat2wasm(program.artifact()))
        assert program.artifact() == GENERATORS[name](seed).artifact()
        seen = proof.behaviour(program)
        assert proof.differences(seen, proof.behaviour(program)) == []
        assert {each.place.row for each in seen} >= set(program.rows)


@pytest.mark.parametrize("name", GENERATORS)
def test_every_wrong_sequence_of_a_program_is_valid_in_the_place_of_its_instruction(name):
    program = GENERATORS[name](7)
    for at in (at for kind in {site.kind for site in program.sites} for at in program.of_kind(kind)[:2]):
        for fault in range(len(program.sites[at].wrong)):
            right = wasmtime.wat2wasm(program.artifact(at))
            edited = Edit(right, wasmtime.wat2wasm(program.artifact(at, fault)))(right)
            wasmtime.Module.validate(proof.engine(canonical=True), edited)
            assert edited != right


def test_there_is_a_program_for_every_instruction_that_changes_state():
    programs = [write_programs.generate(seed) for seed in range(len(write_programs.INSTRUCTIONS))]
    found = [each.sites[0].instruction.split()[0] for each in programs]
    assert found == list(write_programs.INSTRUCTIONS)
    others = {op.name for op in OPS} - set(found)
    assert not [each for each in others if each.endswith((".set", ".fill", ".drop", ".grow")) or "store" in each or "rmw" in each]


def test_a_fault_that_never_shows_is_not_drawn():
    program = trap_programs.generate(1)
    twice = msgspec.structs.replace(
        program, sites=tuple(msgspec.structs.replace(site, wrong=(site.instruction,)) for site in program.sites)
    )
    assert draw(twice, Random(1), "state before a trap") == (None, 12)


def test_state_at_a_trap_is_no_place_for_an_engine_that_carries_none():
    program = trap_programs.generate(3)
    right = proof.behaviour(program)
    at_trap = {each.place.item for each in right if each.at_trap and not each.place.row}
    assert at_trap == {"global g_i32", "global g_i64", "global g_f64", "memory"}


def test_a_divergence_at_another_place_is_not_right(benches):
    program = table_programs.generate(4)
    drawn, _ = draw(program, Random(4), "table element")
    elsewhere = msgspec.structs.replace(drawn, first=(Place("f0=1", "result 3"),))
    report = benches[0].run(program, marked=drawn.marked, fault=drawn.fault)
    assert not judge(program, elsewhere, report).right


@pytest.mark.whole
@pytest.mark.parametrize("class_", dict.fromkeys(CLASSES), ids=lambda each: each[0])
def test_planted_faults_are_reported_at_their_row_and_item(benches, class_):
    found = list(planted_faults.trials(benches, 5, 1, (class_,)))
    assert all(each.trial for each in found)
    assert [each for each in found if not each.trial.right] == []


@pytest.mark.parametrize("class_", ["write", "other branch", "other element", "refused function"])
def test_planted_faults_show_in_a_slice_as_in_the_whole(benches, class_, monkeypatch):
    monkeypatch.setattr(sparse_programs, "FUNCTIONS", (60, 70))
    (found,) = sliced_faults.trials(benches, 4, 1, (class_,))
    assert not found.missed


@pytest.mark.whole
def test_the_engine_that_stands_alone_is_named_and_of_two_with_one_fault_none(benches):
    found = list(judged_faults.trials(benches[0], 2, 3, 2))
    assert [each.faulty for each in found] == [("oracle",), ("subject",), ("judge",), ("subject", "judge"), ("oracle", "judge")]
    assert [each for each in found if not each.right] == []


def test_the_first_build_with_a_fault_is_found_in_nine_runs(benches):
    found = list(histories.histories(benches[0], 2, 2, 64))
    assert [each for each in found if each.problem or each.runs > histories.RUNS] == []


def test_nan_programs_agree_between_compiler_and_interpreter(benches):
    seeds = (1, 2, 3)
    assert [seed for seed in seeds if benches[1].run(nan_programs.generate(seed)).verdict != "agree"] == []
    assert set(nan_campaign.KINDS) <= {site.kind for seed in range(40) for site in nan_programs.generate(seed).sites}


@pytest.mark.whole
def test_six_nights_have_no_wrong_state_in_the_baseline():
    score = nights.nights(5, 6)
    assert score.appeared
    assert score.fixes
    assert score.wrong == 0


@pytest.mark.whole
def test_a_wrong_instruction_is_named_in_each_program_that_it_shows_in():
    ((_, found),) = clusters.of_seed(1, 1, 30, 1, programs=6)
    assert len({each.artifact for each in found}) >= clusters.LEAST
    assert all(each.right for each in found)
