"""Operations of the memory instructions: offsets, alignments, and addresses around page ends and bounds, with both index types."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Final

from diffcheck.runner.sweep.operation import Operation, always
from diffcheck.wasm.opcodes import OPS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.wasm.opcodes import Op

_PAGES: Final = 3
_PASSIVE: Final = 16
_END: Final = _PAGES * 65_536
_PATTERN: Final = "".join(f"\\{(17 * at + 3) % 256:02x}" for at in range(64))
_OFFSETS: Final = (0, 1, 65_535, 131_072)
_PLACES: Final = (16, 17, 4099, 65_533, 65_536, 131_079)
"""Effective addresses, besides the last one."""
_VALUES: Final = {
    "i32": (0x8877_6655, 0x0102_03FF),
    "i64": (0x8877_6655_4433_2211, 0x0102_0304_0506_07FF),
    "f32": (0x7FA0_0001, 0xC048_0000),
    "f64": (0x7FF4_0000_0000_0001, 0xC009_21FB_5444_2D18),
    "v128": (0x8877_6655_4433_2211_0102_0304_0506_07FF,),
}
_ATOMIC: Final = 0xFE
_BLOCKS: Final = ((100, 0), (100, 1), (200, 17), (65_530, 12), (_END - 32, 28))
"""Addresses and lengths of filled and copied blocks."""


def operations() -> Iterator[Operation]:
    """The operations of all instructions on memories."""
    for index in ("i32", "i64"):
        memory = f"(memory {'i64 ' if index == 'i64' else ''}{_PAGES} {_PAGES})"
        fields = memory + "".join(
            f' (data ({index}.const {at}) "{_PATTERN}")' for at in (0, 4096, 65_504, 131_072, _END - 64)
        )  # fmt: skip
        for op in OPS:
            if "memarg" in op.immediates and op.name not in _WAITS:
                yield from _accesses(op, index, fields)
        yield from _bulk(index, fields)
    yield from _sizes()
    yield from _other()


def _form(index: str, *words: object) -> str:
    return " ".join(filter(None, (*map(str, words), "memory64" if index == "i64" else "")))


def _accesses(op: Op, index: str, fields: str) -> Iterator[Operation]:
    """Loads, stores and atomic instructions: each offset with the natural alignment or the least one, each lane at the ends."""
    atomic = op.prefix == _ATOMIC
    lanes = ("0", str(16 // op.width - 1)) if "lane" in op.immediates else ("",)
    for at, offset in enumerate(dict.fromkeys(each - each % op.width if atomic else each for each in _OFFSETS)):
        align, lane = op.width if atomic or at % 2 == 0 else 1, lanes[at % len(lanes)]
        memarg = f"offset={offset} align={align} {lane}".strip()
        form = _form(index, f"offset {offset} align {align}", lane and f"lane {lane}")
        yield _access(op, index, memarg, form, offset, fields)


def _access(op: Op, index: str, memarg: str, form: str, offset: int, fields: str) -> Operation:
    values, results = (op.params or ())[1:], op.results or ()
    step = op.width if op.prefix == _ATOMIC else 1
    places = [at - at % step for at in _PLACES if at >= offset + 8] + [_END - op.width]
    outside = [_END - op.width + step, _END, (1 << 32) - step, *([(1 << 64) - step] if index == "i64" else [])]
    addresses = [at - offset for at in (*places, *outside) if 0 <= at - offset < 1 << int(index[1:])] + [outside[2]]
    if op.prefix == _ATOMIC and op.width > 1:
        addresses.append(places[0] - offset + 1)
    text = f"{op.name} {memarg}"
    locals_: tuple[tuple[str, str], ...] = ()
    writes = "load" not in op.name and "notify" not in op.name
    if writes:
        locals_ = (("a", index), *((f"v{at}", each) for at, each in enumerate(values)))
        takes = " ".join(f"local.set ${name}" for name, _ in reversed(locals_))
        gives = " ".join(f"local.get ${name}" for name, _ in locals_)
        after = f"local.get $a {index}.const 8 {index}.sub i64.load offset={offset + op.width} align=1"
        text = f"{takes} {_known(op, offset)} {gives} {text} {after}"
        results = (*results, "i64")
    return Operation(
        "memory",
        op.name,
        text,
        results=results,
        form=form,
        fields=fields,
        locals=locals_,
        types=(index, *values),
        chosen=tuple(
            (address, *rest) for address in dict.fromkeys(addresses) for rest in product(*(_values(op, each) for each in values))
        ),
        traps=partial(_is_outside, offset, op.width, step),
    )


def _known(op: Op, offset: int) -> str:
    """Store a known value, with which an atomic exchange compares."""
    if ".rmw" not in op.name:
        return ""
    type_ = op.name[:3]
    narrow = "" if op.width == int(type_[1:]) // 8 else str(8 * op.width)
    return f"local.get $a {type_}.const {_VALUES[type_][0]} {type_}.store{narrow} offset={offset} align=1"


def _values(op: Op, type_: str) -> tuple[int, ...]:
    """Operands; for a compare-exchange also the known value as the instruction reads it."""
    values = _VALUES[type_]
    return tuple(dict.fromkeys((values[0] % (1 << 8 * op.width), *values))) if "cmpxchg" in op.name else values


def _is_outside(offset: int, width: int, step: int, values: tuple[int, ...]) -> bool:
    effective = values[0] + offset
    return effective + width > _END or effective % step != 0


def _bulk(index: str, fields: str) -> Iterator[Operation]:
    fields += ' (data $passive "0123456789abcdef") (data $dropped "0123456789")'
    ends = f"local.get $d {index}.const 4 {index}.sub i64.load align=1 local.get $d local.get $n {{}} {index}.add {index}.const 4 {index}.sub i64.load align=1"
    made = partial(Operation, "memory", results=("i64", "i64"), fields=fields)
    outside = ((_END, 1), (_END + 1, 0), (_END - 1, 2), ((1 << 32) - 1, 2))
    yield made(
        "memory.fill", f"local.set $n local.set $v local.tee $d local.get $v local.get $n memory.fill {ends.format('')}",
        form=_form(index), locals=(("d", index), ("v", "i32"), ("n", index)), types=(index, "i32", index),
        chosen=tuple((at, value, n) for at, n in (*_BLOCKS, *outside) for value in (0xAB, 0x1FF)), traps=partial(_is_beyond, 0, 2),
    )  # fmt: skip
    yield made(
        "memory.copy", f"local.set $n local.set $s local.tee $d local.get $s local.get $n memory.copy {ends.format('')}",
        form=_form(index), locals=(("d", index), ("s", index), ("n", index)), types=(index, index, index),
        chosen=(
            *((at, 4096, n) for at, n in (*_BLOCKS, *outside)), (4100, 4096, 32), (4096, 4103, 32), (65_530, 65_536, 40),
            (100, _END - 8, 9), (100, _END, 0), (100, _END + 1, 0),
        ), traps=lambda values: max(values[0], values[1]) + values[2] > _END,
    )  # fmt: skip
    extend = "i64.extend_i32_u" if index == "i64" else ""
    yield made(
        "memory.init", f"local.set $n local.set $s local.tee $d local.get $s local.get $n memory.init $passive {ends.format(extend)}",
        form=_form(index), locals=(("d", index), ("s", "i32"), ("n", "i32")), types=(index, "i32", "i32"),
        chosen=(
            (100, 0, 0), (100, 0, 16), (65_533, 3, 13), (_END - 16, 4, 12), (100, 16, 0), (100, 17, 0), (100, 8, 9), (_END, 0, 1),
            (100, 0xFFFF_FFFF, 2),
        ), traps=lambda values: values[0] + values[2] > _END or values[1] + values[2] > _PASSIVE,
    )  # fmt: skip
    yield made(
        "data.drop", f"local.set $n data.drop $dropped {index}.const 100 i32.const 0 local.get $n memory.init $dropped",
        results=(), form=_form(index), locals=(("n", "i32"),), types=("i32",), chosen=((0,), (1,)), traps=bool_of_first,
    )  # fmt: skip
    yield made(
        "memory.init", f"local.set $n {index}.const 100 i32.const 0 local.get $n memory.init 0", results=(),
        form=_form(index, "active segment"), locals=(("n", "i32"),), types=("i32",), chosen=((0,), (1,)), traps=bool_of_first,
    )  # fmt: skip
    yield made("memory.size", "memory.size", results=(index,), form=_form(index))


def bool_of_first(values: tuple[int, ...]) -> bool:
    """Whether the first operand is not zero."""
    return values[0] != 0


def _is_beyond(at: int, length: int, values: tuple[int, ...]) -> bool:
    return values[at] + values[length] > _END


def _sizes() -> Iterator[Operation]:
    """Growing, in memories of their own: it changes the bounds."""
    for index in ("i32", "i64"):
        most = [1 << 32, (1 << 32) + 1, (1 << 64) - 1] if index == "i64" else []
        for first in (0, 1):
            yield Operation(
                "memory", "memory.grow", "memory.grow memory.size", results=(index, index), form=_form(index, f"from {first} pages"),
                fields=f"(memory {'i64 ' if index == 'i64' else ''}{first} 4)", types=(index,),
                chosen=tuple((each,) for each in (0, 1, 65_536, 5, 0xFFFF_FFFF, *most, 2, 4, 0)),
            )  # fmt: skip
    yield Operation(
        "memory", "memory.grow", "memory.grow drop i32.const 131071 i32.load8_u i32.const 65534 i32.const 1 i32.store8 memory.size",
        results=("i32", "i32"), form="the new page", fields="(memory 1 4)", types=("i32",), chosen=((1,),),
    )  # fmt: skip


_WAITS: Final = ("memory.atomic.wait32", "memory.atomic.wait64")


def _other() -> Iterator[Operation]:
    low = "".join(f' (data (i32.const {at}) "\\{at // 8 % 255 + 1:02x}")' for at in range(0, 2048, 8))
    yield Operation(
        "memory", "i32.load8_u", "i32.load8_u", form="initial data", fields=f"(memory 1){low}", types=("i32",),
        chosen=tuple((at,) for at in range(0, 2048, 8)),
    )  # fmt: skip
    for name, type_ in zip(_WAITS, ("i32", "i64"), strict=True):
        yield Operation(
            "memory", name, f"local.set $t local.set $v i32.const 16 local.get $v local.get $t {name}", fields="(memory 1 1 shared)",
            form="shared", locals=(("v", type_), ("t", "i64")), types=(type_, "i64"), chosen=((1, 0), (0, 0), (0, 1000), (1, (1 << 64) - 1)),
        )  # fmt: skip
        yield Operation(
            "memory", name, f"i32.const 16 {type_}.const 0 i64.const 0 {name}", fields="(memory 1 1)", form="not shared", traps=always
        )  # fmt: skip
    yield Operation("memory", "atomic.fence", "atomic.fence i32.const 1", fields="(memory 1)")
    several = '(memory $a 1) (memory $b 2) (memory $c i64 1) (data (memory $b) (i32.const 8) "0123456789abcdef")'
    made = partial(Operation, "memory", results=("i64",), form="another memory", fields=several)
    yield made("i64.load", "i32.const 12 i64.load $b")
    yield made("i64.store", "i32.const 24 i64.const 0x123456789 i64.store $b i32.const 24 i64.load $b")
    yield made("memory.fill", "i32.const 30 i32.const 5 i32.const 3 memory.fill $b i32.const 28 i64.load $b")
    yield made("memory.copy", "i32.const 0 i32.const 8 i32.const 8 memory.copy $a $b i32.const 0 i64.load $a")
    yield made("memory.copy", "i64.const 0 i32.const 8 i32.const 8 memory.copy $c $b i64.const 0 i64.load $c", form="to a memory64")
    yield made("memory.size", "memory.size $b", results=("i32",))
    yield made("memory.grow", "i64.const 1 memory.grow $c", results=("i64",))
    yield made("v128.load", "i32.const 8 v128.load $b", results=("v128",))
