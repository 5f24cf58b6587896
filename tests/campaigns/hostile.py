"""Hostile engines, each way a hundred times: how long after its deadline a run is over, and what it is called.

    python -m tests.campaigns.hostile [--times 100] [--deadline 0.5] [--only hang]

The engines are ``tests/doubles/hostile.py``, put to the adapters ``harness:`` and kilnd's in turn by a process that has a keeper, as a
worker has. Printed for each way: the
outcomes with their sentences, and the median and the 99th percentile of the time from the deadline (or, for one that ends by
itself, from its start) to the end of the execution. Exit code 1 where the 99th percentile is over a second, an outcome is another
than it should be, something was left running, or this process grew over 200 MB.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from diffcheck.backend.contract import Backend, Host, Program, RunLimits
from diffcheck.observation import TimedOut, sentence, tag
from diffcheck.process import Reactor
from diffcheck.process.keeper import keep
from diffcheck_backends import harness, kilnd
from tests.doubles import hostile

ENGINE: Final = Path(hostile.__file__)
MEMORY_BYTES: Final = 256 << 20
PARENT_BYTES: Final = 200_000_000
LATE_S: Final = 1.0
OWN_END_S: Final = 30.0
"""The deadline of those that end by themselves: not to be met, however busy the machine is."""
EXPECTED: Final[dict[str, tuple[str, str]]] = {
    "hang": ("timed-out", "timed out after"),
    "ignore-sigterm": ("timed-out", "timed out after"),
    "grandchild": ("returned", "returned"),
    "grandchild-and-hang": ("timed-out", "timed out after"),
    "print-a-gibibyte": ("harness-failed", "printed too much"),
    "print-to-stderr": ("harness-failed", "printed too much"),
    "allocate": ("out-of-memory", "out of memory"),
    "sigsegv": ("crashed", "crashed by signal 11 (SIGSEGV)"),
    "sigkill": ("out-of-memory", "killed by the system"),
    "write-after-the-deadline": ("timed-out", "timed out after"),
    "no-file": ("harness-failed", "no answer (the engine succeeded but wrote no snapshot)"),
    "empty-file": ("harness-failed", "empty answer"),
    "half-a-file": ("harness-failed", "incomplete answer"),
    "duplicate-keys": ("harness-failed", "duplicate name in the answer"),
    "nan": ("harness-failed", "a number is not an integer"),
    "huge-number": ("harness-failed", "a number is out of range"),
    "huge-file": ("harness-failed", "wrote too much"),
    "symbolic-link": ("harness-failed", "a symbolic link"),
    "fifo": ("harness-failed", "not a regular file"),
    "folder": ("harness-failed", "not a regular file"),
    "control-characters": ("harness-failed", "exited 3 without an answer"),
    "good": ("returned", "returned"),
}
"""By way: the class of the outcome, and what its sentence says."""
PROGRAM: Final = Program("direct", b"\0asm\1\0\0\0", entry="run")


def engines(way: str, folder: Path) -> list[Backend]:
    """The way as a command, and as an executable that stands for kilnd."""
    words = shlex.join([sys.executable, "-I", "-S", str(ENGINE), way])
    script = folder / f"kilnd-{way}"
    script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    script.chmod(0o755)
    return [harness.create(words, {}), kilnd.create(str(script), {})]


def limits_of(way: str, deadline_s: float) -> RunLimits:
    """The deadline is for those that hang; it is to be the memory limit that strikes where 256 MB are filled."""
    return RunLimits(deadline_s=deadline_s if way in hostile.HANGING else OWN_END_S, memory_bytes=MEMORY_BYTES)


def children() -> list[int]:
    """Pids of this process's children, those that were left behind among them: it is their subreaper."""
    found: list[int] = []
    for task in os.listdir("/proc/self/task"):
        found += [int(pid) for pid in Path(f"/proc/self/task/{task}/children").read_text().split()]
    return found


def measure(way: str, times: int, deadline_s: float, host: Host) -> tuple[list[float], Counter[str], Counter[str], int]:
    """Times past the deadline, outcomes by class, sentences, and how many processes were found running afterwards."""
    late, classes, sentences, left = [], Counter[str](), Counter[str](), 0
    made = engines(way, host.folder)
    limits = limits_of(way, deadline_s)
    for at in range(times):
        begun = time.monotonic()
        execution = made[at % len(made)].execute(PROGRAM, limits, host)
        elapsed = time.monotonic() - begun
        late.append(elapsed - limits.deadline_s if isinstance(execution.outcome, TimedOut) else elapsed)
        classes[tag(execution.outcome)] += 1
        sentences[sentence(execution.outcome)[:110]] += 1
        left += len(children())
    return sorted(late), classes, sentences, left


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--times", type=int, default=100)
    options.add_argument("--deadline", type=float, default=0.5, help="seconds")
    options.add_argument("--only", default="")
    chosen = options.parse_args()
    ok = True
    with tempfile.TemporaryDirectory() as folder, Reactor() as reactor:
        host = Host(reactor, Path(folder))
        for way in hostile.WAYS:
            if chosen.only and way != chosen.only:
                continue
            late, classes, sentences, left = measure(way, chosen.times, chosen.deadline, host)
            p99 = late[min(len(late) - 1, int(len(late) * 0.99))]
            expected, words = EXPECTED[way]
            right = set(classes) == {expected} and all(words in said for said in sentences)
            timed = way in hostile.HANGING
            ok = ok and right and left == 0 and (p99 <= LATE_S or not timed)
            after = "after its deadline" if timed else "after its start"
            print(
                f"{way:26} {dict(classes)} median {late[len(late) // 2] * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms {after}, {left} left",
                flush=True,
            )
            for said, count in sentences.most_common(2):
                print(f"{'' if right else 'NOT AS EXPECTED':26} {count} x {said}", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak memory of this process {peak / 1e6:.0f} MB")
    return 0 if ok and peak < PARENT_BYTES else 1


if __name__ == "__main__":
    sys.exit(keep(__spec__.name))
