;; A table of 64 squares that starts at address 0, as position-independent code has its data: entry 32 stands at 0x100.
(module
  (memory (export "memory") 1)
  (func $put (param $i i32)
    (i64.store (i32.mul (local.get $i) (i32.const 8)) (i64.extend_i32_u (i32.mul (local.get $i) (local.get $i)))))
  (data (i32.const 240) "\01\02\03\04\05\06\07\08\11\12\13\14\15\16\17\18\21\22\23\24\25\26\27\28\31\32\33\34\35\36\37\38\41\42\43\44\45\46\47\48")
  ;; the 8 bytes of an entry of the initialised table, -1 where it is not one of the five
  (func (export "entry") (param $i i32) (result i64)
    (if (i32.lt_u (local.get $i) (i32.const 5))
      (then (return (i64.load offset=240 (i32.mul (local.get $i) (i32.const 8))))))
    (i64.const -1))
  ;; writes the table anew at run time, then reads an entry
  (func (export "rewritten") (param $i i32) (result i64)
    (local $at i32)
    (loop $all
      (call $put (local.get $at))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $all (i32.lt_u (local.get $at) (i32.const 64))))
    (i64.load (i32.mul (local.get $i) (i32.const 8)))))
