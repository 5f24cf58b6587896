"""What is due: scheduled jobs, new builds, expired leases, messages, files to evict. One step every few seconds."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from diffcheck.errors import DiffcheckError
from diffcheck.service import build_folder, notifications
from diffcheck.service.jobs.job_request import JobRequest
from diffcheck.service.logs import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.service.data_folder import DataFolder
    from diffcheck.service.settings import ScheduleEntry

STEP_S: Final = 2.0


class Scheduler(threading.Thread):
    """A thread that does scheduled work in the data folder of a service."""

    def __init__(self, data: DataFolder) -> None:
        super().__init__(name="scheduler", daemon=True)
        self._data = data
        self._end = threading.Event()
        self._failures: set[str] = set()
        self._builds: set[object] = set()

    def stop(self) -> None:
        """End after the current step."""
        self._end.set()
        self.join()

    def run(self) -> None:
        """Do scheduled work until ``stop``."""
        while not self._end.wait(STEP_S):
            self.step()

    def step(self) -> None:
        """Do the work that is due. Failed work is logged once and tried again at the next step."""
        data = self._data
        steps: tuple[Callable[[], None], ...] = (
            data.queue.expire,
            partial(build_folder.watch, data, self._builds),
            *(partial(schedule, data, entry) for entry in data.settings.schedule),
            partial(notifications.deliver, data.database, data.settings.webhooks),
            data.store.evict,
        )
        failures = set()
        for each in steps:
            try:
                each()
            except Exception as error:  # noqa: BLE001 - without the scheduler there is no schedule and no lease expires
                failures.add(str(error))
                if str(error) not in self._failures:
                    LOGGER.warning("scheduled work failed: %s", error, exc_info=not isinstance(error, DiffcheckError))
        self._failures = failures


def schedule(data: DataFolder, entry: ScheduleEntry) -> None:
    """Queue the job of an entry if it is due. Of several missed times, one is caught up; a new entry waits for its next time."""
    now = time.time()
    row = data.database.row("SELECT due FROM schedule WHERE name = ?", entry.name)
    due = row["due"] if row is not None else None
    last = due if due is not None and due <= now else None
    if last is not None:
        request = JobRequest(
            entry.kind, entry.engine, corpus=entry.corpus, budget_seconds=entry.budget_seconds, again=f"{entry.name} {last:.0f}"
        )
        plan, title = data.planner.plan(request)
        data.queue.submit(plan, f"{entry.name}: {title}", owner="schedule")
    after = next_due(entry, now)
    if due is None or last is not None or due > after:
        enter = "INSERT INTO schedule VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET due = ?2, last = coalesce(?3, last)"
        data.database.change(enter, entry.name, after, last)


def next_due(entry: ScheduleEntry, now: float) -> float:
    """The next time of an entry after ``now``, in seconds since 1970."""
    if entry.every_minutes:
        step = entry.every_minutes * 60
        return (now // step + 1) * step
    today = datetime.fromtimestamp(now, UTC)
    hour, minute = map(int, entry.at.split(":"))
    at = today.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (at if at.timestamp() > now else at + timedelta(days=1)).timestamp()
