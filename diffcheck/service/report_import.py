"""The import of a reports folder: its report with the findings, and its history for the grid."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import msgspec

from diffcheck.nightly import history
from diffcheck.report import json_file
from diffcheck.service import results
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs import job_queue
from diffcheck.text import encodable
from diffcheck.verdict import Verdict


def enter(data: DataFolder, folder: Path, suite: str) -> int:
    """Enter the runs of a folder, oldest first; returns their number. Entering one again adds nothing. Raises ``ReportError``."""
    report = json_file.read(folder / json_file.FILE_NAME)
    digest = data.store.add_file(folder / json_file.FILE_NAME)
    past = history.nights(folder / history.FILE_NAME) if (folder / history.FILE_NAME).is_file() else {}
    with data.database.writing() as connection:
        plan = job_queue.Plan("run", (), suite, identity=("import", digest))
        job, new = job_queue.submit(connection, plan, f"import of {suite}")
        if not new:
            return 0
        connection.execute("UPDATE jobs SET state = 'done', started = created, ended = created WHERE id = ?", (job,))
        before = _enter_history(connection, job, suite, past, report.started)
        results.enter(connection, results.Source(job, "", suite, digest, {}), report, ())
    return before + 1


def _enter_history(connection: sqlite3.Connection, job: int, suite: str, past: dict[str, list[history.Night]], until: str) -> int:
    """Enter the runs before a time without their reports, which the history does not have; returns their number."""
    by_run: dict[int, dict[str, history.Night]] = {}
    for case, nights in past.items():
        for night in nights:
            if night.started < until:
                by_run.setdefault(night.run, {})[case] = night
    for number, cases in sorted(by_run.items()):
        one = next(iter(cases.values()))
        totals = Counter(night.verdict for night in cases.values())
        run, _ = results.add_run(
            connection, job=job, part=f"history-{number}", suite=suite, subject=encodable(one.subject),
            version=encodable(one.version), sha256=one.sha256, oracle="", started=one.started, elapsed_ns=0, cases=len(cases),
            totals=msgspec.json.encode(totals).decode(), exit_code=0, conclusion="imported from a history", report="",
        )  # fmt: skip
        shown = ((case, msgspec.convert(night.verdict, Verdict), "", night.elapsed_ns) for case, night in cases.items())
        results.enter_cases(connection, run, suite, shown)
    return len(by_run)
