"""The event log of an instrumented capsule: where it stands, how it is read, and its digests computed in Python.

The log takes the place of the view (``capsule.layout``): 242 words that every transport carries out.

========  =====================================================================================================
word      what
========  =====================================================================================================
0         events noted so far
1         the digest of the events since the start event
2         the known answer: the digest of the probes' own pattern
3         table mode: 239 digests, number k of the events [start, start + (k + 1) step)
3         raw mode: 119 records of an event each: u32 site, u32 event number (modulo 2^32), u64 value
========  =====================================================================================================

Its parameters stand behind those of a pass and in the place of the view's: u32 at 16 how
much was written (a variable), u32 at 20 how many objects have a number (a variable), u64 at 24 the start event, u64 at 32 the step (0: raw mode), u64 at 40 the number of events behind
which the program is ended, u32 at 48 where raw records go (0: a part of the heap, for an engine whose whole stream is carried), u32 at 52 how
many of them are kept, ``Take`` at 56. Raw mode leaves the last word free: there stands how often the instruction with details was reached.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.digest import PRIME_A, PRIME_B, SEED_A
from diffcheck.capsule.recorder import carry_words
from diffcheck.wasm.leb import s, u

if TYPE_CHECKING:
    from collections.abc import Iterable

Variant = Literal["rotate", "add"]
VARIANTS: Final[tuple[Variant, ...]] = ("rotate", "add")
"""Two digests over different instructions, see ``words``."""

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
_WORDS: Final[dict[Variant, dict[str, str]]] = {
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
        "f64.bits": "local.set $f i32.const $SCRATCH local.get $f f64.store $rec i32.const $SCRATCH i64.load $rec",
        "low": "local.set $b i32.const $SCRATCH local.get $b v128.store $rec i32.const $SCRATCH i64.load $rec",
        "high": "local.set $b i32.const $SCRATCH local.get $b v128.store $rec i32.const $SCRATCH i64.load $rec offset=8",
    },
}


class WrongDigest(Exception):  # noqa: N818 - an outcome of the search
    """The subject is wrong in the digest's own instructions: its argument says how."""


class MemoryProbe(msgspec.Struct, frozen=True):
    """Memory that a run takes, so that the most that its process had tells how far it came, also where it ends without a word.

    Pages of 64 KiB of the recorder memory, all of them written to: ``pad`` (u32 at 56, then a variable) at the beginning, ``block`` (u16 at
    60) at each new block of a table and each raw record. ``ahead`` (u16 at 62): so many pages are added at the beginning already, and only
    written to at each block; 0 adds them there. An engine that clears memory as it adds it shows nothing with the one, one that
    moves all memory as it adds some nothing with the other.
    """

    pad: int = 0
    block: int = 0
    ahead: int = 0


class LogParameters(lo.Parameters, frozen=True):
    """The parameters of a run that logs: rows and flags as usual, then the log's."""

    start: int = 0
    step: int = 0
    halt: int = NEVER
    limit: int = RAWS
    take: MemoryProbe = MemoryProbe()

    def encode(self) -> bytes:
        """The 64 bytes that stand at ``PARAMETERS_ADDRESS``."""
        head = lo.PARAMETERS.pack(self.first, self.last, self.flags, 0, 0, 0, self.start, self.step)
        take = self.take
        base = TABLE_AT if self.limit <= RAWS else 0
        return head + _EXTRA.pack(self.halt, base, self.limit, take.pad, take.block, take.ahead)


class Record(msgspec.Struct, frozen=True, gc=False):
    """An event as logged: its site's number, its own number, its value's bits."""

    site: int
    event: int
    value: int


class EventLog(msgspec.Struct, frozen=True):
    """A log as carried out: events noted, digest, known answer, then the table's words or the raw records' bytes."""

    count: int
    lane: int
    known: int
    words: bytes
    visits: int = 0

    def slots(self, start: int, step: int) -> tuple[int, ...]:
        """The digests of the table that were written: block after block, the last partial one by ``lane``."""
        written = min(SLOTS, max(0, self.count - 1 - start) // step) if self.count > start else 0
        return struct.unpack_from(f"<{written}Q", self.words)

    def contradicts(self, variant: Variant, start: int) -> bool:
        """Whether raw records from ``start`` on and what stands beside them do not fit: their number, numbering and digest."""
        found = self.records(start)
        written = min(RAWS, max(0, self.count - start))
        if [each.event for each in found] != list(range(start, start + written)):
            return True
        whole = 0 < self.count - start <= RAWS
        return whole and mix(variant, ((each.site, each.value) for each in found)) != self.lane

    def records(self, start: int) -> tuple[Record, ...]:
        """The raw records from ``start`` on, as far as there are; asides have the number of the next event."""
        found = []
        for site, event, value in RECORD.iter_unpack(self.words[: len(self.words) // RECORD.size * RECORD.size]):
            if not site:
                break
            found.append(Record(site, event + (start & ~0xFFFF_FFFF), value))
        return tuple(found)


def read_log(view: bytes, trace: bytes = b"") -> EventLog:
    """The log in a view's bytes; ``trace`` are the raw records where they stood elsewhere."""
    count, lane, known = struct.unpack_from("<QQQ", view)
    (visits,) = struct.unpack_from("<Q", view, VISITS_AT - lo.VIEW_ADDRESS)
    return EventLog(count, lane, known, trace or view[24 : lo.VIEW_BYTES], visits)


def step_of(start: int, end: int) -> int:
    """The events of a table's block, so that the events in [start, end) are in no more blocks than it has."""
    return max(1, -(-(end - start) // SLOTS))


def words(variant: Variant) -> dict[str, str]:
    """The pieces of text that the two variants compute by different instructions, so that one engine fault hits one of them only.

    ``step`` mixes ``$value`` and ``$site`` into the lane on the stack; ``plus64`` and ``plus32`` add, the likes of
    ``times8`` multiply, ``reached``, ``none``, ``some``, ``below`` and ``within`` compare (so that every ``if`` takes 0 or 1), ``wide``
    makes an unsigned i64 of an i32; ``join`` puts two words together. ``f32.bits`` gives a float's bits, ``low`` and ``high`` a vector's halves.
    """
    own = _WORDS[variant]
    return {**own, "step": own["step"].format(wide=own["wide"])}


_TEE: Final = re.compile(r"\blocal\.tee (\S+)")
_LOAD: Final = re.compile(r"\b(i32|i64|f32|f64)\.load \$rec(?: offset=(\S+))?")
_STORE: Final = re.compile(r"\b(i32|i64)\.store \$rec(?: offset=(\S+))?")


def variant_text(variant: Variant, text: str) -> str:
    """A text of the log's with its own loads, stores and ``local.tee`` as the variant has them: "add" calls ``APART``."""
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
"""The functions by which "add" loads and stores in the recorder memory, halves of a word each: name, parameters (address, value, offset), text."""
CARRY_OFFSET: Final = 0x5851_F42D_4C95_7F2D
"""What "add" adds to each word that is carried out, so that an engine which carries some words wrong does not do so with the same ones."""


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
    """Header and log as they stood in the memory, from what was carried out in slots."""
    if variant == "rotate":
        return words_
    count = len(words_) // 8
    return struct.pack(f"<{count}Q", *((each - CARRY_OFFSET) & _MASK for each in struct.unpack_from(f"<{count}Q", words_)))


def mix(variant: Variant, events: Iterable[tuple[int, int]], lane: int = SEED_A) -> int:
    """The digest of (site, value) pairs, as the capsule computes it."""
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
