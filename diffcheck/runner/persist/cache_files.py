"""The cache's files: one an entry, named by what it is an answer to, whole or not at all, and bounded in size.

``FOLDER/observations/ENGINE-KEY/xx/DIGEST`` holds a digest of the key, which names the engine by its digest, and of the rest, which
is the stored value, compressed. An entry that is another user's or not the key's counts as missing. Two runs may use it at once:
each writes beside its place and renames.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.errors import ReportError

if TYPE_CHECKING:
    from collections.abc import Iterator

PART: Final = "observations"
_ENTRY_CAP: Final = 64 << 20
_CONTENT_CAP: Final = 512 << 20
_ROOM: Final = 0.9
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9.-]")


class CacheUsage(msgspec.Struct, frozen=True):
    """What a cache holds of one engine: its name with the beginning of its key, how many entries, how many bytes."""

    engine: str
    entries: int
    bytes: int


class Store:
    """The cache in a folder; nothing is there until the first entry is put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / PART

    def get(self, key: str) -> bytes | None:
        """What was put under the key; None where there is nothing, or nothing whole."""
        path = self._path(key)
        packed = process.read_own(path, key, _ENTRY_CAP)
        if packed is None:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # what is used stays longest
        return _unpacked(packed)

    def put(self, key: str, content: bytes) -> bool:
        """Keep ``content`` under the key; gives whether that worked: a cache that cannot be written is no failure of a run."""
        packed = zlib.compress(content, 1)
        if len(content) > _CONTENT_CAP or len(packed) + process.HEAD_BYTES > _ENTRY_CAP:
            return False
        try:
            process.private(self.folder)
            process.write_own(self._path(key), key, packed)
        except (OSError, ReportError):
            return False
        return True

    def kept(self) -> tuple[CacheUsage, ...]:
        """What it holds, by engine."""
        found: dict[str, list[int]] = {}
        for path, size, _ in self._entries():
            found.setdefault(path.parts[-3], []).append(size)
        return tuple(CacheUsage(name, len(sizes), sum(sizes)) for name, sizes in sorted(found.items()))

    def trim(self, limit_bytes: int) -> int:
        """Remove the entries that were not used for longest until the rest is well below the limit; gives how many."""
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
        """Remove every entry; gives how many there were. What another program put there stays."""
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
        """Each entry's path, its size on disk, and when it was used last."""
        for path in self.folder.glob("*/??/*"):
            with contextlib.suppress(OSError):
                about = path.lstat()
                yield path, about.st_size, about.st_mtime_ns

    def _remove_empty(self) -> None:
        for pattern in ("*/??", "*"):
            for folder in self.folder.glob(pattern):
                with contextlib.suppress(OSError):  # it is not empty, or another run just took it away
                    folder.rmdir()


def _unpacked(packed: bytes) -> bytes | None:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, _CONTENT_CAP)
    except zlib.error:
        return None
    return content if unpacker.eof else None
