"""The batch form of a capsule: several ranges of rows in one execution, the state after instantiation restored between them.

The state is copied before the first row into items of the capsule's own: a memory, a global for each mutable global, a table for
each table that code changes. What cannot be restored are sizes, dropped segments and the fields of objects (``row_effects``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule import memory_map as mm
from diffcheck.capsule.batch.row_effects import changed_tables
from diffcheck.capsule.constants import i32_const, i64_const
from diffcheck.wasm.encode import plain, zero
from diffcheck.wasm.leb import u
from diffcheck.wasm.opcodes import END
from diffcheck.wasm.types import GlobalType, Limits, RefType, TableType, encode_globaltype, encode_tabletype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.capsule.seal import Sealed

MAX_RANGES: Final = lo.VIEW_BYTES // lo.KEY.size


class PageRange(msgspec.Struct, frozen=True):
    """``count`` pages of a memory from ``first`` on."""

    memory: int
    first: int
    count: int


class Batch(msgspec.Struct, frozen=True):
    """The ranges of rows of a batch, each [first, last), and the ``pages`` that they change."""

    ranges: tuple[tuple[int, int], ...]
    pages: tuple[PageRange, ...] = ()


def keys(view: bytes, ranges: int) -> list[tuple[int, int, int]]:
    """Return the stream key of each range from a batch's view."""
    return [lo.KEY.unpack_from(view, lo.KEY.size * at) for at in range(ranges)]


class StateCopy:
    """A copy of the state after instantiation: the encoded items that hold it, and instructions that save and restore it.

    The memory follows the recorder's; tables and globals begin at ``first_table`` and ``first_global``.
    """

    def __init__(self, sealed: Sealed, batch: Batch, first_table: int, first_global: int) -> None:
        module = self._module = sealed.module
        self._rec, self._memory = sealed.rec, sealed.rec + 1
        self._tables = list(enumerate(changed_tables(module), first_table))
        mutable = [at for at, each in enumerate(module.all_globals) if each.mutable]
        self._globals = list(enumerate(mutable, first_global))
        variables = (mm.HEAP_END, mm.PATTERN - mm.HEAP_END), (sealed.places.counters, 4 * len(sealed.stubs))
        whole = ((each.memory, lo.PAGE * each.first, lo.PAGE * each.count) for each in batch.pages)
        self._parts = [*((self._rec, at, size) for at, size in variables), *whole]

    def memory(self) -> bytes:
        """Return the encoded type of the memory."""
        return b"\x00" + u(-(-sum(size for _, _, size in self._parts) // lo.PAGE))

    def tables(self) -> list[bytes]:
        """Return the encoded types of the tables, which have the sizes of the artifact's."""
        types = (self._module.all_tables[source] for _, source in self._tables)
        return [encode_tabletype(TableType(each.ref, Limits(each.limits.minimum, is64=each.limits.is64))) for each in types]

    def globals(self) -> list[bytes]:
        """Return the encoded globals, each null or zero."""
        return [
            encode_globaltype(GlobalType(kind, mutable=True)) + (zero(kind) or b"") + END for kind in map(self._kind, self._globals)
        ]

    def _kind(self, pair: tuple[int, int]) -> str | RefType:
        kind = self._module.all_globals[pair[1]].value
        return kind if isinstance(kind, str) else RefType(nullable=True, heap=kind.heap)

    def save(self) -> bytes:
        """Return instructions that copy the state."""
        globals_ = (plain("global.get", source) + plain("global.set", copy) for copy, source in self._globals)
        tables = (self._copy_table(copy, source, source) for copy, source in self._tables)
        return b"".join([*globals_, *tables, *self._copy_memories(save=True)])

    def restore(self) -> bytes:
        """Return instructions that restore the state."""
        globals_ = (plain("global.get", copy) + self._cast(source) + plain("global.set", source) for copy, source in self._globals)
        tables = (self._copy_table(source, copy, source) for copy, source in self._tables)
        return b"".join([*globals_, *tables, *self._copy_memories(save=False)])

    def _cast(self, source: int) -> bytes:
        kind = self._module.all_globals[source].value
        return b"" if isinstance(kind, str) or kind.nullable else plain("ref.as_non_null")

    def _copy_table(self, to: int, of: int, source: int) -> bytes:
        limits = self._module.all_tables[source].limits
        const = i64_const if limits.is64 else i32_const
        return const(0) + const(0) + const(limits.minimum) + plain("table.copy", to, of)

    def _copy_memories(self, *, save: bool) -> Iterator[bytes]:
        at = 0
        for memory, offset, size in self._parts:
            is64 = memory != self._rec and self._module.all_memories[memory].limits.is64
            theirs, ours = (i64_const if is64 else i32_const)(offset), i32_const(at)
            if save:
                yield ours + theirs + i32_const(size) + plain("memory.copy", self._memory, memory)
            else:
                yield theirs + ours + i32_const(size) + plain("memory.copy", memory, self._memory)
            at += size
