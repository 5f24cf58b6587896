/* Three sorts over the same numbers, checked against each other. */
#include "row.h"

#define N 48
static i32 data[N], other[N];

static KEEP void fill(i32 *a, u32 seed) {
  for (i32 i = 0; i < N; i++) {
    seed = seed * 1664525u + 1013904223u;
    a[i] = (i32)(seed >> 9) - (1 << 22);
  }
}

static KEEP void insertion(i32 *a, i32 n) {
  for (i32 i = 1; i < n; i++) {
    i32 v = a[i], j = i;
    while (j > 0 && a[j - 1] > v) { a[j] = a[j - 1]; j--; }
    a[j] = v;
  }
}

static KEEP void heap(i32 *a, i32 n) {
  for (i32 start = n / 2 - 1, end = n; end > 1;) {
    if (start >= 0) start--;
    else { end--; i32 t = a[0]; a[0] = a[end]; a[end] = t; }
    i32 root = start < 0 ? 0 : start;
    for (;;) {
      i32 child = 2 * root + 1;
      if (child >= end) break;
      if (child + 1 < end && a[child + 1] > a[child]) child++;
      if (a[root] >= a[child]) break;
      i32 t = a[root]; a[root] = a[child]; a[child] = t;
      root = child;
    }
  }
}

static KEEP void quick(i32 *a, i32 low, i32 high) {
  while (low < high) {
    i32 pivot = a[low + (high - low) / 2], i = low, j = high;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) { i32 t = a[i]; a[i] = a[j]; a[j] = t; i++; j--; }
    }
    if (j - low < high - i) { quick(a, low, j); low = i; }
    else { quick(a, i, high); high = j; }
  }
}

static KEEP i32 sorted(const i32 *a) {
  for (i32 i = 1; i < N; i++) if (a[i - 1] > a[i]) return 0;
  return 1;
}

static KEEP i32 same(void) {
  for (i32 i = 0; i < N; i++) if (data[i] != other[i]) return 0;
  return 1;
}

EXPORT(sort) i32 sort(i32 how, u32 seed) {
  fill(data, seed);
  fill(other, seed);
  insertion(other, N);
  if (how == 0) heap(data, N);
  else if (how == 1) quick(data, 0, N - 1);
  else insertion(data, N);
  return sorted(data) && same() ? data[0] ^ data[N - 1] : -1;
}
