;; A linked list of structures that refer to each other, summed and reversed.
(module
  (type $node (struct (field $value i32) (field $next (mut (ref null $node)))))
  (func $list (param $length i32) (result (ref null $node))
    (local $head (ref null $node))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $length)))
        (local.set $head (struct.new $node (local.get $length) (local.get $head)))
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br $next)))
    (local.get $head))
  (func $sum (param $at (ref null $node)) (result i32)
    (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (ref.is_null (local.get $at)))
        (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 3)) (struct.get $node $value (local.get $at))))
        (local.set $at (struct.get $node $next (local.get $at)))
        (br $next)))
    (local.get $sum))
  (func $reverse (param $at (ref null $node)) (result (ref null $node))
    (local $done (ref null $node)) (local $rest (ref null $node))
    (block $end
      (loop $next
        (br_if $end (ref.is_null (local.get $at)))
        (local.set $rest (struct.get $node $next (local.get $at)))
        (struct.set $node $next (local.get $at) (local.get $done))
        (local.set $done (local.get $at))
        (local.set $at (local.get $rest))
        (br $next)))
    (local.get $done))
  (func (export "forward") (param $length i32) (result i32) (call $sum (call $list (local.get $length))))
  (func (export "backward") (param $length i32) (result i32) (call $sum (call $reverse (call $list (local.get $length))))))
