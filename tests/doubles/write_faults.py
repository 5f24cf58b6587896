"""An engine in which one instruction that changes state does not: operands are taken, results are given, nothing is written.

``PROGRAMS`` has a small program for each such instruction of the opcode table, whose row returns what was written.
"""

from __future__ import annotations

from diffcheck.wasm import section as ids
from diffcheck.wasm.code import Instruction, instructions, read_locals
from diffcheck.wasm.leb import u
from diffcheck.wasm.module import Module, read
from diffcheck.wasm.opcodes import BY_NAME
from diffcheck.wasm.typing import type_body

DROP = b"\x1a"
THREE = b"\x41\x03"
SEVEN = b"\x41\x07"
VALUES = {
    "i32": "(i32.const 0x55)",
    "i64": "(i64.const 0x55)",
    "f32": "(f32.const 1.5)",
    "f64": "(f64.const 2.5)",
    "v128": "(v128.const i64x2 5 6)",
}
MEMORY = '(memory 1) (data (i32.const 8) "\\08\\07\\06\\05\\04\\03\\02\\01")'
TABLE = "(table $t 4 9 funcref) (elem $e funcref (ref.func $f) (ref.func $f)) (func $f)"
OBJECTS = """
  (type $a (array (mut i32))) (type $p (array (mut i8))) (type $r (array (mut funcref))) (type $s (struct (field (mut i64)) (field (mut i32))))
  (data $d "abcdefgh") (elem $e funcref (ref.func $f) (ref.func $f)) (func $f)"""
WORD = "(i64.load (i32.const 8))"


def _row(fields: str, body: str, result: str = "i32", locals_: str = "") -> str:
    """The instruction, something between, and what reads it back."""
    return f'(module {fields} (func (export "run_row_a") (result {result}) {locals_} {body}))'


def _array(write: str, read_: str = "(array.get $a (local.get $o) (i32.const 1))", kind: str = "$a") -> str:
    return _row(OBJECTS, f"{write} (drop (i32.const 1)) {read_}", locals_=f"(local $o (ref null {kind}))")


def _new(make: str, kind: str = "$a", read_: str = "(array.get $a (local.get $o) (i32.const 1))") -> str:
    return _array(f"(local.set $o {make})", read_, kind)


def _made(write: str) -> str:
    return _array(f"(local.set $o (array.new_default $a (i32.const 3))) {write}")


def _element(index: int) -> str:
    return f"(ref.is_null (table.get $t (i32.const {index})))"


PACKED = "(array.get_u $p (local.get $o) (i32.const 1))"
SECOND = "(struct.get $s 1 (local.get $o))"
FUNCTION = "(ref.is_null (array.get $r (local.get $o) (i32.const 1)))"
RANGE = "(i32.const 1) (i32.const 9) (i32.const 2)"
TRAPS_WHERE_DROPPED = "(i32.const 0) (i32.const 0) (i32.const 1)"

PROGRAMS = {
    "local.set": _row("", "(local.set $x (i32.const 5)) (drop (i32.const 1)) (local.get $x)", locals_="(local $x i32)"),
    "local.tee": _row("", "(drop (local.tee $x (i32.const 5))) (drop (i32.const 1)) (local.get $x)", locals_="(local $x i32)"),
    "global.set": _row("(global $g (mut i64) (i64.const 0))", "(global.set $g (i64.const 5)) (global.get $g)", "i64"),
    "memory.fill": _row(MEMORY, f"(memory.fill (i32.const 8) (i32.const 9) (i32.const 3)) {WORD}", "i64"),
    "memory.copy": _row(MEMORY, f"(memory.copy (i32.const 9) (i32.const 12) (i32.const 3)) {WORD}", "i64"),
    "memory.init": _row(f'{MEMORY} (data $d "abcdefgh")', f"(memory.init $d (i32.const 9) (i32.const 1) (i32.const 3)) {WORD}", "i64"),
    "memory.grow": _row("(memory 1)", "(drop (memory.grow (i32.const 2))) (memory.size)"),
    "data.drop": _row(f'{MEMORY} (data $d "abcdefgh")', f"(data.drop $d) (memory.init $d {TRAPS_WHERE_DROPPED}) {WORD}", "i64"),
    "table.set": _row(TABLE, f"(table.set $t (i32.const 2) (ref.func $f)) {_element(2)}"),
    "table.fill": _row(TABLE, f"(table.fill $t (i32.const 1) (ref.func $f) (i32.const 2)) {_element(2)}"),
    "table.init": _row(TABLE, f"(table.init $t $e (i32.const 1) (i32.const 0) (i32.const 2)) {_element(2)}"),
    "table.copy": _row(
        f"{TABLE} (elem (i32.const 0) $f)", f"(table.copy $t $t (i32.const 2) (i32.const 0) (i32.const 1)) {_element(2)}"
    ),
    "table.grow": _row(TABLE, "(drop (table.grow $t (ref.func $f) (i32.const 2))) (table.size $t)"),
    "elem.drop": _row(TABLE, f"(elem.drop $e) (table.init $t $e {TRAPS_WHERE_DROPPED}) (i32.const 1)"),
    "array.new": _new("(array.new $a (i32.const 5) (i32.const 3))"),
    "array.new_default": _new("(array.new_default $a (i32.const 3))"),
    "array.new_fixed": _new("(array.new_fixed $a 3 (i32.const 5) (i32.const 6) (i32.const 7))"),
    "array.new_data": _new("(array.new_data $p $d (i32.const 1) (i32.const 3))", "$p", PACKED),
    "array.new_elem": _new("(array.new_elem $r $e (i32.const 0) (i32.const 2))", "$r", FUNCTION),
    "array.set": _made("(array.set $a (local.get $o) (i32.const 1) (i32.const 9))"),
    "array.fill": _made(f"(array.fill $a (local.get $o) {RANGE})"),
    "array.copy": _made(
        "(array.copy $a $a (local.get $o) (i32.const 1) (array.new $a (i32.const 4) (i32.const 3)) (i32.const 0) (i32.const 2))"
    ),
    "array.init_data": _array(
        "(local.set $o (array.new_default $p (i32.const 3))) "
        "(array.init_data $p $d (local.get $o) (i32.const 1) (i32.const 2) (i32.const 2))",
        PACKED,
        "$p",
    ),
    "array.init_elem": _array(
        "(local.set $o (array.new_default $r (i32.const 3))) "
        "(array.init_elem $r $e (local.get $o) (i32.const 1) (i32.const 0) (i32.const 2))",
        FUNCTION,
        "$r",
    ),
    "struct.new": _new("(struct.new $s (i64.const 5) (i32.const 6))", "$s", SECOND),
    "struct.new_default": _new("(struct.new_default $s)", "$s", SECOND),
    "struct.set": _array(
        "(local.set $o (struct.new_default $s)) (struct.set $s 1 (local.get $o) (i32.const 9))", SECOND, "$s"
    ),
}  # fmt: skip


def _of_memory(name: str) -> str:
    """A store, or an atomic read-modify-write, of a value that changes what is there."""
    op = BY_NAME[name]
    value = "v128" if name.startswith("v128") else name[:3]
    lane = " 0" if "lane" in op.immediates else ""
    if ".rmw" not in name:
        return _row(MEMORY, f"({name}{lane} (i32.const 8) {VALUES[value]}) (drop (i32.const 1)) {WORD}", "i64")
    there = f"({value}.const {0x0102030405060708 & (1 << 8 * op.width) - 1}) " if "cmpxchg" in name else ""
    return _row(MEMORY, f"(drop ({name} (i32.const 8) {there}{VALUES[value]})) (drop (i32.const 1)) {WORD}", "i64")


PROGRAMS |= {name: _of_memory(name) for name in BY_NAME if ".store" in name or ".atomic.rmw" in name}


def skipped(name: str, artifact: Module):
    """The edit that makes an engine skip the writes of an instruction in the artifact's functions."""

    def edit(data: bytes) -> bytes:
        module, sections = read(data), ids.split(data)
        own = len(artifact.all_functions)
        bodies = []
        for at, (offset, size) in enumerate(module.bodies):
            body = data[offset : offset + size]
            bodies.append(_without(name, module, at, body) if at < own else body)
        content = u(len(bodies)) + b"".join(u(len(each)) + each for each in bodies)
        return ids.write([ids.section(ids.CODE, content) if each.id == ids.CODE else each for each in sections])

    return edit


def _without(name: str, module: Module, function: int, body: bytes) -> bytes:
    out = [body[: read_locals(body).end]]
    typed = type_body(module, function, body, 0).code
    for each, types in zip(instructions(body, start=read_locals(body).end), typed, strict=True):
        raw = body[each.offset : each.end]
        # The tool's own saved operands stand in locals behind the program's.
        own = not name.startswith("local.") or each.immediates[:1] == (0,)
        out.append(_instead(each, raw, len(types.operands)) if each.name == name and own else raw)
    return b"".join(out)


def _instead(each: Instruction, raw: bytes, operands: int) -> bytes:
    """Instructions that take the operands, and give the results that the skipped write would have."""
    name, immediates = each.name, raw[len(BY_NAME[each.name].encoding) :]
    typeidx = u(each.immediates[0]) if each.immediates and isinstance(each.immediates[0], int) else b""
    if name == "local.tee":
        return b""
    if ".rmw" in name:
        width = BY_NAME[name].width
        bits = 8 * width
        whole = bits == int(name[1:3])
        load = BY_NAME[f"{name[:3]}.load" + ("" if whole else f"{bits}_u")]
        return DROP * (operands - 1) + load.encoding + immediates
    results = {
        "memory.grow": b"\x3f" + immediates,
        "table.grow": b"\xfc\x10" + immediates,
        "struct.new": b"\xfb\x01" + typeidx,
        "struct.new_default": b"\x42\x07" + SEVEN + b"\xfb\x00" + typeidx,
        "array.new_default": SEVEN + THREE + b"\xfb\x06" + typeidx,
    }
    default = THREE + b"\xfb\x07" + typeidx if name.startswith("array.new") else b""
    return DROP * operands + results.get(name, default)
