"""Expressions of NaN programs: every instruction that carries or makes a NaN is a site."""

from __future__ import annotations

import struct
from random import Random

from tests.campaigns.nan_texts import OF_TYPE, changes, payload_from_nothing, scalar_changes, unquieted, vector_changes
from tests.campaigns.program import ZERO, Draft

FLOATS = ("f32", "f64")
UNARY = ("ceil", "floor", "trunc", "nearest", "sqrt")
BINARY = ("add", "sub", "mul", "div", "min", "max")
LANES = {"f32x4": ("f32", 4), "f64x2": ("f64", 2)}
FORMS = {"f32": ("<f", "<I", 32, 23), "f64": ("<d", "<Q", 64, 52)}
DEPTH = 2
LOADED_BYTES = 512
"""The bytes at the memory's start, which a program loads; it stores behind them."""


def text_of(type_: str, bits: int) -> str:
    """A float's bits as the text format has them."""
    as_float, as_bits, width, mantissa = FORMS[type_]
    fraction, exponent = bits & (1 << mantissa) - 1, bits >> mantissa & (1 << width - 1 - mantissa) - 1
    sign = "-" if bits >> width - 1 else ""
    if exponent == (1 << width - 1 - mantissa) - 1:
        return f"{sign}nan:{fraction:#x}" if fraction else f"{sign}inf"
    return struct.unpack(as_float, struct.pack(as_bits, bits))[0].hex()


def float_bits(chance: Random, type_: str) -> int:
    """The bits of a float: mostly of a NaN."""
    _, _, width, mantissa = FORMS[type_]
    quiet, infinite = 1 << mantissa - 1, (1 << width - 1 - mantissa) - 1 << mantissa
    sign = chance.getrandbits(1) << width - 1
    kind = chance.randrange(8)
    if kind < 2:
        return sign | infinite | quiet
    if kind == 2:
        return sign | infinite | (chance.getrandbits(mantissa - 1) or 1)
    if kind < 5:
        return sign | infinite | quiet | chance.getrandbits(mantissa - 1)
    if kind == 5:
        return sign | chance.choice((0, infinite))
    return sign | (struct.unpack(FORMS[type_][1], struct.pack(FORMS[type_][0], chance.choice((0.5, 1.0, 3.0, 1e10, 1e-30))))[0])


class Values(Draft):
    """A draft that makes expressions."""

    calls = 0
    """How many calls the function under way has."""

    def value(self, type_: str, depth: int) -> str:
        """Code that pushes a value."""
        if depth <= 0 or self.chance.randrange(4) == 0:
            return self._leaf(type_)
        kinds = {"f32": self._float, "f64": self._float, "v128": self._vector, "i32": self._integer, "i64": self._integer}
        return kinds[type_](type_, depth - 1)

    def _leaf(self, type_: str) -> str:
        chance = self.chance
        kind = chance.randrange(4)
        if kind == 0:
            return f"local.get ${chance.choice('ab')}_{type_}"
        if kind == 1:
            return f"global.get $g_{type_}"
        if kind == 2:
            return self._load(type_)
        own = self._const(type_)
        if type_ in FLOATS or type_ == "v128":
            return self.site("const", own, *(f"{own} {each}" for each in changes(type_)))
        return own

    def _load(self, type_: str) -> str:
        width = {"i32": 4, "f32": 4, "v128": 16}.get(type_, 8)
        at = width * self.chance.randrange(LOADED_BYTES // width - 1)
        own = f"{type_}.load offset={at}"
        if type_ in ZERO and type_ not in FLOATS:
            return f"i32.const 0 {own}"
        wrong = (f"{type_}.load offset={at + width}", *(f"{own} {each}" for each in changes(type_)))
        return f"i32.const 0 {self.site('load', own, *wrong)}"

    def _float(self, type_: str, depth: int) -> str:
        chance = self.chance
        kinds = [self._bitwise, self._bitwise, self._arithmetic, self._select, self._lane, self._from_integer]
        if self.calls < 2:
            kinds += [self._call]
        return chance.choice(kinds)(type_, depth)

    def _after(self, kind: str, own: str, type_: str) -> str:
        return self.site(kind, own, *(f"{own} {each}" for each in scalar_changes(type_)))

    def _bitwise(self, type_: str, depth: int) -> str:
        name = self.chance.choice(("neg", "abs", "copysign"))
        own = f"{type_}.{name}"
        if name == "copysign":
            first = f"local.set $y_{type_} local.set $x_{type_} local.get $x_{type_}"
            other = f"{first} local.get $y_{type_} {own} local.get $x_{type_} local.get $x_{type_} local.get $x_{type_} {type_}.eq select"
            wrong = (other, *(f"{own} {each}" for each in scalar_changes(type_)))
            return f"{self.value(type_, depth)} {self.value(type_, depth)} {self.site('copysign', own, *wrong)}"
        return f"{self.value(type_, depth)} {self._after(name, own, type_)}"

    def _arithmetic(self, type_: str, depth: int) -> str:
        chance = self.chance
        if chance.randrange(2):
            name, arity, operand = chance.choice(BINARY), 2, type_
        else:
            name, arity, operand = chance.choice(UNARY), 1, type_
        own = f"{type_}.{name}"
        if chance.randrange(8) == 0:
            own, arity, operand = ("f32.demote_f64", 1, "f64") if type_ == "f32" else ("f64.promote_f32", 1, "f32")
        wrong = (f"{own} {unquieted(type_)}", payload_from_nothing(own, operand, type_, arity))
        operands = " ".join(self.value(operand, depth) for _ in range(arity))
        return f"{operands} {self.site('arithmetic', own, *wrong)}"

    def _select(self, type_: str, depth: int) -> str:
        own = "select" if self.chance.randrange(2) else f"select (result {type_})"
        x, y = f"$x_{type_}", f"$y_{type_}"
        operands = f"{self.value(type_, depth)} {self.value(type_, depth)} {self._condition()}"
        taken = f"local.set $y_i32 local.set {y} local.set {x}"
        swapped = f"{taken} local.get {y} local.get {x} local.get $y_i32 select"
        return f"{operands} {self.site('select', own, swapped, *(f'{own} {each}' for each in changes(type_)))}"

    def _lane(self, type_: str, depth: int) -> str:
        shape, lanes = ("f32x4", 4) if type_ == "f32" else ("f64x2", 2)
        lane = self.chance.randrange(lanes)
        own = f"{shape}.extract_lane {lane}"
        wrong = (f"{shape}.extract_lane {(lane + 1) % lanes}", *(f"{own} {each}" for each in scalar_changes(type_)))
        return f"{self.value('v128', depth)} {self.site('lane', own, *wrong)}"

    def _from_integer(self, type_: str, depth: int) -> str:
        integer = "i32" if type_ == "f32" else "i64"
        if self.chance.randrange(3) == 0:
            return f"{self.value(integer, depth)} {type_}.convert_{integer}_s"
        return f"{self.value(integer, depth)} {self._after('reinterpret', f'{type_}.reinterpret_{integer}', type_)}"

    def _call(self, type_: str, depth: int) -> str:
        self.calls += 1
        own = f"call $h{self.chance.randrange(2)}"
        operands = f"{self.value('f32', min(depth, 1))} {self.value('f64', min(depth, 1))}"
        of_f32 = tuple(f"{own} local.set $x_f64 {each} local.get $x_f64" for each in scalar_changes("f32"))
        of_f64 = tuple(f"{own} {each}" for each in scalar_changes("f64"))
        rest = "drop" if type_ == "f32" else "local.set $a_f64 local.set $a_f32 local.get $a_f64"
        return f"{operands} {self.site('call result', own, *of_f32, *of_f64)} {rest}"

    def _reinterpret(self, integer: str, type_: str) -> str:
        own = f"{integer}.reinterpret_{type_}"
        return self.site("reinterpret", own, *(f"{each} {own}" for each in scalar_changes(type_)))

    def _integer(self, type_: str, depth: int) -> str:
        chance = self.chance
        kind = chance.randrange(6)
        source = "f32" if type_ == "i32" else "f64"
        if kind < 3:
            return f"{self.value(source, depth)} {self._reinterpret(type_, source)}"
        if kind == 3:
            return f"{self.value(source, depth)} {type_}.trunc_sat_{source}_{chance.choice('su')}"
        if kind == 4:
            shape = "i32x4" if type_ == "i32" else "i64x2"
            return f"{self.value('v128', depth)} {shape}.extract_lane {chance.randrange(2)}"
        return f"{self.value(type_, depth)} {self.value(type_, depth)} {type_}.{chance.choice(('add', 'xor', 'and', 'or', 'rotl'))}"

    def _vector(self, _type: str, depth: int) -> str:
        shape = self.chance.choice(sorted(OF_TYPE.values()))
        kinds = (
            self._splat,
            self._replaced,
            self._bitwise_lanes,
            self._pseudo,
            self._shuffled,
            self._selected,
            self._rounded,
            self._combined,
        )
        return self.chance.choice(kinds)(shape, depth)

    def _splat(self, shape: str, depth: int) -> str:
        return f"{self.value(LANES[shape][0], depth)} {self._of_vector('lane', f'{shape}.splat', shape)}"

    def _replaced(self, shape: str, depth: int) -> str:
        type_, lanes = LANES[shape]
        lane = self.chance.randrange(lanes)
        own = f"{shape}.replace_lane {lane}"
        wrong = (f"{shape}.replace_lane {(lane + 1) % lanes}", *(f"{own} {each}" for each in vector_changes(shape)))
        return f"{self.value('v128', depth)} {self.value(type_, depth)} {self.site('lane', own, *wrong)}"

    def _bitwise_lanes(self, shape: str, depth: int) -> str:
        name = self.chance.choice(("neg", "abs"))
        return f"{self.value('v128', depth)} {self._of_vector(name, f'{shape}.{name}', shape)}"

    def _pseudo(self, shape: str, depth: int) -> str:
        name = self.chance.choice(("pmin", "pmax"))
        return f"{self._two(depth)} {self._of_vector('pseudo minimum', f'{shape}.{name}', shape)}"

    def _shuffled(self, shape: str, depth: int) -> str:
        order = [self.chance.randrange(32) for _ in range(16)]
        own = f"i8x16.shuffle {' '.join(map(str, order))}"
        other = f"i8x16.shuffle {' '.join(str(31 - each) for each in order)}"
        return f"{self._two(depth)} {self.site('lane', own, other, *(f'{own} {each}' for each in vector_changes(shape)))}"

    def _selected(self, shape: str, depth: int) -> str:
        return f"{self._two(depth)} {self._condition()} {self._of_vector('select', 'select', shape)}"

    def _rounded(self, shape: str, depth: int) -> str:
        own = f"{shape}.{self.chance.choice(UNARY)}"
        return f"{self.value('v128', depth)} {self.site('arithmetic', own, f'{own} {unquieted(shape)}')}"

    def _combined(self, shape: str, depth: int) -> str:
        own = f"{shape}.{self.chance.choice(BINARY)}"
        return f"{self._two(depth)} {self.site('arithmetic', own, f'{own} {unquieted(shape)}')}"

    def _two(self, depth: int) -> str:
        return f"{self.value('v128', depth)} {self.value('v128', depth)}"

    def _of_vector(self, kind: str, own: str, shape: str) -> str:
        return self.site(kind, own, *(f"{own} {each}" for each in vector_changes(shape)))

    def _const(self, type_: str) -> str:
        chance = self.chance
        if type_ in FLOATS:
            return f"{type_}.const {text_of(type_, float_bits(chance, type_))}"
        if type_ == "v128":
            shape, lanes = chance.choice((("f32", 4), ("f64", 2)))
            values = " ".join(str(float_bits(chance, shape)) for _ in range(lanes))
            return f"v128.const {'i32x4' if lanes == 4 else 'i64x2'} {values}"
        return f"{type_}.const {chance.choice((0, 1, -1, 2, 255, chance.getrandbits(31)))}"

    def _condition(self) -> str:
        chance = self.chance
        type_ = chance.choice(FLOATS)
        if chance.randrange(2):
            return f"{self.value(type_, DEPTH)} {self.value(type_, 2)} {type_}.{chance.choice(('eq', 'ne', 'lt', 'ge'))}"
        integer = "i32" if type_ == "f32" else "i64"
        sign = chance.choice((f"{integer}.const 0 {integer}.lt_s", f"{integer}.const 4 {integer}.and {integer}.eqz"))
        return f"{self.value(type_, DEPTH)} {self._reinterpret(integer, type_)} {sign}"
