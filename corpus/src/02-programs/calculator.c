/* An expression parser over WASI preview 1, without a C library: lines from stdin, results to stdout, exit code by outcome. */
#include "row.h"

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
struct span { const char *at; u32 length; };
WASI(fd_read) i32 fd_read(i32 fd, const struct span *to, u32 count, u32 *done);
WASI(fd_write) i32 fd_write(i32 fd, const struct span *from, u32 count, u32 *done);
WASI(proc_exit) _Noreturn void proc_exit(i32 code);

static char text[1024];
static const char *at;
static i32 failed;

static KEEP i64 sum(void);

static KEEP void spaces(void) { while (*at == ' ' || *at == '\t') at++; }

static KEEP i64 atom(void) {
  spaces();
  if (*at == '-') { at++; return -atom(); }
  if (*at == '(') {
    at++;
    i64 v = sum();
    spaces();
    if (*at != ')') { failed = 1; return 0; }
    at++;
    return v;
  }
  if (*at < '0' || *at > '9') { failed = 1; return 0; }
  i64 v = 0;
  while (*at >= '0' && *at <= '9') v = v * 10 + (*at++ - '0');
  return v;
}

static KEEP i64 product(void) {
  i64 v = atom();
  for (;;) {
    spaces();
    char op = *at;
    if (failed || (op != '*' && op != '/' && op != '%')) return v;
    at++;
    i64 right = atom();
    if (op == '*') v *= right;
    else if (right == 0) { failed = 2; return 0; }
    else if (op == '/') v /= right;
    else v %= right;
  }
}

static KEEP i64 sum(void) {
  i64 v = product();
  for (;;) {
    spaces();
    if (failed || (*at != '+' && *at != '-')) return v;
    if (*at++ == '+') v += product();
    else v -= product();
  }
}

static KEEP void say(const char *s, u32 n) {
  struct span out = {s, n};
  u32 done;
  if (fd_write(1, &out, 1, &done) != 0 || done != n) proc_exit(9);
}

static KEEP void say_number(i64 v) {
  char digits[24];
  u32 n = sizeof digits;
  u64 u = v < 0 ? -(u64)v : (u64)v;
  digits[--n] = '\n';
  do digits[--n] = (char)('0' + u % 10); while (u /= 10);
  if (v < 0) digits[--n] = '-';
  say(digits + n, sizeof digits - n);
}

EXPORT(_start) void start(void) {
  u32 length = 0, got;
  for (;;) {
    struct span in = {text + length, sizeof text - 1 - length};
    if (in.length == 0 || fd_read(0, &in, 1, &got) != 0 || got == 0) break;
    length += got;
  }
  i32 errors = 0;
  for (at = text; *at;) {
    failed = 0;
    i64 v = sum();
    spaces();
    if (!failed && (*at == '\n' || *at == 0)) say_number(v);
    else { errors++; if (failed == 2) say("division by zero\n", 17); else say("syntax error\n", 13); }
    while (*at && *at != '\n') at++;
    if (*at) at++;
  }
  if (errors) proc_exit(errors);
}
