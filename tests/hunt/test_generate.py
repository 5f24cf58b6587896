"""Generated programs: valid, the same for the same seed, without traps unless they are made to trap, with every instruction."""

from __future__ import annotations

import pytest
import wasmtime

from diffcheck.hunt.generate.program import FEATURES, generate
from diffcheck.hunt.generate.weights import Outcomes, Weights
from diffcheck.runner.sweep.numeric import operations
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import all_instructions
from tests.hunt.running import CaseBench, programs

COUNT = 24


@pytest.fixture(scope="module")
def generated():
    return programs("1", COUNT)


@pytest.fixture(scope="module")
def reports(generated, tmp_path_factory):
    with CaseBench(tmp_path_factory.mktemp("programs")) as bench:
        return [bench.report(program) for program in generated]


def binary(program):
    return bytes(wasmtime.wat2wasm(program.text))


def test_the_same_seed_gives_the_same_programs(generated):
    assert programs("1", 5) == generated[:5]
    assert programs("2", 1) != generated[:1]


def test_every_program_is_valid_and_packed_programs_agree_without_a_trap(generated, reports):
    for program, report in zip(generated, reports, strict=True):
        assert report.verdict == "agree", (report.reason, program.text[:2000])
        if not program.traps:
            assert report.passes[0].oracle.cost.executions <= 2, "a row trapped"


def test_programs_have_hundreds_of_rows_and_about_a_seventh_may_trap(generated):
    packed = [each for each in generated if not each.traps]
    assert sum(len(each.rows) for each in packed) / len(packed) > 100
    assert 0.05 * COUNT < COUNT - len(packed) < 0.25 * COUNT


def test_results_are_not_mostly_zero(reports):
    found = [each.passes[0].agreement for each in reports]
    assert sum(each.values_nonzero for each in found) > 0.4 * sum(each.values for each in found)


def test_programs_have_the_instructions_of_all_features(generated):
    data = [binary(each) for each in programs("3", 150)]
    seen = {each.name for one in data for each in all_instructions(one, wasm.read(one).bodies)}
    numeric = {each.instruction for each in operations()}
    assert len(numeric - seen) <= len(numeric) // 10
    wanted = [
        "return_call",
        "call_indirect",
        "call_ref",
        "try_table",
        "throw",
        "throw_ref",
        "br_table",
        "struct.get",
        "array.copy",
        "ref.test",
        "br_on_cast",
        "br_on_cast_fail",
        "table.grow",
        "table.init",
        "table.copy",
        "elem.drop",
        "memory.init",
        "data.drop",
        "memory.copy",
        "memory.grow",
        "i64.atomic.rmw.add",
        "any.convert_extern",
        "array.new_data",
        "select_t",
        "br_on_null",
        "i64.add128",
        "i8x16.relaxed_swizzle",
        "v128.load8_lane",
    ]
    assert [each for each in wanted if each not in seen] == []


def test_what_diverges_is_drawn_less():
    weights = Weights(outcomes={"loop": Outcomes(diverged=50), "loop i32": Outcomes(diverged=50)})
    for name in ("i64", "f32", "f64", "v128"):
        weights.outcomes[f"loop {name}"] = Outcomes(diverged=50)
    used = [
        sum(name.startswith("loop") for program in programs("1", 20, each) for name, _ in program.cells)
        for each in (weights, Weights())
    ]
    assert used[0] < used[1] / 5


def test_what_was_seen_least_is_drawn_most():
    weights = Weights()
    for at in range(40):
        generate(f"1 {at}", weights)
    before = {name for name in weights.seen if " in " not in name}
    again = generate("1 41", weights)
    assert sum(weights.times(name, around) == 1 for name, around in again.cells) > len(again.cells) // 20
    assert before


def test_integers_have_their_longest_encoding_where_programs_diverge_without_it():
    names = [f"short encoding of {each}" for each in FEATURES]
    padded = [
        sum(each.padded for each in programs("1", 60, Weights(outcomes=outcomes)))
        for outcomes in ({}, dict.fromkeys(names, Outcomes(diverged=50)))
    ]
    assert padded[0] < 12
    assert padded[1] > 30
