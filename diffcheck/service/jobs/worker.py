"""A worker process: takes jobs from the queue and runs their command lines, each as a child with its own folder and log.

``python -m diffcheck.service.jobs.worker DATA CONFIG NAME PARENT``, started by the supervisor.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.errors import DiffcheckError
from diffcheck.service import logs, settings
from diffcheck.service.content_store import StorageFullError
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs import job_queue
from diffcheck.service.jobs.job_process import CancelledError, JobProcess, StoppedError
from diffcheck.service.jobs.job_results import collect, enter
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.service.jobs.job_queue import LeasedJob

_IDLE_S: Final = 0.2
_FULL_S: Final = 10.0
_NICE: Final = 10
_MISSING: Final = (FileNotFoundError, NotADirectoryError, PermissionError)
"""The folder of the job or one of its files is gone: to wait does not help."""
_LOG = logging.getLogger("diffcheck.service")


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
                _LOG.warning("the disk or the database does not work: %s", error)
                time.sleep(_FULL_S if not self._stopped() else 0)

    def work(self, leased: LeasedJob) -> None:
        """Run a job to its end, or hand it back."""
        _LOG.info("job %d begins: %s", leased.id, leased.plan.kind)
        job = JobProcess(self._data, leased, self._stopped)
        try:
            code, reason = job.run()
            enter(self._data, leased, collect(self._data, leased, job.folder, code, reason))
        except job_queue.LeaseLostError:
            _LOG.info("job %d: another worker has it", leased.id)
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
        _LOG.info("job %d ended", leased.id)
        job.remove()

    def _end(self, leased: LeasedJob, state: job_queue.State, reason: str) -> None:
        with contextlib.suppress(job_queue.LeaseLostError), self._data.database.writing() as connection:
            job_queue.finish(connection, leased, state, None, reason)


def main() -> None:
    """Work until SIGTERM, at low priority."""
    folder, config, name, parent = sys.argv[1:5]
    process.die_with_parent(int(parent))
    os.nice(_NICE)
    logs.prepare()
    data = DataFolder(Path(folder), settings.load(config or None, Path.cwd()))
    with process.interruptible() as stopped:
        JobWorker(data, name, stopped).run()


if __name__ == "__main__":
    main()
