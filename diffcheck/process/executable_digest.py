"""Program identity by content: the digest of its file and, for a script, of the programs that it names."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_SCRIPT: Final = b"#!"
_SCRIPT_BYTES: Final = 64 << 10
_MAX_FILES: Final = 32
_SUFFIXES: Final = frozenset((".py", ".js", ".mjs", ".cjs", ".sh", ".rb", ".pl", ".lua", ".wasm", ".so", ".dylib", ".jar"))
_WORD: Final = re.compile(r"""[^\s'"`;|&<>()=]+""")


Stamps = dict[str, tuple[int, ...]]
"""Path -> (device, inode, size, mtime in ns, ctime in ns), or () for a missing file."""


def program_digest(*paths: str) -> str:
    """SHA-256 in hex over the contents of ``program_files``; an unreadable file counts as empty."""
    digest = hashlib.sha256()
    for path in program_files(*paths):
        digest.update(_content(path))
    return digest.hexdigest()


def program_files(*paths: str) -> tuple[str, ...]:
    """Return the files and, recursively for scripts, the programs that they name by an absolute path; at most 32.

    Executable files and files with a program's suffix are programs; a script's log file is not. Changes of programs that a
    script names in another way are not detected.
    """
    files: dict[str, None] = {}
    left = list(reversed(paths))
    while left and len(files) < _MAX_FILES:
        path = left.pop()
        if path in files:
            continue
        files[path] = None
        left += reversed(_script_programs(path))
    return tuple(files)


def stamps(paths: Iterable[str]) -> Stamps:
    """Return file-system stamps that change whenever a file is replaced or written to."""
    result: Stamps = {}
    for path in paths:
        try:
            result[path] = _stamp(path)
        except (OSError, ValueError):
            result[path] = ()
    return result


def file_digest(path: str) -> bytes:
    """SHA-256 of a file's content, cached by its stamp. Raises OSError."""
    return _digest_at(path, _stamp(path))


def _stamp(path: str) -> tuple[int, ...]:
    status = os.stat(path)  # noqa: PTH116 - before and after each case
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@lru_cache(maxsize=256)
def _digest_at(path: str, _stamp: tuple[int, ...]) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _content(path: str) -> bytes:
    try:
        return file_digest(path)
    except (OSError, ValueError):
        return hashlib.sha256().digest()


def _script_programs(path: str) -> list[str]:
    """Return the programs that a script names; none for any other file."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_SCRIPT_BYTES)
    except (OSError, ValueError):
        return []
    if not head.startswith(_SCRIPT):
        return []
    words = _WORD.findall(head[len(_SCRIPT) :].decode(errors="replace"))
    return [word for word in dict.fromkeys(words) if word.startswith("/") and is_program(word)]


def is_program(path: str) -> bool:
    """Whether a file is executable or has a program's suffix."""
    try:
        return Path(path).is_file() and (os.access(path, os.X_OK) or Path(path).suffix in _SUFFIXES)
    except (OSError, ValueError):
        return False
