"""Small artifacts for faults if the user gives none, instrumented as by witness, each with its rows."""

from __future__ import annotations

from typing import Final

_WITNESS: Final = """
  (global $c0 (export "__witness_counter_0") (mut i64) (i64.const 0))
  (global $c1 (export "__witness_counter_1") (mut i64) (i64.const 0))
  (global $c2 (export "__witness_counter_2") (mut i64) (i64.const 0))
  (global $v0 (export "__witness_brval_0") (mut i32) (i32.const 0))
  (global $v1 (export "__witness_brval_1") (mut i32) (i32.const 0))
  (global $n0 (export "__witness_brcnt_0") (mut i32) (i32.const 0))
  (global $n1 (export "__witness_brcnt_1") (mut i32) (i32.const 0))
  (func (export "__witness_row_reset")
    (global.set $v0 (i32.const 0)) (global.set $v1 (i32.const 0)) (global.set $n0 (i32.const 0)) (global.set $n1 (i32.const 0)))
  (func $took0 (param i32) (result i32)
    (global.set $v0 (local.get 0)) (global.set $n0 (i32.add (global.get $n0) (i32.const 1)))
    (if (local.get 0) (then (global.set $c0 (i64.add (global.get $c0) (i64.const 1)))))
    (local.get 0))
  (func $took1 (param i32) (result i32)
    (global.set $v1 (local.get 0)) (global.set $n1 (i32.add (global.get $n1) (i32.const 1)))
    (if (local.get 0) (then (global.set $c1 (i64.add (global.get $c1) (i64.const 1)))))
    (global.set $c2 (i64.add (global.get $c2) (i64.const 1)))
    (local.get 0))
"""

_LEDGER: Final = f"""(module
  (memory $mem (export "memory") 1 4)
  (memory $trace (export "__witness_trace") 1)
  (table $t (export "table") 3 9 funcref)
  (elem (i32.const 0) $collatz)
  (global $total (export "total") (mut i32) (i32.const 7))
  (global $ratio (export "ratio") (mut f64) (f64.const 0.5))
  {_WITNESS}
  (func (export "__witness_trace_reset")
    (i32.store $trace (i32.const 0) (i32.const 16)) (i32.store $trace (i32.const 4) (i32.const 65536))
    (i32.store $trace (i32.const 8) (i32.const 0)))
  (func $note (param i32)
    (i32.store16 $trace (i32.load $trace (i32.const 0)) (i32.const 1))
    (i32.store8 $trace offset=2 (i32.load $trace (i32.const 0)) (local.get 0))
    (i32.store $trace (i32.const 0) (i32.add (i32.load $trace (i32.const 0)) (i32.const 4))))
  (func $collatz (export "collatz") (param $n i32) (result i32) (local $steps i32)
    (block $done
      (loop $again
        (br_if $done (call $took0 (i32.le_u (local.get $n) (i32.const 1))))
        (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
        (call $note (i32.and (local.get $n) (i32.const 1)))
        (if (call $took1 (i32.and (local.get $n) (i32.const 1)))
          (then (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1))))
          (else (local.set $n (i32.shr_u (local.get $n) (i32.const 1)))))
        (br $again)))
    (global.set $total (i32.add (global.get $total) (local.get $steps)))
    (i32.store (i32.mul (local.get $steps) (i32.const 4)) (global.get $total))
    (local.get $steps))
  (func (export "mean") (param f64 f64) (result f64)
    (global.set $ratio (f64.div (local.get 0) (local.get 1)))
    (f64.mul (f64.add (local.get 0) (local.get 1)) (f64.const 0.5)))
  (func (export "root") (param f32) (result f32) (f32.sqrt (local.get 0)))
  (func (export "wide") (param i64) (result i64) (i64.mul (local.get 0) (i64.const 0x1234567890abcdef)))
  (func (export "lanes") (param i32) (result v128) (i32x4.splat (local.get 0)))
  (func (export "halve") (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1))))
"""

_GREETER: Final = f"""(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "host" "log" (func $log (param i32)))
  (memory (export "memory") 1 2)
  (data (i32.const 16) "\\18\\00\\00\\00\\06\\00\\00\\00hello\\0a")
  {_WITNESS}
  (func (export "greet") (result i32)
    (call $log (call $took0 (i32.const 1)))
    (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 8)))
  (func (export "dice") (result i32)
    (drop (call $random_get (i32.const 64) (i32.const 8)))
    (call $took1 (i32.load8_u (i32.const 64)))))
"""

_TALLY: Final = f"""(module
  (memory (export "memory") 1)
  {_WITNESS}
  (func (export "run") (local $i i32)
    (loop $again
      (drop (call $took0 (i32.and (local.get $i) (i32.const 1))))
      (drop (call $took1 (i32.lt_u (local.get $i) (i32.const 9))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 20))))))
"""

_TRAP: Final = f"""(module
  (memory (export "memory") 1)
  {_WITNESS}
  (func (export "main") (result i32)
    (drop (call $took0 (i32.const 1)))
    (i32.load (i32.mul (call $took1 (i32.const 1)) (i32.const 0x10000)))))
"""

_NANS: Final = """(module
  (memory (export "memory") 1)
  (global $seen (export "__witness_counter_0") (mut i64) (i64.const 0))
  (global $runs (export "__witness_counter_1") (mut i64) (i64.const 0))
  (func (export "run")
    (f64.store (i32.const 8) (f64.const nan:0x123))
    (global.set $seen (i64.reinterpret_f64 (f64.add (f64.load (i32.const 8)) (f64.const 1))))
    (global.set $runs (i64.add (global.get $runs) (i64.const 1))))
  (func (export "payload") (param f32) (result f32) (f32.neg (local.get 0)))
  (func (export "quiet") (param f64) (result f64) (f64.add (local.get 0) (f64.const 1))))
"""

SAMPLES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "ledger": (
        _LEDGER,
        ("collatz=6", "collatz=27", "mean=1.5,4", "root=2", "wide=-3", "lanes=9", "collatz=1", "halve=7,2", "halve=1,0"),
    ),
    "greeter": (_GREETER, ("greet", "dice", "greet")),
    "tally": (_TALLY, ("run",)),
    "trap": (_TRAP, ("main",)),
    "nans": (_NANS, ("run", "payload=nan:0x400123", "quiet=nan", "payload=1.5")),
}
"""Name -> (module text, rows)."""
