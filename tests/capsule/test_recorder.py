"""The observation stream, as capsules write it under wasmtime: everything that is recorded arrives, and is what happened."""

from __future__ import annotations

import struct

import pytest

from diffcheck.backend.contract import Host, RunLimits
from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map as mm
from diffcheck.capsule.decode import decode_image, rows, state, swallowed
from diffcheck.capsule.recorder.digest import digest, padded
from diffcheck.capsule.recorder.functions import KNOWN_ANSWER
from diffcheck.capsule.seal import World
from diffcheck.compare.findings import Findings
from diffcheck.errors import StreamError
from diffcheck.observation import Exited, OutOfMemory, Returned, Threw, Trapped
from diffcheck.runner.passes.capsule_pass import CapsulePass
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.passes.streams.window_search import RunBudget
from diffcheck.wasm.code import all_instructions
from diffcheck.wasm.module import read
from diffcheck.wasm.values import FUNCTION, I31, Value
from diffcheck_backends import wasmtime
from tests.capsule.helpers import NUMBERS, TRACE, Run, capsule, lanes, results, run

EXIT = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
TRAPPED = Trapped("unknown")  # the stream says where, the engine says which


def outcomes(done: Run) -> dict[str, object]:
    return {row.name: row.outcome for row in done.rows}


# The whole.


def test_the_stream_decodes_and_its_digest_and_known_answer_are_pythons() -> None:
    done = run('(module (memory 2) (data (i32.const 70000) "abc") (func (export "r") (result i64) (i64.const 7)))')
    header = done.header
    stream = done.memory[header.address : header.address + header.length]
    assert (header.magic, header.version, header.status, header.flags) == (lo.MAGIC, lo.VERSION, lo.FINISHED, 0)
    assert header.plan_digest == done.capsule.layout.plan_digest
    assert header.known_answer == KNOWN_ANSWER == done.capsule.layout.known_answer
    assert digest(stream) == (header.lane_a, header.lane_b)
    assert header.length % 8 == 0
    assert done.image.stream == stream
    assert done.state.pages == (((0, 0), lanes(bytes(70000 - 65536) + b"abc" + bytes(131072 - 70003))),)


def test_the_same_capsule_gives_the_same_stream_every_time() -> None:
    made = capsule('(module (memory 1) (func (export "r") (i32.store (i32.const 4) (i32.const 9))))')
    assert run(made).memory == run(made).memory


@pytest.mark.parametrize("at", [0, 1, 8, 100])
def test_a_damaged_stream_is_told(at: int) -> None:
    done = run('(module (memory 1) (data (i32.const 0) "x") (func (export "r") (result i64) (i64.const 7)))')
    memory = bytearray(done.memory)
    memory[done.header.address + at] ^= 0x80
    with pytest.raises(StreamError, match="digest"):
        decode_image(bytes(memory), done.capsule.layout, 0, 1)


@pytest.mark.parametrize(
    "offset, what",
    [
        (0, "not an observation stream"),
        (4, "version"),
        (8, "plan"),
        (16, "digests wrong"),
        (24, "not finished"),
        (32, "digest|bytes"),
    ],
)
def test_a_damaged_header_is_told(offset: int, what: str) -> None:
    done = run('(module (func (export "r")))')
    memory = bytearray(done.memory)
    memory[lo.HEADER_ADDRESS + offset] ^= 0x55
    with pytest.raises(StreamError, match=what):
        decode_image(bytes(memory), done.capsule.layout, 0, 1)


@pytest.mark.parametrize("length", [0, 8, 1 << 20, (1 << 64) - 8])
def test_a_length_that_cannot_be_is_told(length: int) -> None:
    done = run('(module (func (export "r")))')
    memory = bytearray(done.memory)
    struct.pack_into("<Q", memory, lo.HEADER_ADDRESS + 32, length)
    with pytest.raises(StreamError):
        decode_image(bytes(memory), done.capsule.layout, 0, 1)


def test_two_sign_bits_that_flip_change_the_digest() -> None:
    text = '(module (memory 1) (func (export "r") (i64.store (i32.const {}) (i64.const {})) (i64.store (i32.const {}) (i64.const {}))))'
    one = run(text.format(0, 1, 8, 1)).state
    other = run(text.format(0, 1 - (1 << 63), 8, 1 - (1 << 63))).state
    assert all(a != b for a, b in zip(one.pages[0][0], other.pages[0][0], strict=True))


# Results.


def test_results_of_every_type_arrive_bit_by_bit() -> None:
    found = results(run(NUMBERS))
    v128 = 0x99AABBCCDDEEFF00 << 64 | 0x1122334455667788
    expected = {
        "i32": Value("i32", 0xFFFFFFFE),
        "i64": Value("i64", 0xFFFFFFFFFFFFFFFD),
        "f32": Value("f32", 0x7FA00001),
        "f64": Value("f64", 0xFFF4000000000001),
        "zero": Value("f64", 1 << 63),
        "v128": Value("v128", v128),
        "null": Value("ref", 0),
        "func": Value("ref", FUNCTION | 6 << 32),
        "extern": Value("ref", 0),
        "i31": Value("ref", I31 | 5 << 32),
        "exn": Value("ref", 0),
    }
    assert {name: values for name, values in found.items() if name in expected} == {
        name: (value,) for name, value in expected.items()
    }
    assert found["none"] == ()


def test_several_results_arrive_in_their_order() -> None:
    assert results(run(NUMBERS))["many"] == (
        Value("i32", 1),
        Value("v128", 3 << 64 | 2),
        Value("f32", 0x3F800000),
        Value("ref", FUNCTION | 6 << 32),
        Value("i64", 4),
        Value("f64", 0x3FF0000000000000),
        Value("v128", 6 << 64 | 5),
    )


def test_a_hundred_results_arrive() -> None:
    n = 100
    text = f'(module (func (export "r") (result {"i64 " * n}) {" ".join(f"(i64.const {at})" for at in range(n))}))'
    assert [value.bits for value in results(run(text))["r"]] == list(range(n))


def test_arguments_of_every_type_arrive() -> None:
    text = """(module (func (export "r") (param i32 i64 f32 f64 v128 externref) (result externref v128 f64 f32 i64 i32)
      (local.get 5) (local.get 4) (local.get 3) (local.get 2) (local.get 1) (local.get 0)))"""
    row = "r=-1,-2,nan:0x1,-0,0x112233445566778899aabbccddeeff00,null"
    found = results(run(capsule(text, [row])))[row]
    assert [(each.type, each.bits) for each in found] == [
        ("ref", 0),
        ("v128", 0x112233445566778899AABBCCDDEEFF00),
        ("f64", 1 << 63),
        ("f32", 0x7F800001),
        ("i64", (1 << 64) - 2),
        ("i32", (1 << 32) - 1),
    ]


# State.

STATE = """(module
  (global $c0 (export "__witness_counter_0") (mut i64) (i64.const 0))
  (global $c7 (export "__witness_counter_7") (mut i32) (i32.const -1))
  (global $big (export "__witness_counter_4294967295") (mut i64) (i64.const -1))
  (global $bv (export "__witness_brval_7") (mut i32) (i32.const 0))
  (global $bc (export "__witness_brcnt_7") (mut i32) (i32.const 0))
  (global $gv (export "vector") (mut v128) (v128.const i64x2 1 2))
  (global (export "float") f32 (f32.const -1.5))
  (global (export "ref") externref (ref.null extern))
  (global (export "__witness_counter_x") i32 (i32.const 3))
  (table $t (export "t") 3 funcref) (table $u i64 5 externref)
  (memory (export "m") 2) (memory $b i64 1)
  (func (export "__witness_row_reset") (global.set $bv (i32.const 0)) (global.set $bc (i32.const 0)))
  (func (export "a") (result i32)
    (global.set $c0 (i64.add (global.get $c0) (i64.const 5)))
    (global.set $bv (i32.const 1)) (global.set $bc (i32.add (global.get $bc) (i32.const 9)))
    (i32.store8 (i32.const 131071) (i32.const 255)) (i64.store $b (i64.const 8) (i64.const 77))
    (drop (table.grow $t (ref.null func) (i32.const 4))) (memory.grow (i32.const 1)))
  (func (export "b") (global.set $bc (i32.add (global.get $bc) (i32.const 1)))
    (global.set $gv (v128.const i64x2 8 9))))"""


def test_counters_globals_tables_and_memories_arrive() -> None:
    found = run(STATE).state
    assert found.counters == {0: 5, 7: 0xFFFFFFFF, 4294967295: (1 << 64) - 1}
    assert found.globals == {
        "vector": Value("v128", 9 << 64 | 8),
        "float": Value("f32", 0xBFC00000),
        "ref": Value("ref", 0),
        "__witness_counter_x": Value("i32", 3),
    }
    assert found.tables == (7, 5)
    assert found.memories == (3, 1)
    second = bytes(65535) + b"\xff"
    assert found.pages == (((0, 0), lanes(second), (0, 0)), (lanes(bytes(8) + b"\x4d" + bytes(65536 - 9)),))


def test_brval_and_brcnt_are_those_of_the_row() -> None:
    first, second = run(STATE).rows
    assert (first.brvals, first.brcnts) == ((1,), (9,))
    assert (second.brvals, second.brcnts) == ((0,), (1,))


@pytest.mark.parametrize("at", [0, 7, 8, 255, 256, 65528, 65535])
def test_one_byte_anywhere_in_a_page_makes_it_no_page_of_zeros(at: int) -> None:
    text = f'(module (memory 1) (func (export "r") (i32.store8 (i32.const {at}) (i32.const 1))))'
    page = bytearray(65536)
    page[at] = 1
    assert run(text).state.pages == ((lanes(bytes(page)),),)


def test_pages_past_the_limit_are_not_digested_and_the_size_says_so() -> None:
    text = '(module (memory 3) (memory 4) (data (i32.const 0) "a") (func (export "r")))'
    found = run(capsule(text, world=World(digest_pages=4))).state
    assert found.memories == (3, 4)
    assert [len(pages) for pages in found.pages] == [3, 1]


def test_memories_with_pages_of_another_size_are_not_digested() -> None:
    found = run(NUMBERS).state
    assert found.pages == ()


def test_rows_see_what_rows_before_them_did() -> None:
    text = """(module (global $g (mut i32) (i32.const 0))
      (func $up (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) (global.get $g))
      (export "a" (func $up)) (export "b" (func $up)))"""
    assert [values[0].bits for values in results(run(text)).values()] == [1, 2]
    assert [row.results[0].bits for row in run(capsule(text), lo.Parameters(1, 2)).rows] == [1]


def test_an_inert_run_is_the_state_at_instantiation() -> None:
    made = capsule(STATE)
    found = run(made, lo.Parameters(0, 2, lo.INERT))
    assert [row.outcome for row in found.rows] == [None, None]
    assert found.state.counters[0] == 0
    assert found.state.memories == (2, 1)


# The trace.


def test_traces_arrive_with_their_overflow_flag() -> None:
    found = {row.name: row for row in run(TRACE).rows}
    assert found["none"].trace == b""
    assert found["two"].trace == struct.pack("<2I", 0x11223344, 0x55667788)
    assert found["three"].trace == struct.pack("<3I", 1, 2, 3)
    assert [found[name].trace_overflow for name in ("none", "two", "three", "all")] == [False, False, True, False]
    assert found["all"].trace.endswith(struct.pack("<I", 9))
    assert len(found["all"].trace) == 65520


def test_a_cursor_past_the_memory_gives_no_trace() -> None:
    found = {row.name: row for row in run(TRACE).rows}
    assert found["past"].trace == b""
    assert found["huge"].trace == b""


def test_a_large_trace_makes_the_recorder_grow() -> None:
    done = run(TRACE)
    found = {row.name: row for row in done.rows}
    assert len(found["grown"].trace) == 200000 - 16
    assert found["grown"].trace.endswith(struct.pack("<I", 7))
    assert done.header.flags == 0


def test_a_traces_digest_stands_in_its_record() -> None:
    done = run(TRACE)
    layout = done.capsule.layout
    at = [row.name for row in layout.rows].index("three")
    (mark,) = struct.unpack_from("<Q", done.image.stream, at * layout.record_size + layout.trace_offset + 16)
    assert mark == digest(padded(done.rows[at].trace))[0]


def test_the_trace_memory_is_not_digested() -> None:
    done = run(TRACE)
    assert [each.index for each in done.capsule.layout.memories] == [1]


@pytest.mark.parametrize("memory", ["(memory 0)", "(memory 0 0)", "(memory i64 1)"])
def test_a_trace_memory_that_cannot_hold_a_cursor_is_no_trap_of_ours(memory: str) -> None:
    text = f'(module {memory} (export "__witness_trace" (memory 0)) (func (export "r") (result i32) (i32.const 3)))'
    assert results(run(text))["r"][0].bits == 3


# Ends.

TRAPS = """(module (global $g (export "__witness_counter_0") (mut i64) (i64.const 0)) (memory 1)
  (func $up (global.set $g (i64.add (global.get $g) (i64.const 1))))
  (func (export "a") (result i32) (call $up) (i32.const 11))
  (func (export "b") (result i32) (call $up) (i32.const 22))
  (func (export "t") (result i32) (call $up) (i32.store (i32.const 0) (i32.const 5)) unreachable)
  (func (export "c") (result i32) (i32.const 33)))"""


def test_a_trap_leaves_the_rows_before_it_and_the_state_at_it() -> None:
    done = run(TRAPS)
    assert done.trap == "UNREACHABLE"
    assert outcomes(done) == {"a": Returned(), "b": Returned(), "t": TRAPPED, "c": None}
    assert results(done) == {"a": (Value("i32", 11),), "b": (Value("i32", 22),), "t": (), "c": ()}
    assert done.state.counters == {0: 3}
    assert done.state.pages[0][0] == lanes(b"\x05" + bytes(65535))


def test_a_run_that_stops_before_the_trap_has_the_same_rows() -> None:
    made = capsule(TRAPS)
    assert run(made, lo.Parameters(0, 2)).rows == run(made).rows[:2]


def test_a_trap_in_the_start_function_is_its_row() -> None:
    done = run('(module (func $s unreachable) (start $s) (func (export "r")))')
    assert outcomes(done) == {"(start)": TRAPPED, "r": None}


EXITS = f"""(module {EXIT} (global $g (export "__witness_counter_0") (mut i64) (i64.const 0))
  (func $deep (param i32) (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))) (else (call $exit (i32.const 42)))))
  (func (export "a") (result i32) (i32.const 1))
  (func (export "e") (result i32) (global.set $g (i64.const 3)) (call $deep (i32.const 50)) (global.set $g (i64.const 4)) (i32.const 2))
  (func (export "c")))"""


@pytest.mark.parametrize("flags", [0, lo.EXIT_TRAPS])
def test_an_exit_ends_its_row_with_its_code_and_the_state_survives(flags: int) -> None:
    made = capsule(EXITS)
    done = run(made, lo.Parameters(0, 3, flags))
    assert outcomes(done) == {"a": Returned(), "e": Exited(42), "c": None}
    assert done.state.counters == {0: 3}
    assert done.trap == ("UNREACHABLE" if flags else "")
    assert done.rows[1].stub_calls == (1,)


def test_all_rows_share_one_try_table() -> None:
    """kilnd needs 8 MB for each (measured 2026-11-28), so a capsule of 256 rows would need 2 GB for them."""
    made = capsule(EXITS)
    assert len(made.layout.rows) == 3
    module = read(made.wasm)
    assert [each.name for each in all_instructions(made.wasm, module.bodies)].count("try_table") == 1


def test_a_reset_that_throws_ends_its_row() -> None:
    text = """(module (tag $own) (global $calls (mut i32) (i32.const 0))
      (func (export "__witness_row_reset")
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (if (i32.eq (global.get $calls) (i32.const 2)) (then (throw $own))))
      (func (export "a")) (func (export "b")) (func (export "c")))"""
    assert outcomes(run(text)) == {"a": Returned(), "b": Threw(0, "own"), "c": None}


def test_an_exit_without_exceptions_traps_and_records_first() -> None:
    made = capsule(EXITS, unwind=False)
    done = run(made)
    assert done.trap == "UNREACHABLE"
    assert outcomes(done) == {"a": Returned(), "e": Exited(42), "c": None}
    assert done.state.counters == {0: 3}


SWALLOWS = f"""(module {EXIT} (import "m" "f" (func $f)) (tag $own)
  (func $try (result i32) (block $h (try_table (catch_all $h) (call $exit (i32.const 6)))) (i32.const 77))
  (func (export "s") (result i32) (call $try))
  (func (export "c")))"""


def test_a_programs_own_catch_all_swallows_an_exit_and_that_is_seen() -> None:
    made = capsule(SWALLOWS)
    done = run(made)
    assert swallowed(done.image, made.layout)
    assert outcomes(done) == {"s": Exited(6), "c": None}
    assert done.rows[0].results == ()


def test_the_variant_that_traps_goes_past_a_catch_all() -> None:
    made = capsule(SWALLOWS)
    done = run(made, lo.Parameters(0, 2, lo.EXIT_TRAPS))
    assert not swallowed(done.image, made.layout)
    assert outcomes(done) == {"s": Exited(6), "c": None}
    assert done.trap == "UNREACHABLE"


def test_a_stub_that_is_called_after_a_swallowed_exit_traps() -> None:
    text = SWALLOWS.replace("(i32.const 77)", "(call $f) (i32.const 77)")
    done = run(text)
    assert done.trap == "UNREACHABLE"
    assert outcomes(done) == {"s": TRAPPED, "c": None}


def test_an_uncaught_exception_is_its_outcome_and_ends_the_group() -> None:
    text = """(module (tag $e (param i32)) (global $g (export "__witness_counter_0") (mut i64) (i64.const 0))
      (func (export "a")) (func (export "t") (result i32) (global.set $g (i64.const 1)) (throw $e (i32.const 3)))
      (func (export "c")))"""
    done = run(text)
    assert done.trap == ""
    assert outcomes(done) == {"a": Returned(), "t": Threw(0, "e", ("i32 3",)), "c": None}
    assert done.state.counters == {0: 1}


def test_an_uncaught_exception_in_a_program_that_can_exit_is_no_exit() -> None:
    text = f'(module {EXIT} (tag $e) (func (export "t") (throw $e)) (func (export "e") (call $exit (i32.const 1))))'
    made = capsule(text)
    assert outcomes(run(made)) == {"t": Threw(0, "e"), "e": None}
    assert [row.outcome for row in run(made, lo.Parameters(1, 2)).rows] == [Exited(1)]


def test_stub_calls_are_counted_since_the_instance_began() -> None:
    text = """(module (import "m" "f" (func $f (result i64))) (import "m" "g" (func $g (param i32)))
      (func (export "a") (result i64) (drop (call $f)) (call $f)) (func (export "b") (call $g (i32.const 3)) (drop (call $f))))"""
    done = run(text)
    assert [row.stub_calls for row in done.rows] == [(2, 0), (3, 1)]
    assert results(done)["a"] == (Value("i64", 0),)


def test_stubs_that_trap_are_asked_for() -> None:
    text = '(module (import "m" "f" (func $f)) (func (export "a") (call $f)))'
    assert run(capsule(text, world=World(unknown_stubs="trap"))).trap == "UNREACHABLE"


# The plan.


def test_the_plans_digest_changes_with_all_that_it_names() -> None:
    text = '(module (func (export "a") (param i32)) (func (export "b")))'
    plans = [
        capsule(text, ["a=1"]),
        capsule(text, ["a=2"]),
        capsule(text, ["b"]),
        capsule(text, ["b", "a=1"]),
        capsule(text, ["b"], World(stdin=b"x")),
        capsule(text, ["b"], World(env={"A": "1"})),
        capsule(text, ["b"], World(memory_pages=3)),
        capsule(text, ["b"], World(digest_pages=3)),
        capsule(text, ["b"], World(unknown_stubs="trap")),
        capsule(text + " ", ["b"]),
    ]
    assert len({each.layout.plan_digest for each in plans[:9]}) == 9
    assert plans[9].layout.plan_digest == plans[2].layout.plan_digest  # the same binary


def test_the_known_answer_is_of_the_pattern() -> None:
    a, b = digest(mm.PATTERN_BYTES)
    assert a ^ (b << 32 | b >> 32) & (1 << 64) - 1 == KNOWN_ANSWER


def test_rows_and_state_of_a_pass_decode_alone() -> None:
    done = run(STATE)
    assert rows(done.image, done.capsule.layout) == done.rows
    assert state(done.image, done.capsule.layout) == done.state


def test_an_engine_whose_recorder_cannot_grow_is_out_of_memory_and_its_pass_inconclusive(host: Host) -> None:
    made = capsule(TRACE, ["grown"])
    enough = len(run(made).memory)
    oracle = wasmtime.create(None, {})
    try:
        whole = CapsuleSide(oracle, made, RunLimits(), host)
        cut = CapsuleSide(oracle, made, RunLimits(memory_bytes=enough - 65536), host)
        ran = cut.run(lo.Parameters(0, 1))
        assert isinstance(ran.outcome, OutOfMemory)
        assert (ran.header, ran.image) == (None, None)
        assert CapsulePass(whole, whole, Findings(), RunBudget(24), 9).report().verdict == "agree"
        for pair in ((whole, cut), (cut, whole), (cut, cut)):
            report = CapsulePass(*pair, Findings(), RunBudget(24), 9).report()
            assert (report.verdict, report.divergences) == ("inconclusive", ())
    finally:
        oracle.close()
