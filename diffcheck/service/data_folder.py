"""The data folder of a service, and what all of its processes share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from diffcheck import process
from diffcheck.service import logs, settings
from diffcheck.service.content_store import ContentStore
from diffcheck.service.database import Database
from diffcheck.service.jobs.job_queue import JobQueue
from diffcheck.service.jobs.job_request import Planner

LOG: Final = "log.txt"
INPUT: Final = "input"
REPORTS: Final = "reports"
TRIAGE: Final = "triage"
BUILDS: Final = "builds"
"""What is in the folder of a job."""


class DataFolder:
    """The database, the files, the queue and the settings. Every process opens its own."""

    def __init__(self, path: Path, configured: settings.ServiceSettings) -> None:
        self.path, self.settings = path, configured
        self.database = Database(path)
        self.store = ContentStore(path, self.database, configured.limits)
        self.queue = JobQueue(self.database, configured.limits.queue)
        self.planner = Planner(configured, self.database, self.store, path)

    def create(self) -> None:
        """Create what is missing, for the owner only; raises ``ReportError``."""
        process.private(self.path)
        for name in ("files", "jobs"):
            (self.path / name).mkdir(exist_ok=True)
        self.database.prepare()

    def job(self, number: int) -> Path:
        """The folder of a job."""
        return self.path / "jobs" / str(number)

    def log(self, number: int) -> Path:
        """The log of a job, which may not exist."""
        return self.job(number) / LOG

    def log_part(self, number: int, offset: int, most: int) -> bytes:
        """At most ``most`` bytes of a job's log from an offset on, or from its end if that is negative."""
        try:
            with self.log(number).open("rb") as file:
                end = file.seek(0, os.SEEK_END)
                # File systems refuse positions far beyond the end.
                file.seek(min(offset, end) if offset >= 0 else max(0, end + offset))
                return file.read(most)
        except FileNotFoundError:
            return b""

    def log_end(self, number: int, most: int) -> bytes:
        """The last ``most`` bytes of a job's log."""
        return self.log_part(number, -most, most)


def of_child() -> tuple[DataFolder, str]:
    """The data folder of a process that the supervisor started, and its last argument. It logs as JSON and ends with its parent."""
    folder, config, last, parent = sys.argv[1:5]
    process.die_with_parent(int(parent))
    logs.prepare()
    return DataFolder(Path(folder), settings.load(config or None, Path.cwd())), last
