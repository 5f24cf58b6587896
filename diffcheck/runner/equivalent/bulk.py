"""Bulk operations by loops over single bytes and elements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.runner.equivalent.replacement import Replacement
from diffcheck.wasm.types import ArrayType

if TYPE_CHECKING:
    from diffcheck.runner.equivalent.replacement import ReplacementSite

_MOST: Final = 4096
_WIDTHS: Final = {"i8": 1, "i16": 2, "i32": 4, "f32": 4, "i64": 8, "f64": 8, "v128": 16}


class Loop(msgspec.Struct, frozen=True):
    """How a bulk operation works on one element. Places in ``before`` and between are names of operands: the ``target`` index, the
    ``source`` index or value. ``element`` has ``{target}`` and ``{source}`` for their code. ``step`` is the distance of two source
    elements. ``overlaps`` is whether both may be in the same place.
    """

    element: str
    target: str = "a"
    source: str = "b"
    step: int = 1
    indexed: bool = True
    overlaps: bool = False


def replacement(site: ReplacementSite) -> Replacement | None:
    """The loop in place of a bulk operation of few elements whose ranges do not wrap; it first checks the bounds, by none."""
    loop = _loop(site)
    if loop is None:
        return None
    names = "abcdef"[: len(site.operands)]
    types: dict[str, str] = {name: str(each) for name, each in zip(names, site.operands, strict=True)}
    count = names[-1]
    n = types[count]

    def counted(type_: str) -> str:
        return f"@{count}" if n == type_ else f"@{count} i64.extend_i32_u"

    def moved(name: str, by: str, step: int = 1) -> str:
        type_ = types[name]
        scaled = f"{type_}.const {step} {type_}.mul" if step > 1 else ""
        return f"@{name} {by if n == type_ else by + ' i64.extend_i32_u'} {scaled} {type_}.add"

    indices = [(loop.target, 1), *([(loop.source, loop.step)] if loop.indexed else [])]
    fits = [f"@{name} {types[name]}.const {-1 - _MOST * step} {types[name]}.lt_u i32.and" for name, step in indices]
    ends = {name: moved(name, f"@{count}", step) for name, step in indices}
    checked = " ".join(ends.get(each, f"@{each}") for each in names[:-1]) + f" {n}.const 0 raw $own"
    at = "@i"
    if loop.overlaps and types[loop.target] == types[loop.source]:
        last = f"@{count} {n}.const 1 {n}.sub @i {n}.sub"
        at = f"@i {last} @{loop.target} @{loop.source} {types[loop.target]}.le_u select"
    element = loop.element.format(
        target=moved(loop.target, "@j"), source=moved(loop.source, "@j", loop.step) if loop.indexed else f"@{loop.source}", n=n
    )
    whole = " ".join(f"@{each}" for each in names)
    text = (
        f"@{count} {n}.const {_MOST} {n}.le_u {' '.join(fits)} if {checked} {n}.const 0 local.set $i\n"
        f"block loop @i @{count} {n}.ge_u br_if 1 {at} local.set $j {element} @i {n}.const 1 {n}.add local.set $i br 0 end end\n"
        f"else {whole} raw $own end"
    )
    return Replacement(text, {"i": n, "j": n})


def _loop(site: ReplacementSite) -> Loop | None:  # noqa: PLR0911 - one instruction a line
    first = site.immediates[0]
    match site.name:
        case "memory.copy":
            return Loop(f"{{target}} {{source}} i32.load8_u {site.immediates[1]} i32.store8 {first}", overlaps=True)
        case "memory.fill":
            return Loop(f"{{target}} {{source}} i32.store8 {first}", indexed=False)
        case "table.copy":
            return Loop(f"{{target}} {{source}} table.get {site.immediates[1]} table.set {first}", overlaps=True)
        case "table.fill":
            return Loop(f"{{target}} {{source}} table.set {first}", indexed=False)
        case "memory.init" | "table.init":
            return Loop("{target} {source} i32.const 1 raw $own")
        case "array.fill":
            return Loop(f"@a {{target}} {{source}} array.set {first}", target="b", source="c", indexed=False)
        case "array.copy":
            get = "array.get_u" if _storage(site, site.immediates[1]) in ("i8", "i16") else "array.get"
            element = f"@a {{target}} @c {{source}} {get} {site.immediates[1]} array.set {first}"
            return Loop(element, target="b", source="d", overlaps=True)
        case "array.init_data":
            step = _WIDTHS.get(_storage(site, first), 1)
            return Loop("@a {target} {source} i32.const 1 raw $own", target="b", source="c", step=step)
        case "array.init_elem":
            return Loop("@a {target} {source} i32.const 1 raw $own", target="b", source="c")
    return None


def _storage(site: ReplacementSite, typeidx: int) -> str:
    composite = site.module.types[typeidx].composite
    assert isinstance(composite, ArrayType), "valid"  # noqa: S101
    return str(composite.field.storage)
