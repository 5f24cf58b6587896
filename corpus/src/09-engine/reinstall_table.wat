;; The table's counterpart: an active element segment is dropped by instantiation, so a copy from it must trap.
(module
  (type $op (func (result i32)))
  (table $t 4 funcref)
  (elem $initial (table $t) (i32.const 1) func $one $two)
  (func $one (type $op) (i32.const 1))
  (func $two (type $op) (i32.const 2))
  (func $clear (export "clear") (param $slot i32) (table.set $t (local.get $slot) (ref.null func)))
  (func $reinstall (export "reinstall") (param $count i32)
    (table.init $t $initial (i32.const 1) (i32.const 0) (local.get $count)))
  (func $call (export "call") (param $slot i32) (result i32)
    (if (result i32) (ref.is_null (table.get $t (local.get $slot)))
      (then (i32.const -1))
      (else (call_indirect $t (type $op) (local.get $slot))))))
