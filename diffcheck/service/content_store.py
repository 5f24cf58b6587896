"""Files by their SHA-256, in a folder. A full disk or a full quota refuses new files and leaves the old ones readable."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import time
from typing import TYPE_CHECKING, BinaryIO, Final

from diffcheck.config.option_table import parse_size
from diffcheck.errors import DiffcheckError
from diffcheck.text import size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from diffcheck.service.database import Database
    from diffcheck.service.settings import ServiceLimits

DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_CHUNK_BYTES: Final = 1 << 20
_UNFINISHED_S: Final = 3600.0


class StorageFullError(DiffcheckError):
    """There is no room for another file."""


class TooLargeError(DiffcheckError):
    """A file beyond the limit of its kind."""


class ContentStore:
    """The files of a data folder, and their entries in the database."""

    def __init__(self, folder: Path, database: Database, limits: ServiceLimits) -> None:
        self._folder = folder / "files"
        self.database = database
        self.upload_bytes = parse_size(limits.upload)
        self._disk_bytes = parse_size(limits.disk)
        self._reserve_bytes = parse_size(limits.reserve)

    def path(self, digest: str) -> Path:
        """The place of the file with a digest of 64 hex digits; raises ``FileNotFoundError`` if there is none."""
        if not self.exists(digest):
            raise FileNotFoundError(digest)
        return self.place(digest)

    def exists(self, digest: str) -> bool:
        """Whether there is a file with a digest."""
        return DIGEST.match(digest) is not None and self.place(digest).is_file()

    def add(self, chunks: Iterable[bytes], *, cap_bytes: int | None = None, derived: bool = False) -> str:
        """Store a file and return its digest. ``derived`` files can be made again, and make room for others.

        Raises ``TooLargeError`` beyond ``cap_bytes`` (default: the limit of uploads), ``StorageFullError`` without room.
        """
        with self.incoming(cap_bytes) as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.keep(derived=derived)

    def add_file(self, file: Path) -> str:
        """Store a copy of a file of our own and return its digest; raises ``StorageFullError``."""
        with file.open("rb") as stream:
            return self.add(iter(lambda: stream.read(_CHUNK_BYTES), b""), cap_bytes=self._disk_bytes)

    @contextlib.contextmanager
    def incoming(self, cap_bytes: int | None = None) -> Iterator[IncomingFile]:
        """A file that arrives in chunks and is removed unless it is kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f"incoming-{os.urandom(8).hex()}"
        try:
            self.require_room(upload=cap_bytes is None)
            with temporary.open("xb") as stream:
                yield IncomingFile(self, temporary, stream, self.upload_bytes if cap_bytes is None else cap_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFullError("the disk is full", hint="free some space on the service's disk") from error
            raise
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def used_bytes(self) -> int:
        """The size of all files."""
        return int(self.database.rows("SELECT coalesce(sum(size), 0) FROM files")[0][0])

    def evict(self) -> None:
        """Remove what can be made again, the longest unused first, until there is room; and remains of killed uploads."""
        query = "DELETE FROM files WHERE sha256 = (SELECT sha256 FROM files WHERE derived = 1 ORDER BY used LIMIT 1) RETURNING *"
        over = self.used_bytes() - self._disk_bytes
        while over >= 0:
            with self.database.writing() as connection:
                removed = connection.execute(query).fetchone()
                if removed is None:
                    return
                self.place(removed["sha256"]).unlink(missing_ok=True)
                over -= removed["size"]
        for path in self._folder.glob("incoming-*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _UNFINISHED_S:
                    path.unlink()

    def require_room(self, *, upload: bool = False) -> None:
        """Raise ``StorageFullError`` if nothing more can be stored. Half of the reserve is for what jobs found."""
        if self.used_bytes() >= self._disk_bytes:
            self.evict()
            if self.used_bytes() >= self._disk_bytes:
                hint = "raise limits.disk in the service's configuration"
                raise StorageFullError(f"the service's files have reached their quota of {size(self._disk_bytes)}", hint=hint)
        if shutil.disk_usage(self._folder).free < (self._reserve_bytes if upload else self._reserve_bytes // 2):
            raise StorageFullError("the disk is full", hint="free some space on the service's disk")

    def place(self, digest: str) -> Path:
        """Where the file with a digest is, if there is one."""
        return self._folder / digest[:2] / digest


class IncomingFile:
    """A file that is being received."""

    def __init__(self, store: ContentStore, path: Path, stream: BinaryIO, cap_bytes: int) -> None:
        self._store, self._path, self._stream, self._cap_bytes = store, path, stream, cap_bytes
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        """Append bytes; raises ``TooLargeError`` beyond the cap."""
        self.size_bytes += len(chunk)
        if self.size_bytes > self._cap_bytes:
            raise TooLargeError(f"the file is larger than {size(self._cap_bytes)}", hint="limits.upload sets the limit")
        self._digest.update(chunk)
        self._stream.write(chunk)

    def keep(self, *, derived: bool = False) -> str:
        """Store the file and return its digest, entered in the database or noted as used; one once not derived stays so."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        digest = self._digest.hexdigest()
        place = self._store.place(digest)
        place.parent.mkdir(exist_ok=True)
        with self._store.database.writing() as connection:  # before the file is moved: it may be one that is being evicted
            self._path.replace(place)
            connection.execute(
                "INSERT INTO files VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET used = ?3, derived = min(derived, ?4)",
                (digest, self.size_bytes, time.time(), int(derived)),
            )
        return digest
