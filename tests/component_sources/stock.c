// A component in C, by the canonical ABI: items are counted up to a limit, and the name of the heaviest is returned.
typedef unsigned int u32;
typedef struct { const char *name; u32 length; unsigned short count; double weight; unsigned char marks; } item;
typedef struct { unsigned char case_; union { unsigned char reason; struct { double weight; const char *name; u32 length; } total; }; } result;
typedef struct { unsigned char *marks; u32 length; } list;

static char heap[1 << 16] __attribute__((aligned(16)));
static u32 used;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, u32 size, u32 alignment, u32 wanted) {
  char *place = heap + ((used + alignment - 1) & -alignment);
  used = (u32)(place - heap) + wanted;
  for (u32 at = 0; at < size && at < wanted; at++) place[at] = ((char *)old)[at];
  return place;
}

__attribute__((export_name("total"))) result *total(const item *items, u32 length, u32 limited, u32 limit) {
  static result found;
  u32 count = 0;
  const item *heaviest = items;
  double weight = 0;
  found.case_ = 1;
  found.reason = 0;
  if (length == 0) return &found;
  for (u32 at = 0; at < length; at++) {
    count += items[at].count;
    if (items[at].weight > heaviest->weight) heaviest = items + at;
    if (!(items[at].marks & 4)) weight += items[at].weight * items[at].count;
  }
  found.reason = 1;
  if (limited && count > limit) return &found;
  found.case_ = 0;
  found.total.weight = weight;
  found.total.name = heaviest->name;
  found.total.length = heaviest->length;
  return &found;
}

__attribute__((export_name("marked"))) list *marked(const item *items, u32 length) {
  static list found;
  found.marks = cabi_realloc(0, 0, 1, length);
  found.length = 0;
  for (u32 at = 0; at < length; at++)
    if (items[at].marks) found.marks[found.length++] = items[at].marks;
  return &found;
}

// Called after a result was read: the arguments and the list are freed.
__attribute__((export_name("cabi_post_marked"))) void marked_done(list *found) { used = 0; found->length = 0; }
