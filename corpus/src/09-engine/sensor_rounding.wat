;; Readings arrive as raw bits; some are signalling NaNs. Rounding one must give a quiet NaN.
(module
  (memory (export "memory") 1)
  ;; Six readings: 21.75, -0.5, a signalling NaN, a quiet NaN, -infinity, a signalling NaN with its sign set.
  (data (i32.const 0) "\00\00\ae\41" "\00\00\00\bf" "\01\00\a0\7f" "\00\00\c0\7f" "\00\00\80\ff" "\00\00\81\ff")
  (func $is_quiet (param $bits i32) (result i32)
    (i32.eq (i32.and (local.get $bits) (i32.const 0x7fc00000)) (i32.const 0x7fc00000)))
  ;; The reading rounded by one of three modes; its bits, with a NaN told as 1 (quiet) or 2 (signalling).
  (func $round (export "round") (param $which i32) (param $mode i32) (result i32)
    (local $x f32) (local $bits i32)
    (local.set $x (f32.load (i32.shl (local.get $which) (i32.const 2))))
    (block $done
      (block $truncate
        (block $up
          (block $down (br_table $down $up $truncate (local.get $mode)))
          (local.set $x (f32.floor (local.get $x)))
          (br $done))
        (local.set $x (f32.ceil (local.get $x)))
        (br $done))
      (local.set $x (f32.trunc (local.get $x))))
    (local.set $bits (i32.reinterpret_f32 (local.get $x)))
    (if (f32.eq (local.get $x) (local.get $x)) (then (return (local.get $bits))))
    (if (result i32) (call $is_quiet (local.get $bits))
      (then (i32.const 1))
      (else (i32.const 2))))
  ;; The same for doubles, given by value.
  (func $round_double (export "round_double") (param $x f64) (param $mode i32) (result i64)
    (block $done
      (if (i32.eqz (local.get $mode)) (then (local.set $x (f64.floor (local.get $x))) (br $done)))
      (if (i32.eq (local.get $mode) (i32.const 1)) (then (local.set $x (f64.ceil (local.get $x))) (br $done)))
      (local.set $x (f64.trunc (local.get $x))))
    (i64.and (i64.reinterpret_f64 (local.get $x)) (i64.const 0xfff8000000000000))))
