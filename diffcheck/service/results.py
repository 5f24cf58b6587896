"""Entering a report: the run, the results of its cases and the findings, in the transaction that ends the job."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from diffcheck.nightly import baseline as baselines
from diffcheck.nightly import baseline_changes
from diffcheck.report import cause_rows, model
from diffcheck.report.cause_rows import CauseRow
from diffcheck.runner.sweep.coverage import SweepMap
from diffcheck.service import notifications
from diffcheck.service.database import insert
from diffcheck.service.settings import Webhook
from diffcheck.text import encodable, visible
from diffcheck.verdict import RANK, Report, Verdict

NIGHTS: Final = 30
"""How many runs of a case the grid shows."""
_REASON: Final = 300


class GridResult(msgspec.Struct, frozen=True):
    """A case in one run, as the grid shows it."""

    run: int
    verdict: str


class LastOccurrence(msgspec.Struct, frozen=True):
    """What a finding's page shows of its last run. Strings are safe to show, but for ``case`` and ``artifact``."""

    case: str
    artifact: str
    row: CauseRow


class Source(msgspec.Struct, frozen=True):
    """The origin of a report: the job, its part of the reports folder, the suite, the digests of the report and of artifacts."""

    job: int
    part: str
    suite: str
    sha256: str
    artifacts: Mapping[str, str]


class Entered(msgspec.Struct, frozen=True):
    """A run that is being entered, with the transaction and the receivers of what changes."""

    connection: sqlite3.Connection
    webhooks: Sequence[Webhook]
    source: Source
    report: Report
    number: int
    build: str


def enter(connection: sqlite3.Connection, source: Source, report: Report, webhooks: Sequence[Webhook]) -> None:
    """Enter a report."""
    code, why = model.conclusion(report)
    subject, oracle = report.subject, report.oracle
    number, build = add_run(
        connection, job=source.job, part=source.part, suite=source.suite, subject=encodable(subject.name),
        version=encodable(subject.version), sha256=subject.sha256, oracle=encodable(f"{oracle.name} {oracle.version}"),
        started=report.started, elapsed_ns=report.elapsed_ns, cases=len(report.cases), exit_code=code, conclusion=encodable(why),
        totals=msgspec.json.encode(report.totals).decode(), report=source.sha256,
    )  # fmt: skip
    shown = ((case.case, case.verdict, case.reason, case.elapsed_ns) for case in report.cases)
    enter_cases(connection, number, source.suite, shown)
    _enter_findings(Entered(connection, webhooks, source, report, number, build))


def add_run(connection: sqlite3.Connection, **values: object) -> tuple[int, str]:
    """Add a run with the values of all columns but the first; returns its number and the name of the subject's build."""
    number = insert(connection, "runs", **values)
    (build,) = connection.execute("SELECT build FROM runs WHERE id = ?", (number,)).fetchone()
    return number, build


def enter_map(connection: sqlite3.Connection, done: SweepMap) -> None:
    """Replace the map's cells of the families that were swept."""
    name = encodable(done.subject.name)
    connection.executemany("DELETE FROM cells WHERE subject = ? AND family = ?", ((name, family) for family in done.families))
    for each in done.cells:
        detail = "; ".join(filter(None, (*each.findings, each.reason)))
        values = (name, each.family, each.instruction, each.class_, each.outcome, each.checks, detail)
        connection.execute("INSERT OR REPLACE INTO cells VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def enter_cases(connection: sqlite3.Connection, run: int, suite: str, cases: Iterable[tuple[str, Verdict, str, int]]) -> None:
    """Store results (name, verdict, reason, nanoseconds), and the last nights of each case in one row, which the grid shows."""
    known = dict(map(tuple, connection.execute("SELECT name, nights FROM cases WHERE suite = ?", (suite,))))
    results = []
    for each, verdict, why, elapsed_ns in cases:
        name, reason = encodable(each), visible(why, _REASON)
        nights = [*msgspec.json.decode(known.get(name, "[]"), type=list[GridResult]), GridResult(run, verdict)][-NIGHTS:]
        entered = connection.execute(
            "INSERT INTO cases (suite, name, verdict, reason, rank, nights) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET verdict = excluded.verdict, reason = excluded.reason, rank = excluded.rank, nights = excluded.nights RETURNING id",
            (suite, name, verdict, reason, -RANK[verdict], msgspec.json.encode(nights).decode()),
        )
        results.append((*entered.fetchone(), run, verdict, reason, elapsed_ns))
    connection.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?)", results)


def _enter_findings(run: Entered) -> None:
    """Update the baseline of the suite, and with it the findings."""
    connection, report = run.connection, run.report
    subject = encodable(report.subject.name)
    before = suite_baseline(connection, subject, run.source.suite)
    today = datetime.now(UTC).date()
    statuses = {each.signature: each for each in baselines.statuses(report, before, today)}
    after, _ = baseline_changes.update(before, report, today)
    found = model.clusters(report)
    seen = [each.signature for each in found if each.signature in statuses]
    returned = [each for each in seen if each not in after.entries or after.entries[each].fixed is not None]
    after, _ = baseline_changes.add(after, report, returned, "", "", None)
    findings = _findings(run, subject, found)
    query = "SELECT signature, finding FROM signatures WHERE subject = ? AND suite = ?"
    owners = dict(map(tuple, connection.execute(query, (subject, run.source.suite))))
    owners |= {each.signature: number for number, members in findings.items() for each in members}
    for signature, entry in after.entries.items():
        if entry is not before.entries.get(signature) or signature in seen:
            connection.execute(
                "INSERT OR REPLACE INTO signatures VALUES (?, ?, ?, ?, ?)",
                (subject, run.source.suite, signature, owners[signature], msgspec.json.encode(entry).decode()),
            )
    _change_states(run, findings, {owners[key] for key, each in statuses.items() if each.state == "fixed" and key in owners})


def suite_baseline(connection: sqlite3.Connection, subject: str, suite: str) -> baselines.Baseline:
    """The signatures of a suite, known or not."""
    rows = connection.execute("SELECT signature, entry FROM signatures WHERE subject = ? AND suite = ?", (subject, suite))
    return baselines.Baseline({row["signature"]: msgspec.json.decode(row["entry"], type=baselines.BaselineEntry) for row in rows})


def known_baseline(connection: sqlite3.Connection, suite: str, adapter: str) -> baselines.Baseline:
    """The signatures of findings that are marked as known: those of the suite, and others with the cases that they have elsewhere.

    Where several subjects have a signature, the entry is the one of ``adapter``.
    """
    rows = connection.execute(
        "SELECT s.signature, s.entry, s.suite, f.issue, f.note FROM signatures s JOIN findings f ON f.id = s.finding "
        "WHERE f.state IN ('known', 'fixed') ORDER BY s.subject = ?, s.suite = ?",
        (adapter, suite),
    )
    entries: dict[str, baselines.BaselineEntry] = {}
    for row in rows:
        entry = msgspec.json.decode(row["entry"], type=baselines.BaselineEntry)
        if row["suite"] == suite or entry.fixed is None:
            entries[row["signature"]] = msgspec.structs.replace(entry, issue=row["issue"], note=row["note"] or entry.note)
    return baselines.Baseline(entries)


def _findings(run: Entered, subject: str, found: Sequence[model.Cluster]) -> dict[int, list[model.Cluster]]:
    """The findings of a run with their clusters: by the cause, else by what the signature belonged to, else by the signature."""
    causes = {signature: cause for cause in run.report.causes for signature in cause.signatures}
    query = "SELECT signature, finding FROM signatures WHERE subject = ?"
    owned = dict(map(tuple, run.connection.execute(query, (subject,))))
    rows = {row.signatures[0]: row for row in cause_rows.cause_rows(run.report, found, {}) if row.signatures and row.what}
    grouped: dict[int, list[model.Cluster]] = {}
    for cluster in found:
        cause, owner = causes.get(cluster.signature), owned.get(cluster.signature)
        name = encodable(cause.name if cause is not None else cluster.signature)
        number = owner if cause is None and owner is not None else _finding(run, subject, name)
        if cause is not None and owner not in (None, number):
            _merge(run.connection, int(owner or 0), number)
            owned = {key: number if value == owner else value for key, value in owned.items()}
        grouped.setdefault(number, []).append(cluster)
        row = rows.get(visible(cluster.signature, 240))
        if row is not None:
            _describe(run, number, cluster, row)
    return grouped


def _finding(run: Entered, subject: str, cause: str) -> int:
    """The number of the finding with a cause, which is added if it is new."""
    row = run.connection.execute("SELECT id, merged FROM findings WHERE subject = ? AND cause = ?", (subject, cause)).fetchone()
    if row is not None:
        return int(row["merged"] or row["id"])
    return insert(
        run.connection, "findings", subject=subject, cause=cause, title=visible(cause, 240), state="new", first_run=run.number,
        last_run=run.number, first_build=run.build, last_build=run.build, changed=time.time(), detail="{}",
    )  # fmt: skip


def _merge(connection: sqlite3.Connection, old: int, new: int) -> None:
    """A cluster that was localised later belongs to its cause; the old finding's address leads to the new one."""
    connection.execute("UPDATE signatures SET finding = ? WHERE finding = ?", (new, old))
    connection.execute(
        "INSERT OR IGNORE INTO occurrences SELECT ?, run, state, cases FROM occurrences WHERE finding = ?", (new, old)
    )
    connection.execute("DELETE FROM occurrences WHERE finding = ?", (old,))
    connection.execute("UPDATE OR IGNORE attachments SET finding = ? WHERE finding = ?", (new, old))
    connection.execute("UPDATE findings SET merged = ?1 WHERE id = ?2 OR merged = ?2", (new, old))
    connection.execute(
        "UPDATE findings AS new SET "
        "issue = iif(new.issue = '', old.issue, new.issue), note = iif(new.note = '', old.note, new.note), "
        "state = iif(new.state = 'new', old.state, new.state), first_run = min(new.first_run, old.first_run), "
        "first_build = iif(new.first_run > old.first_run, old.first_build, new.first_build) "
        "FROM findings AS old WHERE new.id = ? AND old.id = ?",
        (new, old),
    )


def _describe(run: Entered, number: int, cluster: model.Cluster, row: CauseRow) -> None:
    """Store what the finding's page shows, and its program. A localised occurrence is not replaced by one that is not."""
    connection, case = run.connection, cluster.members[0].case
    stored = connection.execute("SELECT detail FROM findings WHERE id = ?", (number,)).fetchone()["detail"]
    if stored != "{}" and msgspec.json.decode(stored, type=LastOccurrence).row.places and not row.places:
        return
    digest = run.source.artifacts.get(case.artifact)
    if digest is not None:
        name = f"program{Path(case.artifact).suffix}"
        connection.execute("INSERT OR REPLACE INTO attachments VALUES (?, ?, ?)", (number, name, digest))
    detail = LastOccurrence(encodable(case.case), encodable(case.artifact), row)
    connection.execute(
        "UPDATE findings SET title = ?, detail = ? WHERE id = ?", (row.title, msgspec.json.encode(detail).decode(), number)
    )


def _change_states(run: Entered, findings: Mapping[int, Iterable[model.Cluster]], missing: AbstractSet[int]) -> None:
    """The states after the run: seen again after being fixed is *returned*; *fixed* if no signature is left of a missing one."""
    connection = run.connection
    for number, members in findings.items():
        cases = {member.case.case for each in members for member in each.members}
        row = _row(connection, number)
        word = "returned" if row["state"] == "fixed" else "new" if row["first_run"] == run.number else "seen"
        update = "UPDATE findings SET last_run = ?, last_build = ?, state = iif(state = 'fixed', 'returned', state) WHERE id = ?"
        connection.execute(update, (run.number, run.build, number))
        connection.execute("INSERT OR REPLACE INTO occurrences VALUES (?, ?, ?, ?)", (number, run.number, word, len(cases)))
        if word != "seen":
            _changed(run, number, word)
    for number in missing - set(findings):
        (left,) = connection.execute(
            "SELECT count(*) FROM signatures WHERE finding = ? AND json_extract(entry, '$.fixed') IS NULL", (number,)
        ).fetchone()
        if left or _row(connection, number)["state"] == "fixed":
            continue
        connection.execute("UPDATE findings SET state = 'fixed', fixed_build = ? WHERE id = ?", (run.build, number))
        connection.execute("INSERT OR REPLACE INTO occurrences VALUES (?, ?, 'fixed', 0)", (number, run.number))
        _changed(run, number, "fixed")


def _row(connection: sqlite3.Connection, number: int) -> Any:  # noqa: ANN401 - a row
    return connection.execute("SELECT * FROM findings WHERE id = ?", (number,)).fetchone()


def _changed(run: Entered, number: int, word: str) -> None:
    run.connection.execute("UPDATE findings SET changed = ? WHERE id = ?", (time.time(), number))
    notifications.add(run.connection, _row(run.connection, number), word, run.number, run.webhooks)
