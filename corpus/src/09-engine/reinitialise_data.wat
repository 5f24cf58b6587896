;; A reset routine copies the initial data again from its active segment, which instantiation has dropped: it must trap, but
;; for a copy of nothing.
(module
  (memory (export "memory") 1)
  (data $initial (i32.const 16) "\01\02\03\04\05\06\07\08")
  (func $scramble (export "scramble") (param $with i32)
    (local $at i32)
    (loop $next
      (i32.store8 (i32.add (local.get $at) (i32.const 16))
        (i32.xor (i32.load8_u (i32.add (local.get $at) (i32.const 16))) (local.get $with)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 8)))))
  (func $reset (export "reset") (param $count i32) (memory.init $initial (i32.const 16) (i32.const 0) (local.get $count)))
  (func $word (export "word") (result i64) (i64.load (i32.const 16))))
