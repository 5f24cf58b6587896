"""Files of a cache: believed only where they are this user's own, whole, and an answer to the very question that is asked.

Each begins with a digest of its question and its content, so a file that was put in the place of another is none.
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
    """What was written under the key; None where there is nothing, or nothing that is ours and whole. What is ours and not whole
    is removed.
    """
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
    """Write what is the answer to ``key``; its folder is made where it is missing. Raises ``ReportError`` or ``OSError``."""
    private(path.parent)
    write_atomically(path, (_head(key, content), content), mode=0o600)


def private(folder: Path) -> None:
    """Make a folder that only its owner can use; raises ``ReportError`` where it is another user's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = folder.stat()
    if about.st_uid != os.geteuid():
        raise ReportError(f"{visible(str(folder))} belongs to another user", hint="give a folder of your own by --cache")
    if about.st_mode & 0o077:
        folder.chmod(0o700)


def _is_own(path: Path, *, folder: bool) -> bool:
    """Whether a folder, or a file that is no link, is this user's and nobody else could have written to it."""
    try:
        about = path.stat() if folder else path.lstat()
    except OSError:
        return False
    return about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _head(key: str, content: bytes) -> bytes:
    question = hashlib.sha256(key.encode("utf-8", "backslashreplace")).digest()
    return _MAGIC + hashlib.sha256(question + content).digest()
