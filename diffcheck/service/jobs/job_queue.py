"""The queue: jobs with priorities, keys, leases and cancellation.

A job is *queued*, *running*, *done*, *failed* or *cancelled*. Who runs a job holds its lease, a random text. Every change of a
running job names the lease, so a worker whose job was handed back cannot finish it.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from typing import Annotated, Final, Literal

import msgspec

from diffcheck.errors import DiffcheckError
from diffcheck.service.database import Database, insert
from diffcheck.service.settings import JobKind

FILE_NAME: Final = r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}$"
State = Literal["queued", "running", "done", "failed", "cancelled"]
LEASE_S: Final = 60.0
MOST_ATTEMPTS: Final = 20
"""A job whose workers were killed so often has failed: it may be what kills them."""


class QueueFullError(DiffcheckError):
    """More jobs wait than the operator allows."""


class LeaseLostError(Exception):
    """Another worker has the job, or it was cancelled."""


class FileName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a job, as an artifact, its case file or its manifest: its name in the job's folder, and its digest in the store."""

    name: Annotated[str, msgspec.Meta(pattern=FILE_NAME, examples=["app.wasm"])]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class Step(msgspec.Struct, frozen=True):
    """A command line of diffcheck, without the program. ``reports`` are the parts of ``--reports`` that have a report."""

    arguments: tuple[str, ...]
    reports: tuple[str, ...] = ()
    resumable: bool = False


class Plan(msgspec.Struct, frozen=True):
    """What a job does: its steps in a folder, which is the job's own one with ``inputs`` if ``folder`` is empty.

    ``suite`` is the corpus, or the name of the uploaded set. ``identity`` are further facts that make a job another one: the
    digests of engines, the time of a schedule. ``baseline`` is whether known findings are passed to the command. A triage or a
    bisection is of ``finding`` in ``report``, a bisection over ``builds``; a check decides about ``build``.
    """

    kind: JobKind
    steps: tuple[Step, ...]
    suite: str = ""
    subject: str = ""
    folder: str = ""
    inputs: tuple[FileName, ...] = ()
    identity: tuple[str, ...] = ()
    baseline: bool = False
    report: str = ""
    finding: int = 0
    builds: tuple[FileName, ...] = ()
    build: int = 0
    limit_s: int = 0

    @property
    def key(self) -> str:
        """The digest of what is asked."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()


class Job(msgspec.Struct, frozen=True):
    """A job as it is shown. Times are seconds since 1970 in UTC."""

    id: int
    kind: JobKind
    title: str
    state: State
    priority: int
    created: float
    started: float | None
    ended: float | None
    attempts: int
    exit_code: int | None
    reason: str


class LeasedJob(msgspec.Struct, frozen=True):
    """A job that a worker holds."""

    id: int
    lease: str
    plan: Plan


class JobQueue:
    """The jobs of a database."""

    def __init__(self, database: Database, most_waiting: int) -> None:
        self._database, self._most_waiting = database, most_waiting

    def submit(self, plan: Plan, title: str, *, priority: int = 0, owner: str = "") -> tuple[int, bool]:
        """The id of the job, and whether it is a new one; one that failed or was cancelled is queued again.

        Raises ``QueueFullError``.
        """
        with self._database.writing() as connection:
            return submit(connection, plan, title, priority=priority, owner=owner, most_waiting=self._most_waiting)

    def has_waiting(self) -> bool:
        """Whether a job waits."""
        return self._database.row("SELECT 1 FROM jobs WHERE state = 'queued' LIMIT 1") is not None

    def claim(self, worker: str) -> LeasedJob | None:
        """The next job, leased to a worker; None if nothing waits."""
        lease, now = secrets.token_hex(16), time.time()
        with self._database.writing() as connection:
            row = connection.execute(
                "UPDATE jobs SET state = 'running', worker = ?, lease = ?, lease_until = ?, attempts = attempts + 1, "
                "started = coalesce(started, ?), ended = NULL WHERE id = "
                "(SELECT id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, id LIMIT 1) RETURNING id, plan",
                (worker, lease, now + LEASE_S, now),
            ).fetchone()
        return LeasedJob(row["id"], lease, msgspec.json.decode(row["plan"], type=Plan)) if row is not None else None

    def renew(self, leased: LeasedJob) -> bool:
        """Extend the lease; False if the job is to be cancelled. Raises ``LeaseLostError``."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE jobs SET lease_until = ? WHERE id = ? AND lease = ?", (time.time() + LEASE_S, leased.id, leased.lease)
            )
            return not _held(connection, leased)["cancel"]

    def wanted(self, leased: LeasedJob) -> bool:
        """Whether the job is not to be cancelled. Raises ``LeaseLostError``."""
        with self._database.reading() as connection:
            return not _held(connection, leased)["cancel"]

    def hand_back(self, leased: LeasedJob) -> None:
        """Queue a leased job again, without counting the attempt."""
        back = "UPDATE jobs SET state = 'queued', lease = NULL, attempts = attempts - 1 WHERE id = ? AND lease = ?"
        self._database.change(back, leased.id, leased.lease)

    def cancel(self, number: int) -> None:
        """Cancel a job: at once if it waits, soon if it runs."""
        with self._database.writing() as connection:
            connection.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'", (number,))
            connection.execute(
                "UPDATE jobs SET state = 'cancelled', ended = ? WHERE id = ? AND state = 'queued'", (time.time(), number)
            )

    def recover(self, worker: str | None = None) -> None:
        """Queue again what a dead worker held, or all that ran."""
        with self._database.writing() as connection:
            _requeue(connection, "? IN (worker, '')", (worker or "",))

    def expire(self) -> None:
        """Queue again what has an expired lease."""
        with self._database.writing() as connection:
            _requeue(connection, "lease_until < ?", (time.time(),))


def submit(
    connection: sqlite3.Connection, plan: Plan, title: str, *, priority: int = 0, owner: str = "", most_waiting: int = 1 << 30
) -> tuple[int, bool]:
    """As ``JobQueue.submit``, within a transaction."""
    known = connection.execute("SELECT id, state FROM jobs WHERE key = ?", (plan.key,)).fetchone()
    if known is not None:
        if known["state"] in ("failed", "cancelled"):
            connection.execute(
                "UPDATE jobs SET state = 'queued', cancel = 0, attempts = 0, reason = '', ended = NULL, exit_code = NULL, "
                "started = NULL WHERE id = ?",
                (known["id"],),
            )
        return known["id"], False
    (waiting,) = connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()
    if waiting >= most_waiting:
        raise QueueFullError(f"{waiting:,} jobs wait already", hint="try again later, or raise limits.queue")
    added = insert(
        connection, "jobs", key=plan.key, kind=plan.kind, title=title, plan=msgspec.json.encode(plan).decode(), priority=priority,
        state="queued", created=time.time(), owner=owner,
    )  # fmt: skip
    return added, True


def finish(connection: sqlite3.Connection, leased: LeasedJob, state: State, exit_code: int | None, reason: str) -> None:
    """End a job within the transaction that stores its results; raises ``LeaseLostError``, and then nothing may be stored."""
    _held(connection, leased)
    connection.execute(
        "UPDATE jobs SET state = ?, exit_code = ?, reason = ?, ended = ?, lease = NULL WHERE id = ?",
        (state, exit_code, reason, time.time(), leased.id),
    )


def _held(connection: sqlite3.Connection, leased: LeasedJob) -> sqlite3.Row:
    query = "SELECT cancel FROM jobs WHERE id = ? AND lease = ? AND state = 'running'"
    row: sqlite3.Row | None = connection.execute(query, (leased.id, leased.lease)).fetchone()
    if row is None:
        raise LeaseLostError
    return row


def _requeue(connection: sqlite3.Connection, where: str, values: tuple[object, ...]) -> None:
    # The condition is one of the constants above.
    running = f"state = 'running' AND {where}"
    connection.execute(
        f"UPDATE jobs SET state = 'failed', lease = NULL, ended = ?, reason = 'its workers were killed too often' "  # noqa: S608
        f"WHERE {running} AND attempts >= ?",
        (time.time(), *values, MOST_ATTEMPTS),
    )
    connection.execute(f"UPDATE jobs SET state = 'queued', lease = NULL WHERE {running}", values)  # noqa: S608
