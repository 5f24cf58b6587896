"""Memories of both index types, and data segments with their whole life: loads and stores, atomics, bulk operations, growing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.hunt.generate.draft import EVENLY, RARELY, STATEMENT, data_text
from diffcheck.runner.sweep.operands import BITS
from diffcheck.wasm.opcodes import OPS

if TYPE_CHECKING:
    from random import Random

    from diffcheck.hunt.generate.draft import ProgramDraft, Scope
    from diffcheck.wasm.opcodes import Op

_PAGE: Final = 65_536
_REACH: Final = 0x7FF0
_SEGMENT: Final = 48
_NO_THREADS: Final = ("memory.atomic.wait32", "memory.atomic.wait64")


class DraftMemory(msgspec.Struct, frozen=True):
    """A memory with segments of its own: one active, one that stays, one that is dropped."""

    name: str
    index: str
    pages: int
    most: int
    active: str
    passive: str
    dropped: str


def declare(draft: ProgramDraft) -> None:
    """Declare one memory or several."""
    chance = draft.chance
    for _ in range(chance.choice((1, 1, 2, 3))):
        memory = _declared(draft, chance)
        suffix = " memory64" * (memory.index == "i64")
        for op in OPS:
            if op.width and op.params and op.name not in _NO_THREADS:
                feature = "atomics" if op.proposal == "threads" else "memory"
                result = op.results[0] if op.results else STATEMENT
                draft.offer(feature, op.name + suffix, result, partial(_access, memory, op))
        for name, make in (("memory.size", _size), ("memory.grow", _grow)):
            draft.offer("memory size", name + suffix, memory.index, partial(make, memory))
        for name, make in (("memory.fill", _fill), ("memory.copy", _copy), ("memory.init", _init), ("data.drop", _drop)):
            draft.offer("bulk memory", name + suffix, STATEMENT, partial(make, memory))
        if draft.traps:
            for name, segment in (("active", memory.active), ("dropped", memory.dropped)):
                draft.offer("traps", f"memory.init {name}{suffix}", STATEMENT, partial(_init_gone, memory, segment))
            draft.offer("traps", f"out of bounds{suffix}", "i32", partial(_outside, memory))


def _declared(draft: ProgramDraft, chance: Random) -> DraftMemory:
    pages = chance.choice((1, 1, 2))
    names = [draft.name(prefix) for prefix in ("m", "da", "dp", "dd")]
    memory = DraftMemory(names[0], chance.choice(("i32", "i32", "i64")), pages, pages + chance.randrange(3), *names[1:])
    word = "i64 " * (memory.index == "i64")
    draft.fields.append(f'(memory {memory.name} (export "{memory.name[1:]}") {word}{memory.pages} {memory.most})')
    for name, place in (
        (memory.active, chance.choice((0, 240, 256, _REACH, _PAGE - _SEGMENT))),
        (memory.passive, None),
        (memory.dropped, None),
    ):
        where = "" if place is None else f"(memory {memory.name}) ({memory.index}.const {place})"
        draft.fields.append(f'(data {name} {where} "{data_text(chance.randbytes(_SEGMENT))}")')
    return memory


def _address(memory: DraftMemory, scope: Scope, mask: int = _REACH) -> str:
    if scope.chance.random() < RARELY:
        return f"{memory.index}.const {scope.chance.randrange(_PAGE) & mask}"
    return f"{scope.value(memory.index)} {memory.index}.const {mask} {memory.index}.and"


def _access(memory: DraftMemory, op: Op, scope: Scope) -> str:
    """A load, store or atomic operation; an atomic one is aligned."""
    assert op.params is not None, "as chosen above"  # noqa: S101
    chance, step = scope.chance, op.width if op.proposal == "threads" else 1
    most = memory.pages * _PAGE - op.width - _REACH
    offset = chance.choice((0, 1, 8, 255, 4096, most)) // step * step
    align = op.width if step > 1 else chance.choice([1 << at for at in range(op.width.bit_length())])
    parts = [_address(memory, scope, _REACH // step * step if step > 1 else _REACH), *map(scope.value, op.params[1:])]
    lane = [str(chance.randrange(16 // op.width))] if "lane" in op.immediates else []
    return " ".join([*parts, op.name, memory.name, f"offset={offset}", f"align={align}", *lane])


def _size(memory: DraftMemory, _scope: Scope) -> str:
    return f"memory.size {memory.name}"


def _grow(memory: DraftMemory, scope: Scope) -> str:
    far = (0x1_0000_0001, 0x1_0000_0000, 0xFFFF_FFFF_FFFF_FFFF) if memory.index == "i64" else (0x1_0000, 0xFFFF_FFFF)
    return f"{memory.index}.const {scope.chance.choice((0, 0, 1, 2, 5, *far)):#x} memory.grow {memory.name}"


def _fill(memory: DraftMemory, scope: Scope) -> str:
    return f"{_block(memory, scope)[0]} {scope.value('i32')} {_length(memory, scope)} memory.fill {memory.name}"


def _copy(memory: DraftMemory, scope: Scope) -> str:
    target, source = _block(memory, scope)
    return f"{target} {source} {_length(memory, scope)} memory.copy {memory.name} {memory.name}"


def _block(memory: DraftMemory, scope: Scope) -> tuple[str, str]:
    """Two addresses, which may be near each other."""
    if scope.chance.random() < EVENLY:
        near = scope.chance.randrange(-9, 10)
        start = scope.chance.randrange(16, _REACH)
        return f"{memory.index}.const {start}", f"{memory.index}.const {start + near}"
    return _address(memory, scope), _address(memory, scope)


def _length(memory: DraftMemory, scope: Scope) -> str:
    if scope.chance.random() < EVENLY:
        return f"{memory.index}.const {scope.chance.choice((0, 1, 7, 8, 9, 255, 1000))}"
    return f"{scope.value(memory.index)} {memory.index}.const 0x1ff {memory.index}.and"


def _init(memory: DraftMemory, scope: Scope) -> str:
    """From the segment that stays, or nothing from the beginning of one that may be dropped."""
    if scope.chance.random() < RARELY:
        return f"{_address(memory, scope)} i32.const 0 i32.const 0 memory.init {memory.name} {memory.dropped}"
    start = scope.chance.randrange(_SEGMENT + 1)
    count = scope.chance.randrange(_SEGMENT + 1 - start)
    target = f"{memory.index}.const {memory.pages * _PAGE - count}" if scope.chance.random() < RARELY else _address(memory, scope)
    return f"{target} i32.const {start} i32.const {count} memory.init {memory.name} {memory.passive}"


def _drop(memory: DraftMemory, scope: Scope) -> str:
    return f"data.drop {scope.chance.choice((memory.dropped, memory.active))}"


# Traps.


def _init_gone(memory: DraftMemory, segment: str, scope: Scope) -> str:
    """From a segment that is dropped: an active one is from the beginning."""
    count = scope.chance.choice((1, _SEGMENT))
    return f"data.drop {memory.dropped} {_address(memory, scope)} i32.const 0 i32.const {count} memory.init {memory.name} {segment}"


def _outside(memory: DraftMemory, scope: Scope) -> str:
    type_ = scope.chance.choice(("i32", "i64"))
    end = memory.most * _PAGE - BITS[type_] // 8 + scope.chance.randrange(1, 8)
    wrap = " i32.wrap_i64" * (type_ == "i64")
    return f"{memory.index}.const {end} {type_}.load {memory.name}{wrap}"
