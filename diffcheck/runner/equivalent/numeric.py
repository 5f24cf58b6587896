"""Instructions on numbers by other instructions on numbers, and scalar ones by vectors."""

from __future__ import annotations

from typing import Final

_INTEGERS: Final = {
    "add": "@a {t}.const 0 @b {t}.sub {t}.sub",
    "sub": "@b {t}.const -1 {t}.xor @a {t}.add {t}.const 1 {t}.add",
    "mul": "{t}.const 0 {t}.const 0 @a {t}.sub @b {t}.mul {t}.sub",
    "and": "@a @b {t}.or @a @b {t}.xor {t}.xor",
    "or": "@a {t}.const -1 {t}.xor @b {t}.and @a {t}.add",
    "xor": "@a @b {t}.or @a @b {t}.and {t}.sub",
    "shl": "@a {t}.const 1 @b {t}.shl {t}.mul",
    "shr_u": "@a @b {t}.rotr {t}.const -1 @b {t}.shr_u {t}.and",
    "shr_s": "@a @b {t}.shr_u {t}.const {low} @b {t}.shr_u {t}.xor {t}.const {low} @b {t}.shr_u {t}.sub",
    "rotl": "@a {t}.const 0 @b {t}.sub {t}.rotr",
    "rotr": "@a {t}.const 0 @b {t}.sub {t}.rotl",
    "rem_u": "@a @a @b {t}.div_u @b {t}.mul {t}.sub",
    "rem_s": "@b {t}.const -1 {t}.eq if (result {t}) {t}.const 0 else @a @a @b {t}.div_s @b {t}.mul {t}.sub end",
    "div_s": (
        "@b {t}.const 1 {t}.add {t}.const 2 {t}.lt_u if (result {t}) @a @b raw $own else "
        "@a @a {t}.const {last} {t}.shr_s {t}.xor @a {t}.const {last} {t}.shr_s {t}.sub "
        "@b @b {t}.const {last} {t}.shr_s {t}.xor @b {t}.const {last} {t}.shr_s {t}.sub "
        "{t}.div_u @a @b {t}.xor {t}.const {last} {t}.shr_s {t}.xor @a @b {t}.xor {t}.const {last} {t}.shr_s {t}.sub end"
    ),
    "eqz": "@a {t}.const 0 {t}.eq",
    "eq": "@a @b {t}.xor {t}.eqz",
    "ne": "@a @b {t}.eq i32.eqz",
    "lt_s": "@b @a {t}.gt_s",
    "lt_u": "@b @a {t}.gt_u",
    "gt_s": "@a @b {t}.le_s i32.eqz",
    "gt_u": "@a @b {t}.le_u i32.eqz",
    "le_s": "@b @a {t}.ge_s",
    "le_u": "@b @a {t}.ge_u",
    "ge_s": "@a @b {t}.lt_s i32.eqz",
    "ge_u": "@a @b {t}.lt_u i32.eqz",
}
_HIGH: Final = "@a i64.const 32 i64.shr_u i32.wrap_i64"
_LOW: Final = "@a i32.wrap_i64"
_OTHERS: Final = {
    "i32.mul": "@a i64.extend_i32_s @b i64.extend_i32_u i64.mul i32.wrap_i64",
    "i32.clz": "@a i64.extend_i32_u i64.clz i32.wrap_i64 i32.const 32 i32.sub",
    "i32.ctz": "@a i64.extend_i32_u i64.const 0x100000000 i64.or i64.ctz i32.wrap_i64",
    "i32.popcnt": "@a i64.extend_i32_u i64.popcnt i32.wrap_i64",
    "i64.clz": f"{_HIGH} if (result i32) {_HIGH} i32.clz else {_LOW} i32.clz i32.const 32 i32.add end i64.extend_i32_u",
    "i64.ctz": f"{_LOW} if (result i32) {_LOW} i32.ctz else {_HIGH} i32.ctz i32.const 32 i32.add end i64.extend_i32_u",
    "i64.popcnt": f"@a i32.wrap_i64 i32.popcnt {_HIGH} i32.popcnt i32.add i64.extend_i32_u",
    "i32.extend8_s": "@a i32.const 24 i32.shl i32.const 24 i32.shr_s",
    "i32.extend16_s": "@a i32.const 16 i32.shl i32.const 16 i32.shr_s",
    "i64.extend8_s": "@a i64.const 56 i64.shl i64.const 56 i64.shr_s",
    "i64.extend16_s": "@a i64.const 48 i64.shl i64.const 48 i64.shr_s",
    "i64.extend32_s": "@a i64.const 32 i64.shl i64.const 32 i64.shr_s",
    "i64.extend_i32_s": "@a i64.extend_i32_u i64.extend32_s",
    "i64.extend_i32_u": "@a i64.extend_i32_s i64.const 0xffffffff i64.and",
    "f32.copysign": (
        "@a i32.reinterpret_f32 i32.const 0x7fffffff i32.and @b i32.reinterpret_f32 i32.const 0x80000000 i32.and i32.or "
        "f32.reinterpret_i32"
    ),
    "f64.copysign": (
        "@a i64.reinterpret_f64 i64.const 0x7fffffffffffffff i64.and "
        "@b i64.reinterpret_f64 i64.const 0x8000000000000000 i64.and i64.or f64.reinterpret_i64"
    ),
    "f32.neg": "@a i32.reinterpret_f32 i32.const 0x80000000 i32.xor f32.reinterpret_i32",
    "f64.neg": "@a i64.reinterpret_f64 i64.const 0x8000000000000000 i64.xor f64.reinterpret_i64",
    "f32.abs": "@a i32.reinterpret_f32 i32.const 0x7fffffff i32.and f32.reinterpret_i32",
    "f64.abs": "@a i64.reinterpret_f64 i64.const 0x7fffffffffffffff i64.and f64.reinterpret_i64",
    "i64.add128": "@a @c i64.add @b @d i64.add @a @c i64.add @a i64.lt_u i64.extend_i32_u i64.add",
    "i64.sub128": "@a @c i64.sub @b @d i64.sub @a @c i64.lt_u i64.extend_i32_u i64.sub",
    "i64.mul_wide_s": (
        "@a @b i64.mul_wide_u @a i64.const 63 i64.shr_s @b i64.and i64.sub @b i64.const 63 i64.shr_s @a i64.and i64.sub"
    ),
    "i64.mul_wide_u": (
        "@a @b i64.mul_wide_s @a i64.const 63 i64.shr_s @b i64.and i64.add @b i64.const 63 i64.shr_s @a i64.and i64.add"
    ),
}
_FLOATS: Final = {
    "add": "@a @b {t}.neg {t}.sub",
    "sub": "@a @b {t}.neg {t}.add",
    "mul": "@a {t}.neg @b {t}.mul {t}.neg",
    "div": "@a {t}.neg @b {t}.div {t}.neg",
    "min": "@a {t}.neg @b {t}.neg {t}.max {t}.neg",
    "max": "@a {t}.neg @b {t}.neg {t}.min {t}.neg",
    "ceil": "@a {t}.neg {t}.floor {t}.neg",
    "floor": "@a {t}.neg {t}.ceil {t}.neg",
    # A number below the first one without fraction is rounded to an integer when that is added.
    "nearest": (
        "@a {t}.abs {t}.const {whole} {t}.lt if (result {t}) @a {t}.abs {t}.const {whole} {t}.add {t}.const {whole} {t}.sub "
        "@a {t}.copysign else @a raw $own end"
    ),
    "eq": "@a @b {t}.ne i32.eqz",
    "ne": "@a @b {t}.eq i32.eqz",
    "lt": "@b @a {t}.gt",
    "gt": "@b @a {t}.lt",
    "le": "@b @a {t}.ge",
    "ge": "@b @a {t}.le",
}
_WHOLE: Final = {"f32": 1 << 23, "f64": 1 << 52}
# Vectors.
_LANES: Final = {"f32": "f32x4", "f64": "f64x2"}
_BINARY_FLOATS: Final = ("add", "sub", "mul", "div", "min", "max")
_UNARY_FLOATS: Final = ("sqrt", "ceil", "floor", "trunc", "nearest")
_COMPARED_FLOATS: Final = ("eq", "ne", "lt", "gt", "le", "ge")
_TRUTH: Final = {"f32": "i32x4.extract_lane 0", "f64": "i64x2.extract_lane 0 i32.wrap_i64"}
_CONVERSIONS: Final = {
    **{f"i32.trunc_sat_f32_{sign}": f"@a f32x4.splat i32x4.trunc_sat_f32x4_{sign} i32x4.extract_lane 0" for sign in "su"},
    **{f"i32.trunc_sat_f64_{sign}": f"@a f64x2.splat i32x4.trunc_sat_f64x2_{sign}_zero i32x4.extract_lane 0" for sign in "su"},
    **{f"f32.convert_i32_{sign}": f"@a i32x4.splat f32x4.convert_i32x4_{sign} f32x4.extract_lane 0" for sign in "su"},
    **{f"f64.convert_i32_{sign}": f"@a i32x4.splat f64x2.convert_low_i32x4_{sign} f64x2.extract_lane 0" for sign in "su"},
    "f32.demote_f64": "@a f64x2.splat f32x4.demote_f64x2_zero f32x4.extract_lane 0",
    "f64.promote_f32": "@a f32x4.splat f64x2.promote_low_f32x4 f64x2.extract_lane 0",
}
_ZERO: Final = "v128.const i64x2 0 0"
_BITS: Final = {
    "v128.not": "@a v128.const i64x2 -1 -1 v128.xor",
    "v128.and": "@a @b v128.or @a @b v128.xor v128.xor",
    "v128.or": "@a v128.not @b v128.not v128.and v128.not",
    "v128.xor": "@a @b v128.or @a @b v128.and v128.andnot",
    "v128.andnot": "@a @b v128.not v128.and",
    "v128.bitselect": "@a @c v128.and @b @c v128.andnot v128.or",
    "i8x16.splat": "@a i32.const 255 i32.and i32.const 0x1010101 i32.mul i32x4.splat",
    "i16x8.splat": "@a i32.const 0xffff i32.and i32.const 0x10001 i32.mul i32x4.splat",
}
_INTEGER_LANES: Final = {
    "add": "@a @b {t}.neg {t}.sub",
    "sub": "@a @b {t}.neg {t}.add",
    "neg": f"{_ZERO} @a {{t}}.sub",
    "ne": "@a @b {t}.eq v128.not",
    "lt_s": "@b @a {t}.gt_s",
    "gt_s": "@b @a {t}.lt_s",
    "le_s": "@a @b {t}.gt_s v128.not",
    "ge_s": "@a @b {t}.lt_s v128.not",
}
_NARROW_LANES: Final = {
    "abs": "@a @a {t}.neg {t}.max_s",
    "lt_u": "@b @a {t}.gt_u",
    "gt_u": "@b @a {t}.lt_u",
    "le_u": "@a @b {t}.gt_u v128.not",
    "ge_u": "@a @b {t}.lt_u v128.not",
    "min_s": "@a @b @a @b {t}.lt_s v128.bitselect",
    "min_u": "@a @b @a @b {t}.lt_u v128.bitselect",
    "max_s": "@a @b @a @b {t}.gt_s v128.bitselect",
    "max_u": "@a @b @a @b {t}.gt_u v128.bitselect",
    "all_true": f"@a {_ZERO} {{t}}.eq v128.any_true i32.eqz",
}


def _integers(type_: str) -> dict[str, str]:
    bits = int(type_[1:])
    return {f"{type_}.{name}": text.format(t=type_, last=bits - 1, low=1 << bits - 1) for name, text in _INTEGERS.items()}


def _scalar_floats(type_: str) -> dict[str, str]:
    return {f"{type_}.{name}": text.format(t=type_, whole=_WHOLE[type_]) for name, text in _FLOATS.items()}


def _vector_floats(type_: str) -> dict[str, str]:
    lanes = _LANES[type_]
    one, two = f"@a {lanes}.splat", f"@a {lanes}.splat @b {lanes}.splat"
    back = f"{lanes}.extract_lane 0"
    return {
        **{f"{type_}.{name}": f"{two} {lanes}.{name} {back}" for name in _BINARY_FLOATS},
        **{f"{type_}.{name}": f"{one} {lanes}.{name} {back}" for name in _UNARY_FLOATS},
        **{f"{type_}.{name}": f"{two} {lanes}.{name} {_TRUTH[type_]} i32.const 1 i32.and" for name in _COMPARED_FLOATS},
    }


def _lanes(texts: dict[str, str], shapes: tuple[str, ...]) -> dict[str, str]:
    return {f"{shape}.{name}": text.format(t=shape) for shape in shapes for name, text in texts.items()}


SCALARS: Final[dict[str, str]] = {
    **_integers("i32"), **_integers("i64"), **_scalar_floats("f32"), **_scalar_floats("f64"), **_OTHERS,
}  # fmt: skip
"""The texts of replacements by scalar instructions."""
VECTORS: Final[dict[str, str]] = {
    **_vector_floats("f32"), **_vector_floats("f64"), **_CONVERSIONS, **_BITS,
    **_lanes(_INTEGER_LANES, ("i8x16", "i16x8", "i32x4", "i64x2")), **_lanes(_NARROW_LANES, ("i8x16", "i16x8", "i32x4")),
}  # fmt: skip
"""The texts of replacements that need vectors."""
