"""What a job's commands left: reports, maps and the files of a triage, collected and entered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.config import input_files
from diffcheck.errors import EXIT_AGREE, ReportError
from diffcheck.report import json_file, model
from diffcheck.runner.sweep.coverage import SweepMap
from diffcheck.service import results
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs import job_queue
from diffcheck.service.jobs.job_process import REPORTS, TRIAGE
from diffcheck.service.jobs.job_request import FILE_NAME
from diffcheck.text import decode, printed_end
from diffcheck.verdict import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.service.jobs.job_queue import LeasedJob

_MAP: Final = "sweep.json"
_CAP_BYTES: Final = 1 << 30
_MOST_FILES: Final = 40
_MOST_ARTIFACTS: Final = 500
_LOG_TAIL: Final = 2000


class StoredReport(msgspec.Struct, frozen=True):
    """A report of a command: its part of the reports folder, the digest of its file, the digests of artifacts that diverge."""

    part: str
    report: Report
    sha256: str
    artifacts: dict[str, str]


class Collected(msgspec.Struct, frozen=True):
    """The results of a job. ``reason`` is why it failed, ``tail`` is the end of its log; ``files`` are digests by name."""

    exit_code: int
    reason: str
    tail: str
    reports: tuple[StoredReport, ...] = ()
    map: SweepMap | None = None
    files: dict[str, str] = {}


def collect(data: DataFolder, leased: LeasedJob, folder: Path, code: int, reason: str) -> Collected:
    """Store the files that a job left. A command that wrote no report has failed. Raises ``StorageFullError``."""
    plan = leased.plan
    tail = printed_end(decode(data.log_end(leased.id, _LOG_TAIL)), 500)
    reports = () if reason else tuple(_reports(data, leased, folder / REPORTS))
    done = None if reason else _map(folder / REPORTS / "sweep" / _MAP)
    expected = any(step.reports for step in plan.steps)
    if not reason and expected and not reports and done is None and code != EXIT_AGREE:
        data.store.require_room()  # else the command may have failed because there is none
        reason = tail or f"the command ended with exit code {code}"
    files = {path.name: data.store.add_file(path) for path in _files(folder / TRIAGE)}
    if plan.kind == "bisect":
        files = {"bisect.txt": data.store.add_file(data.log(leased.id))}
    return Collected(code, reason, tail, reports, done, files)


def enter(data: DataFolder, leased: LeasedJob, found: Collected) -> None:
    """Enter the results and end the job, in one transaction; raises ``LeaseLostError``, and then nothing is entered."""
    plan, hooks = leased.plan, data.settings.webhooks
    with data.database.writing() as connection:
        job_queue.finish(connection, leased, "failed" if found.reason else "done", found.exit_code, found.reason)
        suite = plan.suite or plan.kind
        for each in found.reports:
            of = f"{suite}-{each.part}" if each.part and plan.kind != each.part else suite
            results.enter(connection, results.Source(leased.id, each.part, of, each.sha256, each.artifacts), each.report, hooks)
        if found.map is not None:
            results.enter_map(connection, found.map)
        rows = ((plan.finding, name, digest) for name, digest in found.files.items())
        connection.executemany("INSERT OR REPLACE INTO attachments VALUES (?, ?, ?)", rows)
        if plan.kind == "check":
            works = found.exit_code == EXIT_AGREE and not found.reason
            state = ("accepted", "") if works else ("refused", found.reason or found.tail)
            connection.execute("UPDATE builds SET state = ?, reason = ? WHERE id = ?", (*state, plan.build))


def _reports(data: DataFolder, leased: LeasedJob, folder: Path) -> Iterator[StoredReport]:
    base = Path(leased.plan.folder or data.job(leased.id) / "input")
    for part in dict.fromkeys(part for step in leased.plan.steps for part in step.reports):
        path = folder / part / json_file.FILE_NAME
        if path.is_file():
            report = json_file.read(path)
            firsts = [each.members[0].case.artifact for each in model.clusters(report)]
            artifacts = {}
            for name in list(dict.fromkeys(firsts))[:_MOST_ARTIFACTS]:
                if (base / name).is_file():
                    artifacts[name] = data.store.add_file(base / name)
            yield StoredReport(part, report, data.store.add_file(path), artifacts)


def _map(path: Path) -> SweepMap | None:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(input_files.read_regular(str(path), _CAP_BYTES, "the map", ReportError), type=SweepMap)
    except msgspec.MsgspecError as error:
        raise ReportError(f"the map cannot be read: {error}") from error


def _files(folder: Path) -> list[Path]:
    """The files of a triage."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.is_file() and not path.is_symlink() and re.match(FILE_NAME, path.name)][:_MOST_FILES]
