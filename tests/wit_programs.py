"""Types, values and core modules of components, drawn from a seed."""

from __future__ import annotations

import random

from diffcheck.wasm.wit import abi, wave
from diffcheck.wasm.wit.types import CANONICAL_NAN, FLOATS, INTEGERS, WitFunction, WitType, is_nan, option, result
from tests.components import ALLOCATOR, wat

SCALARS = ("bool", "char", "string", *INTEGERS, *FLOATS)
SHAPES = ("list", "tuple", "record", "flags", "variant", "enum", "option", "result")
_STORES = {1: "i32.store8", 2: "i32.store16", 4: "i32.store", 8: "i64.store"}


def draw_type(rng: random.Random, kind: str = "", depth: int = 2) -> WitType:  # noqa: PLR0911 - one kind a line
    """A type of the kind, or of any."""
    kind = kind or rng.choice(SCALARS + SHAPES if depth else SCALARS)
    count = rng.randint(1, 4)

    def inner() -> WitType:
        return draw_type(rng, depth=depth - 1)

    def names(letter: str, of: int) -> tuple[str, ...]:
        return tuple(f"{letter}{at}" for at in range(of))

    match kind:
        case "list":
            return WitType("list", types=(inner(),))
        case "tuple":
            return WitType("tuple", types=tuple(inner() for _ in range(count)))
        case "record":
            return WitType("record", names("f", count), tuple(inner() for _ in range(count)))
        case "flags":
            return WitType("flags", names("b", rng.choice((1, 3, 8, 9, 17, 32))))
        case "enum":
            return WitType("enum", names("e", rng.choice((1, 2, 5, 300))))
        case "variant":
            return WitType(
                "variant", names("c", 1 + count), tuple(inner() if rng.random() < 0.7 else None for _ in range(1 + count))
            )
        case "option":
            return option(inner())
        case "result":
            return result(*(inner() if rng.random() < 0.8 else None for _ in range(2)))
    return WitType(kind)


def draw_value(rng: random.Random, type_: WitType) -> object:  # noqa: PLR0911 - one kind a line
    """A value of the type, often at a boundary."""
    kind = type_.kind
    if kind in INTEGERS:
        bits, signed = INTEGERS[kind]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return rng.choice((low, high, 0, 1, rng.randint(low, high)))
    if kind in FLOATS:
        bits = rng.choice((0, 1, 1 << FLOATS[kind] - 1, CANONICAL_NAN[kind], rng.getrandbits(FLOATS[kind])))
        return CANONICAL_NAN[kind] if is_nan(kind, bits) else bits
    match kind:
        case "bool":
            return rng.random() < 0.5
        case "char":
            return rng.choice("a'\"\\\n\0\u00e4\u20ac\U0001f600\U0010ffff")
        case "string":
            return "".join(rng.choice("ab \"'\\\n\u00e4\u20ac\U0001f600") for _ in range(rng.choice((0, 1, 3, 20))))
        case "list":
            return tuple(draw_value(rng, type_.members[0]) for _ in range(rng.choice((0, 1, 2, 5))))
        case "tuple" | "record":
            return tuple(draw_value(rng, each) for each in type_.members)
        case "flags":
            return rng.getrandbits(len(type_.names))
    at = rng.randrange(len(type_.names))
    of = type_.types[at] if type_.types else None
    return at, None if of is None else draw_value(rng, of)


class World:
    """The text of a world; types with names are defined in it."""

    def __init__(self) -> None:
        self._names: dict[WitType, str] = {}
        self.lines: list[str] = []

    def export(self, name: str, function: WitFunction) -> None:
        params = ", ".join(f"p{at}: {self._type(each)}" for at, each in enumerate(function.params))
        arrow = "" if function.result is None else f" -> {self._type(function.result)}"
        self.lines.append(f"  export {name}: func({params}){arrow};")

    def _type(self, type_: WitType) -> str:
        inner = ["_" if each is None else self._type(each) for each in type_.types]
        match type_.kind:
            case "list" | "option" | "tuple":
                return f"{type_.kind}<{', '.join(each for each in inner if each != '_')}>"
            case "result":
                shown = inner if inner[1] != "_" else inner[:1] if inner[0] != "_" else []
                return f"result<{', '.join(shown)}>" if shown else "result"
            case "record" | "flags" | "variant" | "enum":
                if type_ not in self._names:
                    self._names[type_] = name = f"t{len(self._names)}"
                    self.lines.append(f"  {type_.kind} {name} {{ {', '.join(self._members(type_, inner))} }}")
                return self._names[type_]
        return type_.kind

    def _members(self, type_: WitType, inner: list[str]) -> list[str]:
        if type_.kind == "record":
            return [f"{name}: {each}" for name, each in zip(type_.names, inner, strict=True)]
        if type_.kind == "variant":
            return [name if each == "_" else f"{name}({each})" for name, each in zip(type_.names, inner, strict=True)]
        return list(type_.names)


def identity(name: str, type_: WitType) -> str:
    """A core function that returns its argument of the type."""
    flat, own = abi.passed_flat([type_]), abi.flat(type_)
    export = f'(func (export "{name}")'
    if flat is None:
        return f"{export} (param i32) (result i32) local.get 0)"
    if len(own) == 1:
        return f"{export} (param {own[0]}) (result {own[0]}) local.get 0)"
    params = f"(param {' '.join(flat)})"
    base = len(flat)
    allocate = (
        f"i32.const 0 i32.const 0 i32.const {abi.alignment(type_)} i32.const {abi.size(type_)} call $realloc local.set {base}"
    )
    return f"{export} {params} (result i32) (local i32) {allocate} {_store(type_, 0, flat, base, 0)} local.get {base})"


def _store(type_: WitType, first: int, flat: tuple[str, ...], base: int, offset: int) -> str:
    """Store the flat value in the locals from ``first`` on, of the types ``flat``."""
    kind = type_.kind
    if kind in ("string", "list"):
        words = (f"local.get {first + at} {_converted(flat[first + at], 'i32')}" for at in (0, 1))
        return " ".join(f"local.get {base} {word} i32.store offset={offset + 4 * at}" for at, word in enumerate(words))
    if kind in ("record", "tuple"):
        parts = []
        for at, each in abi.fields(type_):
            parts.append(_store(each, first, flat, base, offset + at))
            first += len(abi.flat(each))
        return " ".join(parts)
    if kind in ("variant", "enum", "option", "result"):
        case = f"local.get {first} {_converted(flat[first], 'i32')}"
        parts = [f"local.get {base} {case} {_STORES[abi.case_bytes(type_)]} offset={offset}"]
        for at, each in enumerate(type_.types):
            if each is not None:
                body = _store(each, first + 1, flat, base, offset + abi.payload_offset(type_))
                parts.append(f"{case} i32.const {at} i32.eq if {body} end")
        return " ".join(parts)
    store = f"{kind}.store" if kind in FLOATS else _STORES[abi.size(type_)]
    return f"local.get {base} local.get {first} {_converted(flat[first], abi.flat(type_)[0])} {store} offset={offset}"


def _converted(joined: str, type_: str) -> str:
    """From the type that holds all payloads to one's own."""
    ways = {
        ("i32", "f32"): "f32.reinterpret_i32",
        ("i64", "i32"): "i32.wrap_i64",
        ("i64", "f32"): "i32.wrap_i64 f32.reinterpret_i32",
        ("i64", "f64"): "f64.reinterpret_i64",
    }
    return ways.get((joined, type_), "")


# A program with branches.

_FOLDED = ("u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64")
_LOADS = {
    **{f"u{bits}": f"i64.load{bits}_u" for bits in (8, 16, 32)},
    **{f"s{bits}": f"i64.load{bits}_s" for bits in (8, 16, 32)},
    "u64": "i64.load",
    "s64": "i64.load",
}


def folding_program(rng: random.Random) -> tuple[str, bytes, list[str]]:
    """The world, the core module and the rows of a component: a sum over a list of records and the string of the greatest, scaled
    numbers as a list, and a choice by the case of a variant.
    """
    kinds = ["string", *(rng.choice(_FOLDED) for _ in range(rng.randint(2, 5)))]
    rng.shuffle(kinds)
    record = WitType("record", tuple(f"f{at}" for at in range(len(kinds))), tuple(map(WitType, kinds)))
    shape = WitType("variant", ("none", "side", "text", "pair"), (None, WitType("u32"), WitType("string"), WitType("tuple", types=(WitType("u16"), WitType("s64")))))  # fmt: skip
    functions = {
        "fold": WitFunction((WitType("list", types=(record,)),), WitType("tuple", types=(WitType("u64"), WitType("string")))),
        "scaled": WitFunction((WitType("list", types=(WitType("u16"),)), WitType("u32")), WitType("list", types=(WitType("u32"),))),
        "measure": WitFunction((shape,), WitType("s64")),
    }
    world = World()
    for name, function in functions.items():
        world.export(name, function)
    rows = []
    for name, function in functions.items():
        for _ in range(3):
            values = [draw_value(rng, each) for each in function.params]
            rows.append(f"{name}({', '.join(map(wave.text, function.params, values))})")
    rows.append(f"fold({wave.text(functions['fold'].params[0], tuple(draw_value(rng, record) for _ in range(4)))})")
    rows.append("scaled([1, 700, 65535], 3)")
    return "\n".join(world.lines), wat(_folding_core(record)), rows


def _folding_core(record: WitType) -> str:
    places = list(abi.fields(record))
    numbers = [(offset, each.kind) for offset, each in places if each.kind != "string"]
    string = next(offset for offset, each in places if each.kind == "string")
    sums = " ".join(
        f"(local.set $sum (i64.add (local.get $sum) (i64.mul (i64.const {at + 1}) ({_LOADS[kind]} offset={offset} (local.get $at)))))"
        for at, (offset, kind) in enumerate(numbers)
    )
    first, kind = numbers[0]
    return f"""(module {ALLOCATOR.replace('(func (export "cabi_realloc")', '(func $realloc (export "cabi_realloc")')}
  (func $fold (export "fold") (param $at i32) (param $n i32) (result i32) (local $sum i64) (local $best i64) (local $text i32) (local $r i32)
    (local.set $best (i64.const -1))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $n)))
      {sums}
      (if (i64.ge_u ({_LOADS[kind]} offset={first} (local.get $at)) (i64.add (local.get $best) (i64.const 1)))
        (then (local.set $best ({_LOADS[kind]} offset={first} (local.get $at)))
          (local.set $text (i32.add (local.get $at) (i32.const {string}))))
        (else (local.set $sum (i64.xor (local.get $sum) (i64.const 85)))))
      (local.set $at (i32.add (local.get $at) (i32.const {abi.size(record)})))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $next)))
    (local.set $r (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 16)))
    (i64.store (local.get $r) (local.get $sum))
    (if (local.get $text) (then
      (i32.store offset=8 (local.get $r) (i32.load (local.get $text)))
      (i32.store offset=12 (local.get $r) (i32.load offset=4 (local.get $text))))
      (else (i64.store offset=8 (local.get $r) (i64.const 0))))
    (local.get $r))
  (func $scaled (export "scaled") (param $at i32) (param $n i32) (param $by i32) (result i32) (local $out i32) (local $i i32) (local $r i32)
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.mul (local.get $n) (i32.const 4))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
      (i32.store (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const 4)))
        (i32.mul (local.get $by) (i32.load16_u (i32.add (local.get $at) (i32.mul (local.get $i) (i32.const 2))))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (local.set $r (call $realloc (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 8)))
    (i32.store (local.get $r) (local.get $out))
    (i32.store offset=4 (local.get $r) (local.get $n))
    (local.get $r))
  (func $weight (param i64) (result i64) (i64.add (i64.mul (local.get 0) (i64.const 7)) (i64.const 1)))
  (func $negated (param i64) (result i64) (i64.sub (i64.const 3) (local.get 0)))
  (func (export "measure") (param $case i32) (param $a i32) (param $b i64) (result i64)
    (block $other (block $pair (block $text (block $side
      (br_table $other $side $text $pair (local.get $case)))
      (return (call $weight (i64.extend_i32_u (local.get $a)))))
      (return (call $negated (i64.add (local.get $b) (i64.load8_u (local.get $a))))))
      (return (i64.add (call $weight (local.get $b)) (i64.extend_i32_u (local.get $a)))))
    (i64.const -2)))"""
