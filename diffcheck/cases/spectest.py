"""The host module of the specification's scripts, as far as it has state or values: globals, tables and memories.

Its functions only print; as imports they are stubbed, and their calls are compared. Source: the specification's repository,
interpreter/README.md, "Spectest Host Module".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.wasm import section as ids
from diffcheck.wasm.encode import plain
from diffcheck.wasm.externs import encode_export
from diffcheck.wasm.leb import vector
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.section import section, write
from diffcheck.wasm.types import (
    GlobalType,
    Limits,
    MemoryType,
    RefType,
    TableType,
    encode_globaltype,
    encode_memorytype,
    encode_tabletype,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from diffcheck.wasm.externs import Kind

NAME: Final = "spectest"
_FUNCREF: Final = RefType(nullable=True, heap="func")


def _number(type_: str, value: int) -> bytes:
    return encode_globaltype(GlobalType(type_, mutable=False)) + plain(f"{type_}.const", value) + END


_ITEMS: Final[dict[str, tuple[int, Kind, bytes]]] = {
    "global_i32": (ids.GLOBAL, "global", _number("i32", 666)),
    "global_i64": (ids.GLOBAL, "global", _number("i64", 666)),
    "global_f32": (ids.GLOBAL, "global", _number("f32", 0x4426A666)),
    "global_f64": (ids.GLOBAL, "global", _number("f64", 0x4084D4CCCCCCCCCD)),
    "table": (ids.TABLE, "table", encode_tabletype(TableType(_FUNCREF, Limits(10, 20)))),
    "table64": (ids.TABLE, "table", encode_tabletype(TableType(_FUNCREF, Limits(10, 20, is64=True)))),
    "memory": (ids.MEMORY, "memory", encode_memorytype(MemoryType(Limits(1, 2)))),
}


def module(names: Collection[str]) -> bytes:
    """Return a module with the named items; unknown names are ignored."""
    items: dict[int, list[bytes]] = {}
    exports = []
    for name, (id_, kind, encoded) in _ITEMS.items():
        if name in names:
            exports.append(encode_export(name, kind, len(items.setdefault(id_, []))))
            items[id_].append(encoded)
    contents = {**items, ids.EXPORT: exports}
    return write([section(id_, vector(contents[id_])) for id_ in ids.NAMES if contents.get(id_)])
