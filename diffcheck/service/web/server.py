"""The web process: Granian with one worker thread. ``python -m diffcheck.service.web.server DATA CONFIG LISTEN PARENT``."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Final

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from diffcheck import process
from diffcheck.service import logs, settings
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.web import app

_HEADER_S: Final = 30_000
_BACKLOG: Final = 1024
_LOG = logging.getLogger("diffcheck.service")


async def _serve(data: DataFolder, listen: str) -> None:
    host, port = settings.address(listen)
    server = Server(
        app.create(data),
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        backlog=_BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_S),
        websockets=False,
        log_access=False,
        log_level=LogLevels.error,  # its lines are not JSON
    )
    server.on_startup(lambda: _LOG.info("serving %s at http://%s", data.path, listen))  # when the socket is open
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve()


def main() -> None:
    """Serve until SIGTERM."""
    folder, config, listen, parent = sys.argv[1:5]
    process.die_with_parent(int(parent))
    logs.prepare()
    asyncio.run(_serve(DataFolder(Path(folder), settings.load(config or None, Path.cwd())), listen))


if __name__ == "__main__":
    main()
