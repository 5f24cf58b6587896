/* A switch with fall-through beside a decision, and a date check that uses both. */
#include "row.h"

EXPORT(days) i32 days(i32 year, i32 month) {
  switch (month) {
    case 1: case 3: case 5: case 7: case 8: case 10: case 12: return 31;
    case 4: case 6: case 9: case 11: return 30;
    case 2: return ((year % 4 == 0 && year % 100 != 0) || year % 400 == 0) ? 29 : 28;
    default: return 0;
  }
}

EXPORT(is_date) i32 is_date(i32 year, i32 month, i32 day) {
  return year >= 1 && year <= 9999 && month >= 1 && month <= 12 && day >= 1 && day <= days(year, month);
}

EXPORT(day_of_year) i32 day_of_year(i32 year, i32 month, i32 day) {
  if (!is_date(year, month, day)) return -1;
  i32 n = day;
  for (i32 m = 1; m < month; m++) n += days(year, m);
  return n;
}
