;; A loop that never ends. It has no branch of its own inside: witness 0.44 writes a record a condition without looking at its trace
;; memory's end, so a loop with a condition would trap after 262,140 turns on every engine.
(module
  (memory (export "memory") 1)
  (func (export "run")
    (local $turns i64)
    (if (i32.load (i32.const 0)) (then (return)))
    (loop $wait
      (local.set $turns (i64.add (local.get $turns) (i64.const 1)))
      (i64.store (i32.const 8) (local.get $turns))
      (br $wait))))
