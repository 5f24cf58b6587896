"""Instruction faults: one instruction of an artifact executed wrongly by an engine, whatever else stands in its capsule.

The engine is a real one whose program is edited before it runs: behind (or before, or in place of) one occurrence of an instruction a
function of the engine's own changes the value where its trigger fires. With ``truth`` the same trigger traps instead, which tells how many
events came before the first wrong execution; the tool never sees that.
"""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from diffcheck.faults.model import Expected, Fault
from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble, link
from diffcheck.wasm.code import Instruction, instructions, read_locals
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import Module
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.types import FuncType, RefType, encode_functype
from diffcheck.wasm.typing import type_body

Place = Literal["before", "behind", "instead"]
TRAP = "i32.const 0x80000000 i32.const -1 i32.div_s drop"
XOR = {
    "i32": "local.get $v i32.const {bit} i32.xor",
    "i64": "local.get $v i64.const {bit} i64.xor",
    "f32": "local.get $v f32.neg",
    "f64": "local.get $v f64.neg",
    "v128": "local.get $v v128.const i64x2 {bit} 0 v128.xor",
    "funcref": "ref.null func",
}
BITS = {
    "i32": "local.get $v i64.extend_i32_u",
    "i64": "local.get $v",
    "f32": "local.get $v i32.reinterpret_f32 i64.extend_i32_u",
    "f64": "local.get $v i64.reinterpret_f64",
    "v128": "local.get $v i64x2.extract_lane 0",
    "funcref": "local.get $v ref.is_null i64.extend_i32_u",
}
"""The 64 bits that a trigger looks at, by type."""
SHOWS = {
    "f32": "local.get $v local.get $v f32.eq",
    "f64": "local.get $v local.get $v f64.eq",
    "funcref": "local.get $v ref.is_null i32.eqz",
}
"""Where a change of the value is one that the specification does not allow: the sign of a NaN is."""


class Class(msgspec.Struct, frozen=True):
    name: str
    place: Place
    fits: tuple[str, ...]
    traps: bool = False
    safe: bool = False


CLASSES = (
    Class("integer", "behind", ("i32.add", "i32.sub", "i32.mul", "i32.and", "i32.or", "i32.xor", "i32.shl", "i32.shr_u", "i32.rotl", "i64.add", "i64.mul", "i64.xor", "i64.shr_u", "i32.div_u", "i32.rem_s", "i64.extend_i32_s", "i32.wrap_i64", "i32.clz", "i64.popcnt")),
    Class("comparison", "behind", ("i32.eq", "i32.ne", "i32.lt_s", "i32.lt_u", "i32.gt_s", "i32.ge_u", "i32.le_s", "i32.eqz", "i64.eq", "i64.lt_s", "f64.lt", "f32.lt")),
    Class("float", "behind", ("f32.add", "f64.add", "f32.mul", "f64.mul", "f64.sub", "f32.div", "f64.div", "f64.sqrt", "f32.sqrt", "f64.min", "f32.max", "f64.abs", "f32.nearest", "f64.floor", "f64.copysign")),
    Class("conversion", "behind", ("f64.convert_i32_s", "f32.convert_i32_u", "f64.convert_i64_s", "f32.demote_f64", "f64.promote_f32", "i32.trunc_f64_s", "i64.trunc_f64_s", "i32.trunc_sat_f32_u", "i64.trunc_sat_f64_s", "i32.trunc_sat_f64_s", "i32.reinterpret_f32", "i64.reinterpret_f64", "f32.convert_i64_u", "i32.extend8_s", "i64.extend16_s")),
    Class("SIMD", "behind", ("i32x4.add", "i8x16.add", "i16x8.mul", "i64x2.sub", "v128.xor", "v128.and", "i8x16.shuffle", "i8x16.swizzle", "i32x4.splat", "i8x16.splat", "i16x8.add_sat_s", "i32x4.shl", "i8x16.eq", "i32x4.dot_i16x8_s", "i8x16.narrow_i16x8_s")),
    Class("load", "instead", ("i32.load", "i64.load", "i32.load8_u", "i32.load8_s", "i32.load16_u", "i64.load32_u", "f32.load", "f64.load", "v128.load", "i64.load8_u")),
    Class("store", "before", ("i32.store", "i64.store", "i32.store8", "i32.store16", "f32.store", "f64.store", "v128.store", "i64.store8", "i64.store32")),
    Class("memory.grow", "behind", ("memory.grow", "memory.size")),
    Class("table", "behind", ("table.get", "table.size", "table.grow")),
    Class("global", "before", ("global.set",)),
    Class("global read", "behind", ("global.get",)),
    Class("br_table", "before", ("br_table",)),
    Class("branch", "before", ("br_if", "if")),
    Class("call_indirect", "before", ("call_indirect",)),
    Class("trap wrong", "behind", ("i32.add", "i64.mul", "i32.div_u", "i32.rem_u", "i32.trunc_f64_s", "f64.div", "i32.load", "i32.load8_u"), traps=True),
    Class("trap missing", "instead", ("i32.div_s", "i32.div_u", "i64.div_s", "i32.rem_u", "i64.rem_s", "i32.load", "i64.load", "i32.load8_u", "i32.trunc_f64_s", "i32.trunc_f32_s", "i64.trunc_f64_s", "i32.rem_s", "i64.div_u"), safe=True),
)  # fmt: skip
BY_CLASS = {each.name: each for each in CLASSES}


class Planted(msgspec.Struct, frozen=True):
    """A fault: which occurrence of an instruction, counted in its function, is wrong, and when."""

    kind: str
    instruction: str
    function: int
    occurrence: int
    offset: int
    type: str
    bit: int
    divisor: int
    residue: int
    skip: int

    def __str__(self) -> str:
        return f"{self.kind}: {self.instruction} at {self.offset:#x} of function {self.function}"

    def fault(self, module: Module, *, truth: bool = False) -> Fault:
        return Fault(self.kind, str(self), Expected(), edit=lambda data: edited(data, self, module, truth=truth))


def draw(rng: random.Random, module: Module, data: bytes, kind: str) -> Planted | None:
    """A fault of a class at a random place of an artifact; None where it has no such instruction."""
    class_ = BY_CLASS[kind]
    skipped = {each.index for each in module.exports if each.kind == "func" and each.name.startswith("__witness_")}
    places = []
    for at, (offset, size) in enumerate(module.bodies):
        function = module.n_imported("func") + at
        if function in skipped:
            continue
        seen: dict[str, int] = {}
        for each in type_body(module, function, data[offset : offset + size], offset).code:
            name = each.instruction.name
            if name in class_.fits and each.reachable:
                types = each.results if class_.place == "behind" else each.operands[-1:]
                type_ = (
                    types[0]
                    if types and isinstance(types[0], str)
                    else "funcref"
                    if types and types[0] == RefType(nullable=True, heap="func")
                    else None
                )
                if type_ is not None:
                    places.append((name, function, seen.get(name, 0), each.instruction.offset - offset, type_))
            seen[name] = seen.get(name, 0) + 1
    if not places:
        return None
    names = sorted({each[0] for each in places})
    name = rng.choice(names)
    place = rng.choice([each for each in places if each[0] == name])
    divisor = 1 if kind in ("global", "table", "memory.grow", "trap missing") else rng.choice((1, 2, 3, 5))
    low = {"i32.store8": 7, "i64.store8": 7, "i32.store16": 15}.get(name, 30)
    return Planted(
        kind,
        name,
        place[1],
        place[2],
        place[3],
        place[4],
        1 << rng.randrange(low),
        divisor,
        rng.randrange(divisor),
        rng.choice((0, 0, 0, 1, 3, 7)),
    )


def edited(data: bytes, fault: Planted, artifact: Module, *, truth: bool) -> bytes:
    """A capsule's bytes with the fault in it."""
    module = wasm.read(data)
    offset, size = module.bodies[fault.function]
    body = data[offset : offset + size]
    code = list(instructions(body, start=read_locals(body).end))
    last = len(artifact.all_functions) + 5
    places = [at for at, each in enumerate(code) if each.name == fault.instruction and not _read_back(code, at, last)]
    at = places[fault.occurrence]
    target = code[at]
    class_ = BY_CLASS[fault.kind]
    operation = body[target.offset : target.end]
    function, params, results = _wrong(fault, class_, operation, target, module, truth=truth)
    call = b"\x10" + u(len(module.all_functions))
    put = {"before": call + operation, "behind": operation + call, "instead": call}[class_.place]
    changed = body[: target.offset] + put + body[target.end :]
    bodies = [data[o : o + n] for o, n in module.bodies]
    bodies[fault.function] = changed
    added = {
        ids.TYPE: encode_functype(FuncType(params, results)),
        ids.FUNCTION: u(len(module.types)),
        ids.GLOBAL: b"\x7f\x01\x41\x00\x0b",
    }
    sections = []
    for old in module.sections:
        each = old
        if each.id in added:
            count, start = each.vector()
            each = ids.section(each.id, u(count + 1) + bytes(each.payload[start:]) + added[each.id])
        elif each.id == ids.CODE:
            each = ids.section(ids.CODE, u(len(bodies) + 1) + b"".join(u(len(b)) + b for b in bodies) + function)
        sections.append(each)
    return ids.write(sections)


def _read_back(code: list[Instruction], at: int, last: int) -> bool:
    """Whether this is the instrumentation's own: a global or an element got again behind its setting."""
    if code[at].name not in ("global.get", "table.get") or at + 3 >= len(code):
        return False
    names = [each.name for each in code[at + 1 : at + 4]]
    before = code[at - 1].name == "global.set" or code[at - 2].name == "table.set"
    return before and names == ["i32.const", "call", "drop"] and code[at + 2].immediates[0] >= last


def _wrong(
    fault: Planted, class_: Class, operation: bytes, target: Instruction, module: Module, *, truth: bool
) -> tuple[bytes, tuple, tuple]:
    """The function that is put in: its code entry, its parameters and its results."""
    kind = fault.type
    value = RefType(nullable=True, heap="func") if kind == "funcref" else kind
    counter = len(module.all_globals)
    if class_.safe:
        return _safe(fault, operation, target, truth=truth)
    change = "unreachable" if truth else TRAP if class_.traps else XOR[kind].format(bit=fault.bit)
    if fault.kind in ("comparison", "branch"):
        change = "unreachable" if truth else "local.get $v i32.eqz"
    if fault.kind == "call_indirect":
        change = "unreachable" if truth else "local.get $v i32.const 1 i32.add"
    shows = SHOWS.get(kind, "i32.const 1") if not class_.traps else "i32.const 1"
    if fault.kind == "br_table":
        labels = target.immediates[0]
        own = fault.residue % len(labels)
        other = next((at for at, label in enumerate(labels) if label != labels[own]), own)
        shows = f"local.get $v i32.const {own} i32.eq i32.const {int(other != own and own < len(labels) - 1)} i32.and"
        change = "unreachable" if truth else f"i32.const {other}"
    divisor, residue = (1, 0) if fault.kind == "br_table" else (fault.divisor, fault.residue)
    fires = f"""
      {BITS[kind] if class_.place != "instead" else "local.get $at i64.extend_i32_u"}
      i64.const 0x9e3779b97f4a7c15 i64.mul i64.const 40 i64.shr_u i64.const {divisor} i64.rem_u i64.const {residue} i64.eq
      {shows} i32.and
      if (result i32)
        global.get {counter} i32.const 1 i32.add global.set {counter}
        global.get {counter} i32.const {fault.skip} i32.gt_u
      else i32.const 0 end
    """
    if class_.place != "instead":
        returned = "return" if "unreachable" not in change and not class_.traps else ""
        text = f"{fires} if {change} {returned} end local.get $v"
        return link(assemble(text, params=("v",)), {}), (value,), (value,)
    text = f"local.get $at raw $operation local.set $v {fires} if {change} {'return' if not truth else ''} end local.get $v"
    result = BY_NAME[target.name].results[0]
    return (
        link(assemble(_typed(text, result, fault, truth=truth), params=("at",), locals=(("v", result),)), {"operation": operation}),
        ("i32",),
        (result,),
    )


def _typed(text: str, result: str, fault: Planted, *, truth: bool) -> str:
    """The text for a load, whose result has another type than its operand."""
    change = "unreachable" if truth else XOR[result].format(bit=fault.bit & 0x7F or 1) + " return"
    shows = SHOWS.get(result)
    head, _, tail = text.rpartition("if ")
    _, _, rest = tail.partition(" end ")
    return f"{head} {f'{shows} i32.and' if shows else ''} if {change} end {rest}"


def _safe(fault: Planted, operation: bytes, target: Instruction, *, truth: bool) -> tuple[bytes, tuple, tuple]:
    """An operation that gives zero where it should trap."""
    op = BY_NAME[target.name]
    result = op.results[0]
    zero = "unreachable" if truth else f"{result}.const 0 return"
    if ".load" in op.name:
        memory, offset = target.immediates[0].memidx, target.immediates[0].offset
        text = f"""
          local.get $v i64.extend_i32_u i64.const {offset + op.width} i64.add
          memory.size {memory} i64.extend_i32_u i64.const 16 i64.shl i64.gt_u
          if {zero} end local.get $v raw $operation
        """
        return link(assemble(text, params=("v",)), {"operation": operation}), ("i32",), (result,)
    if ".trunc_" in op.name:
        source = op.params[0]
        limit = {"i32": "2147483648", "i64": "9223372036854775808"}[result]
        text = f"local.get $v {source}.abs {source}.const {limit} {source}.lt if else {zero} end local.get $v raw $operation"
        return link(assemble(text, params=("v",)), {"operation": operation}), (source,), (result,)
    text = f"local.get $w {result}.eqz if {zero} end local.get $v local.get $w raw $operation"
    return link(assemble(text, params=("v", "w")), {"operation": operation}), op.params, op.results
