"""Every instruction of WebAssembly 3.0 in one table: opcode, immediates, operand and result types.

Source: core specification 3.0, 5.4 (instructions) and the index of instructions in its appendix; for other instructions, the
proposals threads, wide-arithmetic and legacy exception handling. The format of a row is

    opcode  name  immediates  : operands -> results

Opcodes are hexadecimal. Without a ``:`` the typing is contextual (polymorphic, or dependent on a type, local, table...).
`memarg:4` is a memarg whose natural alignment is 4 bytes. The names `select_t`, `ref.test_null` and `ref.cast_null` denote the
second opcodes of `select`, `ref.test` and `ref.cast`; all other names are the specification's. Some types stand for the
index type of a memory or table in the immediates: `addr` (of the first), `addr2` (of the second), `addrmin` (i32 if either
is i32: the length of a copy).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from diffcheck.wasm.leb import u

END: Final = b"\x0b"
REF_FUNC: Final = b"\xd2"

_CORE = """
00  unreachable
01  nop                                      : ->
02  block                 blocktype
03  loop                  blocktype
04  if                    blocktype
05  else
08  throw                 tagidx
0a  throw_ref
0b  end
0c  br                    labelidx
0d  br_if                 labelidx
0e  br_table              labels
0f  return
10  call                  funcidx
11  call_indirect         typeidx tableidx
12  return_call           funcidx
13  return_call_indirect  typeidx tableidx
14  call_ref              typeidx
15  return_call_ref       typeidx
1a  drop
1b  select
1c  select_t              valtypes
1f  try_table             blocktype catches
20  local.get             localidx
21  local.set             localidx
22  local.tee             localidx
23  global.get            globalidx
24  global.set            globalidx
25  table.get             tableidx
26  table.set             tableidx
28  i32.load              memarg:4           : addr -> i32
29  i64.load              memarg:8           : addr -> i64
2a  f32.load              memarg:4           : addr -> f32
2b  f64.load              memarg:8           : addr -> f64
2c  i32.load8_s           memarg:1           : addr -> i32
2d  i32.load8_u           memarg:1           : addr -> i32
2e  i32.load16_s          memarg:2           : addr -> i32
2f  i32.load16_u          memarg:2           : addr -> i32
30  i64.load8_s           memarg:1           : addr -> i64
31  i64.load8_u           memarg:1           : addr -> i64
32  i64.load16_s          memarg:2           : addr -> i64
33  i64.load16_u          memarg:2           : addr -> i64
34  i64.load32_s          memarg:4           : addr -> i64
35  i64.load32_u          memarg:4           : addr -> i64
36  i32.store             memarg:4           : addr i32 ->
37  i64.store             memarg:8           : addr i64 ->
38  f32.store             memarg:4           : addr f32 ->
39  f64.store             memarg:8           : addr f64 ->
3a  i32.store8            memarg:1           : addr i32 ->
3b  i32.store16           memarg:2           : addr i32 ->
3c  i64.store8            memarg:1           : addr i64 ->
3d  i64.store16           memarg:2           : addr i64 ->
3e  i64.store32           memarg:4           : addr i64 ->
3f  memory.size           memidx             : -> addr
40  memory.grow           memidx             : addr -> addr
41  i32.const             i32                : -> i32
42  i64.const             i64                : -> i64
43  f32.const             f32                : -> f32
44  f64.const             f64                : -> f64
45  i32.eqz                                  : i32 -> i32
46  i32.eq                                   : i32 i32 -> i32
47  i32.ne                                   : i32 i32 -> i32
48  i32.lt_s                                 : i32 i32 -> i32
49  i32.lt_u                                 : i32 i32 -> i32
4a  i32.gt_s                                 : i32 i32 -> i32
4b  i32.gt_u                                 : i32 i32 -> i32
4c  i32.le_s                                 : i32 i32 -> i32
4d  i32.le_u                                 : i32 i32 -> i32
4e  i32.ge_s                                 : i32 i32 -> i32
4f  i32.ge_u                                 : i32 i32 -> i32
50  i64.eqz                                  : i64 -> i32
51  i64.eq                                   : i64 i64 -> i32
52  i64.ne                                   : i64 i64 -> i32
53  i64.lt_s                                 : i64 i64 -> i32
54  i64.lt_u                                 : i64 i64 -> i32
55  i64.gt_s                                 : i64 i64 -> i32
56  i64.gt_u                                 : i64 i64 -> i32
57  i64.le_s                                 : i64 i64 -> i32
58  i64.le_u                                 : i64 i64 -> i32
59  i64.ge_s                                 : i64 i64 -> i32
5a  i64.ge_u                                 : i64 i64 -> i32
5b  f32.eq                                   : f32 f32 -> i32
5c  f32.ne                                   : f32 f32 -> i32
5d  f32.lt                                   : f32 f32 -> i32
5e  f32.gt                                   : f32 f32 -> i32
5f  f32.le                                   : f32 f32 -> i32
60  f32.ge                                   : f32 f32 -> i32
61  f64.eq                                   : f64 f64 -> i32
62  f64.ne                                   : f64 f64 -> i32
63  f64.lt                                   : f64 f64 -> i32
64  f64.gt                                   : f64 f64 -> i32
65  f64.le                                   : f64 f64 -> i32
66  f64.ge                                   : f64 f64 -> i32
67  i32.clz                                  : i32 -> i32
68  i32.ctz                                  : i32 -> i32
69  i32.popcnt                               : i32 -> i32
6a  i32.add                                  : i32 i32 -> i32
6b  i32.sub                                  : i32 i32 -> i32
6c  i32.mul                                  : i32 i32 -> i32
6d  i32.div_s                                : i32 i32 -> i32
6e  i32.div_u                                : i32 i32 -> i32
6f  i32.rem_s                                : i32 i32 -> i32
70  i32.rem_u                                : i32 i32 -> i32
71  i32.and                                  : i32 i32 -> i32
72  i32.or                                   : i32 i32 -> i32
73  i32.xor                                  : i32 i32 -> i32
74  i32.shl                                  : i32 i32 -> i32
75  i32.shr_s                                : i32 i32 -> i32
76  i32.shr_u                                : i32 i32 -> i32
77  i32.rotl                                 : i32 i32 -> i32
78  i32.rotr                                 : i32 i32 -> i32
79  i64.clz                                  : i64 -> i64
7a  i64.ctz                                  : i64 -> i64
7b  i64.popcnt                               : i64 -> i64
7c  i64.add                                  : i64 i64 -> i64
7d  i64.sub                                  : i64 i64 -> i64
7e  i64.mul                                  : i64 i64 -> i64
7f  i64.div_s                                : i64 i64 -> i64
80  i64.div_u                                : i64 i64 -> i64
81  i64.rem_s                                : i64 i64 -> i64
82  i64.rem_u                                : i64 i64 -> i64
83  i64.and                                  : i64 i64 -> i64
84  i64.or                                   : i64 i64 -> i64
85  i64.xor                                  : i64 i64 -> i64
86  i64.shl                                  : i64 i64 -> i64
87  i64.shr_s                                : i64 i64 -> i64
88  i64.shr_u                                : i64 i64 -> i64
89  i64.rotl                                 : i64 i64 -> i64
8a  i64.rotr                                 : i64 i64 -> i64
8b  f32.abs                                  : f32 -> f32
8c  f32.neg                                  : f32 -> f32
8d  f32.ceil                                 : f32 -> f32
8e  f32.floor                                : f32 -> f32
8f  f32.trunc                                : f32 -> f32
90  f32.nearest                              : f32 -> f32
91  f32.sqrt                                 : f32 -> f32
92  f32.add                                  : f32 f32 -> f32
93  f32.sub                                  : f32 f32 -> f32
94  f32.mul                                  : f32 f32 -> f32
95  f32.div                                  : f32 f32 -> f32
96  f32.min                                  : f32 f32 -> f32
97  f32.max                                  : f32 f32 -> f32
98  f32.copysign                             : f32 f32 -> f32
99  f64.abs                                  : f64 -> f64
9a  f64.neg                                  : f64 -> f64
9b  f64.ceil                                 : f64 -> f64
9c  f64.floor                                : f64 -> f64
9d  f64.trunc                                : f64 -> f64
9e  f64.nearest                              : f64 -> f64
9f  f64.sqrt                                 : f64 -> f64
a0  f64.add                                  : f64 f64 -> f64
a1  f64.sub                                  : f64 f64 -> f64
a2  f64.mul                                  : f64 f64 -> f64
a3  f64.div                                  : f64 f64 -> f64
a4  f64.min                                  : f64 f64 -> f64
a5  f64.max                                  : f64 f64 -> f64
a6  f64.copysign                             : f64 f64 -> f64
a7  i32.wrap_i64                             : i64 -> i32
a8  i32.trunc_f32_s                          : f32 -> i32
a9  i32.trunc_f32_u                          : f32 -> i32
aa  i32.trunc_f64_s                          : f64 -> i32
ab  i32.trunc_f64_u                          : f64 -> i32
ac  i64.extend_i32_s                         : i32 -> i64
ad  i64.extend_i32_u                         : i32 -> i64
ae  i64.trunc_f32_s                          : f32 -> i64
af  i64.trunc_f32_u                          : f32 -> i64
b0  i64.trunc_f64_s                          : f64 -> i64
b1  i64.trunc_f64_u                          : f64 -> i64
b2  f32.convert_i32_s                        : i32 -> f32
b3  f32.convert_i32_u                        : i32 -> f32
b4  f32.convert_i64_s                        : i64 -> f32
b5  f32.convert_i64_u                        : i64 -> f32
b6  f32.demote_f64                           : f64 -> f32
b7  f64.convert_i32_s                        : i32 -> f64
b8  f64.convert_i32_u                        : i32 -> f64
b9  f64.convert_i64_s                        : i64 -> f64
ba  f64.convert_i64_u                        : i64 -> f64
bb  f64.promote_f32                          : f32 -> f64
bc  i32.reinterpret_f32                      : f32 -> i32
bd  i64.reinterpret_f64                      : f64 -> i64
be  f32.reinterpret_i32                      : i32 -> f32
bf  f64.reinterpret_i64                      : i64 -> f64
c0  i32.extend8_s                            : i32 -> i32
c1  i32.extend16_s                           : i32 -> i32
c2  i64.extend8_s                            : i64 -> i64
c3  i64.extend16_s                           : i64 -> i64
c4  i64.extend32_s                           : i64 -> i64
d0  ref.null              heaptype
d1  ref.is_null
d2  ref.func              funcidx
d3  ref.eq                                   : eqref eqref -> i32
d4  ref.as_non_null
d5  br_on_null            labelidx
d6  br_on_non_null        labelidx
"""

_LEGACY_EXCEPTIONS = """
06  try        blocktype
07  catch      tagidx
09  rethrow    labelidx
18  delegate   labelidx
19  catch_all
"""

_GC = """
00  struct.new          typeidx
01  struct.new_default  typeidx
02  struct.get          typeidx fieldidx
03  struct.get_s        typeidx fieldidx
04  struct.get_u        typeidx fieldidx
05  struct.set          typeidx fieldidx
06  array.new           typeidx
07  array.new_default   typeidx
08  array.new_fixed     typeidx u32
09  array.new_data      typeidx dataidx
0a  array.new_elem      typeidx elemidx
0b  array.get           typeidx
0c  array.get_s         typeidx
0d  array.get_u         typeidx
0e  array.set           typeidx
0f  array.len                                                 : arrayref -> i32
10  array.fill          typeidx
11  array.copy          typeidx typeidx
12  array.init_data     typeidx dataidx
13  array.init_elem     typeidx elemidx
14  ref.test            heaptype
15  ref.test_null       heaptype
16  ref.cast            heaptype
17  ref.cast_null       heaptype
18  br_on_cast          castflags labelidx heaptype heaptype
19  br_on_cast_fail     castflags labelidx heaptype heaptype
1a  any.convert_extern
1b  extern.convert_any
1c  ref.i31                                                   : i32 -> (ref i31)
1d  i31.get_s                                                 : i31ref -> i32
1e  i31.get_u                                                 : i31ref -> i32
"""

_MISC = """
00  i32.trunc_sat_f32_s                     : f32 -> i32
01  i32.trunc_sat_f32_u                     : f32 -> i32
02  i32.trunc_sat_f64_s                     : f64 -> i32
03  i32.trunc_sat_f64_u                     : f64 -> i32
04  i64.trunc_sat_f32_s                     : f32 -> i64
05  i64.trunc_sat_f32_u                     : f32 -> i64
06  i64.trunc_sat_f64_s                     : f64 -> i64
07  i64.trunc_sat_f64_u                     : f64 -> i64
08  memory.init          dataidx memidx     : addr i32 i32 ->
09  data.drop            dataidx            : ->
0a  memory.copy          memidx memidx      : addr addr2 addrmin ->
0b  memory.fill          memidx             : addr i32 addr ->
0c  table.init           elemidx tableidx   : addr i32 i32 ->
0d  elem.drop            elemidx            : ->
0e  table.copy           tableidx tableidx  : addr addr2 addrmin ->
0f  table.grow           tableidx
10  table.size           tableidx           : -> addr
11  table.fill           tableidx
"""

_WIDE_ARITHMETIC = """
13  i64.add128      : i64 i64 i64 i64 -> i64 i64
14  i64.sub128      : i64 i64 i64 i64 -> i64 i64
15  i64.mul_wide_s  : i64 i64 -> i64 i64
16  i64.mul_wide_u  : i64 i64 -> i64 i64
"""

_SIMD = """
000  v128.load                      memarg:16      : addr -> v128
001  v128.load8x8_s                 memarg:8       : addr -> v128
002  v128.load8x8_u                 memarg:8       : addr -> v128
003  v128.load16x4_s                memarg:8       : addr -> v128
004  v128.load16x4_u                memarg:8       : addr -> v128
005  v128.load32x2_s                memarg:8       : addr -> v128
006  v128.load32x2_u                memarg:8       : addr -> v128
007  v128.load8_splat               memarg:1       : addr -> v128
008  v128.load16_splat              memarg:2       : addr -> v128
009  v128.load32_splat              memarg:4       : addr -> v128
00a  v128.load64_splat              memarg:8       : addr -> v128
00b  v128.store                     memarg:16      : addr v128 ->
00c  v128.const                     v128           : -> v128
00d  i8x16.shuffle                  shuffle        : v128 v128 -> v128
00e  i8x16.swizzle                                 : v128 v128 -> v128
00f  i8x16.splat                                   : i32 -> v128
010  i16x8.splat                                   : i32 -> v128
011  i32x4.splat                                   : i32 -> v128
012  i64x2.splat                                   : i64 -> v128
013  f32x4.splat                                   : f32 -> v128
014  f64x2.splat                                   : f64 -> v128
015  i8x16.extract_lane_s           lane           : v128 -> i32
016  i8x16.extract_lane_u           lane           : v128 -> i32
017  i8x16.replace_lane             lane           : v128 i32 -> v128
018  i16x8.extract_lane_s           lane           : v128 -> i32
019  i16x8.extract_lane_u           lane           : v128 -> i32
01a  i16x8.replace_lane             lane           : v128 i32 -> v128
01b  i32x4.extract_lane             lane           : v128 -> i32
01c  i32x4.replace_lane             lane           : v128 i32 -> v128
01d  i64x2.extract_lane             lane           : v128 -> i64
01e  i64x2.replace_lane             lane           : v128 i64 -> v128
01f  f32x4.extract_lane             lane           : v128 -> f32
020  f32x4.replace_lane             lane           : v128 f32 -> v128
021  f64x2.extract_lane             lane           : v128 -> f64
022  f64x2.replace_lane             lane           : v128 f64 -> v128
023  i8x16.eq                                      : v128 v128 -> v128
024  i8x16.ne                                      : v128 v128 -> v128
025  i8x16.lt_s                                    : v128 v128 -> v128
026  i8x16.lt_u                                    : v128 v128 -> v128
027  i8x16.gt_s                                    : v128 v128 -> v128
028  i8x16.gt_u                                    : v128 v128 -> v128
029  i8x16.le_s                                    : v128 v128 -> v128
02a  i8x16.le_u                                    : v128 v128 -> v128
02b  i8x16.ge_s                                    : v128 v128 -> v128
02c  i8x16.ge_u                                    : v128 v128 -> v128
02d  i16x8.eq                                      : v128 v128 -> v128
02e  i16x8.ne                                      : v128 v128 -> v128
02f  i16x8.lt_s                                    : v128 v128 -> v128
030  i16x8.lt_u                                    : v128 v128 -> v128
031  i16x8.gt_s                                    : v128 v128 -> v128
032  i16x8.gt_u                                    : v128 v128 -> v128
033  i16x8.le_s                                    : v128 v128 -> v128
034  i16x8.le_u                                    : v128 v128 -> v128
035  i16x8.ge_s                                    : v128 v128 -> v128
036  i16x8.ge_u                                    : v128 v128 -> v128
037  i32x4.eq                                      : v128 v128 -> v128
038  i32x4.ne                                      : v128 v128 -> v128
039  i32x4.lt_s                                    : v128 v128 -> v128
03a  i32x4.lt_u                                    : v128 v128 -> v128
03b  i32x4.gt_s                                    : v128 v128 -> v128
03c  i32x4.gt_u                                    : v128 v128 -> v128
03d  i32x4.le_s                                    : v128 v128 -> v128
03e  i32x4.le_u                                    : v128 v128 -> v128
03f  i32x4.ge_s                                    : v128 v128 -> v128
040  i32x4.ge_u                                    : v128 v128 -> v128
041  f32x4.eq                                      : v128 v128 -> v128
042  f32x4.ne                                      : v128 v128 -> v128
043  f32x4.lt                                      : v128 v128 -> v128
044  f32x4.gt                                      : v128 v128 -> v128
045  f32x4.le                                      : v128 v128 -> v128
046  f32x4.ge                                      : v128 v128 -> v128
047  f64x2.eq                                      : v128 v128 -> v128
048  f64x2.ne                                      : v128 v128 -> v128
049  f64x2.lt                                      : v128 v128 -> v128
04a  f64x2.gt                                      : v128 v128 -> v128
04b  f64x2.le                                      : v128 v128 -> v128
04c  f64x2.ge                                      : v128 v128 -> v128
04d  v128.not                                      : v128 -> v128
04e  v128.and                                      : v128 v128 -> v128
04f  v128.andnot                                   : v128 v128 -> v128
050  v128.or                                       : v128 v128 -> v128
051  v128.xor                                      : v128 v128 -> v128
052  v128.bitselect                                : v128 v128 v128 -> v128
053  v128.any_true                                 : v128 -> i32
054  v128.load8_lane                memarg:1 lane  : addr v128 -> v128
055  v128.load16_lane               memarg:2 lane  : addr v128 -> v128
056  v128.load32_lane               memarg:4 lane  : addr v128 -> v128
057  v128.load64_lane               memarg:8 lane  : addr v128 -> v128
058  v128.store8_lane               memarg:1 lane  : addr v128 ->
059  v128.store16_lane              memarg:2 lane  : addr v128 ->
05a  v128.store32_lane              memarg:4 lane  : addr v128 ->
05b  v128.store64_lane              memarg:8 lane  : addr v128 ->
05c  v128.load32_zero               memarg:4       : addr -> v128
05d  v128.load64_zero               memarg:8       : addr -> v128
05e  f32x4.demote_f64x2_zero                       : v128 -> v128
05f  f64x2.promote_low_f32x4                       : v128 -> v128
060  i8x16.abs                                     : v128 -> v128
061  i8x16.neg                                     : v128 -> v128
062  i8x16.popcnt                                  : v128 -> v128
063  i8x16.all_true                                : v128 -> i32
064  i8x16.bitmask                                 : v128 -> i32
065  i8x16.narrow_i16x8_s                          : v128 v128 -> v128
066  i8x16.narrow_i16x8_u                          : v128 v128 -> v128
067  f32x4.ceil                                    : v128 -> v128
068  f32x4.floor                                   : v128 -> v128
069  f32x4.trunc                                   : v128 -> v128
06a  f32x4.nearest                                 : v128 -> v128
06b  i8x16.shl                                     : v128 i32 -> v128
06c  i8x16.shr_s                                   : v128 i32 -> v128
06d  i8x16.shr_u                                   : v128 i32 -> v128
06e  i8x16.add                                     : v128 v128 -> v128
06f  i8x16.add_sat_s                               : v128 v128 -> v128
070  i8x16.add_sat_u                               : v128 v128 -> v128
071  i8x16.sub                                     : v128 v128 -> v128
072  i8x16.sub_sat_s                               : v128 v128 -> v128
073  i8x16.sub_sat_u                               : v128 v128 -> v128
074  f64x2.ceil                                    : v128 -> v128
075  f64x2.floor                                   : v128 -> v128
076  i8x16.min_s                                   : v128 v128 -> v128
077  i8x16.min_u                                   : v128 v128 -> v128
078  i8x16.max_s                                   : v128 v128 -> v128
079  i8x16.max_u                                   : v128 v128 -> v128
07a  f64x2.trunc                                   : v128 -> v128
07b  i8x16.avgr_u                                  : v128 v128 -> v128
07c  i16x8.extadd_pairwise_i8x16_s                 : v128 -> v128
07d  i16x8.extadd_pairwise_i8x16_u                 : v128 -> v128
07e  i32x4.extadd_pairwise_i16x8_s                 : v128 -> v128
07f  i32x4.extadd_pairwise_i16x8_u                 : v128 -> v128
080  i16x8.abs                                     : v128 -> v128
081  i16x8.neg                                     : v128 -> v128
082  i16x8.q15mulr_sat_s                           : v128 v128 -> v128
083  i16x8.all_true                                : v128 -> i32
084  i16x8.bitmask                                 : v128 -> i32
085  i16x8.narrow_i32x4_s                          : v128 v128 -> v128
086  i16x8.narrow_i32x4_u                          : v128 v128 -> v128
087  i16x8.extend_low_i8x16_s                      : v128 -> v128
088  i16x8.extend_high_i8x16_s                     : v128 -> v128
089  i16x8.extend_low_i8x16_u                      : v128 -> v128
08a  i16x8.extend_high_i8x16_u                     : v128 -> v128
08b  i16x8.shl                                     : v128 i32 -> v128
08c  i16x8.shr_s                                   : v128 i32 -> v128
08d  i16x8.shr_u                                   : v128 i32 -> v128
08e  i16x8.add                                     : v128 v128 -> v128
08f  i16x8.add_sat_s                               : v128 v128 -> v128
090  i16x8.add_sat_u                               : v128 v128 -> v128
091  i16x8.sub                                     : v128 v128 -> v128
092  i16x8.sub_sat_s                               : v128 v128 -> v128
093  i16x8.sub_sat_u                               : v128 v128 -> v128
094  f64x2.nearest                                 : v128 -> v128
095  i16x8.mul                                     : v128 v128 -> v128
096  i16x8.min_s                                   : v128 v128 -> v128
097  i16x8.min_u                                   : v128 v128 -> v128
098  i16x8.max_s                                   : v128 v128 -> v128
099  i16x8.max_u                                   : v128 v128 -> v128
09b  i16x8.avgr_u                                  : v128 v128 -> v128
09c  i16x8.extmul_low_i8x16_s                      : v128 v128 -> v128
09d  i16x8.extmul_high_i8x16_s                     : v128 v128 -> v128
09e  i16x8.extmul_low_i8x16_u                      : v128 v128 -> v128
09f  i16x8.extmul_high_i8x16_u                     : v128 v128 -> v128
0a0  i32x4.abs                                     : v128 -> v128
0a1  i32x4.neg                                     : v128 -> v128
0a3  i32x4.all_true                                : v128 -> i32
0a4  i32x4.bitmask                                 : v128 -> i32
0a7  i32x4.extend_low_i16x8_s                      : v128 -> v128
0a8  i32x4.extend_high_i16x8_s                     : v128 -> v128
0a9  i32x4.extend_low_i16x8_u                      : v128 -> v128
0aa  i32x4.extend_high_i16x8_u                     : v128 -> v128
0ab  i32x4.shl                                     : v128 i32 -> v128
0ac  i32x4.shr_s                                   : v128 i32 -> v128
0ad  i32x4.shr_u                                   : v128 i32 -> v128
0ae  i32x4.add                                     : v128 v128 -> v128
0b1  i32x4.sub                                     : v128 v128 -> v128
0b5  i32x4.mul                                     : v128 v128 -> v128
0b6  i32x4.min_s                                   : v128 v128 -> v128
0b7  i32x4.min_u                                   : v128 v128 -> v128
0b8  i32x4.max_s                                   : v128 v128 -> v128
0b9  i32x4.max_u                                   : v128 v128 -> v128
0ba  i32x4.dot_i16x8_s                             : v128 v128 -> v128
0bc  i32x4.extmul_low_i16x8_s                      : v128 v128 -> v128
0bd  i32x4.extmul_high_i16x8_s                     : v128 v128 -> v128
0be  i32x4.extmul_low_i16x8_u                      : v128 v128 -> v128
0bf  i32x4.extmul_high_i16x8_u                     : v128 v128 -> v128
0c0  i64x2.abs                                     : v128 -> v128
0c1  i64x2.neg                                     : v128 -> v128
0c3  i64x2.all_true                                : v128 -> i32
0c4  i64x2.bitmask                                 : v128 -> i32
0c7  i64x2.extend_low_i32x4_s                      : v128 -> v128
0c8  i64x2.extend_high_i32x4_s                     : v128 -> v128
0c9  i64x2.extend_low_i32x4_u                      : v128 -> v128
0ca  i64x2.extend_high_i32x4_u                     : v128 -> v128
0cb  i64x2.shl                                     : v128 i32 -> v128
0cc  i64x2.shr_s                                   : v128 i32 -> v128
0cd  i64x2.shr_u                                   : v128 i32 -> v128
0ce  i64x2.add                                     : v128 v128 -> v128
0d1  i64x2.sub                                     : v128 v128 -> v128
0d5  i64x2.mul                                     : v128 v128 -> v128
0d6  i64x2.eq                                      : v128 v128 -> v128
0d7  i64x2.ne                                      : v128 v128 -> v128
0d8  i64x2.lt_s                                    : v128 v128 -> v128
0d9  i64x2.gt_s                                    : v128 v128 -> v128
0da  i64x2.le_s                                    : v128 v128 -> v128
0db  i64x2.ge_s                                    : v128 v128 -> v128
0dc  i64x2.extmul_low_i32x4_s                      : v128 v128 -> v128
0dd  i64x2.extmul_high_i32x4_s                     : v128 v128 -> v128
0de  i64x2.extmul_low_i32x4_u                      : v128 v128 -> v128
0df  i64x2.extmul_high_i32x4_u                     : v128 v128 -> v128
0e0  f32x4.abs                                     : v128 -> v128
0e1  f32x4.neg                                     : v128 -> v128
0e3  f32x4.sqrt                                    : v128 -> v128
0e4  f32x4.add                                     : v128 v128 -> v128
0e5  f32x4.sub                                     : v128 v128 -> v128
0e6  f32x4.mul                                     : v128 v128 -> v128
0e7  f32x4.div                                     : v128 v128 -> v128
0e8  f32x4.min                                     : v128 v128 -> v128
0e9  f32x4.max                                     : v128 v128 -> v128
0ea  f32x4.pmin                                    : v128 v128 -> v128
0eb  f32x4.pmax                                    : v128 v128 -> v128
0ec  f64x2.abs                                     : v128 -> v128
0ed  f64x2.neg                                     : v128 -> v128
0ef  f64x2.sqrt                                    : v128 -> v128
0f0  f64x2.add                                     : v128 v128 -> v128
0f1  f64x2.sub                                     : v128 v128 -> v128
0f2  f64x2.mul                                     : v128 v128 -> v128
0f3  f64x2.div                                     : v128 v128 -> v128
0f4  f64x2.min                                     : v128 v128 -> v128
0f5  f64x2.max                                     : v128 v128 -> v128
0f6  f64x2.pmin                                    : v128 v128 -> v128
0f7  f64x2.pmax                                    : v128 v128 -> v128
0f8  i32x4.trunc_sat_f32x4_s                       : v128 -> v128
0f9  i32x4.trunc_sat_f32x4_u                       : v128 -> v128
0fa  f32x4.convert_i32x4_s                         : v128 -> v128
0fb  f32x4.convert_i32x4_u                         : v128 -> v128
0fc  i32x4.trunc_sat_f64x2_s_zero                  : v128 -> v128
0fd  i32x4.trunc_sat_f64x2_u_zero                  : v128 -> v128
0fe  f64x2.convert_low_i32x4_s                     : v128 -> v128
0ff  f64x2.convert_low_i32x4_u                     : v128 -> v128
"""

_RELAXED_SIMD = """
100  i8x16.relaxed_swizzle                : v128 v128 -> v128
101  i32x4.relaxed_trunc_f32x4_s          : v128 -> v128
102  i32x4.relaxed_trunc_f32x4_u          : v128 -> v128
103  i32x4.relaxed_trunc_f64x2_s_zero     : v128 -> v128
104  i32x4.relaxed_trunc_f64x2_u_zero     : v128 -> v128
105  f32x4.relaxed_madd                   : v128 v128 v128 -> v128
106  f32x4.relaxed_nmadd                  : v128 v128 v128 -> v128
107  f64x2.relaxed_madd                   : v128 v128 v128 -> v128
108  f64x2.relaxed_nmadd                  : v128 v128 v128 -> v128
109  i8x16.relaxed_laneselect             : v128 v128 v128 -> v128
10a  i16x8.relaxed_laneselect             : v128 v128 v128 -> v128
10b  i32x4.relaxed_laneselect             : v128 v128 v128 -> v128
10c  i64x2.relaxed_laneselect             : v128 v128 v128 -> v128
10d  f32x4.relaxed_min                    : v128 v128 -> v128
10e  f32x4.relaxed_max                    : v128 v128 -> v128
10f  f64x2.relaxed_min                    : v128 v128 -> v128
110  f64x2.relaxed_max                    : v128 v128 -> v128
111  i16x8.relaxed_q15mulr_s              : v128 v128 -> v128
112  i16x8.relaxed_dot_i8x16_i7x16_s      : v128 v128 -> v128
113  i32x4.relaxed_dot_i8x16_i7x16_add_s  : v128 v128 v128 -> v128
"""

_THREADS = """
00  memory.atomic.notify        memarg:4      : addr i32 -> i32
01  memory.atomic.wait32        memarg:4      : addr i32 i64 -> i32
02  memory.atomic.wait64        memarg:8      : addr i64 i64 -> i32
03  atomic.fence                atomic_order  : ->
10  i32.atomic.load             memarg:4      : addr -> i32
11  i64.atomic.load             memarg:8      : addr -> i64
12  i32.atomic.load8_u          memarg:1      : addr -> i32
13  i32.atomic.load16_u         memarg:2      : addr -> i32
14  i64.atomic.load8_u          memarg:1      : addr -> i64
15  i64.atomic.load16_u         memarg:2      : addr -> i64
16  i64.atomic.load32_u         memarg:4      : addr -> i64
17  i32.atomic.store            memarg:4      : addr i32 ->
18  i64.atomic.store            memarg:8      : addr i64 ->
19  i32.atomic.store8           memarg:1      : addr i32 ->
1a  i32.atomic.store16          memarg:2      : addr i32 ->
1b  i64.atomic.store8           memarg:1      : addr i64 ->
1c  i64.atomic.store16          memarg:2      : addr i64 ->
1d  i64.atomic.store32          memarg:4      : addr i64 ->
1e  i32.atomic.rmw.add          memarg:4      : addr i32 -> i32
1f  i64.atomic.rmw.add          memarg:8      : addr i64 -> i64
20  i32.atomic.rmw8.add_u       memarg:1      : addr i32 -> i32
21  i32.atomic.rmw16.add_u      memarg:2      : addr i32 -> i32
22  i64.atomic.rmw8.add_u       memarg:1      : addr i64 -> i64
23  i64.atomic.rmw16.add_u      memarg:2      : addr i64 -> i64
24  i64.atomic.rmw32.add_u      memarg:4      : addr i64 -> i64
25  i32.atomic.rmw.sub          memarg:4      : addr i32 -> i32
26  i64.atomic.rmw.sub          memarg:8      : addr i64 -> i64
27  i32.atomic.rmw8.sub_u       memarg:1      : addr i32 -> i32
28  i32.atomic.rmw16.sub_u      memarg:2      : addr i32 -> i32
29  i64.atomic.rmw8.sub_u       memarg:1      : addr i64 -> i64
2a  i64.atomic.rmw16.sub_u      memarg:2      : addr i64 -> i64
2b  i64.atomic.rmw32.sub_u      memarg:4      : addr i64 -> i64
2c  i32.atomic.rmw.and          memarg:4      : addr i32 -> i32
2d  i64.atomic.rmw.and          memarg:8      : addr i64 -> i64
2e  i32.atomic.rmw8.and_u       memarg:1      : addr i32 -> i32
2f  i32.atomic.rmw16.and_u      memarg:2      : addr i32 -> i32
30  i64.atomic.rmw8.and_u       memarg:1      : addr i64 -> i64
31  i64.atomic.rmw16.and_u      memarg:2      : addr i64 -> i64
32  i64.atomic.rmw32.and_u      memarg:4      : addr i64 -> i64
33  i32.atomic.rmw.or           memarg:4      : addr i32 -> i32
34  i64.atomic.rmw.or           memarg:8      : addr i64 -> i64
35  i32.atomic.rmw8.or_u        memarg:1      : addr i32 -> i32
36  i32.atomic.rmw16.or_u       memarg:2      : addr i32 -> i32
37  i64.atomic.rmw8.or_u        memarg:1      : addr i64 -> i64
38  i64.atomic.rmw16.or_u       memarg:2      : addr i64 -> i64
39  i64.atomic.rmw32.or_u       memarg:4      : addr i64 -> i64
3a  i32.atomic.rmw.xor          memarg:4      : addr i32 -> i32
3b  i64.atomic.rmw.xor          memarg:8      : addr i64 -> i64
3c  i32.atomic.rmw8.xor_u       memarg:1      : addr i32 -> i32
3d  i32.atomic.rmw16.xor_u      memarg:2      : addr i32 -> i32
3e  i64.atomic.rmw8.xor_u       memarg:1      : addr i64 -> i64
3f  i64.atomic.rmw16.xor_u      memarg:2      : addr i64 -> i64
40  i64.atomic.rmw32.xor_u      memarg:4      : addr i64 -> i64
41  i32.atomic.rmw.xchg         memarg:4      : addr i32 -> i32
42  i64.atomic.rmw.xchg         memarg:8      : addr i64 -> i64
43  i32.atomic.rmw8.xchg_u      memarg:1      : addr i32 -> i32
44  i32.atomic.rmw16.xchg_u     memarg:2      : addr i32 -> i32
45  i64.atomic.rmw8.xchg_u      memarg:1      : addr i64 -> i64
46  i64.atomic.rmw16.xchg_u     memarg:2      : addr i64 -> i64
47  i64.atomic.rmw32.xchg_u     memarg:4      : addr i64 -> i64
48  i32.atomic.rmw.cmpxchg      memarg:4      : addr i32 i32 -> i32
49  i64.atomic.rmw.cmpxchg      memarg:8      : addr i64 i64 -> i64
4a  i32.atomic.rmw8.cmpxchg_u   memarg:1      : addr i32 i32 -> i32
4b  i32.atomic.rmw16.cmpxchg_u  memarg:2      : addr i32 i32 -> i32
4c  i64.atomic.rmw8.cmpxchg_u   memarg:1      : addr i64 i64 -> i64
4d  i64.atomic.rmw16.cmpxchg_u  memarg:2      : addr i64 i64 -> i64
4e  i64.atomic.rmw32.cmpxchg_u  memarg:4      : addr i64 i64 -> i64
"""

_TABLES: Final = (
    (None, "", _CORE),
    (None, "legacy-exceptions", _LEGACY_EXCEPTIONS),
    (0xFB, "", _GC),
    (0xFC, "", _MISC),
    (0xFC, "wide-arithmetic", _WIDE_ARITHMETIC),
    (0xFD, "", _SIMD),
    (0xFD, "", _RELAXED_SIMD),
    (0xFE, "threads", _THREADS),
)
_TYPE: Final = re.compile(r"\([^)]*\)|\S+")


class Op(msgspec.Struct, frozen=True):
    """One operator: its encoding and, unless it depends on the context, its type."""

    name: str
    prefix: int | None
    opcode: int  # without the prefix
    immediates: tuple[str, ...]  # kinds, in the binary format's order
    params: tuple[str, ...] | None  # None: contextual
    results: tuple[str, ...] | None  # None: contextual
    width: int  # a memarg's natural alignment in bytes; 0 without a memarg
    proposal: str  # "" for the 3.0 specification
    encoding: bytes  # prefix and opcode

    @property
    def legacy(self) -> bool:
        """Whether this belongs to legacy exception handling, which is decoded but never encoded."""
        return self.proposal == "legacy-exceptions"


def _row(prefix: int | None, proposal: str, line: str) -> Op:
    """Parse one row of a table."""
    left, typed, signature = line.partition(" : ")
    code, name, *kinds = left.split()
    width = next((int(kind[7:]) for kind in kinds if kind.startswith("memarg:")), 0)
    params, _, results = signature.partition("->")
    opcode = int(code, 16)
    return Op(
        name=name,
        prefix=prefix,
        opcode=opcode,
        immediates=tuple(kind.partition(":")[0] for kind in kinds),
        params=tuple(_TYPE.findall(params)) if typed else None,
        results=tuple(_TYPE.findall(results)) if typed else None,
        width=width,
        proposal=proposal,
        encoding=bytes([opcode]) if prefix is None else bytes([prefix]) + u(opcode),
    )


OPS: Final[tuple[Op, ...]] = tuple(
    _row(prefix, proposal, line) for prefix, proposal, rows in _TABLES for line in rows.strip().splitlines()
)
BY_NAME: Final[dict[str, Op]] = {op.name: op for op in OPS}
BY_OPCODE: Final[dict[tuple[int | None, int], Op]] = {(op.prefix, op.opcode): op for op in OPS}
PREFIXES: Final = frozenset(op.prefix for op in OPS if op.prefix is not None)

BLOCKS: Final = frozenset({"block", "loop", "if", "try_table"})
"""Instructions that open a block, which an ``end`` closes."""
CALLS: Final = frozenset({"call", "call_indirect", "call_ref"})
TAIL_CALLS: Final = frozenset(f"return_{name}" for name in CALLS)
JUMPS: Final = frozenset({"br", "br_table", "return", "unreachable", "throw", "throw_ref"}) | TAIL_CALLS
"""Instructions after which code is unreachable (core specification 3.0, 3.4: they are stack-polymorphic)."""
