"""The command lines of a job as child processes, in a folder of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE
from diffcheck.nightly import baseline_file
from diffcheck.report import json_file
from diffcheck.service import results
from diffcheck.service.data_folder import LOG, DataFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from diffcheck.service.jobs.job_queue import LeasedJob, Step

_WATCH_S: Final = 0.1
_RENEW_S: Final = 10.0
_GRACE_S: Final = 15.0
REPORTS: Final = "reports"
TRIAGE: Final = "triage"
BUILDS: Final = "builds"


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
        reports, inputs = self.folder / REPORTS, self.folder / "input"
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
            _stop(child)
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


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a child: it may write its journal, and is killed if that takes too long. Its keepers end the engines."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
