"""A long-lived child that answers one message with one message; the caller's side."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import msgspec

from diffcheck.process.framing import HEADER_BYTES, header

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.process.child import Child, ProcessResult

_CLOSING_S = 0.5


class Reply(msgspec.Struct, frozen=True):
    """A server's answer, and the time from ``send`` to its last byte."""

    message: bytes
    elapsed_ns: int


class Frames:
    """Puts a pipe's bytes together to messages; at most one may be there at a time, and none over the cap."""

    def __init__(self, cap_bytes: int) -> None:
        self.total = 0
        self.on_message: Callable[[bytes], None] = lambda _message: None
        self.on_garbage: Callable[[str], None] = lambda _reason: None
        self._cap_bytes = cap_bytes
        self._buffer = bytearray()
        self._broken = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; hands on a message, or the reason why they are none."""
        if self._broken:
            return
        self._buffer += chunk
        if len(self._buffer) < HEADER_BYTES:
            return
        end = HEADER_BYTES + int.from_bytes(self._buffer[:HEADER_BYTES], "little")
        if end - HEADER_BYTES > self._cap_bytes:
            self._refuse(f"a message of {end - HEADER_BYTES} bytes, more than the {self._cap_bytes} that are taken")
        elif len(self._buffer) > end:
            self._refuse("more than one message at a time")
        elif len(self._buffer) == end:
            message = bytes(memoryview(self._buffer)[HEADER_BYTES:])
            self._buffer.clear()
            self.on_message(message)

    def kept(self) -> bytes:
        """Give nothing: messages are not output."""
        return b""

    def _refuse(self, reason: str) -> None:
        self._broken = True
        self._buffer.clear()
        self.on_garbage(reason)


class Server:
    """One message out, one message back, each exchange with its own deadline; a server that fails once is gone for good."""

    def __init__(self, child: Child, frames: Frames, pump: Callable[[float | None], None], cap_bytes: int) -> None:
        self._child = child
        self._pump = pump
        self._cap_bytes = cap_bytes
        self._sent_at: float | None = None
        self._reply: Reply | None = None
        frames.on_message = self._take
        frames.on_garbage = lambda reason: child.kill(garbage=reason)
        child.on_output_closed = self._output_closed

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether a message may be sent; looks once at all children, without waiting."""
        return self._child.poll() is None

    @property
    def ready(self) -> bool:
        """Whether ``receive`` returns at once."""
        return self._reply is not None or self._child.ended is not None

    def send(self, message: bytes, deadline_s: float | None) -> None:
        """Send a message whose answer must be complete within ``deadline_s`` (None: any time); the server is killed otherwise.

        A server that is gone takes no message: ``receive`` tells how it ended, so look at ``alive`` first where a death since
        the last answer must not be told as this message's. ValueError for a message over the cap.
        """
        if self._sent_at is not None:
            raise RuntimeError("the answer to the message before was not received yet")
        head = header(len(message), self._cap_bytes)
        self._sent_at = time.monotonic()
        self._child.deadline = math.inf if deadline_s is None else self._sent_at + deadline_s
        self._child.wake(self._sent_at)
        self._child.feed_stdin(head, message, ends=False)

    def receive(self) -> Reply | ProcessResult:
        """Wait for the answer, while all other children go on; how it ended instead, if it did."""
        if self._sent_at is None and self._child.ended is None:
            raise RuntimeError("there is no message to be answered")
        while not self.ready:
            self._pump(None)
        reply, self._reply, self._sent_at = self._reply, None, None
        if reply is not None:
            return reply
        if self._child.ended is None:
            raise AssertionError("ready is one or the other")
        return self._child.ended

    def kill(self, *, garbage: str = "") -> None:
        """Kill it and its group now; ``garbage`` is the reason in ``Ended``."""
        self._child.kill(garbage=garbage)

    def stop(self, grace_s: float = 2.0) -> ProcessResult:
        """Close its stdin, so that it ends by itself and tidies up, and kill it after ``grace_s``."""
        self._child.feed_stdin(ends=True)
        self._child.deadline = time.monotonic() + grace_s
        while self._child.ended is None:
            self._pump(None)
        return self._child.ended

    def _take(self, message: bytes) -> None:
        if self._sent_at is None or self._reply is not None:
            self._child.kill(garbage="a message that was not asked for")
            return
        if self._child.killed:  # too late: the answer is how it ended, and not left for the next message
            return
        # It came in time, whatever this process does before it looks at it.
        self._child.deadline = math.inf
        self._child.rest()
        self._reply = Reply(message, round((time.monotonic() - self._sent_at) * 1e9))

    def _output_closed(self) -> None:
        """Its end usually follows at once; a server that runs on without an output is of no use."""
        self._child.end_soon(_CLOSING_S, garbage="it closed its output")
