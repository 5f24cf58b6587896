"""The layout of the recorder memory, and the definition of the observation stream, version 2.

All numbers are little-endian. Addresses refer to the recorder memory, a 32-bit memory that the capsule adds.

==========  =======================================================================================================
address     content
==========  =======================================================================================================
0           parameters of the pass, ``PARAMETERS``: u32 first row, u32 row after the last, u32 flags (1: an exit
            traps, 2: no row is called), u32 view mode (0 bytes, 1 digests), u32 view space (0 the stream, n+1
            a page of memory n), u32 page, u64 view offset in bytes, u64 view step in bytes (digests: the length of a block)
40          u32, in the batch form (``batch``): the number of the range of rows that is running
64          header, eight u64: magic and version; the plan's digest; the known answer; status (u32) and current
            record (u32); stream length in bytes; digest lanes a and b of the stream; stream address (u32) and
            flags (u32: bit 0 the recorder memory could not grow, so the heap is truncated; bit 1 a call of an import
            passed more bytes than are digested)
128         view, 242 u64: the window that is transported besides the header; in the batch form ``KEY`` of each range
2064        the recorder's variables, then stub counters, static data, capture buffers and a scratch page
stream      the *records*, one for each row, all of one size; then the *final record*; then the *heap*
==========  =======================================================================================================

Status: 0 not begun, 1 a row is running (its record is the current one), 2 finished: digests are valid.

A record: u32 outcome (``NOT_REACHED`` ...); u32 exit code, the tag's index if the row threw, or the funcidx of the stub if the row
left the slice (``LEFT``); the results, or the exception's
payload, 8 bytes each (v128: 16; a reference: its *word*); trace: u32 cursor, u32 overflow, u64 heap offset and u64 digest of its
bytes; stdout and stderr, each: u64 total, u32 captured, u32 heap offset, u64 running digest; if there are stubs: u64 digest of
the row's calls of imports (``calls``), then for each stub u32 calls since the instance began; for each branch u32 brval; for each
branch u32 brcnt; zeros to a multiple of 8; if there are object types: the row's *objects*, a part. Heap offsets are relative to
the stream.

The final record: for each counter u64; the exported and the imported mutable globals, encoded like results; for each table u64
size; for each memory u64 pages, u64 heap offset of its page digests, u64 their number (each two u64); if there are object types:
the state's objects, a part; for each table its elements, a part.

A part: u32 heap offset, u32 bytes (bit 0: a limit was reached, and the rest is missing), u64 digest. A table's elements are words.
Objects are those reachable from the words of the record, breadth first, each once. An object: u32 index in the object types plus 1
(0: another type), u32 number of fields or elements, u32 how many of them follow, u32 0; its values, 8 bytes each (v128: 16; packed
fields zero-extended; references: words).

A word: 0 for null; otherwise the kind of reference in the low 32 bits (``values.OPAQUE`` ...) and in the high 32 bits an i31's
bits, an object's number among the objects of its record, a function's typeidx or, in the identity form, its funcidx.

Digests of heap parts and of blocks are lane a of ``digest``. Running digests of output are FNV-1a, 64 bits, by byte.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import Final

import msgspec

from diffcheck.observation import LeftSlice

MAGIC: Final = 0x31534344  # "DCS1"
VERSION: Final = 2
MEMORY_EXPORT: Final = "diffcheck:memory"
RESULTS_EXPORT: Final = "diffcheck:results"
"""The memory in which the callers of WIT rows encode results (``cases.wit_rows``)."""
AFTER_TRAP_EXPORT: Final = "diffcheck:after-trap"
ENTRY: Final = "_start"
SLOT_PREFIX: Final = "__witness_counter_"
FIRST_SLOT: Final = 4_000_000_000

PARAMETERS: Final = struct.Struct("<IIIIIIQQ")
PARAMETERS_ADDRESS: Final = 0
RANGE_ADDRESS: Final = 40
HEADER: Final = struct.Struct("<IIQQIIQQQII")
KEY: Final = struct.Struct("<QQQ")
"""A header's ``stream_key``."""
HEADER_ADDRESS: Final = 64
HEADER_WORDS: Final = 8
VIEW_ADDRESS: Final = 128
VIEW_WORDS: Final = 242
VIEW_BYTES: Final = VIEW_WORDS * 8
SLOTS: Final = HEADER_WORDS + VIEW_WORDS
VARIABLES_ADDRESS: Final = VIEW_ADDRESS + VIEW_BYTES
PAGE: Final = 65_536

MAX_STREAM_BYTES: Final = 192 << 20
"""The longest stream accepted from an engine, far above 1,024 page digests and 64 MiB of traces."""

COMPARED: Final = "compared"
NOT_REACHED, RETURNED, EXITED, THREW, SWALLOWED, ENTERED, LEFT = range(7)
NOT_BEGUN, RUNNING, FINISHED = range(3)
FLAG_CUT, FLAG_CALLS_CUT, FLAG_PASSED_CUT = 1, 2, 4
NO_TAG: Final = 0xFFFF_FFFF
"""The tag's index of an exception that matches none of the artifact's tags, which is an engine fault."""
EXIT_TRAPS, INERT = 1, 2

PART: Final = struct.Struct("<IIQ")
OBJECT_HEADER: Final = struct.Struct("<IIII")
PART_CUT: Final = 1
MAX_OBJECTS: Final = 1000
MAX_DEPTH: Final = 8
MAX_ELEMENTS: Final = 65_536
"""Limit of the recorded elements of a table, and of the values of all objects of a record."""

_WIDTH: Final = {"v128": 16}


class Stub(msgspec.Struct, frozen=True):
    """A stubbed import: ``kind`` is functional, zero or trap, ``index`` its function index.

    ``reason`` is why a known function has no functional stub. ``params`` are the parameters' kinds in the stream. ``buffers`` is
    ``COMPARED`` if the bytes that parameters point to are compared, otherwise the reason why not, or empty if no parameter is known
    to point to bytes.
    """

    module: str
    name: str
    kind: str
    index: int
    signature: str = ""
    reason: str = ""
    params: tuple[str, ...] = ()
    buffers: str = ""


class RowLayout(msgspec.Struct, frozen=True):
    """A row: its text and result types. ``init`` rows run on every instance; ``expected`` is as in ``driver.Call``."""

    name: str
    results: tuple[str, ...]
    init: bool = False
    expected: str = ""


class Tag(msgspec.Struct, frozen=True):
    """A tag of the artifact: its name, empty if it has none, and the kinds of its payload."""

    name: str
    payload: tuple[str, ...]


class Memory(msgspec.Struct, frozen=True):
    """A digested memory of the artifact: its index, and whether its addresses have 64 bits."""

    index: int
    is64: bool


class ObjectType(msgspec.Struct, frozen=True):
    """A struct or array type: its typeidx and the kinds of its fields or of its element, including packed types and ``ref``."""

    index: int
    array: bool
    fields: tuple[str, ...]


class Layout(msgspec.Struct, frozen=True, dict=True):
    """The content of a capsule's stream, in order; sufficient to decode it without the artifact.

    ``branches`` are the ids with brval and brcnt, ``counters`` the ids of counters, ``globals`` the other visible globals with
    types, ``tables`` the number of tables, ``memories`` the digested memories (at most ``digest_pages`` pages in total), ``tags``
    the artifact's tags by index. ``log_row`` is the record whose calls the logging form (``calls``) logs in the heap's first part,
    otherwise None. ``objects`` are the recorded object types, subtypes before their supertypes. ``described`` is False if only the
    nullness of references is recorded. ``functions`` are the function names of the identity form, by index. ``dropped`` are the
    outcomes of rows that enter a slice's stubs, by the stub's funcidx.
    """

    rows: tuple[RowLayout, ...]
    stubs: tuple[Stub, ...]
    branches: tuple[int, ...]
    counters: tuple[int, ...]
    globals: tuple[tuple[str, str], ...]
    tables: int
    memories: tuple[Memory, ...]
    digest_pages: int
    plan_digest: int
    has_trace: bool
    has_output: bool
    known_answer: int = 0
    tags: tuple[Tag, ...] = ()
    log_row: int | None = None
    objects: tuple[ObjectType, ...] = ()
    described: bool = True
    functions: dict[int, str] = {}
    dropped: dict[int, LeftSlice] = {}

    @cached_property
    def n_init(self) -> int:
        """The number of rows that run on every instance. They come first."""
        return sum(row.init for row in self.rows)

    @cached_property
    def n_rows(self) -> int:
        """The number of rows without the init rows."""
        return len(self.rows) - self.n_init

    @cached_property
    def has_references(self) -> bool:
        """Whether a record may hold references."""
        kinds = (*(row.results for row in self.rows), *(tag.payload for tag in self.tags))
        return bool(self.objects) or any("ref" in each for each in kinds)

    @cached_property
    def results_size(self) -> int:
        """Bytes for results or a payload in a record: the maximum over all rows and tags."""
        values = [*(row.results for row in self.rows), *(tag.payload for tag in self.tags)]
        return max((sum(_WIDTH.get(kind, 8) for kind in kinds) for kinds in values), default=0)

    @cached_property
    def trace_offset(self) -> int:
        """Offset of the trace in a record."""
        return 8 + self.results_size

    @cached_property
    def stdout_offset(self) -> int:
        """Offset of stdout in a record; stderr follows after 24 bytes."""
        return self.trace_offset + 24

    @cached_property
    def calls_digest_offset(self) -> int:
        """Offset of the digest of calls in a record, if there are stubs."""
        return self.stdout_offset + 48

    @cached_property
    def calls_offset(self) -> int:
        """Offset of the numbers of calls in a record."""
        return self.calls_digest_offset + 8 * bool(self.stubs)

    @cached_property
    def brvals_offset(self) -> int:
        """Offset of the brvals in a record; the brcnts follow."""
        return self.calls_offset + 4 * len(self.stubs)

    @cached_property
    def brcnts_offset(self) -> int:
        """Offset of the brcnts in a record."""
        return self.brvals_offset + 4 * len(self.branches)

    @cached_property
    def record_size(self) -> int:
        """Bytes of one record."""
        return self.objects_offset + self._objects_size

    @cached_property
    def objects_offset(self) -> int:
        """Offset of the objects in a record."""
        return (self.brcnts_offset + 4 * len(self.branches) + 7) & ~7

    @property
    def _objects_size(self) -> int:
        return PART.size if self.objects else 0

    @cached_property
    def globals_offset(self) -> int:
        """Offset of the globals in the final record."""
        return 8 * len(self.counters)

    @cached_property
    def tables_offset(self) -> int:
        """Offset of the table sizes in the final record."""
        return self.globals_offset + sum(_WIDTH.get(kind, 8) for _, kind in self.globals)

    @cached_property
    def memories_offset(self) -> int:
        """Offset of the memories in the final record."""
        return self.tables_offset + 8 * self.tables

    @cached_property
    def final_size(self) -> int:
        """Bytes of the final record."""
        return self.elements_offset + PART.size * self.tables

    @cached_property
    def final_objects_offset(self) -> int:
        """Offset of the state's objects in the final record."""
        return self.memories_offset + 24 * len(self.memories)

    @cached_property
    def elements_offset(self) -> int:
        """Offset of the tables' elements in the final record."""
        return self.final_objects_offset + self._objects_size

    def records(self, first: int, last: int) -> int:
        """The number of records of a pass over rows [first, last)."""
        return self.n_init + max(0, last - first)

    def heap_offset(self, first: int, last: int) -> int:
        """Offset of the heap, in bytes from the start of the stream, in a pass over rows [first, last)."""
        return self.records(first, last) * self.record_size + self.final_size


class Parameters(msgspec.Struct, frozen=True):
    """The parameters of one pass. Rows are numbered without the init rows."""

    first: int
    last: int
    flags: int = 0
    view_mode: int = 0
    view_space: int = 0
    view_page: int = 0
    view_offset: int = 0
    view_step: int = 0

    def encode(self) -> bytes:
        """Return the 40 bytes for ``PARAMETERS_ADDRESS``."""
        return PARAMETERS.pack(*msgspec.structs.astuple(self))


def rows(first: int, last: int, flags: int = 0) -> Parameters:
    """Return the parameters that run the rows [first, last); all empty ranges have the same ones."""
    return Parameters(first, last, flags) if first < last else Parameters(0, 0, flags)


class Header(msgspec.Struct, frozen=True):
    """The header of a stream."""

    magic: int
    version: int
    plan_digest: int
    known_answer: int
    status: int
    record: int
    length: int
    lane_a: int
    lane_b: int
    address: int
    flags: int

    @property
    def stream_key(self) -> tuple[int, int, int]:
        """The stream's length and digest: equal streams have equal keys."""
        return self.length, self.lane_a, self.lane_b

    @property
    def digest_hex(self) -> str:
        """The stream's digest, 32 hex digits."""
        return f"{self.lane_a:016x}{self.lane_b:016x}"


def read_header(words: bytes) -> Header:
    """Decode a header from its 64 bytes."""
    return Header(*HEADER.unpack_from(words))
