"""Segments with fewer or simpler contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from diffcheck.wasm.code import instructions
from diffcheck.wasm.encode import plain
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.types import RefType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.wasm.draft import DataDraft, Draft, ElementDraft

T = TypeVar("T")
NULL_FUNC: Final = b"\xd0\x70\x0b"
_BITS: Final = {"i32.const": 32, "i64.const": 64}


def without(items: tuple[T | None, ...], some: Iterable[int]) -> tuple[T | None, ...]:
    """The segments with None in place of some."""
    gone = set(some)
    return tuple(None if at in gone else each for at, each in enumerate(items))


def nulled(elements: tuple[ElementDraft | None, ...], some: Iterable[tuple[int, int]]) -> tuple[ElementDraft | None, ...]:
    """The segments with null in place of some items, by segment and position; at the end of a segment they are removed."""
    gone = set(some)
    found: list[ElementDraft | None] = []
    for at, each in enumerate(elements):
        if each is None:
            found.append(None)
            continue
        items = [NULL_FUNC if (at, item) in gone else code for item, code in enumerate(each.items)]
        while items and items[-1] == NULL_FUNC and (at, len(items) - 1) in gone:
            items.pop()
        nullable = any(code == NULL_FUNC for code in items)
        ref = RefType(nullable=True, heap="func") if nullable else each.ref
        found.append(msgspec.structs.replace(each, items=tuple(items), ref=ref))
    return tuple(found)


def full(items: tuple[DataDraft | None, ...]) -> list[int]:
    """The active data segments that have contents."""
    return [at for at, each in enumerate(items) if each and each.memory is not None and each.content]


def emptied(items: tuple[DataDraft | None, ...], some: Iterable[int]) -> tuple[DataDraft | None, ...]:
    """The segments with some of the active ones emptied, so that they write nothing."""
    gone = set(some)
    return tuple(
        msgspec.structs.replace(each, content=b"") if each is not None and at in gone else each for at, each in enumerate(items)
    )


def blanked(segment: DataDraft, some: Iterable[int], size: int) -> DataDraft:
    """With ``size`` zeros at some positions. Zeros at the end are removed, except in a passive segment, whose length counts."""
    content = bytearray(segment.content)
    for at in some:
        content[at : at + size] = bytes(len(content[at : at + size]))
    return msgspec.structs.replace(segment, content=bytes(content).rstrip(b"\0") if segment.memory is not None else bytes(content))


def trimmed(source: Draft, at: int) -> Draft | None:
    """The module with a data segment without its leading zeros; None if there are none or its offset is not a constant."""
    segment = source.data[at]
    if segment is None or segment.memory is None:
        return None
    content = segment.content.lstrip(b"\0")
    offset = _later(source, segment.offset, len(segment.content) - len(content))
    if not offset or not content:
        return None
    data = (*source.data[:at], msgspec.structs.replace(segment, offset=offset, content=content), *source.data[at + 1 :])
    return msgspec.structs.replace(source, data=data)


def without_nulls(source: Draft, at: int) -> Draft | None:
    """The module with an element segment without its leading nulls; None as for ``trimmed``."""
    segment = source.elements[at]
    if segment is None or segment.table is None:
        return None
    first = next((item for item, code in enumerate(segment.items) if code != NULL_FUNC), 0)
    offset = _later(source, segment.offset, first)
    if not offset:
        return None
    changed = msgspec.structs.replace(segment, offset=offset, items=segment.items[first:])
    return msgspec.structs.replace(source, elements=(*source.elements[:at], changed, *source.elements[at + 1 :]))


def _later(source: Draft, offset: bytes, by: int) -> bytes:
    """A segment's offset plus ``by``; empty if ``by`` is 0 or the offset is not a constant."""
    begin = _constant(source, offset)
    if begin is None or not by:
        return b""
    name, value = begin
    bits = _BITS[name]
    value = (value + by) & ((1 << bits) - 1)
    return plain(name, value - (1 << bits) if value >> (bits - 1) else value) + END


def _constant(source: Draft, expression: bytes) -> tuple[str, int] | None:
    """The instruction and value of a constant expression, also if it reads a defined global; else None."""
    code = list(instructions(expression))
    name, immediates = code[0].name, code[0].immediates
    if len(code) == 2 and name == "global.get":  # noqa: PLR2004 - itself and the end
        defined = immediates[0] - source.module.n_imported("global")
        return _constant(source, source.module.globals[defined].init) if defined >= 0 else None
    return (name, immediates[0]) if len(code) == 2 and name in _BITS else None  # noqa: PLR2004 - as above
