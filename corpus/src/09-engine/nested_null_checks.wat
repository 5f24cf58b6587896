;; Null checks inside nested blocks: the label of br_on_null is 2 where the check leaves two blocks more than its own.
(module
  (type $callback (func (param i32) (result i32)))
  (elem declare func $double)
  (func $double (type $callback) (i32.shl (local.get 0) (i32.const 1)))
  (func $call_it (param $f (ref $callback)) (param $x i32) (result i32) (call_ref $callback (local.get $x) (local.get $f)))
  (func $notify (param $f (ref null $callback)) (param $x i32) (result i32)
    (local $answer i32)
    (block $none
      (block $small
        (block $negative
          (br_if $negative (i32.lt_s (local.get $x) (i32.const 0)))
          (br_if $small (i32.lt_s (local.get $x) (i32.const 10)))
          (return (call $call_it (br_on_null $none (local.get $f)) (local.get $x))))
        (return (i32.const -1)))
      (return (i32.const 0)))
    (i32.const -2))
  (func $run (export "notify") (param $which i32) (param $x i32) (result i32)
    (if (result i32) (local.get $which)
      (then (call $notify (ref.func $double) (local.get $x)))
      (else (call $notify (ref.null $callback) (local.get $x))))))
