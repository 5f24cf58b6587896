// Rolls dice with random bytes and tells each: the component that player.c calls.
// build: roller

#include "component.h"

EXPORT("corpus:components/dice#roll") uint32_t roll(uint32_t count) {
  int32_t out = get_stdout();
  written_t result;
  list_t bytes;
  uint32_t sum = 0;
  get_random_bytes(count, &bytes);
  put("  rolled");
  for (uint32_t i = 0; i < bytes.length; i++) {
    uint32_t pips = bytes.data[i] % 6 + 1;
    put(pips == 1 ? " snake-eye" : pips == 6 ? " boxcar" : " ");
    if (pips != 1 && pips != 6) put_number(pips);
    sum += pips;
  }
  put("\n");
  blocking_write_and_flush(out, line, line_used, &result);
  line_used = 0;
  drop_output_stream(out);
  return sum;
}
