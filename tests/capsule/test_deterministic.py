"""The deterministic form: what it makes of every open result, what it leaves alone, and what its code comes from."""

from __future__ import annotations

import struct

import pytest
import wasmtime

from diffcheck.capsule.build import build
from diffcheck.capsule.deterministic.form import Choices, DeterministicForm, deterministic
from diffcheck.capsule.deterministic.open_results import OPEN
from diffcheck.capsule.seal import World
from diffcheck.faults import module_edit
from diffcheck.wasm.code import Instruction, instructions, read_locals
from diffcheck.wasm.module import Module, read
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.values import Value, is_nan, is_quiet_nan
from tests.capsule.helpers import binary, calls, run
from tests.wasm.oracle import refusal

CANONICAL = {"f32": 0x7FC0_0000, "f64": 0x7FF8 << 48}
SAMPLES = {
    "f32": (0, 0x8000_0000, 0x3FC0_0000, 0xBFC0_0000, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0xFFC0_0000, 0x7FC0_0001, 0xFFA0_0000),
    "f64": (
        *(each << 48 for each in (0, 0x8000, 0x3FF8, 0xBFF8, 0x7FF0, 0xFFF0, 0x7FF8, 0xFFF8)),
        0xFFF8 << 48 | 1,
        0x7FF0 << 48 | 1,
    ),
}
LANES = {"f32x4": ("f32", 4), "f64x2": ("f64", 2)}


def form_of(source: str | bytes) -> DeterministicForm:
    form = deterministic(read(binary(source)))
    assert form is not None
    assert refusal(form.wasm) == ""
    return form


def ran(form: DeterministicForm, rows: list[str], wasm: bytes = b"") -> tuple[list[Value], int, str]:
    """The results of the rows, how many choices were made, and the name of the first instruction with a result not allowed."""
    module = read(wasm or form.wasm)
    seen = run(build(module, "", calls(module, rows), World()))
    counters, choices = form.split(seen.state.counters)
    assert counters == {}
    place = choices.not_allowed
    return [value for row in seen.rows for value in row.results], choices.nans + choices.relaxed, place.name if place else ""


def plain(source: str, rows: list[str]) -> list[Value]:
    module = read(binary(source))
    return [value for row in run(build(module, "", calls(module, rows), World())).rows for value in row.results]


def function(name: str) -> str:
    op = BY_NAME[name]
    gets = " ".join(f"local.get {at}" for at in range(len(op.params)))
    return f'(module (func (export "f") (param {" ".join(op.params)}) (result {op.results[0]}) {gets} {name}))'


def vector(kind: str, lanes: list[int]) -> int:
    width = 32 if kind == "f32" else 64
    return sum(lane << width * at for at, lane in enumerate(lanes))


def canonical(value: Value, lanes: str) -> tuple[Value, int]:
    """A value with every NaN made the canonical one, and how many there are."""
    kind, count = LANES.get(lanes, (value.type, 1))
    width = 32 if kind == "f32" else 64
    bits = [value.bits >> width * at & (1 << width) - 1 for at in range(count)]
    nans = [is_nan(Value(kind, each)) for each in bits]
    settled = [CANONICAL[kind] if nan else each for nan, each in zip(nans, bits, strict=True)]
    return Value(value.type, sum(each << width * at for at, each in enumerate(settled))), sum(nans)


def operands(name: str) -> list[list[str]]:
    """Rows of arguments: every sample with every other, for vectors in some lanes each."""
    params = BY_NAME[name].params
    kind = params[0]
    if kind == "v128":
        kind = "f32" if name.split(".")[1].endswith("f32x4") or (name.startswith("f32x4") and "demote" not in name) else "f64"
    samples = SAMPLES[kind]
    pairs = [(one, other) for one in samples for other in samples] if len(params) > 1 else [(one, one) for one in samples]
    if params[0] != "v128":
        return [[str(Value(kind, each)) for each in pair[: len(params)]] for pair in pairs]
    count = 4 if kind == "f32" else 2
    rotated = [samples[at:] + samples[:at] for at in range(len(samples))]
    return [
        [f"{vector(kind, list(each[:count])):#x}" for each in (one, other)][: len(params)] for one in rotated for other in rotated
    ]


@pytest.mark.parametrize("name", OPEN)
def test_a_number_stays_and_a_nan_becomes_the_canonical_one(name):
    rows = list(dict.fromkeys("f=" + ",".join(each) for each in operands(name)))
    expected = [canonical(value, name.partition(".")[0]) for value in plain(function(name), rows)]
    assert ran(form_of(function(name)), rows) == ([value for value, _ in expected], sum(count for _, count in expected), "")


def test_what_is_not_open_keeps_its_bits_and_needs_no_form():
    source = """(module
      (func (export "f") (param f32 f64 v128) (result f32 f64 v128)
        (f32.neg (f32.copysign (f32.abs (local.get 0)) (f32.const -1))) (f64.neg (local.get 1))
        (f32x4.pmin (f64x2.pmax (local.get 2) (local.get 2)) (f32x4.neg (local.get 2)))))"""
    assert deterministic(read(binary(source))) is None


WRONG = """(module
  (func $one (export "f") (param f32) (result f32) (f32.mul (f32.floor (local.get 0)) (f32.const 1)))
  (func (export "g") (param f32) (result f32) (f32.ceil (local.get 0))))"""


@pytest.mark.parametrize(
    ("argument", "wrong", "bits", "place"),
    [
        ("nan:0x200000", "f32.abs", 0x7FA0_0000, "f32.ceil"),  # a signalling NaN comes out
        ("nan:0x200000", "f32.neg", 0xFFA0_0000, "f32.ceil"),
        ("-nan:0x600001", "f32.abs", 0x7FC0_0000, ""),  # any quiet NaN will do where an operand is not canonical
        ("-nan", "f32.abs", 0x7FC0_0000, ""),  # the sign is open
        ("1.5", "f32.abs", 0x3FC0_0000, ""),  # a wrong number shows by itself
    ],
)
def test_a_nan_that_is_not_allowed_stays_and_is_recorded(argument, wrong, bits, place):
    form = form_of(WRONG)
    faulty = replaced(form.wasm, "f32.ceil", wrong)
    assert ran(form, [f"g={argument}"], faulty)[::2] == ([Value("f32", bits)], place)


@pytest.mark.parametrize(
    ("argument", "bits", "choices", "place"), [("nan", 0x7FF8 << 48 | 1, 0, "f64.sqrt"), ("nan:0x1", 0x7FF8 << 48, 1, "")]
)
def test_a_quiet_nan_of_any_payload_is_allowed_only_where_an_operand_is_not_canonical(argument, bits, choices, place):
    form = form_of(function("f64.sqrt"))
    other = b"\x1a\x44" + struct.pack("<Q", 0x7FF8 << 48 | 1)  # drop, f64.const nan:0x8000000000001
    body = module_edit.body(form.module, form.wasm, 0).replace(BY_NAME["f64.sqrt"].encoding, other, 1)
    assert ran(form, [f"f={argument}"], module_edit.rewrite(form.module, form.wasm, {0: body})) == (
        [Value("f64", bits)],
        choices,
        place,
    )


def replaced(wasm: bytes, name: str, other: str) -> bytes:
    """The module with the first instruction of a name replaced by another one of the same length."""
    module = read(wasm)
    found = next(each for each in listed(module, wasm) if each.name == name)
    return wasm[: found.offset] + BY_NAME[other].encoding + wasm[found.end :]


def listed(module: Module, wasm: bytes) -> list[Instruction]:
    return [
        each
        for offset, size in module.bodies
        for each in instructions(wasm[offset : offset + size], offset, start=read_locals(wasm[offset : offset + size], offset).end)
    ]


MIXED = """(module
  (import "e" "f" (func (param i32)))
  (global (export "__witness_counter_4294967295") (mut i64) (i64.const 7))
  (func (export "a") (param f64) (result f32) (local i32 v128 f32)
    (block (br_if 0 (i32.const 1)) (local.set 3 (f32.add (local.get 3) (f32.const 2))))
    (loop (local.set 3 (f32.sqrt (local.get 3))) (call 0 (i32.const 3)))
    (f32.demote_f64 (f64.mul (local.get 0) (f64.promote_f32 (local.get 3)))))
  (func (export "b") (result i32) (i32.const 5))
  (func (export "dead") (result v128) unreachable f32x4.div f64x2.promote_low_f32x4))"""


def test_every_instruction_is_traced_to_the_artifact():
    data = binary(MIXED)
    form, artifact = form_of(data), {each.offset: each for each in listed(read(data), data)}
    own = [each for each in listed(form.module, form.wasm) if form.origin(each.offset) is not None]
    same = [each for each in own if form.origin(each.offset).part == "same"]
    results = [form.origin(each.offset) for each in own if form.origin(each.offset).part == "result"]
    assert [artifact.pop(form.origin(each.offset).offset).immediates for each in same] == [each.immediates for each in same]
    assert [each.name for each in artifact.values()] == [each.name for each in form.places]  # all that is left
    assert [each.offset for each in results] == [each.offset for each in form.places]
    assert {form.origin(each.offset).offset for each in own} <= {each.offset for each in listed(read(data), data)}
    helpers = form.module.bodies[form.functions - 1][0]
    assert form.origin(helpers) is None


def test_the_counters_of_the_form_take_free_names():
    form = form_of(MIXED)
    assert form.counters == (4_294_967_294, 4_294_967_293, 4_294_967_292)
    seen = dict(zip(form.counters, (2, 5, 1), strict=True))
    assert form.split({4_294_967_295: 7, **seen}) == ({4_294_967_295: 7}, Choices(2, 5, form.places[0]))


def test_no_index_and_no_label_of_the_artifact_changes():
    source = """(module (memory (export "m") 1)
      (func $last (param f32) (result f32) (local.get 0))
      (func (export "f") (param i32) (result f32) (local f32)
        (block $out (result f32)
          (block $in (br_table $in $in (local.get 0)))
          (f32.div (call $last (f32.const 0)) (f32.const 0))
          (br $out))))"""
    assert ran(form_of(source), ["f=0"]) == ([Value("f32", CANONICAL["f32"])], 1, "")
    assert is_quiet_nan(plain(source, ["f=0"])[0])


def test_the_text_of_the_form_is_valid_for_an_engine_without_vectors():
    config = wasmtime.Config()
    config.wasm_simd = config.wasm_relaxed_simd = False
    form = form_of(
        '(module (func (export "f") (param f32 f64) (result f64) (f64.add (f64.promote_f32 (local.get 0)) (local.get 1))))'
    )
    wasmtime.Module(wasmtime.Engine(config), form.wasm)
