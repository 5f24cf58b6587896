"""What a program is by its content: its file's digest, and for a script also those of the programs that it names."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Final

_SCRIPT: Final = b"#!"
_SCRIPT_BYTES: Final = 64 << 10
_NAMED: Final = 32
_PROGRAMS: Final = frozenset((".py", ".js", ".mjs", ".cjs", ".sh", ".rb", ".pl", ".lua", ".wasm", ".so", ".dylib", ".jar"))
_WORD: Final = re.compile(r"""[^\s'"`;|&<>()=]+""")


def program_digest(*paths: str) -> str:
    """SHA-256 in hex over the files' contents; a script's is that of the programs that it names by their full path as well.

    Programs are files that may be executed, and those whose name says so: a log that it writes to is none. A script may run what
    it does not name so: then a change of that is not seen, which is for its user to know. A file that cannot be read counts as
    empty.
    """
    digest = hashlib.sha256()
    seen: set[str] = set()
    left = list(reversed(paths))
    while left and len(seen) < _NAMED:
        path = left.pop()
        if path in seen:
            continue
        seen.add(path)
        content, named = _read(path)
        digest.update(content)
        left += reversed(named)
    return digest.hexdigest()


def _read(path: str) -> tuple[bytes, list[str]]:
    """A file's digest, and the programs that it names if it is a script."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(_SCRIPT_BYTES)
            file.seek(0)
            content = hashlib.file_digest(file, "sha256").digest()
    except (OSError, ValueError):
        return hashlib.sha256().digest(), []
    if not head.startswith(_SCRIPT):
        return content, []
    words = _WORD.findall(head[len(_SCRIPT) :].decode(errors="replace"))
    return content, [word for word in dict.fromkeys(words) if word.startswith("/") and _is_program(word)]


def _is_program(path: str) -> bool:
    try:
        return Path(path).is_file() and (os.access(path, os.X_OK) or Path(path).suffix in _PROGRAMS)
    except (OSError, ValueError):
        return False
