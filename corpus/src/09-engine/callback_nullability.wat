;; Two callback types that differ only in whether their parameter may be null: a call through the wrong one must trap.
(module
  (type $may (func (param (ref null func)) (result i32)))
  (type $must (func (param (ref func)) (result i32)))
  (table 2 funcref)
  (elem (i32.const 0) func $checks $trusts)
  (func $checks (type $may) (if (result i32) (ref.is_null (local.get 0)) (then (i32.const 0)) (else (i32.const 1))))
  (func $trusts (type $must) (i32.const 2))
  (func $self (result i32) (i32.const 3))
  (elem declare func $self $checks $trusts)
  (func $call_may (export "call_may") (param $slot i32) (result i32) (call_indirect (type $may) (ref.null func) (local.get $slot)))
  (func $call_must (export "call_must") (param $slot i32) (result i32) (call_indirect (type $must) (ref.func $self) (local.get $slot)))
  ;; Which of the two types the callback in a slot has: bit 0 for the one that may take null, bit 1 for the other.
  (func $kind (export "kind") (param $slot i32) (result i32)
    (local $f funcref)
    (local.set $f (table.get (local.get $slot)))
    (i32.or (ref.test (ref $may) (local.get $f)) (i32.shl (ref.test (ref $must) (local.get $f)) (i32.const 1)))))
