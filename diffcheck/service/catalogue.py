"""What the API and the pages show: lists with cursors, and single entries. All strings are as stored; each output escapes them.

Functions with annotated parameters are the API's operations too. An entry that does not exist raises ``NotFoundError``.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from sqlite3 import Connection, Row
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec
from litestar.params import PathParameter, QueryParameter

from diffcheck.errors import DiffcheckError
from diffcheck.service.jobs.job_queue import Job, State
from diffcheck.service.results import GridResult, LastOccurrence
from diffcheck.verdict import Verdict

FindingState = Literal["new", "known", "fixed", "returned"]
T = TypeVar("T", bound=msgspec.Struct)
PAGE: Final = 50
Number = Annotated[int, PathParameter(ge=1, le=1 << 53)]
Cursor = Annotated[str | None, QueryParameter(name="cursor", max_length=2000, description="`next` of the previous page.")]
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=200)]
Name = Annotated[str, QueryParameter(max_length=200)]
Search = Annotated[str, QueryParameter(name="q", max_length=200)]
Digest = Annotated[str, QueryParameter(pattern=r"^[0-9a-f]{64}$")]


class NotFoundError(DiffcheckError):
    """There is no such entry."""


class CursorError(NotFoundError):
    """A cursor that this service did not create."""


class Listing(msgspec.Struct, Generic[T], frozen=True):
    """A part of a list; ``next`` is the cursor of the following part, None at the end."""

    items: tuple[T, ...]
    next: str | None = None


class RunEntry(msgspec.Struct, frozen=True):
    """A report that was entered. ``build`` is the subject's version; ``totals`` are cases by verdict, ``report`` is a digest."""

    id: int
    job: int
    part: str
    suite: str
    subject: str
    version: str
    sha256: str
    build: str
    oracle: str
    started: str
    elapsed_ns: int
    cases: int
    totals: dict[str, int]
    exit_code: int
    conclusion: str
    report: str


class CaseEntry(msgspec.Struct, frozen=True):
    """A case with its last verdict and its last runs, oldest first."""

    id: int
    suite: str
    name: str
    verdict: str
    reason: str
    nights: tuple[GridResult, ...]


class _InRun(msgspec.Struct, frozen=True):
    """What is of one run."""

    run: int
    started: str
    build: str


class CaseResult(_InRun, frozen=True):
    """A case in one run."""

    verdict: str
    reason: str
    elapsed_ns: int


class FindingEntry(msgspec.Struct, frozen=True):
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


class OccurrenceEntry(_InRun, frozen=True):
    """A finding in one run: *seen*, *new*, *returned* or *fixed*."""

    state: str
    cases: int


class FindingDetail(msgspec.Struct, frozen=True):
    """A finding with its last occurrence, its files by name, and its history, latest first."""

    finding: FindingEntry
    detail: LastOccurrence | None
    attachments: dict[str, str]
    history: tuple[OccurrenceEntry, ...]


class BuildEntry(msgspec.Struct, frozen=True):
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


class SubjectEntry(msgspec.Struct, frozen=True):
    """An engine's build that was run: watched, or named in the configuration. ``run`` is its last run."""

    sha256: str
    subject: str
    version: str
    runs: int
    run: int


class Comparison(msgspec.Struct, frozen=True):
    """Two builds by the findings of their runs."""

    only_first: tuple[FindingEntry, ...]
    only_second: tuple[FindingEntry, ...]
    both: tuple[FindingEntry, ...]


class AuditEntry(msgspec.Struct, frozen=True):
    """A change: when (seconds since 1970, UTC), who, what."""

    id: int
    at: float
    who: str
    action: str
    target: str


class GridCell(msgspec.Struct, frozen=True):
    """A cell of the map: an instruction with a class of operands."""

    family: str
    instruction: str
    operands: str
    outcome: str
    checks: int
    detail: str


class _Order(msgspec.Struct, frozen=True):
    """An order of entries: the columns of its key, and a key before all others."""

    columns: tuple[str, ...]
    start: tuple[Any, ...]
    descending: bool = True


_LAST: Final = 1 << 62
_Number = Annotated[int, msgspec.Meta(ge=-_LAST, le=_LAST)]  # SQLite's integers have 64 bits
_BY_ID: Final = _Order(("id",), (_LAST,))
_BY_RUN: Final = _Order(("run",), (_LAST,))
_BY_CHANGE: Final = _Order(("changed", "id"), (1e18, _LAST))
_BY_RANK: Final = _Order(("rank", "name"), (-_LAST, ""), descending=False)
_BY_INSTRUCTION: Final = _Order(("instruction", "operands"), ("", ""), descending=False)
_JSON: Final[dict[str, Any]] = {"totals": dict[str, int], "nights": tuple[GridResult, ...]}
"""The fields that are stored as JSON."""


def jobs(
    connection: Connection, job_state: Annotated[State | None, QueryParameter(name="state")] = None, cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Listing[Job]:  # fmt: skip
    """Jobs, the latest first."""
    return _listing(connection, Job, "jobs", _BY_ID, cursor, limit, {"state = ?": job_state or None})


def waiting(connection: Connection) -> tuple[Job, ...]:
    """The jobs that run, and the next ones."""
    where = "state IN ('running', 'queued') ORDER BY state DESC, priority DESC, id LIMIT 10"
    return tuple(_struct(Job, row) for row in connection.execute(_select(Job, "jobs", where)))


def job(connection: Connection, number: Number) -> Job:
    """One job by number; 404 (``NotFoundError``) if there is none."""
    return _entry(connection, Job, "jobs", number)


def runs(connection: Connection, suite: Name = "", cursor: Cursor = None, limit: Limit = PAGE) -> Listing[RunEntry]:
    """Runs, the latest first."""
    return _listing(connection, RunEntry, "runs", _BY_ID, cursor, limit, {"suite = ?": suite or None})


def job_runs(connection: Connection, number: Number) -> Listing[RunEntry]:
    """The runs of a job: one for each report that its commands wrote."""
    return _listing(connection, RunEntry, "runs", _BY_ID, None, PAGE, {"job = ?": job(connection, number).id})


def run(connection: Connection, number: Number) -> RunEntry:
    """One run by number; 404 (``NotFoundError``) if there is none."""
    return _entry(connection, RunEntry, "runs", number)


def suites(connection: Connection) -> tuple[str, ...]:
    """The suites that have runs, corpora first."""
    rows = connection.execute("SELECT suite FROM runs GROUP BY suite ORDER BY suite LIKE 'upload-%', max(id) DESC LIMIT 200")
    return tuple(row["suite"] for row in rows)


def cases(
    connection: Connection, suite: Name, verdict: Verdict | None = None, search: Search = "", cursor: Cursor = None,
    limit: Limit = PAGE,
) -> Listing[CaseEntry]:  # fmt: skip
    """The cases of a suite with their last runs, those that diverge first."""
    # ``search`` is a part of the name.
    where = {"suite = ?": suite, "verdict = ?": verdict or None, "instr(name, ?)": search or None}
    return _listing(connection, CaseEntry, "cases", _BY_RANK, cursor, limit, where)


def case(connection: Connection, number: Number) -> CaseEntry:
    """One case by number; 404 (``NotFoundError``) if there is none."""
    return _entry(connection, CaseEntry, "cases", number)


def case_results(connection: Connection, number: Number, cursor: Cursor = None, limit: Limit = PAGE) -> Listing[CaseResult]:
    """The history of a case, latest first."""
    where = {"case_id = ?": case(connection, number).id}
    return _listing(connection, CaseResult, "case_history", _BY_RUN, cursor, limit, where)


def findings(
    connection: Connection, finding_state: Annotated[FindingState | None, QueryParameter(name="state")] = None, subject: Name = "",
    search: Search = "", cursor: Cursor = None, limit: Limit = PAGE,
) -> Listing[FindingEntry]:  # fmt: skip
    """Findings, the latest change first."""
    # ``search`` is a part of the title or the issue.
    where = {
        "merged IS NULL": (), "state = ?": finding_state or None, "subject = ?": subject or None,
        "(instr(lower(title), lower(?)) OR instr(lower(issue), lower(?)))": (search, search) if search else None,
    }  # fmt: skip
    return _listing(connection, FindingEntry, "findings", _BY_CHANGE, cursor, limit, where)


def finding(connection: Connection, number: Number) -> FindingDetail:
    """One finding by number, with its last occurrence, its files and its history; 404 (``NotFoundError``) if there is none."""
    # The address of a finding that was merged into another one leads to that one.
    query = "SELECT f.id, f.detail FROM findings g JOIN findings f ON f.id = coalesce(g.merged, g.id) WHERE g.id = ?"
    row = connection.execute(query, (number,)).fetchone()
    found = _entry(connection, FindingEntry, "findings", row["id"] if row is not None else number)
    files = connection.execute("SELECT name, sha256 FROM attachments WHERE finding = ? ORDER BY name", (found.id,))
    history = _listing(connection, OccurrenceEntry, "finding_history", _BY_RUN, None, 60, {"finding = ?": found.id})
    return FindingDetail(
        found, msgspec.json.decode(row["detail"], type=LastOccurrence) if row["detail"] != "{}" else None,
        {each["name"]: each["sha256"] for each in files}, history.items,
    )  # fmt: skip


def run_findings(connection: Connection, number: int) -> tuple[FindingEntry, ...]:
    """The findings of a run, those that are not known first."""
    return _findings_in(connection, "SELECT finding FROM occurrences WHERE run = ?", number)


def counts(connection: Connection, table: Literal["jobs", "findings"]) -> dict[str, int]:
    """The number of jobs or findings by state."""
    where = "WHERE merged IS NULL" if table == "findings" else ""
    return dict(map(tuple, connection.execute(f"SELECT state, count(*) FROM {table} {where} GROUP BY state")))  # noqa: S608 - constants


def metrics(connection: Connection) -> list[tuple[str, float]]:
    """Jobs and findings by state, the age of the oldest waiting job in seconds, runs, messages that wait, bytes of files."""
    query = """
        SELECT 'jobs{state="' || state || '"}', count(*) FROM jobs GROUP BY state
        UNION ALL SELECT 'findings{state="' || state || '"}', count(*) FROM findings WHERE merged IS NULL GROUP BY state
        UNION ALL SELECT 'queue_age_seconds', coalesce(? - min(created), 0) FROM jobs WHERE state = 'queued'
        UNION ALL SELECT 'runs', count(*) FROM runs
        UNION ALL SELECT 'messages_waiting', count(*) FROM deliveries WHERE state = 'waiting'
        UNION ALL SELECT 'file_bytes', coalesce(sum(size), 0) FROM files
    """
    return [(name, value) for name, value in connection.execute(query, (time.time(),))]


def builds(connection: Connection, cursor: Cursor = None, limit: Limit = PAGE) -> Listing[BuildEntry]:
    """Builds from the watched folder, the latest first."""
    return _listing(connection, BuildEntry, "builds", _BY_ID, cursor, limit)


def subjects(connection: Connection) -> tuple[SubjectEntry, ...]:
    """The builds that were run, the latest first."""
    rows = connection.execute(
        "SELECT sha256, subject, max(version) AS version, count(*) AS runs, max(id) AS run FROM runs GROUP BY sha256, subject "
        "ORDER BY run DESC LIMIT 100"
    )
    return tuple(_struct(SubjectEntry, row) for row in rows)


def compare(connection: Connection, first: Digest, second: Digest) -> Comparison:
    """Two builds, by the digests of their programs, compared by their findings."""
    # The findings are those in the last run of each suite that both have.
    seen = (
        "SELECT finding FROM occurrences WHERE state != 'fixed' AND run IN (SELECT max(id) FROM runs WHERE sha256 = ? "
        "AND suite IN (SELECT suite FROM runs WHERE sha256 = ?) GROUP BY suite)"
    )
    pairs = (("EXCEPT", first, second), ("EXCEPT", second, first), ("INTERSECT", first, second))
    return Comparison(*(_findings_in(connection, f"{seen} {how} {seen}", one, two, two, one) for how, one, two in pairs))


def families(connection: Connection, subject: str) -> dict[str, dict[str, int]]:
    """The number of cells by outcome, for each family of the map."""
    query = "SELECT family, outcome, count(*) FROM cells WHERE subject = ? GROUP BY family, outcome ORDER BY family"
    found: dict[str, dict[str, int]] = {}
    for family, outcome, number in connection.execute(query, (subject,)):
        found.setdefault(family, {})[outcome] = number
    return found


def swept_subjects(connection: Connection) -> tuple[str, ...]:
    """The subjects that have a map."""
    return tuple(row["subject"] for row in connection.execute("SELECT DISTINCT subject FROM cells ORDER BY subject"))


def cells(
    connection: Connection, subject: Name, family: Name, cursor: Cursor = None, limit: Limit = PAGE
) -> Listing[GridCell]:  # fmt: skip
    """The cells of a family of instructions in the map of the last sweep."""
    return _listing(connection, GridCell, "cells", _BY_INSTRUCTION, cursor, limit, {"subject = ?": subject, "family = ?": family})


def audit(connection: Connection, cursor: Cursor = None, limit: Limit = PAGE) -> Listing[AuditEntry]:
    """Who changed what, the latest first."""
    return _listing(connection, AuditEntry, "audit", _BY_ID, cursor, limit)


def _listing(
    connection: Connection, kind: type[T], table: str, order: _Order, cursor: str | None, limit: int,
    where: Mapping[str, object] | None = None,
) -> Listing[T]:  # fmt: skip
    """A part of a table. ``where`` has conditions and their values; one with None is left out, so that SQLite uses its indices."""
    marks = ", ".join("?" * len(order.columns))
    after = f"({', '.join(order.columns)}) {'<' if order.descending else '>'} ({marks})"
    given = {text: value for text, value in {**(where or {}), after: _key(cursor, order)}.items() if value is not None}
    values = [one for value in given.values() for one in (value if isinstance(value, tuple) else (value,))]
    by = ", ".join(f"{column} DESC" if order.descending else column for column in order.columns)
    query = _select(kind, table, f"{' AND '.join(given)} ORDER BY {by} LIMIT ?", *order.columns)
    rows = connection.execute(query, (*values, limit + 1)).fetchall()
    more = len(rows) > limit
    last = base64.urlsafe_b64encode(msgspec.json.encode([rows[limit - 1][each] for each in order.columns])) if more else b""
    return Listing(tuple(_struct(kind, row) for row in rows[:limit]), last.decode().rstrip("=") or None)


def _key(cursor: str | None, order: _Order) -> tuple[Any, ...]:
    """The key in a cursor; raises ``CursorError``."""
    if not cursor:
        return order.start
    try:
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        types = tuple(_Number if isinstance(each, int) else type(each) for each in order.start)
        key: tuple[Any, ...] = msgspec.json.decode(data, type=tuple[types])  # type: ignore[valid-type]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise CursorError("invalid cursor", hint="use `next` of the previous page") from error
    return key


def _entry(connection: Connection, kind: type[T], table: str, number: int) -> T:
    row = connection.execute(_select(kind, table, "id = ?"), (number,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no such {kind.__name__.lower()}")
    return _struct(kind, row)


def _findings_in(connection: Connection, numbers: str, *values: object) -> tuple[FindingEntry, ...]:
    """The findings whose numbers a query gives, those that are not known first."""
    query = _select(FindingEntry, "findings", f"merged IS NULL AND id IN ({numbers}) ORDER BY state = 'known', id LIMIT 500")
    return tuple(_struct(FindingEntry, row) for row in connection.execute(query, values))


def _select(kind: type[msgspec.Struct], table: str, where: str, *others: str) -> str:
    """A query for the fields of a struct, and other columns. Its parts are constants of this module."""
    return f"SELECT {', '.join(dict.fromkeys((*kind.__struct_fields__, *others)))} FROM {table} WHERE {where}"  # noqa: S608 - above


def _struct(kind: type[T], row: Row) -> T:
    """The struct of a row that has its fields as columns."""
    values: dict[str, Any] = {name: row[name] for name in kind.__struct_fields__}
    return kind(**values | {name: msgspec.json.decode(values[name], type=_JSON[name]) for name in values if name in _JSON})
