/* A JSON checker over WASI preview 1 with wasi-libc: reads stdin to its end, tells where it stops being JSON. */
// build: wasi
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char text[4096];
static const char *at;
static int depth, values;

static int value(void);

static void spaces(void) { while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++; }

static int hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static int string(void) {
  if (*at != '"') return 0;
  for (at++; *at != '"'; at++) {
    if ((unsigned char)*at < 0x20) return 0;
    if (*at != '\\') continue;
    at++;
    if (*at == 'u') {
      for (int i = 0; i < 4; i++) if (!hex(*++at)) return 0;
    } else if (*at == 0 || !strchr("\"\\/bfnrt", *at)) return 0;
  }
  at++;
  return 1;
}

static int number(void) {
  if (*at == '-') at++;
  if (*at < '0' || *at > '9') return 0;
  if (*at == '0') at++;
  else while (*at >= '0' && *at <= '9') at++;
  if (*at == '.') {
    at++;
    if (*at < '0' || *at > '9') return 0;
    while (*at >= '0' && *at <= '9') at++;
  }
  if (*at == 'e' || *at == 'E') {
    at++;
    if (*at == '+' || *at == '-') at++;
    if (*at < '0' || *at > '9') return 0;
    while (*at >= '0' && *at <= '9') at++;
  }
  return 1;
}

static int members(char end, int keys) {
  if (++depth > 32) return 0;
  at++;
  spaces();
  if (*at == end) { at++; depth--; return 1; }
  for (;;) {
    spaces();
    if (keys) {
      if (!string()) return 0;
      spaces();
      if (*at != ':') return 0;
      at++;
    }
    if (!value()) return 0;
    spaces();
    if (*at == end) { at++; depth--; return 1; }
    if (*at != ',') return 0;
    at++;
  }
}

static int word(const char *w) {
  size_t n = strlen(w);
  if (strncmp(at, w, n) != 0) return 0;
  at += n;
  return 1;
}

static int value(void) {
  spaces();
  values++;
  switch (*at) {
    case '{': return members('}', 1);
    case '[': return members(']', 0);
    case '"': return string();
    case 't': return word("true");
    case 'f': return word("false");
    case 'n': return word("null");
    default: return number();
  }
}

int main(void) {
  size_t length = fread(text, 1, sizeof text - 1, stdin);
  at = text;
  int ok = value();
  spaces();
  if (ok && at == text + length) {
    printf("valid, %d values\n", values);
    return 0;
  }
  printf("stops at byte %d\n", (int)(at - text));
  return 1;
}
