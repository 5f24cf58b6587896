;; A host handle made in a constant expression, taken back inside.
(module
  (global $handle externref (extern.convert_any (ref.i31 (i32.const 42))))
  (global $plain anyref (ref.i31 (i32.const 7)))
  (func $number (param $x anyref) (result i32)
    (if (result i32) (ref.test (ref i31) (local.get $x))
      (then (i31.get_s (ref.cast (ref i31) (local.get $x))))
      (else (i32.const -1))))
  (func $read (export "read") (param $which i32) (result i32)
    (if (result i32) (local.get $which)
      (then (call $number (any.convert_extern (global.get $handle))))
      (else (call $number (global.get $plain))))))
