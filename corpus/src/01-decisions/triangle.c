/* Kinds of triangle: decisions after decisions, each reached only by what the one before let through. */
#include "row.h"

enum kind { INVALID, EQUILATERAL, ISOSCELES, SCALENE, RIGHT };

EXPORT(classify) i32 classify(i32 a, i32 b, i32 c) {
  if (a <= 0 || b <= 0 || c <= 0) return INVALID;
  if (a >= b + c || b >= a + c || c >= a + b) return INVALID;
  if (a == b && b == c) return EQUILATERAL;
  if (a == b || b == c || a == c) return ISOSCELES;
  if (a * a + b * b == c * c || b * b + c * c == a * a || a * a + c * c == b * b) return RIGHT;
  return SCALENE;
}
