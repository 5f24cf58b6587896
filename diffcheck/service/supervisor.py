"""``diffcheck serve``: the web process and the workers, which are started again when they end, and the clock."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.errors import ConfigError
from diffcheck.service import access, logs
from diffcheck.service.clock import Clock
from diffcheck.service.settings import address, is_loopback

if TYPE_CHECKING:
    from pathlib import Path

    from diffcheck.service.data_folder import DataFolder

_POLL_S: Final = 0.1
_AGAIN_S: Final = 1.0
_GRACE_S: Final = 30.0
_WEB: Final = "web"
_LOG = logging.getLogger("diffcheck.service")


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
        children = {name: _Child(name, data.path, listen, config) for name in names}
        clock = Clock(data)
        clock.start()
        try:
            while not stopped():
                for child in children.values():
                    if child.ended():
                        data.queue.recover(child.name)
                        child.start()
                time.sleep(_POLL_S)
        finally:
            clock.stop()
            _stop(list(children.values()))
    _LOG.info("stopped")


class _Child:
    """A process of the service that is started again when it ends."""

    def __init__(self, name: str, folder: Path, listen: str, config: str) -> None:
        self.name = name
        module, last = ("web.server", listen) if name == _WEB else ("jobs.worker", name)
        self._command = [sys.executable, "-P", "-m", f"diffcheck.service.{module}", str(folder), config, last, str(os.getpid())]
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def ended(self) -> bool:
        """Whether it is to be started: it does not run, and its last start is a second ago."""
        running = self._process is not None and self._process.poll() is None
        return not running and time.monotonic() > self._started + _AGAIN_S

    def start(self) -> None:
        """Start it; it ends when this process does, whose number it gets."""
        if self._process is not None:
            _LOG.warning("%s ended with %d and is started again", self.name, self._process.returncode)
        self._started = time.monotonic()
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self, after_s: float) -> None:
        """Wait for its end, and kill it if that takes too long."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(after_s)
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def _stop(children: list[_Child]) -> None:
    until = time.monotonic() + _GRACE_S
    for each in children:
        each.stop()
    for each in children:
        each.kill(max(0.0, until - time.monotonic()))
