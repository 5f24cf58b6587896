;; The handler of a try_table is the function's own label: the payload of a caught exception is what the function returns.
(module
  (tag $error (param i32))
  (func $guarded (param $x i32) (result i32)
    (try_table (catch $error 0)
      (if (i32.gt_s (local.get $x) (i32.const 100)) (then (throw $error (i32.const -100))))
      (if (i32.lt_s (local.get $x) (i32.const 0)) (then (throw $error (i32.const -1))))
      (local.set $x (i32.mul (local.get $x) (i32.const 3))))
    (i32.add (local.get $x) (i32.const 5)))
  (func $outer (export "triple_plus_5") (param $x i32) (result i32)
    (i32.mul (call $guarded (local.get $x)) (i32.const 10))))
