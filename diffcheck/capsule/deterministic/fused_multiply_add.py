"""Fused multiply-add by ordinary instructions: a * b + c with one rounding (core specification 3.0, 4.3.3, ``fma``).

Used to check ``relaxed_madd``, which may be fused. If an operand is not finite, or if nothing is rounded twice, the result equals
the unfused one.
"""

from __future__ import annotations

from typing import Final

from diffcheck.capsule.helper_functions import Helper


def _fma32() -> Helper:
    """Return a function for the bits of the fused f32 result: the f64 product is exact; the sum is rounded to odd, then to f32."""
    text = """
      local.get $a f64.promote_f32 local.get $b f64.promote_f32 f64.mul local.set $p
      local.get $c f64.promote_f32 local.set $z
      local.get $p local.get $z f64.add local.set $s
      local.get $s local.get $p f64.sub local.set $t
      local.get $p local.get $s local.get $t f64.sub f64.sub local.get $z local.get $t f64.sub f64.add local.set $e
      local.get $s i64.reinterpret_f64 local.set $n
      local.get $e f64.const 0 f64.lt local.get $e f64.const 0 f64.gt i32.or
      local.get $n i64.const 1 i64.and i64.eqz i32.and
      if
        local.get $n
        i64.const 1 i64.const -1 local.get $e f64.const 0 f64.lt local.get $s f64.const 0 f64.lt i32.eq select
        i64.add local.set $n
      end
      local.get $n f64.reinterpret_i64 f32.demote_f64 i32.reinterpret_f32
    """
    locals_ = (*((each, "f64") for each in ("p", "z", "s", "t", "e")), ("n", "i64"))
    return Helper((("a", "f32"), ("b", "f32"), ("c", "f32")), "i32", text, locals_)


def _split(value: str) -> str:
    """Return text that splits an operand, possibly subnormal, into significand, exponent and sign."""
    return f"""
      local.get ${value} i64.reinterpret_f64 local.set $t
      local.get $t i64.const 63 i64.shr_u local.set $s{value}
      local.get $t i64.const 52 i64.shr_u i64.const 0x7ff i64.and local.set $e{value}
      local.get $t i64.const 0xfffffffffffff i64.and local.set $m{value}
      local.get $e{value} i64.eqz
      if
        i64.const 1 local.set $e{value}
      else
        local.get $m{value} i64.const 0x10000000000000 i64.or local.set $m{value}
      end
    """


_NORMAL: Final = """
  local.get $h i64.eqz
  if
    local.get $l local.set $h i64.const 0 local.set $l local.get $e i64.const 64 i64.sub local.set $e
  end
  local.get $h i64.clz local.set $n
  local.get $h local.get $n i64.shl
  local.get $l i64.const 1 i64.shr_u i64.const 63 local.get $n i64.sub i64.shr_u i64.or local.set $h
  local.get $l local.get $n i64.shl local.set $l
  local.get $e local.get $n i64.sub local.set $e
"""
"""Normalises the 128-bit number ``h``:``l`` times 2 to the ``e``, so that its top bit is set."""

_PRODUCT: Final = """
  local.get $ma i64.const 32 i64.shr_u local.set $h local.get $mb i64.const 32 i64.shr_u local.set $l
  local.get $ma i64.const 0xffffffff i64.and local.get $l i64.mul local.set $t
  local.get $h local.get $mb i64.const 0xffffffff i64.and i64.mul local.set $n
  local.get $h local.get $l i64.mul
  local.get $t i64.const 32 i64.shr_u i64.add local.get $n i64.const 32 i64.shr_u i64.add
  local.get $ma i64.const 0xffffffff i64.and local.get $mb i64.const 0xffffffff i64.and i64.mul i64.const 32 i64.shr_u
  local.get $t i64.const 0xffffffff i64.and i64.add local.get $n i64.const 0xffffffff i64.and i64.add
  i64.const 32 i64.shr_u i64.add local.set $h
  local.get $ma local.get $mb i64.mul local.set $l
"""

_ADDEND: Final = """
  local.get $l i64.const 2 i64.shr_u local.get $h i64.const 62 i64.shl i64.or local.set $l
  local.get $h i64.const 2 i64.shr_u local.set $h local.get $e i64.const 2 i64.add local.set $e
  local.get $mc local.get $mc i64.clz i64.const 2 i64.sub i64.shl local.set $ch
  local.get $ec i64.const 1137 i64.sub local.get $mc i64.clz i64.sub local.set $ec
  local.get $e local.get $ec i64.lt_s
  if
    local.get $h local.get $ch local.set $h local.set $ch
    local.get $l local.get $cl local.set $l local.set $cl
    local.get $e local.get $ec local.set $e local.set $ec
    local.get $s local.get $sc local.set $s local.set $sc
  end
"""
"""Moves the top bits of product and addend to 125, so that their sum fits, and the one with the larger exponent to ``h``:``l``."""

_ALIGN: Final = """
  local.get $e local.get $ec i64.sub local.set $n
  local.get $n i64.const 127 i64.ge_s
  if
    i64.const 0 local.set $ch i64.const 1 local.set $cl
  else
    local.get $n i64.const 64 i64.ge_s
    if
      local.get $cl local.set $t local.get $ch local.set $cl i64.const 0 local.set $ch
      local.get $t i64.const 0 i64.ne i64.extend_i32_u local.set $t
    else
      i64.const 0 local.set $t
    end
    local.get $n i64.const 63 i64.and local.set $n
    local.get $t local.get $cl i64.const 1 i64.shl i64.const 63 local.get $n i64.sub i64.shl i64.const 0 i64.ne i64.extend_i32_u
    i64.or local.set $t
    local.get $cl local.get $n i64.shr_u local.get $ch i64.const 1 i64.shl i64.const 63 local.get $n i64.sub i64.shl i64.or
    local.get $t i64.or local.set $cl
    local.get $ch local.get $n i64.shr_u local.set $ch
  end
"""
"""Shifts the smaller operand to the exponent of the larger. The lowest bit is set if a bit was lost."""

_SUM: Final = """
  local.get $s local.get $sc i64.eq
  if
    local.get $l local.get $cl i64.add local.set $t
    local.get $h local.get $ch i64.add local.get $t local.get $l i64.lt_u i64.extend_i32_u i64.add local.set $h
    local.get $t local.set $l
  else
    local.get $h local.get $ch i64.lt_u local.get $h local.get $ch i64.eq local.get $l local.get $cl i64.lt_u i32.and i32.or
    if
      local.get $h local.get $ch local.set $h local.set $ch
      local.get $l local.get $cl local.set $l local.set $cl
      local.get $sc local.set $s
    end
    local.get $h local.get $ch i64.sub local.get $l local.get $cl i64.lt_u i64.extend_i32_u i64.sub local.set $h
    local.get $l local.get $cl i64.sub local.set $l
    local.get $h local.get $l i64.or i64.eqz
    if
      i64.const 0 return
    end
  end
"""

_ROUND: Final = """
  local.get $h local.get $l i64.const 0 i64.ne i64.extend_i32_u i64.or local.set $h
  local.get $e i64.const 1149 i64.add local.set $e
  local.get $e i64.const 2045 i64.gt_s
  if
    local.get $s i64.const 63 i64.shl i64.const 0x7ff0000000000000 i64.or return
  end
  local.get $e i64.const 0 i64.lt_s
  if
    i64.const 0 local.get $e i64.sub local.set $n
    local.get $h local.get $n i64.shr_u local.get $h i64.const 1 i64.shl i64.const 63 local.get $n i64.sub i64.shl
    i64.const 0 i64.ne i64.extend_i32_u i64.or
    i64.const 1 local.get $n i64.const 64 i64.lt_s select local.set $h
    i64.const 0 local.set $e
  end
  local.get $h i64.const 0x7ff i64.and local.set $t
  local.get $h i64.const 11 i64.shr_u local.set $h
  local.get $t i64.const 0x400 i64.gt_u
  local.get $t i64.const 0x400 i64.eq local.get $h i64.const 1 i64.and i32.wrap_i64 i32.and i32.or i64.extend_i32_u
  local.get $h i64.add local.get $e i64.const 52 i64.shl i64.add local.get $s i64.const 63 i64.shl i64.or
"""
"""Rounds the 64 bits of ``h`` to 53, or fewer for a subnormal result: to nearest, ties to even."""


def _fma64() -> Helper:
    """Return a function for the bits of the fused f64 result: an exact 106-bit product, aligned with the addend, rounded once."""
    text = f"""
      {_split("a")} {_split("b")} {_split("c")}
      local.get $ea i64.const 0x7ff i64.eq local.get $eb i64.const 0x7ff i64.eq i32.or local.get $ec i64.const 0x7ff i64.eq i32.or
      local.get $ma i64.eqz i32.or local.get $mb i64.eqz i32.or
      if
        local.get $a local.get $b f64.mul local.get $c f64.add i64.reinterpret_f64 return
      end
      {_PRODUCT}
      local.get $sa local.get $sb i64.xor local.set $s
      local.get $ea local.get $eb i64.add i64.const 2150 i64.sub local.set $e
      {_NORMAL}
      local.get $mc i64.eqz i32.eqz
      if
        {_ADDEND} {_ALIGN} {_SUM} {_NORMAL}
      end
      {_ROUND}
    """
    names = ("sa", "ea", "ma", "sb", "eb", "mb", "sc", "ec", "mc", "h", "l", "ch", "cl", "s", "e", "n", "t")
    return Helper((("a", "f64"), ("b", "f64"), ("c", "f64")), "i64", text, tuple((each, "i64") for each in names))


HELPERS: Final[dict[str, Helper]] = {"fma32": _fma32(), "fma64": _fma64()}
