"""The journal of a run: what it is, and each case's report as soon as it is there, so that a run that was stopped can go on.

It is an SQLite file beside the reports: a process that is killed at any moment leaves one that can be read. Once the report is
stored the journal is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.config.input_files import regular_digest
from diffcheck.config.version import __version__
from diffcheck.errors import ConfigError, ReportError
from diffcheck.text import encodable, visible
from diffcheck.verdict import CaseReport, EngineFinding
from diffcheck.witness.formats import manifest_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from diffcheck.cases.discovery import Item
    from diffcheck.observation import Identity
    from diffcheck.runner.request import Request

FILE_NAME: Final = "journal.sqlite"
_SCHEMA: Final = (
    "CREATE TABLE head (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
    "CREATE TABLE cases (name TEXT PRIMARY KEY, source BLOB NOT NULL, report BLOB) STRICT",
)
_DIGEST_BYTES: Final = hashlib.sha256().digest_size
_ANEW: Final = "run without --resume to begin anew"
_FREE: Final = frozenset(
    {"jobs", "verbose", "options", "journal", "resume", "cache", "cache_bytes", "keys", "builds", "times_ns", "cluster"}
)
"""What of a request may be another one when a run goes on: it changes no verdict. Engines are compared by their binaries."""

_encode = msgspec.msgpack.Encoder().encode


class Head(msgspec.Struct, frozen=True):
    """What a run is: it goes on only as the same. ``request`` has the options by name; engines are told
    by name, version and digest.
    """

    version: str
    started: str
    subject: tuple[str, ...]
    oracle: tuple[str, ...]
    request: dict[str, str]


def head(request: Request, started: str, subject: Identity, oracle: Identity) -> Head:
    """The head of a run that begins now."""
    options = {name: repr(value) for name, value in msgspec.to_builtins(request).items() if name not in _FREE}
    one, other = ((each.name, each.version, each.sha256) for each in (subject, oracle))
    return Head(__version__, started, one, other, options)


class Journal:
    """An open journal. ``resumed`` has the names of the cases that were done when it was opened; ``started`` when the run began."""

    def __init__(self, path: Path, connection: sqlite3.Connection, started: str, resumed: tuple[str, ...]) -> None:
        self._path, self._connection = path, connection
        self.started, self.resumed = started, resumed

    def add(self, report: CaseReport) -> None:
        """Note that a case is done."""
        with _told(self._path):
            name = encodable(report.case)
            self._connection.execute("UPDATE cases SET report = ? WHERE name = ?", (_checked(name, _encode(report)), name))

    def probed(self, findings: tuple[EngineFinding, ...]) -> None:
        """Note what the probes found."""
        with _told(self._path):
            row = (_checked("probed", _encode(findings)),)
            self._connection.execute("INSERT OR REPLACE INTO head VALUES ('probed', ?)", row)

    def findings(self) -> tuple[EngineFinding, ...] | None:
        """What the probes found, None where they were not done."""
        row = self._connection.execute("SELECT value FROM head WHERE name = 'probed'").fetchone()
        data = _content("probed", row[0]) if row else None
        return None if data is None else msgspec.msgpack.decode(data, type=tuple[EngineFinding, ...])

    def reports(self) -> Iterator[CaseReport]:
        """The reports of the cases that were done when it was opened, one at a time."""
        for name in self.resumed:
            with _told(self._path):
                (data,) = self._connection.execute("SELECT report FROM cases WHERE name = ?", (encodable(name),)).fetchone()
                report = msgspec.msgpack.decode(_content(encodable(name), data) or b"", type=CaseReport)
            yield report

    def close(self) -> None:
        """Let go of the file; it stays."""
        self._connection.close()


def begin(path: Path, own: Head, items: Sequence[Item]) -> Journal:
    """A new journal in the place of any that is there."""
    remove(path)
    with _told(path), contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(_opened(path)))
        with connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO head VALUES ('head', ?)", (_encode(own),))
            connection.executemany("INSERT INTO cases VALUES (?, ?, NULL)", ((encodable(item.id), source(item)) for item in items))
        stack.pop_all()
    return Journal(path, connection, own.started, ())


def resume(path: Path, own: Head, items: Sequence[Item]) -> Journal | None:
    """The journal of a run that was stopped; None where there is none. Raises ``ConfigError`` where it was another run."""
    if not path.exists():
        return None
    with _told(path), contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(_opened(path)))
        try:
            row = connection.execute("SELECT value FROM head WHERE name = 'head'").fetchone()
        except sqlite3.OperationalError:  # it was stopped before its journal had anything in it
            row = None
        if row is None:
            return None
        stored = msgspec.msgpack.decode(row[0], type=Head)
        _same(stored, own)
        _same_cases(connection, items)
        rows = connection.execute("SELECT name, report FROM cases WHERE report IS NOT NULL")
        done = {name for name, data in rows if _content(name, data) is not None}  # a damaged one is run again
        stack.pop_all()
    return Journal(path, connection, stored.started, tuple(item.id for item in items if encodable(item.id) in done))


def unfinished(path: Path) -> tuple[int, int]:
    """How many cases a stopped run's journal has done, and of how many; (0, 0) where there is none that can be read."""
    if not path.exists():
        return 0, 0
    try:
        with contextlib.closing(_opened(path)) as connection:
            done, total = connection.execute("SELECT count(report), count(*) FROM cases").fetchone()
    except sqlite3.Error:
        return 0, 0
    return int(done), int(total)


def remove(path: Path) -> None:
    """Remove a journal, and what SQLite keeps beside it."""
    for name in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        with contextlib.suppress(FileNotFoundError):
            name.unlink()


def source(item: Item) -> bytes:
    """A digest of all that a case is made of: the artifact, its case file, its manifest; unreadable ones are told apart."""
    digest = hashlib.sha256(item.artifact.encode(errors="surrogateescape"))
    for path in (item.artifact, item.case_file, str(manifest_path(Path(item.artifact)))):
        try:
            content = regular_digest(path) if path and Path(path).exists() else b""
        except (OSError, ValueError):
            content = b"unreadable"
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()


def _checked(name: str, data: bytes) -> bytes:
    """An entry as it is stored: a digest of its name and its content, and the content."""
    return hashlib.sha256(hashlib.sha256(name.encode()).digest() + data).digest() + data


def _content(name: str, stored: bytes) -> bytes | None:
    """The content of an entry, None where its digest is not its own."""
    data = stored[_DIGEST_BYTES:]
    return data if _checked(name, data) == stored else None


def _same(stored: Head, own: Head) -> None:
    if stored.version != own.version:
        raise ConfigError(f"the stopped run was of diffcheck {stored.version}, this is {own.version}", hint=_ANEW)
    for role in ("subject", "oracle"):
        before, now = getattr(stored, role), getattr(own, role)
        if before != now:
            one, other = (visible(f"{name} {version} ({sha256[:12]})", 120) for name, version, sha256 in (before, now))
            raise ConfigError(f"the stopped run's {role} was {one}, this one's is {other}", hint=_ANEW)
    for name in sorted(stored.request.keys() | own.request.keys()):
        before, now = stored.request.get(name), own.request.get(name)
        if before != now:
            words = f"{visible(name, 40)} was {visible(before or 'not there', 80)} and is {visible(now or 'not there', 80)}"
            raise ConfigError(f"the stopped run was another one: {words}", hint=f"give the same options and paths, or {_ANEW}")


def _same_cases(connection: sqlite3.Connection, items: Sequence[Item]) -> None:
    stored = dict(connection.execute("SELECT name, source FROM cases"))
    own = {encodable(item.id): source(item) for item in items}
    for name in sorted(stored.keys() | own.keys()):
        if stored.get(name) != own.get(name):
            how = "is new" if name not in stored else "is gone" if name not in own else "has changed"
            raise ConfigError(f"the case {visible(name, 80)} {how} since the run was stopped", hint=_ANEW)


def _opened(path: Path) -> sqlite3.Connection:
    process.refuse_links(path)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong with the file is an error with its reason."""
    name = visible(str(path))
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        full = process.is_full(error, path.parent)
        reason, hint = ("the disk is full", "free some space") if full else (visible(str(error)), "remove it")
        raise ReportError(f"the journal {name} cannot be used: {reason}", hint=hint) from error
    except msgspec.MsgspecError as error:
        raise ReportError(f"the journal {name} is damaged: {visible(str(error))}", hint=f"remove it, or {_ANEW}") from error
