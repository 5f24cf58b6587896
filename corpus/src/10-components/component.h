// What the components of this folder share: imports by interface, lists and strings as the canonical ABI passes them, an
// allocator that is never asked to free, and text output.

#include <stddef.h>
#include <stdint.h>

#define IMPORT(interface, function) __attribute__((import_module(interface), import_name(function)))
#define EXPORT(function) __attribute__((export_name(function)))

typedef struct {
  uint8_t *data;
  uint32_t length;
} list_t;

// result<_, stream-error>, and result<u64, stream-error> with its wider payload
typedef struct {
  uint8_t is_err, error, unused[2];
  uint32_t payload;
  uint32_t handle;
} written_t;
typedef struct {
  uint8_t is_err, unused[7];
  union {
    uint64_t count;
    struct {
      uint8_t error, unused[3];
      uint32_t handle;
    } err;
  } as;
} counted_t;

IMPORT("wasi:cli/stdout@0.2.0", "get-stdout") int32_t get_stdout(void);
IMPORT("wasi:io/streams@0.2.0", "[method]output-stream.blocking-write-and-flush")
void blocking_write_and_flush(int32_t stream, const uint8_t *data, uint32_t length, void *result);
IMPORT("wasi:io/streams@0.2.0", "[resource-drop]output-stream") void drop_output_stream(int32_t stream);
IMPORT("wasi:random/random@0.2.0", "get-random-bytes") void get_random_bytes(uint64_t count, list_t *result);

static uint8_t heap[16384];
static uint32_t heap_used;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, uint32_t old_size, uint32_t align, uint32_t size) {
  heap_used = (heap_used + align - 1) & ~(align - 1);
  uint8_t *found = heap + heap_used;
  if (size > sizeof heap - heap_used) __builtin_trap();
  heap_used += size;
  for (uint32_t i = 0; i < old_size && i < size; i++) found[i] = ((uint8_t *)old)[i];
  return found;
}

static uint8_t line[1024];
static uint32_t line_used;

static void put_bytes(const uint8_t *data, uint32_t length) {
  for (uint32_t i = 0; i < length && line_used < sizeof line; i++) line[line_used++] = data[i];
}

static void put(const char *text) {
  uint32_t length = 0;
  while (text[length] != 0) length++;
  put_bytes((const uint8_t *)text, length);
}

static void put_number(uint64_t value) {
  uint8_t digits[20];
  uint32_t at = sizeof digits;
  do {
    digits[--at] = (uint8_t)('0' + value % 10);
    value /= 10;
  } while (value != 0);
  put_bytes(digits + at, sizeof digits - at);
}
