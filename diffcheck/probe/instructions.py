"""Known answers of the instructions that capsules consist of, independent of the recorder and its digest.

An engine that executes one of them wrongly damages its own observation. These programs identify the instruction. Each answer is
computed from constants and stored in a counter or, for an engine without counters, compared with the expected value.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend.contract import Program
from diffcheck.capsule import layout as lo
from diffcheck.observation import Crashed, HarnessFailed, Returned, TimedOut, Trapped, sentence
from diffcheck.probe import programs
from diffcheck.values import signed
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import s, u

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diffcheck.backend.contract import Backend, Host, RunLimits
    from diffcheck.observation import Execution

_MASK: Final = {"i32": (1 << 32) - 1, "i64": (1 << 64) - 1}
_WORDS: Final = (0, 1, 7, 33, 0x1234_5678, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF8, 0x0123_4567_89AB_CDEF, 1 << 63, (1 << 64) - 8)
_PAIRS: Final = (*zip(_WORDS, _WORDS[3:] + _WORDS[:3], strict=True), (7, 7), (_WORDS[-1], 3), (1 << 63, 33), (0x8000_0000, 1))
_WIDE: Final = ("i64.extend_i32_u",)
_DEADLINE_S: Final = 5.0  # the programs take milliseconds, but may not terminate on an engine with wrong branches
_MAX_COUNTERS: Final = 200  # kilnd 0.4.4 has at most 256 exports


_COMPARES: Final = frozenset({"i64.ne", "if"})
"""The instructions that a program without counters uses for comparisons."""


class KnownAnswer(msgspec.Struct, frozen=True):
    """Instructions that push the i64 ``value``: ``name`` is the tested instruction, ``uses`` are others that must be correct."""

    name: str
    text: str
    value: int
    uses: tuple[str, ...] = ()


class WrongInstruction(msgspec.Struct, frozen=True):
    """An instruction that an engine executes wrongly: the known answer (``oracle``) and the engine's, as text."""

    name: str
    oracle: str
    subject: str


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


_DATA: Final = bytes(range(1, 17)) + bytes(range(0xF0, 0x100))


def _word(at: int, width: int) -> int:
    return int.from_bytes(_DATA[at : at + width], "little")


_SCRATCH: Final = lo.VIEW_ADDRESS
"""The first address that answers write to, behind the header."""
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


_NANS: Final = {"f32": 0x7FA0_0001, "f64": 0x7FF4_0000_0000_0001}
"""Signalling NaNs: an instruction that quiets one changes its bits."""
_BITS: Final = {"f32": "i32.reinterpret_f32 i64.extend_i32_u", "f64": "i64.reinterpret_f64", "i64": "", "i32": "i64.extend_i32_u"}


def _reader(name: str, *ways: str, value: int, uses: tuple[str, ...] = ()) -> KnownAnswer:
    """Return an answer that is wrong only if no way of writing gives ``value`` when read, so that the reader is at fault."""
    first, second = (f"{way} i64.const {value} i64.eq" for way in ways)
    return KnownAnswer(name, f"{first} {second} i32.or i64.extend_i32_u", 1, ("i64.eq", "i32.or", *_WIDE, *uses))


def _float_readers() -> Iterator[KnownAnswer]:
    for at, (type_, nan) in enumerate(_NANS.items(), 1):
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


_FIELDS: Final = (("f32", _NANS["f32"]), ("f64", _NANS["f64"]), ("i64", _STORED), ("i32", 0x1234_5678))


def _object_readers() -> Iterator[KnownAnswer]:
    """Yield the answers of a structure with all ``_FIELDS`` (type 2, in local 3) and of an array of each (from type 3 on)."""
    values = [f"{type_}.const {'bits:' * (type_[0] == 'f')}{value}" for type_, value in _FIELDS]
    for at, (type_, value) in enumerate(_FIELDS):
        read = f"struct.get 2 {at} {_BITS[type_]}"
        uses = tuple(_BITS[type_].split())
        set_ = f"struct.new_default 2 local.tee 3 {values[at]} struct.set 2 {at} local.get 3 {read}"
        yield _reader("struct.get", f"{' '.join(values)} struct.new 2 {read}", set_, value=value, uses=uses)
        array, local = 3 + at, 4 + at
        read = f"i32.const 1 array.get {array} {_BITS[type_]}"
        new = f"i32.const 2 array.new_default {array} local.tee {local}"
        set_ = f"{new} i32.const 1 {values[at]} array.set {array} local.get {local} {read}"
        fixed = f"{values[at]} {values[at]} array.new_fixed {array} 2 {read}"
        yield _reader("array.get", fixed, set_, value=value, uses=uses)
    ways = ("i32.const 2 array.new_default 3", f"{values[0]} {values[0]} array.new_fixed 3 2")
    yield _reader("array.len", *(f"{way} array.len i64.extend_i32_u" for way in ways), value=2)


BASE: Final[tuple[KnownAnswer, ...]] = (
    *_control(), *_conversions(), *_numeric(), *_loop(), *_loads(), *_memory(), *_float_readers(),
)  # fmt: skip
"""The instructions of any capsule, the simplest first."""
WITH_TABLES: Final = (
    KnownAnswer("table.size", "table.size i64.extend_i32_u", 3, _WIDE),
    KnownAnswer("ref.is_null", "i32.const 1 table.get ref.is_null i64.extend_i32_u", 1, _WIDE),
    KnownAnswer("ref.is_null", "i32.const 0 table.get ref.is_null i64.extend_i32_u", 0, _WIDE),
)
WITH_VECTORS: Final = tuple(
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
WITH_OBJECTS: Final = tuple(_object_readers())
GROUPS: Final = (BASE, WITH_TABLES, WITH_VECTORS, WITH_MEMORIES, WITH_OBJECTS)
"""Answers by required proposal, each group in programs of its own. A refused program has no result."""


def known_answer(text: str) -> KnownAnswer | None:
    """Return the known answer that a ``WrongInstruction.oracle`` refers to; None for other texts."""
    return next((each for group in GROUPS for each in group if f"`{each.text}`" in text), None)


_COUNTER: Final = b"\x7e\x01\x42\x00\x0b"
_FLOAT_GLOBALS: Final = (
    b"\x7d\x01\x43" + _NANS["f32"].to_bytes(4, "little") + b"\x0b",
    b"\x7c\x01\x44" + _NANS["f64"].to_bytes(8, "little") + b"\x0b",
)
_FIRST_COUNTER: Final = 1 + len(_FLOAT_GLOBALS)
_LOCALS: Final = (("0", "i64"), ("1", "f32"), ("2", "f64"))
_FIELD_TYPES: Final = (b"\x7d\x01", b"\x7c\x01", b"\x7e\x01", b"\x7f\x01")
_OBJECT_TYPES: Final = (b"\x5f\x04" + b"".join(_FIELD_TYPES), *(b"\x5e" + each for each in _FIELD_TYPES))
_OBJECT_LOCALS: Final = tuple((str(1 + type_), f"(ref null {type_})") for type_ in range(2, 2 + len(_OBJECT_TYPES)))


def program(answers: Sequence[KnownAnswer], *, compares: bool = False) -> bytes:
    """Return a module whose ``_start`` stores each answer in a counter or, with ``compares``, traps at a wrong answer.

    It has the exports of a capsule, and a header of zeros, for adapters that read an observation from any program.
    """
    use = "i64.const {} i64.ne if unreachable end" if compares else "global.set {}"
    steps = [f"{each.text} {use.format(each.value if compares else at + _FIRST_COUNTER)}" for at, each in enumerate(answers)]
    text = " ".join(each.text for each in answers)
    objects = "struct." in text or "array." in text
    memories = [b"\x00\x02", b"\x00\x01"] if "memory.copy 0 1" in text or "memory.size 1" in text else [b"\x00\x02"]
    data = [b"\x00\x41\x00\x0b" + u(len(_DATA)) + _DATA]
    if len(memories) > 1:
        data.append(b"\x02\x01\x41\x00\x0b" + programs.name("diffchec"))
    exports = [
        programs.export(lo.ENTRY, programs.FUNC, 0),
        programs.export(lo.AFTER_TRAP_EXPORT, programs.FUNC, 2),
        programs.export(lo.MEMORY_EXPORT, programs.MEMORY, 0),
    ]
    exports += [programs.export(f"__witness_counter_{at}", programs.GLOBAL, at + _FIRST_COUNTER) for at in range(len(answers))]
    sections: dict[int, Sequence[bytes]] = {
        ids.TYPE: [b"\x60\x00\x00", b"\x60\x00\x01\x7e", *(_OBJECT_TYPES if objects else ())],
        ids.FUNCTION: [b"\x00", b"\x01", b"\x00"],
        ids.MEMORY: memories,
        ids.GLOBAL: [_COUNTER, *_FLOAT_GLOBALS, *[_COUNTER] * len(answers)],
        ids.EXPORT: exports,
        ids.CODE: [
            link(assemble(" ".join(steps), locals=(*_LOCALS, *(_OBJECT_LOCALS if objects else ()))), {}),
            programs.body("i64.const 44 return"),
            programs.body(""),
        ],
        ids.DATA: data,
    }
    if "table." in text:
        sections |= {ids.TABLE: [b"\x70\x00\x03"], ids.ELEMENT: [b"\x00\x41" + s(0) + b"\x0b\x01\x01"]}
    return programs.module(sections)


def wrong_instructions(backend: Backend, host: Host, limits: RunLimits) -> tuple[WrongInstruction, ...]:
    """Return the instructions that an engine executes wrongly, the simplest first, without those that depend on them."""
    test = _InstructionTest(backend, host, msgspec.structs.replace(limits, deadline_s=min(limits.deadline_s, _DEADLINE_S)))
    for group in GROUPS:
        for at in range(0, len(group), _MAX_COUNTERS):
            test.run(group[at : at + _MAX_COUNTERS])
    return tuple(test.wrong.values())


class _InstructionTest:
    """Runs programs under one engine and collects ``wrong`` instructions by name."""

    def __init__(self, backend: Backend, host: Host, limits: RunLimits) -> None:
        self.backend, self.host, self.limits = backend, host, limits
        self.counts = backend.capabilities.direct
        self.wrong: dict[str, WrongInstruction] = {}

    def run(self, answers: Sequence[KnownAnswer]) -> None:
        """Test the answers in one program. If it does not terminate normally, test each half."""
        answers = [each for each in answers if self._is_conclusive(each)]
        if not answers:
            return
        execution = self._execute(answers)
        if isinstance(execution.outcome, Returned) and execution.counters is not None:
            for at, each in enumerate(answers):
                value = execution.counters.get(at, each.value) % (1 << 64)
                if value != each.value and self._is_conclusive(each):
                    self._add(each, f"{value:#x}")
        elif isinstance(execution.outcome, Trapped | Crashed | TimedOut | HarnessFailed) and self._works:
            if len(answers) == 1:
                self._add(answers[0], sentence(execution.outcome) if self.counts else "another value")
                return
            for half in (answers[: len(answers) // 2], answers[len(answers) // 2 :]):
                self.run(half)

    def _execute(self, answers: Sequence[KnownAnswer]) -> Execution:
        wasm = program(answers, compares=not self.counts)
        return self.backend.execute(Program(kind="direct", wasm=wasm), self.limits, self.host)

    @cached_property
    def _works(self) -> bool:
        """Whether a program without answers returns; otherwise no failure is due to an instruction."""
        return isinstance(self._execute(()).outcome, Returned)

    def _is_conclusive(self, answer: KnownAnswer) -> bool:
        uses = set(answer.uses) if self.counts else {*answer.uses, *_COMPARES}
        return answer.name not in self.wrong and not self.wrong.keys() & uses

    def _add(self, answer: KnownAnswer, subject: str) -> None:
        self.wrong[answer.name] = WrongInstruction(answer.name, f"{answer.value:#x} for `{answer.text}`", subject)
