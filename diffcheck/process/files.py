"""Folders and files that a child may have tampered with, and files that appear whole or not at all."""

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
_LITTLE_BYTES = 64 << 10  # less than SQLite's shared memory file and a page of its log
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PREFIX = "diffcheck-private-"
_PRIVATE = re.compile(_PREFIX + r"[a-z0-9_]{8}")  # as mkdtemp names them
_YOUNG_S = 10.0
_TEMPORARY = re.compile(r"\.diffcheck-[0-9a-f]{16}\.tmp")
_SPECIAL = (Path("/dev"), Path("/proc"))


class Unreadable(msgspec.Struct, frozen=True):
    """Why a child's file was not read: ``missing``, ``a symbolic link``, ``larger than 4096 bytes``, ..."""

    reason: str


@contextlib.contextmanager
def private_folder(base: str | os.PathLike[str] | None = None) -> Iterator[Path]:
    """Make a new folder of mode 0700 under ``base`` (the system's place for temporary files), removed whatever is in it then.

    Symbolic links are removed and never followed. What the system will not remove (a mount, an immutable file) stays. Without a
    ``base``, folders that killed processes left there are removed first.
    """
    if base is None:
        _remove_stale(Path(tempfile.gettempdir()))
    path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
    # Held open: a child that renames the folder and puts a link in its place does not lead us elsewhere.
    descriptor = os.open(path, _FOLDER)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: then nothing there is ever taken for stale either
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
    """Remove the private folders of processes of this user that were killed: those that nobody holds a lock on.

    A lock is gone with its process, also where process ids mean nothing (containers that share a folder for temporary files).
    """
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for name in [entry.name for entry in entries if _PRIVATE.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                descriptor = os.open(base / name, _FOLDER)
                try:
                    about = os.fstat(descriptor)
                    # One that was just made is not locked yet.
                    if about.st_uid == os.geteuid() and abs(time.time() - about.st_mtime) > _YOUNG_S:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        _empty(descriptor)
                        (base / name).rmdir()
                finally:
                    os.close(descriptor)


def read_output_file(path: str | os.PathLike[str], cap_bytes: int) -> bytes | Unreadable:
    """Read a regular file, or tell why not; links are not followed, and no more than the cap is ever in memory."""
    try:
        # O_NONBLOCK: opening a FIFO that nobody writes to must not wait.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        return Unreadable(_why(error))
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return Unreadable("not a regular file")
        data = bytearray()
        if about.st_size <= cap_bytes:
            # One byte more than the cap: it may grow while it is read.
            while len(data) <= cap_bytes and (part := os.read(descriptor, cap_bytes + 1 - len(data))):
                data += part
    except OSError as error:
        return Unreadable(_why(error))
    finally:
        os.close(descriptor)
    if about.st_size > cap_bytes or len(data) > cap_bytes:
        return Unreadable(f"larger than {cap_bytes} bytes")
    return bytes(data)


def write_atomically(path: str | os.PathLike[str], data: bytes | Iterable[bytes], mode: int = 0o666) -> None:
    """Write a file that is there whole or not at all; ReportError if that fails, and then nothing new is left behind.

    Nothing is written through a link (see ``refuse_links``); what is not a regular file (/dev/stdout, a FIFO) is written to and not
    replaced. Pieces are asked for one by one, so that they need not be in memory together. ``mode`` is before the umask.
    """
    target = Path(path)
    pieces = (data,) if isinstance(data, bytes) else data
    try:
        if not _in_special(target):
            refuse_links(target)
        if _is_special(target):
            _write_through(target, pieces)
            return
        _replace(target, pieces, mode)
    except OSError as error:
        other = (visible(error.strerror or str(error)), "choose another place to write to")
        reason, hint = _WRITE_REASONS.get(error.errno or 0, other)
        raise ReportError(f"{visible(str(target))} could not be written: {reason}", hint=hint) from error


def refuse_links(target: Path) -> None:
    """Raise ReportError where an output would go through a link: the file itself is one, or a relative path's folder is one that
    leads out of the working folder. In an absolute path folders may be links.
    """
    if target.is_symlink():
        raise ReportError(f"{visible(str(target))} is a link: nothing is written through it", hint=_LINK_HINT)
    _refuse_way_out(target)


def _refuse_way_out(target: Path) -> None:
    if target.is_absolute():
        return
    here = Path(os.path.realpath("."))
    meant, real = Path(os.path.normpath(here / target)), Path(os.path.realpath(target))
    if meant.is_relative_to(here) and not real.is_relative_to(here):
        raise ReportError(f"{visible(str(target))} leads through a link out of the working folder", hint=_LINK_HINT)


_LINK_HINT = "give the path that it leads to, or remove it"
_WRITE_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or write elsewhere"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or write elsewhere"),
    errno.EROFS: ("the file system is read-only", "write to a folder that can be written"),
    errno.EACCES: ("permission was denied", "check the permissions of its folder, or write elsewhere"),
    errno.EPERM: ("the system forbids it", "check the permissions of its folder, or write elsewhere"),
    errno.ENOENT: ("there is no such folder", "create the folder first"),
    errno.ENOTDIR: ("part of its path is not a folder", "check the path"),
    errno.EISDIR: ("it is a folder", "give the name of a file"),
    errno.ENAMETOOLONG: ("its name is too long", "choose a shorter name"),
    errno.ENXIO: ("it is a FIFO that nothing reads from", "start its reader first, or give the name of a file"),
}


def is_full(error: Exception, folder: Path) -> bool:
    """Whether ``error``, of SQLite or the system, comes of a full disk; SQLite also calls that an I/O error of many kinds."""
    if getattr(error, "errno", None) in _FULL or getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
        return True
    with contextlib.suppress(OSError):
        free = os.statvfs(folder)
        return type(error).__module__ == "sqlite3" and free.f_bavail * free.f_frsize < _LITTLE_BYTES
    return False


def _write_through(target: Path, pieces: Iterable[bytes]) -> None:
    # Opening a FIFO without a reader would wait for one for ever; without blocking it fails (ENXIO).
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC), "wb") as stream:
        os.set_blocking(stream.fileno(), True)
        stream.writelines(pieces)


def check_folder(folder: Path) -> None:
    """Raise ReportError where a file could not be written to ``folder``: before work is done whose result would be lost."""
    _refuse_way_out(folder)
    try:
        temporary, descriptor = _temporary(folder, 0o666)
        os.close(descriptor)
        temporary.unlink()
    except OSError as error:
        other = (visible(error.strerror or str(error)), "choose another place to write to")
        reason, hint = _WRITE_REASONS.get(error.errno or 0, other)
        raise ReportError(f"nothing can be written to {visible(str(folder))}: {reason}", hint=hint) from error


def _temporary(folder: Path, mode: int) -> tuple[Path, int]:
    # The name does not depend on the target's, which may be as long as names can be; open, not mkstemp, so that the umask holds.
    temporary = folder / f".diffcheck-{secrets.token_hex(8)}.tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return temporary, descriptor


def _remove_unfinished(folder: Path) -> None:
    """Remove what a writer left that was killed before its file was whole; one that still writes holds a lock."""
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
    """Whether replacing the target would destroy something that is not a file's content, as /dev/stdout for root."""
    if _in_special(target):
        return True
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _in_special(target: Path) -> bool:
    return any(target.is_relative_to(folder) for folder in _SPECIAL)


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "missing"
    if error.errno == errno.ELOOP:
        return "a symbolic link"
    if error.errno == errno.ENXIO:
        return "not a regular file"
    return f"unreadable: {visible(error.strerror or str(error))}"


def _empty(root: int) -> None:
    """Remove all that is in a folder, without recursion: each folder found is first moved up to the root.

    So neither the depth of a hostile tree nor the length of its paths matters, and at most two descriptors are open.
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
    """Remove what is in ``folder`` but the folders, which are moved to ``root``; returns their new names."""
    moved = []
    for name in os.listdir(folder):
        try:
            os.unlink(name, dir_fd=folder)
            continue
        except OSError:  # EISDIR, or EPERM on other systems; what is neither stays
            pass
        with contextlib.suppress(OSError):
            _make_writable(name, folder)  # moving a folder changes its "..", which takes permission to write to it
            new = secrets.token_hex(16)
            os.rename(name, new, src_dir_fd=folder, dst_dir_fd=root)
            moved.append(new)
    return moved


def _make_writable(name: str, folder: int) -> None:
    """Mode 0700 for a folder that may be unreadable; fails for a link."""
    if not hasattr(os, "O_PATH"):
        os.chmod(name, 0o700, dir_fd=folder, follow_symlinks=False)
        return
    descriptor = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        Path(f"/proc/self/fd/{descriptor}").chmod(0o700)  # fchmod refuses an O_PATH descriptor
    finally:
        os.close(descriptor)
