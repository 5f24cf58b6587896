"""A lock on a folder that only one run at a time may write to."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import ReportError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_NAME: Final = "run.lock"
_SIZE: Final = 512
"""Size of the lock file in bytes. It is written in one call within a page, so a reader always sees it whole."""
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Holder(msgspec.Struct, frozen=True):
    """The process that holds a lock, its machine, and the time at which it took the lock (ISO 8601, UTC)."""

    pid: int = 0
    host: str = ""
    since: str = ""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. ReportError names the holder if another process has it.

    The system releases the lock however its process ends, so a killed run blocks nobody. The lock file stays.
    """
    name = visible(str(folder))
    try:
        descriptor = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except OSError as error:
        reason = visible(error.strerror or str(error))
        raise ReportError(f"{name} cannot be locked: {reason}", hint="give another folder with --reports") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReportError(
                f"another run writes to {name}: {_holder(descriptor)}",
                hint="wait until it has finished, or give another --reports DIR",
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # without file locks, avoiding concurrent runs is up to the user
                raise ReportError(
                    f"{name} cannot be locked: {visible(error.strerror or '')}", hint="give another folder"
                ) from error
        _write_holder(descriptor)
        yield
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int) -> None:
    holder = Holder(os.getpid(), socket.gethostname()[:200], datetime.now(UTC).isoformat(timespec="seconds"))
    with contextlib.suppress(OSError):  # the lock is valid even if the disk is full
        os.pwrite(descriptor, msgspec.json.encode(holder).ljust(_SIZE - 1) + b"\n", 0)


def _holder(descriptor: int) -> str:
    try:
        holder = msgspec.json.decode(os.pread(descriptor, _SIZE, 0), type=Holder)
    except (msgspec.MsgspecError, OSError):
        return "an unknown process"
    return f"process {holder.pid} on {visible(holder.host, 200)}, since {visible(holder.since, 40)}"
