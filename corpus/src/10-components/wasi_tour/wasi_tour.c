// A component that calls every function of wasi:cli and wasi:io, the clocks and the random numbers, and tells what it got.
// build: tour

#include "component.h"

#define CLI(interface) "wasi:cli/" interface "@0.2.0"
#define STREAMS "wasi:io/streams@0.2.0"
#define POLL "wasi:io/poll@0.2.0"
#define MONOTONIC "wasi:clocks/monotonic-clock@0.2.0"
#define WALL "wasi:clocks/wall-clock@0.2.0"
#define RANDOM(interface) "wasi:random/" interface "@0.2.0"

typedef struct {
  list_t key, value;
} variable_t;
typedef struct {
  variable_t *data;
  uint32_t length;
} variables_t;
typedef struct {
  list_t *data;
  uint32_t length;
} strings_t;
typedef struct {
  uint8_t is_some, unused[3];
  list_t text;
} maybe_text_t;
typedef struct {
  uint8_t is_some, unused[3];
  int32_t handle;
} maybe_handle_t;
typedef struct {
  uint8_t is_err, unused[3];
  union {
    list_t bytes;
    struct {
      uint8_t error, unused[3];
      int32_t handle;
    } err;
  } as;
} read_t;
typedef struct {
  uint64_t seconds;
  uint32_t nanoseconds;
} datetime_t;

IMPORT(CLI("environment"), "get-environment") void get_environment(variables_t *result);
IMPORT(CLI("environment"), "get-arguments") void get_arguments(strings_t *result);
IMPORT(CLI("environment"), "initial-cwd") void initial_cwd(maybe_text_t *result);
IMPORT(CLI("exit"), "exit") void exit_with_status(int32_t failed);
IMPORT(CLI("exit"), "exit-with-code") void exit_with_code(int32_t code);
IMPORT(CLI("stdin"), "get-stdin") int32_t get_stdin(void);
IMPORT(CLI("stderr"), "get-stderr") int32_t get_stderr(void);
IMPORT(CLI("terminal-input"), "[resource-drop]terminal-input") void drop_terminal_input(int32_t terminal);
IMPORT(CLI("terminal-output"), "[resource-drop]terminal-output") void drop_terminal_output(int32_t terminal);
IMPORT(CLI("terminal-stdin"), "get-terminal-stdin") void get_terminal_stdin(maybe_handle_t *result);
IMPORT(CLI("terminal-stdout"), "get-terminal-stdout") void get_terminal_stdout(maybe_handle_t *result);
IMPORT(CLI("terminal-stderr"), "get-terminal-stderr") void get_terminal_stderr(maybe_handle_t *result);

IMPORT("wasi:io/error@0.2.0", "[method]error.to-debug-string") void to_debug_string(int32_t error, list_t *result);
IMPORT("wasi:io/error@0.2.0", "[resource-drop]error") void drop_error(int32_t error);
IMPORT(POLL, "[method]pollable.ready") int32_t pollable_ready(int32_t pollable);
IMPORT(POLL, "[method]pollable.block") void pollable_block(int32_t pollable);
IMPORT(POLL, "poll") void poll(const int32_t *pollables, uint32_t count, list_t *result);
IMPORT(POLL, "[resource-drop]pollable") void drop_pollable(int32_t pollable);
IMPORT(STREAMS, "[method]input-stream.read") void stream_read(int32_t stream, uint64_t count, read_t *result);
IMPORT(STREAMS, "[method]input-stream.blocking-read") void blocking_read(int32_t stream, uint64_t count, read_t *result);
IMPORT(STREAMS, "[method]input-stream.skip") void stream_skip(int32_t stream, uint64_t count, counted_t *result);
IMPORT(STREAMS, "[method]input-stream.blocking-skip") void blocking_skip(int32_t stream, uint64_t count, counted_t *result);
IMPORT(STREAMS, "[method]input-stream.subscribe") int32_t input_subscribe(int32_t stream);
IMPORT(STREAMS, "[method]output-stream.check-write") void check_write(int32_t stream, counted_t *result);
IMPORT(STREAMS, "[method]output-stream.write") void stream_write(int32_t stream, const uint8_t *data, uint32_t length, written_t *result);
IMPORT(STREAMS, "[method]output-stream.flush") void stream_flush(int32_t stream, written_t *result);
IMPORT(STREAMS, "[method]output-stream.blocking-flush") void blocking_flush(int32_t stream, written_t *result);
IMPORT(STREAMS, "[method]output-stream.subscribe") int32_t output_subscribe(int32_t stream);
IMPORT(STREAMS, "[method]output-stream.write-zeroes") void write_zeroes(int32_t stream, uint64_t count, written_t *result);
IMPORT(STREAMS, "[method]output-stream.blocking-write-zeroes-and-flush")
void blocking_write_zeroes(int32_t stream, uint64_t count, written_t *result);
IMPORT(STREAMS, "[method]output-stream.splice") void splice(int32_t stream, int32_t from, uint64_t count, counted_t *result);
IMPORT(STREAMS, "[method]output-stream.blocking-splice")
void blocking_splice(int32_t stream, int32_t from, uint64_t count, counted_t *result);
IMPORT(STREAMS, "[resource-drop]input-stream") void drop_input_stream(int32_t stream);

IMPORT(MONOTONIC, "now") uint64_t monotonic_now(void);
IMPORT(MONOTONIC, "resolution") uint64_t monotonic_resolution(void);
IMPORT(MONOTONIC, "subscribe-instant") int32_t subscribe_instant(uint64_t when);
IMPORT(MONOTONIC, "subscribe-duration") int32_t subscribe_duration(uint64_t length);
IMPORT(WALL, "now") void wall_now(datetime_t *result);
IMPORT(WALL, "resolution") void wall_resolution(datetime_t *result);
IMPORT(RANDOM("random"), "get-random-u64") uint64_t get_random_u64(void);
IMPORT(RANDOM("insecure"), "get-insecure-random-bytes") void get_insecure_bytes(uint64_t count, list_t *result);
IMPORT(RANDOM("insecure"), "get-insecure-random-u64") uint64_t get_insecure_u64(void);
IMPORT(RANDOM("insecure-seed"), "insecure-seed") void insecure_seed(uint64_t result[2]);

static int32_t out, err, in;

// The line so far, by one call that blocks.
static void say(int32_t stream) {
  written_t result;
  put("\n");
  blocking_write_and_flush(stream, line, line_used, &result);
  if (result.is_err) __builtin_trap();
  line_used = 0;
}

// The line so far, as much at a time as is allowed, by calls that do not block.
static void say_in_parts(int32_t stream) {
  put("\n");
  for (uint32_t done = 0; done < line_used;) {
    counted_t permit;
    written_t result;
    check_write(stream, &permit);
    if (permit.is_err) __builtin_trap();
    uint32_t part = line_used - done;
    if (permit.as.count == 0) {
      int32_t ready = output_subscribe(stream);
      pollable_block(ready);
      drop_pollable(ready);
      continue;
    }
    if (part > permit.as.count) part = (uint32_t)permit.as.count;
    stream_write(stream, line + done, part, &result);
    if (result.is_err) __builtin_trap();
    done += part;
  }
  written_t result;
  stream_flush(stream, &result);
  blocking_flush(stream, &result);
  line_used = 0;
}

static int is_secret(const list_t *key) {
  return key->length >= 5 && key->data[0] == 'T' && key->data[1] == 'O' && key->data[2] == 'K' && key->data[3] == 'E' &&
         key->data[4] == 'N';
}

static int equal(const list_t *text, const char *other) {
  uint32_t at = 0;
  while (at < text->length && other[at] != 0 && text->data[at] == (uint8_t)other[at]) at++;
  return at == text->length && other[at] == 0;
}

static int is_failing;

static void environment(void) {
  strings_t arguments;
  variables_t variables;
  maybe_text_t folder;
  get_arguments(&arguments);
  for (uint32_t i = 0; i < arguments.length; i++) {
    put(i == 0 ? "program " : "argument ");
    if (i != 0 && equal(arguments.data + i, "--fail")) is_failing = 1;
    put_bytes(arguments.data[i].data, arguments.data[i].length);
    say(out);
  }
  get_environment(&variables);
  for (uint32_t i = 0; i < variables.length; i++) {
    const variable_t *each = variables.data + i;
    put_bytes(each->key.data, each->key.length);
    put(" is ");
    if (is_secret(&each->key))
      put("a secret");
    else
      put_bytes(each->value.data, each->value.length);
    say_in_parts(out);
  }
  initial_cwd(&folder);
  put(folder.is_some ? "there is a working folder" : "there is no working folder");
  say(out);
}

static void terminals(void) {
  maybe_handle_t terminal;
  uint32_t found = 0;
  get_terminal_stdin(&terminal);
  if (terminal.is_some) {
    found++;
    drop_terminal_input(terminal.handle);
  }
  get_terminal_stdout(&terminal);
  if (terminal.is_some) {
    found++;
    drop_terminal_output(terminal.handle);
  }
  get_terminal_stderr(&terminal);
  if (terminal.is_some) {
    found++;
    drop_terminal_output(terminal.handle);
  }
  put("terminals: ");
  put_number(found);
  say(err);
}

static void input(void) {
  counted_t skipped;
  int32_t ready[2] = {input_subscribe(in), output_subscribe(out)};
  list_t which;
  poll(ready, 2, &which);
  put("ready: ");
  for (uint32_t i = 0; i < which.length; i++) put_number(((const uint32_t *)which.data)[i]);
  put(pollable_ready(ready[0]) ? ", input is" : ", input is not");
  say(out);
  drop_pollable(ready[0]);
  drop_pollable(ready[1]);

  stream_skip(in, 2, &skipped);
  blocking_skip(in, 1, &skipped);
  splice(out, in, 4, &skipped);
  blocking_splice(out, in, 1, &skipped);
  if (skipped.is_err) {
    put("input ended early");
    say(err);
  }
  uint64_t bytes = 0, lines = 0;
  for (uint32_t turn = 0;; turn++) {
    read_t part;
    if (turn % 2 == 0)
      stream_read(in, 7, &part);
    else
      blocking_read(in, 64, &part);
    if (part.is_err) {
      put(part.as.err.error == 1 ? "input closed after " : "input failed after ");
      break;
    }
    for (uint32_t i = 0; i < part.as.bytes.length; i++) lines += part.as.bytes.data[i] == '\n';
    bytes += part.as.bytes.length;
  }
  put_number(bytes);
  put(" bytes, ");
  put_number(lines);
  put(" lines");
  say(out);
}

// A blocking write takes at most 4096 bytes; for more an engine may trap, so this is only done when it is asked for.
static void failure(void) {
  static const uint8_t large[5000] = {1};
  written_t result;
  write_zeroes(err, 3, &result);
  blocking_write_zeroes(err, 2, &result);
  blocking_write_and_flush(err, large, is_failing ? sizeof large : 1, &result);
  if (result.is_err && result.payload % 256 == 0) {
    list_t text;
    to_debug_string((int32_t)result.handle, &text);
    put_bytes(text.data, text.length);
    drop_error((int32_t)result.handle);
  } else {
    put("no error");
  }
  say(err);
}

static void clocks(void) {
  datetime_t first, second, step;
  uint64_t begin = monotonic_now();
  int32_t later = subscribe_duration(monotonic_resolution());
  pollable_block(later);
  drop_pollable(later);
  later = subscribe_instant(begin);
  pollable_block(later);
  drop_pollable(later);
  put(monotonic_now() > begin ? "time passes" : "time stands still");
  wall_now(&first);
  wall_resolution(&step);
  wall_now(&second);
  if (second.seconds > first.seconds || (second.seconds == first.seconds && second.nanoseconds > first.nanoseconds))
    put(", also on the wall, since ");
  else
    put(", not on the wall, since ");
  put_number(first.seconds);
  put(" by ");
  put_number(step.nanoseconds);
  say(out);
}

static void chance(void) {
  list_t bytes, more;
  uint64_t seed[2];
  get_random_bytes(12, &bytes);
  get_insecure_bytes(0, &more);
  get_insecure_bytes(3, &more);
  insecure_seed(seed);
  for (uint32_t i = 0; i < bytes.length; i++) {
    put_number(bytes.data[i]);
    put(" ");
  }
  put_number(more.length);
  put(" ");
  put_number(get_random_u64());
  put(" ");
  put_number(get_insecure_u64());
  put(seed[0] == seed[1] ? " same seeds" : " two seeds");
  say(out);
}

EXPORT("wasi:cli/run@0.2.0#run") int32_t run(void) {
  out = get_stdout();
  err = get_stderr();
  in = get_stdin();
  environment();
  terminals();
  input();
  failure();
  clocks();
  chance();
  drop_input_stream(in);
  drop_output_stream(out);
  drop_output_stream(err);
  return 0;
}

EXPORT("finish") void finish(int32_t failed) {
  exit_with_status(failed);
}

EXPORT("leave") void leave(int32_t code) {
  exit_with_code(code);
}
