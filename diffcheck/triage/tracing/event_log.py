"""The event log of an instrumented capsule: its layout, its decoding, and its digests computed in Python.

The log replaces the view (``capsule.layout``): 242 words that every transport returns.

========  =====================================================================================================
word      content
========  =====================================================================================================
0         number of events
1         the digest of the events since the start event
2         the known answer: the digest of a fixed pattern
3         table mode: 239 digests, number k of the events [start, start + (k + 1) step)
3         raw mode: 119 records of an event each: u32 site, u32 event number (modulo 2^32), u64 value
========  =====================================================================================================

Its parameters follow those of a pass and replace those of the view:

==  ====  ============================================================================================================
at  type  content
==  ====  ============================================================================================================
16  u32   number of slots or records written (a variable)
20  u32   number of numbered objects (a variable)
24  u64   start event
32  u64   step (0: raw mode)
40  u64   number of events after which the program is ended
48  u32   address of raw records (0: allocated on the heap, for a transport that carries the whole stream)
52  u32   most raw records
56        ``MemoryProbe``
==  ====  ============================================================================================================

In raw mode the last word of the log is the number of executions of the instruction with details.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.recorder.digest import PRIME_A, PRIME_B, SEED_A
from diffcheck.capsule.recorder.functions import carry_words
from diffcheck.wasm.leb import s, u

if TYPE_CHECKING:
    from collections.abc import Iterable

Variant = Literal["rotate", "add"]
VARIANTS: Final[tuple[Variant, ...]] = ("rotate", "add")
"""Two digests over different instructions, see ``operations``."""

OUT_AT, SEEN_AT, START_AT, STEP_AT, HALT_AT, BASE_AT, LIMIT_AT, PAD_AT, BLOCK_AT, AHEAD_AT = 16, 20, 24, 32, 40, 48, 52, 56, 60, 62
COUNT_AT: Final = lo.VIEW_ADDRESS
LANE_AT: Final = COUNT_AT + 8
KNOWN_AT: Final = COUNT_AT + 16
TABLE_AT: Final = COUNT_AT + 24
SLOTS: Final = lo.VIEW_WORDS - 3
RAWS: Final = SLOTS // 2
VISITS_AT: Final = TABLE_AT + 16 * RAWS
RECORD: Final = struct.Struct("<IIQ")
NEVER: Final = (1 << 63) - 1
MAX_TRACE: Final = 2_000_000

_EXTRA: Final = struct.Struct("<QIIIHH")
_MASK: Final = (1 << 64) - 1
_OPERATIONS: Final[dict[Variant, dict[str, str]]] = {
    "rotate": {
        "step": f"""
          local.get $value i64.xor i64.const 25 i64.rotl i64.const {PRIME_A} i64.mul
          local.get $site {{wide}} i64.xor i64.const 41 i64.rotl i64.const {PRIME_B} i64.mul
        """,
        "plus64": "i64.const -1 i64.xor i64.sub i64.const 1 i64.sub",
        "plus32": "i32.const -1 i32.xor i32.sub i32.const 1 i32.sub",
        "times8": "i32.const 8 i32.mul",
        "times16": "i32.const 16 i32.mul",
        "reached": "i64.ge_s",
        "wide": "i64.extend_i32_u",
        "times256": "i64.const 256 i64.mul",
        "join": "i64.xor",
        "none": "i64.eqz",
        "some": "i32.const 0 i32.ne",
        "below": "i32.lt_u",
        "within": "i32.le_u",
        "f32.bits": "i32.reinterpret_f32",
        "f64.bits": "i64.reinterpret_f64",
        "low": "i64x2.extract_lane 0",
        "high": "i64x2.extract_lane 1",
    },
    "add": {
        "step": """
          local.get $value i64.add local.tee $w i64.const 13 i64.shl local.get $w i64.add
          local.tee $w i64.const 23 i64.shl local.get $w i64.const 41 i64.shr_u i64.add
          local.get $site {wide} i64.add local.tee $w i64.const 9 i64.shl local.get $w i64.add
          local.tee $w i64.const 29 i64.shl local.get $w i64.const 35 i64.shr_u i64.add
        """,
        "plus64": "i64.add",
        "plus32": "i32.add",
        "times8": "i32.const 3 i32.shl",
        "times16": "i32.const 4 i32.shl",
        "reached": "i64.lt_s i32.eqz",
        "wide": "i64.extend_i32_s i64.const 0xffffffff i64.and",
        "times256": "i64.const 8 i64.shl",
        "join": "i64.add",
        "none": "i64.const 1 i64.lt_u",
        "some": "i32.const 0 i32.gt_u",
        "below": "i32.ge_u i32.eqz",
        "within": "i32.gt_u i32.eqz",
        "f32.bits": "local.set $f i32.const $SCRATCH local.get $f f32.store $rec i32.const $SCRATCH i32.load $rec",
        "f64.bits": "local.set $d i32.const $SCRATCH local.get $d f64.store $rec i32.const $SCRATCH i64.load $rec",
        "low": "local.set $b i32.const $SCRATCH local.get $b v128.store $rec i32.const $SCRATCH i64.load $rec",
        "high": "local.set $b i32.const $SCRATCH local.get $b v128.store $rec i32.const $SCRATCH i64.load $rec offset=8",
    },
}


class WrongDigest(Exception):  # noqa: N818 - an outcome of the search
    """The subject executes instructions of the digest wrongly; the argument is the evidence."""


class MemoryProbe(msgspec.Struct, frozen=True):
    """Extra memory per block of events, so that peak memory reveals how far a silent run came.

    In pages of 64 KiB of the recorder's memory, all written to: ``pad`` (u32 at 56, then a variable) at the start, ``block`` (u16 at
    60) at each new block of a table and each raw record. With ``ahead`` (u16 at 62) that many pages are allocated at the start and
    only written to at each block; with 0 they are allocated there. The first shows nothing on an engine that clears memory when it
    grows, the second on one that moves all memory when it grows.
    """

    pad: int = 0
    block: int = 0
    ahead: int = 0


class LogParameters(lo.Parameters, frozen=True):
    """The parameters of a run with a log: rows and flags of a pass, then those of the log."""

    start: int = 0
    step: int = 0
    halt: int = NEVER
    limit: int = RAWS
    take: MemoryProbe = MemoryProbe()

    def encode(self) -> bytes:
        """The 64 bytes at ``PARAMETERS_ADDRESS``."""
        head = lo.PARAMETERS.pack(self.first, self.last, self.flags, 0, 0, 0, self.start, self.step)
        take = self.take
        base = TABLE_AT if self.limit <= RAWS else 0
        return head + _EXTRA.pack(self.halt, base, self.limit, take.pad, take.block, take.ahead)


class Record(msgspec.Struct, frozen=True, gc=False):
    """A logged event: the numbers of its site and of the event, and the bits of its value."""

    site: int
    event: int
    value: int


class EventLog(msgspec.Struct, frozen=True):
    """A decoded log: number of events, digest, known answer, and the bytes of the table or of the raw records."""

    count: int
    lane: int
    known: int
    words: bytes
    visits: int = 0

    def slots(self, start: int, step: int) -> tuple[int, ...]:
        """The digests of the complete blocks from event ``start`` on; ``lane`` is that of the last, partial one."""
        written = min(SLOTS, max(0, self.count - 1 - start) // step) if self.count > start else 0
        return struct.unpack_from(f"<{written}Q", self.words)

    def contradicts(self, variant: Variant, start: int) -> bool:
        """Whether the raw records from ``start`` on contradict the number of events, their order or the digest."""
        found = self.records(start)
        written = min(RAWS, max(0, self.count - start))
        if [each.event for each in found] != list(range(start, start + written)):
            return True
        whole = 0 < self.count - start <= RAWS
        return whole and mix(variant, ((each.site, each.value) for each in found)) != self.lane

    def records(self, start: int) -> tuple[Record, ...]:
        """The raw records from event ``start`` on; asides have the number of the next event."""
        found = []
        for site, event, value in RECORD.iter_unpack(self.words[: len(self.words) // RECORD.size * RECORD.size]):
            if not site:
                break
            found.append(Record(site, event + (start & ~0xFFFF_FFFF), value))
        return tuple(found)


def read_log(view: bytes, trace: bytes = b"") -> EventLog:
    """The log in the bytes of a view; ``trace`` are the raw records if they were on the heap."""
    count, lane, known = struct.unpack_from("<QQQ", view)
    (visits,) = struct.unpack_from("<Q", view, VISITS_AT - lo.VIEW_ADDRESS)
    return EventLog(count, lane, known, trace or view[24 : lo.VIEW_BYTES], visits)


def step_of(start: int, end: int) -> int:
    """The number of events per block with which a table covers [start, end)."""
    return max(1, -(-(end - start) // SLOTS))


def operations(variant: Variant) -> dict[str, str]:
    """The operations that the variants express by different instructions, so that a fault of an engine affects only one of them.

    ``step`` mixes ``$value`` and ``$site`` into the lane on the stack; ``plus64`` and ``plus32`` add; ``times8`` and so on multiply;
    ``reached``, ``none``, ``some``, ``below`` and ``within`` compare (every ``if`` gets 0 or 1); ``wide`` zero-extends an i32; ``join``
    combines two words; ``f32.bits`` and ``f64.bits`` are a float's bits; ``low`` and ``high`` are a vector's halves.
    """
    own = _OPERATIONS[variant]
    return {**own, "step": own["step"].format(wide=own["wide"])}


_TEE: Final = re.compile(r"\blocal\.tee (\S+)")
_LOAD: Final = re.compile(r"\b(i32|i64|f32|f64)\.load \$rec(?: offset=(\S+))?")
_STORE: Final = re.compile(r"\b(i32|i64)\.store \$rec(?: offset=(\S+))?")


def variant_text(variant: Variant, text: str) -> str:
    """A text of the log with the variant's loads, stores and ``local.tee``; "add" calls the functions of ``SPLIT_ACCESSES``."""
    if variant == "rotate":
        return text
    text = _TEE.sub(r"local.set \1 local.get \1", text)
    text = _LOAD.sub(lambda found: f"i32.const {found[2] or 0} i32.add call ${found[1]}.from", text)
    return _STORE.sub(lambda found: f"i32.const {found[2] or 0} call ${found[1]}.to", text)


SPLIT_ACCESSES: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    (
        "i64.from",
        ("i32",),
        """
        local.get $at i64.load32_u $rec offset=4 i64.const 32 i64.shl
        local.get $at i64.load32_u $rec i64.add
        """,
    ),
    ("i32.from", ("i32",), "local.get $at i64.load32_u $rec i32.wrap_i64"),
    ("f64.from", ("i32",), "local.get $at call $i64.from f64.reinterpret_i64"),
    ("f32.from", ("i32",), "local.get $at call $i32.from f32.reinterpret_i32"),
    (
        "i64.to",
        ("i32", "i64", "i32"),
        """
        local.get $at local.get $offset i32.add local.set $at
        local.get $at local.get $v i64.store32 $rec
        local.get $at local.get $v i64.const 32 i64.shr_u i64.store32 $rec offset=4
        """,
    ),
    (
        "i32.to",
        ("i32", "i32", "i32"),
        """
        local.get $at local.get $offset i32.add
        local.get $v i64.extend_i32_s i64.store32 $rec
        """,
    ),
)
"""The functions with which "add" accesses the recorder's memory, by halves of a word: name, parameters (address, value, offset), text."""
CARRY_OFFSET: Final = 0x5851_F42D_4C95_7F2D
"""What "add" adds to each returned word, so that an engine that returns certain words wrongly does not affect both variants."""


def carry(variant: Variant, slots: range, rec: int) -> bytes:
    """Instructions that copy header and log into the slot globals (``recorder.carry_words``)."""
    if variant == "rotate":
        return carry_words(slots, rec)
    more = b"\x42" + s(CARRY_OFFSET) + b"\x7c"  # i64.const, i64.add
    joined = b"\x42\x20\x86"  # i64.const 32, i64.shl
    where = u(2) if rec == 0 else u(2 | 0x40) + u(rec)  # aligned to four bytes
    load = b"\x41\x00\x35" + where  # i32.const 0, i64.load32_u
    return b"".join(
        load + u(at + 4) + joined + load + u(at) + b"\x7c" + more + b"\x24" + u(slot)
        for at, slot in zip(range(lo.HEADER_ADDRESS, lo.VIEW_ADDRESS + lo.VIEW_BYTES, 8), slots, strict=True)
    )


def carried(variant: Variant, words_: bytes) -> bytes:
    """Header and log as in memory, decoded from the returned slots."""
    if variant == "rotate":
        return words_
    count = len(words_) // 8
    return struct.pack(f"<{count}Q", *((each - CARRY_OFFSET) & _MASK for each in struct.unpack_from(f"<{count}Q", words_)))


def mix(variant: Variant, events: Iterable[tuple[int, int]], lane: int = SEED_A) -> int:
    """The digest of (site, value) pairs that the capsule computes."""
    for site, value in events:
        if variant == "rotate":
            lane = (_rotl(lane ^ value, 25) * PRIME_A) & _MASK
            lane = (_rotl(lane ^ site, 41) * PRIME_B) & _MASK
        else:
            for word, by, turn in ((value, 13, 23), (site, 9, 29)):
                lane = (lane + word) & _MASK
                lane = _rotl((lane + (lane << by)) & _MASK, turn)
    return lane


def _rotl(word: int, by: int) -> int:
    return (word << by | word >> (64 - by)) & _MASK
