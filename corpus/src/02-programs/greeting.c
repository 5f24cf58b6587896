/* Arguments, environment, clock and random bytes over WASI preview 1: prints only what does not depend on the world. */
#include "row.h"

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
struct span { const char *at; u32 length; };
WASI(args_sizes_get) i32 args_sizes_get(u32 *count, u32 *bytes);
WASI(args_get) i32 args_get(char **each, char *all);
WASI(environ_sizes_get) i32 environ_sizes_get(u32 *count, u32 *bytes);
WASI(environ_get) i32 environ_get(char **each, char *all);
WASI(clock_time_get) i32 clock_time_get(i32 clock, u64 precision, u64 *time);
WASI(random_get) i32 random_get(void *to, u32 length);
WASI(fd_write) i32 fd_write(i32 fd, const struct span *from, u32 count, u32 *done);

static char *each[32];
static char all[1024];

static KEEP u32 length(const char *s) { u32 n = 0; while (s[n]) n++; return n; }

/* One fd_write may take less than it is given, so it is repeated until all is out. */
static KEEP void put(const char *s) {
  struct span out = {s, length(s)};
  u32 done;
  while (out.length && fd_write(1, &out, 1, &done) == 0 && done) { out.at += done; out.length -= done; }
}

static KEEP void say(const char *a, const char *b) { put(a); put(b); put("\n"); }

static KEEP const char *variable(const char *name) {
  u32 count, bytes, n = length(name);
  if (environ_sizes_get(&count, &bytes) || count > 32 || bytes > sizeof all || environ_get(each, all)) return 0;
  for (u32 i = 0; i < count; i++) {
    u32 k = 0;
    while (k < n && each[i][k] == name[k]) k++;
    if (k == n && each[i][k] == '=') return each[i] + k + 1;
  }
  return 0;
}

EXPORT(_start) void start(void) {
  u32 count, bytes;
  u64 first = 0, second = 0;
  u8 noise[16] = {0};
  const char *word = variable("GREETING");
  static char greeting[64];
  u32 n = 0;
  for (; word && word[n] && n < sizeof greeting - 1; n++) greeting[n] = word[n];
  if (args_sizes_get(&count, &bytes) || count > 32 || bytes > sizeof all || args_get(each, all)) return;
  for (u32 i = 1; i < count; i++) say(n ? greeting : "Hello ", each[i]);
  if (count < 2) say("nobody to greet", "");
  say("clock ", clock_time_get(1, 0, &first) == 0 && clock_time_get(1, 0, &second) == 0 && second >= first ? "runs" : "stands");
  say("random ", random_get(noise, sizeof noise) == 0 ? "answers" : "fails");
}
