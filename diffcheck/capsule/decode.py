"""Decode a stream's bytes to rows and final state, with all checks, since the bytes are an engine's answer.

On a transport of windows, only bytes that differ are fetched for an ``Image``; the others equal the oracle's.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.recorder.digest import digest
from diffcheck.errors import StreamError
from diffcheck.observation import (
    CallSequence,
    Exited,
    FinalState,
    Object,
    Objects,
    Outcome,
    Output,
    Returned,
    RowRecord,
    Threw,
    Trapped,
)
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from diffcheck.capsule.layout import Header, Layout

_WIDTHS: Final = {"i32": 4, "f32": 4, "i8": 1, "i16": 2, "ref": 8, "i64": 8, "f64": 8, "v128": 16}


class Image(msgspec.Struct, frozen=True):
    """A whole stream, its header, and the pass's range of rows."""

    header: lo.Header
    stream: bytes
    first: int
    last: int


def check_header(words: bytes, layout: Layout, first: int, last: int) -> Header:
    """Decode the header in the first 64 bytes, and check its plan, its known answer and its length.

    ``first`` and ``last`` are the pass's range of rows, whose records the stream must contain. Raises ``StreamError``.
    """
    if len(words) < lo.HEADER.size:
        raise StreamError(f"the stream's header has {len(words)} bytes, not {lo.HEADER.size}")
    header = lo.read_header(words)
    if header.magic != lo.MAGIC:
        raise StreamError(f"the stream begins with {header.magic:#010x}, so it is not an observation stream")
    if header.version != lo.VERSION:
        raise StreamError(f"the stream has version {header.version}, not {lo.VERSION}")
    if header.plan_digest != layout.plan_digest:
        raise StreamError(f"the stream belongs to plan {header.plan_digest:016x}, not {layout.plan_digest:016x}")
    if header.status != lo.FINISHED:
        raise StreamError("the stream was not finished")
    if header.known_answer != layout.known_answer:
        raise StreamError(
            f"the engine computes digests wrongly: the known answer is {layout.known_answer:016x}, not {header.known_answer:016x}"
        )
    if header.flags & lo.FLAG_CUT:
        raise StreamError("the recorder's memory could not grow, so the stream is truncated")
    if header.length % 8 or header.length < layout.heap_offset(first, last):
        raise StreamError(f"the stream has {header.length} bytes, which cannot hold its records")
    if header.length > lo.MAX_STREAM_BYTES:
        raise StreamError(f"the stream has {header.length} bytes, more than the limit of {lo.MAX_STREAM_BYTES}")
    return header


def decode_image(memory: bytes, layout: Layout, first: int, last: int) -> Image:
    """Extract the stream from a recorder memory's bytes, and check its length and digest; ``StreamError``."""
    header = check_header(memory[lo.HEADER_ADDRESS : lo.HEADER_ADDRESS + lo.HEADER.size], layout, first, last)
    stream = memory[header.address : header.address + header.length]
    return checked_image(header, stream, first, last)


def checked_image(header: Header, stream: bytes, first: int, last: int) -> Image:
    """Return the image of a stream; ``StreamError`` if its length or digest differs from ``header``."""
    if len(stream) != header.length:
        raise StreamError(f"the stream should have {header.length} bytes, but has {len(stream)}")
    if _digest(stream) != (header.lane_a, header.lane_b):
        raise StreamError("the stream's digest does not match its bytes: it was damaged, or the digest is wrong")
    return Image(header, stream, first, last)


@lru_cache(maxsize=1)  # the other engine's stream is nearly always the same
def _digest(stream: bytes) -> tuple[int, int]:
    return digest(stream)


def rows(image: Image, layout: Layout) -> tuple[RowRecord, ...]:
    """Decode all rows of the pass, init rows first. A row that was not reached has no outcome."""
    driven = layout.rows[: layout.n_init] + layout.rows[layout.n_init + image.first : layout.n_init + image.last]
    return tuple(_row(image.stream, layout, at, row) for at, row in enumerate(driven))


def _outcome(word: int, code: int, layout: Layout) -> Outcome | None:
    match word:
        case lo.NOT_REACHED:
            return None
        case lo.RETURNED:
            return Returned()
        case lo.EXITED | lo.SWALLOWED:
            return Exited(code)
        case lo.ENTERED:
            return Trapped("unknown")
        case lo.LEFT if code in layout.dropped:
            return layout.dropped[code]
    raise StreamError(f"a record has the unknown outcome {word}")


def _threw(stream: bytes, layout: Layout, record: int, tagidx: int) -> Threw:
    if tagidx == lo.NO_TAG:
        return Threw(None)
    if tagidx >= len(layout.tags):
        raise StreamError(f"a record has the tag {tagidx}, but the artifact has {len(layout.tags)} tags")
    tag = layout.tags[tagidx]
    payload = _values(stream, record + 8, tag.payload)
    return Threw(tagidx, tag.name, tuple(f"{each.type} {each}" if each.type != "ref" else str(each) for each in payload))


def _payload(stream: bytes, layout: Layout, record: int, threw: Threw) -> tuple[Value, ...]:
    return () if threw.tagidx is None else _values(stream, record + 8, layout.tags[threw.tagidx].payload)


def swallowed(image: Image, layout: Layout) -> bool:
    """Whether a row of the pass returned after a call that exits the program."""
    size = layout.record_size
    return any(
        struct.unpack_from("<I", image.stream, at * size)[0] == lo.SWALLOWED
        for at in range(layout.records(image.first, image.last))
    )


def first_stop(image: Image, layout: Layout) -> int | None:
    """The first record of a row that did not return, or was not reached; None if all rows returned."""
    records = range(layout.records(image.first, image.last))
    outcomes = (struct.unpack_from("<I", image.stream, at * layout.record_size)[0] for at in records)
    return next((at for at, outcome in zip(records, outcomes, strict=True) if outcome != lo.RETURNED), None)


def left_open(image: Image, layout: Layout, at: int) -> bool:
    """Whether the row of a record was entered but not finished, which happens only at a trap."""
    return bool(struct.unpack_from("<I", image.stream, at * layout.record_size)[0] == lo.ENTERED)


def _row(stream: bytes, layout: Layout, at: int, row: lo.RowLayout) -> RowRecord:
    record = at * layout.record_size
    word, code = struct.unpack_from("<II", stream, record)
    outcome = _outcome(word, code, layout) if word != lo.THREW else _threw(stream, layout, record, code)
    if outcome is None:
        return RowRecord(row.name, None, entered=False)
    n = len(layout.branches)
    cursor, overflow, trace_at, _ = struct.unpack_from("<IIQQ", stream, record + layout.trace_offset)
    return RowRecord(
        name=row.name,
        outcome=outcome,
        results=_values(stream, record + 8, row.results) if word == lo.RETURNED else (),
        payload=_payload(stream, layout, record, outcome) if isinstance(outcome, Threw) else (),
        brvals=struct.unpack_from(f"<{n}I", stream, record + layout.brvals_offset),
        brcnts=struct.unpack_from(f"<{n}I", stream, record + layout.brcnts_offset),
        trace=_heap(stream, trace_at, cursor - 16) if trace_at else b"",
        trace_overflow=bool(overflow),
        stdout=_output(stream, record + layout.stdout_offset) if layout.has_output else None,
        stderr=_output(stream, record + layout.stdout_offset + 24) if layout.has_output else None,
        stub_calls=struct.unpack_from(f"<{len(layout.stubs)}I", stream, record + layout.calls_offset),
        calls=_calls(stream, layout, record),
        objects=_objects(stream, record + layout.objects_offset, layout),
    )


def _calls(stream: bytes, layout: Layout, record: int) -> CallSequence | None:
    if not layout.stubs:
        return None
    (digest_,) = struct.unpack_from("<Q", stream, record + layout.calls_digest_offset)
    return CallSequence(digest_)


def _values(stream: bytes, offset: int, kinds: tuple[str, ...]) -> tuple[Value, ...]:
    values = []
    for kind in kinds:
        width = _WIDTHS[kind]
        values.append(Value(kind, int.from_bytes(stream[offset : offset + width], "little")))
        offset += 16 if kind == "v128" else 8
    return tuple(values)


def _output(stream: bytes, offset: int) -> Output:
    total, captured, at, running = struct.unpack_from("<QIIQ", stream, offset)
    return Output(total, _heap(stream, at, captured) if captured else b"", running)


def _heap(stream: bytes, offset: int, length: int) -> bytes:
    if offset + length > len(stream):
        raise StreamError(f"a record refers to {length} bytes at {offset}, beyond the stream's end")
    return stream[offset : offset + length]


def state(image: Image, layout: Layout) -> FinalState:
    """Decode the final record; ``StreamError`` if it refers to bytes beyond the stream."""
    stream, base = image.stream, layout.records(image.first, image.last) * layout.record_size
    counters = struct.unpack_from(f"<{len(layout.counters)}Q", stream, base)
    kinds = tuple(kind for _, kind in layout.globals)
    values = _values(stream, base + layout.globals_offset, kinds)
    tables = struct.unpack_from(f"<{layout.tables}Q", stream, base + layout.tables_offset)
    sizes, pages = [], []
    for at in range(len(layout.memories)):
        size, heap_at, count = struct.unpack_from("<QQQ", stream, base + layout.memories_offset + 24 * at)
        sizes.append(size)
        lanes = struct.unpack(f"<{2 * count}Q", _heap(stream, heap_at, 16 * count))
        pages.append(tuple(zip(lanes[::2], lanes[1::2], strict=True)))
    return FinalState(
        counters=dict(zip(layout.counters, counters, strict=True)),
        globals=dict(zip((name for name, _ in layout.globals), values, strict=True)),
        tables=tables,
        memories=tuple(sizes),
        pages=tuple(pages),
        elements=tuple(_elements(stream, base + layout.elements_offset + lo.PART.size * at) for at in range(layout.tables)),
        objects=_objects(stream, base + layout.final_objects_offset, layout),
    )


def _elements(stream: bytes, part: int) -> tuple[int, ...]:
    """Decode the words of a table's elements."""
    at, size, _ = lo.PART.unpack_from(stream, part)
    size &= ~7
    return struct.unpack(f"<{size // 8}Q", _heap(stream, at, size))


def _objects(stream: bytes, part: int, layout: Layout) -> Objects:
    """Decode the objects of a record up to the first malformed one, which differs from the other engine's anyway."""
    if not layout.objects:
        return Objects()
    at, size, _ = lo.PART.unpack_from(stream, part)
    data = _heap(stream, at, size & ~7)
    objects, at = [], 0
    while at + lo.OBJECT_HEADER.size <= len(data):
        number, length, recorded, _ = lo.OBJECT_HEADER.unpack_from(data, at)
        at += lo.OBJECT_HEADER.size
        type_ = layout.objects[number - 1] if 0 < number <= len(layout.objects) else None
        kinds = (type_.fields * recorded if type_.array else type_.fields[:recorded]) if type_ and recorded <= len(data) else ()
        width = sum(16 if kind == "v128" else 8 for kind in kinds)
        if at + width > len(data):
            break
        objects.append(Object(number - 1 if type_ else None, length, _values(data, at, kinds)))
        at += width
    return Objects(tuple(objects), bool(size & lo.PART_CUT))
