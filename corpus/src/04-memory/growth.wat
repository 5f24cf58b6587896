;; A memory that grows to its maximum and no further; what was there stays, what is new is zero.
(module
  (memory (export "memory") 1 4)
  (func $grow (export "grow") (param $n i32) (result i32)
    (local $old i32)
    (local.set $old (memory.grow (local.get $n)))
    (if (i32.and (i32.ge_s (local.get $old) (i32.const 0)) (i32.gt_s (local.get $n) (i32.const 0)))
      (then (i32.store (i32.shl (local.get $old) (i32.const 16)) (i32.const 0x5eed))))
    (local.get $old))
  (func $size (export "size") (result i32) (memory.size))
  (func $peek (export "peek") (param $at i32) (result i32) (i32.load (local.get $at)))
  (func $poke (export "poke") (param $at i32) (param $x i32) (i32.store (local.get $at) (local.get $x))))
