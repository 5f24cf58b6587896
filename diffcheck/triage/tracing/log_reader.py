"""Runs an instrumented capsule under one engine and reads its log, also if the observation itself is damaged."""

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
    """A run: its outcome, its log if there is one, length and digest of its stream, peak memory of its process, pages allocated at each
    block, and the index of the record, among those of its rows, at which it ended (-1: not known).
    """

    outcome: Outcome
    log: EventLog | None = None
    stream: tuple[int, int, int] | None = None
    peak_bytes: int = 0
    block: int = 0
    record: int = -1


class LogSide(CapsuleSide):
    """A backend with an instrumented capsule that logs with the digest ``variant``."""

    measured = True
    variant: log.Variant = "rotate"
    _trace = b""
    _peak_bytes = 0
    _record = -1

    def logged(self, parameters: LogParameters) -> LogRun:
        """Run and read the log."""
        ran = self.run(parameters)
        if not ran.view:
            return LogRun(ran.outcome, peak_bytes=self._peak_bytes, block=parameters.take.block)
        header = ran.header
        stream = (header.length, header.lane_a, header.lane_b) if header is not None else None
        read = log.read_log(ran.view, self._trace)
        return LogRun(ran.outcome, read, stream, self._peak_bytes, parameters.take.block, self._record)

    def read(self, execution: Execution, parameters: lo.Parameters) -> CapsuleRun:  # noqa: ARG002 - the base class's
        """The header and the log, unchecked: the log has its own known answer, so the stream's digest is not needed."""
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
