"""Cache files, trusted only if this user owns them, they are complete, and they belong to the requested key.

Each file begins with a digest of its key and content, so a file moved to the place of another is rejected.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from diffcheck.errors import ReportError
from diffcheck.process.files import read_output_file, write_atomically
from diffcheck.text import visible

_MAGIC: Final = b"diffcheck-cache-2\n"
HEAD_BYTES: Final = len(_MAGIC) + hashlib.sha256().digest_size


def read_own(path: Path, key: str, cap_bytes: int) -> bytes | None:
    """Return the content stored under ``key``, or None if there is none that can be trusted. Damaged files are removed."""
    if not _is_own(path.parent, folder=True) or not _is_own(path, folder=False):
        return None
    data = read_output_file(path, cap_bytes)
    if not isinstance(data, bytes):
        return None
    content = data[HEAD_BYTES:]
    if data[:HEAD_BYTES] == _head(key, content):
        return content
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def write_own(path: Path, key: str, content: bytes) -> None:
    """Store ``content`` under ``key``, creating the folder if needed. Raises ``ReportError`` or ``OSError``."""
    private(path.parent)
    write_atomically(path, (_head(key, content), content), mode=0o600)


def private(folder: Path) -> None:
    """Create a folder that only its owner can use; ``ReportError`` if it belongs to another user."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise ReportError(f"{visible(str(folder))} belongs to another user", hint="give a folder of your own with --cache")
    if status.st_mode & 0o077:
        folder.chmod(0o700)


def _is_own(path: Path, *, folder: bool) -> bool:
    """Whether a folder, or a file that is not a link, belongs to this user and is writable for nobody else."""
    try:
        status = path.stat() if folder else path.lstat()
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _head(key: str, content: bytes) -> bytes:
    key_digest = hashlib.sha256(key.encode("utf-8", "backslashreplace")).digest()
    return _MAGIC + hashlib.sha256(key_digest + content).digest()
