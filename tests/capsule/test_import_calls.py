"""The digest of calls of imports and what an uncaught exception leaves, as capsules write them under wasmtime."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import Image, rows
from diffcheck.capsule.import_calls import GATHERED
from diffcheck.capsule.recorder import digest as d
from diffcheck.capsule.stubs import INPUTS, TABLES
from diffcheck.observation import Threw
from diffcheck.wasm.values import FUNCTION, I31, OPAQUE
from tests.capsule.helpers import Run, capsule, run

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS = """(module (import "env" "all" (func $all (param i32 i64 f32 f64 v128 externref)))
  (func (export "r") (call $all (i32.const -1) (i64.const -2) (f32.const -0) (f64.const nan:0x8000000000001)
    (v128.const i64x2 3 4) (ref.null extern)))
  (func (export "none")))"""
REFERENCES = """(module (type $s (struct)) (import "env" "f" (func $f (param anyref externref funcref))) (elem declare func $g)
  (func $g (export "null") (call $f (ref.null any) (ref.null extern) (ref.null func)))
  (func (export "i31") (call $f (ref.i31 (i32.const 5)) (extern.convert_any (ref.i31 (i32.const 6))) (ref.func $g)))
  (func (export "other") (call $f (struct.new $s) (extern.convert_any (struct.new $s)) (ref.func $g))))"""
ORDER = """(module (import "env" "a" (func $a)) (import "env" "b" (func $b (param i32)))
  (func (export "ab") (call $a) (call $b (i32.const 1)))
  (func (export "ba") (call $b (i32.const 1)) (call $a))
  (func (export "b2") (call $b (i32.const 2)) (call $a))
  (func (export "again") (call $a) (call $b (i32.const 1))))"""
PATH = """(module
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "one") (data (i32.const 200) "\\64\\00\\00\\00\\02\\00\\00\\00\\2c\\01\\00\\00\\04\\00\\00\\00") (data (i32.const 300) "more")
  (func $set (param i32) (i32.store8 (i32.const 101) (local.get 0)))
  (func (export "one") (drop (call $unlink (i32.const 3) (i32.const 100) (i32.const 3))))
  (func (export "other") (call $set (i32.const 120)) (drop (call $unlink (i32.const 3) (i32.const 100) (i32.const 3))) (call $set (i32.const 110)))
  (func (export "same") (drop (call $unlink (i32.const 3) (i32.const 100) (i32.const 3))))
  (func (export "past") (drop (call $unlink (i32.const 3) (i32.const 65534) (i32.const 40))))
  (func (export "far") (drop (call $unlink (i32.const 3) (i32.const -1) (i32.const -1))))
  (func (export "nothing") (drop (call $unlink (i32.const 3) (i32.const -1) (i32.const 0))))
  (func (export "list") (drop (call $write (i32.const 7) (i32.const 200) (i32.const 2) (i32.const 0))))
  (func (export "list2") (i32.store8 (i32.const 303) (i32.const 69)) (drop (call $write (i32.const 7) (i32.const 200) (i32.const 2) (i32.const 0))))
  (func (export "long") (drop (call $unlink (i32.const 3) (i32.const 0) (i32.const 65529)))))"""


NOWHERE = """(module (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (memory 1) (memory 1)
  (func (export "r") (drop (call $unlink (i32.const 3) (i32.const 0) (i32.const 4)))))"""
THROWS = """(module (rec (type $s (struct (field i32))))
  (import "env" "given" (tag $given (param i32)))
  (tag $all (param i32 i64 f32 f64 v128 funcref externref)) (tag $one (export "shown") (param i32)) (tag $other (param i32))
  (tag $bare) (tag $ref (param (ref $s)))
  (elem declare func $f)
  (func (export "given") (throw $given (i32.const 4)))
  (func $f (export "all") (throw $all (i32.const -1) (i64.const 2) (f32.const -0) (f64.const 1.5) (v128.const i64x2 1 2)
    (ref.func $f) (ref.null extern)))
  (func (export "one") (result i64) (throw $one (i32.const 3)))
  (func (export "other") (throw $other (i32.const 3)))
  (func (export "bare") (throw $bare))
  (func (export "ref") (throw $ref (struct.new $s (i32.const 1))))
  (func (export "caught") (block $h (result i32) (try_table (catch $one $h) (throw $one (i32.const 1))) (unreachable)) (drop)))"""


def lane(*words: int) -> int:
    value = d.SEED_A
    for word in words:
        value ^= word
        value = (value << d.ROTATE_A | value >> 64 - d.ROTATE_A) * d.PRIME_A & d.MASK
    return value


def digests(done: Run) -> dict[str, int]:
    return {row.name: row.calls.digest for row in done.rows if row.calls is not None}


def test_a_call_is_digested_as_its_import_and_all_bits_of_its_arguments() -> None:
    words = (0, 0xFFFF_FFFF, (1 << 64) - 2, 0x8000_0000, 0x7FF8_0000_0000_0001, 3, 4, 0)
    assert digests(run(KINDS)) == {"r": lane(*words), "none": lane()}


def test_the_digest_is_of_the_row_and_depends_on_order_and_arguments() -> None:
    seen = digests(run(ORDER))
    assert seen["ab"] == seen["again"] == lane(0, 1, 1)
    assert len(set(seen.values())) == 3


def test_a_reference_passed_is_null_an_i31_with_its_value_or_contents() -> None:
    done = run(REFERENCES)
    seen = digests(done)
    g = FUNCTION | 2 << 32
    words = {"null": (0, 0, 0), "i31": (I31 | 5 << 32, I31 | 6 << 32, g)}
    assert {name: seen[name] for name in words} == {name: lane(0, *each) for name, each in words.items()}
    assert seen["other"] not in (seen["null"], seen["i31"], lane(0, OPAQUE, OPAQUE, g))


CONTENTS = """(module
  (rec (type $s (sub (struct (field i32) (field (mut f64)) (field i8) (field (ref null $s)) (field funcref) (field v128)))))
  (type $t (sub $s (struct (field i32) (field (mut f64)) (field i8) (field (ref null $s)) (field funcref) (field v128))))
  (type $a (array i16)) (type $refs (array (mut (ref null any))))
  (import "env" "f" (func $f (param externref))) (elem declare func $one $two)
  (func $one) (func $two (param i32))
  (func $make (param i32 f64 i32 (ref null $s) funcref i64) (result (ref $s))
    (struct.new $s (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4)
      (i64x2.replace_lane 1 (v128.const i64x2 7 7) (local.get 5))))
  {rows})"""
MAKE = "(call $make (i32.const {}) (f64.const {}) (i32.const {}) {} {} (i64.const {}))"
PLAIN = MAKE.format(1, 2, 3, "(ref.null $s)", "(ref.null func)", 5)
DIFFERENT = {
    "plain": PLAIN,
    "i32": MAKE.format(2, 2, 3, "(ref.null $s)", "(ref.null func)", 5),
    "f64": MAKE.format(1, "-2", 3, "(ref.null $s)", "(ref.null func)", 5),
    "i8": MAKE.format(1, 2, 4, "(ref.null $s)", "(ref.null func)", 5),
    "field": MAKE.format(1, 2, 3, PLAIN, "(ref.null func)", 5),
    "deep": MAKE.format(1, 2, 3, MAKE.format(1, 2, 3, PLAIN, "(ref.null func)", 5), "(ref.null func)", 5),
    "function": MAKE.format(1, 2, 3, "(ref.null $s)", "(ref.func $one)", 5),
    "function type": MAKE.format(1, 2, 3, "(ref.null $s)", "(ref.func $two)", 5),
    "v128": MAKE.format(1, 2, 3, "(ref.null $s)", "(ref.null func)", 6),
    "subtype": "(struct.new $t (i32.const 1) (f64.const 2) (i32.const 3) (ref.null $s) (ref.null func) (v128.const i64x2 7 5))",
    "array": "(array.new_fixed $a 2 (i32.const 1) (i32.const 2))",
    "element": "(array.new_fixed $a 2 (i32.const 1) (i32.const 3))",
    "length": "(array.new_fixed $a 3 (i32.const 1) (i32.const 2) (i32.const 0))",
    "i31": "(array.new_fixed $refs 1 (ref.i31 (i32.const 2)))",
    "object": f"(array.new_fixed $refs 1 {PLAIN})",
}


def _passing(values: Mapping[str, str]) -> str:
    rows = (f'(func (export "{name}") (call $f (extern.convert_any {value})))' for name, value in values.items())
    return CONTENTS.replace("{rows}", "\n  ".join(rows))


def test_objects_with_different_contents_differ_and_others_do_not() -> None:
    seen = digests(run(_passing(DIFFERENT)))
    assert len(set(seen.values())) == len(DIFFERENT)
    again = digests(run(_passing({"one": PLAIN, "two": PLAIN})))
    assert again["one"] == again["two"]


CYCLE = """(local $x (ref $refs)) (local.set $x (array.new $refs (ref.null any) (i32.const {})))
  (array.set $refs (local.get $x) (i32.const 0) (local.get $x)) (array.set $refs (local.get $x) (i32.const 1) (local.get $x))
  (call $f (extern.convert_any (local.get $x)))"""


@pytest.mark.parametrize("size", [2, 1001], ids=["depth", "values"])
def test_objects_beyond_the_bounds_end_the_digest_and_set_a_flag(size: int) -> None:
    text = CONTENTS.replace("{rows}", f'(func (export "r") {CYCLE.format(size)})')
    done = run(text)
    assert done.trap == ""
    assert done.header.flags == lo.FLAG_PASSED_CUT


def test_a_row_without_stubs_has_no_digest() -> None:
    made = capsule('(module (func (export "r")))')
    assert run(made).rows[0].calls is None
    assert made.layout.calls_offset == made.layout.calls_digest_offset


def test_bytes_passed_are_digested_as_far_as_the_memory_has_them() -> None:
    done = run(PATH)
    seen = digests(done)
    assert done.trap == ""
    assert seen["one"] == seen["same"] != seen["other"]
    assert seen["list"] != seen["list2"]
    passed = [b"one\0\0\0\0\0", bytes(8), b"", b""]
    arguments = [(3, 100, 3), (3, 65534, 40), (3, 0xFFFF_FFFF, 0xFFFF_FFFF), (3, 0xFFFF_FFFF, 0)]
    for name, words, data in zip(("one", "past", "far", "nothing"), arguments, passed, strict=True):
        assert seen[name] == lane(0, *words, d.digest(data)[0]), name


@pytest.mark.parametrize(("names", "flag"), [(["one"], 0), (["long"], lo.FLAG_CALLS_CUT)])
def test_a_stream_says_where_more_bytes_were_passed_than_are_digested(names: list[str], flag: int) -> None:
    done = run(capsule(PATH.replace("65529", str(GATHERED + 1)), names))
    assert done.header.flags == flag
    assert done.rows[0].calls is not None


def test_every_input_is_of_a_function_that_is_known_and_names_its_parameters() -> None:
    for module, functions in INPUTS.items():
        for name, inputs in functions.items():
            params = TABLES[module][name].params if name in TABLES[module] else None
            if params is None:
                assert module == "wasi_unstable", name
                continue
            assert all(params[each] == "i32" for one in inputs for each in (one.address, one.count)), (module, name)


def test_bytes_in_a_memory_that_is_not_certain_are_not_compared() -> None:
    made = capsule(NOWHERE)
    assert made.layout.stubs[0].kind == "functional"
    assert made.layout.stubs[0].buffers.startswith("which of 2 memories")
    assert digests(run(made)) == {"r": lane(0, 3, 0, 4)}


@pytest.mark.parametrize(
    ("row", "threw"),
    [
        ("given", Threw(0, "env.given", ("i32 4",))),
        (
            "all",
            Threw(1, "all", ("i32 -1", "i64 2", "f32 -0", "f64 1.5", f"v128 {2 << 64 | 1:#034x}", "a function of type 3", "null")),
        ),
        ("one", Threw(2, "shown", ("i32 3",))),
        ("other", Threw(3, "other", ("i32 3",))),
        ("bare", Threw(4, "bare")),
        ("ref", Threw(5, "ref", ("object 0",))),
    ],
)
def test_an_uncaught_exception_has_its_tag_and_payload(row: str, threw: Threw) -> None:
    for names in ([row, "caught"], ["caught", row]):
        done = run(capsule(THROWS, names))
        outcomes = {each.name: each.outcome for each in done.rows}
        assert (done.trap, outcomes[row]) == ("", threw)


def test_an_exception_of_a_start_function_is_its_rows_outcome() -> None:
    done = run('(module (tag $e (param i32)) (func $s (throw $e (i32.const 9))) (start $s) (func (export "r")))')
    assert [row.outcome for row in done.rows] == [Threw(0, "e", ("i32 9",)), None]


def test_a_tag_that_no_clause_catches_is_none_of_the_artifacts() -> None:
    made = capsule('(module (tag $e) (func (export "r") (throw $e)))')
    done = run(made)
    stream = bytearray(done.image.stream)
    struct.pack_into("<I", stream, 4, lo.NO_TAG)
    assert rows(Image(done.header, bytes(stream), 0, 1), made.layout)[0].outcome == Threw(None)
