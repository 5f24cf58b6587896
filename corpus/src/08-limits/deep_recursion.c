/* Ackermann's function and a recursive walk 3,000 calls deep: deep, but well inside every engine's call stack. */
#include "row.h"

EXPORT(ackermann) u32 ackermann(u32 m, u32 n) {
  if (m == 0) return n + 1;
  if (n == 0) return ackermann(m - 1, 1);
  return ackermann(m - 1, ackermann(m, n - 1));
}

EXPORT(walk) u32 walk(u32 depth) {
  if (depth == 0) return 1;
  u32 below = walk(depth - 1);
  return (below << 1 | below >> 31) ^ depth;
}
