"""A running child process as a state machine that never blocks. The ``Reactor`` drives it."""

from __future__ import annotations

import codecs
import math
import os
import re
import selectors
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from diffcheck.process import orphans
from diffcheck.process.spawn import LINUX, ChildPipes
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

REAP_S = 1.0
_WATCH_S = 0.05
_POLL_S = 0.01
_SWEEP_S = 0.001
_MAX_WAITS = 3
"""The longest time that a child may wait for a processor without being charged, in multiples of its time limit."""
_CHUNK_BYTES = 64 * 1024
# After its writers' death a pipe holds at most its capacity, by default up to 1 MiB (fs.pipe-max-size).
_DRAIN_CHUNKS = 64
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


class ProcessResult(msgspec.Struct, frozen=True):
    """The end of a child and its output."""

    exit_code: int | None
    """None if a signal ended the child, or if it could not be killed within a second."""
    signal: int | None
    """The number of the signal that ended the child; None without one."""
    timed_out: bool
    """The child was killed at its deadline."""
    over_memory: bool
    """The child was killed for its resident size. False if RLIMIT_AS stopped it: it then ends in its own way."""
    stdout: bytes
    stderr: bytes
    """The first and last half of the cap, or everything if the total is within the cap."""
    stdout_total: int
    stderr_total: int
    """Bytes printed, including those that were dropped."""
    flooded: bool
    """The child was killed because it printed more than ``output_stop_bytes`` to a pipe."""
    lingering: bool
    """Descendants survived the child and were killed, or the child itself could not be killed."""
    elapsed_ns: int
    """Wall-clock time from start to end."""
    cpu_ns: int
    """User and system time, including descendants that the child waited for."""
    peak_bytes: int
    """ru_maxrss: at least the parent's size at the fork, since exec keeps the maximum (Linux, exec_mmap)."""
    garbage: str = ""
    """The fault in a server's messages for which it was killed; empty for any other end."""


class Sink(Protocol):
    """The consumer of one pipe's bytes."""

    total: int

    def feed(self, chunk: bytes) -> None:
        """Consume the next bytes."""

    def output(self) -> bytes:
        """Return the bytes for ``ProcessResult``."""


_LINES = re.compile(r"([\n\t])")


class HeadAndTail:
    """Keeps the first and last half of ``cap_bytes``, in memory of at most twice the cap and a chunk.

    All bytes are also written to the descriptor ``echo``, if any, with terminal control characters escaped.
    """

    def __init__(self, cap_bytes: int, echo: int | None = None) -> None:
        self.total = 0
        self._echo = echo
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._head_bytes = cap_bytes - cap_bytes // 2
        self._tail_bytes = cap_bytes // 2
        self._head = bytearray()
        self._tail = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Consume the next bytes, and drop the middle of the output."""
        self.total += len(chunk)
        if self._echo is not None:
            os.write(self._echo, self._printable(chunk).encode("utf-8", "backslashreplace"))
        room = self._head_bytes - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        if len(chunk) >= self._tail_bytes:
            self._tail[:] = chunk[len(chunk) - self._tail_bytes :]
            return
        self._tail += chunk
        if len(self._tail) > 2 * self._tail_bytes:
            del self._tail[: -self._tail_bytes]

    def _printable(self, chunk: bytes) -> str:
        """Decode the chunk with control characters escaped, except line feeds and tabs."""
        text = self._decoder.decode(chunk)
        return "".join(part if part in "\n\t" else visible(part, len(part)) for part in _LINES.split(text))

    def output(self) -> bytes:
        """Return all bytes, or the two halves of the cap."""
        return bytes(self._head + self._tail[max(0, len(self._tail) - self._tail_bytes) :])


class Child:
    """A started child. Its owner calls ``poll`` and ``kill``; all other methods are for the reactor."""

    def __init__(  # noqa: PLR0913 - one keyword a limit
        self,
        spawned: ChildPipes,
        selector: selectors.BaseSelector,
        pump: Callable[[float | None], None],
        *,
        started: float,
        deadline: float,
        resident_bytes: int | None,
        output_stop_bytes: float,
        stdout: Sink,
        stderr: Sink,
        subreaper: bool,
    ) -> None:
        self.pid = spawned.pid
        self.result: ProcessResult | None = None
        self.deadline = deadline
        self.on_output_closed: Callable[[], None] | None = None
        self._selector = selector
        self._pump = pump
        self._started = started
        self._resident_bytes = resident_bytes if LINUX else None
        self._output_stop_bytes = output_stop_bytes
        self._subreaper = subreaper
        self._stdin = spawned.stdin
        self._stdin_ends = False
        self._outbox: deque[memoryview] = deque()
        self._sinks = (stdout, stderr)
        self._pipes: dict[int, Sink] = {}
        self._killed_at = self._garbage_at = math.inf
        self._exited_at = math.inf
        self._next_watch = started + _WATCH_S if self._resident_bytes else math.inf
        self._watched_at = started
        self._statm: int | None = None
        self._status: int | None = None
        self._cpu_ns = self._peak_bytes = 0
        self._limit_s = deadline - started
        self._extended_s = 0.0
        self._timed_out = self._over_memory = self._flooded = self._lingering = False
        self._garbage = self._pending_garbage = ""
        orphans.registered.add(self.pid)
        for descriptor, sink in ((spawned.stdout, stdout), (spawned.stderr, stderr)):
            self._pipes[descriptor] = sink
            selector.register(descriptor, selectors.EVENT_READ, self._read)
        self._pidfd = _open_pidfd(self.pid)
        if self._pidfd is not None:
            selector.register(self._pidfd, selectors.EVENT_READ, self._reap)

    # For the owner.

    def poll(self) -> ProcessResult | None:
        """Return the result, or None while the child runs. Serves all children once, without waiting."""
        if self.result is None:
            self._pump(0)
        return self.result

    def kill(self, *, garbage: str = "") -> None:
        """Kill the child and its group now; ``Reactor.wait`` then returns the result."""
        if not self.killed and self._status is None and self.result is None:
            self._killed_at = time.monotonic()
            self._next_watch = math.inf
            self._garbage = garbage
            orphans.kill_leader(self.pid)

    # For the reactor and for a server.

    @property
    def killed(self) -> bool:
        """Whether ``kill`` was called while the child ran."""
        return self._killed_at != math.inf

    def pause_memory_checks(self) -> None:
        """Stop checking the resident size: the child waits for a message and cannot grow."""
        self._next_watch = math.inf

    def resume_memory_checks(self, now: float) -> None:
        """Check the resident size again: the child has work."""
        if self._resident_bytes and not self.killed:
            self._next_watch = max(now, self._watched_at + _WATCH_S)

    def kill_after(self, grace_s: float, *, garbage: str) -> None:
        """Kill the child for ``garbage`` unless it ends by itself within ``grace_s``."""
        self._garbage_at = time.monotonic() + grace_s
        self._pending_garbage = garbage

    def feed_stdin(self, *parts: bytes, ends: bool) -> None:
        """Queue bytes for stdin, and close it after them if ``ends``. Bytes that the child does not read are lost silently."""
        self._outbox.extend(memoryview(part) for part in parts if part)
        self._stdin_ends = ends
        if self._stdin is None:
            self._outbox.clear()
        else:
            self._write(self._stdin)

    def due(self, now: float) -> float:
        """Return the latest time of the next call of ``tick``."""
        if self._status is not None:
            return now + _SWEEP_S
        stop = min(self.deadline, self._garbage_at) if self._killed_at == math.inf else self._killed_at + REAP_S
        if self._pidfd is None:
            stop = min(stop, now + _POLL_S)
        return min(stop, self._next_watch)

    def tick(self, now: float) -> None:
        """Enforce the limits, and finish when the child and its descendants are gone."""
        if self._status is None and (self._pidfd is None or now >= self.deadline):
            self._reap(-1)
        if self.result is not None:
            return
        if self._status is not None:
            self._settle(now)
        elif self.killed:
            if now >= self._killed_at + REAP_S:
                orphans.abandon(self.pid)
                self._lingering = True
                self._finish(now)
        elif now >= self.deadline:
            self._expire(now)
        elif now >= self._garbage_at:
            self.kill(garbage=self._pending_garbage)
        elif now >= self._next_watch:
            self._watched_at = now
            self._next_watch = now + _WATCH_S
            self._watch()

    def _expire(self, now: float) -> None:
        """Kill the child at its deadline. That of a one-shot child is extended by the time that it waited for a processor."""
        waited_s = min(_waited_s(self.pid), _MAX_WAITS * self._limit_s) if self._limit_s < math.inf else 0.0
        if waited_s - self._extended_s > _WATCH_S:
            self.deadline = now + waited_s - self._extended_s
            self._extended_s = waited_s
        else:
            self._timed_out = True
            self.kill()

    # Events.

    def _read(self, descriptor: int) -> bool:
        """Move one chunk from a pipe to its sink; False if the pipe is empty or closed."""
        sink = self._pipes[descriptor]
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._close_pipe(descriptor)
            return False
        sink.feed(chunk)
        if sink.total > self._output_stop_bytes and not self._flooded:
            self._flooded = True
            self.kill()
        return True

    def _close_pipe(self, descriptor: int) -> None:
        sink = self._pipes.pop(descriptor)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        if sink is self._sinks[0] and self._status is None and self.on_output_closed:
            self.on_output_closed()

    def _write(self, descriptor: int) -> None:
        try:
            while self._outbox:
                part = self._outbox[0]
                written = os.write(descriptor, part[:_CHUNK_BYTES])
                if written == len(part):
                    self._outbox.popleft()
                else:
                    self._outbox[0] = part[written:]
        except BlockingIOError:
            if descriptor not in self._selector.get_map():
                self._selector.register(descriptor, selectors.EVENT_WRITE, self._write)
            return
        except BrokenPipeError:
            self._stdin_ends = True
        if self._stdin_ends:
            self._close_stdin()
        elif descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)

    def _close_stdin(self) -> None:
        self._outbox.clear()
        if self._stdin is not None:
            if self._stdin in self._selector.get_map():
                self._selector.unregister(self._stdin)
            os.close(self._stdin)
            self._stdin = None

    def _watch(self) -> None:
        try:
            if self._statm is None:  # kept open, since it is read 20 times a second
                self._statm = os.open(f"/proc/{self.pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
            resident = int(os.pread(self._statm, 128, 0).split()[1]) * _PAGE_BYTES
        except (OSError, IndexError, ValueError):
            return
        if self._resident_bytes is not None and resident > self._resident_bytes:
            self._over_memory = True
            self.kill()

    def _reap(self, _descriptor: int) -> None:
        try:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        except ChildProcessError:  # other code of this process reaped the child, so its status is lost
            orphans.registered.discard(self.pid)
            self._finish(time.monotonic())
            return
        if pid == 0:
            return
        self._exited_at = time.monotonic()
        self._status = status
        self._cpu_ns = round((usage.ru_utime + usage.ru_stime) * 1e9)
        self._peak_bytes = usage.ru_maxrss * _MAXRSS_UNIT
        orphans.registered.discard(self.pid)
        self._close_proc()

    def _settle(self, now: float) -> None:
        """Kill the descendants of the ended child, and finish when they are gone or after a second."""
        left = orphans.end_orphans()
        # The group's number cannot be reused while an orphan is in the group. Without a subreaper orphans are not found, so the
        # group is killed at once.
        grouped = not self._subreaper or any(group == self.pid for _, group in left)
        group_killed = grouped and orphans.kill_group(self.pid)
        # ``kill`` ends the whole group, so only descendants that had left the group count as lingering.
        if any(group != self.pid for _, group in left) or (group_killed and not self.killed):
            self._lingering = True
        late = now >= self._exited_at + REAP_S
        if late:
            for pid, _ in left:
                orphans.abandon(pid)
        if late or not left:
            self._finish(self._exited_at)

    def _finish(self, ended_at: float) -> None:
        # A descendant may hold a pipe open, so the pipe is drained without waiting for its end.
        for descriptor in tuple(self._pipes):
            for _ in range(_DRAIN_CHUNKS):
                if not self._read(descriptor):
                    break
            if descriptor in self._pipes:
                self._close_pipe(descriptor)
        self._close_stdin()
        self._close_proc()
        code = None if self._status is None else os.waitstatus_to_exitcode(self._status)
        out, err = self._sinks
        self.result = ProcessResult(
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            timed_out=self._timed_out,
            over_memory=self._over_memory,
            stdout=out.output(),
            stderr=err.output(),
            stdout_total=out.total,
            stderr_total=err.total,
            flooded=self._flooded,
            lingering=self._lingering,
            elapsed_ns=round((ended_at - self._started) * 1e9),
            cpu_ns=self._cpu_ns,
            peak_bytes=self._peak_bytes,
            garbage=self._garbage,
        )

    def _close_proc(self) -> None:
        if self._pidfd is not None:
            self._selector.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        if self._statm is not None:
            os.close(self._statm)
            self._statm = None


def _waited_s(pid: int) -> float:
    """Return the seconds that a process waited for a processor, those of the thread that waited longest; 0 if unknown."""
    try:
        tasks = [each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/schedstat")]
        return max((int(waited) for _, waited, *_ in tasks), default=0) / 1e9
    except (OSError, ValueError):
        return 0.0


def _open_pidfd(pid: int) -> int | None:
    """Open a descriptor that becomes readable when the child ends; None, so that the child is polled, if unavailable."""
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
