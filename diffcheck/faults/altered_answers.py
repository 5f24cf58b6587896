"""Faults of the carrying: the program ran right, and what came out of the engine is not what the recorder wrote."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.faults.counters import comparable, shown
from diffcheck.faults.model import Expected, Fault, FaultTarget, Plant
from diffcheck.observation import Returned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from diffcheck.observation import Execution

_STREAM: Final = Expected("stream")
_HEADER_BITS: Final = 8 * (lo.HEADER.size - 4)  # all but the flags, which say that memory was short


def _change(bits: Callable[[int, int, int], tuple[int, ...]]) -> Callable[[Execution], Execution]:
    """Flips bits of what is carried; ``bits`` is given where header and stream begin and how many bytes of it are there.

    A run of fewer rows has a shorter stream, so a place in it is a fraction of what is there.
    """

    def carry(execution: Execution) -> Execution:
        data = execution.carried
        if not data:
            return execution
        words = len(data) == 8 * lo.SLOTS
        header = 0 if words else lo.HEADER_ADDRESS
        said = lo.read_header(data[header : header + lo.HEADER.size])
        stream = lo.HEADER.size if words else said.address
        there = max(0, min(said.length, len(data) - stream))
        return msgspec.structs.replace(execution, carried=_flipped(data, *bits(header, stream, there)))

    return carry


def _flipped(data: bytes, *bits: int) -> bytes:
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damaged(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """One bit of the header or of the stream's first window."""
    in_header = chance.random() < 0.3 or not artifact.stream_bytes  # noqa: PLR2004 - a third of them
    bit, fraction = chance.randrange(_HEADER_BITS), chance.random()
    if in_header:
        return Fault("", f"bit {bit} of the header", _STREAM, carry=_change(lambda header, _stream, _there: (8 * header + bit,)))
    carry = _change(lambda _header, stream, there: (8 * stream + int(8 * there * fraction),) if there else ())
    return Fault("", f"a bit of the stream, {fraction:.0%} into it", _STREAM, carry=carry)


def top_bits(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """The top bits of two words of the stream."""
    if artifact.stream_bytes < 16:  # noqa: PLR2004 - two words
        return None
    one, other = chance.random(), chance.random()

    def bits(_header: int, stream: int, there: int) -> tuple[int, ...]:
        words = there // 8
        first = int(words * one)
        return tuple(8 * stream + 64 * word + 63 for word in (first, (first + 1 + int((words - 1) * other)) % words))

    return Fault("", f"two words of the stream, the first {one:.0%} into it", _STREAM, carry=_change(bits))


def empty_stream(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - the plants' shape
    """Nothing comes out of an engine that ended well."""
    return Fault("", "the whole stream", _STREAM, carry=lambda each: msgspec.structs.replace(each, carried=b""))


def _others(artifact: FaultTarget, everything: tuple[FaultTarget, ...]) -> list[FaultTarget]:
    return [each for each in everything if each is not artifact]


def foreign_stream(artifact: FaultTarget, chance: Random, everything: tuple[FaultTarget, ...]) -> Fault | None:
    """The stream of another artifact's capsule."""
    others = [
        (each.name, each.capsule.capsules.standard.wasm)
        for each in _others(artifact, everything)
        if each.capsule and len(each.returned) == len(each.rows)
    ]
    if not others:
        return None
    name, wasm = chance.choice(others)
    return Fault("", f"that of {name}", _STREAM, lambda _wasm: wasm)


def _counters(artifact: FaultTarget) -> dict[int, int]:
    execution = artifact.execution
    return (execution.counters or {}) if execution is not None and isinstance(execution.outcome, Returned) else {}


def _snapshot(change: Callable[[dict[int, int]], dict[int, int]]) -> Callable[[Execution], Execution]:
    def carry(execution: Execution) -> Execution:
        if execution.counters is None:
            return execution
        return msgspec.structs.replace(execution, counters=change(execution.counters))

    return carry


def empty_snapshot(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - as above
    """A snapshot without counters."""
    counters = _counters(artifact)
    if not counters:
        return None
    first = min(counters)
    expected = Expected("counter", f"counter {first}", "", shown(counters[first]), "absent")
    return Fault("", "the whole snapshot", expected, carry=_snapshot(lambda _counters: {}))


def foreign_snapshot(artifact: FaultTarget, chance: Random, everything: tuple[FaultTarget, ...]) -> Fault | None:
    """Another artifact's snapshot."""
    own = _counters(artifact)
    others = [each for each in _others(artifact, everything) if _counters(each) and _counters(each) != own]
    if not own or not others:
        return None
    other = chance.choice(others)
    theirs = _counters(other)
    id_ = min(id_ for id_ in own.keys() | theirs.keys() if own.get(id_) != theirs.get(id_))
    values = [shown(each[id_]) if id_ in each else "absent" for each in (own, theirs)]
    return Fault(
        "", f"that of {other.name}", Expected("counter", f"counter {id_}", "", *values), carry=_snapshot(lambda _counters: theirs)
    )


def wrong_number(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """One bit of a counter's value, as damage on its way changes it."""
    counters = _counters(artifact)
    ids = comparable(counters)
    if not ids:
        return None
    id_ = chance.choice(ids)
    wrong = struct.unpack("<Q", _flipped(struct.pack("<Q", counters[id_]), chance.randrange(64)))[0]
    expected = Expected("counter", f"counter {id_}", "", str(counters[id_]), str(wrong))
    return Fault("", f"counter {id_}", expected, carry=_snapshot(lambda each: {**each, id_: wrong}))


CAPSULE: Final[dict[str, Plant]] = {
    "damaged stream": damaged,
    "top bits of two words of the stream": top_bits,
    "empty stream": empty_stream,
    "another artifact's stream": foreign_stream,
}
DIRECT: Final[dict[str, Plant]] = {
    "empty snapshot": empty_snapshot,
    "another artifact's snapshot": foreign_snapshot,
    "one bit of a snapshot's number": wrong_number,
}


def plant(
    plants: dict[str, Plant], kind: str, artifact: FaultTarget, chance: Random, everything: Sequence[FaultTarget]
) -> Fault | None:
    """A fault of that class in that artifact, if it has a place for one."""
    fault = plants[kind](artifact, chance, tuple(everything))
    return msgspec.structs.replace(fault, kind=kind) if fault else None
