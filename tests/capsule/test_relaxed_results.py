"""Relaxed vector instructions in the deterministic form: the profile's result comes of every one that the specification allows."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import product

import pytest
import wasmtime

from diffcheck.capsule import layout as lo
from diffcheck.capsule.build import build
from diffcheck.capsule.deterministic.form import deterministic
from diffcheck.capsule.deterministic.fused_multiply_add import HELPERS
from diffcheck.capsule.deterministic.relaxed_results import RELAXED
from diffcheck.capsule.forms import Capsule
from diffcheck.capsule.seal import World
from diffcheck.faults import module_edit
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import read
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import FuncType, encode_functype
from tests.capsule.helpers import binary, calls, run

Lanes = list[int]
QUIET = {32: 0x7FC0_0000, 64: 0x7FF8 << 48}
DROP = b"\x1a"


def split(value: int, bits: int) -> Lanes:
    return [value >> at & (1 << bits) - 1 for at in range(0, 128, bits)]


def joined(lanes: Lanes, bits: int) -> int:
    return sum((lane & (1 << bits) - 1) << bits * at for at, lane in enumerate(lanes))


def signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


# What is allowed in each lane, by the specification's text; the first is that of the deterministic profile.


def swizzle(a: int, b: int) -> list[Lanes]:
    of = split(a, 8)
    return [[of[at]] if at < 16 else [0] if at >= 128 else [0, of[at % 16]] for at in split(b, 8)]


def laneselect(bits: int) -> Callable[[int, int, int], list[Lanes]]:
    def lanes(a: int, b: int, c: int) -> list[Lanes]:
        made = []
        for one, other, mask in zip(split(a, bits), split(b, bits), split(c, bits), strict=True):
            masks = [mask, (1 << bits) - 1 if mask >> bits - 1 else 0]
            if bits == 16:
                masks.append((0xFF if mask & 0x80 else 0) | (0xFF00 if mask & 0x8000 else 0))
            made.append([one & each | other & ~each & (1 << bits) - 1 for each in masks])
        return made

    return lanes


def q15mulr(a: int, b: int) -> list[Lanes]:
    made = []
    for one, other in zip(split(a, 16), split(b, 16), strict=True):
        value = min((signed(one, 16) * signed(other, 16) + 0x4000) >> 15, 0x7FFF) & 0xFFFF
        made.append([value, 0x8000] if one == other == 0x8000 else [value])
    return made


def saturated(value: int) -> int:
    return max(-0x8000, min(0x7FFF, value))


def dots(a: int, b: int) -> Iterator[tuple[list[int], list[int], list[int], bool]]:
    """For each pair of bytes: products signed, mixed and unsigned, and whether a second operand is negative."""
    ones, others = split(a, 8), split(b, 8)
    for at in range(0, 16, 2):
        pair = list(zip(ones[at : at + 2], others[at : at + 2], strict=True))
        yield (
            [signed(one, 8) * signed(other, 8) for one, other in pair],
            [signed(one, 8) * other for one, other in pair],
            [one * other for one, other in pair],
            any(other >> 7 for _, other in pair),
        )


def dot(a: int, b: int) -> list[Lanes]:
    return [
        [saturated(sum(both)), saturated(sum(mixed)), *([sum(unsigned)] if negative else [])]
        for both, mixed, unsigned, negative in dots(a, b)
    ]


def dot_add(a: int, b: int, c: int) -> list[Lanes]:
    pairs = list(dots(a, b))
    made = []
    for at, add in enumerate(split(c, 32)):
        two = pairs[2 * at : 2 * at + 2]
        values = [sum(saturated(sum(each[kind])) for each in two) for kind in (0, 1)]
        if any(each[3] for each in two):
            values += [sum(sum(each[kind]) for each in two) for kind in (0, 1, 2)]
        made.append([each + add for each in values])
    return made


def number(bits: int, width: int) -> float:
    return struct.unpack("<f" if width == 32 else "<d", bits.to_bytes(width // 8, "little"))[0]


def is_nan(bits: int, width: int) -> bool:
    return number(bits, width) != number(bits, width)


def is_odd(bits: int, width: int) -> bool:
    return is_nan(bits, width) and bits & (1 << width - 1) - 1 != QUIET[width]


def nans(operands: list[int], width: int) -> Lanes:
    sign = 1 << width - 1
    more = [QUIET[width] | 5, sign | QUIET[width] | 5] if any(is_odd(each, width) for each in operands) else []
    return [QUIET[width], QUIET[width] | sign, *more]


def least(width: int, name: str) -> Callable[[int, int], list[Lanes]]:
    def lanes(a: int, b: int) -> list[Lanes]:
        made = []
        for one, other in zip(split(a, width), split(b, width), strict=True):
            if is_nan(one, width) or is_nan(other, width):
                positive = [each & (1 << width - 1) - 1 for each in (one, other) if is_nan(each, width)]
                made.append([*nans([one, other], width), one, other, *positive])
            elif number(one, width) == number(other, width) == 0:
                made.append([one | other if name == "min" else one & other, one, other])
            else:
                made.append([(min if name == "min" else max)((one, other), key=lambda each: number(each, width))])
        return made

    return lanes


def rounded(exact: Fraction, width: int) -> int:
    """An exact value to the nearest float, ties to even, by its bits."""
    kept, least_exponent = (23, -126) if width == 32 else (52, -1022)
    size = abs(exact)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent = max(exponent - (Fraction(2) ** exponent > size), least_exponent)
    scaled = size / Fraction(2) ** (exponent - kept)
    whole = scaled.numerator // scaled.denominator
    rest = scaled - whole
    whole += rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole & 1)
    infinity = (3 - 2 * least_exponent) << kept
    return min((exponent - least_exponent << kept) + whole, infinity) | (exact < 0) << width - 1


def unfused(a: int, b: int, c: int, width: int) -> int:
    """By wasmtime: the product and then the sum."""
    kind = "f32" if width == 32 else "f64"
    text = f'(module (func (export "f") (param {kind} {kind} {kind}) (result i{width}) (i{width}.reinterpret_{kind} ({kind}.add ({kind}.mul (local.get 0) (local.get 1)) (local.get 2)))))'
    store, f = _function(text)
    return f(store, number(a, width), number(b, width), number(c, width)) % (1 << width)


_KNOWN: dict[str, tuple[wasmtime.Store, Callable[..., int]]] = {}


def _function(text: str | bytes) -> tuple[wasmtime.Store, Callable[..., int]]:
    if text not in _KNOWN:
        store = wasmtime.Store()
        _KNOWN[text] = store, wasmtime.Instance(store, wasmtime.Module(store.engine, text), []).exports(store)["f"]
    return _KNOWN[text]


def madd(width: int, *, negated: bool) -> Callable[[int, int, int], list[Lanes]]:
    def lanes(a: int, b: int, c: int) -> list[Lanes]:
        made = []
        for one, other, add in zip(split(a, width), split(b, width), split(c, width), strict=True):
            first = one ^ (1 << width - 1 if negated else 0)
            twice = unfused(first, other, add, width)
            finite = all(abs(number(each, width)) < float("inf") for each in (first, other, add))
            exact = Fraction(number(first, width)) * Fraction(number(other, width)) + Fraction(number(add, width)) if finite else 0
            once = [rounded(exact, width)] if exact else []
            made.append([*(nans([first, other, add], width) if is_nan(twice, width) else [twice]), *once])
        return made

    return lanes


def trunc(width: int, sign: str) -> Callable[[int], list[Lanes]]:
    low, high = (-(1 << 31), (1 << 31) - 1) if sign == "s" else (0, (1 << 32) - 1)

    def lanes(a: int) -> list[Lanes]:
        made: list[Lanes] = []
        for each in split(a, width):
            value = number(each, width)
            if is_nan(each, width):
                made.append([0, 7, 1 << 31])
            elif low <= (exact := max(-1e30, min(1e30, value))) // 1 + (exact < 0 and exact % 1 != 0) <= high:
                made.append([int(exact)])
            else:
                made.append([high if value > 0 else low, 7, 1 << 31])
        return made + [[0], [0]] * (width == 64)

    return lanes


MODELS: dict[str, tuple[int, Callable[..., list[Lanes]]]] = {
    "i8x16.relaxed_swizzle": (8, swizzle),
    **{f"i32x4.relaxed_trunc_f32x4_{sign}": (32, trunc(32, sign)) for sign in "su"},
    **{f"i32x4.relaxed_trunc_f64x2_{sign}_zero": (32, trunc(64, sign)) for sign in "su"},
    **{f"f{width}x{128 // width}.relaxed_madd": (width, madd(width, negated=False)) for width in (32, 64)},
    **{f"f{width}x{128 // width}.relaxed_nmadd": (width, madd(width, negated=True)) for width in (32, 64)},
    **{f"i{bits}x{128 // bits}.relaxed_laneselect": (bits, laneselect(bits)) for bits in (8, 16, 32, 64)},
    **{f"f{w}x{128 // w}.relaxed_{name}": (w, least(w, name)) for w in (32, 64) for name in ("min", "max")},
    "i16x8.relaxed_q15mulr_s": (16, q15mulr),
    "i16x8.relaxed_dot_i8x16_i7x16_s": (16, dot),
    "i32x4.relaxed_dot_i8x16_i7x16_add_s": (32, dot_add),
}


def given_results(name: str) -> tuple[Capsule, ...]:
    """Makes a capsule whose relaxed instruction gives what the row's first argument is."""
    count = len(BY_NAME[name].params)
    gets = " ".join(f"local.get {at + 1}" for at in range(count))
    form = deterministic(read(binary(f'(module (func (export "f") (param v128 {"v128 " * count}) (result v128) {gets} {name}))')))
    body = module_edit.body(form.module, form.wasm, 0)
    found = [each for each in module_edit.listing(body) if each.name == name]
    assert len(found) == 1
    body = body[: found[0].offset] + DROP * count + b"\x20\x00" + body[found[0].end :]
    return form, read(module_edit.rewrite(form.module, form.wasm, {0: body}))


def samples(name: str, number_of: int) -> list[list[int]]:
    """Operands with the lanes that matter: the least and greatest integers, NaNs, zeros, infinities, near cancellation."""
    chance = random.Random(name)
    width = 64 if "f64x2" in name else 32 if "f32x4" in name else 8
    special = {
        8: [0, 1, 0x7F, 0x80, 0xFF, 0x81, 15, 16, 31, 127, 128, 200],
        32: [0, 0x8000_0000, 0x3F80_0000, 0xBF00_0000, 0x7F80_0000, 0xFFC0_0000, 0x7FC0_0003, 0x7F80_0001, 1, 0x4F00_0000,
             0xCF00_0000, 0x4F80_0000, 0x3F80_0001, 0xBF80_0002, 0x3F7F_FFFF],
        64: [0, 1 << 63, 0x3FF0 << 48, 0xBFE0 << 48, 0x7FF0 << 48, 0xFFF8 << 48, 0x7FF8 << 48 | 3, 0x7FF0 << 48 | 1, 1,
             0x41E0 << 48, 0xC1E0 << 48, 0xC1E0_0000_0010_0000, 0x41F0 << 48, 0x3FF0 << 48 | 1, 0xBFF0 << 48 | 2],
    }[width]  # fmt: skip
    lane = lambda: chance.choice(special) if chance.random() < 0.7 else chance.getrandbits(width)  # noqa: E731
    return [[joined([lane() for _ in range(128 // width)], width) for _ in BY_NAME[name].params] for _ in range(number_of)]


def test_every_relaxed_instruction_is_checked() -> None:
    assert set(RELAXED) == {name for name in BY_NAME if ".relaxed_" in name} == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_allowed_result_becomes_the_profiles_and_no_other_one_is_allowed(name: str) -> None:
    width, model = MODELS[name]
    chance = random.Random(name)
    rows, expected = [], []
    for operands in samples(name, 10):
        lanes = model(*operands)
        profile = joined([each[0] for each in lanes], width)
        for _ in range(2):
            rows.append((joined([chance.choice(each) for each in lanes], width), *operands))
            expected.append((profile, True))
        at = chance.randrange(len(lanes))
        wrong = [each[0] for each in lanes]
        wrong[at] ^= 1 << chance.randrange(3)
        open_ = {each & (1 << width) - 1 for each in lanes[at]}
        any_ = "trunc" in name and len(lanes[at]) > 1
        payload = name[0] == "f" and is_nan(wrong[at] & (1 << width) - 1, width)  # any payload may be right where one is
        if wrong[at] & (1 << width) - 1 not in open_ and not any_ and not (payload and len(open_) > 2):
            rows.append((joined(wrong, width), *operands))
            expected.append((profile, False))
    assert [(joined_result, allowed) for joined_result, allowed in results(name, rows)] == expected
    assert sum(not allowed for _, allowed in expected) >= 2


def results(name: str, rows: list[tuple[int, ...]]) -> Iterator[tuple[int, bool]]:
    form, module = given_results(name)
    made = build(module, "", calls(module, ["f=" + ",".join(map(hex, row)) for row in rows]), World())
    for at in range(len(rows)):
        seen = run(made, lo.Parameters(at, at + 1))
        _, choices = form.split(seen.state.counters)
        assert choices.relaxed == 1
        yield seen.rows[0].results[0].bits, choices.not_allowed is None


DOT, DOT_ADD = "i16x8.relaxed_dot_i8x16_i7x16_s", "i32x4.relaxed_dot_i8x16_i7x16_add_s"
SUITE = {
    (DOT, (0x80, 0x81)): {-32768, 32512, 33024},
    (DOT, (0x80, 0x80)): {-32768, 32767, 32768},
    (DOT, (0x80, 0x7F)): {-32512},
    (DOT_ADD, (0x80, 0x81)): {-66047, -65535, 65025, 66049},
    (DOT_ADD, (0x80, 0x80)): {-65535, 65535, 65537},
    (DOT_ADD, (0x80, 0x7F)): {-65023},
}
"""The first lane of a dot product of these bytes, to which the second instruction adds 1: what the test suite lists, and where it lists
nothing what its comments say of the instructions that it is made for."""


@pytest.mark.parametrize(("name", "bytes_"), SUITE)
def test_a_dot_product_has_the_results_that_the_test_suite_lists_and_no_other(name: str, bytes_: tuple[int, int]) -> None:
    listed, width = SUITE[name, bytes_], 16 if name == DOT else 32
    pairs = width // 8
    operands = [int.from_bytes(bytes([each] * pairs), "little") for each in bytes_] + [1] * (name == DOT_ADD)
    tried = sorted({near for each in listed for near in (each - 1, each, each + 1)} | {0, 7, -1})
    rows = [(each % (1 << width), *operands) for each in tried]
    modular = {each % (1 << width) for each in listed}
    assert {row[0] for row, (_, allowed) in zip(rows, results(name, rows), strict=True) if allowed} == modular


F32, F64 = "<f", "<d"
BOUNDS = {
    ("f32x4", "s"): ((-2147483648.0, 2147483520.0, -0.75, 0.0), (-2147483904.0, 2147483648.0, float("inf"), float("-inf"))),
    ("f32x4", "u"): ((4294967040.0, -0.9999999, -0.0, 2147483648.0), (-1.0, 4294967296.0, float("inf"), float("-inf"))),
    ("f64x2", "s"): ((-2147483648.9999995, 2147483647.9999998), (-2147483649.0, 2147483648.0)),
    ("f64x2", "u"): ((-0.9999999999999999, 4294967295.9999995), (-1.0, 4294967296.0)),
}
"""By shape and sign: the last values that truncate into range, and the first that do not."""


@pytest.mark.parametrize(("shape", "sign"), BOUNDS)
def test_a_truncation_is_exact_in_range_and_has_any_result_out_of_it(shape: str, sign: str) -> None:
    inside, outside = BOUNDS[shape, sign]
    name = f"i32x4.relaxed_trunc_{shape}_{sign}{'_zero' * (shape == 'f64x2')}"
    width, packing = (32, F32) if shape == "f32x4" else (64, F64)

    def vector(values: tuple[float, ...]) -> int:
        return joined([int.from_bytes(struct.pack(packing, each), "little") for each in values], width)

    for values, any_ in ((inside, False), (outside, True), ((float("nan"),) * len(inside), True)):
        exact = [min(max(int(each), -(1 << 31)), (1 << 32) - 1) if not any_ else 0 for each in values]
        lanes = exact + [0] * (4 - len(exact))
        wrong = [[each ^ (1 << 20 if at == lane else 0) for at, each in enumerate(lanes)] for lane in range(len(exact))]
        beyond = [[*lanes[:2], 1, 0]] * (width == 64)
        rows = [(joined(each, 32), vector(values)) for each in (lanes, *wrong, *beyond)]
        expected = [True, *[any_] * len(wrong), *[False] * len(beyond)]
        assert [allowed for _, allowed in results(name, rows)] == expected, (values, any_)


@pytest.mark.parametrize("name", MODELS)
def test_an_engine_as_it_is_makes_only_allowed_choices(name: str) -> None:
    width, model = MODELS[name]
    gets = " ".join(f"local.get {at}" for at in range(len(BY_NAME[name].params)))
    params = "v128 " * len(BY_NAME[name].params)
    form = deterministic(read(binary(f'(module (func (export "f") (param {params}) (result v128) {gets} {name}))')))
    chosen = samples(name, 60)
    names = ["f=" + ",".join(map(hex, row)) for row in chosen]
    seen = run(build(form.module, "", calls(form.module, names), World()))
    assert form.split(seen.state.counters)[1].not_allowed is None
    assert [row.results[0].bits for row in seen.rows] == [joined([each[0] for each in model(*row)], width) for row in chosen]


# The fused result.


def fused(width: int) -> tuple[wasmtime.Store, Callable[..., int]]:
    helper = HELPERS[f"fma{width}"]
    code = link(assemble(helper.text, params=("a", "b", "c"), locals=helper.locals), {})
    type_ = encode_functype(FuncType(tuple(each for _, each in helper.params), (helper.result,)))
    items = {ids.TYPE: [type_], ids.FUNCTION: [u(0)], ids.EXPORT: [b"\x01f\x00\x00"], ids.CODE: [code]}
    return _function(ids.write(ids.append((), items)))


@pytest.mark.parametrize("width", [32, 64])
def test_the_fused_result_is_rounded_once(width: int) -> None:
    store, f = fused(width)
    kept, exponents = (23, 255) if width == 32 else (52, 2047)
    chance = random.Random(width)
    middle = exponents >> 1

    def bits(near: int) -> int:
        exponent = chance.choice([0, 1, exponents - 1, chance.randrange(exponents), near]) % exponents
        low = chance.choice([chance.getrandbits(kept), 0, (1 << kept) - 1, 1, 1 << chance.randrange(kept)])
        return chance.getrandbits(1) << width - 1 | exponent << kept | low

    for _ in range(3000):
        a, b = bits(middle), bits(middle)
        near = (a >> kept & exponents) + (b >> kept & exponents) - middle + chance.randrange(-60, 60)
        c = bits(max(0, min(near, exponents - 1)))
        values = [number(each, width) for each in (a, b, c)]
        exact = Fraction(values[0]) * Fraction(values[1]) + Fraction(values[2])
        if exact:
            assert f(store, *values) % (1 << width) == rounded(exact, width), [each.hex() for each in values]


@pytest.mark.parametrize("width", [32, 64])
def test_a_cancelled_product_leaves_what_it_was_rounded_by(width: int) -> None:
    store, f = fused(width)
    kept = 23 if width == 32 else 52
    one = number((((1 << width - 2 - kept) - 1) << kept) | 1, width)  # 1 and the least bit
    again = number(
        unfused(*(int.from_bytes(struct.pack("<f" if width == 32 else "<d", each), "little") for each in (one, one, 0.0)), width),
        width,
    )
    assert f(store, one, one, -again) % (1 << width) == rounded(Fraction(one) ** 2 - Fraction(again), width)
    assert [f(store, *each) % (1 << width) for each in product((0.0,), (1.0,), (0.0, 2.5))] == [0, rounded(Fraction(5, 2), width)]
