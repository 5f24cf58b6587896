"""Generated programs, and an engine that executes one instruction wrongly wherever a program has it."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import msgspec

from diffcheck.faults.fault import Expected, Fault
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import u
from diffcheck.wasm.types import FuncType, encode_functype

if TYPE_CHECKING:
    from collections.abc import Sequence

FUNCTIONS = 6
ROWS = 2
TYPES = ("i32", "i64", "f32", "f64")

# Operators by class: name, operand types, result type. Divisors are made odd and truncations saturate, so that no program traps.
OPERATORS: dict[str, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    "integer": tuple(
        (f"{t}.{name}", (t, t), t)
        for t in ("i32", "i64")
        for name in ("add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr", "div_u", "rem_u", "rem_s")
    )
    + tuple((f"{t}.{name}", (t,), t) for t in ("i32", "i64") for name in ("clz", "ctz", "popcnt")),
    "comparison": tuple(
        (f"{t}.{name}", (t, t), "i32") for t in ("i32", "i64") for name in ("eq", "ne", "lt_s", "lt_u", "gt_s", "ge_u", "le_s")
    )
    + tuple((f"{t}.{name}", (t, t), "i32") for t in ("f32", "f64") for name in ("lt", "gt", "le", "ne")),
    "float": tuple(
        (f"{t}.{name}", (t, t), t) for t in ("f32", "f64") for name in ("add", "sub", "mul", "div", "min", "max", "copysign")
    )
    + tuple((f"{t}.{name}", (t,), t) for t in ("f32", "f64") for name in ("sqrt", "floor", "nearest", "trunc", "abs", "neg")),
    "conversion": (
        ("i32.wrap_i64", ("i64",), "i32"), ("i64.extend_i32_s", ("i32",), "i64"), ("i64.extend_i32_u", ("i32",), "i64"),
        ("i32.trunc_sat_f64_s", ("f64",), "i32"), ("i32.trunc_sat_f32_u", ("f32",), "i32"), ("i64.trunc_sat_f64_s", ("f64",), "i64"),
        ("i64.trunc_sat_f32_s", ("f32",), "i64"), ("f64.convert_i32_s", ("i32",), "f64"), ("f32.convert_i32_u", ("i32",), "f32"),
        ("f64.convert_i64_u", ("i64",), "f64"), ("f32.convert_i64_s", ("i64",), "f32"), ("f32.demote_f64", ("f64",), "f32"),
        ("f64.promote_f32", ("f32",), "f64"), ("i32.reinterpret_f32", ("f32",), "i32"), ("i64.reinterpret_f64", ("f64",), "i64"),
        ("i32.extend8_s", ("i32",), "i32"), ("i64.extend16_s", ("i64",), "i64"),
    ),
    "load": tuple(
        (name, ("address",), name[:3])
        for name in ("i32.load", "i64.load", "f32.load", "f64.load", "i32.load8_s", "i32.load16_u", "i64.load8_u", "i64.load32_s")
    ),
    "SIMD": tuple((name, ("v128", "v128"), "v128") for name in ("i32x4.add", "i32x4.mul", "i16x8.sub", "v128.xor", "i32x4.max_s", "i8x16.add_sat_s")),
}  # fmt: skip
CLASSES = (*OPERATORS, "store")
STORES = ("i32.store", "i64.store", "f64.store", "f32.store", "i32.store8", "i64.store16")


def program(rng: random.Random) -> str:
    """A module with some hundred instructions of all classes; each function has a loop, each row calls them all."""
    functions = "".join(f"(func $f{at} (param $p i32) (result i32) {_body(rng)})" for at in range(FUNCTIONS))
    rows = "".join(
        f'(func (export "run_row_{row}") (result i32) '
        + " i32.xor ".join([f"(call $f{at} (i32.const {rng.randrange(1, 1 << 20)}))" for at in range(FUNCTIONS)][:1])
        + "".join(f"(call $f{at} (i32.const {rng.randrange(1, 1 << 20)})) i32.xor" for at in range(1, FUNCTIONS))
        + ")"
        for row in range(ROWS)
    )
    return f'(module (memory (export "memory") 1) {functions} {rows})'


def _body(rng: random.Random) -> str:
    locals_ = "(local $n i32) " + " ".join(f"(local ${t} {t})" for t in TYPES)
    before = " ".join(_statement(rng) for _ in range(9))
    within = " ".join(_statement(rng) for _ in range(12))
    after = " ".join(_statement(rng) for _ in range(6))
    loop = f"(loop $again {within} (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5))))"
    mixed = "local.get $i32 local.get $i64 i32.wrap_i64 i32.xor local.get $f32 i32.reinterpret_f32 i32.xor"
    return (
        f"{locals_} {before} {loop} {after} {mixed} local.get $f64 i64.reinterpret_f64 i64.const 17 i64.shr_u i32.wrap_i64 i32.xor"
    )


def _statement(rng: random.Random) -> str:
    if rng.random() < 0.25:
        store = rng.choice(STORES)
        return f"({store} {_address(rng)} {_expression(rng, store[:3], 2)})"
    t = rng.choice(TYPES)
    return f"(local.set ${t} {_expression(rng, t, 3)})"


def _address(rng: random.Random) -> str:
    return f"(i32.and {_expression(rng, 'i32', 1)} (i32.const {rng.choice((56, 60, 63))}))"


def _expression(rng: random.Random, t: str, depth: int) -> str:
    if t == "address":
        return _address(rng)
    if t == "v128":
        return (
            f"(i32x4.splat {_expression(rng, 'i32', depth)})"
            if rng.random() < 0.5
            else f"(i64x2.splat {_expression(rng, 'i64', depth)})"
        )
    if depth == 0 or rng.random() < 0.1:
        return _leaf(rng, t)
    if t == "i32" and rng.random() < 0.12:
        name, _, _ = rng.choice(OPERATORS["SIMD"])
        operands = " ".join(_expression(rng, "v128", depth - 1) for _ in range(2))
        return f"(i32x4.extract_lane {rng.randrange(4)} ({name} {operands}))"
    kind = rng.choice([name for name in OPERATORS if name != "SIMD"])
    fitting = [each for each in OPERATORS[kind] if each[2] == t]
    if not fitting:
        return _expression(rng, t, depth)
    name, operands, _ = rng.choice(fitting)
    texts = [_expression(rng, each, depth - 1) for each in operands]
    if name.endswith(("div_u", "rem_u", "rem_s")):
        texts[1] = f"({t}.or {texts[1]} ({t}.const 1))"
    return f"({name} {' '.join(texts)})"


def _leaf(rng: random.Random, t: str) -> str:
    if t == "i32" and rng.random() < 0.5:
        return "(local.get $p)"
    if rng.random() < 0.5:
        return f"(local.get ${t})"
    number = rng.choice((rng.randrange(1, 9), rng.randrange(-(1 << 30), 1 << 30)))
    return f"({t}.const {number if t[0] == 'i' else number / 8})"


# The engine.

TRAP = "i32.const 0x80000000 i32.const -1 i32.div_s drop"
BITS = {
    "i32": "local.get $v i64.extend_i32_u", "i64": "local.get $v", "f32": "local.get $v i32.reinterpret_f32 i64.extend_i32_u",
    "f64": "local.get $v i64.reinterpret_f64", "v128": "local.get $v i64x2.extract_lane 0",
}  # fmt: skip
FLIP = {
    "i32": "local.get $v i32.const {bit} i32.xor", "i64": "local.get $v i64.const {bit} i64.xor",
    "f32": "local.get $v i32.reinterpret_f32 i32.const {bit} i32.xor f32.reinterpret_i32",
    "f64": "local.get $v i64.reinterpret_f64 i64.const {bit} i64.xor f64.reinterpret_i64",
    "v128": "local.get $v v128.const i32x4 {bit} {bit} {bit} {bit} v128.xor",
}  # fmt: skip
PLACES = ("anywhere", "anywhere", "in loops", "outside loops")


class Wrong(msgspec.Struct, frozen=True):
    """A bug: the instruction, what becomes of its value (or, of a store, of what is stored), for which values, and in which place."""

    kind: str
    instruction: str
    type: str
    traps: bool
    bit: int
    divisor: int
    residue: int
    place: str

    def __str__(self) -> str:
        what = "traps" if self.traps else f"flips {self.bit:#x}"
        return f"{self.kind}: {self.instruction} {what} for {self.residue} of {self.divisor} {self.place}"

    def fault(self) -> Fault:
        """The bug as what is done to a program before the engine is given it."""
        return Fault(self.kind, str(self), Expected(), edit=self.edited)

    def edited(self, data: bytes) -> bytes:
        """A program as this engine runs it: each of its own functions calls the wrong operation behind (a store: before) its places.

        A capsule's own functions come last; they are run rightly, since a broken recorder is another matter.
        """
        sections = ids.split(data)
        bodies = _bodies(next(each for each in sections if each.id == ids.CODE))
        call = b"\x10" + u(len(bodies))
        own = FUNCTIONS + ROWS
        changed = [self._changed(body, call) if at < own else body for at, body in enumerate(bodies)]
        put = {
            ids.TYPE: encode_functype(FuncType((self.type,), (self.type,))),
            ids.FUNCTION: u(next(each for each in sections if each.id == ids.TYPE).vector()[0]),
        }
        written = []
        for each in sections:
            if each.id in put:
                count, start = each.vector()
                written.append(ids.section(each.id, u(count + 1) + bytes(each.payload[start:]) + put[each.id]))
            elif each.id == ids.CODE:
                content = b"".join(u(len(body)) + body for body in changed)
                written.append(ids.section(ids.CODE, u(len(changed) + 1) + content + self._operation()))
            else:
                written.append(each)
        return ids.write(written)

    def _changed(self, body: bytes, call: bytes) -> bytes:
        parts, copied = [], 0
        blocks: list[bool] = []
        for each in instructions(body, start=read_locals(body).end):
            if each.name in ("block", "loop", "if", "try_table"):
                blocks.append(each.name == "loop")
            elif each.name == "end" and blocks:
                blocks.pop()
            if each.name == self.instruction and self.place in ("anywhere", "in loops" if any(blocks) else "outside loops"):
                at = each.offset if self.kind == "store" else each.end
                parts += [body[copied:at], call]
                copied = at
        return b"".join([*parts, body[copied:]])

    def _operation(self) -> bytes:
        change = TRAP if self.traps else FLIP[self.type].format(bit=self.bit) + " return"
        text = f"""
          {BITS[self.type]} i64.const 0x9e3779b97f4a7c15 i64.mul i64.const 40 i64.shr_u i64.const {self.divisor} i64.rem_u
          i64.const {self.residue} i64.eq if {change} end local.get $v
        """
        return link(assemble(text, params=("v",)), {})


def _bodies(code: ids.Section) -> list[bytes]:
    reader = code.reader()
    return [bytes(reader.bytes(reader.u32())) for _ in range(reader.u32())]


def draw(rng: random.Random, number: int) -> list[Wrong]:
    """Bugs, none twice: class, instruction, whether it traps, its values and its place at random."""
    stores = tuple((name, (), name[:3]) for name in STORES)
    table: dict[str, Sequence[tuple[str, tuple[str, ...], str]]] = {**OPERATORS, "store": stores}
    found: dict[tuple[str, bool], Wrong] = {}
    for _ in itertools.repeat(None, 20 * number):
        kind = rng.choice(CLASSES)
        name, _, type_ = rng.choice(table[kind])
        traps = rng.random() < 0.2
        divisor = rng.choice((1, 2, 3))
        low = {"i32.store8": 7, "i64.store16": 15}.get(name, 1 if kind == "comparison" else 30)
        wrong = Wrong(kind, name, type_, traps, 1 << rng.randrange(low), divisor, rng.randrange(divisor), rng.choice(PLACES))
        found.setdefault((name, traps), wrong)
        if len(found) == number:
            break
    return list(found.values())
