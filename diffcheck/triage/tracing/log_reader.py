"""One engine's side of a search: runs an instrumented capsule and reads its log, also where the observation itself is damaged."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.observation import Returned
from diffcheck.runner.passes.capsule_run import CapsuleRun, CapsuleSide
from diffcheck.triage.tracing import event_log as log

if TYPE_CHECKING:
    from diffcheck.observation import Execution, Outcome
    from diffcheck.triage.tracing.event_log import EventLog, LogParameters


class LogRun(msgspec.Struct, frozen=True):
    """A run: how it ended, its log where one came out, its stream's length and digest, the most memory that its process had, the pages
    that it took at each block, and the number of the record, among those of its rows, that was under way when it ended (-1: not known).
    """

    outcome: Outcome
    log: EventLog | None = None
    stream: tuple[int, int, int] | None = None
    peak_bytes: int = 0
    block: int = 0
    record: int = -1


class LogSide(CapsuleSide):
    """A backend with an instrumented capsule, whose log is of that variant; ``runs`` counts its runs."""

    runs = 0
    variant: log.Variant = "rotate"
    _trace = b""
    _peak_bytes = 0
    _record = -1

    def logged(self, parameters: LogParameters) -> LogRun:
        """Run and read the log."""
        self.runs += 1
        ran = self.run(parameters)
        if not ran.view:
            return LogRun(ran.outcome, peak_bytes=self._peak_bytes, block=parameters.take.block)
        header = ran.header
        stream = (header.length, header.lane_a, header.lane_b) if header is not None else None
        read = log.read_log(ran.view, self._trace)
        return LogRun(ran.outcome, read, stream, self._peak_bytes, parameters.take.block, self._record)

    def read(self, execution: Execution, parameters: lo.Parameters) -> CapsuleRun:  # noqa: ARG002 - the base class's
        """The header and the log as they came: the log has a known answer of its own, so the stream's does not matter."""
        ran = CapsuleRun(execution.outcome, log=execution.log)
        self._trace, self._peak_bytes, self._record = b"", execution.cost.peak_bytes, -1
        words = self.backend.capabilities.transport == "words"
        begin = 0 if words else lo.HEADER_ADDRESS
        carried = log.carried(self.variant, execution.carried) if words else execution.carried
        if len(carried) < begin + lo.HEADER.size + lo.VIEW_BYTES or (words and not isinstance(execution.outcome, Returned)):
            return ran
        header = lo.read_header(carried[begin:])
        if header.magic != lo.MAGIC:
            return ran
        self._record = header.record
        view = carried[begin + lo.HEADER.size : begin + lo.HEADER.size + lo.VIEW_BYTES]
        if not words:
            (out, base, limit) = (struct.unpack_from("<I", carried, at)[0] for at in (log.OUT_AT, log.BASE_AT, log.LIMIT_AT))
            if limit > log.RAWS and base:
                self._trace = carried[base : base + log.RECORD.size * min(out, limit)]
        finished = header if header.status == lo.FINISHED else None
        return msgspec.structs.replace(ran, header=finished, view=view)
