;; A vector checksum over a 64-bit memory: SIMD loads and stores take i64 addresses there.
(module
  (memory (export "memory") i64 1)
  (data (i64.const 0) "sixteen bytes 1.sixteen bytes 2.tail")
  (func $scalar (export "scalar") (param $from i64) (param $to i64) (result i64)
    (local $sum i64)
    (block $done
      (loop $next
        (br_if $done (i64.ge_u (local.get $from) (local.get $to)))
        (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $from))))
        (local.set $from (i64.add (local.get $from) (i64.const 1)))
        (br $next)))
    (local.get $sum))
  (func $vector (export "vector") (param $from i64) (param $to i64) (result i64)
    (local $sum v128)
    (block $done
      (loop $next
        (br_if $done (i64.gt_u (i64.add (local.get $from) (i64.const 16)) (local.get $to)))
        (local.set $sum (i8x16.add (local.get $sum) (v128.load (local.get $from))))
        (local.set $from (i64.add (local.get $from) (i64.const 16)))
        (br $next)))
    (i64.add (i64x2.extract_lane 0 (local.get $sum)) (i64x2.extract_lane 1 (local.get $sum))))
  (func $fill (export "fill") (param $at i64) (v128.store (local.get $at) (i8x16.splat (i32.const 7)))))
