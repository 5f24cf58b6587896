"""What a program is by its content: its file's digest, and for a script also those of the programs that it names."""

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
_NAMED: Final = 32
_PROGRAMS: Final = frozenset((".py", ".js", ".mjs", ".cjs", ".sh", ".rb", ".pl", ".lua", ".wasm", ".so", ".dylib", ".jar"))
_WORD: Final = re.compile(r"""[^\s'"`;|&<>()=]+""")


Stamps = dict[str, tuple[int, ...]]
"""Files by path: device, inode, size, and the times of the last change of content and of status in ns; () where there is none."""


def program_digest(*paths: str) -> str:
    """SHA-256 in hex over the contents of ``program_files``; a file that cannot be read counts as empty."""
    digest = hashlib.sha256()
    for path in program_files(*paths):
        digest.update(_content(path))
    return digest.hexdigest()


def program_files(*paths: str) -> tuple[str, ...]:
    """The files and, of those that are scripts, the programs that they name by their full path, these in turn alike.

    Programs are files that may be executed, and those whose name says so: a log that it writes to is none. A script may run what
    it does not name so: then a change of that is not seen, which is for its user to know.
    """
    seen: dict[str, None] = {}
    left = list(reversed(paths))
    while left and len(seen) < _NAMED:
        path = left.pop()
        if path in seen:
            continue
        seen[path] = None
        left += reversed(_named(path))
    return tuple(seen)


def stamps(paths: Iterable[str]) -> Stamps:
    """What tells by the file system alone that a file was replaced or written to, for each path."""
    found: Stamps = {}
    for path in paths:
        try:
            found[path] = _stamp(path)
        except (OSError, ValueError):
            found[path] = ()
    return found


def file_digest(path: str) -> bytes:
    """SHA-256 of a file's content; one whose stamp is the same as before is not read again. Raises OSError."""
    return _digest_at(path, _stamp(path))


def _stamp(path: str) -> tuple[int, ...]:
    about = Path(path).stat()
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns


@lru_cache(maxsize=256)
def _digest_at(path: str, _stamp: tuple[int, ...]) -> bytes:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _content(path: str) -> bytes:
    try:
        return file_digest(path)
    except (OSError, ValueError):
        return hashlib.sha256().digest()


def _named(path: str) -> list[str]:
    """The programs that a file names if it is a script."""
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
    """Whether a file may be executed or has a program's suffix."""
    try:
        return Path(path).is_file() and (os.access(path, os.X_OK) or Path(path).suffix in _PROGRAMS)
    except (OSError, ValueError):
        return False
