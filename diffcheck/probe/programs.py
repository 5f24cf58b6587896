"""The probe's programs, built by section without an engine."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule.recorder import digest as d
from diffcheck.wasm import section as ids
from diffcheck.wasm.asm import assemble
from diffcheck.wasm.fragment import link
from diffcheck.wasm.leb import s, sized, u, vector
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.section import section, write

if TYPE_CHECKING:
    from collections.abc import Sequence

FUNC, TABLE, MEMORY, GLOBAL = range(4)
_I32, _I64 = b"\x7f", b"\x7e"
_NUMBERS: Final = {"i32": _I32, "i64": _I64, "f32": b"\x7d", "f64": b"\x7c"}
_EMPTY: Final = b"\x60\x00\x00"  # the type [] -> []
_BINARY: Final = b"\x60\x02\x7f\x7f\x01\x7f"  # the type [i32 i32] -> [i32]
_MASK: Final = d.MASK


def name(text: str) -> bytes:
    """Encode a name (core specification 5.2.4)."""
    return sized(text.encode())


def export(text: str, kind: int, index: int) -> bytes:
    """Encode an export."""
    return name(text) + bytes([kind]) + u(index)


def module(sections: dict[int, Sequence[bytes]]) -> bytes:
    """Encode a module from vector sections, by section id."""
    order = list(ids.NAMES)
    ordered = sorted(sections.items(), key=lambda item: order.index(item[0]))
    return write(section(id_, vector(items)) for id_, items in ordered)


def body(text: str) -> bytes:
    """Assemble a code entry without locals (``wasm.asm``)."""
    return link(assemble(text), {})


def raw(code: bytes) -> bytes:
    """Return a code entry without locals from encoded instructions, which need not be valid."""
    return sized(b"\x00" + code + END)


def start(code: bytes, **others: Sequence[bytes]) -> bytes:
    """Return a module whose ``_start`` is ``code``. ``others`` are sections by lower-case name."""
    named = {text.replace(" ", "_"): id_ for id_, text in ids.NAMES.items()}
    extra = {named[key]: items for key, items in others.items()}
    exports = [export("_start", FUNC, 0), *extra.pop(ids.EXPORT, ())]
    return module({ids.TYPE: [_EMPTY], ids.FUNCTION: [b"\x00"], ids.EXPORT: exports, ids.CODE: [code], **extra})


class Answer(msgspec.Struct, frozen=True):
    """A known answer: a description, the instructions, and the resulting 64 bits."""

    what: str
    text: str
    value: int


def _digest_step() -> int:
    """Return the second answer, computed by the instructions of the recorder's digest."""
    lane = (d.SEED_A ^ 0x0123_4567_89AB_CDEF) & _MASK
    lane = ((lane << d.ROTATE_A | lane >> (64 - d.ROTATE_A)) * d.PRIME_A) & _MASK
    return ((lane ^ lane >> 33) * d.MIX_1) & _MASK


def _double(number: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])


ANSWERS: Final = (
    Answer("a function's result", "i32.const 7 i32.const 5 call 1 i64.extend_i32_u", 2),
    Answer(
        "the digest's instructions",
        f"i64.const {d.SEED_A} i64.const 0x0123456789abcdef i64.xor i64.const {d.ROTATE_A} i64.rotl "
        f"i64.const {d.PRIME_A} i64.mul global.set 0 "
        f"global.get 0 i64.const 33 i64.shr_u global.get 0 i64.xor i64.const {d.MIX_1} i64.mul",
        _digest_step(),
    ),
    Answer(
        "loads and stores",
        "i32.const 8 i64.const 0x1122334455667788 i64.store i32.const 10 i64.load32_u i32.const 8 i64.load8_u i64.add",
        0x33445566 + 0x88,
    ),
    Answer("data segments", "i32.const 64 i64.load", int.from_bytes(b"diffchec", "little")),
    Answer(
        "memory.grow and memory.size",
        "i32.const 1 memory.grow i32.const 16 i32.mul memory.size i32.add i64.extend_i32_u",
        16 + 2,
    ),
    Answer("floats", "f64.const 0.1 f64.const 0.2 f64.add f64.sqrt i64.reinterpret_f64", _double((0.1 + 0.2) ** 0.5)),
    Answer(
        "a loop and a global",
        "i64.const 0 global.set 0 block $done loop $next global.get 0 i64.const 100 i64.ge_u br_if $done "
        "global.get 0 i64.const 1 i64.add global.set 0 br $next end end global.get 0",
        100,
    ),
)


def answers() -> bytes:
    """Return a module whose ``_start`` stores each known answer in the counter of its index in ``ANSWERS``."""
    text = " ".join(f"{answer.text} global.set {at + 1}" for at, answer in enumerate(ANSWERS))
    count = len(ANSWERS)
    return module(
        {
            ids.TYPE: [_EMPTY, _BINARY],
            ids.FUNCTION: [b"\x00", b"\x01"],
            ids.MEMORY: [b"\x01\x01\x02"],
            ids.GLOBAL: [_I64 + b"\x01\x42\x00\x0b"] * (count + 1),
            ids.EXPORT: [export("_start", FUNC, 0)] + [export(f"__witness_counter_{at}", GLOBAL, at + 1) for at in range(count)],
            ids.CODE: [body(text), body("local.get 0 local.get 1 i32.sub")],
            ids.DATA: [b"\x00\x41" + s(64) + b"\x0b" + name("diffcheck")],
        }
    )


def returning() -> bytes:
    """Return a module with one counter whose ``_start`` returns at once."""
    counter = {"global": [_I64 + b"\x01\x42\x2a\x0b"], "export": [export("__witness_counter_0", GLOBAL, 0)]}
    return start(raw(b""), **counter)


TRAPS: Final = {
    "unreachable": "unreachable",
    "integer divide by zero": "i32.const 1 i32.const 0 i32.div_u drop",
    "out of bounds memory access": "i32.const 65533 i32.load drop",
}
"""Kind of trap -> instructions, for traps that every engine should distinguish."""


def trap(kind: str) -> bytes:
    """Return a module with this kind of trap."""
    return start(body(TRAPS[kind]), memory=[b"\x01\x01\x01"])


_PROPOSALS: Final[dict[str, dict[int, tuple[bytes, ...]]]] = {
    "exceptions": {ids.TAG: (b"\x00\x01",)},
    "gc": {
        ids.TABLE: (b"\x70\x00\x01",),
        ids.GLOBAL: (b"\x6e\x00\x41" + s(41) + b"\xfb\x1c\x0b",),  # an anyref that is an i31
        ids.EXPORT: (export("i31", GLOBAL, 1),),
        ids.ELEMENT: (b"\x00\x41\x00\x0b\x01\x00",),
    },
}


def artifact(proposal: str = "") -> bytes:
    """Return a small artifact for a capsule: one export that returns 42 and changes a memory, a global and a counter.

    With ``proposal`` (``exceptions`` or ``gc``) it has a tag, or references that require GC instructions to be recorded.
    """
    uses = _PROPOSALS.get(proposal, {})
    text = "i32.const 16 i32.const 42 i32.store global.get 0 i32.const 1 i32.add global.set 0 i32.const 16 i32.load"
    sections: dict[int, Sequence[bytes]] = {
        ids.TYPE: [b"\x60\x00\x01\x7f", _EMPTY],
        ids.FUNCTION: [b"\x00"],
        ids.MEMORY: [b"\x01\x01\x01"],
        ids.GLOBAL: [_I32 + b"\x01\x41\x00\x0b"],
        ids.EXPORT: [
            export("answer", FUNC, 0),
            export("memory", MEMORY, 0),
            export("__witness_counter_0", GLOBAL, 0),
        ],
        ids.CODE: [body(text)],
    }
    return module({id_: [*sections.get(id_, ()), *uses.get(id_, ())] for id_ in sections | uses})


def exiting() -> bytes:
    """Return a small artifact for a capsule: one export that exits with 42 by WASI's ``proc_exit``."""
    return module(
        {
            ids.TYPE: [b"\x60\x01\x7f\x00", _EMPTY],
            ids.IMPORT: [name("wasi_snapshot_preview1") + name("proc_exit") + bytes([FUNC]) + b"\x00"],
            ids.FUNCTION: [b"\x01"],
            ids.EXPORT: [export("answer", FUNC, 1)],
            ids.CODE: [body("i32.const 42 call 0")],
        }
    )


class Weakness(msgspec.Struct, frozen=True):
    """A program that an engine must refuse, and a description of the weakness if it does not."""

    name: str
    what: str
    section: str
    wasm: bytes


_INSTANTIATION: Final = "core specification, instantiation"
_VALIDATION: Final = "core specification, validation"
_NOTHING: Final = raw(b"")


def _import(kind: int, type_: bytes) -> bytes:
    return name("diffcheck") + name("absent") + bytes([kind]) + type_


def _with_import(kind: int, type_: bytes) -> bytes:
    exports = [export("_start", FUNC, 1 if kind == FUNC else 0)]
    sections: dict[int, Sequence[bytes]] = {
        ids.TYPE: [_EMPTY],
        ids.IMPORT: [_import(kind, type_)],
        ids.FUNCTION: [b"\x00"],
        ids.EXPORT: exports,
        ids.CODE: [_NOTHING],
    }
    return module(sections)


# The invalid instructions are in a branch that is never taken, so that only validation can detect them.
_TYPE_ERROR: Final = raw(b"\x41\x00\x04\x40" + b"\x42\x01\x45\x1a" + b"\x0b")  # i64.const 1, i32.eqz
_ALIGNMENT: Final = raw(b"\x41\x00\x04\x40" + b"\x41\x00\x28\x03\x00\x1a" + b"\x0b")  # i32.load with an alignment of 8

WEAKNESSES: Final = (
    *(
        Weakness(
            f"missing {word} import",
            f"a module instantiates although its {word} import is missing",
            _INSTANTIATION,
            _with_import(kind, type_),
        )
        for word, kind, type_ in (
            ("function", FUNC, b"\x00"),
            ("table", TABLE, b"\x70\x00\x01"),
            ("memory", MEMORY, b"\x00\x01"),
            ("global", GLOBAL, _I32 + b"\x00"),
        )
    ),
    Weakness("no type check", "a function body with a type error is accepted", _VALIDATION, start(_TYPE_ERROR)),
    Weakness(
        "no alignment check",
        "an alignment larger than natural is accepted",
        _VALIDATION,
        start(_ALIGNMENT, memory=[b"\x00\x01"]),
    ),
    Weakness(
        "duplicate exports",
        "a module that exports one name twice is accepted",
        _VALIDATION,
        start(_NOTHING, export=[export("twice", FUNC, 0)] * 2),
    ),
)


def exports(count: int) -> bytes:
    """Return a valid module with ``count`` exports."""
    return start(_NOTHING, export=[export(f"f{at}", FUNC, 0) for at in range(count - 1)])


def padded(sizes: Sequence[int]) -> bytes:
    """Return a valid module with custom sections of zeros, of these sizes in bytes."""
    return exports(1) + write(section(ids.CUSTOM, name("padding") + bytes(each)) for each in sizes)[8:]


def imports_one(module_name: str, function: str, params: tuple[str, ...], results: tuple[str, ...], args: str) -> bytes:
    """Return a module that imports a function of numbers. Its ``_start`` calls the function and drops the results."""
    coded = [u(len(each)) + b"".join(_NUMBERS[kind] for kind in each) for each in (params, results)]
    return module(
        {
            ids.TYPE: [b"\x60" + b"".join(coded), _EMPTY],
            ids.IMPORT: [name(module_name) + name(function) + b"\x00\x00"],
            ids.FUNCTION: [b"\x01"],
            ids.MEMORY: [b"\x00\x01"],
            ids.EXPORT: [export("_start", FUNC, 1), export("memory", MEMORY, 0)],
            ids.CODE: [body(f"{args} call 0 {'drop ' * len(results)}")],
        }
    )
