;; A sieve in a garbage-collected array: 1,024 elements, and one more.
(module
  (type $flags (array (mut i8)))
  (func $primes (export "primes_below") (param $n i32) (result i32)
    (local $f (ref null $flags)) (local $i i32) (local $j i32) (local $count i32)
    (local.set $f (array.new_default $flags (local.get $n)))
    (local.set $i (i32.const 2))
    (block $done
      (loop $outer
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (if (i32.eqz (array.get_u $flags (local.get $f) (local.get $i)))
          (then
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (local.set $j (i32.mul (local.get $i) (local.get $i)))
            (block $end
              (loop $inner
                (br_if $end (i32.ge_u (local.get $j) (local.get $n)))
                (array.set $flags (local.get $f) (local.get $j) (i32.const 1))
                (local.set $j (i32.add (local.get $j) (local.get $i)))
                (br $inner)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $outer)))
    (local.get $count)))
