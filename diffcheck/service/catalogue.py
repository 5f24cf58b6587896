"""What the API and the pages show: lists with cursors, and single entries. All strings are as stored; each output escapes them."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

import msgspec

from diffcheck.errors import DiffcheckError
from diffcheck.service.jobs import job_queue
from diffcheck.service.jobs.job_queue import Job
from diffcheck.service.results import Detail, Night

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

FindingState = Literal["new", "known", "fixed", "returned"]
T = TypeVar("T")
PAGE: Final = 50


class NotFoundError(DiffcheckError):
    """There is no such entry."""


class CursorError(DiffcheckError):
    """A cursor that this service did not make."""


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list; ``next`` is the cursor of the following part, None at the end."""

    items: tuple[T, ...]
    next: str | None = None


class Run(msgspec.Struct, frozen=True):
    """A report that was entered. ``build`` is the subject's version; ``totals`` are cases by verdict."""

    id: int
    job: int
    part: str
    suite: str
    subject: str
    version: str
    sha256: str
    oracle: str
    started: str
    elapsed_ns: int
    cases: int
    totals: dict[str, int]
    exit_code: int
    conclusion: str

    @property
    def build(self) -> str:
        """The name of the subject's build."""
        return self.version or self.sha256[:12] or self.subject


class Case(msgspec.Struct, frozen=True):
    """A case with its last verdict and its last runs, oldest first."""

    id: int
    suite: str
    name: str
    verdict: str
    reason: str
    nights: tuple[Night, ...]


class CaseResult(msgspec.Struct, frozen=True):
    """A case in one run."""

    run: int
    started: str
    build: str
    verdict: str
    reason: str
    elapsed_ns: int


class Finding(msgspec.Struct, frozen=True):
    """A cause with its life. ``changed`` is in seconds since 1970, UTC."""

    id: int
    subject: str
    cause: str
    title: str
    state: FindingState
    issue: str
    note: str
    first_build: str
    last_build: str
    fixed_build: str
    first_run: int
    last_run: int
    changed: float


_FINDING: Final = ", ".join(Finding.__struct_fields__)


class Occurrence(msgspec.Struct, frozen=True):
    """A finding in one run: *seen*, *new*, *returned* or *fixed*."""

    run: int
    started: str
    build: str
    state: str
    cases: int


class FindingDetail(msgspec.Struct, frozen=True):
    """A finding with its last occurrence, its files by name, and its history, latest first."""

    finding: Finding
    detail: Detail | None
    attachments: dict[str, str]
    history: tuple[Occurrence, ...]


class Build(msgspec.Struct, frozen=True):
    """A build from the watched folder; ``gate`` is the job that compared it with the last one."""

    id: int
    sha256: str
    name: str
    version: str
    revision: str
    arrived: float
    state: str
    reason: str
    gate: int | None


class Subject(msgspec.Struct, frozen=True):
    """An engine's build that was run: watched, or named in the configuration. ``run`` is its last run."""

    sha256: str
    subject: str
    version: str
    runs: int
    run: int


class Comparison(msgspec.Struct, frozen=True):
    """Two builds by the findings of their runs."""

    only_first: tuple[Finding, ...]
    only_second: tuple[Finding, ...]
    both: tuple[Finding, ...]


class Cell(msgspec.Struct, frozen=True):
    """A cell of the map: an instruction with a class of operands."""

    family: str
    instruction: str
    operands: str
    outcome: str
    checks: int
    detail: str


def cursor_of(*key: object) -> str:
    """The cursor after the entry with a key."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def _key(cursor: str | None, types: type[tuple[Any, ...]], start: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key in a cursor, ``start`` for none; raises ``CursorError``."""
    if not cursor:
        return start
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        key: tuple[Any, ...] = msgspec.json.decode(data, type=types)
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CursorError("the cursor is not one of this service", hint="use the value of next") from error
    return key


def _listing(rows: Sequence[Any], make: Callable[[Any], T], key: Callable[[Any], tuple[object, ...]], limit: int) -> Listing[T]:
    """The first ``limit`` rows; one row more means that there is a next part."""
    shown = rows[:limit]
    return Listing(tuple(make(row) for row in shown), cursor_of(*key(shown[-1])) if len(rows) > limit else None)


def _struct(kind: type[T], row: sqlite3.Row) -> T:
    """The struct of a row that has its fields as columns; JSON texts are decoded."""
    names = kind.__struct_fields__  # type: ignore[attr-defined]
    return kind(**{name: row[name] for name in names})


def entries(
    connection: sqlite3.Connection, kind: type[T], table: Literal["audit", "builds"], cursor: str | None, limit: int
) -> Listing[T]:
    """The rows of a table with numbered entries, the latest first."""
    (before,) = _key(cursor, tuple[int], (1 << 62,))
    query = f"SELECT * FROM {table} WHERE id < ? ORDER BY id DESC LIMIT ?"  # noqa: S608 - a constant
    rows = connection.execute(query, (before, limit + 1)).fetchall()
    return _listing(rows, lambda row: _struct(kind, row), lambda row: (row["id"],), limit)


def _where(conditions: dict[str, object]) -> tuple[str, tuple[object, ...]]:
    """The conditions that have values, as SQL and its values. Only given ones are put in, so that SQLite uses its indices."""
    given = {text: value for text, value in conditions.items() if value is not None}
    values = tuple(one for value in given.values() for one in (value if isinstance(value, tuple) else (value,)))
    return " AND ".join(given) or "1", values


def jobs(connection: sqlite3.Connection, state: str, cursor: str | None, limit: int) -> Listing[Job]:
    """Jobs, the latest first."""
    (before,) = _key(cursor, tuple[int], (1 << 62,))
    where, values = _where({"state = ?": state or None, "id < ?": before})
    query = f"SELECT {job_queue.COLUMNS} FROM jobs WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - constants
    rows = connection.execute(query, (*values, limit + 1)).fetchall()
    return _listing(rows, job_queue.job_of, lambda row: (row["id"],), limit)


def waiting(connection: sqlite3.Connection) -> tuple[Job, ...]:
    """The jobs that run, and the next ones."""
    query = (
        f"SELECT {job_queue.COLUMNS} FROM jobs WHERE state IN ('running', 'queued') "  # noqa: S608 - constants
        "ORDER BY state DESC, priority DESC, id LIMIT 10"
    )
    return tuple(job_queue.job_of(row) for row in connection.execute(query))


def job(connection: sqlite3.Connection, number: int) -> Job:
    """A job; raises ``NotFoundError``."""
    row = connection.execute(f"SELECT {job_queue.COLUMNS} FROM jobs WHERE id = ?", (number,)).fetchone()  # noqa: S608 - constants
    return job_queue.job_of(_found(row, "job"))


def _run(row: sqlite3.Row) -> Run:
    fields = {name: row[name] for name in Run.__struct_fields__}
    return Run(**{**fields, "totals": msgspec.json.decode(row["totals"])})


def runs(
    connection: sqlite3.Connection, suite: str, cursor: str | None, limit: int, *, job_number: int | None = None
) -> Listing[Run]:  # fmt: skip
    """Runs, the latest first: of a suite, of a job, or all."""
    (before,) = _key(cursor, tuple[int], (1 << 62,))
    where, values = _where({"suite = ?": suite or None, "job = ?": job_number, "id < ?": before})
    query = f"SELECT * FROM runs WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - constants
    rows = connection.execute(query, (*values, limit + 1)).fetchall()
    return _listing(rows, _run, lambda row: (row["id"],), limit)


def run(connection: sqlite3.Connection, number: int) -> Run:
    """A run; raises ``NotFoundError``."""
    return _run(_found(connection.execute("SELECT * FROM runs WHERE id = ?", (number,)).fetchone(), "run"))


def report_digest(connection: sqlite3.Connection, number: int) -> str:
    """The digest of a run's ``report.json``; raises ``NotFoundError``."""
    row = _found(connection.execute("SELECT report FROM runs WHERE id = ?", (number,)).fetchone(), "run")
    return str(row["report"])


def suites(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The suites that have cases, corpora first."""
    rows = connection.execute(
        "SELECT suite, max(id) AS last FROM runs GROUP BY suite ORDER BY suite LIKE 'upload-%', last DESC LIMIT 200"
    )
    return tuple(row["suite"] for row in rows)


def _case(row: sqlite3.Row) -> Case:
    nights = msgspec.json.decode(row["nights"], type=tuple[Night, ...])
    return Case(row["id"], row["suite"], row["name"], row["verdict"], row["reason"], nights)


def cases(
    connection: sqlite3.Connection, suite: str, verdict: str, search: str, cursor: str | None, limit: int
) -> Listing[Case]:  # fmt: skip
    """The cases of a suite, those that diverge first; ``search`` is a part of the name."""
    rank, name = _key(cursor, tuple[int, str], (1 << 30, ""))
    where, values = _where({
        "suite = ?": suite, "verdict = ?": verdict or None, "instr(name, ?)": search or None,
        "rank <= ? AND (rank < ? OR name > ?)": (rank, rank, name),
    })  # fmt: skip
    query = f"SELECT * FROM cases WHERE {where} ORDER BY rank DESC, name LIMIT ?"  # noqa: S608 - constants
    rows = connection.execute(query, (*values, limit + 1)).fetchall()
    return _listing(rows, _case, lambda row: (row["rank"], row["name"]), limit)


def case(connection: sqlite3.Connection, number: int) -> Case:
    """A case; raises ``NotFoundError``."""
    return _case(_found(connection.execute("SELECT * FROM cases WHERE id = ?", (number,)).fetchone(), "case"))


def case_history(connection: sqlite3.Connection, number: int, cursor: str | None, limit: int) -> Listing[CaseResult]:
    """The results of a case, latest first."""
    (before,) = _key(cursor, tuple[int], (1 << 62,))
    query = (
        "SELECT c.run, r.started, coalesce(nullif(r.version, ''), substr(r.sha256, 1, 12)) AS build, "
        "c.verdict, c.reason, c.elapsed_ns "
        "FROM results c JOIN runs r ON r.id = c.run WHERE c.case_id = ? AND c.run < ? ORDER BY c.run DESC LIMIT ?"
    )
    rows = connection.execute(query, (number, before, limit + 1)).fetchall()
    return _listing(rows, lambda row: _struct(CaseResult, row), lambda row: (row["run"],), limit)


def findings(
    connection: sqlite3.Connection, state: str, subject: str, search: str, cursor: str | None, limit: int
) -> Listing[Finding]:  # fmt: skip
    """Findings, the latest change first; ``search`` is a part of the title or the issue."""
    changed, number = _key(cursor, tuple[float, int], (1e18, 1 << 62))
    where, values = _where({
        "merged IS NULL AND (changed, id) < (?, ?)": (changed, number), "state = ?": state or None, "subject = ?": subject or None,
        "(instr(lower(title), lower(?)) OR instr(lower(issue), lower(?)))": (search, search) if search else None,
    })  # fmt: skip
    query = f"SELECT {_FINDING} FROM findings WHERE {where} ORDER BY changed DESC, id DESC LIMIT ?"  # noqa: S608 - constants
    rows = connection.execute(query, (*values, limit + 1)).fetchall()
    return _listing(rows, lambda row: _struct(Finding, row), lambda row: (row["changed"], row["id"]), limit)


def finding(connection: sqlite3.Connection, number: int) -> FindingDetail:
    """A finding, or the one that it was merged into; raises ``NotFoundError``."""
    row = _found(connection.execute("SELECT * FROM findings WHERE id = ?", (number,)).fetchone(), "finding")
    if row["merged"] is not None:
        return finding(connection, row["merged"])
    history = connection.execute(
        "SELECT o.run, r.started, coalesce(nullif(r.version, ''), substr(r.sha256, 1, 12)) AS build, o.state, o.cases "
        "FROM occurrences o JOIN runs r ON r.id = o.run WHERE o.finding = ? ORDER BY o.run DESC LIMIT 60",
        (number,),
    )
    files = connection.execute("SELECT name, sha256 FROM attachments WHERE finding = ? ORDER BY name", (number,))
    detail = msgspec.json.decode(row["detail"], type=Detail) if row["detail"] != "{}" else None
    return FindingDetail(
        _struct(Finding, row),
        detail,
        {each["name"]: each["sha256"] for each in files},
        tuple(_struct(Occurrence, each) for each in history),
    )


def run_findings(connection: sqlite3.Connection, number: int) -> tuple[Finding, ...]:
    """The findings of a run, those that are not known first."""
    rows = connection.execute(
        "SELECT f.* FROM occurrences o JOIN findings f ON f.id = o.finding WHERE o.run = ? "
        "ORDER BY f.state = 'known', f.id LIMIT 200",
        (number,),
    )
    return tuple(_struct(Finding, row) for row in rows)


def counts(connection: sqlite3.Connection, table: Literal["jobs", "findings"]) -> dict[str, int]:
    """The number of jobs or findings by state."""
    where = "WHERE merged IS NULL" if table == "findings" else ""
    rows = connection.execute(f"SELECT state, count(*) AS number FROM {table} {where} GROUP BY state")  # noqa: S608 - constants
    return {row["state"]: row["number"] for row in rows}


def builds(connection: sqlite3.Connection, cursor: str | None, limit: int) -> Listing[Build]:
    """Builds from the watched folder, the latest first."""
    return entries(connection, Build, "builds", cursor, limit)


def subjects(connection: sqlite3.Connection) -> tuple[Subject, ...]:
    """The builds that were run, the latest first."""
    rows = connection.execute(
        "SELECT sha256, subject, max(version) AS version, count(*) AS runs, max(id) AS run FROM runs GROUP BY sha256, subject "
        "ORDER BY run DESC LIMIT 100"
    )
    return tuple(_struct(Subject, row) for row in rows)


def compare(connection: sqlite3.Connection, first: str, second: str) -> Comparison:
    """The findings of two builds, by the digests of their programs: in the last run of each part and suite that both have."""
    seen = [
        {row["finding"] for row in connection.execute(
            "SELECT DISTINCT o.finding FROM occurrences o JOIN runs r ON r.id = o.run WHERE r.sha256 = ? AND o.state != 'fixed' "
            "AND r.id IN (SELECT max(id) FROM runs WHERE sha256 = ? "
            "AND suite IN (SELECT suite FROM runs WHERE sha256 = ?) GROUP BY suite)",
            (one, one, other),
        )}
        for one, other in ((first, second), (second, first))
    ]  # fmt: skip
    groups = (seen[0] - seen[1], seen[1] - seen[0], seen[0] & seen[1])
    return Comparison(*(_named(connection, group) for group in groups))


def _named(connection: sqlite3.Connection, numbers: set[int]) -> tuple[Finding, ...]:
    rows = connection.execute(
        "SELECT * FROM findings WHERE id IN (SELECT value FROM json_each(?)) AND merged IS NULL ORDER BY id LIMIT 500",
        (msgspec.json.encode(sorted(numbers)).decode(),),
    )
    return tuple(_struct(Finding, row) for row in rows)


def families(connection: sqlite3.Connection, subject: str) -> dict[str, dict[str, int]]:
    """The number of cells by outcome, for each family of the map."""
    rows = connection.execute(
        "SELECT family, outcome, count(*) AS number FROM cells WHERE subject = ? GROUP BY family, outcome ORDER BY family",
        (subject,),
    )
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["family"], {})[row["outcome"]] = row["number"]
    return found


def swept(connection: sqlite3.Connection) -> tuple[str, ...]:
    """The subjects that have a map."""
    return tuple(row["subject"] for row in connection.execute("SELECT DISTINCT subject FROM cells ORDER BY subject"))


def cells(connection: sqlite3.Connection, subject: str, family: str, cursor: str | None, limit: int) -> Listing[Cell]:
    """The cells of a family of the map."""
    instruction, operands = _key(cursor, tuple[str, str], ("", ""))
    rows = connection.execute(
        "SELECT family, instruction, class AS operands, outcome, checks, detail FROM cells WHERE subject = ? AND family = ? "
        "AND (instruction, class) > (?, ?) ORDER BY instruction, class LIMIT ?",
        (subject, family, instruction, operands, limit + 1),
    ).fetchall()
    return _listing(rows, lambda row: _struct(Cell, row), lambda row: (row["instruction"], row["operands"]), limit)


def _found(row: sqlite3.Row | None, what: str) -> sqlite3.Row:
    if row is None:
        raise NotFoundError(f"there is no such {what}")
    return row
