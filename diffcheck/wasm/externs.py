"""Imports and exports (core specification 5.5.5 and 5.5.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from diffcheck.wasm.leb import sized, u
from diffcheck.wasm.types import (
    GlobalType,
    MemoryType,
    TableType,
    TagType,
    encode_globaltype,
    encode_memorytype,
    encode_tabletype,
    encode_tagtype,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.wasm.leb import Reader

Kind: TypeAlias = Literal["func", "table", "memory", "global", "tag"]
KINDS: tuple[Kind, ...] = ("func", "table", "memory", "global", "tag")
ImportType: TypeAlias = int | TableType | MemoryType | GlobalType | TagType


class Import(msgspec.Struct, frozen=True):
    """An import. The `type` of a function is a typeidx."""

    module: str
    name: str
    kind: Kind
    type: ImportType


class Export(msgspec.Struct, frozen=True):
    """An export. `index` counts imports and definitions of its kind."""

    name: str
    kind: Kind
    index: int


def encode_import(each: Import) -> bytes:
    """Encode an import."""
    return sized(each.module.encode()) + sized(each.name.encode()) + encode_importtype(each.type)


def encode_importtype(type_: ImportType) -> bytes:
    """Encode the kind and the type of an import."""
    match type_:
        case int(typeidx):
            return b"\x00" + u(typeidx)
        case TableType():
            return b"\x01" + encode_tabletype(type_)
        case MemoryType():
            return b"\x02" + encode_memorytype(type_)
        case GlobalType():
            return b"\x03" + encode_globaltype(type_)
        case TagType():
            return b"\x04" + encode_tagtype(type_)


def encode_export(name: str, kind: Kind, index: int) -> bytes:
    """Encode an export."""
    return sized(name.encode()) + bytes([KINDS.index(kind)]) + u(index)


def read_kind(reader: Reader) -> Kind:
    """Read the kind of an import or export."""
    byte = reader.u8()
    if byte >= len(KINDS):
        raise reader.error(f"{byte:#04x} is not a kind of import or export", offset=reader.offset - 1)
    return KINDS[byte]


def read_export(reader: Reader) -> Export:
    """Read one export, without checking its index."""
    name = reader.name()
    kind = read_kind(reader)
    return Export(name, kind, reader.u32())


def check_export(reader: Reader, sizes: Mapping[Kind, int]) -> None:
    """Read one export; `ArtifactError` if its index is out of range."""
    at = reader.offset
    export = read_export(reader)
    if export.index >= sizes[export.kind]:
        reason = f"{export.kind} index {export.index} is out of range in an export, there are {sizes[export.kind]}"
        raise reader.error(reason, offset=at)
