"""Operations of control: constants, variables, blocks, branches, calls and exceptions."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from diffcheck.runner.sweep.operands import operands
from diffcheck.runner.sweep.operation import Operation, always

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS: Final = ("i32", "i64", "f32", "f64")
_CHOICES: Final = ((0,), (1,), (2,), (1 << 31,), ((1 << 32) - 1,))
_PAIRS: Final = 5
_LABELS: Final = (1, 2, 3, 11, 12, 14, 15, 63, 64, 127, 128, 1000)


def operations() -> Iterator[Operation]:
    """The operations of constants, variables and control instructions."""
    yield from _constants()
    yield from _variables()
    yield from _branches()
    yield from _tables_of_labels()
    yield from _calls()
    yield from _exceptions()


def _constants() -> Iterator[Operation]:
    made = partial(Operation, "control")
    for type_ in _NUMBERS:
        integer = type_.replace("f", "i")
        for number, value in enumerate(operands(type_).values):
            text = f"{type_}.const {value}" if type_ == integer else f"{type_}.const {_float(type_, value)}"
            yield made(f"{type_}.const", text, results=(type_,), form=f"value {number}", cell="values")
    for number, value in enumerate(operands("i8x16").values[::4]):
        lanes = " ".join(str(value >> 64 * at & (1 << 64) - 1) for at in (0, 1))
        yield made("v128.const", f"v128.const i64x2 {lanes}", results=("v128",), form=f"value {number}", cell="values")


def _float(type_: str, value: int) -> str:
    """A float in the text format, in hexadecimal, so that no bit is lost."""
    bits, width = (32, 23) if type_ == "f32" else (64, 52)
    sign = "-" if value >> bits - 1 else ""
    exponent, fraction = value >> width & (1 << bits - 1 - width) - 1, value & (1 << width) - 1
    most = (1 << bits - 1 - width) - 1
    if exponent == most:
        return f"{sign}nan:{fraction:#x}" if fraction else f"{sign}inf"
    digits, bias = fraction | bool(exponent) << width, most >> 1
    return f"{sign}{digits:#x}p{max(exponent, 1) - bias - width}"


def _variables() -> Iterator[Operation]:
    fields = "".join(
        f"(global ${each} (mut {each}) ({each}.const {'i64x2 0 0' if each == 'v128' else 0}))" for each in (*_NUMBERS, "v128")
    )
    for type_ in (*_NUMBERS, "v128"):
        chosen = tuple((each,) for each in operands("i8x16" if type_ == "v128" else type_).values[::6])
        made = partial(
            Operation, "control", results=(type_,), form=type_, types=(type_,), chosen=chosen, locals=(("x", type_), ("y", type_))
        )
        yield made("local.get", "")
        yield made("local.set", "local.set $x local.get $x")
        yield made("local.tee", "local.tee $y drop local.get $y")
        yield made("global.set", f"global.set ${type_} global.get ${type_}", fields=fields)
        yield made("global.get", f"global.set ${type_} global.get ${type_}", fields=fields)
        yield made("drop", f"{type_}.const {'i64x2 1 2' if type_ == 'v128' else 1} drop")
        yield made("nop", "nop")
        pairs = ((one, other, *each) for (one,), (other,) in pairwise(chosen[:_PAIRS]) for each in _CHOICES)
        choice = partial(made, types=(type_, type_, "i32"), chosen=tuple(pairs))
        yield choice("select", "select")
        yield choice("select_t", f"select (result {type_})")


def _branches() -> Iterator[Operation]:
    fields = """(type $two (func (param i32 i32) (result i32 i32))) (type $many (func (result i32 i64 f32 f64)))
(type $turn (func (param i32 i32) (result i32)))"""
    made = partial(Operation, "control", fields=fields, types=("i32",), chosen=_CHOICES, locals=(("c", "i32"), ("n", "i32")))
    yield made("if", "if (result i32) i32.const 1 else i32.const 2 end")
    yield made("if", "i32.const 3 local.set $n if i32.const 4 local.set $n end local.get $n", form="without else")
    yield made("else", "if (result i32) i32.const 1 else nop i32.const 2 end")
    yield made("if", "local.set $c i32.const 10 i32.const 20 local.get $c if (type $two) i32.sub i32.const 5 else i32.add i32.const 6 end i32.xor",
               form="with parameters")  # fmt: skip
    yield made("block", "drop block (result i32) i32.const 4 end")
    yield made("block", "i32.const 7 block (type $two) i32.mul i32.const 9 end i32.sub", form="with parameters")
    yield made("end", "drop block (result i32) i32.const 4 end")
    many = "drop block (type $many) i32.const 1 i64.const 2 f32.const 3 f64.const 4 {} end"
    results = ("i32", "i64", "f32", "f64")
    yield made("block", many.format(""), results=results, form="many results")
    yield made("br", many.format("br 0"), results=results, form="many results")
    yield made("br_if", "local.set $c block (type $many) i32.const 1 i64.const 2 f32.const 3 f64.const 4 local.get $c br_if 0 drop f64.const 5 end",
               results=results, form="many results")  # fmt: skip
    yield made("br_if", "local.set $c block (result i32) i32.const 1 local.get $c br_if 0 drop i32.const 2 end")
    yield made("br_if", "local.set $c i32.const 8 local.get $c br_if 0 drop i32.const 9", form="the function's label")
    yield made("br", "block (result i32) i32.const 5 br 0 end i32.add")
    yield made("br", "i32.const 3 i32.add br 0", form="the function's label")
    yield made(
        "br", "i32.const 50 i32.const 60 block (result i32) i32.const 70 br 0 end drop drop drop", form="with operands below"
    )
    turns = partial(made, chosen=((1,), (2,), (10,), (1000,)))
    step = "local.get $n i32.const 1 i32.add local.tee $n local.get $c i32.lt_u"
    yield turns("loop", f"local.set $c loop {step} br_if 0 end local.get $n")
    yield turns("br", f"local.set $c loop {step} if br 1 end end local.get $n", form="a loop's label")
    yield turns("loop", "local.set $c i32.const 0 local.get $c loop (type $turn) local.set $c i32.const 3 i32.add local.get $c i32.const 1 i32.sub "
                "local.tee $c local.get $c br_if 0 drop end", form="with parameters", results=("i32",))  # fmt: skip
    yield made("return", "return")
    yield made(
        "return", "drop i32.const 40 block (result i32) loop (result i32) i32.const 50 return end end drop", form="from blocks"
    )
    yield made("unreachable", "unreachable", traps=always)


def _tables_of_labels() -> Iterator[Operation]:
    for count in (*_LABELS, 20_000, 20_001):
        inner = f"local.get $i br_table {' '.join(str(at % 3) for at in range(count))} 3"
        text = f"local.set $i block block block block {inner} end i32.const 10 return end i32.const 11 return end i32.const 12 return end i32.const 13"
        chosen = tuple((each,) for each in dict.fromkeys((0, 1, 2, count // 2, count - 1, count, count + 1, (1 << 32) - 1)))
        yield Operation("control", "br_table", text, form=f"{count} labels", locals=(("i", "i32"),), types=("i32",), chosen=chosen)
    text = "local.set $i block (result i64) i64.const 5 local.get $i br_table 0 1 0 end i64.const 1 i64.add"
    yield Operation("control", "br_table", text, results=("i64",), form="with a value", locals=(("i", "i32"),), types=("i32",),
                    chosen=((0,), (1,), (2,), ((1 << 32) - 1,)))  # fmt: skip
    yield Operation("control", "br_table", "local.set $i block $out loop $l local.get $n i32.const 1 i32.add local.tee $n local.get $i i32.ge_u "
                    "br_table $l $out end end local.get $n", form="a loop's label", locals=(("i", "i32"), ("n", "i32")), types=("i32",),
                    chosen=((1,), (5,)))  # fmt: skip


def _calls() -> Iterator[Operation]:
    fields = """(type $many (func (param i32 i64 f32 f64) (result f64 f32 i64 i32)))
(func $swap (type $many) local.get 3 local.get 2 local.get 1 local.get 0)
(func $count (param i32 i32) (result i32) local.get 0 if (result i32) local.get 0 i32.const 1 i32.sub local.get 1 i32.const 3 i32.add
 return_call $count else local.get 1 end)
(func $sum (param i32) (result i32) local.get 0 if (result i32) local.get 0 local.get 0 i32.const 1 i32.sub call $sum i32.add else i32.const 0 end)"""
    made = partial(Operation, "control", fields=fields)
    yield made("call", "call $swap", types=("i32", "i64", "f32", "f64"), results=("f64", "f32", "i64", "i32"),
               chosen=((1, 2, 0x7FA0_0001, 0x7FF4_0000_0000_0001), ((1 << 32) - 1, 1 << 63, 1, 1)), form="many parameters and results")  # fmt: skip
    yield made("call", "call $sum", types=("i32",), chosen=((0,), (1,), (100,)), form="recursion")
    yield made("return_call", "i32.const 0 return_call $count", types=("i32",), chosen=((0,), (1,), (100_000,)))
    for count in (64, 127, 128, 129, 1000):
        params = " ".join(["i32"] * count)
        own = f"(func $wide{count} (param {params}) (result i32) local.get {count - 1} local.get 0 i32.sub)"
        text = " ".join(f"i32.const {at * 3}" for at in range(count)) + f" call $wide{count}"
        yield Operation("control", "call", text, form=f"{count} parameters", own=own, cell="many parameters")


def _exceptions() -> Iterator[Operation]:
    fields = """(tag $e (param i64)) (tag $f (param i32 f64)) (tag $n)
(func $throws (param i32) local.get 0 if i64.const 8 throw $e end)
(func $deep (param i32) local.get 0 if local.get 0 i32.const 1 i32.sub call $deep else i64.const 9 throw $e end)
(func $own (result i64) try_table (catch $e 0) i64.const 8 throw $e end i64.const 1)
(func $rethrows (result i64) block $h (result exnref) try_table (catch_all_ref $h) i64.const 21 throw $e end unreachable end throw_ref)"""
    made = partial(Operation, "exceptions", fields=fields, results=("i64",))
    caught = "block $h (result i64) try_table (catch $e $h) {} end i64.const 1 end"
    yield made("throw", caught.format("i64.const 5 throw $e"))
    yield made("throw", "block $h (result i32 f64) try_table (catch $f $h) i32.const 6 f64.const 7 throw $f end i32.const 0 f64.const 0 end",
               results=("i32", "f64"), form="two values")  # fmt: skip
    yield made("throw", "block $h try_table (catch $n $h) throw $n end i64.const 1 return end i64.const 2", form="no value")
    yield made("throw", "i64.const 5 throw $e", form="uncaught", traps=always)
    yield made("throw", caught.format("i32.const 1 f64.const 2 throw $f"), form="another tag", traps=always)
    yield made("try_table", caught.format("i32.const 0 call $throws"), form="nothing thrown")
    yield made("try_table", caught.format("i32.const 1 call $throws"), form="thrown by a callee")
    for depth in (1, 10, 1000):
        yield made("try_table", caught.format(f"i32.const {depth} call $deep"), form=f"thrown through {depth} frames")
    yield made("try_table", "call $own", form="the function's label")
    yield made(
        "try_table",
        "block $h try_table (catch_all $h) i32.const 1 call $throws end i64.const 1 return end i64.const 2",
        form="catch_all",
    )
    yield made("try_table", "block $h (result i64 exnref) try_table (catch_ref $e $h) i32.const 1 call $throws end i64.const 1 ref.null exn end drop",
               form="catch_ref")  # fmt: skip
    yield made("try_table", "block $h (result exnref) try_table (catch_all_ref $h) i32.const 1 call $throws end ref.null exn end ref.is_null",
               results=("i32",), form="catch_all_ref")  # fmt: skip
    yield made("try_table", "block $n block $h (result i64) try_table (catch $n $n) (catch $e $h) i64.const 3 throw $e end unreachable end "
               "return end i64.const 1", form="the second clause")  # fmt: skip
    yield made("try_table", "block $h (result i64) try_table (result i64) (catch $e $h) i64.const 12 end end", form="a result")
    yield made("try_table", "block $o (result i64) try_table (catch $e $o) block $i try_table (catch $n $i) i64.const 4 throw $e end end end i64.const 1 end",
               form="the outer block")  # fmt: skip
    again = "loop $again {} local.get $n i64.const 1 i64.add local.set $n local.get $n i64.const 3 i64.lt_u {} end local.get $n"
    yield made(
        "try_table",
        again.format("try_table (catch_all $again)", "if throw $n end end"),
        form="a loop's label",
        locals=(("n", "i64"),),
    )
    yield made(
        "throw_ref", "block $h (result i64) try_table (catch $e $h) call $rethrows return end unreachable end", form="caught again"
    )
    yield made("throw_ref", "ref.null exn throw_ref", form="null", traps=always)
    for name, text in _LEGACY.items():
        yield made(name, text, form="legacy", fields=f"{fields} (func $legacy)", results=("i32",))


_LEGACY: Final = {
    "try": "try (result i32) i32.const 1 catch_all i32.const 2 end",
    "catch": "try (result i32) throw $n catch $n i32.const 2 end",
    "catch_all": "try (result i32) throw $n catch_all i32.const 2 end",
    "rethrow": "try (result i32) try (result i32) throw $n catch_all rethrow 0 end catch_all i32.const 2 end",
    "delegate": "try (result i32) try (result i32) throw $n delegate 0 catch_all i32.const 2 end",
}
"""The instructions of the proposal before ``try_table``."""
