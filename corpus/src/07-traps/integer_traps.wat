;; The traps of integer arithmetic and conversion, each behind a guard that lets it through on request.
(module
  (func $average (export "average") (param $sum i32) (param $count i32) (param $guard i32) (result i32)
    (if (i32.and (i32.eqz (local.get $count)) (local.get $guard)) (then (return (i32.const 0))))
    (i32.div_s (local.get $sum) (local.get $count)))
  (func $remainder (export "remainder") (param $a i64) (param $b i64) (result i64)
    (if (result i64) (i64.gt_s (local.get $a) (i64.const 1000))
      (then (i64.rem_u (local.get $a) (local.get $b)))
      (else (i64.rem_s (local.get $a) (local.get $b)))))
  (func $cents (export "cents") (param $euros f64) (param $saturate i32) (result i32)
    (local.set $euros (f64.mul (local.get $euros) (f64.const 100)))
    (if (result i32) (local.get $saturate)
      (then (i32.trunc_sat_f64_s (local.get $euros)))
      (else (i32.trunc_f64_s (local.get $euros))))))
