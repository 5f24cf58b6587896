"""Wrong sequences for instructions with float results: each changes NaNs alone, in a way that the specification does not allow.

All leave one value of the instruction's type; they use the scratch locals. Sources: core specification 3.0, 4.3.3 (which NaN an
arithmetic instruction may give; neg, abs and copysign are bit operations) and 4.4 (all else carries a value's bits).
"""

from __future__ import annotations

SHAPES = {"f32x4": ("i32x4", 4, "0x80000000", "0x400000", "0x12345", "0x7fc00000"),
          "f64x2": ("i64x2", 2, "0x8000000000000000", "0x8000000000000", "0x1234500000000", "0x7ff8000000000000")}  # fmt: skip
"""By shape of lanes: that of integers, how many, the sign, the quiet bit, a change of payload, the canonical NaN."""
OF_TYPE = {"f32": "f32x4", "f64": "f64x2"}
REINTERPRET = {
    "f32": ("i32", "i32.reinterpret_f32", "f32.reinterpret_i32"),
    "f64": ("i64", "i64.reinterpret_f64", "f64.reinterpret_i64"),
}


def scalar_changes(type_: str) -> tuple[str, ...]:
    """Sequences that take a value and give it with another NaN: other sign, positive, quiet, another payload, canonical."""
    integer, to, back = REINTERPRET[type_]
    _, _, sign, quiet, payload, canonical = SHAPES[OF_TYPE[type_]]
    changes = (
        f"{integer}.const {sign} {integer}.xor",
        f"{integer}.const {sign} {integer}.const -1 {integer}.xor {integer}.and",
        f"{integer}.const {quiet} {integer}.or",
        f"{integer}.const {payload} {integer}.xor",
        f"drop {integer}.const {canonical}",
    )
    return tuple(_if_nan(type_, f"{to} {each} {back}") for each in changes)


def _if_nan(type_: str, change: str) -> str:
    value = f"$z_{type_}"
    return f"""
      local.set {value} local.get {value} local.get {value} {type_}.ne
      if (result {type_}) local.get {value} {change} else local.get {value} end
    """


def vector_changes(shape: str) -> tuple[str, ...]:
    """The same in each lane of a vector that holds a NaN."""
    integers, lanes, sign, quiet, payload, canonical = SHAPES[shape]
    nan = f"local.get $z_v128 local.get $z_v128 {shape}.ne"

    def masked(bits: str, how: str) -> str:
        every = " ".join([bits] * lanes)
        return f"local.set $z_v128 v128.const {integers} {every} {nan} v128.and local.get $z_v128 v128.{how}"

    every = " ".join([canonical] * lanes)
    return (
        masked(sign, "xor"),
        masked(quiet, "or"),
        masked(payload, "xor"),
        f"local.set $z_v128 v128.const {integers} {every} local.get $z_v128 {nan} v128.bitselect",
    )


def changes(type_: str) -> tuple[str, ...]:
    """The changes for a type; a vector's are those of both shapes."""
    return scalar_changes(type_) if type_ in REINTERPRET else (*vector_changes("f32x4"), *vector_changes("f64x2"))


def unquieted(type_: str) -> str:
    """A sequence that makes a NaN a signalling one, which no arithmetic instruction may give."""
    if type_ in REINTERPRET:
        integer, to, back = REINTERPRET[type_]
        quiet = SHAPES[OF_TYPE[type_]][3]
        clear = f"{integer}.const {quiet} {integer}.const -1 {integer}.xor {integer}.and {integer}.const 1 {integer}.or"
        return _if_nan(type_, f"{to} {clear} {back}")
    integers, lanes, _, quiet, _, _ = SHAPES[type_]
    every, one = " ".join([quiet] * lanes), " ".join(["1"] * lanes)
    nan = f"local.get $z_v128 local.get $z_v128 {type_}.ne"
    return f"""
      local.set $z_v128
      local.get $z_v128 v128.const {integers} {every} {nan} v128.and v128.andnot
      v128.const {integers} {one} {nan} v128.and v128.or
    """


def payload_from_nothing(instruction: str, operand: str, type_: str, arity: int) -> str:
    """The instruction, but where no operand is a NaN that is not canonical, a NaN with a payload."""
    names = ("x", "y")[:arity]
    taken = " ".join(f"local.set ${name}_{operand}" for name in reversed(names))
    given = " ".join(f"local.get ${name}_{operand}" for name in names)
    integer, to, _ = REINTERPRET[operand]
    canonical = SHAPES[OF_TYPE[operand]][-1]
    tests = " ".join(
        f"local.get ${name}_{operand} local.get ${name}_{operand} {operand}.eq "
        f"local.get ${name}_{operand} {operand}.abs {to} {integer}.const {canonical} {integer}.eq i32.or"
        for name in names
    )
    both = "i32.and" if arity == 2 else ""
    return f"""
      {taken} {given} {instruction} local.set $z_{type_} {tests} {both}
      if (result {type_}) local.get $z_{type_} {scalar_changes(type_)[3]} else local.get $z_{type_} end
    """
