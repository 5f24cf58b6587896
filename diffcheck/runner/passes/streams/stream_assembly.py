"""Assembling the subject's stream from the oracle's parts with equal digests and from windows of the other parts."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from diffcheck.capsule import layout as lo
from diffcheck.capsule.decode import Image, state
from diffcheck.capsule.recorder.digest import digest
from diffcheck.errors import StreamError
from diffcheck.runner.passes.streams.window_search import local, locate

if TYPE_CHECKING:
    from diffcheck.observation import FinalState
    from diffcheck.runner.passes.capsule_run import CapsuleRun
    from diffcheck.runner.passes.streams.window_search import Read, RunBudget


_LONGER_BYTES: Final = 2 << 20
"""Bytes by which an assembled stream may exceed the oracle's: over a thousand windows, digested in half a second."""
_PART_RUNS: Final = 16
"""Runs for locating differences in a trace or an output: only the first one is reported, and everything after it may differ."""


class Images:
    """Assembles the subject's stream from the oracle's ``image`` of the same rows; ``unlocated`` counts missing bytes."""

    def __init__(self, layout: lo.Layout, image: Image, budget: RunBudget) -> None:
        self._layout, self._oracle, self._budget = layout, image, budget
        self.unlocated = 0

    def subject(self, ran: CapsuleRun, view: Read) -> Image:
        """The subject's image, or one read window by window through ``view``."""
        if ran.image is not None:
            return ran.image
        assert ran.header is not None, "checked by the caller"  # noqa: S101
        oracle, length = self._oracle.stream, ran.header.length
        if length > len(oracle) + _LONGER_BYTES:
            raise StreamError(f"the stream has {length} bytes, the oracle's {len(oracle)}: too long to read")
        fixed = self._layout.heap_offset(self._oracle.first, self._oracle.last)
        stream = bytearray(length)
        stream[: len(oracle)] = oracle[:length]
        self._fetch(stream, local(oracle), view, 0, fixed, self._budget)
        self._heap(stream, view)
        return Image(ran.header, bytes(stream), self._oracle.first, self._oracle.last)

    def whole(self, image: Image) -> bool:
        """Whether a subject's image has its digest, or is known to be incomplete."""
        header = image.header
        return bool(self.unlocated) or digest(image.stream) == (header.lane_a, header.lane_b)

    def _fetch(self, stream: bytearray, oracle: Read, view: Read, offset: int, length: int, budget: RunBudget) -> None:
        found = locate(oracle, view, offset, min(length, len(stream) - offset) & ~7, budget)
        for window in found.windows:
            stream[window.offset : window.offset + len(window.subject)] = window.subject
        self.unlocated += found.unlocated

    def _heap(self, stream: bytearray, view: Read) -> None:
        """Traces, outputs and page digests: the oracle's bytes if the digests are equal, else read from the subject."""
        layout, oracle = self._layout, self._oracle.stream
        for at in range(layout.records(self._oracle.first, self._oracle.last)):
            record = at * layout.record_size
            trace = record + layout.trace_offset
            theirs, ours = (struct.unpack_from("<IIQQ", each, trace) for each in (stream, oracle))
            self._part(stream, view, (theirs[2], theirs[0] - 16, theirs[3]), (ours[2], ours[0] - 16, ours[3]))
            if layout.objects:
                self._described(stream, view, record + layout.objects_offset)
            for offset in (record + layout.stdout_offset, record + layout.stdout_offset + 24):
                theirs, ours = (struct.unpack_from("<QIIQ", each, offset) for each in (stream, oracle))
                self._part(stream, view, (theirs[2], theirs[1], theirs[3]), (ours[2], ours[1], ours[3]))
        base = layout.records(self._oracle.first, self._oracle.last) * layout.record_size
        if layout.objects:
            self._described(stream, view, base + layout.final_objects_offset)
        for at in range(layout.tables):
            self._described(stream, view, base + layout.elements_offset + lo.PART.size * at)
        final = base + layout.memories_offset
        for at in range(len(layout.memories)):
            _, offset, count = struct.unpack_from("<QQQ", stream, final + 24 * at)
            _, our_offset, our_count = struct.unpack_from("<QQQ", oracle, final + 24 * at)
            self._copy(stream, offset, our_offset, 16 * min(count, our_count))
            self._fetch(stream, _shifted(oracle, our_offset, offset), view, offset, 16 * min(count, len(stream)), self._budget)

    def _described(self, stream: bytearray, view: Read, part: int) -> None:
        """Objects, or elements of a table."""
        theirs, ours = (lo.PART.unpack_from(each, part) for each in (stream, self._oracle.stream))
        self._part(stream, view, (theirs[0], theirs[1] & ~7, theirs[2]), (ours[0], ours[1] & ~7, ours[2]))

    def _part(self, stream: bytearray, view: Read, theirs: tuple[int, int, int], ours: tuple[int, int, int]) -> None:
        """A trace, an output or a part as (heap offset, bytes, digest)."""
        offset, size, mark = theirs
        if not offset or not 0 < size <= len(stream):
            return
        self._copy(stream, offset, ours[0], min(size, max(ours[1], 0)))
        if (size, mark) != ours[1:]:
            part = self._budget.part(_PART_RUNS)
            self._fetch(stream, _shifted(self._oracle.stream, ours[0], offset), view, offset, (size + 7) & ~7, part)

    def _copy(self, stream: bytearray, offset: int, source: int, size: int) -> None:
        data = self._oracle.stream[source : source + size]
        if offset + len(data) <= len(stream):
            stream[offset : offset + len(data)] = data


def _shifted(data: bytes, source: int, offset: int) -> Read:
    """A reader of the oracle's part at ``source`` as if it was at ``offset``, where the subject has it."""
    read = local(data)
    return lambda mode, at, step: read(mode, at - offset + source, step)


def whole_state(image: Image, layout: lo.Layout) -> FinalState:
    """The final state of an image, for comparing an instance with itself at instantiation."""
    return state(image, layout)
