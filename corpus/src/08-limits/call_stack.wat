;; Recursion without end: the call stack is exhausted, at a depth that is the engine's own.
(module
  (global $depth (mut i32) (i32.const 0))
  (func $fall (param $n i32) (result i32)
    (if (i32.eq (local.get $n) (i32.const -1)) (then (return (i32.const 0))))
    (i32.add (call $fall (i32.add (local.get $n) (i32.const 1))) (i32.const 1)))
  (func (export "main") (result i32) (call $fall (i32.const 0))))
