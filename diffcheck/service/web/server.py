"""The web process: Granian with one worker thread. ``python -m diffcheck.service.web.server DATA CONFIG LISTEN PARENT``."""

from __future__ import annotations

import asyncio
import signal
from typing import Final

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from diffcheck.service import data_folder, settings
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.logs import LOGGER
from diffcheck.service.web import app

_HEADER_S: Final = 30_000
_BACKLOG: Final = 1024


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
        log_level=LogLevels.error,  # its lines are not JSON
    )
    server.on_startup(lambda: LOGGER.info("serving %s at http://%s", data.path, listen))  # when the socket is open
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve()


def main() -> None:
    """Serve until SIGTERM."""
    asyncio.run(_serve(*data_folder.of_child()))


if __name__ == "__main__":
    main()
