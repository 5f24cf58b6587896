"""The sweep: programs of every instruction, the search for operands, attribution, and the map."""

from __future__ import annotations

import json
import math
import time
from collections import Counter

import msgspec
import pytest
import wasmtime

from diffcheck import process
from diffcheck.cli.main import run
from diffcheck.observation import Identity
from diffcheck.report import html_page
from diffcheck.runner.sweep import coverage, numeric, operations
from diffcheck.runner.sweep.operands import operands
from diffcheck.runner.sweep.padding import padded_module
from diffcheck.runner.sweep.programs import call, calls, packed, whole
from diffcheck.runner.sweep.sweep import Sweep
from diffcheck.verdict import Tool
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import all_instructions
from diffcheck.wasm.opcodes import OPS
from tests.campaigns.sweep_engine import SweepBench, Wrong

NUMBERS = {"i32", "i64", "f32", "f64", "v128"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with process.Reactor() as reactor:
        made = SweepBench(reactor, tmp_path_factory.mktemp("sweep"))
        yield made
        made.close()


def swept(bench, wrong, *instructions, family=operations.FAMILIES):
    chosen = [each for each in operations.of(family) if not instructions or each.instruction in instructions]
    bench.wrong = wrong
    sweep = Sweep(chosen, bench)
    sweep.run(1, 0.0)
    return sweep


def test_a_stopped_sweep_begins_no_other_stage_and_does_not_use_up_its_time(bench):
    bench.wrong = None
    stages = []
    chosen = [each for each in operations.of({"numeric"}) if each.instruction in ("i32.add", "i32.div_u")]
    begun = time.monotonic()
    Sweep(chosen, bench, stages.append, lambda: len(stages) == 2).run(1, 30.0)
    assert (len(stages), time.monotonic() - begun < 10) == (2, True)


def numbers_only(op):
    return op.params and op.results and {*op.params, *op.results} <= NUMBERS and "memarg" not in op.immediates


def test_every_instruction_on_numbers_and_vectors_has_an_operation():
    found = {each.instruction for each in numeric.operations()}
    assert found == {op.name for op in OPS if numbers_only(op) and not {"memidx", "tableidx"} & set(op.immediates)}


def test_every_instruction_of_the_table_has_an_operation():
    found = Counter(each.name for each in operations.of(operations.FAMILIES))
    assert {each.instruction for each in operations.of(operations.FAMILIES)} == {op.name for op in OPS}
    assert not [name for name, count in found.items() if count > 1]


@pytest.mark.parametrize("family", ["control", "tables", "references", "exceptions"])
def test_every_call_is_valid_and_traps_only_where_the_operation_says_so(bench, family):
    bench.wrong = None
    rows = [
        call(each, values, class_)
        for each in operations.of({family})
        if each.rows and each.form != "legacy"
        for class_, values in each.cases()
        if each.traps is None or not each.traps(values)
    ]
    for program, report in bench(Sweep((), bench)._programs(rows), None):
        assert report.verdict == "agree", (report.reason, [each.text for each in program.rows])
        capsule = report.passes[0]
        assert capsule.oracle.cost.executions <= 2, [each.text for each in program.rows]


def test_a_padded_module_has_the_same_instructions_with_longer_integers():
    for name in ("i64.const", "br_table", "memory.fill", "struct.get", "call_indirect"):
        padded = [each for each in operations.of({"immediates"}) if each.padded and each.instruction == name]
        operation = padded[-1]
        plain = bytes(wasmtime.wat2wasm(calls([call(operation, *operation.chosen[:1] or ((),))]).text))
        longer = padded_module(plain)
        assert len(longer) > len(plain), name
        names = [[each.name for each in all_instructions(data, wasm.read(data).bodies)] for data in (plain, longer)]
        assert names[0] == names[1]


@pytest.mark.parametrize(
    ("family", "instruction", "class_"),
    [
        ("tables", "table.fill", "odd"), ("references", "i31.get_s", "odd"), ("references", "array.set", ""), ("exceptions", "throw", ""),
        ("memory", "i32.load8_s", "odd"), ("memory", "i64.store16", ""), ("control", "select", "odd"), ("control", "i64.const", ""),
    ],
)  # fmt: skip
def test_a_wrong_instruction_of_another_family_is_found(bench, family, instruction, class_):
    needed = {instruction, "i64.load", "i32.add", "local.get", "table.get", "array.get", "ref.is_null"}
    sweep = swept(bench, Wrong(instruction, class_), *needed, family={family, "control"})
    assert {each.operation.instruction for each in sweep.found} == {instruction}


def test_every_packed_program_is_valid_and_each_row_is_a_cell():
    for each in numeric.operations():
        if not each.rows:
            program = packed([whole(each)])
            wasmtime.wat2wasm(program.text)
            assert sum(row.checks for row in program.rows) == math.prod(len(table.values) for table in whole(each).tables)
            assert [row.class_ for row in program.rows] == list(dict.fromkeys(whole(each).tables[0].classes))


@pytest.mark.parametrize("name", ["i32.div_s", "i64.rem_u", "i32.trunc_f32_s", "i64.trunc_f64_u", "i32.trunc_f64_u"])
def test_the_operands_that_trap_are_those_that_trap_in_an_engine(name):
    operation = next(each for each in numeric.operations() if each.name == name)
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, wasmtime.wat2wasm(bits_function(operation))), []).exports(
        store
    )
    for _, values in operation.cases():
        try:
            exports["bits"](store, *(signed(value, type_) for value, type_ in zip(values, operation.params, strict=True)))
            trapped = False
        except wasmtime.Trap:
            trapped = True
        assert operation.traps(values) == trapped, values


def bits_function(operation):
    """The operation with its operands as integers, since Python's floats lose the bits of NaNs."""
    reinterpret = {"f32": ("i32", "f32.reinterpret_i32"), "f64": ("i64", "f64.reinterpret_i64")}
    params = " ".join(f"(param {reinterpret.get(each, (each,))[0]})" for each in operation.params)
    pushed = " ".join(f"local.get {at} {reinterpret.get(each, ('', ''))[1]}" for at, each in enumerate(operation.params))
    return f'(module (func (export "bits") {params} (result {operation.results[0]}) {pushed} {operation.text}))'


def signed(value, type_):
    bits = 64 if type_.endswith("64") else 32
    return value - (1 << bits) if value >> bits - 1 else value


def test_random_operands_follow_from_the_seed():
    assert operands("i64", 5, 40) == operands("i64", 5, 40) != operands("i64", 6, 40)
    assert operands("f32x4", 5, 40).type == "v128"


def test_a_sweep_without_a_fault_agrees_in_every_cell(bench):
    sweep = swept(bench, None, "i32.mul", "f64.add", "f32x4.min", "i64.div_s", "f32.relaxed_madd")
    assert {each.outcome for each in sweep.cells if not each.class_.startswith("trap")} == {"agree"}
    assert sweep.found == []


@pytest.mark.parametrize(
    ("instruction", "class_"),
    [
        ("i32.mul", "negative"), ("f64.add", "odd"), ("i64.add", ""), ("i64.rotl", "negative"), ("i8x16.add_sat_s", "odd"),
        ("v128.bitselect", "negative"), ("i64.extend_i32_u", "negative"), ("i64x2.extract_lane", ""), ("i32.trunc_f64_s", "negative"),
        ("i64.add128", "odd"), ("i8x16.shuffle", "negative"), ("f32.demote_f64", ""),
    ],
)  # fmt: skip
def test_a_wrong_instruction_is_found_with_its_operands(bench, instruction, class_):
    others = ("i32.xor", "f32.sub", "i64.sub", "f64x2.mul", "i32.wrap_i64")
    sweep = swept(bench, Wrong(instruction, class_), instruction, *others)
    assert {each.operation.instruction for each in sweep.found} == {instruction}
    assert not any(each.packed for each in sweep.found)
    diverging = sweep.cells and [each for each in sweep.cells if each.outcome == "diverge"]
    assert {each.instruction for each in diverging} == {instruction}
    if class_ == "negative" and instruction == "i32.mul":
        assert all(each.text.startswith("i32.mul=-") for each in sweep.found)


def test_a_wrong_instruction_of_the_loops_is_found_by_calls(bench):
    sweep = swept(bench, Wrong("i32.add"), "i32.add", "f32.sub")
    assert {each.operation.name for each in sweep.found} == {"i32.add call"}
    assert {each.outcome for each in sweep.cells if each.instruction == "f32.sub"} == {"not reached"}


def test_a_case_of_a_finding_is_a_program_of_one_function(bench):
    sweep = swept(bench, Wrong("i32.mul", "negative"), "i32.mul")
    program = calls(sweep.found)
    assert program.text.count("(func") == 1
    assert "i32.mul" in program.text


def a_map(*cells, families=("numeric",)):
    identity = Identity("engine", "1", "")
    return coverage.SweepMap(coverage.SCHEMA, Tool("diffcheck", "0"), identity, identity, "", 0, 1, families, cells)


def test_a_map_says_what_share_was_checked_and_what_was_lost():
    agrees, missed = (coverage.Cell("numeric", "i32.add", "limits", outcome, checks=3) for outcome in ("agree", "not reached"))
    random = coverage.Cell("numeric", "i32.add", "random", "agree")
    other = coverage.Cell("vector", "v128.and", "limits", "agree")
    assert a_map(agrees, other).share == 1.0
    assert a_map(missed, other).line.startswith("50.0% checked: 1 of 2 cells")
    assert coverage.lost(a_map(agrees, random, other), a_map(missed)) == (agrees,)


def test_the_page_of_a_map_escapes_what_engines_say():
    page = html_page.sweep(a_map(coverage.Cell("numeric", "i32.add", "limits", "unsupported", reason="<script>alert(1)</script>")))
    assert b"<script>" not in page
    assert b"i32.add" in page


def test_the_command_writes_the_map_and_strict_compares_it_with_the_last_one(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ["sweep", "--subject", "wasmtime-pulley", "--family", "conversions", "--budget", "1", "--no-cache", "--strict"]
    assert run(words) == 0
    path = tmp_path / "reports" / "sweep" / "sweep.json"
    stored = msgspec.json.decode(path.read_bytes(), type=coverage.SweepMap)
    assert stored.families == ("conversions",)
    assert not stored.of("diverge")
    assert (path.parent / "sweep.html").is_file()
    more = json.loads(path.read_text())
    more["cells"].append({"family": "conversions", "instruction": "i32.gone", "class_": "limits", "outcome": "agree"})
    path.write_text(json.dumps(more))
    assert run(words) == 1
    assert "i32.gone (limits)" in capfd.readouterr().out


def test_a_family_that_does_not_exist_is_an_error_with_the_families(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    assert run(["sweep", "--family", "numerics", "--subject", "wasmtime-pulley"]) == 2
    assert "the families are control," in capfd.readouterr().err


def test_a_call_names_its_operands_as_rows_do():
    operation = next(each for each in numeric.operations() if each.name == "f32.add")
    assert call(operation, (0x7FC0_0000, 1)).text == "f32.add=nan,1.4013e-45"
