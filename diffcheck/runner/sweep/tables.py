"""Operations of the table instructions and of calls through tables, with both index types."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from diffcheck.runner.sweep.memory import bool_of_first
from diffcheck.runner.sweep.operation import Operation, always

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIZE: Final = 10
_PASSIVE: Final = 4
_FUNCTIONS: Final = """(type $f (func (result i32))) (type $g (func (param i32) (result i32)))
(type $nullable (func (param (ref null func)) (result i32))) (type $certain (func (param (ref func)) (result i32)))
(func $f0 (type $f) i32.const 100) (func $f1 (type $f) i32.const 101) (func $f2 (type $g) local.get 0 i32.const 7 i32.add)
(func $f3 (type $nullable) i32.const 103)"""


def operations() -> Iterator[Operation]:
    """The operations of all instructions on tables."""
    for index in ("i32", "i64"):
        yield from _of_tables(index)
        yield from _growing(index)
    yield from _calls()


def _of_tables(index: str) -> Iterator[Operation]:
    word = "i64 " if index == "i64" else ""
    form = "table64" if index == "i64" else ""
    fields = f"""{_FUNCTIONS} (table $t {word}{_SIZE} 20 funcref) (table $o {word}6 6 funcref) (table $x {word}4 4 externref)
(elem (table $t) ({index}.const 0) func $f0 $f1 $f2) (elem (table $o) ({index}.const 2) func $f1 $f0)
(elem $passive func $f0 $f1 $f2 $f3) (elem $dropped func $f1) (elem declare func $f0 $f1 $f2 $f3)"""
    made = partial(Operation, "tables", fields=fields)

    def entries(*places: int) -> str:
        """Whether entries are null, as bits."""
        parts = [f"{index}.const {at} table.get $t ref.is_null i32.const {bit} i32.shl" for bit, at in enumerate(places)]
        return " ".join([parts[0], *(f"{each} i32.or" for each in parts[1:])])

    def beyond(length: int, *starts: int) -> Callable[[tuple[int, ...]], bool]:
        return lambda values: any(values[at] + values[length] > _SIZE for at in starts)

    reset = (
        f"{index}.const 0 ref.func $f0 table.set $t {index}.const 1 ref.func $f1 table.set $t {index}.const 2 ref.func $f2 table.set $t "
        + " ".join(f"{index}.const {at} ref.null func table.set $t" for at in range(3, _SIZE))
    )
    most = (1 << int(index[1:])) - 1
    yield made(
        "table.get", "table.get $t ref.is_null", form=form, types=(index,), chosen=tuple((at,) for at in (0, 2, 3, 9, 10, 11, 1 << 31, most)),
        traps=lambda values: values[0] >= _SIZE,
    )  # fmt: skip
    yield made(
        "table.set", f"local.set $i local.get $i ref.func $f1 table.set $t {entries(*range(_SIZE))} local.get $i ref.null func table.set $t",
        form=form, locals=(("i", index),), types=(index,), chosen=tuple((at,) for at in (3, 9, 10, most)),
        traps=lambda values: values[0] >= _SIZE,
    )  # fmt: skip
    yield made("table.size", "table.size $t table.size $x", results=(index, index), form=form)
    yield made(
        "table.fill", f"local.set $n local.set $i {reset} local.get $i ref.func $f0 local.get $n table.fill $t {entries(*range(_SIZE))}",
        form=form, locals=(("i", index), ("n", index)), types=(index, index),
        chosen=((3, 0), (3, 1), (4, 6), (9, 1), (10, 0), (9, 2), (10, 1), (11, 0), (most, 2)), traps=beyond(1, 0),
    )  # fmt: skip
    yield made(
        "table.copy", f"local.set $n local.set $s local.set $i {reset} local.get $i local.get $s local.get $n table.copy $t $t {entries(*range(_SIZE))}",
        form=form, locals=(("i", index), ("s", index), ("n", index)), types=(index, index, index),
        chosen=((4, 0, 3), (1, 0, 5), (0, 1, 5), (7, 2, 3), (3, 3, 0), (10, 0, 0), (0, 10, 0), (8, 0, 3), (0, 8, 3), (11, 0, 0), (0, most, 2)),
        traps=beyond(2, 0, 1),
    )  # fmt: skip
    yield made(
        "table.copy", f"{reset} {index}.const 5 {index}.const 2 {index}.const 2 table.copy $t $o {entries(*range(_SIZE))}",
        form=" ".join(filter(None, ("another table", form))),
    )  # fmt: skip
    yield made(
        "table.init", f"local.set $n local.set $s local.set $i {reset} local.get $i local.get $s local.get $n table.init $t $passive {entries(*range(_SIZE))}",
        form=form, locals=(("i", index), ("s", "i32"), ("n", "i32")), types=(index, "i32", "i32"),
        chosen=((4, 0, 4), (9, 3, 1), (3, 4, 0), (10, 0, 0), (3, 5, 0), (3, 2, 3), (9, 0, 2), (most, 0, 2)),
        traps=lambda values: values[0] + values[2] > _SIZE or values[1] + values[2] > _PASSIVE,
    )  # fmt: skip
    yield made(
        "table.init", f"local.set $n {index}.const 4 i32.const 0 local.get $n table.init $t 0", results=(),
        form=" ".join(filter(None, ("active segment", form))), locals=(("n", "i32"),), types=("i32",), chosen=((0,), (1,)),
        traps=bool_of_first,
    )  # fmt: skip
    yield made(
        "elem.drop", f"local.set $n elem.drop $dropped {index}.const 4 i32.const 0 local.get $n table.init $t $dropped", results=(),
        form=form, locals=(("n", "i32"),), types=("i32",), chosen=((0,), (1,)), traps=bool_of_first,
    )  # fmt: skip
    yield made(
        "call_indirect", f"local.set $i {reset} local.get $i call_indirect $t (type $f)", form=form, locals=(("i", index),), types=(index,),
        chosen=tuple((at,) for at in (0, 1, 2, 3, 9, 10, 1 << 31, most)), traps=lambda values: values[0] not in (0, 1),
    )  # fmt: skip
    yield made(
        "return_call_indirect", f"local.set $i {reset} local.get $i return_call_indirect $t (type $f)", form=form, locals=(("i", index),),
        types=(index,), chosen=tuple((at,) for at in (0, 1, 2, 9, 10)), traps=lambda values: values[0] not in (0, 1),
    )  # fmt: skip
    yield made(
        "call_indirect", f"i32.const 5 {index}.const 3 call_indirect $o (type $f) i32.add",
        form=" ".join(filter(None, ("another table", form))),
    )  # fmt: skip


def _growing(index: str) -> Iterator[Operation]:
    word, form = ("i64 ", "table64") if index == "i64" else ("", "")
    most = ((1 << 32) + 1, (1 << 64) - 1) if index == "i64" else ((1 << 32) - 1,)
    fields = f"{_FUNCTIONS} (table $t {word}2 8 funcref) (table $u {word}0 externref) (elem declare func $f0)"
    yield Operation(
        "tables", "table.grow", "local.set $n ref.func $f0 local.get $n table.grow $t table.size $t", results=(index, index), form=form,
        fields=fields, locals=(("n", index),), types=(index,), chosen=tuple((each,) for each in (0, 1, 7, 5, 1, 0, *most)),
    )  # fmt: skip
    yield Operation(
        "tables", "table.grow", f"ref.func $f0 {index}.const 2 table.grow $t drop {index}.const 3 table.get $t ref.is_null",
        form=f"the new elements {form}".strip(), fields=fields,
    )  # fmt: skip
    yield Operation(
        "tables", "table.grow", f"ref.null extern {index}.const 3 table.grow $u drop {index}.const 2 table.get $u ref.is_null",
        form=f"from 0 {form}".strip(), fields=fields,
    )  # fmt: skip


def _calls() -> Iterator[Operation]:
    fields = f"""{_FUNCTIONS} (table $t 4 funcref) (elem (table $t) (i32.const 0) func $f0 $f1 $f2 $f3)
(type $open (sub (func (result i32)))) (type $under (sub $open (func (result i32)))) (func $f4 (type $under) i32.const 104)
(table $s 1 funcref) (elem (table $s) (i32.const 0) func $f4)"""
    made = partial(Operation, "tables", fields=fields)
    yield made("call_indirect", "i32.const 30 i32.const 2 call_indirect $t (type $g)", form="with a parameter")
    yield made("call_indirect", "i32.const 1 i32.const 0 call_indirect $t (type $g)", form="another type", traps=always)
    yield made("call_indirect", "ref.null func i32.const 3 call_indirect $t (type $nullable)", form="a parameter that may be null")
    yield made(
        "call_indirect", "ref.func $f0 i32.const 3 call_indirect $t (type $certain)", form="a type of other nullability", traps=always
    )  # fmt: skip
    yield made("call_indirect", "i32.const 0 call_indirect $s (type $open)", form="a subtype", results=("i32",))
    yield made("call_indirect", "i32.const 0 call_indirect $s (type $f)", form="a type outside of the subtypes", traps=always)
