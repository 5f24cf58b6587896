"""Read element and data segments (core specification 5.5.12 and 5.5.14)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from diffcheck.wasm.constexpr import GlobalGet, read_constexpr
from diffcheck.wasm.types import RefType

if TYPE_CHECKING:
    from diffcheck.wasm.leb import Reader
    from diffcheck.wasm.typereader import TypeReader

Mode: TypeAlias = Literal["active", "passive", "declarative"]

_ELEMENT_FORMS, _DATA_FORMS = 7, 2  # the highest flags
_FUNCREF = RefType(nullable=True, heap="func")
_FUNC_NOT_NULL = RefType(nullable=False, heap="func")


class Element(msgspec.Struct, frozen=True):
    """An element segment.

    Its items are either `funcs` (funcidx) or `exprs` (constant expressions with their `end`). Only
    an active segment has a `table` and an `offset`. `global_gets` are those in the offset and the
    items, with file offsets.
    """

    mode: Mode
    table: int | None
    offset: bytes | None
    ref: RefType
    funcs: tuple[int, ...]
    exprs: tuple[bytes, ...]
    global_gets: tuple[GlobalGet, ...]


class DataSegment(msgspec.Struct, frozen=True):
    """A data segment: `start` is the file offset of its `size` bytes."""

    mode: Mode
    memory: int | None
    offset: bytes | None
    start: int
    size: int
    global_gets: tuple[GlobalGet, ...]


class Exprs:
    """Reads constant expressions and collects their `global.get`s, with file offsets."""

    def __init__(self) -> None:
        """Start without any."""
        self.gets: list[GlobalGet] = []

    def read(self, reader: Reader) -> bytes:
        """Read an expression and return its bytes."""
        at = reader.offset
        expr = read_constexpr(reader)
        if expr.global_gets:
            self.gets += [GlobalGet(at + get.start, at + get.end, get.globalidx) for get in expr.global_gets]
        return expr.raw


def read_element(reader: Reader, types: TypeReader) -> Element:
    """Read one element segment, in any of the eight forms."""
    at = reader.offset
    flags = reader.u32()
    if flags > _ELEMENT_FORMS:
        raise reader.error(f"an element segment's flags are {flags:#04x}", offset=at)
    # Bit 0: not active. Bit 1: an explicit table, or declarative. Bit 2: expressions.
    exprs = Exprs()
    table = offset = None
    if not flags & 1:
        table = reader.u32() if flags & 2 else 0
        offset = exprs.read(reader)
    ref = _kind(reader, types, flags)
    return Element(
        mode="active" if not flags & 1 else "declarative" if flags & 2 else "passive",
        table=table,
        offset=offset,
        ref=ref,
        funcs=() if flags & 4 else reader.u32s("function indices"),
        exprs=reader.vector("element expressions", exprs.read) if flags & 4 else (),
        global_gets=tuple(exprs.gets),
    )


def read_data(reader: Reader) -> DataSegment:
    """Read one data segment, in any of the three forms, skipping its bytes."""
    at = reader.offset
    flags = reader.u32()
    if flags > _DATA_FORMS:
        raise reader.error(f"a data segment's flags are {flags:#04x}", offset=at)
    exprs = Exprs()
    memory = offset = None
    if flags != 1:
        memory = reader.u32() if flags else 0
        offset = exprs.read(reader)
    size = reader.u32()
    start = reader.offset
    reader.skip(size, "a data segment")
    return DataSegment(
        mode="passive" if flags == 1 else "active",
        memory=memory,
        offset=offset,
        start=start,
        size=size,
        global_gets=tuple(exprs.gets),
    )


def _kind(reader: Reader, types: TypeReader, flags: int) -> RefType:
    """Read the items' type. Functions given by index are never null."""
    if not flags & 3:
        return _FUNCREF if flags else _FUNC_NOT_NULL
    if flags & 4:
        return types.reftype(reader)
    at = reader.offset
    if kind := reader.u8():
        raise reader.error(f"an element kind is {kind:#04x}, not 0x00", offset=at)
    return _FUNC_NOT_NULL
