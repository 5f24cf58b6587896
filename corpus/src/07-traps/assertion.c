/* A failed assertion: unreachable, after work whose counters and memory are already there. */
#include "row.h"

static i32 balance[4] = {100, 50, 0, 7};

static KEEP void check(i32 ok) { if (!ok) __builtin_trap(); }

EXPORT(transfer) i32 transfer(u32 from, u32 to, i32 amount) {
  check(from < 4 && to < 4 && amount > 0);
  balance[from] -= amount;
  check(balance[from] >= 0);
  balance[to] += amount;
  return balance[to];
}
