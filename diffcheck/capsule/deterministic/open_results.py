"""Code that checks the result of an instruction whose NaN the specification leaves open, and replaces it by one value.

Core specification 3.0, 4.3.3 (NaN propagation): a NaN result is allowed if it is quiet, and must be canonical unless an operand is
a non-canonical NaN. An allowed NaN is counted and replaced by the positive canonical NaN. A wrong NaN stays, and the place of the
first one is recorded. The arithmetic instructions in ``OPEN`` are open. ``neg``, ``abs``, ``copysign``, ``pmin`` and ``pmax`` are
not: their bits are fixed.
"""

from __future__ import annotations

from typing import Final

import msgspec

from diffcheck.capsule.helper_functions import CANONICAL, INFINITY, MAXIMUM, VIOLATED, Helper

_UNARY: Final = ("sqrt", "ceil", "floor", "trunc", "nearest")
_BINARY: Final = ("add", "sub", "mul", "div", "min", "max")


class Open(msgspec.Struct, frozen=True):
    """An open instruction: the types of operands and result; for vectors also the shape of the result and the checking function."""

    operands: tuple[str, ...]
    result: str
    shape: str = ""
    check: str = ""


OPEN: Final[dict[str, Open]] = {
    **{f"{type_}.{name}": Open((type_,), type_) for type_ in ("f32", "f64") for name in _UNARY},
    **{f"{type_}.{name}": Open((type_, type_), type_) for type_ in ("f32", "f64") for name in _BINARY},
    "f64.promote_f32": Open(("f32",), "f64"),
    "f32.demote_f64": Open(("f64",), "f32"),
    **{f"{each}.{name}": Open(("v128",), "v128", each, f"check_{each}") for each in ("f32x4", "f64x2") for name in _UNARY},
    **{f"{each}.{name}": Open(("v128", "v128"), "v128", each, f"check_{each}") for each in ("f32x4", "f64x2") for name in _BINARY},
    "f64x2.promote_low_f32x4": Open(("v128",), "v128", "f64x2", "check_promote"),
    "f32x4.demote_f64x2_zero": Open(("v128",), "v128", "f32x4", "check_demote"),
}


def _odd(bits: str) -> Helper:
    """Return a function that tests whether the bits are those of a non-canonical NaN."""
    type_ = f"i{bits}"
    text = f"""
      local.get $x {type_}.const {MAXIMUM[bits]} {type_}.and local.set $x
      local.get $x {type_}.const {INFINITY[bits]} {type_}.gt_u
      local.get $x {type_}.const {CANONICAL[bits]} {type_}.ne
      i32.and
    """
    return Helper((("x", type_),), "i32", text)


def _settle(bits: str) -> Helper:
    """Return a function that checks the result's bits and returns the value that replaces it.

    Its parameter ``odd`` is whether an operand is a non-canonical NaN.
    """
    type_ = f"i{bits}"
    text = f"""
      local.get $r {type_}.const {MAXIMUM[bits]} {type_}.and local.set $m
      local.get $m {type_}.const {INFINITY[bits]} {type_}.le_u
      if
        local.get $r return
      end
      local.get $m {type_}.const {CANONICAL[bits]} {type_}.eq
      local.get $m {type_}.const {CANONICAL[bits]} {type_}.gt_u local.get $odd i32.and
      i32.or
      if
        global.get $nans i64.const 1 i64.add global.set $nans
        {type_}.const {CANONICAL[bits]} return
      end
      local.get $place call $violated
      local.get $r
    """
    return Helper((("r", type_), ("odd", "i32"), ("place", "i32")), type_, text, (("m", type_),))


def _lanes(result: str, operands: str, count: int) -> Helper:
    """Return a function that checks ``count`` lanes of a vector result, computed from the same lanes of ``a`` and ``b``."""
    bits = {"i32x4": "32", "i64x2": "64"}
    text = "".join(
        f"""
          local.get $r
            local.get $r {result}.extract_lane {lane}
            local.get $a {operands}.extract_lane {lane} call $odd{bits[operands]}
            local.get $b {operands}.extract_lane {lane} call $odd{bits[operands]} i32.or
            local.get $place call $settle{bits[result]}
          {result}.replace_lane {lane} local.set $r
        """
        for lane in range(count)
    )
    params = (("r", "v128"), ("a", "v128"), ("b", "v128"), ("place", "i32"))
    return Helper(params, "v128", text + "local.get $r")


HELPERS: Final[dict[str, Helper]] = {
    "violated": VIOLATED,
    "odd32": _odd("32"),
    "odd64": _odd("64"),
    "settle32": _settle("32"),
    "settle64": _settle("64"),
    "check_f32x4": _lanes("i32x4", "i32x4", 4),
    "check_f64x2": _lanes("i64x2", "i64x2", 2),
    "check_promote": _lanes("i64x2", "i32x4", 2),
    "check_demote": _lanes("i32x4", "i64x2", 2),
}


def checked(name: str, operands: tuple[int, ...], result: int) -> str:
    """Return the text that replaces an open instruction: it pops the operands and pushes the checked result.

    ``operands`` and ``result`` are locals of the instruction's types. A number as result costs only a comparison with itself.
    """
    op = OPEN[name]
    save = " ".join(f"local.set {each}" for each in reversed(operands))
    load = " ".join(f"local.get {each}" for each in operands)
    if op.shape:
        is_nan = f"local.get {result} local.get {result} {op.shape}.ne v128.any_true"
        settled = f"local.get {result} local.get {operands[0]} local.get {operands[-1]} i32.const $place call ${op.check}"
    else:
        is_nan = f"local.get {result} local.get {result} {op.result}.ne"
        settled = _settled(op, operands, result)
    return f"{save} {load} {name} local.set {result} {is_nan} if {settled} local.set {result} end local.get {result}"


def _settled(op: Open, operands: tuple[int, ...], result: int) -> str:
    """Return text for the checked scalar NaN."""
    wide, narrow = op.result[1:], op.operands[0][1:]
    odd = [f"local.get {each} i{narrow}.reinterpret_f{narrow} call $odd{narrow}" for each in operands]
    either = " ".join([*odd, *["i32.or"] * (len(odd) - 1)])
    return (
        f"local.get {result} i{wide}.reinterpret_f{wide} {either} i32.const $place call $settle{wide} f{wide}.reinterpret_i{wide}"
    )
