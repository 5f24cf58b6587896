"""Faults of state and control: what an engine does wrongly with segments, tables, memories, exceptions, calls, branches and casts.

A fault is a text in place of an instruction, in which ``own`` is the instruction itself. ``{t}`` is the type of its last operand, ``{k}``
a local of that type, ``{flip}`` changes the lowest bit of its last number: of the result, or of the last operand.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from diffcheck.errors import ArtifactError
from diffcheck.faults import module_edit
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import CatchClause, Instruction, MemArg, read_locals
from diffcheck.wasm.encode import encode_locals, plain
from diffcheck.wasm.module import Module
from diffcheck.wasm.types import ValType
from diffcheck.wasm.typing import TypedInstruction, type_body
from tests.campaigns.sweep_engine import FLIP

SHORTER = "local.set {k} local.get {k} local.get {k} {t}.const 0 {t}.ne {wide} {t}.sub own"
"""The last of the bytes or elements is left out."""
OTHER_PLACE = "{t}.const 1 {t}.xor own"
LOW_BITS = "{t}.const 3 {t}.and own"
LOW_BIT = "i32.const 1 i32.and own"
"""A condition of which only the lowest bit counts."""
WRONG = "own {flip}"
WRONG_IF_ODD = "own {t}.const -2 {t}.and"
WRONG_OPERAND = "{flip} own"
NEVER = ""
RENAMED = "renamed"
PAIRS = {"ref.test": "ref.test_null", "struct.get_s": "struct.get_u", "array.get_s": "array.get_u", "i31.get_s": "i31.get_u"}
PAIRS |= {other: one for one, other in PAIRS.items()}
FIRST_CLAUSE, LAST_CLAUSE = "first clause lost", "last clause lost"
SHORT_OFFSET = "offset modulo 128"
NUMBERS = ("i32", "i64", "f32", "f64", "v128")


class StateFault(msgspec.Struct, frozen=True):
    """A fault of every occurrence of an instruction in a program's own functions whose last operand has one of the types."""

    instruction: str
    text: str
    types: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.instruction}: {self.text or 'nothing'}"

    def edited(self, data: bytes, functions: Collection[int]) -> bytes:
        """The program as this engine runs it; what is not in the artifact's own ``functions`` is run rightly."""
        module = wasm.read(data)
        changed = {at: body for at in functions if (body := self._changed(module, data, at, functions)) is not None}
        return module_edit.rewrite(module, data, changed) if changed else data

    def _changed(self, module: Module, data: bytes, at: int, functions: Collection[int]) -> bytes | None:
        body, base = module_edit.body(module, data, at), module.bodies[at][0]
        if all(each.name != self.instruction for each in module_edit.listing(body)):
            return None
        try:
            typed = type_body(module, at, body, base)
        except ArtifactError:
            return None
        parts, done = [], typed.declared_end
        locals_: list[ValType] = []
        for each in typed.code:
            one = each.instruction
            foreign = one.name in ("call", "return_call") and one.immediates[0] not in functions
            if one.name == self.instruction and each.reachable and not foreign:
                own = body[one.offset - base : one.end - base]
                changed = self._wrong(each, own, len(typed.locals) + len(locals_), locals_)
                if changed is not None:
                    parts += [body[done : one.offset - base], changed]
                    done = one.end - base
        if not parts:
            return None
        groups = [*read_locals(body).groups, *((1, type_) for type_ in locals_)]
        return encode_locals(groups) + b"".join([*parts, body[done:]])

    def _wrong(self, each: TypedInstruction, own: bytes, local: int, locals_: list[ValType]) -> bytes | None:
        """What stands in place of an instruction; None where the fault does not apply to it."""
        immediates = self._immediates(each.instruction)
        if immediates is not None:
            return immediates if immediates != own else None
        last = each.operands[-1] if each.operands else ""
        result = each.results[-1] if each.results and self.text.startswith("own") else last
        type_ = result if "own" in self.text else last
        if self.types and str(last) not in self.types:
            return None
        if any(word in self.text for word in ("{t}", "{flip}")) and type_ not in NUMBERS:
            return None
        if "{t}" in self.text and type_ not in ("i32", "i64"):
            return None
        if "{k}" in self.text:
            locals_.append(str(type_))
        wide = "i64.extend_i32_u" if type_ == "i64" else ""
        text = self.text.format(t=type_, k=local, flip=FLIP.get(str(type_), ""), wide=wide)
        before, found, after = text.partition("own")
        return module_edit.instructions(before) + (own if found else b"") + module_edit.instructions(after)

    def _immediates(self, one: Instruction) -> bytes | None:
        """The instruction with wrong immediates; None if that is not the fault."""
        if self.text == RENAMED:
            return plain(PAIRS[one.name], *one.immediates)
        if self.text in (FIRST_CLAUSE, LAST_CLAUSE):
            type_, clauses = one.immediates
            kept: tuple[CatchClause, ...] = tuple(clauses[1:] if self.text == FIRST_CLAUSE else clauses[:-1])
            return plain(one.name, type_, kept)
        if self.text == SHORT_OFFSET:
            memarg: MemArg = one.immediates[0]
            return plain(one.name, memarg._replace(offset=memarg.offset % 128), *one.immediates[1:])
        return None


_OF_RESULTS = (
    *("table.grow", "table.size", "memory.grow", "memory.size", "array.len", "ref.test", "ref.test_null", "ref.is_null", "ref.eq"),
    *("i31.get_s", "i31.get_u", "array.get", "struct.get", "call_ref", "call_indirect"),
    *("i32.atomic.rmw.add", "i64.atomic.rmw.xchg", "i32.atomic.rmw.cmpxchg", "i64.atomic.load", "i32.atomic.rmw16.xor_u"),
    *("v128.load8_lane", "v128.load32_splat", "v128.load64_zero", "i8x16.swizzle", "i16x8.narrow_i32x4_u"),
    *("i64.rotr", "i32.clz", "i64.extend8_s", "f64.nearest", "f32.copysign", "i32.trunc_sat_f64_u", "i64.div_s"),
)
_OF_INDICES = ("br_table", "call_indirect", "array.get", "table.get", "array.get_s", "array.get_u")
_OF_LENGTHS = (
    *("memory.copy", "memory.fill", "memory.init", "table.copy", "table.fill", "table.init"),
    *("array.copy", "array.fill", "array.init_data"),
)
_OF_OPERANDS = ("throw", "return_call", "call", "struct.new", "array.new_fixed", "array.set", "struct.set", "array.fill")
_GROUPS: dict[str, tuple[str, ...]] = {
    SHORTER: _OF_LENGTHS,
    WRONG: _OF_RESULTS,
    WRONG_IF_ODD: ("table.grow", "memory.grow", "array.len", "i31.get_u", "call_indirect", "call_ref", "struct.get", "array.get"),
    LOW_BIT: ("br_if", "if", "select"),
    OTHER_PLACE: _OF_INDICES,
    LOW_BITS: _OF_INDICES,
    RENAMED: tuple(PAIRS),
    FIRST_CLAUSE: ("try_table",),
    LAST_CLAUSE: ("try_table",),
    SHORT_OFFSET: ("i32.load", "i64.load", "i64.store", "f64.load", "v128.load", "i32.load8_u", "i64.atomic.rmw.add"),
    NEVER: ("elem.drop", "data.drop", "br_on_cast"),
    "drop": ("br_on_non_null",),
    "drop drop": ("struct.set", "table.set", "i64.store"),
    "drop drop drop": ("array.set",),
    "own drop i64.const 0": ("i64.add128", "i64.sub128", "i64.mul_wide_s", "i64.mul_wide_u"),
    "unreachable": ("throw_ref",),
    "i32.const 0x3fffffff i32.and own": ("ref.i31",),
    "i32.const 127 i32.and own": ("br_table",),
}
FAULTS = (
    *(StateFault(name, text) for text, names in _GROUPS.items() for name in names),
    *(StateFault(name, WRONG_OPERAND, NUMBERS) for name in _OF_OPERANDS),
    StateFault("memory.grow", "i64.const 0xffffffff i64.and own", ("i64",)),
    StateFault("table.grow", "drop drop i32.const -1", ("i32",)),
    StateFault("global.set", "drop", ("i32", "f32", "f64", "v128")),
    StateFault("local.tee", NEVER, ("f64", "v128")),
    StateFault("extern.convert_any", "drop ref.null extern", ("(ref null any)",)),
    StateFault("any.convert_extern", "drop ref.null any", ("(ref null extern)",)),
)
