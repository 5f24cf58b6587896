;; Retry on failure: the handler of a try_table is the loop around it, so that a caught exception starts the next attempt.
(module
  (tag $busy (param i32))
  (global $attempts (export "attempts") (mut i32) (i32.const 0))
  (func $send (param $fails i32)
    (global.set $attempts (i32.add (global.get $attempts) (i32.const 1)))
    (if (i32.le_u (global.get $attempts) (local.get $fails))
      (then (throw $busy (global.get $attempts)))))
  ;; How often it had to be tried; the last exception's number in the upper half.
  (func $deliver (export "deliver") (param $fails i32) (result i32)
    (local $last i32)
    (global.set $attempts (i32.const 0))
    (i32.const 0)
    (loop $again (param i32)
      (local.set $last)
      (try_table (catch $busy $again) (call $send (local.get $fails))))
    (i32.or (i32.shl (local.get $last) (i32.const 16)) (global.get $attempts)))
  ;; The same with catch_all and a limit.
  (func $deliver_limited (export "deliver_limited") (param $fails i32) (param $limit i32) (result i32)
    (global.set $attempts (i32.const 0))
    (loop $again
      (if (i32.lt_u (global.get $attempts) (local.get $limit))
        (then (try_table (catch_all $again) (call $send (local.get $fails))))))
    (global.get $attempts)))
