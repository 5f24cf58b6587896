// Asks another component to roll dice; both print and ask for random bytes, each with its own memory and allocator.
// build: player

#include "component.h"

IMPORT("corpus:components/dice", "roll") uint32_t roll(uint32_t count);

static void say(int32_t stream) {
  written_t result;
  put("\n");
  blocking_write_and_flush(stream, line, line_used, &result);
  if (result.is_err) __builtin_trap();
  line_used = 0;
}

EXPORT("wasi:cli/run@0.2.0#run") int32_t run(void) {
  int32_t out = get_stdout();
  list_t bytes;
  get_random_bytes(4, &bytes);
  uint32_t wins = 0;
  for (uint32_t i = 0; i < bytes.length; i++) {
    uint32_t mine = bytes.data[i] % 11 + 2, theirs = roll(2);
    put("I have ");
    put_number(mine);
    put(", they have ");
    put_number(theirs);
    say(out);
    if (mine > theirs || (mine == theirs && i % 2 == 0)) wins++;
  }
  put(wins > 2 ? "I win" : wins == 2 ? "nobody wins" : "they win");
  say(out);
  drop_output_stream(out);
  return 0;
}
