/* Long short-circuit chains whose conditions have side effects, so that the order of evaluation is visible. */
#include "row.h"

enum { OWNER = 1, ADMIN = 2, GUEST = 4, LOCKED = 8, EXPIRED = 16, AUDITED = 32, WEEKEND = 64 };

static u32 asked;   /* one bit for each question that was asked in this row */

static KEEP i32 has(u32 subject, u32 bit) {
  asked |= bit;
  return (subject & bit) != 0;
}

EXPORT(may_read) i32 may_read(u32 subject) {
  asked = 0;
  return !has(subject, LOCKED) && (has(subject, OWNER) || has(subject, ADMIN) || (has(subject, GUEST) && !has(subject, EXPIRED)));
}

EXPORT(may_write) i32 may_write(u32 subject) {
  asked = 0;
  return (has(subject, ADMIN) && has(subject, AUDITED)) ||
         (has(subject, OWNER) && !has(subject, LOCKED) && !has(subject, EXPIRED) && !has(subject, WEEKEND));
}

EXPORT(questions) u32 questions(void) { return asked; }
