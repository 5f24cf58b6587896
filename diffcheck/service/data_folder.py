"""The data folder of a service, and what all of its processes share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.service.content_store import ContentStore
from diffcheck.service.database import Database
from diffcheck.service.jobs.job_queue import JobQueue
from diffcheck.service.jobs.job_request import Planner

if TYPE_CHECKING:
    from pathlib import Path

    from diffcheck.service.settings import ServiceSettings

LOG: Final = "log.txt"


class DataFolder:
    """The database, the files, the queue and the settings. Every process opens its own."""

    def __init__(self, path: Path, settings: ServiceSettings) -> None:
        self.path, self.settings = path, settings
        self.database = Database(path)
        self.store = ContentStore(path, self.database, settings.limits)
        self.queue = JobQueue(self.database, settings.limits.queue)
        self.planner = Planner(settings, self.database, self.store, path)

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
                file.seek(
                    min(offset, end) if offset >= 0 else max(0, end + offset)
                )  # file systems refuse positions far beyond the end
                return file.read(most)
        except FileNotFoundError:
            return b""

    def log_end(self, number: int, most: int) -> bytes:
        """The last ``most`` bytes of a job's log."""
        return self.log_part(number, -most, most)
