"""A worker process: takes jobs from the queue, runs their command lines as children, and enters what they left.

``python -m diffcheck.service.jobs.worker DATA CONFIG NAME PARENT``, started by the supervisor.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from diffcheck import process
from diffcheck.config import input_files
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE, DiffcheckError, ReportError
from diffcheck.nightly import baseline_file
from diffcheck.report import json_file, model
from diffcheck.runner.sweep.coverage import SweepMap
from diffcheck.service import data_folder, results
from diffcheck.service.content_store import StorageFullError
from diffcheck.service.data_folder import BUILDS, INPUT, LOG, REPORTS, TRIAGE, DataFolder
from diffcheck.service.jobs import job_queue
from diffcheck.service.jobs.job_queue import FILE_NAME, LeasedJob, Step
from diffcheck.service.logs import LOGGER
from diffcheck.service.results import Source
from diffcheck.text import decode, printed_end, visible
from diffcheck.verdict import Report

_MAP: Final = "sweep.json"
_CAP_BYTES: Final = 1 << 30
_MOST_FILES: Final = 40
_MOST_ARTIFACTS: Final = 500
_LOG_TAIL: Final = 2000
_WATCH_S: Final = 0.1
_RENEW_S: Final = 10.0
_GRACE_S: Final = 15.0
_IDLE_S: Final = 0.2
_FULL_S: Final = 10.0
_NICE: Final = 10
_MISSING: Final = (FileNotFoundError, NotADirectoryError, PermissionError)
"""The folder of the job or one of its files is gone: to wait does not help."""


class StoppedError(Exception):
    """The service is being stopped."""


class CancelledError(Exception):
    """The job was cancelled."""


class JobProcess:
    """A leased job and its folder, in which an interrupted run is resumed."""

    def __init__(self, data: DataFolder, leased: LeasedJob, stopped: Callable[[], bool]) -> None:
        self._data, self._leased, self._plan, self._stopped = data, leased, leased.plan, stopped
        self.folder = data.job(leased.id)

    def run(self) -> tuple[int, str]:
        """The exit code of the last step, and why the job ended early, empty if it did not.

        Raises ``StoppedError``, ``CancelledError``, ``LeaseLostError``.
        """
        where = self._prepare()
        code = EXIT_AGREE
        with (self.folder / LOG).open("ab") as log:
            for step in self._plan.steps:
                code, reason = self._run(self._arguments(step), where, log)
                if reason or code != EXIT_DIVERGE:
                    return code, reason  # what follows is about new divergences
        return code, ""

    def remove(self) -> None:
        """Remove everything but the log."""
        for path in self.folder.iterdir():
            if path.name != LOG:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _prepare(self) -> Path:
        """Create the folder and the inputs; returns the working folder of the commands."""
        reports, inputs = self.folder / REPORTS, self.folder / INPUT
        for path in (reports, inputs, self.folder / BUILDS):
            path.mkdir(parents=True, exist_ok=True)
        if self._plan.report:
            shutil.copyfile(self._data.store.path(self._plan.report), reports / json_file.FILE_NAME)
        for each in self._plan.builds:
            link = self.folder / BUILDS / each.name
            link.unlink(missing_ok=True)
            link.symlink_to(self._data.store.path(each.sha256))
        if self._plan.folder:
            return Path(self._plan.folder)
        # An empty configuration file: ids are relative to this folder, and no file above it is read.
        (inputs / "diffcheck.toml").write_bytes(b"")
        for each in self._plan.inputs:
            shutil.copyfile(self._data.store.path(each.sha256), inputs / each.name)
        return inputs

    def _arguments(self, step: Step) -> list[str]:
        arguments = list(step.arguments)
        if step.reports or self._plan.report:
            arguments += ["--reports", str(self.folder / REPORTS)]
        if self._plan.baseline:
            arguments += ["--baseline", str(self._write_baseline(arguments))]
        if step.resumable:
            arguments.append("--resume")
        if self._plan.kind == "triage":
            arguments += ["--output", str(self.folder / TRIAGE)]
        if self._plan.builds:
            arguments += ["--engines", str(self.folder / BUILDS)]
        return arguments

    def _write_baseline(self, arguments: list[str]) -> Path:
        """A file with what is known now."""
        file = self.folder / "baseline.toml"
        adapter = arguments[arguments.index("--subject") + 1].partition(":")[0]
        with self._data.database.reading() as connection:
            known = results.known_baseline(connection, self._plan.suite, adapter)
        file.unlink(missing_ok=True)
        baseline_file.write(known, file)
        return file

    def _run(self, arguments: list[str], where: Path, log: BinaryIO) -> tuple[int, str]:
        """Run a command line to its end, its time limit, its cancellation or the end of the service."""
        command = [sys.executable, "-P", "-m", "diffcheck", *arguments]
        environment = {"DIFFCHECK_CACHE": str(self._data.path / "cache"), **os.environ, "NO_COLOR": "1", "COLUMNS": "120"}
        child = subprocess.Popen(
            command, cwd=where, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            preexec_fn=partial(process.die_with_parent, os.getpid()),  # noqa: PLW1509 - a worker has one thread
        )  # fmt: skip
        try:
            reason = self._watch(child)
        finally:
            _end_child(child)
        if not reason and child.returncode < 0:
            reason = f"the command was ended by {signal.Signals(-child.returncode).name}"
        return child.returncode, reason

    def _watch(self, child: subprocess.Popen[bytes]) -> str:
        """Wait for the child and keep the lease; returns the reason if the time limit was reached."""
        limit_s = self._plan.limit_s
        begun = renewed = time.monotonic()
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_WATCH_S)
                return ""
            if self._stopped():
                raise StoppedError
            if (due := time.monotonic() > renewed + _RENEW_S) or not self._data.queue.wanted(self._leased):
                if not self._data.queue.renew(self._leased):
                    raise CancelledError
                renewed = time.monotonic() if due else renewed
            if limit_s and time.monotonic() > begun + limit_s:
                return f"the time limit of {limit_s} s was reached"


class JobWorker:
    """Runs jobs, one at a time."""

    def __init__(self, data: DataFolder, name: str, stopped: Callable[[], bool]) -> None:
        self._data, self._name, self._stopped = data, name, stopped

    def run(self) -> None:
        """Work until the service is stopped. A full disk or a busy database is waited for."""
        while not self._stopped():
            try:
                if not self._data.queue.has_waiting():
                    time.sleep(_IDLE_S)
                    continue
                self._data.store.require_room()  # else what the job finds could not be stored
                leased = self._data.queue.claim(self._name)
                if leased is not None:
                    self.work(leased)
            except (sqlite3.OperationalError, OSError, StorageFullError) as error:
                LOGGER.warning("disk or database error: %s", error)
                time.sleep(_FULL_S if not self._stopped() else 0)

    def work(self, leased: LeasedJob) -> None:
        """Run a job to its end, or hand it back."""
        LOGGER.info("job %d begins: %s", leased.id, leased.plan.kind)
        job = JobProcess(self._data, leased, self._stopped)
        try:
            code, reason = job.run()
            _enter(self._data, leased, code, reason)
        except job_queue.LeaseLostError:
            LOGGER.info("job %d: another worker has it", leased.id)
            return
        except (StoppedError, StorageFullError) as why:
            self._data.queue.hand_back(leased)
            if isinstance(why, StorageFullError):
                raise
            return
        except CancelledError:
            self._end(leased, "cancelled", "")
        except (DiffcheckError, *_MISSING) as error:
            if isinstance(error.__cause__, OSError) and process.is_full(error.__cause__, job.folder):
                self._data.queue.hand_back(leased)
                raise StorageFullError(str(error)) from error
            self._end(leased, "failed", error.line if isinstance(error, DiffcheckError) else visible(str(error), 300))
        LOGGER.info("job %d ended", leased.id)
        job.remove()

    def _end(self, leased: LeasedJob, state: job_queue.State, reason: str) -> None:
        with contextlib.suppress(job_queue.LeaseLostError), self._data.database.writing() as connection:
            job_queue.finish(connection, leased, state, None, reason)


def _enter(data: DataFolder, leased: LeasedJob, code: int, reason: str) -> None:
    """Store the files that a job left; then enter its results and end it, in one transaction.

    A command that wrote no report has failed; ``reason`` is why the job ended early. Raises ``StorageFullError``, and
    ``LeaseLostError``, and then nothing is entered.
    """
    plan, folder = leased.plan, data.job(leased.id)
    tail = printed_end(decode(data.log_end(leased.id, _LOG_TAIL)), 500)
    reports = () if reason else tuple(_reports(data, leased, folder / REPORTS))
    done = None if reason else _map(folder / REPORTS / "sweep" / _MAP)
    expected = any(step.reports for step in plan.steps)
    if not reason and expected and not reports and done is None and code != EXIT_AGREE:
        data.store.require_room()  # else the command may have failed because there is none
        reason = tail or f"the command ended with exit code {code}"
    files = {path.name: data.store.add_file(path) for path in _triage_files(folder / TRIAGE)}
    if plan.kind == "bisect":
        files = {"bisect.txt": data.store.add_file(data.log(leased.id))}
    with data.database.writing() as connection:
        job_queue.finish(connection, leased, "failed" if reason else "done", code, reason)
        for source, report in reports:
            results.enter(connection, source, report, data.settings.webhooks)
        if done is not None:
            results.enter_map(connection, done)
        rows = ((plan.finding, name, digest) for name, digest in files.items())
        connection.executemany("INSERT OR REPLACE INTO attachments VALUES (?, ?, ?)", rows)
        if plan.kind == "check":
            state = ("accepted", "") if code == EXIT_AGREE and not reason else ("refused", reason or tail)
            connection.execute("UPDATE builds SET state = ?, reason = ? WHERE id = ?", (*state, plan.build))


def _reports(data: DataFolder, leased: LeasedJob, folder: Path) -> Iterator[tuple[Source, Report]]:
    """The reports of the commands, each with the digests of the artifacts that diverge."""
    plan = leased.plan
    base, suite = Path(plan.folder or data.job(leased.id) / INPUT), plan.suite or plan.kind
    for part in dict.fromkeys(part for step in plan.steps for part in step.reports):
        path = folder / part / json_file.FILE_NAME
        if path.is_file():
            report = json_file.read(path)
            firsts = [each.members[0].case.artifact for each in model.clusters(report)]
            names = list(dict.fromkeys(firsts))[:_MOST_ARTIFACTS]
            artifacts = {name: data.store.add_file(base / name) for name in names if (base / name).is_file()}
            of = f"{suite}-{part}" if part and plan.kind != part else suite
            yield Source(leased.id, part, of, data.store.add_file(path), artifacts), report


def _map(path: Path) -> SweepMap | None:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(input_files.read_regular(str(path), _CAP_BYTES, "the map", ReportError), type=SweepMap)
    except msgspec.MsgspecError as error:
        raise ReportError(f"the map cannot be read: {error}") from error


def _triage_files(folder: Path) -> list[Path]:
    """The files of a triage."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in found if path.is_file() and not path.is_symlink() and re.match(FILE_NAME, path.name)][:_MOST_FILES]


def _end_child(child: subprocess.Popen[bytes]) -> None:
    """End a child: it may write its journal, and is killed if that takes too long. Its keepers end the engines."""
    child.terminate()  # nothing, if it has ended
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def main() -> None:
    """Work until SIGTERM, at low priority."""
    data, name = data_folder.of_child()
    os.nice(_NICE)
    with process.interruptible() as stopped:
        JobWorker(data, name, stopped).run()


if __name__ == "__main__":
    main()
