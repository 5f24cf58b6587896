;; A plug-in's functions are put into a dispatch table from a passive segment; unloading drops the segment, and loading
;; again must trap.
(module
  (type $op (func (param i32) (result i32)))
  (table $dispatch 4 funcref)
  (elem $plugin func $double $square)
  (global $loads (export "loads") (mut i32) (i32.const 0))
  (func $identity (type $op) (local.get 0))
  (func $double (type $op) (i32.shl (local.get 0) (i32.const 1)))
  (func $square (type $op) (i32.mul (local.get 0) (local.get 0)))
  (elem (table $dispatch) (i32.const 3) func $identity)
  (func $load (export "load") (param $at i32) (param $count i32)
    (table.init $dispatch $plugin (local.get $at) (i32.const 0) (local.get $count))
    (global.set $loads (i32.add (global.get $loads) (i32.const 1))))
  (func $unload (export "unload") (elem.drop $plugin))
  (func $apply (export "apply") (param $slot i32) (param $x i32) (result i32)
    (if (result i32) (ref.is_null (table.get $dispatch (local.get $slot)))
      (then (i32.const -1))
      (else (call_indirect $dispatch (type $op) (local.get $x) (local.get $slot))))))
