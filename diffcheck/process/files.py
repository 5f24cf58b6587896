"""Private folders, files that a child may have tampered with, and atomic writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck.errors import ReportError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DISK_FULL_BYTES = 64 << 10  # less than SQLite's shared memory file and a page of its log
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PREFIX = "diffcheck-private-"
_PRIVATE = re.compile(_PREFIX + r"[a-z0-9_]{8}")  # as mkdtemp names them
_YOUNG_S = 10.0
_TEMPORARY = re.compile(r"\.diffcheck-[0-9a-f]{16}\.tmp")
_SPECIAL = (Path("/dev"), Path("/proc"))


class Unreadable(msgspec.Struct, frozen=True):
    """The reason why a child's file was not read: ``missing``, ``a symbolic link``, ``larger than 4096 bytes``, ..."""

    reason: str


@contextlib.contextmanager
def private_folder(base: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Create a folder of mode 0700 under ``base`` (default: the system's temporary folder), and remove it with its content.

    Symbolic links are removed and never followed. What the system does not let go of (a mount, an immutable file) stays. Without
    ``base``, folders that killed processes left are removed first.
    """
    if base is None:
        _remove_stale(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    # Kept open, so that a child cannot redirect the removal by replacing the folder with a link.
    descriptor = os.open(path, _FOLDER)
    try:
        with contextlib.suppress(OSError):  # on a file system without locks, no folder is ever treated as stale
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        try:
            _empty(descriptor)
        finally:
            os.close(descriptor)
        for remove in (os.rmdir, os.unlink):
            with contextlib.suppress(OSError):
                remove(path)


def _remove_stale(base: Path) -> None:
    """Remove this user's unlocked private folders: their processes were killed.

    Unlike a process id, a lock is also meaningful among containers that share a temporary folder.
    """
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for name in [entry.name for entry in entries if _PRIVATE.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                descriptor = os.open(base / name, _FOLDER)
                try:
                    status = os.fstat(descriptor)
                    # A new folder may not be locked yet.
                    if status.st_uid == os.geteuid() and abs(time.time() - status.st_mtime) > _YOUNG_S:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        _empty(descriptor)
                        (base / name).rmdir()
                finally:
                    os.close(descriptor)


def read_output_file(path: str | os.PathLike[str], cap_bytes: int) -> bytes | Unreadable:
    """Read a regular file of at most ``cap_bytes``, without following links; ``Unreadable`` if that is impossible."""
    try:
        # O_NONBLOCK: opening a FIFO without a writer must not wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        return Unreadable(_reason(error))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return Unreadable("not a regular file")
        data = bytearray()
        if status.st_size <= cap_bytes:
            # One byte more than the cap, since the file may grow meanwhile.
            while len(data) <= cap_bytes and (part := os.read(descriptor, cap_bytes + 1 - len(data))):
                data += part
    except OSError as error:
        return Unreadable(_reason(error))
    finally:
        os.close(descriptor)
    if status.st_size > cap_bytes or len(data) > cap_bytes:
        return Unreadable(f"larger than {cap_bytes} bytes")
    return bytes(data)


def write_atomically(path: str | os.PathLike[str], data: bytes | Iterable[bytes], mode: int = 0o666) -> None:
    """Write a whole file or none; ReportError if that fails.

    Links are refused (see ``refuse_links``). A target that is not a regular file (/dev/stdout, a FIFO) is written to, not
    replaced. ``data`` may be an iterator of pieces, to save memory. ``mode`` is before the umask.
    """
    target = Path(path)
    pieces = (data,) if isinstance(data, bytes) else data
    try:
        if not _in_special(target):
            refuse_links(target)
        if _is_special(target):
            _write_in_place(target, pieces)
            return
        _replace(target, pieces, mode)
    except OSError as error:
        raise _write_error(f"{visible(str(target))} could not be written", error) from error


def refuse_links(target: Path) -> None:
    """Raise ReportError if the target is a link, or if a relative target leads out of the working folder through a link.

    Folders of an absolute path may be links.
    """
    if target.is_symlink():
        raise ReportError(f"{visible(str(target))} is a link, and links are not followed when writing", hint=_LINK_HINT)
    _refuse_escape(target)


def _refuse_escape(target: Path) -> None:
    if target.is_absolute():
        return
    here = Path(os.path.realpath("."))
    nominal, real = Path(os.path.normpath(here / target)), Path(os.path.realpath(target))
    if nominal.is_relative_to(here) and not real.is_relative_to(here):
        raise ReportError(f"{visible(str(target))} leads out of the working folder through a link", hint=_LINK_HINT)


_LINK_HINT = "give the path that the link leads to, or remove the link"
_WRITE_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write elsewhere"),
    errno.EDQUOT: ("the disk quota is exhausted", "free some space, or write elsewhere"),
    errno.EROFS: ("the file system is read-only", "write to a folder that can be written"),
    errno.EACCES: ("permission was denied", "check the permissions of its folder, or write elsewhere"),
    errno.EPERM: ("the system does not permit it", "check the permissions of its folder, or write elsewhere"),
    errno.ENOENT: ("its folder does not exist", "create the folder first"),
    errno.ENOTDIR: ("part of its path is not a folder", "check the path"),
    errno.EISDIR: ("it is a folder", "give the name of a file"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter name"),
    errno.ENXIO: ("it is a FIFO without a reader", "start the reader first, or give the name of a file"),
}


def _write_error(what: str, error: OSError) -> ReportError:
    fallback = (visible(error.strerror or str(error)), "choose another place to write to")
    reason, hint = _WRITE_REASONS.get(error.errno or 0, fallback)
    return ReportError(f"{what}: {reason}", hint=hint)


def is_full(error: Exception, folder: Path) -> bool:
    """Whether a full disk caused ``error``, of SQLite or the system. SQLite also reports it as various I/O errors."""
    if getattr(error, "errno", None) in _FULL or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return True
    with contextlib.suppress(OSError):
        free = os.statvfs(folder)
        return type(error).__module__ == "sqlite3" and free.f_bavail * free.f_frsize < _DISK_FULL_BYTES
    return False


def _write_in_place(target: Path, pieces: Iterable[bytes]) -> None:
    # Non-blocking: opening a FIFO without a reader fails (ENXIO) instead of waiting for ever.
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), "wb") as stream:
        os.set_blocking(stream.fileno(), True)
        stream.writelines(pieces)


def make_folder(folder: Path, hint: str) -> None:
    """Create ``folder`` and its parents if missing; raises ReportError with ``hint`` if that fails or leads through a link."""
    _refuse_escape(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = visible(error.strerror or str(error))
        raise ReportError(f"the folder {visible(str(folder))} cannot be created: {reason}", hint=hint) from error


def check_folder(folder: Path) -> None:
    """Raise ReportError if ``folder`` is not writable, before work is done whose result would be lost."""
    _refuse_escape(folder)
    try:
        temporary, descriptor = _temporary(folder, 0o666)
        os.close(descriptor)
        temporary.unlink()
    except OSError as error:
        raise _write_error(f"nothing can be written to {visible(str(folder))}", error) from error


def _temporary(folder: Path, mode: int) -> tuple[Path, int]:
    # The target's name may already have the maximum length. mkstemp would ignore the umask.
    temporary = folder / f".diffcheck-{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return temporary, descriptor


def _remove_unfinished(folder: Path) -> None:
    """Remove the temporary files of killed writers. A writer that still runs holds a lock."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _TEMPORARY.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    if abs(time.time() - os.fstat(descriptor).st_mtime) > _YOUNG_S:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        (folder / name).unlink()
                finally:
                    os.close(descriptor)


def _replace(target: Path, pieces: Iterable[bytes], mode: int) -> None:
    _remove_unfinished(target.parent)
    temporary, descriptor = _temporary(target.parent, mode)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _is_special(target: Path) -> bool:
    """Whether the target must not be replaced, since it is not a regular file (/dev/stdout, a FIFO)."""
    if _in_special(target):
        return True
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _in_special(target: Path) -> bool:
    return any(target.is_relative_to(folder) for folder in _SPECIAL)


def _reason(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "missing"
    if error.errno == errno.ELOOP:
        return "a symbolic link"
    if error.errno == errno.ENXIO:
        return "not a regular file"
    return f"unreadable: {visible(error.strerror or str(error))}"


def _empty(root: int) -> None:
    """Remove the content of a folder without recursion: each subfolder is first moved up to the root.

    Neither the depth of a hostile tree nor the length of its paths matters, and at most two descriptors are open.
    """
    with contextlib.suppress(OSError):
        os.fchmod(root, 0o700)
    folders = _clear(root, root)
    while folders:
        name = folders.pop()
        with contextlib.suppress(OSError):
            descriptor = os.open(name, _FOLDER, dir_fd=root)
            try:
                folders += _clear(descriptor, root)
            finally:
                os.close(descriptor)
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=root)


def _clear(folder: int, root: int) -> list[str]:
    """Remove the files in ``folder``, move its subfolders to ``root``, and return their new names."""
    moved = []
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
            continue
        except OSError:  # a folder: EISDIR, or EPERM outside Linux
            pass
        with contextlib.suppress(OSError):
            _make_writable(name, folder)  # moving a folder changes its "..", which requires write permission
            new = secrets.token_hex(16)
            os.rename(name, new, src_dir_fd=folder, dst_dir_fd=root)
            moved.append(new)
    return moved


def _make_writable(name: str, folder: int) -> None:
    """Set mode 0700 on a folder that may be unreadable; OSError for a link."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, 0o700, dir_fd=folder, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        Path(f"/proc/self/fd/{descriptor}").chmod(0o700)  # fchmod refuses an O_PATH descriptor
    finally:
        os.close(descriptor)
