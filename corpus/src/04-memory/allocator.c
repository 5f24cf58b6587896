/* A first-fit allocator over memory.grow: splits, joins, and answers null where the memory cannot grow. */
#include "row.h"

struct block { u32 size; struct block *next; };
static struct block *list;
static u32 top;
extern u8 __heap_base;

static KEEP struct block *extend(u32 size) {
  if (!top) top = ((u32)&__heap_base + 15) & ~15u;
  u32 end = top + size;
  u32 have = __builtin_wasm_memory_size(0) << 16;
  if (end < top) return 0;
  if (end > have && __builtin_wasm_memory_grow(0, (end - have + 65535) >> 16) == (u32)-1) return 0;
  struct block *b = (struct block *)top;
  top = end;
  b->size = size;
  return b;
}

static KEEP void *allocate(u32 n) {
  u32 size = (n + sizeof(struct block) + 15) & ~15u;
  for (struct block **at = &list; *at; at = &(*at)->next) {
    struct block *b = *at;
    if (b->size < size) continue;
    if (b->size - size >= 32) {
      struct block *rest = (struct block *)((u8 *)b + size);
      rest->size = b->size - size;
      rest->next = b->next;
      b->size = size;
      *at = rest;
    } else {
      *at = b->next;
    }
    return b + 1;
  }
  struct block *b = extend(size);
  return b ? b + 1 : 0;
}

static KEEP void release(void *p) {
  if (!p) return;
  struct block *b = (struct block *)p - 1, **at = &list;
  while (*at && *at < b) at = &(*at)->next;
  b->next = *at;
  *at = b;
  if (b->next && (u8 *)b + b->size == (u8 *)b->next) {
    b->size += b->next->size;
    b->next = b->next->next;
  }
}

/* Allocates and frees by a small random generator; the result mixes what was answered. */
EXPORT(churn) u32 churn(u32 seed, u32 turns) {
  void *held[8] = {0};
  u32 mix = 0;
  while (turns--) {
    seed = seed * 1103515245u + 12345u;
    u32 slot = seed >> 16 & 7, size = seed >> 19 & 8191;
    release(held[slot]);
    u8 *p = held[slot] = (seed >> 29) ? allocate(size) : 0;
    if (p) { p[0] = (u8)turns; p[size ? size - 1 : 0] = (u8)slot; }
    mix = mix * 31 + (u32)p;
  }
  for (u32 i = 0; i < 8; i++) release(held[i]);
  return mix;
}

EXPORT(allocate_or_not) i32 allocate_or_not(u32 n) {
  void *p = allocate(n);
  i32 got = p != 0;
  release(p);
  return got;
}
