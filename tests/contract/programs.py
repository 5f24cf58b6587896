"""Small modules in text form, each with what every engine must say of it: used by the contract tests and by ``transcripts``."""

from __future__ import annotations

from typing import Final


def start(body: str, fields: str = "") -> str:
    """A module whose ``_start`` has ``body``."""
    return f'(module {fields} (func (export "_start") {body}))'


_DIV = "(global $zero (mut i32) (i32.const 0)) (global $zero64 (mut i64) (i64.const 0))"
_TABLE = "(type $v (func)) (type $w (func (param i32))) (table $t 2 funcref) (elem (i32.const 0) $w) (func $w (type $w))"

TRAPS: Final[dict[str, tuple[str, str]]] = {
    "unreachable": ("unreachable", start("unreachable")),
    "div_s-by-zero": ("integer divide by zero", start("(drop (i32.div_s (i32.const 1) (global.get $zero)))", _DIV)),
    "rem_u-by-zero": ("integer divide by zero", start("(drop (i64.rem_u (i64.const 1) (global.get $zero64)))", _DIV)),
    "div_s-overflow": (
        "integer overflow",
        start(
            "(drop (i32.div_s (i32.const 0x80000000) (global.get $m)))",
            "(global $m (mut i32) (i32.const -1))",
        ),
    ),
    "div_s-overflow-64": (
        "integer overflow",
        start(
            "(drop (i64.div_s (i64.const 0x8000000000000000) (global.get $m)))",
            "(global $m (mut i64) (i64.const -1))",
        ),
    ),
    "trunc-nan": (
        "invalid conversion to integer",
        start("(drop (i32.trunc_f64_s (global.get $n)))", "(global $n (mut f64) (f64.const nan))"),
    ),
    "trunc-nan-64": (
        "invalid conversion to integer",
        start("(drop (i64.trunc_f32_u (global.get $n)))", "(global $n (mut f32) (f32.const nan))"),
    ),
    "trunc-too-large": (
        "integer overflow",
        start("(drop (i32.trunc_f64_s (global.get $n)))", "(global $n (mut f64) (f64.const 1e30))"),
    ),
    "load-out-of-bounds": ("out of bounds memory access", start("(drop (i32.load (i32.const 65536)))", "(memory 1)")),
    "store-out-of-bounds": (
        "out of bounds memory access",
        start("(i64.store (i32.const -4) (i64.const 1))", "(memory 1)"),
    ),
    "memory.fill-out-of-bounds": (
        "out of bounds memory access",
        start("(memory.fill (i32.const 65530) (i32.const 0) (i32.const 7))", "(memory 1)"),
    ),
    "memory.copy-out-of-bounds": (
        "out of bounds memory access",
        start("(memory.copy (i32.const 0) (i32.const 65530) (i32.const 7))", "(memory 1)"),
    ),
    "memory.init-out-of-bounds": (
        "out of bounds memory access",
        start("(memory.init $d (i32.const 0) (i32.const 2) (i32.const 7))", '(memory 1) (data $d "abc")'),
    ),
    "v128.load-out-of-bounds": (
        "out of bounds memory access",
        start("(drop (v128.load (i32.const 65530)))", "(memory 1)"),
    ),
    "table.get-out-of-bounds": (
        "out of bounds table access",
        start("(drop (table.get $t (i32.const 2)))", "(table $t 2 funcref)"),
    ),
    "table.set-out-of-bounds": (
        "out of bounds table access",
        start("(table.set $t (i32.const 2) (ref.null func))", "(table $t 2 funcref)"),
    ),
    "table.copy-out-of-bounds": (
        "out of bounds table access",
        start("(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 2))", "(table $t 2 funcref)"),
    ),
    "table.init-out-of-bounds": (
        "out of bounds table access",
        start(
            "(table.init $t $e (i32.const 0) (i32.const 1) (i32.const 2))", "(table $t 2 funcref) (elem $e funcref (ref.null func))"
        ),
    ),
    "table.fill-out-of-bounds": (
        "out of bounds table access",
        start("(table.fill $t (i32.const 1) (ref.null func) (i32.const 2))", "(table $t 2 funcref)"),
    ),
    "call_indirect-out-of-bounds": (
        "out of bounds table access",
        start("(call_indirect $t (type $v) (i32.const 2))", _TABLE),
    ),
    "call_indirect-null": ("uninitialized element", start("(call_indirect $t (type $v) (i32.const 1))", _TABLE)),
    "call_indirect-other-type": (
        "indirect call type mismatch",
        start("(call_indirect $t (type $v) (i32.const 0))", _TABLE),
    ),
    "return_call_indirect-null": (
        "uninitialized element",
        start("(return_call_indirect $t (type $v) (i32.const 1))", _TABLE),
    ),
    "return_call_indirect-other-type": (
        "indirect call type mismatch",
        start("(return_call_indirect $t (type $v) (i32.const 0))", _TABLE),
    ),
    "endless-recursion": ("call stack exhausted", '(module (func $f (export "_start") (call $f)))'),
    "call_ref-null": ("null reference", start("(call_ref $v (ref.null $v))", "(type $v (func))")),
    "return_call_ref-null": ("null reference", start("(return_call_ref $v (ref.null $v))", "(type $v (func))")),
    "ref.as_non_null": ("null reference", start("(drop (ref.as_non_null (ref.null func)))")),
    "struct.get-null": (
        "null reference",
        start("(drop (struct.get $s 0 (ref.null $s)))", "(type $s (struct (field i32)))"),
    ),
    "struct.set-null": (
        "null reference",
        start("(struct.set $s 0 (ref.null $s) (i32.const 1))", "(type $s (struct (field (mut i32))))"),
    ),
    "array.get-null": (
        "null reference",
        start("(drop (array.get $a (ref.null $a) (i32.const 0)))", "(type $a (array i32))"),
    ),
    "array.len-null": ("null reference", start("(drop (array.len (ref.null array)))")),
    "i31.get-null": ("null reference", start("(drop (i31.get_s (ref.null i31)))")),
    "ref.cast": (
        "cast failure",
        start(
            "(drop (ref.cast (ref $s) (global.get $g)))",
            "(type $s (struct)) (global $g (mut anyref) (ref.i31 (i32.const 1)))",
        ),
    ),
    "ref.cast-null": (
        "cast failure",
        start("(drop (ref.cast (ref $s) (global.get $g)))", "(type $s (struct)) (global $g (mut anyref) (ref.null any))"),
    ),
    "array.get-out-of-bounds": (
        "out of bounds array access",
        start("(drop (array.get $a (array.new_default $a (i32.const 2)) (i32.const 2)))", "(type $a (array i32))"),
    ),
    "array.set-out-of-bounds": (
        "out of bounds array access",
        start(
            "(array.set $a (array.new_default $a (i32.const 2)) (i32.const 2) (i32.const 1))",
            "(type $a (array (mut i32)))",
        ),
    ),
    "array.copy-out-of-bounds": (
        "out of bounds array access",
        start(
            "(local $x (ref null $a)) (local.set $x (array.new_default $a (i32.const 2)))"
            "(array.copy $a $a (local.get $x) (i32.const 0) (local.get $x) (i32.const 1) (i32.const 2))",
            "(type $a (array (mut i32)))",
        ),
    ),
    "array.new_data-out-of-bounds": (
        "out of bounds memory access",
        start(
            "(drop (array.new_data $a $d (i32.const 0) (i32.const 9)))",
            '(type $a (array i8)) (data $d "abc")',
        ),
    ),
    "throw": ("uncaught exception", start("(throw $e (i32.const 7))", "(tag $e (param i32))")),
    "throw_ref": (
        "uncaught exception",
        start(
            "(block $h (result exnref) (try_table (catch_all_ref $h) (throw $e)) unreachable) throw_ref", "(tag $e)"
        ),
    ),
    "throw_ref-null": ("null reference", start("(throw_ref (ref.null exn))")),
    "atomic-unaligned": (
        "unaligned atomic",
        start("(drop (i32.atomic.load (i32.const 1)))", "(memory 1 1 shared)"),
    ),
}
"""Name of the program: the trap's kind, and the module."""
