"""Commands to start as children, and what tests ask of processes."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from diffcheck import process
from diffcheck.process import ProcessResult, Reactor

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024
ENV = process.scrubbed_environment()
ROOT = str(Path(process.__file__).resolve().parents[2])

ECHO = f"""
import sys, time
sys.path.insert(0, {ROOT!r})
from diffcheck.process.framing import claim_channel, read_frame, write_frame
reader, writer = claim_channel()
print("a stray print")
while (message := read_frame(reader)) is not None:
    if message.startswith(b"sleep "):
        time.sleep(float(message[6:]))
    if message == b"die":
        sys.exit(7)
    write_frame(writer, message)
"""
ECHO_SERVER = [sys.executable, "-c", ECHO]


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", code]


def shell(code: str) -> list[str]:
    return ["/bin/sh", "-c", code]


def run(reactor: Reactor, command: list[str], deadline_s: float = 10, **limits: object) -> ProcessResult:
    return reactor.wait(reactor.start(command, env=ENV, deadline_s=deadline_s, **limits))  # type: ignore[arg-type]


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in "ZX"


def until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def own_peak_bytes() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")
