/* proc_exit from the middle of a computation: counters of what ran before must survive. */
#include "row.h"

__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"))) _Noreturn void proc_exit(i32 code);

static volatile i32 budget = 1000;

static KEEP void spend(i32 amount) {
  if (amount < 0 || amount > budget) proc_exit(42);
  budget -= amount;
}

EXPORT(_start) void start(void) {
  for (i32 i = 1;; i++) spend(i * i);
}
