"""A folder that one run at a time writes to: a lock that is gone with its process, and who holds it."""

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
"""The file always has so many bytes, written at once within a page: whenever it is read, it is whole."""
_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lock: the process, its machine, and since when (UTC)."""

    pid: int = 0
    host: str = ""
    since: str = ""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; raises ``ReportError`` with its holder where another process has it.

    The system lets go of it however its process ends, so one that was killed blocks nobody; the file itself stays.
    """
    name = visible(str(folder))
    try:
        descriptor = os.open(folder / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except OSError as error:
        reason = visible(error.strerror or str(error))
        raise ReportError(f"{name} cannot be locked: {reason}", hint="give another folder by --reports") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ReportError(
                f"another run writes to {name}: {_holder(descriptor)}",
                hint="wait until it has ended, or give another --reports DIR",
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:  # a file system without locks: then two runs are the user's own care
                raise ReportError(
                    f"{name} cannot be locked: {visible(error.strerror or '')}", hint="give another folder"
                ) from error
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    holder = Holder(os.getpid(), socket.gethostname()[:200], datetime.now(UTC).isoformat(timespec="seconds"))
    with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
        os.pwrite(descriptor, msgspec.json.encode(holder).ljust(_SIZE - 1) + b"\n", 0)


def _holder(descriptor: int) -> str:
    try:
        holder = msgspec.json.decode(os.pread(descriptor, _SIZE, 0), type=Holder)
    except (msgspec.MsgspecError, OSError):
        return "it does not say which"
    return f"process {holder.pid} on {visible(holder.host, 200)}, since {visible(holder.since, 40)}"
