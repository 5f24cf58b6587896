"""The journal of a run: its options and the report of each completed case, so that an interrupted run can be resumed.

It is an SQLite file beside the reports, readable even if the process is killed. It is removed when the report is stored.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.cases import scripts
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
_ANEW: Final = "run without --resume to start again"
_FREE: Final = frozenset(
    {"jobs", "verbose", "options", "journal", "resume", "cache", "cache_bytes", "keys", "builds", "times_ns", "cluster"}
)
"""Options of a request that may change when a run is resumed, since they change no verdict. Engines are compared by binary."""

_encode = msgspec.msgpack.Encoder().encode


class RunIdentity(msgspec.Struct, frozen=True):
    """What identifies a run: it can only be resumed as the same. ``request`` has the options by name; engines are identified by
    name, version and digest.
    """

    version: str
    started: str
    subject: tuple[str, ...]
    oracle: tuple[str, ...]
    request: dict[str, str]


def run_identity(request: Request, started: str, subject: Identity, oracle: Identity) -> RunIdentity:
    """The identity of a new run."""
    options = {name: repr(value) for name, value in msgspec.to_builtins(request).items() if name not in _FREE}
    one, other = ((each.name, each.version, each.sha256) for each in (subject, oracle))
    return RunIdentity(__version__, started, one, other, options)


class Journal:
    """An open journal. ``resumed`` are the cases completed before it was opened, ``started`` is when the run first started."""

    def __init__(self, path: Path, connection: sqlite3.Connection, started: str, resumed: tuple[str, ...]) -> None:
        self._path, self._connection = path, connection
        self.started, self.resumed = started, resumed

    def add(self, report: CaseReport) -> None:
        """Store the report of a case."""
        with _file_errors(self._path):
            name = encodable(report.case)
            self._connection.execute("UPDATE cases SET report = ? WHERE name = ?", (_checked(name, _encode(report)), name))

    def probed(self, findings: tuple[EngineFinding, ...]) -> None:
        """Store the engine issues that the probes found."""
        with _file_errors(self._path):
            row = (_checked("probed", _encode(findings)),)
            self._connection.execute("INSERT OR REPLACE INTO head VALUES ('probed', ?)", row)

    def findings(self) -> tuple[EngineFinding, ...] | None:
        """The engine issues that the probes found; None if they were not run."""
        row = self._connection.execute("SELECT value FROM head WHERE name = 'probed'").fetchone()
        data = _content("probed", row[0]) if row else None
        return None if data is None else msgspec.msgpack.decode(data, type=tuple[EngineFinding, ...])

    def reports(self) -> Iterator[CaseReport]:
        """The reports of the cases in ``resumed``, one at a time."""
        for name in self.resumed:
            with _file_errors(self._path):
                (data,) = self._connection.execute("SELECT report FROM cases WHERE name = ?", (encodable(name),)).fetchone()
                report = msgspec.msgpack.decode(_content(encodable(name), data) or b"", type=CaseReport)
            yield report

    def close(self) -> None:
        """Close the file, which stays."""
        self._connection.close()


def begin(path: Path, own: RunIdentity, items: Sequence[Item]) -> Journal:
    """A new journal, replacing any old one."""
    remove(path)
    with _file_errors(path), contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(_opened(path)))
        with connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO head VALUES ('head', ?)", (_encode(own),))
            connection.executemany("INSERT INTO cases VALUES (?, ?, NULL)", ((encodable(item.id), source(item)) for item in items))
        stack.pop_all()
    return Journal(path, connection, own.started, ())


def resume(path: Path, own: RunIdentity, items: Sequence[Item]) -> Journal | None:
    """The journal of an interrupted run; None if there is none. Raises ``ConfigError`` if it is of another run."""
    if not path.exists():
        return None
    with _file_errors(path), contextlib.ExitStack() as stack:
        connection = stack.enter_context(contextlib.closing(_opened(path)))
        try:
            row = connection.execute("SELECT value FROM head WHERE name = 'head'").fetchone()
        except sqlite3.OperationalError:  # interrupted before anything was stored
            row = None
        if row is None:
            return None
        stored = msgspec.msgpack.decode(row[0], type=RunIdentity)
        _same(stored, own)
        _same_cases(connection, items)
        rows = connection.execute("SELECT name, report FROM cases WHERE report IS NOT NULL")
        done = {name for name, data in rows if _content(name, data) is not None}  # a damaged entry is run again
        stack.pop_all()
    return Journal(path, connection, stored.started, tuple(item.id for item in items if encodable(item.id) in done))


def unfinished(path: Path) -> tuple[int, int]:
    """The numbers of completed cases and of all cases of an interrupted run; (0, 0) without a readable journal."""
    if not path.exists():
        return 0, 0
    try:
        with contextlib.closing(_opened(path)) as connection:
            done, total = connection.execute("SELECT count(report), count(*) FROM cases").fetchone()
    except sqlite3.Error:
        return 0, 0
    return int(done), int(total)


def case_names(path: Path) -> tuple[str, ...]:
    """The cases of an interrupted run, sorted; none if there is no journal that can be read."""
    if not path.exists():
        return ()
    try:
        with contextlib.closing(_opened(path)) as connection:
            return tuple(sorted(name for (name,) in connection.execute("SELECT name FROM cases")))
    except sqlite3.Error:
        return ()


def remove(path: Path) -> None:
    """Remove a journal and the files that SQLite has beside it."""
    for name in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        with contextlib.suppress(FileNotFoundError):
            name.unlink()


def source(item: Item) -> bytes:
    """A digest of a case's artifact, case file and manifest; an unreadable file differs from a missing one."""
    digest = hashlib.sha256(item.artifact.encode(errors="surrogateescape"))
    for path in (scripts.split(item.artifact)[0], item.case_file, str(manifest_path(Path(item.artifact)))):
        try:
            content = regular_digest(path) if path and Path(path).exists() else b""
        except (OSError, ValueError):
            content = b"unreadable"
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()


def _checked(name: str, data: bytes) -> bytes:
    """A stored entry: a digest of its name and content, then the content."""
    return hashlib.sha256(hashlib.sha256(name.encode()).digest() + data).digest() + data


def _content(name: str, stored: bytes) -> bytes | None:
    """The content of a stored entry; None if it is damaged."""
    data = stored[_DIGEST_BYTES:]
    return data if _checked(name, data) == stored else None


def _words(value: str | None) -> str:
    """An option's value, of which the head has the literal."""
    try:
        given = ast.literal_eval(value or "()")
    except (ValueError, SyntaxError):
        return value or ""
    return (", ".join(map(str, given)) if isinstance(given, tuple | list) else str(given)) or "not given"


def _same(stored: RunIdentity, own: RunIdentity) -> None:
    if stored.version != own.version:
        raise ConfigError(f"the interrupted run used diffcheck {stored.version}, this is {own.version}", hint=_ANEW)
    for role in ("subject", "oracle"):
        before, now = getattr(stored, role), getattr(own, role)
        if before != now:
            one, other = (visible(f"{name} {version} ({sha256[:12]})", 120) for name, version, sha256 in (before, now))
            raise ConfigError(f"the {role} of the interrupted run was {one}, now it is {other}", hint=_ANEW)
    for name in sorted(stored.request.keys() | own.request.keys()):
        before, now = stored.request.get(name), own.request.get(name)
        if before != now:
            words = f"{visible(name, 40)} was {visible(_words(before), 80)}, now it is {visible(_words(now), 80)}"
            raise ConfigError(f"the interrupted run had other options: {words}", hint=f"use the same options and paths, or {_ANEW}")


def _same_cases(connection: sqlite3.Connection, items: Sequence[Item]) -> None:
    stored = dict(connection.execute("SELECT name, source FROM cases"))
    own = {encodable(item.id): source(item) for item in items}
    for name in sorted(stored.keys() | own.keys()):
        if stored.get(name) != own.get(name):
            how = "was added" if name not in stored else "was removed" if name not in own else "has changed"
            raise ConfigError(f"the case {visible(name, 80)} {how} since the run was interrupted", hint=_ANEW)


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
def _file_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file into ``ReportError`` with the reason."""
    name = visible(str(path))
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        full = process.is_full(error, path.parent)
        reason, hint = ("the disk is full", "free some space") if full else (visible(str(error)), "remove it")
        raise ReportError(f"the journal {name} cannot be used: {reason}", hint=hint) from error
    except msgspec.MsgspecError as error:
        raise ReportError(f"the journal {name} is damaged: {visible(str(error))}", hint=f"remove it, or {_ANEW}") from error
