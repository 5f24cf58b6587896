/* A dense switch becomes br_table: a stack machine of eleven instructions, run over short programs. */
#include "row.h"

enum op { PUSH, ADD, SUB, MUL, DIV, DUP, SWAP, DROP, JUMP_IF, NEGATE, HALT };

static const u8 jumping[] = {PUSH, 1, PUSH, 5, DUP, PUSH, 0, SUB, JUMP_IF, 12, DROP, HALT,
                               SWAP, DROP, HALT};
static const u8 mixed[] = {PUSH, 7, PUSH, 3, SUB, DUP, MUL, PUSH, 5, DIV, NEGATE, HALT};
static const u8 underflow[] = {PUSH, 1, ADD, HALT};
static const u8 by_zero[] = {PUSH, 9, PUSH, 0, DIV, HALT};
static const u8 unknown[] = {PUSH, 9, 200, HALT};
static const u8 *const programs[] = {jumping, mixed, underflow, by_zero, unknown};

EXPORT(execute) i32 execute(u32 which) {
  if (which >= sizeof programs / sizeof *programs) return -1000;
  const u8 *code = programs[which];
  i32 stack[16];
  u32 depth = 0;
  for (u32 at = 0;;) {
    u8 op = code[at++];
    i32 a = depth ? stack[depth - 1] : 0, b = depth > 1 ? stack[depth - 2] : 0;
    if (depth < 2 && ((op >= ADD && op <= DIV) || op == SWAP)) return -1001;
    switch (op) {
      case PUSH: if (depth == 16) return -1002; stack[depth++] = code[at++]; break;
      case ADD: stack[--depth - 1] = b + a; break;
      case SUB: stack[--depth - 1] = b - a; break;
      case MUL: stack[--depth - 1] = b * a; break;
      case DIV: if (a == 0) return -1003; stack[--depth - 1] = b / a; break;
      case DUP: if (depth == 16) return -1002; stack[depth++] = a; break;
      case SWAP: stack[depth - 1] = b; stack[depth - 2] = a; break;
      case DROP: if (depth) depth--; break;
      case JUMP_IF: if (depth) depth--; if (a) at = code[at]; else at++; break;
      case NEGATE: if (depth) stack[depth - 1] = -a; break;
      case HALT: return a;
      default: return -1004;
    }
  }
}
