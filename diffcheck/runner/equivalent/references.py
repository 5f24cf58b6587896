"""Casts by branches and branches by casts; fields, elements and tables by other accesses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.runner.equivalent.replacement import Replacement
from diffcheck.wasm.types import ArrayType, FuncType, RefType, StructType

if TYPE_CHECKING:
    from diffcheck.runner.equivalent.replacement import Replace, ReplacementSite
    from diffcheck.wasm.types import CompositeType, FieldType, ValType

_TOPS: Final = {
    **dict.fromkeys(("func", "nofunc"), "func"), **dict.fromkeys(("extern", "noextern"), "extern"),
    **dict.fromkeys(("exn", "noexn"), "exn"),
}  # fmt: skip
_TARGET_NULL: Final = 2
_SOURCE_NULL: Final = 1
_PACKED: Final = {"i8": 8, "i16": 16}


# Tests and casts.


def _is_null(_: ReplacementSite) -> Replacement:
    return Replacement("block (result i32) block $null @a br_on_null $null drop i32.const 0 br 1 end i32.const 1 end")


def _as_non_null(site: ReplacementSite) -> Replacement:
    return Replacement(f"block $found (result {site.results[0]}) @a br_on_non_null $found @a raw $own end")


def _target(site: ReplacementSite) -> RefType:
    return RefType(nullable=site.name.endswith("_null"), heap=site.immediates[0])


def _top(site: ReplacementSite, heap: str | int) -> str:
    """The nullable reference type at the top of a hierarchy."""
    if isinstance(heap, int):
        heap = "func" if isinstance(site.module.types[heap].composite, FuncType) else "any"
    return f"(ref null {_TOPS.get(heap, 'any')})"


def _test(site: ReplacementSite) -> Replacement:
    target = _target(site)
    branch = f"@a br_on_cast $found {_top(site, target.heap)} {target}"
    return Replacement(f"block (result i32) block $found (result {target}) {branch} drop i32.const 0 br 1 end drop i32.const 1 end")


def _cast(site: ReplacementSite) -> Replacement:
    target = _target(site)
    return Replacement(
        f"block $found (result {target}) @a br_on_cast $found {_top(site, target.heap)} {target} drop @a raw $own end"
    )


def _br_on_null(site: ReplacementSite) -> Replacement | None:
    label = site.immediates[0]
    text = f"@a ref.is_null if br {label + 1} end @a ref.as_non_null"
    return None if site.label(label) else Replacement(text, inline=True)


def _br_on_non_null(site: ReplacementSite) -> Replacement | None:
    label = site.immediates[0]
    text = f"@a ref.is_null i32.eqz if @a ref.as_non_null br {label + 1} end"
    return Replacement(text, inline=True) if len(site.label(label)) == 1 else None


def _br_on_cast(site: ReplacementSite) -> Replacement | None:
    flags, label, _, heap = site.immediates
    if len(site.label(label)) != 1:
        return None
    target = RefType(nullable=bool(flags & _TARGET_NULL), heap=heap)
    rest = "@a ref.as_non_null" if flags & _SOURCE_NULL and flags & _TARGET_NULL else "@a"
    if site.name == "br_on_cast":
        text = f"@a ref.test {target} if @a ref.cast {target} br {label + 1} end {rest}"
    else:
        text = f"@a ref.test {target} i32.eqz if {rest} br {label + 1} end @a ref.cast {target}"
    return Replacement(text, inline=True)


def _eq(_: ReplacementSite) -> Replacement:
    return Replacement("@b @a ref.eq")


def _i31(site: ReplacementSite) -> Replacement:
    if site.name == "i31.get_u":
        return Replacement("@a i31.get_s i32.const 0x7fffffff i32.and")
    return Replacement("@a i31.get_u i32.const 1 i32.shl i32.const 1 i32.shr_s")


# Structures.


def _composite(site: ReplacementSite) -> CompositeType:
    typeidx: int = site.immediates[0]
    return site.module.types[typeidx].composite


def _has_default(field: FieldType) -> bool:
    """Whether a new object can have a default value in the field, which is then set."""
    return field.mutable and not (isinstance(field.storage, RefType) and not field.storage.nullable)


def _struct_new(site: ReplacementSite) -> Replacement | None:
    struct, typeidx = _composite(site), site.immediates[0]
    assert isinstance(struct, StructType), "valid"  # noqa: S101
    if not all(map(_has_default, struct.fields)):
        return None
    sets = [f"@r @{name} struct.set {typeidx} {at}" for at, name in enumerate(site.names)]
    text = f"struct.new_default {typeidx} local.set $r {' '.join(sets)} @r"
    return Replacement(text, {"r": RefType(nullable=False, heap=typeidx)})


def _struct_get(site: ReplacementSite) -> Replacement | None:
    """The field, after it was set to what it is; a packed one with the other extension."""
    struct, (typeidx, field) = _composite(site), site.immediates
    assert isinstance(struct, StructType), "valid"  # noqa: S101
    if site.name != "struct.get":
        return Replacement(_packed(f"@a struct.{{get}} {typeidx} {field}", site.name, struct.fields[field]))
    return Replacement(f"@a @a raw $own struct.set {typeidx} {field} @a raw $own") if struct.fields[field].mutable else None


def _packed(text: str, name: str, field: FieldType) -> str:
    bits = _PACKED[str(field.storage)]
    if name.endswith("_u"):
        return f"{text.format(get='get_s')} i32.const {(1 << bits) - 1} i32.and"
    return f"{text.format(get='get_u')} i32.extend{bits}_s"


# Arrays.


def _array_new(site: ReplacementSite) -> Replacement | None:
    array, typeidx = _composite(site), site.immediates[0]
    assert isinstance(array, ArrayType), "valid"  # noqa: S101
    if not _has_default(array.field):
        return None
    local: dict[str, ValType] = {"r": RefType(nullable=False, heap=typeidx)}
    if site.name == "array.new":
        text = f"@b array.new_default {typeidx} local.set $r @r i32.const 0 @a @b array.fill {typeidx} @r"
        return Replacement(text, local)
    sets = [f"@r i32.const {at} @{name} array.set {typeidx}" for at, name in enumerate(site.names)]
    return Replacement(f"i32.const {len(sets)} array.new_default {typeidx} local.set $r {' '.join(sets)} @r", local)


def _array_get(site: ReplacementSite) -> Replacement | None:
    """The element in a copy of it; a packed one with the other extension."""
    array, typeidx = _composite(site), site.immediates[0]
    assert isinstance(array, ArrayType), "valid"  # noqa: S101
    packed = array.field.storage in _PACKED
    if not _has_default(array.field):
        return Replacement(_packed(f"@a @b array.{{get}} {typeidx}", site.name, array.field)) if packed else None
    copy = f"i32.const 1 array.new_default {typeidx} local.set $r @r i32.const 0 @a @b i32.const 1 array.copy {typeidx} {typeidx}"
    get = f"@r i32.const 0 array.{{get}} {typeidx}"
    value = _packed(get, site.name, array.field) if packed else get.format(get="get")
    return Replacement(f"{copy} {value}", {"r": RefType(nullable=False, heap=typeidx)})


def _array_set(site: ReplacementSite) -> Replacement:
    return Replacement(f"@a @b @c i32.const 1 array.fill {site.immediates[0]}")


# Tables.


def _table_set(site: ReplacementSite) -> Replacement:
    return Replacement(f"@a @b {site.operands[0]}.const 1 table.fill {site.immediates[0]}")


def _table_size(site: ReplacementSite) -> Replacement | None:
    table = site.module.all_tables[site.immediates[0]]
    text = f"ref.null {table.ref.heap} {site.results[0]}.const 0 table.grow {site.immediates[0]}"
    return Replacement(text) if table.ref.nullable else None


def _table_grow(site: ReplacementSite) -> Replacement:
    table, t = site.immediates[0], site.results[0]
    text = f"table.size {table} local.set $o @a @b table.grow {table} {t}.const -1 {t}.eq if (result {t}) {t}.const -1 else @o end"
    return Replacement(text, {"o": t})


REPLACEMENTS: Final[dict[str, Replace]] = {
    "ref.is_null": _is_null,
    "ref.as_non_null": _as_non_null,
    "ref.eq": _eq,
    **dict.fromkeys(("ref.test", "ref.test_null"), _test),
    **dict.fromkeys(("ref.cast", "ref.cast_null"), _cast),
    "br_on_null": _br_on_null,
    "br_on_non_null": _br_on_non_null,
    **dict.fromkeys(("br_on_cast", "br_on_cast_fail"), _br_on_cast),
    **dict.fromkeys(("i31.get_s", "i31.get_u"), _i31),
    "struct.new": _struct_new,
    **dict.fromkeys(("struct.get", "struct.get_s", "struct.get_u"), _struct_get),
    **dict.fromkeys(("array.new", "array.new_fixed"), _array_new),
    **dict.fromkeys(("array.get", "array.get_s", "array.get_u"), _array_get),
    "array.set": _array_set,
}
TABLES: Final[dict[str, Replace]] = {
    "table.set": _table_set,
    "table.size": _table_size,
    "table.grow": _table_grow,
}
"""What needs neither typed references nor garbage collection."""
