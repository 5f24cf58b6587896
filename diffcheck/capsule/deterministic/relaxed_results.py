"""Functions that check the result of a relaxed vector instruction, and return that of the deterministic profile.

Core specification 3.0, 4.3.6 (Relaxed Operations): each lane of the result is one of a set. In the deterministic profile it is the
first of the set, which ordinary instructions compute. The specification's test suite, or hardware that it mentions, allows more
results than that chapter. These are also allowed here:

- ``i16x8.relaxed_laneselect``: the top bit of each byte selects that byte.
- ``i16x8.relaxed_dot_i8x16_i7x16_s`` with a negative second operand: unsigned products without saturation (33,024 in the tests).
- ``i32x4.relaxed_dot_i8x16_i7x16_add_s`` with a negative second operand: sums without saturation. The products are signed by
  unsigned (-66,047 in the tests), unsigned (66,049), or signed (65,025, which saturation does not change; but four times -128 by
  -128 is 65,536 instead of 65,534).
"""

from __future__ import annotations

from typing import Final

from diffcheck.capsule.helper_functions import CANONICAL, INFINITY, MAXIMUM, Helper

_ZERO: Final = "v128.const i64x2 0 0"
_EVEN_16: Final = "i8x16.shuffle 0 1 4 5 8 9 12 13 16 17 20 21 24 25 28 29"
_ODD_16: Final = "i8x16.shuffle 2 3 6 7 10 11 14 15 18 19 22 23 26 27 30 31"
_EVEN_32: Final = "i8x16.shuffle 0 1 2 3 8 9 10 11 16 17 18 19 24 25 26 27"
_ODD_32: Final = "i8x16.shuffle 4 5 6 7 12 13 14 15 20 21 22 23 28 29 30 31"
_LOW_32: Final = "i8x16.shuffle 0 1 2 3 8 9 10 11 16 17 18 19 20 21 22 23"


def _checked(operands: str, value: str, allowed: str, locals_: str = "", before: str = "") -> Helper:
    """Return the function for one instruction.

    The text ``value`` computes the profile's result, the local ``d``. The text ``allowed`` computes a mask of the lanes in which
    the engine's result ``r`` is allowed.
    """
    text = f"""
      global.get $relaxed i64.const 1 i64.add global.set $relaxed
      {before}
      {value} local.set $d
      {allowed} v128.not v128.any_true
      if
        local.get $place call $violated
      end
      local.get $d
    """
    params = (("r", "v128"), *((name, "v128") for name in operands), ("place", "i32"))
    return Helper(params, "v128", text, tuple((name, "v128") for name in ("d", *locals_.split())))


def _is(value: str, shape: str) -> str:
    """Return the mask of the lanes in which the result equals ``value``."""
    return f"local.get $r {value} {shape}.eq"


def _swizzle() -> Helper:
    other = f"local.get $a local.get $b v128.const i64x2 {_each(8, 15)} {_each(8, 15)} v128.and i8x16.swizzle"
    allowed = f"{_is('local.get $d', 'i8x16')} {_is(other, 'i8x16')} local.get $b {_ZERO} i8x16.ge_s v128.and v128.or"
    return _checked("ab", "local.get $a local.get $b i8x16.swizzle", allowed)


def _each(bits: int, value: int) -> int:
    """Return 64 bits of lanes with equal values."""
    return sum(value << at for at in range(0, 64, bits))


def _laneselect(shape: str, bits: int) -> Helper:
    def selected(mask: str) -> str:
        return _is(f"local.get $a local.get $b local.get $c {mask} v128.bitselect", shape)

    masks = [f"i32.const {bits - 1} {shape}.shr_s", *(["i32.const 7 i8x16.shr_s"] if bits == 16 else [])]  # noqa: PLR2004 - i16x8
    allowed = " ".join([_is("local.get $d", shape), *(f"{selected(mask)} v128.or" for mask in masks)])
    return _checked("abc", "local.get $a local.get $b local.get $c v128.bitselect", allowed)


def _q15mulr() -> Helper:
    least = f"v128.const i64x2 {_each(16, 0x8000)} {_each(16, 0x8000)}"
    both = " ".join(f"local.get ${each} {least} i16x8.eq v128.and" for each in "ab")
    allowed = f"{_is('local.get $d', 'i16x8')} {_is(least, 'i16x8')} {both} v128.or"
    return _checked("ab", "local.get $a local.get $b i16x8.q15mulr_sat_s", allowed)


def _trunc(source: str, sign: str) -> Helper:
    """Check a truncation, which is exact in range. Lanes without a source are zero.

    Any result is allowed for a NaN and a value out of range, since **R** in ``[trunc_sat(z), R]`` is any result.
    """
    kind, shape = source[:3], source
    above, least, below = {
        ("f32x4", "s"): ("ge", -(2.0**31), 2.0**31),
        ("f64x2", "s"): ("gt", -(2.0**31) - 1, 2.0**31),
        ("f32x4", "u"): ("gt", -1.0, 2.0**32),
        ("f64x2", "u"): ("gt", -1.0, 2.0**32),
    }[source, sign]
    bounds = ((least, above), (below, "lt"))
    in_range = " ".join(f"local.get $a {kind}.const {bound} {shape}.splat {shape}.{name}" for bound, name in bounds) + " v128.and"
    if source == "f64x2":
        in_range += f" v128.const i64x2 -1 -1 {_LOW_32}"
    allowed = f"{_is('local.get $d', 'i32x4')} {in_range} v128.not v128.or"
    return _checked("a", f"local.get $a i32x4.trunc_sat_{source}_{sign}{'_zero' if source == 'f64x2' else ''}", allowed)


def _products(first: str, second: str) -> str:
    """Return text that sets ``low`` and ``high`` to the products of the bytes of ``a`` and ``b``, signed (s) or unsigned (u)."""
    return " ".join(
        f"local.get $a i16x8.extend_{half}_i8x16_{first} local.get $b i16x8.extend_{half}_i8x16_{second} "
        f"i16x8.mul local.set ${half}"
        for half in ("low", "high")
    )


def _pairs(add: str) -> str:
    return f"local.get $low local.get $high {_EVEN_16} local.get $low local.get $high {_ODD_16} {add}"


def _quads(sign: str) -> str:
    """Return text for the sums of four products each, without saturation."""
    halves = " ".join(f"local.get ${half} i32x4.extadd_pairwise_i16x8_{sign} local.set ${half}" for half in ("low", "high"))
    both = " ".join(f"local.get $low local.get $high {each}" for each in (_EVEN_32, _ODD_32))
    return f"{halves} {both} i32x4.add local.get $c i32x4.add"


_SATURATED: Final = _pairs("i16x8.add_sat_s")
_NEGATIVE: Final = "local.get $b i32.const 7 i8x16.shr_s"


def _dot() -> Helper:
    as_unsigned = f"{_products('u', 'u')} {_is(_pairs('i16x8.add'), 'i16x8')} {_NEGATIVE} {_ZERO} i16x8.ne v128.and"
    allowed = f"""
      {_is("local.get $d", "i16x8")}
      {_products("s", "u")} {_is(_SATURATED, "i16x8")} v128.or
      {as_unsigned} v128.or
    """
    return _checked("ab", f"{_products('s', 's')} {_SATURATED}", allowed, "low high")


def _dot_add() -> Helper:
    summed = f"{_SATURATED} i32x4.extadd_pairwise_i16x8_s local.get $c i32x4.add"
    signs = (("s", "s"), ("s", "u"), ("u", "u"))
    unsaturated = [f"{_products(*each)} {_is(_quads(each[0]), 'i32x4')}" for each in signs]
    allowed = f"""
      {_is("local.get $d", "i32x4")}
      {_products("s", "u")} {_is(summed, "i32x4")} v128.or
      {" ".join(unsaturated)} v128.or v128.or {_NEGATIVE} {_ZERO} i32x4.ne v128.and v128.or
    """
    return _checked("abc", f"{_products('s', 's')} {summed}", allowed, "low high")


# Floats. NaNs become the positive canonical NaN, as everywhere in the form.


class _Float:
    """Texts for the lanes of a float shape. Lane sets are masks."""

    def __init__(self, shape: str) -> None:
        self.shape, self.lanes = shape, shape.replace("f", "i")
        self.bits = shape[1:3]
        self._width = int(self.bits)

    def every(self, value: int) -> str:
        """Return a vector of lanes with these bits."""
        return f"v128.const i64x2 {_each(self._width, value)} {_each(self._width, value)}"

    def size(self, value: str) -> str:
        """Return the bits of a local's value without the sign."""
        return f"local.get ${value} {self.every(MAXIMUM[self.bits])} v128.and"

    def is_nan(self, value: str) -> str:
        """Return the lanes that are NaN."""
        return f"local.get ${value} local.get ${value} {self.shape}.ne"

    def odd(self, value: str) -> str:
        """Return the lanes that are a non-canonical NaN."""
        other = f"{self.size(value)} {self.every(CANONICAL[self.bits])} {self.lanes}.ne"
        return f"{self.size(value)} {self.every(INFINITY[self.bits])} {self.lanes}.gt_s {other} v128.and"

    def allowed_nan(self, operands: str) -> str:
        """Return the lanes in which the result is a NaN that 4.3.3 allows for these operands."""
        canonical = f"{self.size('r')} {self.every(CANONICAL[self.bits])} {self.lanes}.eq"
        quiet = f"{self.size('r')} {self.every(CANONICAL[self.bits])} {self.lanes}.gt_s"
        either = " ".join([*map(self.odd, operands), *["v128.or"] * (len(operands) - 1)])
        return f"{canonical} {quiet} {either} v128.and v128.or"

    def settled(self, value: str) -> str:
        """Return a local's value with every NaN replaced by the canonical NaN."""
        return f"{self.every(CANONICAL[self.bits])} local.get ${value} {self.is_nan(value)} v128.bitselect"


def _least(shape: str, name: str) -> Helper:
    """Check ``min`` or ``max``: for a NaN operand, either operand is also allowed; for zeros of opposite sign, either zero."""
    of = _Float(shape)
    either = f"{_is('local.get $a', of.lanes)} {_is('local.get $b', of.lanes)} v128.or"
    same = " ".join(f"{of.size('r')} {of.size(each)} {of.lanes}.eq {of.is_nan(each)} v128.and v128.or" for each in "ab")
    with_nan = f"{of.allowed_nan('ab')} {either} v128.or {same}"
    without = f"{_is('local.get $u', of.lanes)} local.get $a local.get $b {shape}.eq {either} v128.and v128.or"
    allowed = f"{with_nan} {without} {of.is_nan('a')} {of.is_nan('b')} v128.or v128.bitselect"
    before = f"local.get $a local.get $b {shape}.{name} local.set $u"
    return _checked("ab", of.settled("u"), allowed, "u", before)


def _madd(shape: str, *, negated: bool) -> Helper:
    """Check an unfused or fused result. The fused one is computed only if the result is neither the unfused one nor a NaN."""
    of = _Float(shape)
    fused = " ".join(
        f"local.get $f {' '.join(f'local.get ${each} {shape}.extract_lane {lane}' for each in 'abc')} call $fma{of.bits} "
        f"{of.lanes}.replace_lane {lane} local.set $f"
        for lane in range(128 // int(of.bits))
    )
    before = f"""
      {f"local.get $a {shape}.neg local.set $a" if negated else ""}
      local.get $a local.get $b {shape}.mul local.get $c {shape}.add local.set $u
      {_is("local.get $u", of.lanes)} {of.allowed_nan("abc")} {of.is_nan("u")} v128.and v128.or local.tee $ok
      v128.not v128.any_true
      if
        {fused} local.get $ok {_is("local.get $f", of.lanes)} v128.or local.set $ok
      end
    """
    return _checked("abc", of.settled("u"), "local.get $ok", "u f ok", before)


RELAXED: Final[dict[str, Helper]] = {
    "i8x16.relaxed_swizzle": _swizzle(),
    "i32x4.relaxed_trunc_f32x4_s": _trunc("f32x4", "s"),
    "i32x4.relaxed_trunc_f32x4_u": _trunc("f32x4", "u"),
    "i32x4.relaxed_trunc_f64x2_s_zero": _trunc("f64x2", "s"),
    "i32x4.relaxed_trunc_f64x2_u_zero": _trunc("f64x2", "u"),
    **{f"{each}.relaxed_madd": _madd(each, negated=False) for each in ("f32x4", "f64x2")},
    **{f"{each}.relaxed_nmadd": _madd(each, negated=True) for each in ("f32x4", "f64x2")},
    **{f"{shape}.relaxed_laneselect": _laneselect(shape, bits) for shape, bits in (("i8x16", 8), ("i16x8", 16))},
    **{f"{shape}.relaxed_laneselect": _laneselect(shape, bits) for shape, bits in (("i32x4", 32), ("i64x2", 64))},
    **{f"{shape}.relaxed_{name}": _least(shape, name) for shape in ("f32x4", "f64x2") for name in ("min", "max")},
    "i16x8.relaxed_q15mulr_s": _q15mulr(),
    "i16x8.relaxed_dot_i8x16_i7x16_s": _dot(),
    "i32x4.relaxed_dot_i8x16_i7x16_add_s": _dot_add(),
}
"""Relaxed instruction -> the function that checks it, whose parameters are result, operands and place."""


def checked(name: str, operands: tuple[int, ...], result: int) -> str:
    """Return the text that replaces a relaxed instruction; see ``open_results.checked``."""
    save = " ".join(f"local.set {each}" for each in reversed(operands))
    load = " ".join(f"local.get {each}" for each in operands)
    return f"{save} {load} {name} local.set {result} local.get {result} {load} i32.const $place call ${name}"
