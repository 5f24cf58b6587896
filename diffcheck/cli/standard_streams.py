"""The standard streams of the command line, so that one that is closed or full is an error with a reason, or no error at all."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LAST: Final = 2  # stderr's descriptor


class OutputError(Exception):
    """Standard output could not be written; ``reason`` is the system's error. An OSError would be attributed to another file."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _Output(io.FileIO):
    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputError(error) from error


class _Messages(io.FileIO):
    """What cannot be written is lost: no message is worth the result."""

    def write(self, data: Buffer, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def prepare() -> None:
    """Make ``sys.stdout`` raise ``OutputError`` and ``sys.stderr`` ignore errors; a closed stream becomes /dev/null."""
    _open_closed()  # first, so that no file gets a standard stream's number, and with it what is printed
    sys.stdout = _wrapped(sys.stdout, _Output(1, "w", closefd=False))
    sys.stderr = _wrapped(sys.stderr, _Messages(2, "w", closefd=False))


def _open_closed() -> None:
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _wrapped(stream: TextIO | None, raw: io.FileIO) -> io.TextIOWrapper:
    """A stream over ``raw``, set up as ``stream`` is; what the encoding lacks is escaped, so that no name ends a run."""
    encoding = stream.encoding if stream is not None else "utf-8"
    lines = stream is sys.stderr or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=lines)


def abandon_output() -> None:
    """Discard what standard output has not written yet, now and when the process ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
