"""Operations with indices, depths and sizes around the ends of encodings, and with padded integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.runner.sweep import control, memory, references, tables
from diffcheck.runner.sweep.operation import Operation

if TYPE_CHECKING:
    from collections.abc import Iterator

_INDICES: Final = (2, 3, 4, 11, 12, 14, 15, 63, 64, 127, 128, 8191, 8192)
_MOST_FUNCTIONS: Final = 128
"""Some engines pay megabytes for a function."""
_MOST_MEMORIES: Final = 64
_MOST_FIELDS: Final = 8192
_PADDED: Final = frozenset(
    {
        *(
            "i32.const",
            "i64.const",
            "i32.load",
            "i64.store8",
            "i32.load8_u",
            "v128.load8_lane",
            "memory.fill",
            "memory.size",
            "br_table",
        ),
        *(
            "local.get",
            "local.tee",
            "global.get",
            "global.set",
            "call",
            "call_indirect",
            "return_call",
            "br",
            "br_if",
            "if",
            "block",
        ),
        *("struct.get", "struct.new", "struct.set", "array.get", "array.new_fixed", "array.new_data", "ref.test", "ref.cast"),
        *("br_on_cast", "br_on_null", "ref.func", "ref.null", "call_ref", "table.get", "table.copy", "table.init", "elem.drop"),
        *("memory.init", "data.drop", "memory.copy", "select_t", "try_table", "throw", "i32.atomic.rmw.add", "i64.load32_u"),
    }
)


def operations() -> Iterator[Operation]:
    """The operations of immediates; those of other families appear again with all integers padded."""
    for index in _INDICES:
        yield from _types(index)
        yield from _variables(index)
        yield from _depths(index)
        yield from _spaces(index)
    for family in (control, memory, tables, references):
        for each in family.operations():
            if each.instruction in _PADDED and "memory64" not in each.form and "table64" not in each.form:
                chosen = tuple(values for values in each.chosen if each.traps is None or not each.traps(values))[:2]
                if chosen or (not each.types and each.traps is None):
                    yield msgspec.structs.replace(
                        each, family="immediates", form=f"padded {each.form}".strip(), chosen=chosen, padded=True, cell="padded"
                    )  # fmt: skip


def _made(index: int, instruction: str, text: str, kind: str, fields: str = "", **more: object) -> Operation:
    return Operation("immediates", instruction, text, form=f"{kind} {index}", fields=fields, **more)  # type: ignore[arg-type]


def _types(index: int) -> Iterator[Operation]:
    """Types of this index: structures, arrays, functions; the fields and elements of this number."""
    before = "".join("(type (func (param i32 i64)))" for _ in range(index))
    fields = f"{before} (type $s (struct (field i32)))"
    yield _made(index, "struct.new", "i32.const 5 struct.new $s ref.is_null", "type", fields)
    yield _made(index, "struct.get", "i32.const 5 struct.new $s struct.get $s 0", "type", fields)
    yield _made(index, "ref.test", "i32.const 5 struct.new $s ref.test (ref $s)", "type", fields)
    yield _made(index, "ref.cast", "i32.const 5 struct.new $s ref.cast (ref $s) struct.get $s 0", "type", fields)
    yield _made(index, "ref.null", "ref.null $s ref.is_null", "type", fields)
    cast = "block $to (result (ref $s)) i32.const 5 struct.new $s br_on_cast $to structref (ref $s) drop i32.const 2 return end struct.get $s 0"
    yield _made(index, "br_on_cast", cast, "type", fields)
    fields = f"{before} (type $a (array (mut i32)))"
    yield _made(index, "array.new", "i32.const 5 i32.const 2 array.new $a i32.const 1 array.get $a", "type", fields)
    yield _made(index, "array.new_fixed", "i32.const 5 array.new_fixed $a 1 array.len", "type", fields)
    fields = f"{before} (type $f (func (param i32) (result i32))) (func $g (type $f) local.get 0) (table 1 funcref) (elem (i32.const 0) $g)"
    yield _made(index, "call_indirect", "i32.const 8 i32.const 0 call_indirect (type $f)", "type", fields)
    yield _made(index, "call_ref", "i32.const 8 ref.func $g call_ref $f", "type", f"{fields} (elem declare func $g)")
    yield _made(index, "block", "i32.const 8 block (type $f) i32.const 1 i32.add end", "type", fields)
    if index <= _MOST_FIELDS:
        fields = f"(type $s (struct {'(field i32)' * index} (field (mut i64))))"
        yield _made(index, "struct.get", f"struct.new_default $s struct.get $s {index}", "field", fields, results=("i64",))
        text = f"struct.new_default $s local.tee $s i64.const 5 struct.set $s {index} local.get $s struct.get $s {index}"
        yield _made(index, "struct.set", text, "field", fields, results=("i64",), locals=(("s", "(ref null $s)"),))
    fields = f"(type $a (array i32)) (global $g (ref $a) (array.new_fixed $a {index} {'(i32.const 11)' * index}))"
    if index <= _MOST_FUNCTIONS:
        constants = " ".join(f"i32.const {at}" for at in range(index))
        text = f"{constants} array.new_fixed $a {index} i32.const {index - 1} array.get $a"
        yield _made(index, "array.new_fixed", text, "elements", "(type $a (array i32))")
    yield _made(index, "array.new_fixed", "global.get $g array.len", "elements of a constant", fields)


def _variables(index: int) -> Iterator[Operation]:
    locals_ = tuple((f"x{at}", "i32") for at in range(index + 1))
    yield _made(index, "local.set", f"i32.const 9 local.set {index} local.get {index}", "local", locals=locals_)
    yield _made(index, "local.tee", f"i32.const 9 local.tee {index} local.get {index} i32.sub", "local", locals=locals_)
    fields = "".join(f"(global (mut i32) (i32.const {at}))" for at in range(index + 1))
    yield _made(index, "global.get", f"global.get {index}", "global", fields)
    yield _made(index, "global.set", f"i32.const 9 global.set {index} global.get {index}", "global", fields)


def _depths(index: int) -> Iterator[Operation]:
    """Labels of this depth; the outermost block gives another result than falling through."""
    opened, closed = "block " * index, "end " * index
    text = f"block (result i32) {opened} i32.const 7 {{}} {closed} i32.const 8 end"
    yield _made(index, "br", text.format(f"br {index}"), "depth")
    yield _made(index, "br_if", text.format(f"i32.const 1 br_if {index} drop"), "depth")
    yield _made(index, "br_table", text.format(f"i32.const 0 br_table {index} {index}"), "depth")
    reference = f"block (result i32) block {opened} {{}} {closed} i32.const 7 br 1 end i32.const 8 end"
    yield _made(index, "br_on_null", reference.format(f"ref.null func br_on_null {index} drop"), "depth")
    not_null = f"block (result i32) block (result (ref i31)) {opened} i32.const 1 ref.i31 br_on_non_null {index} {closed} i32.const 7 br 1 end i31.get_u end"
    yield _made(index, "br_on_non_null", not_null, "depth")
    cast = f"block (result i32) block (result (ref i31)) {opened} i32.const 3 ref.i31 br_on_cast {index} anyref (ref i31) drop {closed} i32.const 7 br 1 end i31.get_u end"
    yield _made(index, "br_on_cast", cast, "depth")
    caught = f"block (result i32) {opened} try_table (catch $e {index}) i32.const 7 throw $e end {closed} i32.const 8 end"
    yield _made(index, "try_table", caught, "depth", "(tag $e (param i32))")
    many = f"(type $t (func (result {' '.join(['i32'] * index)})))"
    if index <= 1000:  # noqa: PLR2004 - a limit of engines
        constants = " ".join(f"i32.const {at}" for at in range(index))
        yield _made(index, "block", f"block (type $t) {constants} end {'i32.sub ' * (index - 1)}", "results", many)


def _spaces(index: int) -> Iterator[Operation]:
    """Functions, tables, memories, tags and segments of this index."""
    if index <= _MOST_FUNCTIONS:
        functions = "".join(f"(func (result i32) i32.const {at})" for at in range(index + 1))
        fields = f"{functions} (type $f (func (result i32))) (elem declare func {index})"
        yield _made(index, "call", f"call {index}", "function", fields)
        yield _made(index, "ref.func", f"ref.func {index} call_ref $f", "function", fields)
    tags = "".join("(tag (param i32))" for _ in range(index + 1))
    yield _made(
        index, "throw", f"block (result i32) try_table (catch {index} 0) i32.const 7 throw {index} end i32.const 8 end", "tag", tags
    )
    if index <= _MOST_MEMORIES:
        memories = "".join("(memory 1)" for _ in range(index + 1))
        text = f"i32.const 0 i32.const 9 i32.store {index} i32.const 0 i32.load {index}"
        yield _made(index, "i32.load", text, "memory", memories)
    tables_ = "".join("(table 1 funcref)" for _ in range(min(index, 99) + 1))
    if index <= 64:  # noqa: PLR2004 - of 100 that engines allow
        yield _made(index, "table.get", f"i32.const 0 table.get {index} ref.is_null", "table", tables_)
    data = "(memory 1)" + "".join(f'(data "\\{at % 256:02x}")' for at in range(index + 1))
    yield _made(
        index, "memory.init", f"i32.const 0 i32.const 0 i32.const 1 memory.init {index} i32.const 0 i32.load8_u", "data", data
    )
    elements = "(func $f) (table 1 funcref)" + "".join("(elem func $f)" for _ in range(index + 1))
    text = f"i32.const 0 i32.const 0 i32.const 1 table.init {index} i32.const 0 table.get 0 ref.is_null"
    yield _made(index, "table.init", text, "elem", elements)
