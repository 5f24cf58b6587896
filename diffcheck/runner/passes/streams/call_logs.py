"""The first call of an import that differs in a row, located by running the row in logging form on both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.capsule.import_calls import HEAD_BYTES, LOG_BYTES, read_log
from diffcheck.errors import StreamError
from diffcheck.runner.passes.streams.page_diff import read_view
from diffcheck.runner.passes.streams.window_search import local

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.observation import StubCall
    from diffcheck.runner.passes.capsule_run import CapsuleSide
    from diffcheck.runner.passes.decoded_instance import DecodedInstance
    from diffcheck.runner.passes.streams.window_search import Read

_REST: Final = LOG_BYTES - lo.VIEW_BYTES
_BLOCK: Final = (-(-_REST // lo.VIEW_WORDS) + 7) & ~7
"""Bytes of a block, so that the digests of one view cover the log after its first window."""


def with_calls(
    oracle: CapsuleSide, subject: CapsuleSide, parameters: lo.Parameters, one: DecodedInstance, other: DecodedInstance
) -> tuple[DecodedInstance, DecodedInstance]:
    """Both instances, with the calls of the first row in which the calls differ, if the engines reproduce them."""
    pairs = zip(one.rows, other.rows, strict=True)
    at = next((at for at, (mine, its) in enumerate(pairs) if mine.calls and its.calls and mine.calls != its.calls), None)
    if at is None:
        return one, other
    sides = [side.logging(at) for side in (oracle, subject)]
    try:
        logs = _logs(sides[0], sides[1], parameters)
    except StreamError:
        logs = None
    oracle.cost += sides[0].cost
    subject.cost += sides[1].cost
    if logs is None:
        return one, other
    stubs = oracle.capsule.layout.stubs
    both = [_logged(instance, at, *read_log(log, stubs)) for instance, log in zip((one, other), logs, strict=True)]
    return both[0], both[1]


def _logged(instance: DecodedInstance, at: int, total: int, calls: tuple[StubCall, ...]) -> DecodedInstance:
    row = instance.rows[at]
    assert row.calls is not None, "its digest differs"  # noqa: S101
    row = msgspec.structs.replace(row, calls=msgspec.structs.replace(row.calls, total=total, calls=calls))
    return msgspec.structs.replace(instance, rows=(*instance.rows[:at], row, *instance.rows[at + 1 :]))


def _logs(oracle: CapsuleSide, subject: CapsuleSide, parameters: lo.Parameters) -> tuple[bytes, bytes] | None:
    """Both logs; None if a run has none. Of a subject that carries windows only the part up to the first difference is read."""
    begin = oracle.capsule.layout.heap_offset(parameters.first, parameters.last)
    ours, theirs = oracle.run(parameters), subject.run(parameters)
    if ours.header is None or theirs.header is None:
        return None
    reads = [
        read_view(side, parameters) if ran.image is None else local(ran.image.stream)
        for side, ran in ((oracle, ours), (subject, theirs))
    ]
    if ours.image is None:  # two windows must be enough
        known = _windows(reads[0], begin, 2)
        return known, _windows(reads[1], begin, 2)
    known = ours.image.stream[begin : begin + LOG_BYTES]
    if theirs.image is not None:
        return known, theirs.image.stream[begin : begin + LOG_BYTES]
    return known, _differing(known, reads, begin)


def _differing(known: bytes, reads: Sequence[Read], begin: int) -> bytes:
    """The subject's log: its first window, the oracle's bytes up to the first difference, then its own windows."""
    at, number = lo.VIEW_BYTES, 1
    first = _windows(reads[1], begin, 1)
    if first[HEAD_BYTES:] == known[HEAD_BYTES:at]:
        ours, theirs = (each(1, begin + at, _BLOCK) or b"" for each in reads)
        words = range(0, lo.VIEW_BYTES, 8)
        at += _BLOCK * next((word // 8 for word in words if ours[word : word + 8] != theirs[word : word + 8]), 0)
        number += -(-_BLOCK // lo.VIEW_BYTES)
    return first + known[lo.VIEW_BYTES : at] + _windows(reads[1], begin + at, number)


def _windows(read: Read, offset: int, number: int) -> bytes:
    """Consecutive windows; raises ``StreamError`` if a run has none."""
    windows = [read(0, offset + at * lo.VIEW_BYTES, 0) for at in range(number)]
    if None in windows:
        raise StreamError("a logging run returned no window")
    return b"".join(each for each in windows if each is not None)
