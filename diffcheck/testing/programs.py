"""Small modules in text form, each with the outcome that every engine has to report for it."""

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
        start("(block $h (result exnref) (try_table (catch_all_ref $h) (throw $e)) unreachable) throw_ref", "(tag $e)"),
    ),
    "throw_ref-null": ("null reference", start("(throw_ref (ref.null exn))")),
    "atomic-unaligned": (
        "unaligned atomic",
        start("(drop (i32.atomic.load (i32.const 1)))", "(memory 1 1 shared)"),
    ),
}
"""Name of the program: the trap's kind, and the module."""


COUNTERS: Final = """
(module
  (global (export "__witness_counter_0") (mut i64) (i64.const 7))
  (global $b (export "__witness_counter_12") (mut i64) (i64.const 0))
  (global (export "__witness_counter_4294967295") (mut i64) (i64.const -1))
  (global (export "__witness_counter_3") (mut i32) (i32.const -2))
  (func (export "_start") (global.set $b (i64.const 41)) (global.set $b (i64.add (global.get $b) (i64.const 1)))))
"""
COUNTED: Final = {0: 7, 12: 42, 4294967295: (1 << 64) - 1, 3: (1 << 64) - 2}

LOOP: Final = start("(loop (br 0))")
NO_ENTRY: Final = '(module (func (export "go")))'
ENTRY_WITH_PARAMETERS: Final = '(module (func (export "_start") (param i32)))'
FLOAT_COUNTER: Final = '(module (global (export "__witness_counter_0") f64 (f64.const 1)) (func (export "_start")))'
NAMED_COUNTER: Final = '(module (global (export "__witness_counter_x") i64 (i64.const 1)) (func (export "_start")))'
TRAP_IN_START: Final = '(module (func $f unreachable) (start $f) (func (export "_start")))'
TRAP_IN_DATA: Final = '(module (memory 1) (data (i32.const 65535) "ab") (func (export "_start")))'
MANY_PAGES: Final = start("(memory.fill (i32.const 0) (i32.const 1) (i32.const 1310720000))", "(memory 20000)")
INVALID: Final = b"\0asm\1\0\0\0\xff\xff\xff"

STREAM_ADDRESS: Final = 4096
STREAM_BYTES: Final = 24
SLOTS: Final = 250

_FILL = f"""
    (i32.store (i32.const 64) (i32.const 0x31534344))
    (i32.store (i32.const 68) (i32.const 1))
    (i32.store (i32.const 88) (i32.const 1))
    (i64.store (i32.const 96) (i64.const {STREAM_BYTES}))
    (i32.store (i32.const 120) (i32.const {STREAM_ADDRESS}))
    (i32.store (i32.const {STREAM_ADDRESS}) (i32.add (i32.load (i32.const 0)) (i32.const 1000)))
    (i32.store (i32.const 128) (i32.add (i32.load (i32.const 0)) (i32.const 1000)))
    (i64.store (i32.const {STREAM_ADDRESS + 16}) (i64.const 0x0123456789abcdef))
"""
_DONE = "(i32.store (i32.const 88) (i32.const 2))"


def capsule(
    first: int = 0, *, body: str = "", imports: str = "", transfer: str = "", end: str = "", fields: str = ""
) -> str:  # fmt: skip
    """A module laid out as a capsule: parameters at 0 (the first u32 is ``first``), header, view, a stream of 24 bytes.

    Stream and view begin with the first parameter plus 1000. ``body`` is between the stream and the status *finished*, then
    come ``transfer``, the instructions of the transport, and ``end``. ``diffcheck:after-trap`` sets the stream's second u64 to 99.
    """
    data = "".join(f"\\{byte:02x}" for byte in first.to_bytes(4, "little"))
    return f"""
    (module {imports}
      (memory (export "diffcheck:memory") (export "memory") 2)
      (data (i32.const 0) "{data}")
      {fields}
      (func (export "diffcheck:after-trap") {_DONE} (i64.store (i32.const {STREAM_ADDRESS + 8}) (i64.const 99)))
      (func (export "_start") {_FILL} {body} {_DONE} {transfer} {end}))
    """


def words_capsule(first: int = 0, *, body: str = "", end: str = "", fields: str = "") -> str:
    """The same with its header and view carried out as 250 counters."""
    fields += "".join(
        f'(global $w{slot} (export "__witness_counter_{4_000_000_000 + slot}") (mut i64) (i64.const 0))' for slot in range(SLOTS)
    )
    transfer = "".join(f"(global.set $w{slot} (i64.load (i32.const {64 + 8 * slot})))" for slot in range(SLOTS))
    return capsule(first, body=body, fields=fields, transfer=transfer, end=end)


def printing_capsule(first: int = 0, *, body: str = "", end: str = "", fields: str = "") -> str:
    """The same with its image printed by ``fd_write``: marker, length, image."""
    size = STREAM_ADDRESS + STREAM_BYTES
    length = "".join(f"\\{byte:02x}" for byte in size.to_bytes(8, "little"))
    imports = '(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
    fields += f'(data (i32.const 70000) "diffcheck:image\\0a{length}")'
    transfer = f"""
      (i32.store (i32.const 70100) (i32.const 70000)) (i32.store (i32.const 70104) (i32.const 24))
      (i32.store (i32.const 70108) (i32.const 0)) (i32.store (i32.const 70112) (i32.const {size}))
      (drop (call $write (i32.const 1) (i32.const 70100) (i32.const 1) (i32.const 70120)))
      (drop (call $write (i32.const 1) (i32.const 70108) (i32.const 1) (i32.const 70120)))
    """
    return capsule(first, body=body, imports=imports, fields=fields, transfer=transfer, end=end)


CAPSULES: Final = {"memory": capsule, "words": words_capsule, "print": printing_capsule}
"""A transport's capsule."""
