;; A table of floating-point constants, made from a data segment.
(module
  (type $floats (array (mut f32)))
  (type $doubles (array (mut f64)))
  ;; 1.5, -2.25, 1024.0 as f32; 0.5, -8.0 as f64.
  (data $f "\00\00\c0\3f" "\00\00\10\c0" "\00\00\80\44")
  (data $d "\00\00\00\00\00\00\e0\3f" "\00\00\00\00\00\00\20\c0")
  (func $single (export "single") (param $i i32) (result f32)
    (local $t (ref null $floats))
    (local.set $t (array.new_data $floats $f (i32.const 0) (i32.const 3)))
    (if (i32.ge_u (local.get $i) (array.len (local.get $t))) (then (return (f32.const 0))))
    (f32.mul (array.get $floats (local.get $t) (local.get $i)) (f32.const 2)))
  (func $double (export "double") (param $i i32) (result f64)
    (local $t (ref null $doubles))
    (local.set $t (array.new_default $doubles (i32.const 4)))
    (array.init_data $doubles $d (local.get $t) (i32.const 0) (i32.const 0) (i32.const 2))
    (if (i32.ge_u (local.get $i) (array.len (local.get $t))) (then (return (f64.const 0))))
    (f64.add (array.get $doubles (local.get $t) (local.get $i)) (f64.const 1))))
