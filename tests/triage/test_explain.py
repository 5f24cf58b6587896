"""Two runs side by side: where traces and counters part, and the call path."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess

import msgspec
import pytest
import wasmtime
from click.testing import CliRunner

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.cli.command_group import cli
from diffcheck.errors import NothingToDoError
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.observation import Cost, FinalState, Returned, RowRecord, Trapped
from diffcheck.runner import planning
from diffcheck.runner.observation_reader import CaseObservation, Stop
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.passes.decoded_instance import DecodedInstance
from diffcheck.runner.request import Request
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.location import Localisation
from diffcheck.triage.localise.side_by_side import compare_side_by_side
from diffcheck.triage.tracing import control_flow
from diffcheck.wasm import module, section
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.debug.dwarf import source_line
from diffcheck.wasm.values import Value
from diffcheck.witness.formats import BranchPlace
from tests.doubles.instruction_faults import draw

ANSWER = Localisation("instruction", "a.wasm", row="go")
PLACES = {4: BranchPlace("parse", "br_if", "parse.c", 12)}


def seen(trace=(), result=1, counters=None, stops=(), also=None):
    """A run of one row with that trace, as (branch, value) pairs, and of a later one with the result ``also`` where that is given."""
    raw = b"".join(struct.pack("<HBB", branch, value, 0) for branch, value in trace)
    row = RowRecord("go", Returned(), (Value("i32", result),), trace=raw)
    state = FinalState(counters or {}, {}, (), (), ())
    rows = (row,) if also is None else (row, RowRecord("later", Returned(), (Value("i32", also),), trace=b""))
    return CaseObservation((DecodedInstance(rows, state),), stops, Cost())


def lines(found):
    return [(each.where, each.oracle, each.subject, each.same) for each in found]


def test_a_trace_is_shown_from_the_last_records_that_agree_to_the_first_that_differ():
    same = [(1, 0), (2, 1), (3, 0), (4, 1)]
    found = compare_side_by_side(ANSWER, seen([*same, (4, 1), (5, 0)]), seen([*same, (4, 0)]), PLACES)
    assert lines(found.trace) == [
        ("record 1", "branch 2 is 1", "branch 2 is 1", True),
        ("record 2", "branch 3 is 0", "branch 3 is 0", True),
        ("record 3", "branch 4 is 1 (parse br_if parse.c:12)", "branch 4 is 1 (parse br_if parse.c:12)", True),
        ("record 4", "branch 4 is 1 (parse br_if parse.c:12)", "branch 4 is 0 (parse br_if parse.c:12)", False),
        ("record 5", "branch 5 is 0", "(ends)", False),
    ]
    assert lines(found.ends)[-1] == ("trace records", "6", "5", False)


def test_a_row_that_differs_is_shown_where_that_of_the_instruction_does_not():
    found = compare_side_by_side(ANSWER, seen([(1, 0)], also=3), seen([(1, 0)], also=4), {})
    assert (found.row, lines(found.ends)[0]) == ("later", ("outcome", "returned 3", "returned 4", False))
    both = compare_side_by_side(msgspec.structs.replace(ANSWER, row="later"), seen(result=1, also=3), seen(result=2, also=4), {})
    assert both.row == "later"


def test_traces_that_are_equal_are_not_shown():
    assert compare_side_by_side(ANSWER, seen([(1, 0)]), seen([(1, 0)], result=2), {}).trace == ()


def test_a_counter_that_differs_is_shown_with_its_neighbours():
    one, other = {1: 5, 4: 7, 9: 3, 12: 1}, {1: 5, 4: 8, 9: 3, 12: 1}
    found = compare_side_by_side(ANSWER, seen(counters=one), seen(counters=other), PLACES)
    assert lines(found.counters) == [
        ("counter 1", "5", "5", True),
        ("counter 4 parse br_if parse.c:12", "7", "8", False),
        ("counter 9", "3", "3", True),
    ]


def test_a_row_that_the_subject_did_not_finish_has_its_end():
    trap = Trapped("integer overflow")
    found = compare_side_by_side(ANSWER, seen(), CaseObservation((), (Stop("go", trap, state_reported=False),), Cost()), {})
    assert lines(found.ends) == [("outcome", "returned 1", "trapped: integer overflow", False)]


NESTED = """(module
  (func $inner (param i32) (result i32) (i32.mul (local.get 0) (i32.const 1234)))
  (func $unrelated (result i32) (i32.const 1))
  (func $outer (param i32) (result i32) (i32.add (call $unrelated) (call $inner (local.get 0))))
  (func (export "run_row_a") (result i32) (call $unrelated))
  (func $main (export "run_row_b") (result i32) (call $outer (i32.const 5))))"""


def test_the_call_path_has_every_activation_and_no_other(tmp_path):
    path = tmp_path / "p.wasm"
    path.write_bytes(wasmtime.wat2wasm(NESTED))
    oracle = registry.create("wasmtime", {})
    fault = Fault("", "", Expected(), edit=lambda data: data.replace(b"\x41\xd2\x09", b"\x41\xd3\x09"))
    try:
        with process.Reactor() as reactor:
            host = contract.Host(reactor, tmp_path)
            request = Request((), subject="wasmtime", mode="capsule", deadline_s=60.0)
            plan = planning.make(case_of(ObserveRequest(str(path))), request, oracle, oracle, oracle, host)
            answer = Localiser(plan, request, oracle, FaultyBackend(oracle, fault, words=False), host).localise()
    finally:
        oracle.close()
    assert answer.instruction == "i32.const 1234"
    assert [each.split()[0] for each in answer.path] == ["main", "outer", "inner"]


DEEP = """(module
  (table funcref (elem $leaf))
  (type $leaf (func (param i32 f32 v128) (result i32)))
  (func $leaf (type $leaf) (local $r externref) (local $n i64)
    (local.set $n (i64.const -2))
    (i32.mul (local.get 0) (i32.const 70000)))
  (func $tail (param i32) (result i32)
    (return_call_indirect (type $leaf) (local.get 0) (f32.const nan:0x200001) (v128.const i64x2 1 2) (i32.const 0)))
  (func $silent (param i32))
  (func $down (param $depth i32) (result i32)
    (call $silent (i32.const 9))
    (if (result i32) (local.get $depth)
      (then (call $down (i32.sub (local.get $depth) (i32.const 1))))
      (else (call $silent (i32.const 8)) (call $tail (i32.const 3)))))
  (func $main (export "run_row_deep") (result i32) (call $down (i32.const 2)))
  (func (export "run_row_again") (result i32) (call $down (i32.const 1))))"""


@pytest.mark.parametrize("skip, row, downs", [(0, "run_row_again", 2), (1, "run_row_deep", 3)])
def test_an_answer_has_operands_locals_and_every_activation_with_the_place_of_its_call(tmp_path, skip, row, downs):
    path = tmp_path / "p.wasm"
    path.write_bytes(wasmtime.wat2wasm(DEEP))
    oracle = registry.create("wasmtime", {})
    try:
        with process.Reactor() as reactor:
            host = contract.Host(reactor, tmp_path)
            request = Request((), subject="wasmtime", mode="capsule", deadline_s=60.0)
            plan = planning.make(case_of(ObserveRequest(str(path))), request, oracle, oracle, oracle, host)
            planted = next(
                each
                for at in range(50)
                if (each := draw(random.Random(at), plan.module, plan.artifact, "integer")).instruction == "i32.mul"
            )
            fault = msgspec.structs.replace(planted, divisor=1, residue=0, skip=skip, bit=4).fault(plan.module)
            answer = Localiser(plan, request, oracle, FaultyBackend(oracle, fault, words=False), host).localise()
    finally:
        oracle.close()
    assert (answer.depth, answer.instruction, answer.function) == ("instruction", "i32.mul", "leaf")
    assert (answer.row, answer.execution) == (row, skip + 1)
    assert (answer.oracle, answer.subject) == ("210000 (0x33450)", "210004 (0x33454)")
    assert answer.operands == ("3", "70000 (0x11170)")
    assert answer.locals == ("0: 3", "1: nan:0x200001", f"2: {(2 << 64) + 1:#034x}", "3: null", "4: -2 (0xfffffffffffffffe)")
    assert [each.instruction for each in answer.before[-4:]] == ["i64.const", "local.set", "local.get", "i32.const"]
    assert [each.value for each in answer.before[-2:]] == ["3", "70000 (0x11170)"]
    printed = [each.split() for each in answer.path]
    names = [name for name, _ in printed]
    assert names == ["main" if row == "run_row_deep" else row, *["down"] * downs, "leaf"], "the tail call's activation is gone"
    numbers = {"leaf": 0, "down": 3, "main": 4, "run_row_again": 5}
    places = [instruction_at(plan, numbers[name], int(offset, 16)) for name, offset in printed]
    assert [(each.name, each.immediates) for each in places] == [*[("call", (3,))] * downs, ("call", (1,)), ("i32.mul", ())]


def instruction_at(plan, function, offset):
    start, size = plan.module.bodies[function]
    body = plan.artifact[start : start + size]
    return next(each for each in instructions(body, start, start=read_locals(body).end) if each.offset == start + offset)


COMPILED = """int mul3(int x) {
  int y = x * 3;
  return y + 1;
}
int run_row_a(void) {
  return mul3(7);
}
"""


@pytest.mark.parametrize("version", [4, 5])
def test_lines_come_from_dwarf(tmp_path, version):
    clang, linker = (shutil.which(each) or shutil.which(f"{each}-19") for each in ("clang", "wasm-ld"))
    if not clang or not linker:
        pytest.skip("clang and wasm-ld are not on PATH")
    (tmp_path / "p.c").write_text(COMPILED)
    compiler = [clang, "--target=wasm32", f"-gdwarf-{version}", "-O0", "-c", "p.c"]
    subprocess.run(compiler, cwd=tmp_path, check=True)
    subprocess.run([linker, "--no-entry", "--export=run_row_a", "p.o", "-o", "p.wasm"], cwd=tmp_path, check=True)
    data = (tmp_path / "p.wasm").read_bytes()
    read = module.read(data)
    lines = set()
    for offset, size in read.bodies:
        body = data[offset : offset + size]
        code = list(instructions(body, offset, start=read_locals(body).end))
        lines |= {source_line(read, each.offset) for each in code if each.name in ("i32.mul", "call")}
    assert lines == {"p.c:2", "p.c:6"}


def test_broken_dwarf_gives_no_line_and_no_error():
    data = wasmtime.wat2wasm(NESTED)
    for content in (b"", bytes(40), b"\xff" * 40):
        broken = section.write(
            [*module.read(data).sections, section.custom(".debug_line", content), section.custom(".debug_info", content)]
        )
        assert source_line(module.read(broken), 60) == ""


@pytest.mark.parametrize("command", ["explain", "localise"])
def test_engines_that_agree_have_nothing_to_explain(command, tmp_path):
    path = tmp_path / "p.wasm"
    path.write_bytes(wasmtime.wat2wasm(NESTED))
    done = CliRunner().invoke(cli, [command, str(path), "--subject", "wasmtime-pulley"])
    assert done.exit_code == 0, done.output
    assert "the engines do not differ on the capsule" in done.stdout
    assert "does not test any other engine" in done.stderr


@pytest.mark.parametrize("command", ["explain", "localise"])
def test_a_case_goes_by_its_name_in_the_last_report(command, tmp_path):
    path = tmp_path / "artifacts" / "p.wasm"
    path.parent.mkdir()
    path.write_bytes(wasmtime.wat2wasm(NESTED))
    options = ["--subject", "wasmtime-pulley", "--reports", str(tmp_path / "reports")]
    ran = CliRunner().invoke(cli, ["run", str(path.parent), *options])
    assert ran.exit_code == 0, ran.output
    done = CliRunner().invoke(cli, [command, "p", *options])
    assert done.exit_code == 0, done.output
    assert "the engines do not differ on the capsule" in done.stdout
    gone = CliRunner().invoke(cli, [command, "q", *options])
    assert isinstance(gone.exception, NothingToDoError)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("f64.const nan:0x8000000000123", "f64.const nan:0x8000000000123"),
        ("f64.const -nan", "f64.const -nan"),
        ("f32.const -nan:0x200001", "f32.const -nan:0x200001"),
        ("f32.const 0.1", "f32.const 0.1"),
        ("f64.const -0", "f64.const -0.0"),
        ("f64.const inf", "f64.const inf"),
        ("i64.const -7", "i64.const -7"),
        ("v128.const i32x4 1 2 3 4", "v128.const i64x2 0x200000001 0x400000003"),
    ],
)
def test_a_constant_is_shown_as_the_text_format_has_it(text, words):
    def only(source):
        wasm = bytes(wasmtime.wat2wasm(f"(module (func {source} drop))"))
        offset, size = module.read(wasm).bodies[0]
        body = wasm[offset : offset + size]
        return next(instructions(body, start=read_locals(body).end))

    assert control_flow.instruction_text(only(text)) == words
    assert only(words).immediates == only(text).immediates
