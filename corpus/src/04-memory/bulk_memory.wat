;; memory.fill, memory.copy and memory.init with overlap, with nothing to do at the very end, and past it.
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "0123456789abcdef")
  (data $passive "passive segment")
  (func $fill (export "fill") (param $at i32) (param $with i32) (param $n i32) (memory.fill (local.get $at) (local.get $with) (local.get $n)))
  (func $copy (export "copy") (param $to i32) (param $from i32) (param $n i32) (memory.copy (local.get $to) (local.get $from) (local.get $n)))
  (func $init (export "init") (param $to i32) (param $from i32) (param $n i32) (memory.init $passive (local.get $to) (local.get $from) (local.get $n)))
  (func $drop (export "drop") (data.drop $passive))
  (func $word (export "word") (param $at i32) (result i64)
    (if (result i64) (i32.gt_u (local.get $at) (i32.const 65528)) (then (i64.const -1)) (else (i64.load (local.get $at))))))
