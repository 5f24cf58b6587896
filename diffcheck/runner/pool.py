"""The workers of a run: cases in, exactly one report for each out.

The parent is one selector loop without threads. A worker that dies or hangs is replaced, and only its own case is lost. A case
starts when its expected memory is free, or when nothing else runs.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.cases.discovery import Case, load_case
from diffcheck.errors import CaseError, DiffcheckError, EngineUnusableError
from diffcheck.runner import worker as w
from diffcheck.runner.case_run import skipped
from diffcheck.runner.events import CaseFinished, CaseStarted, EngineProbed
from diffcheck.runner.request import PlanLine
from diffcheck.text import decode, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from diffcheck.cases.discovery import Item
    from diffcheck.process import ProcessResult, Server
    from diffcheck.runner.events import Event
    from diffcheck.runner.plan import Files
    from diffcheck.runner.request import Request

_POLL_S: Final = 0.2
_LOOK_S: Final = 1.0
_SETUP_S: Final = 60.0
_WATCH_S: Final = 120.0
_WATCH_DEADLINES: Final = 64
_WATCH_DEADLINES_A_ROW: Final = 4
"""A worker is killed after 120 s, 64 deadlines and four for each row, more than any case needs: a row that traps takes three
executions.
"""
_SHARE: Final = 0.8
_ORACLE_BYTES: Final = 200 << 20

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(w.Answer).decode


class _Slot:
    """One worker and its state."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.case: Case | None = None
        self.needs = self.rows = 0
        self.memory_bytes = 0  # with which the case is run again, alone
        self.stopped_s: float | None = None  # when it was first seen stopped by a signal
        self.doing = "idle"  # idle, setup, probe, prepare, wait, go


class Pool:
    """Runs items on ``request.jobs`` workers; ``events`` can be iterated once."""

    def __init__(
        self, request: Request, reactor: process.Reactor, folder: str, stopped: Callable[[], bool],
        *, load: Callable[[Item], tuple[Case, Files | None]] = lambda item: (load_case(item), None),
    ) -> None:  # fmt: skip
        # A worker does not need the times of other cases.
        request = msgspec.structs.replace(request, times_ns={}, shard_times_ns={})
        self._request, self._reactor, self._folder = request, reactor, folder
        self._stopped, self._load = stopped, load
        self._budget = int(process.available_memory_bytes() * _SHARE) - request.jobs * _ORACLE_BYTES
        self._slots: list[_Slot] = []
        self._queue: deque[Item] = deque()
        self._broken = 0
        self._look_s = time.monotonic() + _LOOK_S
        self._asking: _Slot | None = None
        self._asked = self._runs = False

    def events(self, items: Sequence[Item], *, probe: bool) -> Iterator[Event]:
        """One ``CaseFinished`` for each item, in order of completion; none for the rest when the run is interrupted.

        Raises ``EngineUnusableError`` if an engine was replaced, and ``DiffcheckError`` if workers cannot be set up.
        """
        self._queue.extend(items)
        self._slots = [_Slot() for _ in range(max(1, min(self._request.jobs, len(items))))]
        self._probe, self._runs = probe, True
        while not self._stopped():
            yield from self._assign()
            busy = [slot for slot in self._slots if slot.doing not in ("idle", "wait", "retired")]
            if not busy:
                return
            servers = [slot.server for slot in busy if slot.server is not None]
            ready = self._reactor.wait_any(servers, _POLL_S)
            self._end_stopped(busy)
            for slot in busy:
                if slot.server in ready:
                    yield from self._answered(slot)

    def lines(self, items: Sequence[Item]) -> Iterator[PlanLine]:
        """The plan of each item, in order; nothing is run."""
        slot = _Slot()
        for item in items:
            try:
                case = load_case(item)
            except CaseError as error:
                yield PlanLine(item.id, skipped=error.line, bad_input=True)
                continue
            answer = self._ask(slot, w.PrepareRequest(case))
            if isinstance(answer, w.PreparedPlan):
                yield answer.line
            else:
                yield PlanLine(item.id, skipped=answer)

    def _ask(self, slot: _Slot, message: w.Message) -> w.PreparedPlan | str:
        if slot.server is None or not slot.server.alive:
            self._start(slot)
            assert slot.server is not None, "it was just started"  # noqa: S101
            slot.server.receive()
        slot.server.send(_encode(message), _WATCH_S)
        reply = slot.server.receive()
        answer = _decode(reply.message) if isinstance(reply, process.Reply) else _ending(reply)
        if isinstance(answer, w.Failed):
            return answer.what
        return answer if isinstance(answer, w.PreparedPlan) else str(answer)

    # Workers.

    def _start(self, slot: _Slot) -> None:
        slot.server = self._reactor.serve_own(w.__name__, with_keeper=True)  # in our own folder: paths may be relative
        ask = self._runs and not self._asked and self._asking is None
        limit_s = _SETUP_S + (2 * self._request.deadline_s if ask else 0)
        slot.server.send(_encode(w.Setup(self._request, self._folder, ask=ask, runs=self._runs)), limit_s)
        slot.doing = "setup"
        if ask:
            self._asking = slot

    def _start_or_retire(self, slot: _Slot) -> None:
        """Start the worker of a slot; if the system refuses, the slot is retired while other workers run."""
        try:
            self._start(slot)
        except process.SpawnError:
            if not any(each.server is not None and each.server.alive for each in self._slots):
                raise
            slot.server, slot.doing = None, "retired"

    def _send(self, slot: _Slot, doing: str, message: w.Message, limit_s: float) -> None:
        assert slot.server is not None, "a slot has a server before it has work"  # noqa: S101
        slot.server.send(_encode(message), limit_s)
        slot.doing = doing

    def _assign(self) -> Iterator[Event]:
        for slot in self._slots:
            if slot.doing == "idle":
                yield from self._next(slot)
        self._admit()

    def _next(self, slot: _Slot) -> Iterator[Event]:
        """Send an idle worker its next case, after the known-answer test; starts a missing worker."""
        if not self._queue and not self._probe:
            return
        if slot.server is None or not slot.server.alive:
            self._start_or_retire(slot)
            return
        if self._asking is not None:
            return
        if self._probe:
            self._probe = False
            self._send(slot, "probe", w.ProbeRequest(), _WATCH_S)
            return
        while self._queue:
            item = self._queue.popleft()
            yield CaseStarted(item.id)
            try:
                slot.case, files = self._load(item)
            except CaseError as error:
                reason = error.line
                yield CaseFinished(skipped(Case(item.id, item.artifact), reason, self._request.subject, bad_input=True))
                continue
            self._send(slot, "prepare", w.PrepareRequest(slot.case, files), self._watch(slot.case))
            return

    def _watch(self, case: Case, rows: int = 0) -> float:
        """The seconds after which a worker that has not answered is replaced."""
        return _WATCH_S + (_WATCH_DEADLINES + _WATCH_DEADLINES_A_ROW * rows) * self._deadline(case)

    def _end_stopped(self, busy: Sequence[_Slot]) -> None:
        """Kill each worker that a signal has stopped for longer than the deadline of its case."""
        now = time.monotonic()
        if now < self._look_s:
            return
        self._look_s = now + _LOOK_S
        for slot in busy:
            if slot.server is None or not process.is_stopped(slot.server.pid):
                slot.stopped_s = None
            elif slot.stopped_s is None:
                slot.stopped_s = now
            elif now - slot.stopped_s > self._deadline(slot.case):
                slot.server.kill(garbage="it was stopped by a signal for longer than the deadline")
                slot.stopped_s = None

    def _deadline(self, case: Case | None) -> float:
        return (case.limits.deadline_s if case is not None else None) or self._request.deadline_s

    def _admit(self) -> None:
        """Start prepared cases while their expected memory is free, and at least one; none before the known-answer test."""
        if self._asking is not None:
            return
        running = sum(slot.needs for slot in self._slots if slot.doing == "go")
        anything = any(slot.doing == "go" for slot in self._slots)
        for slot in self._slots:
            if slot.doing == "wait" and slot.case is not None and (not anything or running + slot.needs <= self._budget):
                again = w.RunPlanRequest(memory_bytes=slot.memory_bytes) if slot.memory_bytes else w.RunPlanRequest(again=True)
                self._send(slot, "go", again, self._watch(slot.case, slot.rows))
                running += slot.needs
                anything = True

    def _answered(self, slot: _Slot) -> Iterator[Event]:
        assert slot.server is not None, "only a server answers"  # noqa: S101
        reply = slot.server.receive()
        if not isinstance(reply, process.Reply):
            yield from self._lost(slot, _ending(reply))
            return
        try:
            answer = _decode(reply.message)
        except msgspec.MsgspecError as error:
            slot.server.kill()
            yield from self._lost(slot, f"the worker's answer cannot be read: {error}")
            return
        doing, slot.doing = slot.doing, "idle"
        if slot is self._asking:
            self._asking, self._asked = None, True
        match answer:
            case w.Unusable(what, hint):
                raise EngineUnusableError(what, hint=hint)
            case w.ProbeAnswer(findings):
                yield EngineProbed(findings)
            case w.PreparedPlan(memory_bytes, line):
                slot.needs, slot.rows, slot.memory_bytes, slot.doing = memory_bytes, line.rows, 0, "wait"
            case w.MoreMemory(memory_bytes):
                slot.needs, slot.memory_bytes, slot.doing = max(memory_bytes, self._budget + 1), memory_bytes, "wait"
            case w.CaseAnswer(report):
                self._broken = 0
                slot.case = None
                yield CaseFinished(report)
            case w.Failed(what) if doing == "setup":
                raise DiffcheckError(f"a worker could not be set up: {what}")
            case w.Failed(what):
                yield from self._failed(slot, what)
        self._admit()

    def _failed(self, slot: _Slot, what: str) -> Iterator[Event]:
        """Our own environment failed during a case, which is inconclusive."""
        case, slot.case = slot.case, None
        if case is not None:
            report = skipped(case, what, self._request.expected_of)
            yield CaseFinished(msgspec.structs.replace(report, verdict="inconclusive"))

    def _lost(self, slot: _Slot, what: str) -> Iterator[Event]:
        """A worker has ended; several in a row without a verdict are an error of our own environment."""
        self._broken += 1
        slot.server, slot.doing = None, "idle"
        if slot is self._asking:
            self._asking = None  # the next worker asks
        if self._broken > 3 + len(self._slots):
            raise DiffcheckError(f"several workers ended without a result: {what}", hint="run `diffcheck doctor`")
        yield from self._failed(slot, what)


def _ending(ended: ProcessResult) -> str:
    lines = decode(ended.stderr).strip().splitlines() or [""]
    words = visible(lines[-1])
    if ended.timed_out:
        return "the worker did not answer in time and was replaced"
    if ended.garbage:
        return f"the worker was replaced: {ended.garbage}"
    how = f"signal {ended.signal}" if ended.signal is not None else f"exit code {ended.exit_code}"
    return f"the worker died ({how}) and was replaced{': ' + words if words else ''}"
