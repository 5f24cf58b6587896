"""The files of the cache: one for each entry, named by a digest of its key, written atomically, bounded in total size.

``FOLDER/observations/ENGINE-KEY/xx/DIGEST`` holds a digest over key and value, then the compressed value. An entry of another user
or another key counts as missing. ``FOLDER/compiled`` is for modules that engines compiled, which only they read and write; they are
counted, bounded and cleared here. Several runs may use the cache at once: each writes a temporary file and renames it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.backend.contract import COMPILED_FOLDER
from diffcheck.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Iterator

PART: Final = "observations"
_COMPILED: Final = "compiled modules"
_ENTRY_CAP: Final = 64 << 20
_CONTENT_CAP: Final = 512 << 20
_ROOM: Final = 0.9
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]")


class CacheUsage(msgspec.Struct, frozen=True):
    """The entries of one engine in a cache: name with the beginning of the key, number of entries, bytes."""

    engine: str
    entries: int
    bytes: int


class Store:
    """The cache in a folder, which is created when it is used."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / PART
        self._compiled = folder / COMPILED_FOLDER

    def get(self, key: str) -> bytes | None:
        """The value of a key; None if it is missing or damaged."""
        path = self._path(key)
        packed = process.read_own(path, key, _ENTRY_CAP)
        if packed is None:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the entries used last are kept longest
        return _unpacked(packed)

    def put(self, key: str, content: bytes) -> bool:
        """Store a value; returns whether that worked. A run does not fail if its cache cannot be written."""
        packed = zlib.compress(content, 1)
        if len(content) > _CONTENT_CAP or len(packed) + process.HEAD_BYTES > _ENTRY_CAP:
            return False
        try:
            process.private(self.folder)
            process.write_own(self._path(key), key, packed)
        except (OSError, ReportError):
            return False
        return True

    def unusable(self) -> str:
        """Why no entry can be stored; empty if that is possible. The folder is created."""
        try:
            process.private(self.folder)
            with tempfile.TemporaryFile(dir=self.folder):
                return ""
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
        except ReportError as error:
            return str(error)

    def kept(self) -> tuple[CacheUsage, ...]:
        """The entries by engine."""
        found: dict[str, list[int]] = {}
        for path, size, _ in self._entries():
            name = _COMPILED if path.is_relative_to(self._compiled) else path.parts[-3]
            found.setdefault(name, []).append(size)
        return tuple(CacheUsage(name, len(sizes), sum(sizes)) for name, sizes in sorted(found.items()))

    def trim(self, limit_bytes: int) -> int:
        """Remove the least recently used entries until the rest is well below the limit; returns their number."""
        entries = list(self._entries())
        total = sum(size for _, size, _ in entries)
        if total <= limit_bytes:
            return 0
        removed = 0
        for path, size, _ in sorted(entries, key=lambda each: each[2]):
            if total <= limit_bytes * _ROOM:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
            total -= size
        self._remove_empty()
        return removed

    def clear(self) -> int:
        """Remove every entry and return their number; files of other programs stay."""
        removed = 0
        for path, _, _ in self._entries():
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
        self._remove_empty()
        return removed

    def _path(self, key: str) -> Path:
        engine, _, name = key.partition("/")
        digest = hashlib.sha256(name.encode()).hexdigest()
        return self.folder / _UNSAFE.sub("_", engine)[:80] / digest[:2] / digest

    def _entries(self) -> Iterator[tuple[Path, int, int]]:
        """The path, size on disk and time of last use of each entry."""
        for path in (*self.folder.glob("*/??/*"), *self._compiled.glob("*/*/*")):
            with contextlib.suppress(OSError):
                about = path.lstat()
                yield path, about.st_size, about.st_mtime_ns

    def _remove_empty(self) -> None:
        for root, pattern in ((self.folder, "*/??"), (self.folder, "*"), (self._compiled, "*/*"), (self._compiled, "*")):
            for folder in root.glob(pattern):
                with contextlib.suppress(OSError):  # not empty, or removed by another run
                    folder.rmdir()


def _unpacked(packed: bytes) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, _CONTENT_CAP)
    except zlib.error:
        return None
    return content if unpacker.eof else None
