"""The caller's side of a server: a long-lived child that answers each message with one message."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import msgspec

from diffcheck.process.framing import HEADER_BYTES, frame_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.process.child import Child, ProcessResult

_CLOSING_S = 0.5


class Reply(msgspec.Struct, frozen=True):
    """A server's answer, and the time from ``send`` to the last byte of the answer."""

    message: bytes
    elapsed_ns: int


class Frames:
    """Assembles a pipe's bytes into messages: one at a time, none over the cap."""

    def __init__(self, cap_bytes: int) -> None:
        self.total = 0
        self.on_message: Callable[[bytes], None] = lambda _message: None
        self.on_garbage: Callable[[str], None] = lambda _reason: None
        self._cap_bytes = cap_bytes
        self._buffer = bytearray()
        self._broken = False

    def feed(self, chunk: bytes) -> None:
        """Consume the next bytes. Calls ``on_message`` with a complete message, or ``on_garbage`` with the fault."""
        if self._broken:
            return
        self._buffer += chunk
        if len(self._buffer) < HEADER_BYTES:
            return
        end = HEADER_BYTES + int.from_bytes(self._buffer[:HEADER_BYTES], "little")
        if end - HEADER_BYTES > self._cap_bytes:
            self._refuse(f"a message of {end - HEADER_BYTES} bytes exceeds the limit of {self._cap_bytes}")
        elif len(self._buffer) > end:
            self._refuse("more than one message at a time")
        elif len(self._buffer) == end:
            message = bytes(memoryview(self._buffer)[HEADER_BYTES:])
            self._buffer.clear()
            self.on_message(message)

    def output(self) -> bytes:
        """Return nothing: messages are not output."""
        return b""

    def _refuse(self, reason: str) -> None:
        self._broken = True
        self._buffer.clear()
        self.on_garbage(reason)


class Server:
    """A server child. Each exchange of two messages has its own deadline, and a server that fails is not restarted."""

    def __init__(self, child: Child, frames: Frames, pump: Callable[[float | None], None], cap_bytes: int) -> None:
        self._child = child
        self._pump = pump
        self._cap_bytes = cap_bytes
        self._sent_at: float | None = None
        self._reply: Reply | None = None
        frames.on_message = self._accept
        frames.on_garbage = lambda reason: child.kill(garbage=reason)
        child.on_output_closed = self._output_closed

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the server can take a message. Serves all children once, without waiting."""
        return self._child.poll() is None

    @property
    def ready(self) -> bool:
        """Whether ``receive`` returns at once."""
        return self._reply is not None or self._child.result is not None

    def send(self, message: bytes, deadline_s: float | None) -> None:
        """Send a message. The server is killed unless its answer is complete within ``deadline_s`` (None: no deadline).

        If the server has ended, ``receive`` returns its result. Check ``alive`` first if an earlier death must not be attributed
        to this message. ValueError for a message over the cap.
        """
        if self._sent_at is not None:
            raise RuntimeError("the answer to the previous message has not been received")
        parts = frame_parts(message, self._cap_bytes)
        self._sent_at = time.monotonic()
        self._child.deadline = math.inf if deadline_s is None else self._sent_at + deadline_s
        self._child.resume_memory_checks(self._sent_at)
        self._child.feed_stdin(*parts, ends=False)

    def receive(self) -> Reply | ProcessResult:
        """Wait for the answer, serving all children meanwhile; returns the result of the server if it ended instead."""
        if self._sent_at is None and self._child.result is None:
            raise RuntimeError("no message awaits an answer")
        while not self.ready:
            self._pump(None)
        reply, self._reply, self._sent_at = self._reply, None, None
        if reply is not None:
            return reply
        if self._child.result is None:
            raise AssertionError("a server is ready when it has a reply or a result")
        return self._child.result

    def kill(self, *, garbage: str = "") -> None:
        """Kill the server and its group now; ``garbage`` is the reason in ``ProcessResult``."""
        self._child.kill(garbage=garbage)

    def stop(self, grace_s: float = 2.0) -> ProcessResult:
        """Close stdin, so that the server cleans up and ends by itself, and kill it after ``grace_s``."""
        self._child.feed_stdin(ends=True)
        self._child.deadline = time.monotonic() + grace_s
        while self._child.result is None:
            self._pump(None)
        return self._child.result

    def _accept(self, message: bytes) -> None:
        if self._sent_at is None or self._reply is not None:
            self._child.kill(garbage="an unrequested message")
            return
        if self._child.killed:  # too late: the exchange ends with the result
            return
        # The answer is in time, however late the caller receives it.
        self._child.deadline = math.inf
        self._child.pause_memory_checks()
        self._reply = Reply(message, round((time.monotonic() - self._sent_at) * 1e9))

    def _output_closed(self) -> None:
        """Expect the end at once, since a server without its output is useless."""
        self._child.kill_after(_CLOSING_S, garbage="it closed its output")
