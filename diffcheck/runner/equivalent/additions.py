"""What an equivalent program has in addition: types, functions, tables and declared references, after those of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.wasm import section as ids
from diffcheck.wasm.leb import sized, u
from diffcheck.wasm.section import append, section, write
from diffcheck.wasm.types import FuncType, Limits, RefType, SubType, TableType, encode_functype, encode_tabletype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.wasm.module import Module
    from diffcheck.wasm.types import ValType


class Additions:
    """``typed`` is whether the program has typed references, ``vectors`` whether it has vectors. ``tail`` are the types of the
    functions that end in calls.
    """

    def __init__(self, module: Module, *, typed: bool, vectors: bool, tail: frozenset[int]) -> None:
        self.module, self.typed, self.vectors = module, typed, vectors
        self._tail = tail
        self._types = {
            each.composite: at for at, each in enumerate(module.types) if isinstance(each.composite, FuncType) and is_plain(each)
        }
        self._added_types: list[bytes] = []
        self._functions: list[tuple[int, bytes]] = []
        self._helpers: dict[object, int] = {}
        self._tables: dict[int, int] = {}
        self._declared: dict[int, None] = {}

    def ends_in_call(self, typeidx: int) -> bool:
        """Whether a function of a type may end in a call, so that calls of it may not be replaced by calls that return."""
        return typeidx in self._tail

    def type(self, params: tuple[ValType, ...], results: tuple[ValType, ...]) -> int:
        """The typeidx of a function type."""
        wanted = FuncType(params, results)
        if wanted not in self._types:
            self._types[wanted] = len(self.module.types) + len(self._added_types)
            self._added_types.append(encode_functype(wanted))
        return self._types[wanted]

    def helper(self, key: object) -> int | None:
        """The funcidx of the function that was added for a key."""
        return self._helpers.get(key)

    def add(self, key: object, params: tuple[ValType, ...], results: tuple[ValType, ...], body: bytes) -> int:
        """Add a function for a key; returns its funcidx."""
        self._helpers[key] = len(self.module.all_functions) + len(self._functions)
        self._functions.append((self.type(params, results), body))
        return self._helpers[key]

    def declare(self, function: int) -> None:
        """Declare a function whose reference is made (core specification 3.4, ``ref.func``)."""
        self._declared[function] = None

    def table(self, typeidx: int) -> int:
        """A table of one reference to a function of a type."""
        return self._tables.setdefault(typeidx, len(self.module.all_tables) + len(self._tables))

    def write(self, bodies: Mapping[int, bytes]) -> bytes:
        """The module with the additions and with other bodies, by position in the code section."""
        own = (bodies.get(at, body) for at, (_, body) in enumerate(self.module.body_bytes()))
        code = section(ids.CODE, b"".join([u(len(self.module.functions)), *map(sized, own)]))
        tables = (TableType(RefType(nullable=True, heap=each), Limits(1, 1)) for each in self._tables)
        declared = b"\x03\x00" + u(len(self._declared)) + b"".join(map(u, self._declared))
        added = {
            ids.TYPE: self._added_types,
            ids.FUNCTION: [u(typeidx) for typeidx, _ in self._functions],
            ids.TABLE: [encode_tabletype(each) for each in tables],
            ids.ELEMENT: [declared] if self._declared else [],
            ids.CODE: [sized(body) for _, body in self._functions],
        }
        return write(append([code if each.id == ids.CODE else each for each in self.module.sections], added))


def is_plain(type_: SubType) -> bool:
    """Whether a type has no supertypes and cannot have subtypes."""
    return type_.final and not type_.supers
