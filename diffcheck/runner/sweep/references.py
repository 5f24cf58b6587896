"""Operations of references: null, functions, i31, structures, arrays, casts and conversions."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final

from diffcheck.runner.sweep.operation import Operation, always

if TYPE_CHECKING:
    from collections.abc import Iterator

_VALUES: Final = {
    "i8": (0, 0x7F, 0x80, 0xFF, 0x1FF, 0xFFFF_FF80),
    "i16": (0, 0x7FFF, 0x8000, 0xFFFF, 0x1_FFFF),
    "i32": (0, 0x8000_0001),
    "i64": (1, 0x8877_6655_4433_2211),
    "f32": (0x7FA0_0001, 0x8000_0000),
    "f64": (0x7FF4_0000_0000_0001, 0x3FF0_0000_0000_0000),
    "v128": (0x8877_6655_4433_2211_0102_0304_0506_07FF,),
}
_KINDS: Final = ("i8", "i16", "i32", "i64", "f32", "f64", "v128")
_HEAPS: Final = ("any", "eq", "i31", "struct", "array", "none", "func", "nofunc", "extern", "noextern", "exn", "noexn")
_SHORT: Final = 5
_ELEMENTS: Final = 3
_DATA: Final = "".join(f"\\{(31 * at + 200) % 256:02x}" for at in range(64))
_LENGTHS: Final = (0, 1, 63, 64, 65, 127, 128, 1023, 1024, 1025, 65_535, 65_536)


def operations() -> Iterator[Operation]:
    """The operations of all instructions on references."""
    yield from _plain()
    yield from _i31()
    for kind in _KINDS:
        yield from _structures(kind)
        yield from _arrays(kind)
    yield from _nested()
    yield from _elements()
    yield from _casts()
    yield from _constants()


def _unpacked(kind: str) -> str:
    return "i32" if kind in ("i8", "i16") else kind


def _suffixes(kind: str) -> tuple[str, ...]:
    return ("_s", "_u") if kind in ("i8", "i16") else ("",)


def _plain() -> Iterator[Operation]:
    fields = "(func $f (result i32) i32.const 42) (func $g (result i32) i32.const 43) (type $f (func (result i32))) (elem declare func $f $g)"
    made = partial(Operation, "references", fields=fields)
    for heap in _HEAPS:
        yield made("ref.null", f"ref.null {heap} ref.is_null", form=heap)
    yield made("ref.is_null", "ref.func $f ref.is_null", form="a function")
    yield made("ref.is_null", "ref.null func ref.is_null", form="null")
    yield made("ref.func", "ref.func $f call_ref $f")
    yield made("call_ref", "ref.func $g call_ref $f")
    yield made("call_ref", "ref.null $f call_ref $f", form="null", traps=always)
    yield made("return_call_ref", "ref.func $g return_call_ref $f")
    yield made("return_call_ref", "ref.null $f return_call_ref $f", form="null", traps=always)
    yield made("ref.as_non_null", "ref.func $f ref.as_non_null call_ref $f")
    yield made("ref.as_non_null", "ref.null $f ref.as_non_null drop i32.const 1", form="null", traps=always)
    taken = "block $null (result (ref $f)) {} {} $null i32.const 1 return end drop i32.const 2"
    for name, kind in (("null", "ref.null $f"), ("function", "ref.func $f")):
        yield made("br_on_non_null", taken.format(kind, "br_on_non_null"), form=name)
        yield made("br_on_null", f"block $null {kind} br_on_null $null call_ref $f return end i32.const 3", form=name)
    yield made("select_t", "local.set $c ref.func $f ref.null func local.get $c select (result funcref) ref.is_null",
               locals=(("c", "i32"),), types=("i32",), chosen=((0,), (1,), (1 << 31,)))  # fmt: skip
    structure = "(type $s (struct (field (mut i32)))) (type $a (array (mut i32)))"
    objects = partial(Operation, "references", fields=structure, locals=(("s", "(ref null $s)"),))
    yield objects("ref.eq", "i32.const 1 struct.new $s local.tee $s local.get $s ref.eq", form="the same")
    yield objects("ref.eq", "i32.const 1 struct.new $s i32.const 1 struct.new $s ref.eq", form="equal contents")
    yield objects("ref.eq", "ref.null $s ref.null $a ref.eq", form="nulls")
    yield objects("ref.eq", "i32.const 5 ref.i31 i32.const 5 ref.i31 ref.eq", form="i31")
    yield objects("ref.eq", "i32.const 5 ref.i31 i32.const 6 ref.i31 ref.eq", form="other i31")


def _i31() -> Iterator[Operation]:
    values = tuple((each,) for each in (0, 1, 0x3FFF_FFFF, 0x4000_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xC000_0000))
    made = partial(Operation, "references")
    for sign in ("_s", "_u"):
        yield made(f"i31.get{sign}", f"ref.i31 i31.get{sign}", types=("i32",), chosen=values)
        yield made(f"i31.get{sign}", f"ref.null i31 i31.get{sign}", form="null", traps=always)
    yield made("ref.i31", "ref.i31 i31.get_u", types=("i32",), chosen=values)


def _structures(kind: str) -> Iterator[Operation]:
    type_ = _unpacked(kind)
    values = _VALUES[kind]
    fields = f"(type $s (struct (field (mut i64)) (field $x (mut {kind})) (field (mut {kind})) (field (mut i8))))"
    new = f"local.set $v i64.const 77 local.get $v {type_}.const {_zero(type_)} i32.const 200 struct.new $s"
    made = partial(
        Operation, "references", results=(type_,), form=kind, fields=fields, locals=(("v", type_), ("s", "(ref null $s)")), types=(type_,),
        chosen=tuple((each,) for each in values),
    )  # fmt: skip
    for suffix in _suffixes(kind):
        get = f"struct.get{suffix} $s 1"
        yield made(f"struct.get{suffix}", f"{new} {get}")
        yield made(
            "struct.set",
            f"local.set $v struct.new_default $s local.tee $s local.get $v struct.set $s 1 local.get $s {get}",
            form=f"{kind}{suffix}",
        )
        yield made(
            f"struct.get{suffix}",
            f"local.set $v ref.null $s {get}",
            form=f"{kind} of null",
            chosen=((values[0],),),
            traps=always,
        )
    first = f"struct.get{_suffixes(kind)[0]} $s"
    yield made("struct.new", f"{new} local.tee $s struct.get $s 0 local.get $s struct.get_u $s 3", results=("i64", "i32"))
    yield made("struct.new_default", f"struct.new_default $s {first} 2", types=(), chosen=())
    yield made(
        "struct.set",
        "local.set $v ref.null $s local.get $v struct.set $s 1 local.get $v",
        form=f"{kind} of null",
        chosen=((values[0],),),
        traps=always,
    )


def _zero(type_: str) -> str:
    return "i64x2 0 0" if type_ == "v128" else "0"


def _arrays(kind: str) -> Iterator[Operation]:
    type_, values = _unpacked(kind), _VALUES[kind]
    fields = f'(type $a (array (mut {kind}))) (data $d "{_DATA}") (data $gone "{_DATA}")'
    made = partial(Operation, "references", results=(type_,), form=kind, fields=fields)
    own = partial(made, locals=(("v", type_), ("a", "(ref null $a)"), ("i", "i32"), ("n", "i32")))
    ones = tuple((each,) for each in values)
    for suffix in _suffixes(kind):
        get = f"array.get{suffix} $a"
        places = tuple((each, at) for each in values[:2] for at in (0, 3, 4, 5, 0xFFFF_FFFF))
        yield own(
            f"array.get{suffix}",
            f"local.set $i i32.const {_SHORT} array.new $a local.get $i {get}",
            types=(type_, "i32"),
            chosen=places,
            traps=_is_past,
        )
        yield own(f"array.get{suffix}", f"ref.null $a i32.const 0 {get}", form=f"{kind} of null", traps=always)
        yield own("array.set", f"local.set $i local.set $v i32.const {_SHORT} array.new_default $a local.tee $a local.get $i local.get $v array.set $a local.get $a local.get $i {get}",
                  form=f"{kind}{suffix}", types=(type_, "i32"), chosen=places, traps=_is_past)  # fmt: skip
        yield own("array.new_fixed", f"local.set $v local.get $v {type_}.const {_zero(type_)} local.get $v array.new_fixed $a 3 i32.const 2 {get}",
                  form=f"{kind}{suffix}", types=(type_,), chosen=ones)  # fmt: skip
        yield own("array.new_data", f"local.set $n local.set $i local.get $i local.get $n array.new_data $a $d local.get $n i32.const 1 i32.sub {get}",
                  form=f"{kind}{suffix}", types=("i32", "i32"), chosen=((0, 1), (3, 2), (48, 1), (64, 1), (0, 65), (0xFFFF_FFFF, 1)), traps=partial(_is_outside, _size(kind)))  # fmt: skip
        yield own("array.init_data", f"local.set $n local.set $i i32.const {_SHORT} array.new_default $a local.tee $a local.get $i i32.const 3 local.get $n array.init_data $a $d local.get $a i32.const 4 {get}",
                  form=f"{kind}{suffix}", types=("i32", "i32"), chosen=((4, 1), (2, 3), (5, 0), (5, 1), (6, 0), (0xFFFF_FFFF, 1)), traps=_is_past_end)  # fmt: skip
        filled = f"array.fill $a local.get $a i32.const 3 {get}"
        yield own("array.fill", f"local.set $n local.set $i local.set $v i32.const {_SHORT} array.new_default $a local.tee $a local.get $i local.get $v local.get $n {filled}",
                  form=f"{kind}{suffix}", types=(type_, "i32", "i32"), chosen=tuple((values[-1], *each) for each in ((0, 5), (3, 1), (4, 1), (5, 0), (5, 1), (6, 0))), traps=partial(_is_past_end_from, 0))  # fmt: skip
        copied = f"array.copy $a $a local.get $a i32.const 4 {get}"
        yield own("array.copy", f"local.set $n local.set $i local.set $v i32.const {_SHORT} array.new_default $a local.tee $a i32.const 1 local.get $v array.set $a local.get $a local.get $i local.get $a i32.const 1 local.get $n {copied}",
                  form=f"{kind}{suffix}", types=(type_, "i32", "i32"), chosen=tuple((values[-1], *each) for each in ((4, 1), (2, 3), (0, 4), (5, 0), (4, 2), (0, 5))), traps=partial(_is_past_end_from, 1))  # fmt: skip
    yield own("array.new", "i32.const 3 array.new $a array.len", results=("i32",), types=(type_,), chosen=ones)
    yield own(
        "array.new_default",
        "array.new_default $a local.tee $a array.len",
        results=("i32",),
        types=("i32",),
        chosen=((0,), (1,), (1024,)),
    )
    if kind in ("i8", "i32", "i64"):
        yield made(
            "array.len",
            "array.new_default $a array.len",
            results=("i32",),
            types=("i32",),
            chosen=tuple((each,) for each in _LENGTHS),
        )
        yield made("array.len", "ref.null $a array.len", results=("i32",), form=f"{kind} of null", traps=always)
        yield made(
            "array.new_data",
            "i32.const 0 i32.const 1 data.drop $gone array.new_data $a $gone array.len",
            results=("i32",),
            form=f"{kind}, dropped",
            traps=always,
        )


def _size(kind: str) -> int:
    return {"i8": 1, "i16": 2, "v128": 16}.get(kind, int(kind[1:]) // 8)


def _is_past(values: tuple[int, ...]) -> bool:
    return values[-1] >= _SHORT


def _is_outside(size: int, values: tuple[int, ...]) -> bool:
    return values[0] + size * values[1] > 64  # noqa: PLR2004 - the bytes of the segment


def _is_past_end(values: tuple[int, ...]) -> bool:
    return values[0] + values[1] > _SHORT


def _is_past_end_from(source: int, values: tuple[int, ...]) -> bool:
    return max(values[1], source) + values[2] > _SHORT


def _nested() -> Iterator[Operation]:
    fields = """(type $in (struct (field i64))) (type $arr (array i64)) (type $list (struct (field (ref null $list)) (field i64)))
(type $out (struct (field (mut (ref null $in))) (field (ref null $arr)) (field anyref) (field funcref) (field externref)
 (field exnref) (field i31ref))) (type $many (array (mut anyref))) (func $f (result i32) i32.const 9) (elem declare func $f)"""
    made = partial(Operation, "references", results=("i64",), fields=fields, locals=(("o", "(ref null $out)"),))
    build = """i64.const 5 struct.new $in i64.const 6 i64.const 7 array.new_fixed $arr 2 i32.const 8 ref.i31 ref.func $f
i32.const 3 ref.i31 extern.convert_any ref.null exn i32.const 4 ref.i31 struct.new $out"""
    yield made("struct.get", f"{build} struct.get $out 0 struct.get $in 0", form="a structure in a structure")
    yield made("struct.get", f"{build} struct.get $out 1 i32.const 1 array.get $arr", form="an array in a structure")
    yield made("struct.get", f"{build} struct.get $out 2 ref.cast i31ref i31.get_u i64.extend_i32_u", form="an i31 in a structure")
    yield made("struct.get", f"{build} struct.get $out 3 ref.is_null i64.extend_i32_u", form="a function in a structure")
    yield made("struct.get", f"{build} struct.get $out 4 ref.is_null i64.extend_i32_u", form="an external reference in a structure")
    for at, name in enumerate(("structure", "array", "any", "function", "external reference", "exception", "i31")):
        yield made(
            "ref.is_null", f"struct.new_default $out struct.get $out {at} ref.is_null", results=("i32",), form=f"a default {name}"
        )
    yield made("struct.set", f"{build} local.tee $o i64.const 11 struct.new $in struct.set $out 0 local.get $o struct.get $out 0 struct.get $in 0",
               form="a structure")  # fmt: skip
    yield made(
        "struct.get",
        "ref.null $list i64.const 1 struct.new $list i64.const 2 struct.new $list struct.get $list 0 struct.get $list 1",
        form="a list",
    )
    yield made("array.get", "i64.const 12 struct.new $in i32.const 3 array.new $many i32.const 2 array.get $many ref.cast (ref $in) struct.get $in 0",
               form="a structure in an array")  # fmt: skip


def _is_beyond(end: int, values: tuple[int, ...]) -> bool:
    return sum(values) > end


def _elements() -> Iterator[Operation]:
    fields = """(type $a (array (mut i31ref))) (elem $e i31ref (item (ref.i31 (i32.const 7))) (item (ref.i31 (i32.const 8))) (item (ref.i31 (i32.const 9))))
(elem $gone i31ref (item (ref.i31 (i32.const 7))))"""
    made = partial(
        Operation, "references", fields=fields, types=("i32", "i32"), locals=(("n", "i32"), ("a", "(ref null $a)"), ("i", "i32"))
    )
    yield made("array.new_elem", "local.set $n local.get $n array.new_elem $a $e local.get $n i32.const 1 i32.sub array.get $a i31.get_u",
               chosen=((0, 1), (0, 3), (1, 2), (2, 2), (0, 4)), traps=partial(_is_beyond, _ELEMENTS))  # fmt: skip
    yield made("array.init_elem", "local.set $n local.set $i i32.const 4 array.new_default $a local.tee $a local.get $i i32.const 1 local.get $n array.init_elem $a $e local.get $a i32.const 3 array.get $a ref.is_null",
               chosen=((3, 1), (2, 2), (4, 0), (0, 2), (4, 1), (3, 2)), traps=partial(_is_beyond, _ELEMENTS + 1))  # fmt: skip
    yield made(
        "array.new_elem",
        "elem.drop $gone array.new_elem $a $gone array.len",
        form="dropped",
        chosen=((0, 0), (0, 1)),
        traps=lambda values: values[1] > 0,
    )


def _casts() -> Iterator[Operation]:
    fields = """(type $a (sub (struct (field i32)))) (type $b (sub $a (struct (field i32) (field i32)))) (type $c (sub $a (struct (field i32) (field i64))))
(type $arr (array i32)) (func $f) (elem declare func $f)"""
    objects = {
        "null": "ref.null none", "i31": "i32.const 1 ref.i31", "base": "i32.const 1 struct.new $a",
        "derived": "i32.const 1 i32.const 2 struct.new $b", "sibling": "i32.const 1 i64.const 2 struct.new $c", "array": "i32.const 1 array.new_fixed $arr 1",
    }  # fmt: skip
    kinds = {"i31": {"i31"}, "struct": {"base", "derived", "sibling"}, "array": {"array"}, "eq": set(objects) - {"null"}, "none": set(),
             "$a": {"base", "derived", "sibling"}, "$b": {"derived"}, "$arr": {"array"}}  # fmt: skip
    made = partial(Operation, "references", fields=fields)
    for (name, text), (heap, kind) in product(objects.items(), kinds.items()):
        place, any_ = f"{name} to {heap}", f"block (result anyref) {text} end"
        for null in (False, True):
            word, suffix = f"(ref {'null ' * null}{heap})", "_null" * null
            holds = name in kind or (null and name == "null")
            yield made(f"ref.test{suffix}", f"{any_} ref.test {word}", form=place)
            yield made(f"ref.cast{suffix}", f"{any_} ref.cast {word} ref.is_null", form=place, traps=None if holds else always)
            taken = f"block $to (result anyref) {any_} {{}} $to anyref {word} drop i32.const 1 return end drop i32.const 2"
            yield made("br_on_cast", taken.format("br_on_cast"), form=f"{place}{suffix}")
            yield made("br_on_cast_fail", taken.format("br_on_cast_fail"), form=f"{place}{suffix}")
    yield made("any.convert_extern", "i32.const 77 ref.i31 extern.convert_any any.convert_extern ref.cast (ref i31) i31.get_u")
    yield made("any.convert_extern", "ref.null extern any.convert_extern ref.is_null", form="null")
    yield made("extern.convert_any", "i32.const 77 ref.i31 extern.convert_any ref.is_null")
    yield made("extern.convert_any", "ref.null any extern.convert_any ref.is_null", form="null")
    yield made("ref.test", "ref.func $f ref.test (ref func)", form="a function")


def _constants() -> Iterator[Operation]:
    fields = """(type $s (struct (field i32) (field i8))) (type $a (array i32)) (global $h externref (extern.convert_any (ref.i31 (i32.const 5))))
(global $s (ref $s) (struct.new $s (i32.const 6) (i32.const 300))) (global $a (ref $a) (array.new $a (i32.const 7) (i32.const 3)))
(global $f (ref $a) (array.new_fixed $a 2 (i32.const 8) (i32.const 9))) (global $d (ref $s) (struct.new_default $s))
(global $n i32 (i32.add (i32.const 40) (i32.mul (i32.const 3) (i32.const 5)))) (global $any anyref (any.convert_extern (global.get $h)))"""
    made = partial(Operation, "references", fields=fields)
    yield made("extern.convert_any", "global.get $h any.convert_extern ref.cast (ref i31) i31.get_u", form="constant expression")
    yield made("any.convert_extern", "global.get $any ref.cast (ref i31) i31.get_u", form="constant expression")
    yield made(
        "struct.new",
        "global.get $s struct.get $s 0 global.get $s struct.get_u $s 1",
        results=("i32", "i32"),
        form="constant expression",
    )
    yield made("struct.new_default", "global.get $d struct.get $s 0", form="constant expression")
    yield made("array.new", "global.get $a i32.const 2 array.get $a", form="constant expression")
    yield made("array.new_fixed", "global.get $f i32.const 1 array.get $a", form="constant expression")
    yield made("i32.mul", "global.get $n", form="constant expression")
