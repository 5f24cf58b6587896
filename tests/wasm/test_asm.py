"""The assembler, held against wasmtime's."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import Reader, u

from .test_opcodes import FUNCTIONS, OPS, by_proposal, code_entries, context, engine, module

SYMBOLS = {
    "t": 0,
    "s": 1,
    "a": 2,
    "m0": 0,
    "m1": 1,
    "t0": 0,
    "t1": 1,
    "g": 0,
    "e": 0,
    "f": 0,
    "f1": 1,
    "f2": 2,
    "d": 0,
    "el": 0,
    "K": 0xFFFF_FFFF,
    "L": -(2**63),
    "OFF": 70_000,
}


def entry(text: str, **given: object) -> bytes:
    """What we make of a function's text."""
    return link(assemble(text, **given), SYMBOLS)


def theirs(text: str) -> bytes:
    """What wasmtime makes of it."""
    body = code_entries(wasmtime.wat2wasm(module(f"(func {text}\n)")))[FUNCTIONS][1]
    return u(len(body)) + body


# Where our text has another order of operands, or needs the type as a symbol.
OURS = {
    "loop": "loop (type $t)",
    "memory.init": "memory.init $d $m1",
    "table.init": "table.init $el $t1",
    "f64.const": "f64.const bits:0x7ff4000000000001",
    "v128.load8_lane": "v128.load8_lane $m1 offset=300 1",
}
THEIRS = {"loop": "loop (type $t)", "v128.load8_lane": "v128.load8_lane $m1 offset=300 align=1 1"}


@pytest.mark.parametrize("ops", by_proposal(op for op in OPS if not op.legacy))
def test_every_instruction_is_assembled_as_wasmtime_does(ops):
    for op in ops:
        before, text, after = context(op)
        if "lane" in op.immediates and "memarg" in op.immediates:
            text = text.replace(" 1 offset", " $m1 offset")
        ours = entry(f"{before} {OURS.get(op.name, text)} {after}")
        assert ours == theirs(f"{before} {THEIRS.get(op.name, text)} {after}"), op.name


@pytest.mark.parametrize(
    "text",
    [
        "block $a loop $b block $c br $a br_if $b br_table $a $b $c 0 end $c end end",
        "block $a block $a br $a end br $a end",
        "i32.const 0 if $l (result i32) i32.const 1 else $l i32.const 2 end $l drop",
        "block $l try_table $l (catch $e $l) (catch_all_ref $l) br $l end end",
        "i64.load i64.load $m1 i64.load offset=0x1_0 i64.load8_u $m1 offset=7 align=1 f32.store $m0 align=2",
        "memory.size memory.size $m1 memory.grow memory.grow $m1 memory.copy memory.copy $m1 $m0 memory.fill $m1",
        "i32.const 4294967295 i32.const -1 i32.const -0x8000_0000 i32.const 1_000 i64.const 0xffff_ffff_ffff_ffff",
        "f32.const 1.5 f64.const -0x1.8p3 f32.const inf f64.const -inf f64.const 1e300 f32.const nan",
        "v128.const i64x2 1 -1 v128.const i32x4 1 2 3 0xffffffff",
        "call_indirect (type $t) call_indirect $t1 (type $t) return_call_indirect $t1 (type $a)",
        "table.size table.size $t1 table.get $t1 table.copy $t0 $t1",
        "ref.null func ref.null $s ref.func $f1 call_ref $t return_call_ref $t",
        "ref.test (ref null $s) ref.cast (ref any) br_on_cast 0 (ref null any) (ref null $s) br_on_cast_fail 0 anyref (ref $s)",
        "struct.new $s struct.get_u $s 0 array.new_fixed $a 3 array.copy $a $a throw $e throw_ref",
        "select select (result funcref) select (result (ref null $s)) block (result (ref $s)) end block (type $t) end",
        "nop ;; a comment (with $names) and ;; more\n nop;;end",
    ],
)
def test_a_text_is_assembled_as_wasmtime_does(text):
    assert entry(text) == theirs(text)


def test_parameters_come_first_and_locals_are_grouped():
    text = "local.get $fd local.set $q local.get 0 local.tee $r"
    ours = entry(text, params=("fd", "iovs"), locals={"p": "i32", "q": "i32", "r": "(ref null $s)", "x": "i64", "y": "i32"})
    declared = "(local $p i32) (local $q i32) (local $r (ref null $s)) (local $x i64) (local $y i32)"
    assert ours == theirs(f"(param $fd i32) (param $iovs i32) {declared} {text}")


def test_memory_0_is_written_in_the_plain_form_whatever_its_symbol():
    fragment = assemble("i32.load $mem offset=$OFF")
    assert link(fragment, {"mem": 0, "OFF": 3}) == b"\x05\x00\x28\x02\x03\x0b"
    assert link(fragment, {"mem": 1, "OFF": 300}) == b"\x07\x00\x28\x42\x01\xac\x02\x0b"


def test_symbols_get_their_values_at_link():
    text = "i32.const $K i64.const $L f64.const $B i32.load8_s offset=$OFF raw $code block (type $T) end array.new_fixed $T $N"
    fragment = assemble(text)
    assert fragment.symbols == {"K", "L", "B", "OFF", "code", "T", "N"}
    linked = link(fragment, SYMBOLS | {"B": 0x7FF4_0000_0000_0001, "code": b"\x01\x01", "T": 200, "N": 2, "unused": 1})
    body = bytes.fromhex("00417f 428080808080808080807f 44010000000000f47f 2c00f0a204 0101 02c8010b fb08c80102 0b".replace(" ", ""))
    assert linked == u(len(body)) + body


def test_a_fragment_is_assembled_once():
    assert assemble("nop", locals={"a": "i32"}) is assemble("nop", locals=(("a", "i32"),))


@pytest.mark.parametrize(
    "text, message",
    [
        ("nop\nbr $there", "line 2: no enclosing block is labelled \\$there"),
        ("local.get $x", "no parameter or local is named \\$x"),
        ("i32.addd", "i32.addd is not an instruction"),
        ("try", "try is a legacy instruction"),
        ("block $l", "block \\$l has no end"),
        ("end", "end closes no block"),
        ("block else", "else closes block"),
        ("if else else end end", "else closes else"),
        ("block $a end $b", "end has another label than \\$a"),
        ("call", "expected more, found the end of the text"),
        ("call f", "f is neither an integer nor a symbol"),
        ("block (result i32 i64) end", "a block type with several values must be given as \\(type \\$t\\)"),
        ("i32.const 4294967296", "4294967296 is not an integer of 32 bits"),
        ("i32.load align=3", "align=3 is not a power of two"),
        ("f32.const 1e99", "1e99 is not a float of this size"),
        ("f32.const one", "one is not a float of this size"),
        ("v128.const f32x4 1 2 3 4", "v128.const f32x4 is not supported"),
        ("call_indirect $t", "call_indirect has no \\(type"),
        ("br_table", "br_table has no label"),
        ("memory.copy $m nop", "nop is neither"),
        ("try_table (catch_some 0) end", "catch_some is not a clause"),
        ("select_t", "select_t is not supported in this form"),
        ("local.get -1", "-1 is not an index"),
        ("i8x16.extract_lane_s 256", "256 is not a lane"),
    ],
)
def test_a_mistake_in_the_text_is_named_with_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        assemble(text)


def test_a_local_named_twice_is_refused():
    with pytest.raises(ValueError, match="named twice"):
        assemble("", params=("a",), locals={"a": "i32"})


@pytest.mark.parametrize(
    "text, symbols, message",
    [
        ("call $f", {}, "no value for the symbol \\$f"),
        ("i32.load $m offset=$o", {"m": 0}, "no value for the symbol \\$o"),
        ("call $f", {"f": -1}, "\\$f does not fit: -1 is not an index"),
        ("call $f", {"f": b"\x00"}, "\\$f does not fit"),
        ("raw $f", {"f": 1}, "\\$f does not fit"),
        ("i32.const $f", {"f": 2**32}, "\\$f does not fit"),
        ("i32.load offset=$o", {"o": -1}, "offset=o does not fit"),
    ],
)
def test_a_symbol_without_a_value_that_fits_is_named(text, symbols, message):
    with pytest.raises(ValueError, match=message):
        link(assemble(text), symbols)


@given(st.integers(-(2**63), 2**64 - 1))
def test_any_constant_is_the_same_by_symbol_and_in_the_text(number):
    by_symbol = link(assemble("i64.const $n"), {"n": number})
    assert by_symbol == theirs(f"i64.const {number}") == link(assemble(f"i64.const {number}"), {})


def test_an_assembled_function_runs():
    text = """
      loop $again
        local.get $n i64.eqz if local.get $sum return end
        local.get $sum local.get $n i64.add local.set $sum
        local.get $n i64.const $STEP i64.sub local.set $n
        br $again
      end
      unreachable
    """
    linked = link(assemble(text, params=("n",), locals={"sum": "i64"}), {"STEP": 1})
    frame = wasmtime.wat2wasm('(module (func (export "go") (param i64) (result i64) unreachable))')
    at = frame.rindex(b"\x0a\x05\x01")
    section = u(1) + linked
    store = wasmtime.Store(engine())
    instance = wasmtime.Instance(store, wasmtime.Module(engine(), frame[:at] + b"\x0a" + u(len(section)) + section), [])
    assert instance.exports(store)["go"](store, 1000) == 500_500


@pytest.mark.parametrize("number", [0, 2, 14, 127, 128, 300_000])
def test_padded_indices_of_types_and_fields_take_five_bytes_and_read_the_same(number):
    text = f"ref.test (ref {number}) struct.get {number} {number} call {number}"
    code = link(assemble(text, padded=True), {})
    fields = code[code.index(b"\xfb\x14") + 2 :]
    assert [Reader(fields[:5]).s33(), Reader(fields[7:12]).u32(), Reader(fields[12:17]).u32()] == [number] * 3
    assert fields[17:] == b"\x10" + u(number) + b"\x0b"
