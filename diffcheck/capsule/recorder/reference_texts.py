"""The text of the functions that describe references, with places for the artifact's types (``str.format``)."""

from __future__ import annotations

from typing import Final

from diffcheck.capsule import layout as lo
from diffcheck.capsule.import_calls import flag
from diffcheck.wasm import values

SHIFTED: Final = "i64.extend_i32_u i64.const 32 i64.shl i64.const {} i64.or"
UNKNOWN: Final = 0xFFFF_FFFF
"""The typeidx in the word of a function that has none of the tested types."""

ANY_WORD = f"""
  local.get $x ref.is_null if i64.const 0 return end
  local.get $x ref.test (ref i31)
  if local.get $x ref.cast (ref i31) i31.get_u {SHIFTED.format(values.I31)} return end
  {{object}}
  i64.const {values.OPAQUE}
"""
OBJECT_WORD = f"""
  local.get $x ref.test (ref eq)
  if
    i32.const $OBJECTS i32.load $rec local.set $n
    block $new
      loop $each
        local.get $k local.get $n i32.ge_u br_if $new
        local.get $k table.get $objects local.get $x ref.cast (ref eq) ref.eq
        if local.get $k {SHIFTED.format(values.OBJECT)} return end
        local.get $k i32.const 1 i32.add local.set $k
        br $each
      end
    end
    local.get $n i32.const {lo.MAX_OBJECTS} i32.ge_u
    if i32.const $OBJECTS_CUT i32.const {lo.PART_CUT} i32.store $rec i64.const {values.BEYOND} return end
    local.get $n local.get $x ref.cast (ref eq) table.set $objects
    i32.const $OBJECTS local.get $n i32.const 1 i32.add i32.store $rec
    local.get $n {SHIFTED.format(values.OBJECT)} return
  end
"""
EXCEPTION_WORD = f"""
  local.get $x ref.is_null if i64.const 0 return end
  block
    {{thrown}}
  end
  i64.const {values.OPAQUE}
"""
PAYLOAD: Final = f"""
  local.get $digest i64.const {64 - values.PAYLOAD_BITS} i64.shr_u i64.const {{tag}} i64.or i64.const 32 i64.shl
  i64.const {values.EXCEPTION} i64.or return
"""
DIGEST_STEP: Final = """
  local.get $digest i64.xor i64.const 0x9e3779b97f4a7c15 i64.mul local.tee $digest
  local.get $digest i64.const 32 i64.shr_u i64.xor local.set $digest
"""
PAYLOAD_WORDS: Final = {
    **dict.fromkeys(("i8", "i16", "i32"), "i64.extend_i32_u"),
    "i64": "",
    "f32": "i32.reinterpret_f32 i64.extend_i32_u",
    "f64": "i64.reinterpret_f64",
    "v128": f"local.tee $v i64x2.extract_lane 0 {DIGEST_STEP} local.get $v i64x2.extract_lane 1",
}
CONTENTS = f"""
  local.get $x ref.is_null if i64.const 0 return end
  local.get $x ref.test (ref i31) if local.get $x call $any_word return end
  local.get $depth i32.const {lo.MAX_DEPTH} i32.eq if i32.const $PASSED_LEFT i32.const {lo.MAX_OBJECTS} i32.store $rec end
  block $cut
    local.get $depth i32.eqz i32.const $PASSED_LEFT i32.load $rec i32.const 0 i32.le_s i32.or br_if $cut
    local.get $depth i32.const 1 i32.sub local.set $depth
    {{types}}
  end
  {flag(lo.FLAG_PASSED_CUT)}
  i64.const {values.OPAQUE}
"""
_SPENT: Final = "i32.const $PASSED_LEFT i32.const $PASSED_LEFT i32.load $rec {} i32.sub i32.store $rec"
STRUCT_CONTENTS: Final = f"""
  local.get $x ref.test (ref {{type}})
  if
    i64.const {{mark}} local.set $digest
    {_SPENT.format("i32.const {words}")}
    {{fields}}
    {{result}} return
  end
"""
ARRAY_CONTENTS: Final = f"""
  local.get $x ref.test (ref {{type}})
  if
    local.get $x ref.cast (ref {{type}}) array.len local.tee $n i64.extend_i32_u i64.const {{mark}} i64.add local.set $digest
    local.get $n i32.const $PASSED_LEFT i32.load $rec i32.gt_u
    if i32.const $PASSED_LEFT i32.load $rec local.set $n {flag(lo.FLAG_PASSED_CUT)} end
    {_SPENT.format("local.get $n i32.const 1 i32.add")}
    block $done
      loop $each
        local.get $k local.get $n i32.ge_u br_if $done
        local.get $x ref.cast (ref {{type}}) local.get $k {{get}} {{type}} {{word}} {DIGEST_STEP}
        local.get $k i32.const 1 i32.add local.set $k
        br $each
      end
    end
    {{result}} return
  end
"""
CONTENTS_RESULT: Final = f"local.get $digest i64.const 32 i64.shl i64.const {values.CONTENTS} i64.or"
CONTENTS_LOCALS: Final = (("k", "i32"), ("n", "i32"), ("digest", "i64"), ("v", "v128"))
WORD_LOCALS: Final = (("k", "i32"), ("n", "i32"))
EXCEPTION_LOCALS: Final = (("digest", "i64"), ("v", "v128"))

OBJECTS = f"""
  ;; the numbered objects, level by level; objects that they refer to are numbered meanwhile
  i32.const $OBJECTS i32.load $rec i32.eqz if return end
  i32.const $HEAP_END i32.load $rec local.set $begin
  i32.const {lo.MAX_ELEMENTS} local.set $left
  block $done
    loop $next
      local.get $k i32.const $OBJECTS i32.load $rec i32.ge_u br_if $done
      local.get $k local.get $level i32.eq
      if
        local.get $depth i32.const {lo.MAX_DEPTH} i32.ge_u
        if {{cut}} br $done end
        local.get $depth i32.const 1 i32.add local.set $depth
        i32.const $OBJECTS i32.load $rec local.set $level
      end
      local.get $k table.get $objects local.set $o
      local.get $k i32.const 1 i32.add local.set $k
      {{types}}
      {{cut}}
      i32.const {lo.OBJECT_HEADER.size} call $reserve br_if $next
    end
  end
  local.get $part local.get $begin i32.const $STREAM i32.sub i32.store $rec
  local.get $part i32.const $HEAP_END i32.load $rec local.get $begin i32.sub local.tee $n
  i32.const $OBJECTS_CUT i32.load $rec i32.or i32.store $rec offset=4
  local.get $begin local.get $n i32.const $LANES call $digest
  local.get $part i32.const $LANES i64.load $rec i64.store $rec offset=8
  i32.const $OBJECTS i64.const 0 i64.store $rec
"""
CUT: Final = f"i32.const $OBJECTS_CUT i32.const {lo.PART_CUT} i32.store $rec"
_HEADER: Final = """
  call $reserve local.tee $at i32.eqz br_if $done
  local.get $at i32.const {mark} i32.store $rec
  local.get $at local.get $n i32.store $rec offset=4
  local.get $at local.get $m i32.store $rec offset=8
"""
STRUCT: Final = f"""
  local.get $o ref.test (ref {{type}})
  if
    i32.const {{fields}} local.tee $n
    local.set $m
    local.get $left i32.const {{words}} i32.lt_u
    if {CUT} i32.const 0 local.set $m end
    i32.const {{size}} i32.const {lo.OBJECT_HEADER.size} local.get $m local.get $n i32.eq select {_HEADER}
    local.get $m local.get $n i32.ne br_if $next
    local.get $left i32.const {{words}} i32.sub local.set $left
    {{values}}
    br $next
  end
"""
ARRAY: Final = f"""
  local.get $o ref.test (ref {{type}})
  if
    local.get $o ref.cast (ref {{type}}) array.len local.tee $n
    local.get $left i32.const {{shift}} i32.shr_u local.tee $m
    i32.gt_u
    if {CUT} else local.get $n local.set $m end
    local.get $m i32.const {{width_shift}} i32.shl i32.const {lo.OBJECT_HEADER.size} i32.add {_HEADER}
    local.get $left local.get $m i32.const {{shift}} i32.shl i32.sub local.set $left
    i32.const 0 local.set $n
    loop $values
      local.get $n local.get $m i32.ge_u br_if $next
      local.get $at
      local.get $o ref.cast (ref {{type}}) local.get $n {{get}} {{type}} {{store}} offset={lo.OBJECT_HEADER.size}
      local.get $at i32.const {{width}} i32.add local.set $at
      local.get $n i32.const 1 i32.add local.set $n
      br $values
    end
  end
"""
OBJECTS_LOCALS: Final = (
    ("k", "i32"), ("n", "i32"), ("m", "i32"), ("at", "i32"), ("begin", "i32"), ("left", "i32"), ("depth", "i32"), ("level", "i32"),
    ("o", "eqref"),
)  # fmt: skip
STORES: Final = {
    "i64": "i64.store $rec",
    "f32": "i32.reinterpret_f32 i64.extend_i32_u i64.store $rec",
    "f64": "i64.reinterpret_f64 i64.store $rec",
    "v128": "v128.store $rec",
    **dict.fromkeys(("i8", "i16", "i32"), "i64.extend_i32_u i64.store $rec"),
}

ELEMENTS: Final = f"""
  ;; the elements of table {{table}}
  table.size {{table}} {{wrap}} local.tee $n
  i32.const {lo.MAX_ELEMENTS} local.get $n i32.const {lo.MAX_ELEMENTS} i32.lt_u select local.tee $take
  if
    local.get $take i32.const 3 i32.shl call $reserve local.tee $out
    if
      local.get $f local.get $out i32.const $STREAM i32.sub i32.store $rec offset={{at}}
      local.get $f
      local.get $take i32.const 3 i32.shl local.get $n local.get $take i32.ne i32.or
      i32.store $rec offset={{bytes}}
      i32.const 0 local.set $step
      loop $each
        local.get $out local.get $step i32.const 3 i32.shl i32.add
        local.get $step {{extend}} table.get {{table}} raw $word_of_table_{{table}}
        i64.store $rec
        local.get $step i32.const 1 i32.add local.tee $step
        local.get $take i32.lt_u br_if $each
      end
      {{tests}}
      local.get $out local.get $take i32.const 3 i32.shl i32.const $LANES call $digest
      local.get $f i32.const $LANES i64.load $rec i64.store $rec offset={{digest}}
    end
  end
"""
TYPE_TEST: Final = f"""
  ;; functions of type {{type}} from element {{first}} on
  i32.const {{first}} local.set $step
  block $tested
    loop $each
      local.get $step i32.const {{end}} i32.ge_u local.get $step local.get $take i32.ge_u i32.or br_if $tested
      local.get $out local.get $step i32.const 3 i32.shl i32.add local.tee $p
      i64.load $rec i64.eqz
      if else
        local.get $p
        i64.const {{word}} i64.const {UNKNOWN << 32 | values.FUNCTION}
        local.get $step {{extend}} table.get {{table}} raw $is_of_type_{{type}} select
        i64.store $rec
      end
      local.get $step i32.const {{step}} i32.add local.set $step
      br $each
    end
  end
"""
