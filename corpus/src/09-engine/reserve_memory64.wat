;; An allocator asks for pages by a 64-bit count: 2^32 pages are not zero pages.
(module
  (memory (export "memory") i64 1 8)
  (func $reserve (export "reserve") (param $pages i64) (result i64)
    (local $old i64)
    (local.set $old (memory.grow (local.get $pages)))
    (if (result i64) (i64.eq (local.get $old) (i64.const -1))
      (then (i64.const -1))
      (else (i64.add (local.get $old) (local.get $pages)))))
  (func $pages (export "pages") (result i64) (memory.size)))
