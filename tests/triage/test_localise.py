"""Localising: planted faults, chosen by a seed, are named exactly. The long version is ``tests/campaigns/localise.py``."""

from __future__ import annotations

import random

import msgspec
import pytest
import wasmtime

from diffcheck import process
from diffcheck.backend import contract, registry
from diffcheck.capsule.build import first_extension
from diffcheck.capsule.constants import Types
from diffcheck.errors import ArtifactError, CaseError
from diffcheck.runner import planning
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.request import Request
from diffcheck.triage import localise_artifact
from diffcheck.triage.localise import localiser
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.memory_writers import loaded_bits
from diffcheck.triage.tracing import instrument
from diffcheck.triage.tracing.event_log import VARIANTS
from diffcheck.triage.tracing.log_writer import BEGIN, TAKE, VISIT
from diffcheck.triage.tracing.probes import HelperKey, Helpers
from diffcheck.wasm import module
from diffcheck.wasm import section as ids
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.leb import Reader, u
from diffcheck.wasm.typing import type_body
from tests.doubles.instruction_faults import draw
from tests.triage.localising import changed, localised
from tests.triage.trials import CORPUS, Bench, child_with
from tests.triage.unchanged import compared

SMALL = 8_000  # bytes: programs that are quickly instrumented


@pytest.fixture
def host(tmp_path):
    with process.Reactor() as reactor:
        yield contract.Host(reactor, tmp_path)


@pytest.mark.parametrize(
    "how, count, most_runs",
    [
        ({}, 4, 8),
        pytest.param({"words": True}, 1, 8, marks=pytest.mark.whole),  # a window at a time takes 18 s
        ({"everywhere": True}, 3, 8),
        pytest.param({}, 12, 8, marks=pytest.mark.whole),
        pytest.param({"words": True}, 2, 8, marks=pytest.mark.whole),
        pytest.param({"everywhere": True}, 7, 8, marks=pytest.mark.whole),
    ],
    ids=[f"{where}{of}" for of in ("", ", whole") for where in ("state at a trap", "windows", "everywhere")],
)
def test_planted_faults_are_named_by_function_offset_and_execution(host, how, count, most_runs):
    bench = Bench(host.reactor, host.folder, 3, largest=SMALL, **how)
    try:
        trials = [each for each in bench.trials(count) if not isinstance(each, str)]
    finally:
        bench.close()
    assert [str(each) for each in trials if not each.exact] == []
    assert len(trials) >= count * 3 // 4, "nearly every class has a fault that shows"
    assert max(each.answer.runs for each in trials) <= most_runs


LOOP = """(module (global $g (mut i64) (i64.const 0))
  (func (export "run_row_sum") (param) (result i64) (local $i i64)
    (loop $again
      (global.set $g (i64.add (global.get $g) (i64.mul (local.get $i) (i64.const 3))))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $i) (i64.const {turns}))))
    (global.get $g)))"""


def test_an_engine_without_a_fault_has_nothing_to_localise(host, tmp_path):
    answer = localised(host, LOOP.format(turns=10), lambda data: data, tmp_path)
    assert answer.depth == "none"
    assert "do not differ" in answer.why


def test_a_difference_that_goes_away_under_instrumentation_is_told_as_such(host, tmp_path):
    plain = b"\x42\x03\x7e\x7c"  # i64.const 3, i64.mul, i64.add: with a probe between them they are not next to each other
    answer = localised(host, LOOP.format(turns=10), lambda data: data.replace(plain, b"\x42\x04\x7e\x7c"), tmp_path)
    assert answer.depth == "row"
    assert "nothing differs under instrumentation" in answer.why


DATA = """(module (memory 1) (data (i32.const 64) "a table that is read")
  (func (export "run_row_a") (result i32) (i32.const 1)))"""


def test_a_state_that_differs_before_the_first_instruction_is_told_as_such(host, tmp_path):
    answer = localised(host, DATA, lambda data: data.replace(b"a table", b"a fable"), tmp_path)
    assert answer.depth == "row"
    assert "before any instruction ran" in answer.why
    assert "memory 0 at 0x42" in answer.why


ASTRAY = """(module (memory (export "memory") 1)
  (func $clear (param $at i32) (i32.store offset=16 (local.get $at) (i32.const 0)))
  (func $idle (param $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 300)))))
  (func (export "run_row_a") (result i32)
    (i32.store (i32.const 2048) (i32.const 77))
    (i32.store (i32.const 3072) (i32.const 5))
    (call $clear (i32.const 64))
    (call $idle (i32.const 0))
    {end}))"""
READ = "(v128.store (i32.const 3000) (v128.load (i32.const 2040))) (i32.const 5)"
FURTHER = b"\x36\x02\x10", b"\x36\x02\xc0\x0f"
"""Zero is stored at 0x50, where there is zero already; and at 0x800 instead, where something else is."""


def resized(data, old, new):
    """A program in which a body's bytes became others, of whatever size."""
    sections = ids.split(data)
    code = next(each for each in sections if each.id == ids.CODE)
    reader = code.reader()
    bodies = [bytes(reader.bytes(reader.u32())).replace(old, new) for _ in range(reader.u32())]
    content = u(len(bodies)) + b"".join(u(len(each)) + each for each in bodies)
    return ids.write([ids.section(ids.CODE, content) if each is code else each for each in sections])


@pytest.mark.parametrize("most_events", [10_000, 1000], ids=["all at once", "by function"])
@pytest.mark.parametrize("end, width", [(READ, 8), ("(i32.const 5)", 1)], ids=["read later", "never read"])
def test_a_store_of_what_was_there_already_that_went_elsewhere_is_named(host, tmp_path, monkeypatch, end, width, most_events):
    monkeypatch.setattr(localiser, "MAX_EVENTS", most_events)
    answer = localised(host, ASTRAY.format(end=end), lambda data: resized(data, *FURTHER), tmp_path)
    found = answer.depth, answer.function_index, answer.instruction, answer.execution
    assert found == ("instruction", 0, "i32.store offset=16", 1)
    assert answer.operands == ("64", "0")
    seen = f"has 0x{77:0{2 * width}x} at 0x800 of memory 0 afterwards", f"has 0x{0:0{2 * width}x}"
    assert (answer.oracle, answer.subject) == seen
    assert answer.confirmed
    assert answer.runs <= 8


def test_bytes_that_are_wrong_since_instantiation_are_told_as_such_though_a_load_shows_them_first(host, tmp_path):
    read = DATA.replace("(i32.const 1)", "(i32.load8_u (i32.const 66))")
    answer = localised(host, read, lambda data: data.replace(b"a table", b"a fable"), tmp_path)
    assert answer.depth == "row"
    assert "before any instruction ran" in answer.why
    assert "1 byte at 0x42 of memory 0, oracle 0x74, subject 0x66" in answer.why
    assert answer.confirmed
    assert "`i32.load8_u` of 66: wasmtime 116, wasmtime 102" in answer.notes[0]


@pytest.mark.parametrize(
    "name, word, bits",
    [
        ("i32.load", 0x8000_0001, 0x8000_0001),
        ("i32.load8_s", 0x80, 0xFFFF_FF80),
        ("i32.load8_u", 0x80, 0x80),
        ("i64.load32_s", 0x7FFF_FFFF, 0x7FFF_FFFF),
        ("i64.load16_s", 0x8000, 0xFFFF_FFFF_FFFF_8000),
        ("v128.load", 7, 7),
        ("f64.load", 7, None),
        ("v128.load8_splat", 7, None),
    ],
)
def test_what_a_load_gives_for_bytes(name, word, bits):
    assert loaded_bits(name, word) == bits


def test_a_load_that_is_wrong_itself_is_named_though_its_bytes_are_wrong_as_well(host, tmp_path):
    """An engine that stores elsewhere, and that loads two pages further on as well."""

    def twice_wrong(data):
        return resized(resized(data, *FURTHER), b"\x28\x02\x80\x10", b"\x28\x02\x80\x18")

    answer = localised(host, ASTRAY.format(end="(i32.load offset=2048 (i32.const 0))"), twice_wrong, tmp_path)
    assert (answer.depth, answer.instruction, answer.subject) == ("instruction", "i32.load offset=2048", "5")
    assert answer.notes == ("4 bytes at 0x800 of memory 0 differ since event 12, but the load does not return them",)


SILENT = """(module (global $g (mut i32) (i32.const 0))
  (func $inner (global.set $g (i32.const 5)))
  (func $outer (call $inner) (nop))
  (func (export "run_row_a") (call $outer) (unreachable)))"""


def test_a_trap_that_is_missing_behind_calls_that_leave_nothing_is_found_in_the_caller(host, tmp_path):
    answer = localised(host, SILENT, lambda data: resized(data, b"\x10\x01\x00", b"\x10\x01\x01"), tmp_path)
    assert (answer.depth, answer.function, answer.instruction) == ("instruction", "run_row_a", "unreachable")
    assert (answer.oracle, answer.subject) == ("trapped: unreachable", "returned")
    assert (answer.confirmed, answer.notes) == (True, ())
    assert answer.row == "run_row_a"
    assert answer.path == ("run_row_a 0x3",)


TRAPS = """(module (memory 1) (table 2 funcref)
  (func (export "run_row_a") (result i32) (drop (i32.add (i32.const 3) (i32.const 4))) {end}))"""
DIVIDES_BY_ZERO = b"\x1a\x41\x00\x6d"
KINDS = {
    "i32.div_s": ("(i32.div_s (i32.const 1) (i32.const 0))", b"\x00", "integer divide by zero", "unreachable"),
    "i32.div_s again": (
        "(i32.div_s (i32.const 0x80000000) (i32.const -1))", DIVIDES_BY_ZERO, "integer overflow", "integer divide by zero",
    ),
    "i32.load": ("(i32.load (i32.const 70000))", b"\x41\x00\x6d", "out of bounds memory access", "integer divide by zero"),
    "i32.trunc_f32_s": (
        "(i32.trunc_f32_s (f32.const nan))", b"\x1a\x00", "invalid conversion to integer", "unreachable",
    ),
}  # fmt: skip


@pytest.mark.parametrize("words", [False, True], ids=["state at a trap", "windows"])
@pytest.mark.parametrize("which", KINDS)
def test_a_trap_of_another_kind_is_confirmed_by_the_other_digest(host, tmp_path, which, words):
    text, code, one, other = KINDS[which]
    name = which.split(" ")[0]
    edit = changed(lambda each, raw: code if each.name == name else raw, own=True)
    answer = localised(host, TRAPS.format(end=text), edit, tmp_path, words=words)
    assert (answer.depth, answer.instruction, answer.difference) == ("instruction", name, "outcome")
    assert (answer.oracle, answer.subject) == (f"trapped: {one}", f"trapped: {other}")
    assert (answer.confirmed, answer.notes) == (True, ())


TURN = """(module (global $g (mut i32) (i32.const 0))
  (func $pick (param i32) (result i32)
    (if (result i32) (local.get 0) (then (i32.const 11)) (else (i32.const 22))))
  (func (export "run_row_a") (param) (result i32) (global.set $g (i32.const 1)) (call $pick (i32.const 4)))
  (func (export "run_row_b") (result i32) (call $pick (i32.const 0))))"""


def test_a_branch_that_is_taken_otherwise_says_where_each_engine_went_on(host, tmp_path):
    answer = localised(host, TURN, lambda data: resized(data, b"\x04\x7f", b"\x45\x04\x7f"), tmp_path)
    assert (answer.depth, answer.function_index, answer.offset, answer.instruction) == ("instruction", 0, 0x3, "if i32")
    assert answer.oracle == "went on to `i32.const` at 0x5 of `pick` (11)"
    assert answer.subject == "went on to `i32.const` at 0x8 of `pick` (22)"
    assert answer.operands == ("4",)
    assert answer.row == "run_row_a", "though both rows are in one run"
    assert [each.instruction for each in answer.before][-2:] == ["argument 0", "local.get"]


LARGE = """(module (memory i64 1 4)
  (func $fill (param i64) (memory.fill (i64.add (local.get 0) (i64.const 0x1fff0)) (i32.const 7) (i64.const 16)))
  (func (export "run_row_a") (result i64)
    (drop (memory.grow (i64.const 2)))
    (call $fill (i64.const 0))
    (i64.load offset=0x1fff8 (i64.const 8))))"""


def test_bytes_that_a_memory_has_only_later_are_watched_from_then_on(host, tmp_path):
    """A fill of a memory with 64-bit addresses, which begins where it should and goes on eight bytes too far."""
    fill = b"\xfc\x0b\x00"
    answer = localised(host, LARGE, lambda data: resized(data, fill, b"\x42\x08\x7c" + fill), tmp_path)
    assert (answer.depth, answer.instruction, answer.function_index) == ("instruction", "memory.fill 0", 0)
    assert answer.subject == "has 0x0707070707070707"


NANS = """(module
  (func (export "run_row_a") (result i32) (local $i i32)
    (loop $again
      (drop (i32.reinterpret_f32 (f32.floor (f32.reinterpret_i32 (i32.const 0x7fa00000)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const {turns}))))
    (i32.mul (local.get $i) (i32.const 1234))))"""


def test_the_bits_of_nans_do_not_stop_the_search(host, tmp_path):
    """Wasmtime's interpreter gives the floor of a signalling NaN other bits than its compiler, turn after turn."""
    pulley = registry.create("wasmtime-pulley", {})
    try:
        answer = localised(host, NANS.format(turns=50), wrong_constant, tmp_path, subject=pulley)
    finally:
        pulley.close()
    assert (answer.depth, answer.instruction, answer.notes) == ("instruction", "i32.const 1234", ())


def test_a_subject_that_refuses_the_deterministic_form_is_searched_in_the_artifact_itself(host, tmp_path):
    def edit(data):
        read = module.read(data)
        bodies = [data[offset : offset + size] for offset, size in read.bodies]
        found = {each.name for body in bodies for each in instructions(body, start=read_locals(body).end)}
        return data[:8] + b"\xff" if "f32.ne" in found else wrong_constant(data)  # only the form tests for NaN

    answer = localised(host, NANS.format(turns=2), edit, tmp_path)
    assert (answer.depth, answer.instruction) == ("instruction", "i32.const 1234")


PASSES = """(module (func $double (param i32) (result i32) (i32.add (local.get 0) (local.get 0)))
  (func $tail (param i32) (result i32) (return_call $double (local.get 0)))
  (func (export "run_row_a") (result i32) ({call} (i32.const 20))))"""
FLIP = b"\x41\x01\x73"


@pytest.mark.parametrize(("call", "name"), [("call $double", "call"), ("call $tail", "return_call")])
def test_a_call_that_passes_a_wrong_argument_is_named_and_not_the_read(host, tmp_path, call, name):
    wrong = changed(lambda each, raw: FLIP + raw if each.name == name and each.immediates[0] == 0 else raw, own=True)
    answer = localised(host, PASSES.format(call=call), wrong, tmp_path)
    assert (answer.depth, answer.instruction, answer.oracle, answer.subject) == (
        "instruction",
        f"{name} 0",
        "passed 20",
        "passed 21",
    )


FLOATS = """(module
  (func $sign (param f32) (result f32) (f32.copysign (local.get 0) (f32.const -1)))
  (func (export "run_row_a") (result i32)
    (drop (f32.div (f32.const 0) (f32.const 0)))
    (i32.reinterpret_f32 (call $sign (f32.reinterpret_i32 (i32.const 0x7fa00001)))))
  (func (export "run_row_b") (result f32) (f32.floor (f32.sqrt (f32.const 2)))))"""
ABS = b"\x8b"


def after(name, code):
    """The edit that puts code behind every execution of an instruction."""
    return changed(lambda each, raw: raw + code * (each.name == name))


@pytest.mark.parametrize(
    "name, row, operands, wrong",
    [
        ("f32.copysign", "run_row_a", ("nan:0x200001", "-1 (0xbf800000)"), "nan:0x200001"),
        ("f32.floor", "run_row_b", ("1.4142135 (0x3fb504f3)",), "-1 (0xbf800000)"),
    ],
)
def test_an_instruction_in_deterministic_form_has_its_place_in_the_artifact(host, tmp_path, name, row, operands, wrong):
    """What checks an open instruction moves all that follows it; NaN operands are shown with sign and payload."""
    wasm = bytes(wasmtime.wat2wasm(FLOATS))
    answer = localised(host, wasm, after(name, ABS if name == "f32.copysign" else b"\x8c"), tmp_path)
    assert (answer.depth, answer.instruction, answer.row, answer.operands) == ("instruction", name, row, operands)
    assert answer.subject == wrong
    encoding = {"f32.copysign": b"\x98", "f32.floor": b"\x8e"}[name]
    assert wasm[answer.file_offset : answer.file_offset + 1] == encoding
    offset, _ = module.read(wasm).bodies[answer.function_index]
    assert answer.offset == answer.file_offset - offset
    assert answer.path[-1].endswith(f" {answer.offset:#x}")


OPEN_SIGN = """(module
  (func (export "run_row_a") (result f64) (f64.copysign (f64.const 1) (f64.div (f64.const 0) (f64.const 0)))))"""


def test_the_sign_of_a_nan_that_is_open_is_not_blamed(host, tmp_path):
    answer = localised(host, OPEN_SIGN, after("f64.div", b"\x9a"), tmp_path)
    assert answer.depth == "none"
    assert "choices that the specification leaves open" in answer.why


CALLS = """(module
  (func $other (param i32) (result i32) (local $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 20))))
    (i32.xor (local.get 0) (i32.const 77)))
  (func $wrong (param i32) (result i32) (i32.mul (local.get 0) (i32.const 1234)))
  (func (export "run_row_a") (result i32) (local $i i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (call $other (local.get $sum)) (call $wrong (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 60))))
    (local.get $sum)))"""


def wrong_constant(data):
    return data.replace(b"\x41\xd2\x09", b"\x41\xd3\x09")


def test_what_has_too_many_events_is_narrowed_by_function_first(host, tmp_path, monkeypatch):
    monkeypatch.setattr(localiser, "MAX_EVENTS", 1300)  # the function that is called besides has more
    answer = localised(host, CALLS, wrong_constant, tmp_path)
    assert (answer.depth, answer.instruction, answer.function_index) == ("instruction", "i32.const 1234", 1)
    assert "narrowed by function first" in answer.notes
    assert answer.confirmed


def test_what_has_too_many_events_of_calls_is_told_as_such(host, tmp_path, monkeypatch):
    monkeypatch.setattr(localiser, "MAX_EVENTS", 100)
    answer = localised(host, CALLS, wrong_constant, tmp_path)
    assert answer.depth == "row"
    assert "events of calls are too many" in answer.why


def test_an_engine_that_does_not_begin_what_has_too_many_events_has_no_execution_to_localise_in(host, tmp_path, monkeypatch):
    monkeypatch.setattr(localiser, "MAX_EVENTS", 1300)
    path = tmp_path / "program.wasm"
    path.write_bytes(wasmtime.wat2wasm(CALLS))
    oracle = registry.create("wasmtime", {})
    request = Request((), subject="wasmtime", mode="capsule", deadline_s=60.0)
    try:
        plan = planning.make(case_of(ObserveRequest(str(path))), request, oracle, oracle, oracle, host)
        answer = Localiser(plan, request, oracle, registry.create("harness:false", {}), host).localise()
    finally:
        oracle.close()
    assert answer.depth == "row"
    assert "before the first event" in answer.why


def test_a_function_that_cannot_be_typed_is_named_as_far_as_its_entry_shows(host, tmp_path, monkeypatch):
    def refuses(module_, funcidx, *rest):
        if funcidx == 1:
            raise ArtifactError("unknown instruction 0xfc 0x63 at offset 0x42")
        return type_body(module_, funcidx, *rest)

    monkeypatch.setattr(instrument, "type_body", refuses)
    answer = localised(host, CALLS, wrong_constant, tmp_path)
    assert (answer.depth, answer.function_index) == ("instruction", 2)
    assert answer.instruction == "call 1"
    assert any("only the entry of function 1 is logged: unknown instruction 0xfc 0x63" in note for note in answer.notes)


def test_a_million_events_take_three_runs_and_one_to_confirm(host, tmp_path):
    late = b"\x42" + b"\xa0\x8d\x06" + b"\x54"  # i64.const 100000, i64.lt_u
    less = b"\x42" + b"\x9f\x8d\x06" + b"\x54"

    def edit(data):
        probed = data.find(late) < 0
        return data.replace(late[:-1], less[:-1], 1) if probed else data.replace(late, less)

    answer = localised(host, LOOP.format(turns=100_000), edit, tmp_path)
    assert (answer.depth, answer.instruction) == ("instruction", "i64.const 100000")
    assert answer.events > 1_000_000
    assert answer.runs <= 5


@pytest.mark.whole
def test_a_trap_that_only_this_engine_has_is_found_though_it_reports_nothing(host, tmp_path):
    """An engine of the harness protocol: windows only, nothing at a trap. Tens of thousands of events come before the trap."""
    path = tmp_path / "program.wasm"
    path.write_bytes(wasmtime.wat2wasm(LOOP.format(turns=10_000)))
    oracle = registry.create("wasmtime", {})
    request = Request((), subject="wasmtime", mode="capsule", deadline_s=60.0)
    try:
        plan = planning.make(case_of(ObserveRequest(str(path))), request, oracle, oracle, oracle, host)
        drawn = draw(random.Random(1), plan.module, plan.artifact, "trap wrong")
        assert drawn.instruction == "i64.mul"
        fault = msgspec.structs.replace(drawn, divisor=1, residue=0, skip=4_321)
        answer = Localiser(plan, request, oracle, child_with(fault, plan.artifact, host.folder), host).localise()
    finally:
        oracle.close()
    assert (answer.instruction, answer.execution, answer.confirmed) == ("i64.mul", 4_322, True)
    assert answer.events > 100_000
    assert answer.runs <= 8


SHARED = {"local.get", "local.set", "i32.const", "i64.const", "call", "drop", "if", "else", "loop", "br", "br_if", "block", "end"}
"""What no code can do without."""


def test_the_two_digests_share_no_instruction_that_computes_compares_loads_or_stores():
    """A fault in an instruction of one is none of the other's."""
    used = {}
    for variant in VARIANTS:
        read = module.read(wasmtime.wat2wasm("(module (memory 1))"))
        helpers = Helpers(read, first_extension(read), variant)
        for width in (1, 2, 4, 8):
            helpers.index(HelperKey("memory", width=width))
        names = dict.fromkeys(("rec", "m", "exit", "reserve", "record", "finish", "digest", "SCRATCH", "LANES"), 0)
        code = [entry for _, entry in helpers.functions(Types(9), names, unwind=True)]
        of_memory = (TAKE, VISIT, BEGIN)  # what takes memory only says where to look
        bodies = [entry for at, entry in enumerate(code) if at not in of_memory]
        used[variant] = {each.name for body in bodies for each in expression(body)}
    assert used["rotate"] & used["add"] - SHARED <= {"throw", "v128.load", "f32.store", "f64.store", "i32.load16_u"}


def expression(entry):
    reader = Reader(entry)
    body = reader.bytes(reader.u32())
    return instructions(body, start=read_locals(body).end)


def test_a_row_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    path = tmp_path / "p.wasm"
    path.write_bytes(wasmtime.wat2wasm(LOOP.format(turns=10)))
    with pytest.raises(CaseError, match="no row nowhere") as caught:
        localise_artifact.localise(Request((str(path),), subject="wasmtime-pulley", mode="capsule"), "nowhere", lambda _: None)
    assert "run_row_sum" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["06-control/exceptions", "03-arithmetic/i32_edges", "05-tables/table_editing", "04-memory/bulk_memory"]
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_instrumented_a_program_gives_the_same_results(host, name, variant):
    bench = Bench(host.reactor, host.folder, 0)
    try:
        plan = bench.plan(str(CORPUS / f"{name}.wasm"))
        work = Localiser(plan, bench.request, bench.oracle, bench.inner, bench.host)
        seen = compared(work, plan, variant)
    finally:
        bench.close()
    assert seen.differences == ()
    assert seen.events > 100


@pytest.mark.parametrize("thrown", ["throw", "throw_ref"])
def test_a_wrong_payload_is_blamed_on_what_throws_and_not_on_the_end_of_the_handler(host, tmp_path, thrown):
    again = "(block $r (result exnref) (try_table (catch_all_ref $r) (call $thr (local.get 0))) (return (i32.const 8))) (throw_ref)"
    call = "(call $thr (local.get 0))" if thrown == "throw" else again
    text = f"""(module (tag $e (param i32)) (func $thr (param i32) (throw $e (local.get 0)))
      (func (export "f") (param i32) (result i32)
        (i32.add (i32.const 5) (block $o (result i32) (try_table (catch $e $o) {call}) (i32.const 9)))))"""

    def change(instruction, data):
        return b"\x41\x01\x6a" + data if instruction.name == "throw" else data

    answer = localised(host, text, changed(change, own=True), tmp_path, rows='"f=3"')
    function, instruction = (0, "throw 0") if thrown == "throw" else (1, "throw_ref")  # what delivers it last
    assert (answer.function_index, answer.instruction) == (function, instruction), answer
    assert (answer.oracle, answer.subject) == ("passed 3", "passed 4")
