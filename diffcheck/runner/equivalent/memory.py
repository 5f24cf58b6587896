"""Loads, stores and atomic operations by others of another width or kind, and the size of a memory by growing it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.runner.equivalent.replacement import Replacement

if TYPE_CHECKING:
    from diffcheck.runner.equivalent.replacement import Replace, ReplacementSite
    from diffcheck.wasm.code import MemArg

_TEXTS: Final = {
    "i32.load": "@a i32.load16_u {m0} @a i32.load16_u {m2} i32.const 16 i32.shl i32.or",
    "i64.load": "@a i64.load32_u {m0} @a i64.load32_u {m4} i64.const 32 i64.shl i64.or",
    "f32.load": "@a i32.load {m0} f32.reinterpret_i32",
    "f64.load": "@a i64.load {m0} f64.reinterpret_i64",
    "i64.load32_s": "@a i32.load {m0} i64.extend_i32_s",
    "i64.load32_u": "@a i32.load {m0} i64.extend_i32_u",
    **{f"{t}.load8_s": f"@a {t}.load8_u {{m0}} {t}.extend8_s" for t in ("i32", "i64")},
    **{f"{t}.load8_u": f"@a {t}.load8_s {{m0}} {t}.const 255 {t}.and" for t in ("i32", "i64")},
    **{f"{t}.load16_s": f"@a {t}.load16_u {{m0}} {t}.extend16_s" for t in ("i32", "i64")},
    **{f"{t}.load16_u": f"@a {t}.load8_u {{m0}} @a {t}.load8_u {{m1}} {t}.const 8 {t}.shl {t}.or" for t in ("i32", "i64")},
    # The upper part first: if it is in bounds, so is the lower one, and a store that traps has written nothing.
    "i32.store": "@a @b i32.const 16 i32.shr_u i32.store16 {m2} @a @b i32.store16 {m0}",
    "i64.store": "@a @b i64.const 32 i64.shr_u i64.store32 {m4} @a @b i64.store32 {m0}",
    "i32.store16": "@a @b i32.const 8 i32.shr_u i32.store8 {m1} @a @b i32.store8 {m0}",
    "i32.store8": "@a @b i64.extend_i32_u i64.store8 {m0}",
    "i64.store8": "@a @b i32.wrap_i64 i32.store8 {m0}",
    "i64.store16": "@a @b i32.wrap_i64 i32.store16 {m0}",
    "i64.store32": "@a @b i32.wrap_i64 i32.store {m0}",
    "f32.store": "@a @b i32.reinterpret_f32 i32.store {m0}",
    "f64.store": "@a @b i64.reinterpret_f64 i64.store {m0}",
    "v128.load": "@a i64.load {m0} i64x2.splat @a i64.load {m8} i64x2.replace_lane 1",
    "v128.store": "@a @b i64x2.extract_lane 1 i64.store {m8} @a @b i64x2.extract_lane 0 i64.store {m0}",
    "v128.load8_splat": "@a i32.load8_u {m0} i8x16.splat",
    "v128.load16_splat": "@a i32.load16_u {m0} i16x8.splat",
    "v128.load32_splat": "@a i32.load {m0} i32x4.splat",
    "v128.load64_splat": "@a i64.load {m0} i64x2.splat",
    "v128.load32_zero": "v128.const i64x2 0 0 @a i32.load {m0} i32x4.replace_lane 0",
    "v128.load64_zero": "v128.const i64x2 0 0 @a i64.load {m0} i64x2.replace_lane 0",
    **{f"v128.load8x8_{s}": f"@a v128.load64_zero {{m0}} i16x8.extend_low_i8x16_{s}" for s in "su"},
    **{f"v128.load16x4_{s}": f"@a v128.load64_zero {{m0}} i32x4.extend_low_i16x8_{s}" for s in "su"},
    **{f"v128.load32x2_{s}": f"@a v128.load64_zero {{m0}} i64x2.extend_low_i32x4_{s}" for s in "su"},
    "v128.load8_lane": "@b @a i32.load8_u {m0} i8x16.replace_lane {lane}",
    "v128.load16_lane": "@b @a i32.load16_u {m0} i16x8.replace_lane {lane}",
    "v128.load32_lane": "@b @a i32.load {m0} i32x4.replace_lane {lane}",
    "v128.load64_lane": "@b @a i64.load {m0} i64x2.replace_lane {lane}",
    "v128.store8_lane": "@a @b i8x16.extract_lane_u {lane} i32.store8 {m0}",
    "v128.store16_lane": "@a @b i16x8.extract_lane_u {lane} i32.store16 {m0}",
    "v128.store32_lane": "@a @b i32x4.extract_lane {lane} i32.store {m0}",
    "v128.store64_lane": "@a @b i64x2.extract_lane {lane} i64.store {m0}",
}
_LAST_PART: Final = 8
_ATOMIC: Final = re.compile(r"(?P<t>i32|i64)\.atomic\.(?P<what>load|store|rmw)(?P<w>8|16|32|)(\.(?P<op>[a-z]+))?(_u)?")


def _access(site: ReplacementSite) -> Replacement | None:
    memarg: MemArg = site.immediates[0]
    if memarg.offset + _LAST_PART >= 1 << 32:
        return None
    places = {f"m{at}": _memarg(memarg, at) for at in (0, 1, 2, 4, 8)}
    return Replacement(_TEXTS[site.name].format(lane=site.immediates[-1], **places))


def _memarg(memarg: MemArg, more: int = 0, align: int = 1) -> str:
    return f"{memarg.memidx} offset={memarg.offset + more} align={align}"


def _atomic(site: ReplacementSite) -> Replacement | None:
    """An atomic operation by atomic loads and stores, which trap where it does; a load or store by an operation.

    Programs have no threads, so nothing comes between.
    """
    match = _ATOMIC.fullmatch(site.name)
    if match is None:
        return None
    t, width, op = match["t"], match["w"], match["op"]
    memarg = _memarg(site.immediates[0], align=1 << site.immediates[0].align)
    unsigned = "_u" if width else ""
    load, store = f"{t}.atomic.load{width}{unsigned} {memarg}", f"{t}.atomic.store{width} {memarg}"
    rmw = f"{t}.atomic.rmw{width}"
    if match["what"] == "load":
        return Replacement(f"@a {t}.const 0 {rmw}.or{unsigned} {memarg}")
    if match["what"] == "store":
        return Replacement(f"@a @b {rmw}.xchg{unsigned} {memarg} drop")
    if op == "cmpxchg":
        text = f"@a {load} local.tee $o @b {t}.eq if @a @c {store} end @o"
        return None if width else Replacement(text, {"o": t})
    new = "@b" if op == "xchg" else f"@o @b {t}.{op}"
    return Replacement(f"@a {load} local.set $o @a {new} {store} @o", {"o": t})


def _size(site: ReplacementSite) -> Replacement:
    return Replacement(f"{site.results[0]}.const 0 memory.grow {site.immediates[0]}")


def _grow(site: ReplacementSite) -> Replacement:
    memory, t = site.immediates[0], site.results[0]
    text = f"memory.size {memory} local.set $o @a memory.grow {memory} {t}.const -1 {t}.eq if (result {t}) {t}.const -1 else @o end"
    return Replacement(text, {"o": t})


REPLACEMENTS: Final[dict[str, Replace]] = {
    **dict.fromkeys(_TEXTS, _access),
    "memory.size": _size,
    "memory.grow": _grow,
}


def replacement(site: ReplacementSite) -> Replacement | None:
    """The replacement of an instruction that accesses or resizes a memory."""
    made = REPLACEMENTS.get(site.name, _atomic)
    return made(site)
