"""Faults of the transport: the program ran correctly, but the engine's answer is not what the recorder wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.faults.counters import comparable, reported_value
from diffcheck.faults.fault import Expected, Fault, FaultTarget, Plant

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from diffcheck.observation import Execution

_STREAM: Final = Expected("stream")
_HEADER_BITS: Final = 8 * (lo.HEADER.size - 4)  # all but the flags, which report a lack of memory


def _flip_bits(bits: Callable[[int, int, int], tuple[int, ...]]) -> Callable[[Execution], Execution]:
    """Return a change that flips bits of the answer. The arguments of ``bits``: header offset, stream offset, stream length.

    A run of fewer rows has a shorter stream, so a place in the stream is a fraction of its length.
    """

    def carry(execution: Execution) -> Execution:
        data = execution.carried
        if not data:
            return execution
        words = len(data) == 8 * lo.SLOTS
        at = 0 if words else lo.HEADER_ADDRESS
        header = lo.read_header(data[at : at + lo.HEADER.size])
        stream = lo.HEADER.size if words else header.address
        length = max(0, min(header.length, len(data) - stream))
        return msgspec.structs.replace(execution, carried=_flip(data, *bits(at, stream, length)))

    return carry


def _flip(data: bytes, *bits: int) -> bytes:
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def stream_bit(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Flip one bit of the header or of the stream's first window."""
    in_header = chance.random() < 0.3 or not artifact.stream_bytes  # noqa: PLR2004 - about a third of the faults
    bit, fraction = chance.randrange(_HEADER_BITS), chance.random()
    if in_header:
        return Fault(
            "", f"bit {bit} of the header", _STREAM, carry=_flip_bits(lambda header, _stream, _length: (8 * header + bit,))
        )
    carry = _flip_bits(lambda _header, stream, length: (8 * stream + int(8 * length * fraction),) if length else ())
    return Fault("", f"a bit of the stream, {fraction:.0%} into it", _STREAM, carry=carry)


def top_bits(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Flip the top bits of two words of the stream."""
    if artifact.stream_bytes < 16:  # noqa: PLR2004 - two words
        return None
    place, distance = chance.random(), chance.random()

    def bits(_header: int, stream: int, length: int) -> tuple[int, ...]:
        words = length // 8
        first = int(words * place)
        return tuple(8 * stream + 64 * word + 63 for word in (first, (first + 1 + int((words - 1) * distance)) % words))

    return Fault("", f"two words of the stream, the first {place:.0%} into it", _STREAM, carry=_flip_bits(bits))


def empty_stream(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - see Plant
    """Drop the whole stream of an engine that ended normally."""
    return Fault("", "the whole stream", _STREAM, carry=lambda execution: msgspec.structs.replace(execution, carried=b""))


def _others(artifact: FaultTarget, everything: tuple[FaultTarget, ...]) -> list[FaultTarget]:
    return [each for each in everything if each is not artifact]


def foreign_stream(artifact: FaultTarget, chance: Random, everything: tuple[FaultTarget, ...]) -> Fault | None:
    """Run the capsule of another artifact."""
    others = [
        (each.name, each.capsule.capsules.standard.wasm)
        for each in _others(artifact, everything)
        if each.capsule and len(each.returned) == len(each.rows)
    ]
    if not others:
        return None
    name, wasm = chance.choice(others)
    return Fault("", f"that of {name}", _STREAM, lambda _wasm: wasm)


def _snapshot(change: Callable[[dict[int, int]], dict[int, int]]) -> Callable[[Execution], Execution]:
    def carry(execution: Execution) -> Execution:
        if execution.counters is None:
            return execution
        return msgspec.structs.replace(execution, counters=change(execution.counters))

    return carry


def empty_snapshot(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:  # noqa: ARG001 - see Plant
    """Drop all counters of the snapshot."""
    counters = artifact.direct_counters
    if not counters:
        return None
    first = min(counters)
    expected = Expected("counter", f"counter {first}", "", reported_value(counters[first]), "absent")
    return Fault("", "the whole snapshot", expected, carry=_snapshot(lambda _counters: {}))


def foreign_snapshot(artifact: FaultTarget, chance: Random, everything: tuple[FaultTarget, ...]) -> Fault | None:
    """Return the snapshot of another artifact."""
    own = artifact.direct_counters
    others = [each for each in _others(artifact, everything) if each.direct_counters and each.direct_counters != own]
    if not own or not others:
        return None
    other = chance.choice(others)
    foreign = other.direct_counters
    id_ = min(id_ for id_ in own.keys() | foreign.keys() if own.get(id_) != foreign.get(id_))
    values = [reported_value(counters[id_]) if id_ in counters else "absent" for counters in (own, foreign)]
    expected = Expected("counter", f"counter {id_}", "", *values)
    return Fault("", f"that of {other.name}", expected, carry=_snapshot(lambda _counters: foreign))


def snapshot_bit(artifact: FaultTarget, chance: Random, _all: tuple[FaultTarget, ...]) -> Fault | None:
    """Flip one bit of a counter's value in the snapshot."""
    counters = artifact.direct_counters
    ids = comparable(counters)
    if not ids:
        return None
    id_ = chance.choice(ids)
    wrong = counters[id_] ^ 1 << chance.randrange(64)
    expected = Expected("counter", f"counter {id_}", "", str(counters[id_]), str(wrong))
    return Fault("", f"counter {id_}", expected, carry=_snapshot(lambda values: {**values, id_: wrong}))


CAPSULE: Final[dict[str, Plant]] = {
    "damaged stream": stream_bit,
    "top bits of two words of the stream": top_bits,
    "empty stream": empty_stream,
    "another artifact's stream": foreign_stream,
}
DIRECT: Final[dict[str, Plant]] = {
    "empty snapshot": empty_snapshot,
    "another artifact's snapshot": foreign_snapshot,
    "one bit of a snapshot's number": snapshot_bit,
}
