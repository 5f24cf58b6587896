"""A program that starts children on request; see ``tests/process/test_keeper.py``."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import tempfile
from pathlib import Path

import msgspec

from diffcheck.process import Reactor, claim_channel, read_frame, spawn, write_frame

# An engine with two descendants: one in its group and one in its own session.
LEAVING = "sleep 100 & echo $!; setsid sleep 100 & echo $!; wait"


def main() -> int:
    """Answer one message after the other: ``engine``, ``state``, ``limit``, ``exit N``, ``signal N`` and ``raise``."""
    reader, writer = claim_channel()
    with Reactor() as reactor:
        while (message := read_frame(reader)) is not None:
            word, *numbers = message.decode().split()
            match word:
                case "engine":
                    answer = _engine(reactor)
                case "state":
                    answer = _state()
                case "limit":
                    child = reactor.start(
                        [sys.executable, "-c", "import time; time.sleep(0.3); bytearray(1 << 30)"],
                        env={}, deadline_s=20, memory_bytes=512 << 20,
                    )  # fmt: skip
                    answer = str(reactor.wait(child).stderr.decode().strip().splitlines()[-1:])
                case "exit":
                    sys.exit(int(numbers[0]))
                case "signal":
                    os.kill(os.getpid(), int(numbers[0]))
                    answer = ""
                case _:
                    raise ValueError("requested")
            write_frame(writer, answer.encode())
    return 0


def _engine(reactor: Reactor) -> str:
    pids = Path(tempfile.gettempdir()) / f"kept-{os.getpid()}"
    child = reactor.start(["/bin/sh", "-c", f"({LEAVING}) > {pids}"], env={"PATH": os.environ["PATH"]}, deadline_s=100)
    while not pids.exists() or len(pids.read_text().split()) < 2:
        reactor.pump(0.01)
    found = [str(child.pid), *pids.read_text().split()]
    pids.unlink()
    return " ".join(found)


def _state() -> str:
    opened = []
    for descriptor in range(3, 64):
        try:
            fcntl.fcntl(descriptor, fcntl.F_GETFD)
        except OSError:
            continue
        opened.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()).split(":")[0])
    state = {
        "pid": os.getpid(),
        "has_keeper": spawn.has_keeper,
        "environment": sorted(os.environ),
        "open": sorted(opened),
        "sigint": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "sigterm": signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "name": Path("/proc/self/comm").read_text().strip(),
    }
    return msgspec.json.encode(state).decode()


if __name__ == "__main__":
    sys.exit(main())
