"""The database: SQLite with a write-ahead log, its schema, and copies of it while it is in use."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final

from diffcheck import process
from diffcheck.errors import ReportError
from diffcheck.text import visible

FILE_NAME: Final = "service.sqlite"
_BUSY_S: Final = 30.0
_IDLE: Final = 16
_SCHEMA: Final = files("diffcheck.service") / "schema"
_VERSIONS: Final = ("1.sql",)
"""Scripts, each applied once, in order. ``PRAGMA user_version`` is the number of those applied."""


class Database:
    """The database of a data folder, for one process with any number of threads."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._idle: list[sqlite3.Connection] = []

    def prepare(self) -> None:
        """Create the database, or bring it to this version; raises ``ReportError`` if it is damaged or of a newer version."""
        try:
            with self._connection() as connection:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version > len(_VERSIONS):
                    raise ReportError(f"{visible(str(self.path))} is of a newer diffcheck", hint="use that version")
                for number, name in enumerate(_VERSIONS[version:], version + 1):
                    script = (_SCHEMA / name).read_text("utf-8")
                    connection.executescript(f"BEGIN IMMEDIATE;\n{script}PRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error as error:
            full = process.is_full(error, self.path.parent)
            hint = "free some space" if full else "restore the last copy that `diffcheck serve backup` made"
            raise ReportError(f"{visible(str(self.path))} cannot be used: {visible(str(error))}", hint=hint) from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection with one view of the database."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.rollback()

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed as a whole, or not at all if an exception leaves the block."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.commit()
            finally:
                connection.rollback()

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """The rows of a query that needs no other with it."""
        with self.reading() as connection:
            return connection.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row of a query, None if it has none."""
        return next(iter(self.rows(query, *values)), None)

    def change(self, statement: str, *values: object) -> None:
        """Execute one statement as a transaction."""
        with self.writing() as connection:
            connection.execute(statement, values)

    def backup(self, target: Path) -> None:
        """Copy the database to a new file while others write to it; raises ``ReportError``."""
        process.refuse_links(target)
        if target.exists():
            raise ReportError(f"{visible(str(target))} exists", hint="give a new name")
        try:
            with self._connection() as connection, contextlib.closing(sqlite3.connect(target)) as copy:
                connection.backup(copy)
        except sqlite3.Error as error:
            target.unlink(missing_ok=True)  # a part of a copy is not one
            raise ReportError(f"{visible(str(target))} cannot be written: {error}") from error

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._open()
        usable = True
        try:
            yield connection
        except sqlite3.DatabaseError:
            usable = False
            raise
        finally:
            if usable and len(self._idle) < _IDLE:  # threads at the same time may exceed it by some
                self._idle.append(connection)
            else:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -16384"):
            connection.execute(f"PRAGMA {pragma}")
        return connection


def insert(connection: sqlite3.Connection, table: str, **values: object) -> int:
    """Add a row and return its number. ``table`` and the columns are constants of the caller."""
    marks = ", ".join("?" * len(values))
    added = connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))  # noqa: S608
    return added.lastrowid or 0
