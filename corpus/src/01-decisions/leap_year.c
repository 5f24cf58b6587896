/* The smallest decision with full MC/DC: three conditions, four rows. */
#include "row.h"

EXPORT(is_leap) i32 is_leap(i32 year) {
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

ROW(0) i32 common_year(void) { return is_leap(2023); }
ROW(1) i32 leap_by_four(void) { return is_leap(2024); }
ROW(2) i32 century(void) { return is_leap(1900); }
ROW(3) i32 leap_century(void) { return is_leap(2000); }
