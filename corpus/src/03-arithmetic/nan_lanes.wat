;; Vectors whose lanes become NaNs: which NaN is the engine's own choice, that it is a quiet one is not.
(module
  (func $smaller (export "smaller") (param $a v128) (param $b v128) (result v128) (f32x4.min (local.get $a) (local.get $b)))
  (func $quotient (export "quotient") (param $a v128) (param $b v128) (result v128) (f64x2.div (local.get $a) (local.get $b)))
  (func $rounded (export "rounded") (param $a v128) (result v128) (f32x4.nearest (local.get $a)))
  (func $has_nan (export "has_nan") (param $a v128) (result i32)
    (if (result i32) (v128.any_true (f32x4.ne (local.get $a) (local.get $a)))
      (then (i32x4.bitmask (f32x4.ne (local.get $a) (local.get $a))))
      (else (i32.const 0)))))
