"""Known answers of the instructions that capsules consist of, computed from constants and independent of the recorder.

The texts are for ``instructions.program``: address 0 has ``DATA``; functions, locals, globals and types have the numbers given
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.wasm.values import signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MASK: Final = {"i32": (1 << 32) - 1, "i64": (1 << 64) - 1}
_WORDS: Final = (0, 1, 7, 33, 0x1234_5678, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF8, 0x0123_4567_89AB_CDEF, 1 << 63, (1 << 64) - 8)
_PAIRS: Final = (*zip(_WORDS, _WORDS[3:] + _WORDS[:3], strict=True), (7, 7), (_WORDS[-1], 3), (1 << 63, 33), (0x8000_0000, 1))
_WIDE: Final = ("i64.extend_i32_u",)


class KnownAnswer(msgspec.Struct, frozen=True):
    """Instructions that push the i64 ``value``: ``name`` is the tested instruction, ``uses`` are others that must be correct."""

    name: str
    text: str
    value: int
    uses: tuple[str, ...] = ()


def _rotl(one: int, other: int, bits: int) -> int:
    by = other % bits
    return one << by | one >> (bits - by)


_BINARY: Final[dict[str, Callable[[int, int, int], int]]] = {
    "add": lambda one, other, _: one + other,
    "sub": lambda one, other, _: one - other,
    "mul": lambda one, other, _: one * other,
    "and": lambda one, other, _: one & other,
    "or": lambda one, other, _: one | other,
    "xor": lambda one, other, _: one ^ other,
    "shl": lambda one, other, bits: one << other % bits,
    "shr_u": lambda one, other, bits: one >> other % bits,
    "shr_s": lambda one, other, bits: signed(one, bits) >> other % bits,
    "rotl": _rotl,
    "rotr": lambda one, other, bits: _rotl(one, -other % bits, bits),
}
_COMPARED: Final[dict[str, Callable[[int, int, int], bool]]] = {
    "eq": lambda one, other, _: one == other,
    "ne": lambda one, other, _: one != other,
    "lt_u": lambda one, other, _: one < other,
    "le_u": lambda one, other, _: one <= other,
    "gt_u": lambda one, other, _: one > other,
    "ge_u": lambda one, other, _: one >= other,
    "lt_s": lambda one, other, bits: signed(one, bits) < signed(other, bits),
    "le_s": lambda one, other, bits: signed(one, bits) <= signed(other, bits),
    "gt_s": lambda one, other, bits: signed(one, bits) > signed(other, bits),
    "ge_s": lambda one, other, bits: signed(one, bits) >= signed(other, bits),
}


def _numeric() -> Iterator[KnownAnswer]:
    for type_, mask in _MASK.items():
        bits = mask.bit_length()
        pairs = list(dict.fromkeys((one & mask, other & mask) for one, other in _PAIRS))
        for name, compute in (_BINARY | _COMPARED).items():
            wide = " i64.extend_i32_u" * (type_ == "i32" or name in _COMPARED)
            for one, other in pairs:
                text = f"{type_}.const {one} {type_}.const {other} {type_}.{name}{wide}"
                yield KnownAnswer(f"{type_}.{name}", text, compute(one, other, bits) & mask, _WIDE if wide else ())
        for one in dict.fromkeys(each & mask for each in _WORDS):
            yield KnownAnswer(f"{type_}.eqz", f"{type_}.const {one} {type_}.eqz i64.extend_i32_u", int(not one), _WIDE)


def _conversions() -> Iterator[KnownAnswer]:
    for word in _WORDS:
        low = word & _MASK["i32"]
        extended = signed(low, 32) & _MASK["i64"]
        yield KnownAnswer("i64.extend_i32_u", f"i32.const {low} i64.extend_i32_u", low)
        yield KnownAnswer("i64.extend_i32_s", f"i32.const {low} i64.extend_i32_s", extended)
        yield KnownAnswer("i32.wrap_i64", f"i64.const {word} i32.wrap_i64 i64.extend_i32_u", low, _WIDE)
        yield KnownAnswer("i32.reinterpret_f32", f"f32.const bits:{low} i32.reinterpret_f32 i64.extend_i32_u", low, _WIDE)
        yield KnownAnswer("i64.reinterpret_f64", f"f64.const bits:{word} i64.reinterpret_f64", word)


DATA: Final = bytes(range(1, 17)) + bytes(range(0xF0, 0x100))


def _word(at: int, width: int) -> int:
    return int.from_bytes(DATA[at : at + width], "little")


_SCRATCH: Final = lo.VIEW_ADDRESS
"""The first address that answers write to, after the header."""
_STORED: Final = 0x8877_6655_4433_2211
_LOAD: Final = ("i64.load",)


def _loads() -> Iterator[KnownAnswer]:
    for at in (0, 3, 17):
        yield KnownAnswer("i64.load", f"i32.const {at} i64.load", _word(at, 8))
        yield KnownAnswer("i64.load", f"i32.const 0 i64.load offset={at}", _word(at, 8))
        for name, width in (("i64.load8_u", 1), ("i64.load16_u", 2), ("i64.load32_u", 4)):
            yield KnownAnswer(name, f"i32.const {at} {name}", _word(at, width))
        for name, width in (("i32.load", 4), ("i32.load8_u", 1), ("i32.load16_u", 2)):
            yield KnownAnswer(name, f"i32.const {at} {name} i64.extend_i32_u", _word(at, width), _WIDE)


_STORES: Final = (
    ("i64.store", f"i64.const {_STORED}", 8),
    ("i32.store", f"i32.const {_STORED & _MASK['i32']}", 4),
    ("i32.store16", f"i32.const {_STORED & 0xFFFF}", 2),
    ("i32.store8", f"i32.const {_STORED & 0xFF}", 1),
    ("i64.store32", f"i64.const {_STORED}", 4),
    ("f32.store", f"f32.const bits:{_STORED & _MASK['i32']}", 4),
    ("f64.store", f"f64.const bits:{_STORED}", 8),
)


def _memory() -> Iterator[KnownAnswer]:
    """Yield the answers, each with its own address, since they are in one program."""
    for at, (name, value, width) in enumerate(_STORES):
        here = f"i32.const {_SCRATCH + 16 * at}"
        yield KnownAnswer(name, f"{here} {value} {name} {here} i64.load", _STORED & (1 << 8 * width) - 1, _LOAD)
    yield KnownAnswer("memory.copy", "i32.const 256 i32.const 3 i32.const 8 memory.copy i32.const 256 i64.load", _word(3, 8), _LOAD)
    yield KnownAnswer(
        "memory.copy",
        "i32.const 300 i32.const 0 i32.const 24 memory.copy i32.const 301 i32.const 300 i32.const 16 memory.copy "
        "i32.const 308 i64.load",
        _word(7, 8),
        _LOAD,
    )
    yield KnownAnswer(
        "memory.fill", "i32.const 401 i32.const 5 i32.const 6 memory.fill i32.const 400 i64.load", 0x0005_0505_0505_0500, _LOAD
    )
    yield KnownAnswer("memory.size", "memory.size i64.extend_i32_u", 2, _WIDE)
    yield KnownAnswer("memory.grow", "i32.const 3 memory.grow i64.extend_i32_u", 2, _WIDE)
    yield KnownAnswer("memory.grow", "i32.const 3 memory.grow drop i32.const 327672 i64.load", 0, _LOAD)


def _control() -> Iterator[KnownAnswer]:
    for chosen in (1, 0, 1 << 31):
        one, other = (11, 22) if chosen else (22, 11)
        take = f"i32.const {chosen}"
        yield KnownAnswer("select", f"i64.const 11 i64.const 22 {take} select", one)
        yield KnownAnswer("if", f"{take} if (result i64) i64.const 11 else i64.const 22 end", one)
        yield KnownAnswer("br_if", f"block (result i64) i64.const 22 {take} br_if 0 drop i64.const 11 end", other)
    yield KnownAnswer("local.set", "i64.const 7 local.set 0 local.get 0", 7)
    yield KnownAnswer("local.tee", "i64.const 8 local.tee 0 drop local.get 0", 8)
    yield KnownAnswer("local.tee", "i64.const 9 local.tee 0", 9)
    yield KnownAnswer("global.set", "i64.const 5 global.set 0 global.get 0", 5)
    yield KnownAnswer("br", "block (result i64) i64.const 33 br 0 end", 33)
    yield KnownAnswer("call", "call 1", 44)


def _loop() -> Iterator[KnownAnswer]:
    turns = "loop local.get 0 i64.const 1 i64.add local.tee 0 i64.const 9 i64.lt_u br_if 0 end"
    uses = ("i64.add", "i64.lt_u", "local.tee", "local.set", "br_if")
    yield KnownAnswer("loop", f"i64.const 0 local.set 0 {turns} local.get 0", 9, uses)


NANS: Final = {"f32": 0x7FA0_0001, "f64": 0x7FF4_0000_0000_0001}
"""Signalling NaNs: an instruction that quiets one changes its bits."""
_BITS: Final = {
    "f32": "i32.reinterpret_f32 i64.extend_i32_u",
    "f64": "i64.reinterpret_f64",
    "i64": "",
    "i32": "i64.extend_i32_u",
    "i8": "i64.extend_i32_u",
}
_UNPACKED: Final = {"i8": "i32"}


def _reader(name: str, *ways: str, value: int, uses: tuple[str, ...] = ()) -> KnownAnswer:
    """Return an answer that is wrong only if no way of writing gives ``value`` when read, so that the reader is at fault."""
    first, second = (f"{way} i64.const {value} i64.eq" for way in ways)
    return KnownAnswer(name, f"{first} {second} i32.or i64.extend_i32_u", 1, ("i64.eq", "i32.or", *_WIDE, *uses))


def _float_readers() -> Iterator[KnownAnswer]:
    for at, (type_, nan) in enumerate(NANS.items(), 1):
        bits, integer = _BITS[type_], type_.replace("f", "i")
        reinterpret = bits.partition(" ")[0]
        constant, here = f"{type_}.const bits:{nan}", f"i32.const {_SCRATCH}"
        loaded = f"{here} {integer}.const {nan} {integer}.store {here} {type_}.load"
        back = f"{here} i64.const 0 i64.store {{}} {here} i64.load"
        uses = (f"{integer}.store", "i64.store", "i64.load")
        yield _reader(reinterpret, f"{constant} {bits}", f"{loaded} {bits}", value=nan, uses=uses)
        stores = (back.format(f"{here} {constant} {type_}.store"), back.format(f"{here} {loaded} {type_}.store"))
        yield _reader(f"{type_}.store", *stores, value=nan, uses=uses)
        ways = (f"{constant} local.set {at} local.get {at} {bits}", f"{constant} local.tee {at} drop local.get {at} {bits}")
        yield _reader("local.get", *ways, value=nan, uses=(reinterpret,))
        ways = (f"global.get {at} {bits}", f"{constant} global.set {at} global.get {at} {bits}")
        yield _reader("global.get", *ways, value=nan, uses=(reinterpret,))


_FIELDS: Final = (("f32", NANS["f32"]), ("f64", NANS["f64"]), ("i64", _STORED), ("i32", 0x1234_5678), ("i8", 0xF7))


def _object_readers() -> Iterator[KnownAnswer]:
    """Yield the answers of a structure with all ``_FIELDS`` (type 2, in local 3) and of an array of each (from type 3 on)."""
    values = [f"{_UNPACKED.get(type_, type_)}.const {'bits:' * (type_[0] == 'f')}{value}" for type_, value in _FIELDS]
    for at, (type_, value) in enumerate(_FIELDS):
        packed = "_u" * (type_ in _UNPACKED)
        read = f"struct.get{packed} 2 {at} {_BITS[type_]}"
        uses = ("local.tee", *_BITS[type_].split())
        set_ = f"struct.new_default 2 local.tee 3 {values[at]} struct.set 2 {at} local.get 3 {read}"
        yield _reader(f"struct.get{packed}", f"{' '.join(values)} struct.new 2 {read}", set_, value=value, uses=uses)
        array, local = 3 + at, 4 + at
        read = f"i32.const 1 array.get{packed} {array} {_BITS[type_]}"
        new = f"i32.const 2 array.new_default {array} local.tee {local}"
        set_ = f"{new} i32.const 1 {values[at]} array.set {array} local.get {local} {read}"
        fixed = f"{values[at]} {values[at]} array.new_fixed {array} 2 {read}"
        yield _reader(f"array.get{packed}", fixed, set_, value=value, uses=uses)
    ways = ("i32.const 2 array.new_default 3", f"{values[0]} {values[0]} array.new_fixed 3 2")
    yield _reader("array.len", *(f"{way} array.len i64.extend_i32_u" for way in ways), value=2)


def _nested_objects() -> Iterator[KnownAnswer]:
    """Yield the answers of a structure (type 2) in the field of another one (type 8, in local 9)."""
    inner = "f32.const 0 f64.const 0 i64.const 0 i32.const 77 i32.const 0 struct.new 2"
    read, uses = "struct.get 8 0 struct.get 2 3 i64.extend_i32_u", ("struct.get", "local.tee", *_WIDE)
    yield KnownAnswer("struct.new", f"{inner} struct.new 8 {read}", 77, uses)
    set_ = f"struct.new_default 8 local.tee 9 {inner} struct.set 8 0 local.get 9 {read}"
    yield KnownAnswer("struct.set", set_, 77, ("struct.new", *uses))


def _references() -> Iterator[KnownAnswer]:
    yield KnownAnswer("i31.get_u", "i32.const 0x7ffffff7 ref.i31 i31.get_u i64.extend_i32_u", 0x7FFF_FFF7, _WIDE)
    for text, value in (("i32.const 5 ref.i31", 1), ("struct.new_default 2", 0), ("ref.null any", 0)):
        yield KnownAnswer("ref.test", f"{text} ref.test (ref i31) i64.extend_i32_u", value, _WIDE)
    yield KnownAnswer("ref.cast", "i32.const 6 ref.i31 ref.cast (ref i31) i31.get_u i64.extend_i32_u", 6, ("i31.get_u", *_WIDE))
    for other, value in (("local.get 3", 1), ("struct.new_default 2", 0)):
        yield KnownAnswer(
            "ref.eq", f"struct.new_default 2 local.tee 3 {other} ref.eq i64.extend_i32_u", value, ("local.tee", *_WIDE)
        )


BASE: Final[tuple[KnownAnswer, ...]] = (
    *_control(), *_conversions(), *_numeric(), *_loop(), *_loads(), *_memory(), *_float_readers(),
)  # fmt: skip
"""The instructions of any capsule, the simplest first."""
WITH_TABLES: Final = (
    KnownAnswer("table.size", "table.size i64.extend_i32_u", 3, _WIDE),
    KnownAnswer("ref.is_null", "ref.null func ref.is_null i64.extend_i32_u", 1, _WIDE),
    KnownAnswer("table.get", "i32.const 1 table.get ref.is_null i64.extend_i32_u", 1, ("ref.is_null", *_WIDE)),
    KnownAnswer("table.get", "i32.const 0 table.get ref.is_null i64.extend_i32_u", 0, ("ref.is_null", *_WIDE)),
)
WITH_VECTORS: Final = tuple(
    KnownAnswer("i64x2.extract_lane", f"v128.const i64x2 5 -6 i64x2.extract_lane {lane}", value)
    for lane, value in ((0, 5), (1, (1 << 64) - 6))
) + tuple(
    KnownAnswer(
        "v128.store", f"i32.const {_SCRATCH} v128.const i64x2 5 -6 v128.store i32.const {_SCRATCH + at} i64.load", value, _LOAD
    )
    for at, value in ((0, 5), (8, (1 << 64) - 6))
)
WITH_MEMORIES: Final = (
    KnownAnswer(
        "memory.copy",
        f"i32.const {_SCRATCH} i32.const 0 i32.const 8 memory.copy 0 1 i32.const {_SCRATCH} i64.load",
        int.from_bytes(b"diffchec", "little"),
        _LOAD,
    ),
    KnownAnswer("memory.size", "memory.size 1 i64.extend_i32_u", 1, _WIDE),
)
WITH_OBJECTS: Final = (*_references(), *_object_readers(), *_nested_objects())
GROUPS: Final = (BASE, WITH_TABLES, WITH_VECTORS, WITH_MEMORIES, WITH_OBJECTS)
"""Answers by required proposal, each group in programs of its own. A refused program has no result."""


def known_answer(text: str) -> KnownAnswer | None:
    """Return the known answer that a ``WrongInstruction.oracle`` refers to; None for other texts."""
    return next((each for group in GROUPS for each in group if f"`{each.text}`" in text), None)
