;; A table of arrays, built by the element segment's own expressions; each array has eleven elements.
(module
  (type $row (array i32))
  (table $rows 3 arrayref)
  (elem (table $rows) (i32.const 0) arrayref
    (array.new_fixed $row 11 (i32.const 0) (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9) (i32.const 10))
    (array.new_fixed $row 11 (i32.const 0) (i32.const 2) (i32.const 4) (i32.const 6) (i32.const 8) (i32.const 10) (i32.const 12) (i32.const 14) (i32.const 16) (i32.const 18) (i32.const 20)))
  (func $cell (export "cell") (param $y i32) (param $x i32) (result i32)
    (local $r (ref null $row))
    (if (ref.is_null (table.get $rows (local.get $y))) (then (return (i32.const -1))))
    (local.set $r (ref.cast (ref null $row) (table.get $rows (local.get $y))))
    (if (i32.ge_u (local.get $x) (array.len (local.get $r))) (then (return (i32.const -2))))
    (array.get $row (local.get $r) (local.get $x))))
