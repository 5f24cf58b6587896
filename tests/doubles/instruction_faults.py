"""Instruction faults: an engine that executes one instruction wrongly, at one place of an artifact or wherever it stands.

The engine is a real one whose program is edited before it runs: behind, before or in place of the instruction a function of the engine's
own changes a value where its trigger fires. That function also counts, so ``first_wrong`` knows without any instrumentation of the
tool's which execution was the first wrong one. A fault at one place is the artifact's instruction, whatever is put around it; one that
is ``everywhere`` hits the tool's own code as well.
"""

from __future__ import annotations

import contextlib
import random
from functools import lru_cache
from typing import Literal

import msgspec
import wasmtime

from diffcheck.capsule import layout as lo
from diffcheck.capsule.deterministic.form import deterministic
from diffcheck.capsule.forms import Capsule
from diffcheck.faults.fault import Expected, Fault
from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.code import Instruction, MemArg, instructions, read_locals
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import s, u
from diffcheck.wasm.module import Module
from diffcheck.wasm.opcodes import BY_NAME, Op
from diffcheck.wasm.types import FuncType, RefType, ValType, encode_functype
from diffcheck.wasm.typing import TypedInstruction, type_body

ENOUGH_FUEL = 2_000_000_000
"""More than any program of the corpus takes; one that a fault makes endless is over then."""
Place = Literal["before", "behind", "instead"]
FUNCREF = RefType(nullable=True, heap="func")
CHANGED = {
    "i32": "local.get $v i32.const {bit} i32.xor",
    "i64": "local.get $v i64.const {bit} i64.xor",
    "f32": "local.get $v f32.neg",
    "f64": "local.get $v f64.neg",
    "v128": "local.get $v v128.const i64x2 {bit} 0 v128.xor",
    "funcref": "ref.null func",
    "truth": "local.get $v i32.eqz",
    "next": "local.get $v i32.const 1 i32.add",
    "trap": "i32.const 0x80000000 i32.const -1 i32.div_s drop local.get $v",
}
BITS = {
    "i32": "local.get $v i64.extend_i32_u",
    "i64": "local.get $v",
    "f32": "local.get $v i32.reinterpret_f32 i64.extend_i32_u",
    "f64": "local.get $v i64.reinterpret_f64",
    "v128": "local.get $v i64x2.extract_lane 0 local.get $v i64x2.extract_lane 1 i64.xor",
    "funcref": "local.get $v ref.is_null i64.extend_i32_u",
}
"""The 64 bits that a trigger looks at, by type."""
SHOWS = {
    "f32": "local.get $v local.get $v f32.eq",
    "f64": "local.get $v local.get $v f64.eq",
    "v128": "local.get $v local.get $v f32x4.eq i32x4.all_true local.get $v local.get $v f64x2.eq i64x2.all_true i32.and",
    "funcref": "local.get $v ref.is_null i32.eqz",
}
"""Where a change of the value is one that the specification does not allow: the sign of a NaN is."""


BYTES = {
    1: ("i64", "i64.load8_u", "i64.store8", "i64.ne"),
    2: ("i64", "i64.load16_u", "i64.store16", "i64.ne"),
    4: ("i64", "i64.load32_u", "i64.store32", "i64.ne"),
    8: ("i64", "i64.load", "i64.store", "i64.ne"),
    16: ("v128", "v128.load", "v128.store", "v128.xor v128.any_true"),
}
"""By width: a type that holds so many bytes, how they are loaded and stored, and whether two are different."""
DISTANCES = (1, 4, 8, 64, 1000)
"""How far a store goes astray, in bytes."""


read = lru_cache(maxsize=4)(wasm.read)
"""A program's module, which is asked for more than once in a row."""


class Class(msgspec.Struct, frozen=True):
    """Instructions of one class, where the engine's function stands, and what it changes: empty for the value's bits."""

    name: str
    place: Place
    fits: tuple[str, ...]
    change: str = ""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LOADS = words(
    "i32.load i64.load i32.load8_u i32.load8_s i32.load16_u i32.load16_s i64.load32_u f32.load f64.load v128.load i64.load8_u"
)
STORES = words("i32.store i64.store i32.store8 i32.store16 f32.store f64.store v128.store i64.store8 i64.store16 i64.store32")
CLASSES = (
    Class("integer", "behind", words("i32.add i32.sub i32.mul i32.and i32.or i32.xor i32.shl i32.shr_u i32.shr_s i32.rotl i64.add i64.mul i64.xor i64.shr_u i32.div_u i32.rem_s i64.extend_i32_s i32.wrap_i64 i32.clz i64.popcnt")),
    Class("comparison", "behind", words("i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.ge_u i32.le_s i32.eqz i64.eq i64.lt_s f64.lt f32.lt"), "truth"),
    Class("float", "behind", words("f32.add f64.add f32.mul f64.mul f64.sub f32.div f64.div f64.sqrt f32.sqrt f64.min f32.max f64.abs f32.nearest f64.floor f64.copysign")),
    Class("conversion", "behind", words("f64.convert_i32_s f32.convert_i32_u f64.convert_i64_s f32.demote_f64 f64.promote_f32 i32.trunc_f64_s i64.trunc_f64_s i32.trunc_sat_f32_u i64.trunc_sat_f64_s i32.trunc_sat_f64_s i32.reinterpret_f32 i64.reinterpret_f64 f32.convert_i64_u i32.extend8_s i64.extend16_s")),
    Class("SIMD", "behind", words("i32x4.add i8x16.add i16x8.mul i64x2.sub v128.xor v128.and i8x16.shuffle i8x16.swizzle i32x4.splat i8x16.splat i16x8.add_sat_s i32x4.shl i8x16.eq i32x4.dot_i16x8_s i8x16.narrow_i16x8_s f32x4.add f32x4.mul f64x2.mul f32x4.min")),
    Class("load", "behind", LOADS),
    Class("load, odd alignment", "instead", LOADS),
    Class("load, wrong address", "instead", LOADS),
    Class("store", "before", STORES),
    Class("store, wrong address", "instead", STORES),
    Class("memory.grow", "behind", words("memory.grow memory.size")),
    Class("table", "behind", words("table.get table.size table.grow")),
    Class("global", "before", ("global.set",)),
    Class("global read", "behind", ("global.get",)),
    Class("local", "behind", words("local.tee select")),
    Class("br_table", "before", ("br_table",)),
    Class("branch", "before", words("br_if if"), "truth"),
    Class("call_indirect", "before", ("call_indirect",), "next"),
    Class("trap wrong", "behind", words("i32.add i64.mul i32.div_u i32.rem_u i32.trunc_f64_s f64.div i32.load i32.load8_u f64.add"), "trap"),
    Class("trap missing", "instead", words("i32.div_s i32.div_u i64.div_s i32.rem_u i64.rem_s i32.load i64.load i32.load8_u i32.trunc_f64_s i32.trunc_f32_s i64.trunc_f64_s i32.rem_s i64.div_u")),
)  # fmt: skip
BY_CLASS = {each.name: each for each in CLASSES}
ALWAYS = frozenset(
    {"global", "table", "memory.grow", "trap missing", "load, odd alignment", "load, wrong address", "store, wrong address"}
)
"""Classes of few occasions: they are wrong whenever they can be."""


class Planted(msgspec.Struct, frozen=True):
    """A fault: which occurrence of an instruction, counted in its function, is wrong, and when: where the value's hash has this
    residue, and its trigger fired ``skip`` times. ``everywhere`` is every occurrence in any function; its place then is that of an example.
    """

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
    everywhere: bool = False

    def __str__(self) -> str:
        place = "everywhere" if self.everywhere else f"at {self.offset:#x} of function {self.function}"
        return f"{self.kind}: {self.instruction} {place}, 1 of {self.divisor} values" + f", not the first {self.skip}" * bool(
            self.skip
        )

    def fault(self, artifact: Module) -> Fault:
        return Fault(self.kind, str(self), Expected(), edit=lambda data: Editor(data, self, artifact).wasm())


class Wrong(msgspec.Struct, frozen=True):
    """An execution: the instruction's function, its offset in the body, the how manyth execution it was on the instance."""

    function: int
    offset: int
    execution: int


def draw(rng: random.Random, module: Module, data: bytes, kind: str, *, everywhere: bool = False) -> Planted | None:
    """A fault of a class at a random place of an artifact; None where it has no such instruction."""
    places = list(_places(module, data, BY_CLASS[kind]))
    if not places:
        return None
    name = rng.choice(sorted({each[0] for each in places}))
    _, function, occurrence, offset, type_ = rng.choice([each for each in places if each[0] == name])
    divisor = 1 if kind in ALWAYS else rng.choice((7, 31, 127)) if everywhere else rng.choice((1, 2, 3, 5))
    low = {"i32.store8": 7, "i64.store8": 7, "i32.store16": 15, "i64.store16": 15}.get(name, 30)
    skip = 0 if everywhere or kind in ALWAYS else rng.choice((0, 0, 0, 1, 3, 7))
    return Planted(
        kind, name, function, occurrence, offset, type_, 1 << rng.randrange(low), divisor, rng.randrange(divisor), skip, everywhere
    )  # fmt: skip


def _places(module: Module, data: bytes, class_: Class):
    # Exported functions of witness are called between the rows, where nothing of the program is compared event by event.
    between = {each.index for each in module.exports if each.kind == "func" and each.name.startswith("__witness_")}
    for at, (offset, size) in enumerate(module.bodies):
        function = module.n_imported("func") + at
        if function in between:
            continue
        seen: dict[str, int] = {}
        for each in type_body(module, function, data[offset : offset + size], offset).code:
            name = each.instruction.name
            if name in class_.fits and each.reachable and (type_ := _changed_type(class_, each)):
                yield name, function, seen.get(name, 0), each.instruction.offset - offset, type_
            seen[name] = seen.get(name, 0) + 1


def _changed_type(class_: Class, each: TypedInstruction) -> str:
    """The type of the value that the engine's function changes or looks at; empty where this is not one it can."""
    if class_.name == "trap missing":
        return "i32"
    types = (
        each.results or each.operands[-1:]
        if class_.place == "instead"
        else each.results
        if class_.place == "behind"
        else each.operands[-1:]
    )
    if not types or (class_.place == "instead" and each.operands[0] != "i32"):
        return ""
    return types[0] if isinstance(types[0], str) else "funcref" if types[0] == FUNCREF else ""


def first_wrong(capsule: Capsule, fault: Planted, artifact: Module, parameters: lo.Parameters) -> Wrong | None:
    """The fault's first wrong execution in a capsule as it is, without the tool's instrumentation; None where it never fires."""
    data = capsule.with_parameters(parameters)
    site, execution = _watched(data, fault, artifact, 0)
    if site > 0:
        _, execution = _watched(data, fault, artifact, site)
    if site < 0:
        return None
    function, offset = Editor(data, fault, artifact).sites[site]
    return Wrong(function, offset, execution)


def _watched(data: bytes, fault: Planted, artifact: Module, watch: int) -> tuple[int, int]:
    """Run it: the site that was wrong first, and how often ``watch`` had been executed by then."""
    config = wasmtime.Config()
    config.parallel_compilation = False  # no threads: a stand-in may be a forked child
    for feature in ("gc", "exceptions", "wide_arithmetic", "tail_call", "memory64", "multi_memory", "function_references"):
        setattr(config, f"wasm_{feature}", True)
    config.consume_fuel = True
    store = wasmtime.Store(wasmtime.Engine(config))
    store.set_fuel(ENOUGH_FUEL)
    edited = Editor(data, fault, artifact, watch).wasm(exports=True)
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, edited), []).exports(store)
    with contextlib.suppress(wasmtime.Trap, wasmtime.WasmtimeError):
        exports["_start"](store)
    return exports["where"].value(store), exports["first"].value(store)


class Editor:
    """Puts a fault into a program: a capsule of the artifact, whether the tool has instrumented it or not.

    ``sites`` says which places of the artifact got the fault, as (function, offset in the body).
    """

    def __init__(self, data: bytes, fault: Planted, artifact: Module, watch: int = 0) -> None:
        self.data, self.fault, self.artifact, self.watch = data, fault, artifact, watch
        self.class_ = BY_CLASS[fault.kind]
        self.module = read(data)
        self.sites: list[tuple[int, int]] = []
        self.functions: dict[bytes, int] = {}
        self.added: list[tuple[bytes, bytes]] = []
        self.first_global = len(self.module.all_globals)
        self.bodies = [self._body(at, data[o : o + n]) for at, (o, n) in enumerate(self.module.bodies)]

    def wasm(self, *, exports: bool = False) -> bytes:
        """The program's bytes with the fault in it."""
        more = {
            ids.TYPE: [type_ for type_, _ in self.added],
            ids.FUNCTION: [u(len(self.module.types) + at) for at in range(len(self.added))],
            ids.GLOBAL: [b"\x7f\x01\x41\x7f\x0b", b"\x7e\x01\x42\x00\x0b", b"\x7e\x01\x42\x00\x0b", b"\x7e\x01\x42\x00\x0b"],
            ids.EXPORT: [b"\x05where\x03" + u(self.first_global), b"\x05first\x03" + u(self.first_global + 1)] if exports else [],
        }
        sections = []
        for each in self.module.sections:
            section = each
            if each.id in more:
                count, start = each.vector()
                items = more[each.id]
                section = ids.section(each.id, u(count + len(items)) + bytes(each.payload[start:]) + b"".join(items))
            elif each.id == ids.CODE:
                entries = [u(len(b)) + b for b in self.bodies] + [code for _, code in self.added]
                section = ids.section(ids.CODE, u(len(entries)) + b"".join(entries))
            sections.append(section)
        return ids.write(sections)

    def _body(self, function: int, body: bytes) -> bytes:
        fault = self.fault
        if not fault.everywhere and function != fault.function:
            return body
        code = list(instructions(body, start=read_locals(body).end))
        last = len(self.artifact.all_functions) + 5
        own = _own(self.artifact, function, code)
        mine = self.artifact.n_imported("func") <= function < len(self.artifact.all_functions)
        out, done, occurrence = [], 0, -1
        for at, each in enumerate(code):
            if each.name != fault.instruction or (not fault.everywhere and _read_back(code, at, last)):
                continue
            if not fault.everywhere and at not in own:
                continue
            occurrence += 1
            if fault.everywhere or occurrence == fault.occurrence:
                counted = mine and at in own
                site = len(self.sites) if counted else -1
                self.sites += [(function, each.offset)] * counted
                out += [body[done : each.offset], self._put(each, body[each.offset : each.end], site)]
                done = each.end
        return b"".join([*out, body[done:]])

    def _put(self, target: Instruction, operation: bytes, site: int) -> bytes:
        call = b"\x41" + s(site) + b"\x10" + u(self._function(target, operation))
        return {"before": call + operation, "behind": operation + call, "instead": call}[self.class_.place]

    def _function(self, target: Instruction, operation: bytes) -> int:
        """The engine's function for this instruction, with its immediates where they matter."""
        key = operation if self.class_.place == "instead" or target.name == "br_table" else b""
        if key not in self.functions:
            self.functions[key] = len(self.module.all_functions) + len(self.added)
            self.added.append(self._wrong(target, operation))
        return self.functions[key]

    def _wrong(self, target: Instruction, operation: bytes) -> tuple[bytes, bytes]:
        """Its encoded type and its code entry."""
        if self.class_.place == "instead":
            return self._instead(target, operation)
        fault, type_ = self.fault, self.fault.type
        value: ValType = FUNCREF if type_ == "funcref" else type_
        shows = SHOWS.get(type_, "i32.const 1") if self.class_.change != "trap" else "i32.const 1"
        change = CHANGED[self.class_.change or type_].format(bit=fault.bit)
        if fault.kind == "br_table":
            shows, change = _other_label(target, fault.residue)
        text = f"{self._counted()} {self._fires(BITS[type_], shows)} if {self._noted()} {change} return end local.get $v"
        return encode_functype(FuncType((value, "i32"), (value,))), link(assemble(text, params=("v", "id")), {})

    def _counted(self) -> str:
        """The watched site's executions up to the first wrong one."""
        seen = self.first_global + 2
        where = self.first_global
        return f"""
          global.get {where} i32.const -1 i32.eq local.get $id i32.const {self.watch} i32.eq i32.and
          if global.get {seen} i64.const 1 i64.add global.set {seen} end
        """

    def _noted(self) -> str:
        """What is noted where it fires: the first time in the artifact, which site and execution."""
        where, first, seen = range(self.first_global, self.first_global + 3)
        return f"""
          global.get {where} i32.const -1 i32.eq local.get $id i32.const 0 i32.ge_s i32.and
          if local.get $id global.set {where} global.get {seen} global.set {first} end
        """

    def _fires(self, bits: str, shows: str) -> str:
        fault, fired = self.fault, self.first_global + 3
        divisor, residue = (1, 0) if fault.kind == "br_table" else (fault.divisor, fault.residue)
        return f"""
          {bits} i64.const 0x9e3779b97f4a7c15 i64.mul i64.const 40 i64.shr_u i64.const {divisor} i64.rem_u i64.const {residue} i64.eq
          {shows} i32.and
          if (result i32)
            global.get {fired} i64.const 1 i64.add global.set {fired}
            global.get {fired} i64.const {fault.skip} i64.gt_u
          else i32.const 0 end
        """

    # Functions that do the instruction themselves.

    def _instead(self, target: Instruction, operation: bytes) -> tuple[bytes, bytes]:
        kind, op = self.fault.kind, BY_NAME[target.name]
        if kind == "trap missing":
            return self._safe(target, operation)
        memarg = target.immediates[0]
        if kind == "store, wrong address":
            return self._astray(op, memarg, operation)
        result = op.results[0]
        if kind == "load, odd alignment":
            odd = f"local.get $at i32.const {memarg.offset} i32.add i32.const {op.width - 1} i32.and i32.const 0 i32.ne"
            change = CHANGED[result].format(bit=self.fault.bit & 0x7F or 1)
            shows = SHOWS.get(result, "i32.const 1")
            change_text = (
                f"{odd} {shows} i32.and {self._fires(BITS[result], 'i32.const 1')} i32.and if {self._noted()} {change} return end"
            )
        else:
            bits = BITS[result].replace("$v", "$w")
            change_text = f"""
              {_fits(memarg, op.width + 1)}
              if
                local.get $at i32.const 1 i32.add raw $operation local.set $w
                {bits} {BITS[result]} i64.ne {SHOWS.get(result, "i32.const 1")} i32.and
                if {self._noted()} local.get $w return end
              end
            """
        text = f"{self._counted()} local.get $at raw $operation local.set $v {change_text} local.get $v"
        locals_ = (("v", result), ("w", result))
        return encode_functype(FuncType(("i32", "i32"), (result,))), link(
            assemble(text, params=("at", "id"), locals=locals_), {"operation": operation}
        )

    def _astray(self, op: Op, memarg: MemArg, operation: bytes) -> tuple[bytes, bytes]:
        """A store some bytes further on. Where the memory is the same afterwards as it should be, nothing was wrong."""
        value, type_, load, store, differ = op.params[1], *BYTES[op.width]
        there = DISTANCES[self.fault.bit.bit_length() % len(DISTANCES)]
        here = f"$m offset={memarg.offset}"
        further = f"local.get $at i32.const {there} i32.add"
        text = f"""
          {self._counted()} {_fits(memarg, op.width + there)}
          if
            local.get $at {load} {here} local.set $near {further} {load} {here} local.set $far
            local.get $at local.get $v raw $operation
            local.get $at {load} {here} local.set $near_right {further} {load} {here} local.set $far_right
            {further} local.get $far {store} {here} local.get $at local.get $near {store} {here}
            {further} local.get $v raw $operation
            local.get $at {load} {here} local.get $near_right {differ} {further} {load} {here} local.get $far_right {differ} i32.or
            if {self._noted()} end
            return
          end
          local.get $at local.get $v raw $operation
        """
        code = assemble(
            text,
            params=("at", "v", "id"),
            locals=tuple((each, type_) for each in ("near", "far", "near_right", "far_right")),
        )
        return encode_functype(FuncType(("i32", value, "i32"), ())), link(code, {"operation": operation, "m": memarg.memidx})

    def _safe(self, target: Instruction, operation: bytes) -> tuple[bytes, bytes]:
        """An operation that gives zero where it should trap."""
        op = BY_NAME[target.name]
        result = op.results[0]
        zero = f"{self._noted()} {result}.const 0 return"
        params: tuple[ValType, ...] = op.params
        if ".load" in op.name:
            params = ("i32",)
            check = f"{_fits(target.immediates[0], op.width, 'v')} if else {zero} end"
        elif ".trunc_" in op.name:
            source = params[0]
            limit = {"i32": "2147483648", "i64": "9223372036854775808"}[result]
            check = f"local.get $v {source}.abs {source}.const {limit} {source}.lt if else {zero} end"
        else:
            check = f"local.get $w {result}.eqz if {zero} end"
        names = ("v", "w")[: len(params)]
        text = f"{self._counted()} {check} {' '.join(f'local.get ${each}' for each in names)} raw $operation"
        return encode_functype(FuncType((*params, "i32"), (result,))), link(
            assemble(text, params=(*names, "id")), {"operation": operation}
        )


def _fits(memarg, width: int, at: str = "at") -> str:
    """Whether so many bytes at an address are in the memory."""
    return f"""
      local.get ${at} i64.extend_i32_u i64.const {memarg.offset + width} i64.add
      memory.size {memarg.memidx} i64.extend_i32_u i64.const 16 i64.shl i64.le_u
    """


def _other_label(target: Instruction, residue: int) -> tuple[str, str]:
    """A label of a ``br_table`` that is taken for another one."""
    labels = target.immediates[0]
    own = residue % len(labels)
    other = next((at for at, label in enumerate(labels) if label != labels[own]), own)
    return (
        f"local.get $v i32.const {own} i32.eq i32.const {int(other != own and own < len(labels) - 1)} i32.and",
        f"i32.const {other}",
    )


_form = lru_cache(maxsize=4)(deterministic)


def _own(artifact: Module, function: int, code: list[Instruction]) -> set[int] | range:
    """The positions of a body's code that are the artifact's: not what the deterministic form adds, if the body is of that form."""
    at = function - artifact.n_imported("func")
    form = _form(artifact)
    if form is None or not 0 <= at < len(artifact.bodies):
        return range(len(code))
    offset, size = form.module.bodies[at]
    body = form.wasm[offset : offset + size]
    names = {each.offset: each.name for each in form.places}
    wanted = list(instructions(body, offset, start=read_locals(body).end))
    found, done = set(), 0
    for position, each in enumerate(code):
        if done < len(wanted) and (each.name, each.immediates) == (wanted[done].name, wanted[done].immediates):
            origin = form.origin(wanted[done].offset)
            if origin.part == "same" or names[origin.offset] == each.name:
                found.add(position)
            done += 1
    return found if done == len(wanted) else range(len(code))


def _read_back(code: list[Instruction], at: int, last: int) -> bool:
    """Whether this is the instrumentation's own: a global or an element got again behind its setting."""
    if code[at].name not in ("global.get", "table.get") or at + 3 >= len(code):
        return False
    names = [each.name for each in code[at + 1 : at + 4]]
    before = code[at - 1].name == "global.set" or code[at - 2].name == "table.set"
    return before and names == ["i32.const", "call", "drop"] and code[at + 2].immediates[0] >= last
