/* A state machine: a traffic light with a pedestrian button, a fault input and a night mode. */
#include "row.h"

enum state { RED, RED_AMBER, GREEN, AMBER, FLASHING };
enum event { TICK, BUTTON, FAULT, RESET, NIGHT };

static enum state state = RED;
static i32 in_state, waiting;

static KEEP void enter(enum state next) { state = next; in_state = 0; }

static KEEP void step(enum event e) {
  if (e == FAULT && state != FLASHING) { enter(FLASHING); return; }
  if (e == BUTTON && (state == GREEN || state == AMBER)) waiting = 1;
  if (e == RESET && state == FLASHING) { enter(RED); waiting = 0; return; }
  if (e == NIGHT && state == GREEN && !waiting) { enter(FLASHING); return; }
  if (e != TICK) return;
  in_state++;
  switch (state) {
    case RED: if (in_state >= 4 || (in_state >= 2 && !waiting)) { waiting = 0; enter(RED_AMBER); } break;
    case RED_AMBER: enter(GREEN); break;
    case GREEN: if (in_state >= 6 || (waiting && in_state >= 2)) enter(AMBER); break;
    case AMBER: if (in_state >= 1) enter(RED); break;
    case FLASHING: break;
  }
}

/* One event a digit, the last one first; the result has the states it went through, one a nibble. */
EXPORT(play) u64 play(u32 events) {
  u64 seen = 0;
  state = RED;
  in_state = waiting = 0;
  while (events) {
    step((enum event)(events % 10 % 5));
    seen = seen << 4 | (u64)(state + 1);
    events /= 10;
  }
  return seen;
}

ROW(0) u64 day(void) { return play(1000000000u); }
ROW(1) u64 pedestrian(void) { return play(1001001000u); }
ROW(2) u64 fault_and_reset(void) { return play(1003032000u); }
ROW(3) u64 night(void) { return play(1304000000u); }
