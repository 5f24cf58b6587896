/* What every freestanding case needs: names for exports, and calls that the compiler must not fold away. */
#ifndef ROW_H
#define ROW_H
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
#define EXPORT(name) __attribute__((export_name(#name), noinline))
#define ROW(n) EXPORT(run_row_##n)
#define KEEP __attribute__((noinline))
#endif
