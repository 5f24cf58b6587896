"""Programs of many functions of which the rows execute few; a wrong condition or table index leads to one of the others.

*Live* functions are those that rows and other live functions call. All others are *cold*: only branches that are never taken and table
elements that are never called lead to them. No function calls itself, directly or not, also where the instruction of a site is wrong.
"""

from __future__ import annotations

from random import Random

import msgspec

from tests.campaigns.call_programs import IMPORTS, WRONG
from tests.campaigns.program import Draft, Program

FUNCTIONS = (60, 200)
"""The least and the largest number of functions."""
LIVE_LEAVES = 12
RARE = {
    "f64.nearest": "local.get $r f64.nearest local.set $r",
    "f64.floor": "local.get $r f64.floor local.set $r",
    "i64.ctz": "local.get $q i64.ctz local.set $q",
    "i32.trunc_sat_f64_u": "local.get $r i32.trunc_sat_f64_u local.set $p",
    "f32.copysign": "local.get $p f32.convert_i32_s f32.const -1 f32.copysign i32.trunc_sat_f32_s local.set $p",
    "i64x2.mul": "local.get $q i64x2.splat local.get $q i64x2.splat i64x2.mul i64x2.extract_lane 1 local.set $q",
    "i8x16.swizzle": "local.get $q i64x2.splat local.get $q i64x2.splat i8x16.swizzle i64x2.extract_lane 0 local.set $q",
    "f32x4.pmin": "local.get $q i64x2.splat local.get $q i64x2.splat f32x4.pmin i64x2.extract_lane 0 local.set $q",
}
"""Statements with an instruction that only cold functions have."""
GLOBALS = {"g_i32": "i32", "g_i64": "i64", "g_f64": "f64"}
LOCALS = {"i32": "p", "i64": "q", "f64": "r"}
SETTING = """
  (memory $memory (export "memory") 2)
  (global $g_i32 (export "g_i32") (mut i32) (i32.const 1))
  (global $g_i64 (export "g_i64") (mut i64) (i64.const 2))
  (global $g_f64 (export "g_f64") (mut f64) (f64.const 3))
"""


class Shape(msgspec.Struct, frozen=True):
    """A function type, and arguments of rows."""

    params: tuple[str, ...]
    results: tuple[str, ...]
    arguments: tuple[str, ...]

    @property
    def type(self) -> str:
        return " ".join([*(f"(param {each})" for each in self.params), *(f"(result {each})" for each in self.results)])

    @property
    def passed(self) -> str:
        """The caller's locals as arguments."""
        return " ".join(f"local.get ${LOCALS[each]}" for each in self.params)

    @property
    def taken(self) -> str:
        """The result into a local of the caller."""
        return " ".join(f"local.set ${LOCALS[each]}" for each in self.results)


SHAPES = (
    Shape(("i32",), ("i32",), ("3", "-7", "0")),
    Shape(("i32", "i64"), ("i64",), ("3,9", "0,-1")),
    Shape(("f64",), ("f64",), ("1.5", "-0.25")),
    Shape(("i32",), (), ("6", "1")),
)
CALLS = (
    "local.get $p local.get $q call $left",
    "local.get $p local.get $q call $right",
    "local.get $r call $ask local.get $p i32.xor local.set $p",
    "local.get $q i64x2.splat f32.const 0.5 call $wide",
)
NEVER = (
    ("local.get $p i32.const 1 i32.or", "i32.eqz", ("i32.const 0 i32.ne", "drop i32.const 1")),
    ("local.get $p i32.popcnt i32.const 33", "i32.ge_u", ("i32.lt_u", "i32.ne", "drop drop i32.const 1")),
    ("local.get $q i64.const 7 i64.and i64.const 8", "i64.gt_s", ("i64.lt_s", "i64.le_s", "i64.ne")),
    ("local.get $r f64.abs f64.const -1", "f64.lt", ("f64.gt", "f64.ne", "drop drop i32.const 1")),
)
"""Conditions that are always false: operands, the comparison, and wrong ones."""


def generate(seed: int) -> Program:
    """The program of a seed."""
    return _Generator(Random(seed)).program()


class _Generator(Draft):
    """A program in the making. A function calls functions of higher rank; leaves, of the highest ranks, call none."""

    def __init__(self, chance: Random) -> None:
        super().__init__(chance)
        self.count = chance.randint(*FUNCTIONS)
        self.imports = IMPORTS[:4] if chance.randrange(2) else ()
        self.shapes = [chance.choice(SHAPES) for _ in range(self.count)]
        self.rank = chance.sample(range(self.count), self.count)
        self.leaves = {at for at in range(self.count) if self.rank[at] * 3 >= self.count * 2}
        inner = sorted(set(range(self.count)) - self.leaves)
        self.live = {*chance.sample(sorted(self.leaves), LIVE_LEAVES), *chance.sample(inner, max(8, len(inner) // 6))}
        self.slots: list[int] = []
        self.base: dict[Shape, int] = {}
        for shape in SHAPES:
            ones, others = ([at for at in self._leaves(shape) if (at in self.live) == live] for live in (True, False))
            if ones and len(others) > 1:
                self.base[shape] = len(self.slots)
                self.slots += [ones[0], ones[-1], *chance.sample(others, 2)]

    def _leaves(self, shape: Shape) -> list[int]:
        return [at for at in sorted(self.leaves) if self.shapes[at] == shape]

    def program(self) -> Program:
        """The program: rows call live functions that are no leaves."""
        functions = [self._function(at) for at in range(self.count)]
        called = sorted(self.chance.sample(sorted(self.live - self.leaves), self.chance.randint(3, 6)))
        rows: dict[str, str] = {}
        for at in called:
            shape = self.shapes[at]
            for given in self.chance.sample(shape.arguments, self.chance.randint(1, len(shape.arguments))):
                values = " ".join(f"{type_}.const {value}" for type_, value in zip(shape.params, given.split(","), strict=True))
                rows[f"f{at}={given}"] = self.row(f"f{at}={given}", f"{values} call $f{at}", shape.results)
        exports = [f'(export "f{at}" (func $f{at}))' for at in called]
        elements = " ".join(f"$f{at}" for at in self.slots)
        table = f"(table $table {len(self.slots)} funcref) (elem (table $table) (i32.const 0) func {elements})"
        text = "\n".join([SETTING, table, *functions, *exports])
        state = self.globals(GLOBALS)
        return Program(text, tuple(self.sites), rows, state, tuple(self.places), self.imports, ("memory",))

    def _function(self, at: int) -> str:
        chance, shape, live = self.chance, self.shapes[at], at in self.live
        kinds = [self._compute, self._store, self._set_global, self._loop] if live else [self._cold, self._effect, self._rare]
        parts = [chance.choice(kinds)() for _ in range(chance.randint(2, 5))]
        if at not in self.leaves:
            parts += [self._call(at, self.live if live else (set(range(self.count)) - self.live) | self.leaves)]
            parts += [chance.choice((self._branch, self._indirect))(at) for _ in range(chance.randint(1, 2))] if live else []
        if self.imports and chance.randrange(4) == 0:
            parts.append(chance.choice(CALLS))
        if chance.randrange(20) == 0:
            parts.append("i32.const 100 local.get $p i32.div_s drop")  # traps for 0
        chance.shuffle(parts)
        if not live:
            parts.insert(0, self.site("refused function", "nop"))
        own = [*zip(("i32", "i64", "f64"), ("p", "q", "r"), strict=True)]
        params = " ".join(f"(param ${name} {type_})" for type_, name in own if type_ in shape.params)
        locals_ = " ".join(f"(local ${name} {type_})" for type_, name in own if type_ not in shape.params)
        result = " ".join(f"local.get ${LOCALS[each]}" for each in shape.results)
        results = " ".join(f"(result {each})" for each in shape.results)
        return f"(func $f{at} {params} {results} {locals_} (local $turn i32) {' '.join(parts)} {result})"

    # Statements of live functions.

    def _compute(self) -> str:
        type_ = self.chance.choice(("i32", "i64", "f64"))
        return f"{self._number(type_, 3)} local.set ${LOCALS[type_]}"

    def _number(self, type_: str, depth: int) -> str:
        if not depth or not self.chance.randrange(4):
            constant = self.chance.randint(-99, 99) / (4 if type_ == "f64" else 1)
            return self.chance.choice((f"local.get ${LOCALS[type_]}", f"{type_}.const {constant:g}"))
        own, other = self.chance.choice(WRONG[type_])
        wrong = (f"{type_}.{other}", f"{type_}.{own} drop {type_}.const 3", f"{type_}.{own} unreachable")
        operation = self.site("value", f"{type_}.{own}", *wrong)
        return f"{self._number(type_, depth - 1)} {self._number(type_, depth - 1)} {operation}"

    def _store(self) -> str:
        type_, name = self.chance.choice(
            (("i32", "i32.store"), ("i64", "i64.store16"), ("f64", "f64.store"), ("i32", "i32.store8"))
        )
        own = f"{name} offset={8 * self.chance.randrange(4000)}"
        wrong = ("drop drop", f"{type_}.const 1 {type_}.add {own}", f"{name} offset={40_000 + 8 * self.chance.randrange(4000)}")
        return f"i32.const 0 {self._number(type_, 1)} {self.site('write', own, *wrong)}"

    def _set_global(self) -> str:
        name, type_ = self.chance.choice(sorted(GLOBALS.items()))
        own = f"global.set ${name}"
        return f"{self._number(type_, 1)} {self.site('write', own, 'drop', f'{type_}.const 1 {type_}.add {own}')}"

    def _loop(self) -> str:
        body = self.chance.choice((self._compute, self._store, self._set_global))()
        turns = self.chance.randint(2, 4)
        return f"i32.const {turns} local.set $turn loop {body} local.get $turn i32.const 1 i32.sub local.tee $turn br_if 0 end"

    def _branch(self, at: int) -> str:
        """A call of a cold function under a condition that is never true."""
        operands, comparison, wrong = self.chance.choice(NEVER)
        return f"{operands} {self.site('other branch', comparison, *wrong)} if {self._call(at, set(range(self.count)) - self.live)} end"

    def _indirect(self, _: int) -> str:
        """A call of one of two live functions in a table; two cold ones of the same type follow them."""
        if not self.base:
            return ""
        shape = self.chance.choice(sorted(self.base, key=SHAPES.index))
        add = self.site("other element", "i32.add", "i32.add i32.const 2 i32.add", "i32.const 2 i32.or i32.add")
        index = f"local.get $p i32.const 1 i32.and i32.const {self.base[shape]} {add}"
        return f"{shape.passed} {index} call_indirect $table {shape.type} {shape.taken}"

    def _call(self, at: int, among: set[int]) -> str:
        """A call of a function of higher rank."""
        found = [each for each in sorted(among) if self.rank[each] > self.rank[at]]
        if not found:
            return ""
        callee = self.chance.choice(found)
        return f"{self.shapes[callee].passed} call $f{callee} {self.shapes[callee].taken}"

    # Statements of cold functions, without sites.

    def _cold(self) -> str:
        return self.chance.choice(
            (
                f"local.get $p i32.const {self.chance.randint(1, 99)} i32.add local.set $p",
                f"local.get $q i64.const {self.chance.randint(3, 99)} i64.mul local.set $q",
                "local.get $r local.get $r f64.const 1 f64.sub f64.div local.set $r",
                "local.get $r f64.sqrt local.set $r",
            )
        )

    def _effect(self) -> str:
        at = 8 * self.chance.randrange(8000)
        return self.chance.choice(
            (
                f"i32.const 0 local.get $q i64.store offset={at}",
                f"i32.const 0 local.get $p i32.store8 offset={at}",
                "global.get $g_i32 i32.const 1 i32.add global.set $g_i32",
                "local.get $r global.set $g_f64",
                "i32.const 1 memory.grow drop",
                "local.get $p i32.const 7 i32.and i32.eqz if unreachable end",
            )
        )

    def _rare(self) -> str:
        return self.chance.choice(list(RARE.values()))
