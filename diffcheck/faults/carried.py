"""Faults of the carrying: the program ran right, and what came out of the engine is not what the recorder wrote."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.faults.capsule import comparable
from diffcheck.faults.model import Artifact, Expected, Fault, Plant
from diffcheck.observation import Returned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from diffcheck.observation import Execution

_STREAM: Final = Expected("stream")
_HEADER_BITS: Final = 8 * (lo.HEADER.size - 4)  # all but the flags, which say that memory was short


def _change(at: Callable[[bytes, int, int], bytes]) -> Callable[[Execution], Execution]:
    """Changes what is carried; ``at`` is given the bytes, where the header begins, and where the stream does."""

    def carry(execution: Execution) -> Execution:
        data = execution.carried
        if not data:
            return execution
        words = len(data) == 8 * lo.SLOTS
        header = 0 if words else lo.HEADER_ADDRESS
        stream = lo.HEADER.size if words else lo.read_header(data[header : header + lo.HEADER.size]).address
        return msgspec.structs.replace(execution, carried=at(data, header, stream))

    return carry


def _flipped(data: bytes, *bits: int) -> bytes:
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def damaged(artifact: Artifact, chance: Random, _all: tuple[Artifact, ...]) -> Fault | None:
    """One bit of the header or of the stream's first window."""
    bits = 8 * min(artifact.stream_bytes, lo.VIEW_BYTES)
    in_header, bit = chance.random() < 0.3 or not bits, chance.randrange(_HEADER_BITS)  # noqa: PLR2004 - a third of them
    inside = chance.randrange(bits) if bits else 0
    carry = _change(lambda data, header, stream: _flipped(data, 8 * header + bit if in_header else 8 * stream + inside))
    return Fault("", f"bit {bit} of the header" if in_header else f"bit {inside} of the stream", _STREAM, carry=carry)


def top_bits(artifact: Artifact, chance: Random, _all: tuple[Artifact, ...]) -> Fault | None:
    """The top bits of two words of the stream."""
    words = min(artifact.stream_bytes, lo.VIEW_BYTES) // 8
    if words < 2:  # noqa: PLR2004 - a pair
        return None
    one, other = sorted(chance.sample(range(words), 2))
    carry = _change(lambda data, _header, stream: _flipped(data, *(8 * stream + 64 * word + 63 for word in (one, other))))
    return Fault("", f"words {one} and {other} of the stream", _STREAM, carry=carry)


def empty_stream(artifact: Artifact, chance: Random, _all: tuple[Artifact, ...]) -> Fault | None:  # noqa: ARG001 - the plants' shape
    """Nothing comes out of an engine that ended well."""
    return Fault("", "the whole stream", _STREAM, carry=lambda each: msgspec.structs.replace(each, carried=b""))


def _others(artifact: Artifact, everything: tuple[Artifact, ...]) -> list[Artifact]:
    return [each for each in everything if each is not artifact]


def foreign_stream(artifact: Artifact, chance: Random, everything: tuple[Artifact, ...]) -> Fault | None:
    """The stream of another artifact's capsule."""
    others = [each for each in _others(artifact, everything) if each.capsule and len(each.returned) == len(each.rows)]
    if not others:
        return None
    other = chance.choice(others)
    assert other.capsule is not None  # noqa: S101 - just looked
    assert other.capsule.capsule is not None  # noqa: S101 - an artifact's plan of that pass has one
    wasm = other.capsule.capsule.wasm
    return Fault("", f"that of {other.name}", _STREAM, lambda _wasm: wasm)


def _counters(artifact: Artifact) -> dict[int, int]:
    execution = artifact.execution
    return (execution.counters or {}) if execution is not None and isinstance(execution.outcome, Returned) else {}


def _snapshot(change: Callable[[dict[int, int]], dict[int, int]]) -> Callable[[Execution], Execution]:
    def carry(execution: Execution) -> Execution:
        if execution.counters is None:
            return execution
        return msgspec.structs.replace(execution, counters=change(execution.counters))

    return carry


def empty_snapshot(artifact: Artifact, chance: Random, _all: tuple[Artifact, ...]) -> Fault | None:  # noqa: ARG001 - as above
    """A snapshot without counters."""
    counters = _counters(artifact)
    if not counters:
        return None
    first = min(counters)
    expected = Expected("counter", f"counter {first}", "", str(counters[first]), "absent")
    return Fault("", "the whole snapshot", expected, carry=_snapshot(lambda _counters: {}))


def foreign_snapshot(artifact: Artifact, chance: Random, everything: tuple[Artifact, ...]) -> Fault | None:
    """Another artifact's snapshot."""
    own = _counters(artifact)
    others = [each for each in _others(artifact, everything) if _counters(each) and _counters(each) != own]
    if not own or not others:
        return None
    other = chance.choice(others)
    theirs = _counters(other)
    id_ = min(id_ for id_ in own.keys() | theirs.keys() if own.get(id_) != theirs.get(id_))
    values = [str(each[id_]) if id_ in each else "absent" for each in (own, theirs)]
    return Fault("", f"that of {other.name}", Expected("counter", f"counter {id_}", "", *values), carry=_snapshot(lambda _counters: theirs))


def wrong_number(artifact: Artifact, chance: Random, _all: tuple[Artifact, ...]) -> Fault | None:
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


def plant(plants: dict[str, Plant], kind: str, artifact: Artifact, chance: Random, everything: Sequence[Artifact]) -> Fault | None:
    """A fault of that class in that artifact, if it has a place for one."""
    fault = plants[kind](artifact, chance, tuple(everything))
    return msgspec.structs.replace(fault, kind=kind) if fault else None
