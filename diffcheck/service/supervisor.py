"""``diffcheck serve``: the web process and the workers, which are started again when they end, and the scheduler."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from diffcheck import process
from diffcheck.errors import ConfigError
from diffcheck.service import access, logs
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.logs import LOGGER
from diffcheck.service.scheduler import Scheduler
from diffcheck.service.settings import address, is_loopback

_POLL_S: Final = 0.1
_AGAIN_S: Final = 1.0
_GRACE_S: Final = 30.0
_WEB: Final = "web"


def serve(data: DataFolder, listen: str, config: str) -> None:
    """Serve until SIGINT or SIGTERM; jobs in progress are handed back. Raises ``ConfigError``, ``ReportError``."""
    host, _ = address(listen)
    data.create()
    if not is_loopback(host) and not access.has_tokens(data.database):
        hint = "make one with `diffcheck serve token NAME`"
        raise ConfigError(f"{host} can be reached from other machines, so that a token is needed", hint=hint)
    logs.prepare()
    with process.locked(data.path), process.interruptible() as stopped:
        data.queue.recover()  # whoever had a lease died with the service before
        names = (_WEB, *(f"worker-{number}" for number in range(1, data.settings.workers + 1)))
        children: dict[str, _Child] = {}
        scheduler = Scheduler(data)
        scheduler.start()
        try:
            while not stopped():
                for name in names:
                    before = children.get(name)
                    if before is None or before.ended():
                        if before is not None:
                            LOGGER.warning("%s ended with %d and is started again", name, before.process.returncode)
                            data.queue.recover(name)
                        children[name] = _Child(name, data.path, listen, config)
                time.sleep(_POLL_S)
        finally:
            scheduler.stop()
            _stop([child.process for child in children.values()])
    LOGGER.info("stopped")


class _Child:
    """A process of the service, started again by another one. It ends when this process does, whose number it gets."""

    def __init__(self, name: str, folder: Path, listen: str, config: str) -> None:
        module, last = ("web.server", listen) if name == _WEB else ("jobs.worker", name)
        command = [sys.executable, "-P", "-m", f"diffcheck.service.{module}", str(folder), config, last, str(os.getpid())]
        self._started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def ended(self) -> bool:
        """Whether it is to be started: it does not run, and its last start is a second ago."""
        return self.process.poll() is not None and time.monotonic() > self._started + _AGAIN_S


def _stop(children: list[subprocess.Popen[bytes]]) -> None:
    """Ask all to end, and kill those for which that takes too long."""
    until = time.monotonic() + _GRACE_S
    for each in children:
        each.terminate()
    for each in children:
        try:
            each.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()
