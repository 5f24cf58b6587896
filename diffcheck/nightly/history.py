"""The history of runs, in SQLite beside the reports: one row for each case and run.

Names and signatures are stored once, so a case takes about 60 bytes for each run. The last ``KEPT`` runs are kept.
"""

from __future__ import annotations

import contextlib
import sqlite3
import statistics
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.cases.case_ids import certain, renamed
from diffcheck.errors import ReportError
from diffcheck.observation import Cost
from diffcheck.text import duration, encodable, size, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from diffcheck.verdict import CaseReport, Report

FILE_NAME: Final = "history.sqlite"
VERSION: Final = 1
KEPT: Final = 400
_BUSY_S: Final = 10.0
_SCHEMA: Final = """
CREATE TABLE runs (id INTEGER PRIMARY KEY, started TEXT NOT NULL, subject TEXT NOT NULL, version TEXT NOT NULL,
  sha256 TEXT NOT NULL, oracle TEXT NOT NULL) STRICT;
CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE cases (run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE, name INTEGER NOT NULL REFERENCES names (id),
  verdict TEXT NOT NULL, signatures INTEGER NOT NULL REFERENCES names (id), plan INTEGER NOT NULL REFERENCES names (id),
  cpu_ns INTEGER NOT NULL, peak_bytes INTEGER NOT NULL, executions INTEGER NOT NULL, elapsed_ns INTEGER NOT NULL,
  PRIMARY KEY (name, run)) STRICT, WITHOUT ROWID;
CREATE INDEX cases_by_run ON cases (run);
"""

_LEAST_RUNS: Final = 5
_WINDOW: Final = 20
_SPREADS: Final = 5.0
_NORMAL: Final = 1.4826  # a median absolute deviation times this is a standard deviation
_LEAST_SHARE: Final = 0.25
_LEAST_NS: Final = 20_000_000
_LEAST_BYTES: Final = 8 << 20


class Night(msgspec.Struct, frozen=True):
    """One case in one run. ``cpu_ns`` is the subject's for each execution; it and ``peak_bytes`` are 0 if the subject came from the
    cache, and ``elapsed_ns`` is then that of the original run.
    """

    run: int
    started: str
    subject: str
    version: str
    sha256: str
    verdict: str
    signatures: tuple[str, ...]
    plan: str
    cpu_ns: int
    peak_bytes: int
    elapsed_ns: int


class Change(msgspec.Struct, frozen=True):
    """A run in which the verdict or the signatures of a case changed; ``before`` is None for its first run."""

    case: str
    before: Night | None
    after: Night


class CostIncrease(msgspec.Struct, frozen=True):
    """A case in which the subject became slower, or uses more memory, beyond its usual variation."""

    case: str
    what: str


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, created if missing; its errors are ``ReportError``."""
    name = visible(str(path))
    process.refuse_links(path)
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    except sqlite3.Error as error:
        raise ReportError(
            f"the history {name} cannot be opened: {visible(str(error))}", hint="check the folder's permissions"
        ) from error
    try:
        with contextlib.closing(connection):
            _prepare(connection, name)
            yield connection
    except sqlite3.Error as error:
        if process.is_full(error, path.parent):
            raise ReportError(f"the history {name} cannot be used: the disk is full", hint="free some space") from error
        hint = "move it away; the next run creates a new one"
        raise ReportError(f"the history {name} cannot be used: {visible(str(error))}", hint=hint) from error


def _prepare(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    with connection:  # commits, or rolls back
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
    if version > VERSION:
        raise ReportError(
            f"the history {name} is of a newer diffcheck (version {version})", hint="use that version, or move the file away"
        )


def add(path: Path, report: Report) -> None:
    """Add a run unless it is there already, since a stored report may be rendered again."""
    with opened(path) as connection, connection:  # commits, or rolls back
        connection.execute("BEGIN IMMEDIATE")
        run = tuple(
            encodable(each) for each in (report.started, report.subject.name, report.subject.version, report.subject.sha256)
        )
        same = connection.execute("SELECT 1 FROM runs WHERE (started, subject, version, sha256) = (?, ?, ?, ?)", run)
        if same.fetchone() is not None:
            return
        _rename(connection, report)
        oracle = encodable(f"{report.oracle.name} {report.oracle.version}")
        number = connection.execute(
            "INSERT INTO runs (started, subject, version, sha256, oracle) VALUES (?, ?, ?, ?, ?)", (*run, oracle)
        ).lastrowid
        rows = [(number, *_row(connection, case)) for case in report.cases]
        connection.executemany("INSERT INTO cases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("DELETE FROM runs WHERE id <= (SELECT max(id) FROM runs) - ?", (KEPT,))


def _rename(connection: sqlite3.Connection, report: Report) -> None:
    """Rename cases of earlier runs to their present ids."""
    named = connection.execute("SELECT name FROM names WHERE EXISTS (SELECT 1 FROM cases WHERE cases.name = names.id)").fetchall()
    names = renamed((name for (name,) in named), (encodable(case.case) for case in report.cases))
    for old, new in certain(names, report.places).items():
        ids = _name(connection, new), _name(connection, old)
        connection.execute("UPDATE OR IGNORE cases SET name = ? WHERE name = ?", ids)


def _name(connection: sqlite3.Connection, name: str) -> int:
    connection.execute("INSERT OR IGNORE INTO names (name) VALUES (?)", (encodable(name),))
    (number,) = connection.execute("SELECT id FROM names WHERE name = ?", (encodable(name),)).fetchone()
    return int(number)


def _row(connection: sqlite3.Connection, case: CaseReport) -> tuple[object, ...]:
    signatures = sorted({one for each in case.passes for one in each.signatures})
    cost = sum((each.subject.cost for each in case.passes if each.subject is not None), Cost())
    ids = (_name(connection, text) for text in (case.case, " ".join(signatures), case.plan))
    name, signature_ids, plan = ids
    if "subject" in case.cached:
        cost = Cost()  # not run this time; the original run is in the history
    cpu = cost.cpu_ns // max(cost.executions, 1)
    return name, case.verdict, signature_ids, plan, cpu, cost.peak_bytes, cost.executions, case.took_ns


_NIGHTS: Final = """
SELECT c.run, r.started, r.subject, r.version, r.sha256, c.verdict, s.name, p.name, c.cpu_ns, c.peak_bytes, c.elapsed_ns, n.name
FROM cases c JOIN runs r ON r.id = c.run JOIN names n ON n.id = c.name JOIN names s ON s.id = c.signatures
JOIN names p ON p.id = c.plan
"""


def nights(path: Path, case: str = "", last: int = KEPT) -> dict[str, list[Night]]:
    """The ``last`` runs of every case, or of one, oldest first."""
    found: dict[str, list[Night]] = {}
    where = "WHERE ? IN ('', n.name) AND c.run > (SELECT max(id) FROM runs) - ? ORDER BY c.run, n.name"
    with opened(path) as connection:
        for *row, name in connection.execute(f"{_NIGHTS}{where}", (encodable(case), last)):
            row[6] = tuple(row[6].split())
            found.setdefault(name, []).append(Night(*row))
    return found


def runs(path: Path) -> int:
    """The number of stored runs."""
    with opened(path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM runs").fetchone()
    return int(count)


def changes(case: str, seen: Sequence[Night]) -> list[Change]:
    """The runs in which the verdict or the signatures changed, and the first run. Skipped runs are ignored."""
    found: list[Change] = []
    before: Night | None = None
    for night in seen:
        if night.verdict == "skipped" and before is not None:
            continue
        if before is None or _state(before) != _state(night):
            found.append(Change(case, before, night))
        before = night
    return found


def _state(night: Night) -> tuple[str, tuple[str, ...]]:
    return night.verdict, night.signatures


def strip(path: Path, subject: str, last: int = 30, until: str = "") -> dict[str, tuple[str, ...]]:
    """The last runs of a subject for every signature, oldest first: the verdict of its case, ``absent`` or ``not run``.

    ``subject`` is the engine's name; ``until`` is the start of the last run to include, empty for all.
    """
    with opened(path) as connection:
        chosen = "SELECT id FROM runs WHERE subject = ? AND (? IN ('', started) OR started < ?) ORDER BY id DESC LIMIT ?"
        numbers = [row[0] for row in connection.execute(chosen, (encodable(subject), until, until, last))][::-1]
        if not numbers:
            return {}
        found = connection.execute(
            "SELECT c.run, c.name, c.verdict, s.name FROM cases c JOIN names s ON s.id = c.signatures JOIN runs r ON r.id = c.run"
            " WHERE c.run BETWEEN ? AND ? AND r.subject = ?",
            (numbers[0], numbers[-1], encodable(subject)),
        ).fetchall()
    ran = {(run, case) for run, case, verdict, _ in found if verdict not in ("skipped", "inconclusive")}
    shown: dict[str, dict[int, str]] = {}
    cases: dict[str, set[int]] = {}
    for run, case, verdict, signatures in found:
        for signature in signatures.split():
            shown.setdefault(signature, {})[run] = verdict
            cases.setdefault(signature, set()).add(case)
    return {
        signature: tuple(
            seen.get(run) or ("absent" if any((run, case) in ran for case in cases[signature]) else "not run") for run in numbers
        )
        for signature, seen in shown.items()
    }


def costlier_now(path: Path) -> list[CostIncrease]:
    """The cases in which the subject of the last run became costlier."""
    return [each for case, seen in nights(path, last=_WINDOW + 1).items() for each in costlier(case, seen)]


def costlier(case: str, seen: Sequence[Night]) -> list[CostIncrease]:
    """Increases of the subject's CPU time or memory in the last run, beyond the variation of earlier runs.

    An increase is more than five standard deviations above the median (by the median absolute deviation of 5 to 20 runs of the same
    plan), at least a quarter of the median, and at least 20 ms or 8 MiB.
    """
    if not seen or seen[-1].verdict in ("skipped", "inconclusive"):
        return []
    now = seen[-1]
    same = [
        each for each in seen[:-1]
        if (each.plan, each.subject) == (now.plan, now.subject) and each.verdict != "skipped"
        and each.cpu_ns  # not from the cache
    ]  # fmt: skip
    found = []
    for name, least, show in (("cpu_ns", _LEAST_NS, lambda ns: duration(ns / 1e9)), ("peak_bytes", _LEAST_BYTES, size)):
        values = [value for each in same if (value := getattr(each, name))][-_WINDOW:]
        if len(values) < _LEAST_RUNS or not getattr(now, name):
            continue
        middle = statistics.median(values)
        spread = statistics.median(abs(value - middle) for value in values) * _NORMAL
        if getattr(now, name) - middle > max(_SPREADS * spread, _LEAST_SHARE * middle, least):
            word = "slower" if name == "cpu_ns" else "more memory"
            found.append(
                CostIncrease(case, f"{word}: {show(getattr(now, name))}, before {show(middle)} (median of {len(values)} runs)")
            )
    return found
