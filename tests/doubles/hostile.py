"""An engine of the harness protocol that fails in one way: ``python tests/doubles/hostile.py WAY``.

``by-module`` as the way has the module say it, by an export such as ``way:hang``; it is run as kilnd's stand-in runs it where it
says none. Started by path, without an import path: module and answer are in the environment.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

GIB = 1 << 30
HEAD = '{"schema":"witness-harness-v1","counters":'


def hang() -> None:
    time.sleep(3600)


def ignore_sigterm() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(60)


def _grandchild() -> None:
    """Holds our pipes open, in a session of its own."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)


def grandchild() -> None:
    _grandchild()
    answer(HEAD + '{"0":1}}')


def grandchild_and_hang() -> None:
    _grandchild()
    hang()


def print_a_gibibyte() -> None:
    chunk = b"x" * (1 << 20)
    for _ in range(1 << 10):
        os.write(1, chunk)
    answer(HEAD + "{}}")


def print_to_stderr() -> None:
    chunk = b"\x1b[31m" * (1 << 16)
    while True:
        os.write(2, chunk)


def allocate() -> None:
    kept = []
    try:
        while True:
            kept.append(bytearray(b"x" * (16 << 20)))
    except MemoryError:  # under a limit of address space: as an engine written in Rust ends
        kept.clear()
        sys.stderr.write("memory allocation of 16777216 bytes failed\n")
        sys.stderr.flush()
        os.kill(os.getpid(), signal.SIGABRT)


def sigsegv() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def sigkill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def write_after_the_deadline() -> None:
    if os.fork():
        hang()
    os.setsid()
    time.sleep(2)
    answer(HEAD + '{"0":1}}')


def no_file() -> None:
    pass


def empty_file() -> None:
    answer("")


def half_a_file() -> None:
    answer(HEAD + '{"0":1,"1"')


def duplicate_keys() -> None:
    answer(HEAD + '{"0":1,"0":2}}')


def nan() -> None:
    answer(HEAD + '{"0":NaN}}')


def huge_number() -> None:
    answer(HEAD + '{"0":1' + "0" * 400 + "}}")


def huge_file() -> None:
    """One of 1 GiB of text, written, not only said to be so long; no program but Python ignores SIGXFSZ."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with Path(os.environ["WITNESS_OUTPUT"]).open("wb") as file:
        file.writelines(b" " * (1 << 20) for _ in range(1 << 10))


def symbolic_link() -> None:
    Path(os.environ["WITNESS_OUTPUT"]).symlink_to("/etc/passwd")


def fifo() -> None:
    os.mkfifo(os.environ["WITNESS_OUTPUT"])


def folder() -> None:
    Path(os.environ["WITNESS_OUTPUT"]).mkdir()


def control_characters() -> None:
    sys.stderr.write("\x1b]0;title\x07\x1b[2J\u202eError: \0 nothing\n")
    sys.exit(3)


def good() -> None:
    answer(HEAD + "{}}")


def by_module() -> None:
    module = Path(os.environ["WITNESS_MODULE"]).read_bytes()
    said = re.search(rb"way:([a-z-]+)", module)
    if said:
        WAYS[said[1].decode()]()
    else:
        os.execv(sys.executable, [sys.executable, str(Path(__file__).with_name("kilnd.py"))])


def answer(text: str) -> None:
    Path(os.environ["WITNESS_OUTPUT"]).write_text(text)


WAYS = {name.replace("_", "-"): value for name, value in list(globals().items()) if callable(value) and name[0] != "_"}
for other in ("Path", "answer", "by-module"):
    WAYS.pop(other, None)
HANGING = frozenset({"hang", "ignore-sigterm", "grandchild-and-hang", "write-after-the-deadline"})
"""Those that only a deadline ends."""

if __name__ == "__main__":
    if "--version" in sys.argv or "WITNESS_OUTPUT" not in os.environ:
        sys.exit(0)
    {**WAYS, "by-module": by_module}[sys.argv[1]]()
