"""Run one command under limits and pass its output through as it arrives: ``python -m diffcheck.process.live_run SPEC``.

subprocess-tee displays output live, but has neither a deadline nor a kill. It therefore runs this program, which has both and
writes the ``ProcessResult`` of the command to a file.
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
from diffcheck.process.interruption import on_interrupt
from diffcheck.process.reactor import Reactor
from diffcheck.process.spawn import die_with_parent, own_program

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPEC: Final = "spec"
_PID: Final = "pid"
_STOP: Final = "stop"


class CommandLimits(msgspec.Struct, frozen=True):
    """A command with its limits (see ``Reactor.start``), and the path ``result_file`` to write the ``ProcessResult`` to."""

    command: tuple[str, ...]
    env: dict[str, str]
    cwd: str
    result_file: str
    deadline_s: float
    memory_bytes: int | None
    resident_bytes: int | None
    output_bytes: int
    output_stop_bytes: int
    file_bytes: int | None

    def start(self, reactor: Reactor, echo: tuple[int, int] | None = None) -> Child:
        """Start the command, and copy its stdout and stderr to the descriptors ``echo``."""
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


def run_live(limits: CommandLimits, folder: Path) -> ProcessResult:
    """Run the command with its output displayed live; returns its result. KeyboardInterrupt at SIGINT and SIGTERM."""
    from subprocess_tee import run  # noqa: PLC0415 - 89 ms, needed only for live output

    spec = folder / _SPEC
    spec.write_bytes(msgspec.msgpack.encode(limits))
    command, environment = own_program("diffcheck.process.live_run", str(spec))
    with _forward_interrupts(folder):
        run(command, env=environment, tee=True, check=False)
    return msgspec.msgpack.decode(Path(limits.result_file).read_bytes(), type=ProcessResult)


@contextlib.contextmanager
def _forward_interrupts(folder: Path) -> Iterator[None]:
    """Forward SIGINT and SIGTERM to the program, which ends its command, and raise KeyboardInterrupt afterwards.

    Otherwise asyncio would kill the program outright, and the command's processes would survive.
    """
    stop = folder / _STOP

    def forward() -> None:
        stop.touch()
        with contextlib.suppress(OSError, ValueError):  # a program that has not started checks the file
            os.kill(int((folder / _PID).read_text()), signal.SIGTERM)

    with on_interrupt(forward, once=False):
        yield
    if stop.exists():
        raise KeyboardInterrupt


def main() -> None:
    """Run the command of the spec file in ``argv[1]``. At an interrupt or its parent's end, end the command's processes."""
    # SIGTERM must not kill this process outright, or the command's processes would survive.
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
    limits = msgspec.msgpack.decode(spec.read_bytes()[:FRAME_CAP_BYTES], type=CommandLimits)
    with Reactor() as reactor:
        result = reactor.wait(limits.start(reactor, echo=(sys.stdout.fileno(), sys.stderr.fileno())))
    # The folder is private and new, so the file cannot exist.
    descriptor = os.open(limits.result_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.msgpack.encode(result))
