"""Runs one command under our limits and lets its output through as it comes: ``python -m diffcheck.process.live_run SPEC``.

For a person who wants to watch an engine: a tool that shows output live (subprocess-tee) has neither a deadline nor a kill, so it
is given this program to show, which has both. How the command ended is written to a file as ``Ended``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import EXIT_INTERRUPTED
from diffcheck.process.child import Child, ProcessResult
from diffcheck.process.framing import FRAME_CAP_BYTES
from diffcheck.process.interruption import caught
from diffcheck.process.reactor import Reactor
from diffcheck.process.spawn import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPEC: Final = "bounds"
_PID: Final = "pid"
_STOP: Final = "stop"


class CommandLimits(msgspec.Struct, frozen=True):
    """What to run and its limits, as ``Reactor.start`` has them; ``ended`` is the file to write how it ended to."""

    command: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    ended: str
    deadline_s: float
    memory_bytes: int | None
    resident_bytes: int | None
    output_bytes: int
    output_stop_bytes: int
    file_bytes: int | None

    def start(self, reactor: Reactor, echo: tuple[int, int] | None = None) -> Child:
        """Start the command; ``echo`` are descriptors that its stdout and stderr are copied to."""
        return reactor.start(
            self.command,
            env=self.env,
            cwd=self.cwd,
            deadline_s=self.deadline_s,
            memory_bytes=self.memory_bytes,
            resident_bytes=self.resident_bytes,
            output_bytes=self.output_bytes,
            output_stop_bytes=self.output_stop_bytes,
            file_bytes=self.file_bytes,
            echo=echo,
        )


def run_watched(bounds: CommandLimits, folder: Path) -> ProcessResult:
    """Run the command while subprocess-tee shows its output; gives how it ended. KeyboardInterrupt at SIGINT and at SIGTERM."""
    from subprocess_tee import run  # noqa: PLC0415 - 89 ms that only a person at a desk pays for

    from diffcheck.process.spawn import own_program  # noqa: PLC0415 - as above

    spec = folder / _SPEC
    spec.write_bytes(msgspec.msgpack.encode(bounds))
    command, environment = own_program("diffcheck.process.live_run", str(spec))
    with _passed_on(folder):
        run(command, env=environment, tee=True, check=False)
    return msgspec.msgpack.decode(Path(bounds.ended).read_bytes(), type=ProcessResult)


@contextlib.contextmanager
def _passed_on(folder: Path) -> Iterator[None]:
    """Pass SIGINT and SIGTERM on to the program, which ends what it has started, and be interrupted when it has.

    Left to themselves they would reach asyncio, which kills the program outright, and what the command has started would stay.
    """
    stop = folder / _STOP

    def pass_on() -> None:
        stop.touch()
        with contextlib.suppress(OSError, ValueError):  # not begun yet: it will see that it is to stop
            os.kill(int((folder / _PID).read_text()), signal.SIGTERM)

    with caught(pass_on, once=False):
        yield
    if stop.exists():
        raise KeyboardInterrupt


def main() -> None:
    """Run what the file named by the only argument says; interrupted, or without its parent, it ends all that it started."""
    # Not killed outright: then what the command has started would stay behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    die_with_parent(by=signal.SIGTERM)
    try:
        spec = Path(sys.argv[1])
        spec.with_name(_PID).write_text(str(os.getpid()))
        if not spec.with_name(_STOP).exists():
            _run(spec)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)


def _run(spec: Path) -> None:
    bounds = msgspec.msgpack.decode(spec.read_bytes()[:FRAME_CAP_BYTES], type=CommandLimits)
    with Reactor() as reactor:
        ended = reactor.wait(bounds.start(reactor, echo=(sys.stdout.fileno(), sys.stderr.fileno())))
    # The folder is private and was made for this run; there is nothing to be replaced.
    descriptor = os.open(bounds.ended, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(ended))
