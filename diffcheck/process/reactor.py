"""The selector loop of a process. While it waits for one child, it serves the pipes, ends and deadlines of all."""

from __future__ import annotations

import math
import selectors
import time
from typing import TYPE_CHECKING, Self

from diffcheck.process import keeper
from diffcheck.process.child import REAP_S, Child, HeadAndTail, ProcessResult
from diffcheck.process.framing import FRAME_CAP_BYTES
from diffcheck.process.server import Frames, Server
from diffcheck.process.spawn import become_subreaper, spawn

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from diffcheck.process.spawn import ChildPipes

OUTPUT_STOP_BYTES = 64 * 1024 * 1024
_SERVER_STDERR_BYTES = 64 * 1024


class Reactor:
    """Starts children and waits for them, in the thread that created it. It makes this process a subreaper.

    The kernel enforces address space, file size and the death with this process. The other limits are enforced during
    ``wait``, ``wait_any``, ``Server.receive`` and any ``poll``.
    """

    def __init__(self) -> None:
        self._subreaper = become_subreaper()
        self._selector = selectors.DefaultSelector()
        self._members: list[Child] = []
        self._closed = False

    def start(  # noqa: PLR0913 - one keyword a limit
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None = None,
        deadline_s: float,
        memory_bytes: int | None = None,
        resident_bytes: int | None = None,
        output_bytes: int = 1 << 20,
        output_stop_bytes: int = OUTPUT_STOP_BYTES,
        file_bytes: int | None = None,
        stdin: bytes = b"",
        echo: tuple[int, int] | None = None,
    ) -> Child:
        """Start a one-shot child; SpawnError if that fails.

        ``memory_bytes`` limits the address space, ``resident_bytes`` the resident size (checked every 50 ms), ``file_bytes``
        each file that the child writes. ``output_bytes`` of each pipe are kept; a child that prints more than
        ``output_stop_bytes`` is killed. Its stdout and stderr are copied to the two descriptors ``echo`` as they arrive.
        """
        to_out, to_err = echo or (None, None)
        out, err = HeadAndTail(output_bytes, to_out), HeadAndTail(output_bytes, to_err)
        started = self._now_open()
        spawned = spawn(command, env=env, cwd=cwd, memory_bytes=memory_bytes, file_bytes=file_bytes, wants_stdin=bool(stdin))
        child = Child(
            spawned,
            self._selector,
            self.pump,
            started=started,
            deadline=started + deadline_s,
            resident_bytes=resident_bytes,
            output_stop_bytes=output_stop_bytes,
            stdout=out,
            stderr=err,
            subreaper=self._subreaper,
        )
        self._members.append(child)
        if stdin:
            child.feed_stdin(stdin, ends=True)
        return child

    def serve(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | os.PathLike[str] | None = None,
        resident_bytes: int | None = None,
        frame_bytes: int = FRAME_CAP_BYTES,
    ) -> Server:
        """Start a long-lived child that answers messages over its stdin and stdout; SpawnError if that fails."""
        started = self._now_open()
        spawned = spawn(command, env=env, cwd=cwd, memory_bytes=None, file_bytes=None, wants_stdin=True)
        return self._server(spawned, started, resident_bytes, frame_bytes)

    def serve_own(
        self,
        module: str,
        *,
        cwd: str | os.PathLike[str] | None = None,
        resident_bytes: int | None = None,
        with_keeper: bool = False,
    ) -> Server:
        """Start ``main()`` of a module of diffcheck as a server, below a keeper if it starts engines (see ``keeper``)."""
        started = self._now_open()
        return self._server(keeper.start(module, cwd=cwd, with_keeper=with_keeper), started, resident_bytes, FRAME_CAP_BYTES)

    def _server(self, spawned: ChildPipes, started: float, resident_bytes: int | None, frame_bytes: int) -> Server:
        frames = Frames(frame_bytes)
        child = Child(
            spawned,
            self._selector,
            self.pump,
            started=started,
            deadline=math.inf,
            resident_bytes=resident_bytes,
            output_stop_bytes=math.inf,  # a server lives long, and only head and tail of its stderr are kept
            stdout=frames,
            stderr=HeadAndTail(_SERVER_STDERR_BYTES),
            subreaper=self._subreaper,
        )
        self._members.append(child)
        return Server(child, frames, self.pump, frame_bytes)

    def wait(self, child: Child) -> ProcessResult:
        """Wait until ``child`` has ended, serving all others meanwhile."""
        while child.result is None:
            self.pump(None)
        return child.result

    def wait_any(self, members: Sequence[Child | Server], timeout_s: float | None = None) -> list[Child | Server]:
        """Return those of ``members`` that have ended or have an answer: at least one, or none after ``timeout_s``."""
        until = math.inf if timeout_s is None else time.monotonic() + timeout_s
        while True:
            ready = [member for member in members if _ready(member)]
            left = until - time.monotonic()
            if ready or not members or left <= 0:
                return ready
            self.pump(None if left == math.inf else left)

    def pump(self, timeout_s: float | None) -> None:
        """Process all due events, waiting at most ``timeout_s`` for one (None: without limit)."""
        now = time.monotonic()
        wait_s = min((member.due(now) for member in self._members), default=now) - now
        if timeout_s is not None:
            wait_s = min(wait_s, timeout_s)
        for key, _ in self._selector.select(None if wait_s == math.inf else max(0.0, wait_s)):
            # An earlier event of the same round may have closed this descriptor.
            if self._selector.get_map().get(key.fd) is key:
                key.data(key.fd)
        now = time.monotonic()
        for member in self._members:
            if member.result is None:
                member.tick(now)
        self._members = [member for member in self._members if member.result is None]

    def close(self) -> None:
        """Kill and reap all children; may be called twice."""
        if self._closed:
            return
        self._closed = True
        for member in self._members:
            member.kill()
        until = time.monotonic() + 2 * REAP_S + 1
        while self._members and time.monotonic() < until:
            self.pump(0.1)
        self._selector.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close."""
        self.close()

    def _now_open(self) -> float:
        if self._closed:
            raise RuntimeError("the reactor is closed")
        return time.monotonic()


def _ready(member: Child | Server) -> bool:
    return member.ready if isinstance(member, Server) else member.result is not None
