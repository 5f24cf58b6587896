"""Mutated inputs through reading and sealing, and mutated streams and answers through decoding and comparing.

    python -m tests.campaigns.fuzz [--inputs 1000000] [--streams 100000] [--seed 0] [--first 0] [--jobs N] [--only KIND:NUMBER]

Each input is a function of the seed and its number, so that one that failed is had again by ``--only``, and a long run can be had in
parts by ``--first``. With ``--jobs`` so many processes share the numbers. What is looked for: an
exception that is no ``DiffcheckError``, more than a second of CPU time for one input, more than 500 MB of memory, a sealed module
that the oracle refuses though it took the artifact, and a verdict *agree* on a stream that was changed. Exit code 1 where any was
found. Inputs are real: the corpus, its manifests and case files, snapshots and streams of its own runs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import DiffcheckError, StreamError
from tests.campaigns.fuzzed import Streams, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


CPU_S: Final = 1.0
WALL_S: Final = 15.0
MEMORY_BYTES: Final = 500_000_000


class HangError(BaseException):
    """An input took too long; no ``Exception``, so that nothing takes it for one of its own."""


class Wrong(msgspec.Struct, frozen=True):
    """What was found: the input's kind and number, what was wrong with it, and the end of the traceback."""

    kind: str
    number: int
    what: str


# The loop.


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Raises ``HangError`` in an input that takes over a second of CPU time, or waits."""

    def late(number: int, _frame: object) -> None:
        raise HangError(signal.Signals(number).name)

    before = {number: signal.signal(number, late) for number in (signal.SIGPROF, signal.SIGALRM)}
    try:
        yield
    finally:
        _arm(0, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _arm(cpu_s: float, wall_s: float) -> None:
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, wall_s)


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def one(kind: str, seed: int, number: int, put: Callable[[random.Random], None], cap: int) -> Wrong | None:
    """One input; what was wrong with it, if anything was."""
    chance = random.Random(hashlib.sha256(f"{seed}:{kind}:{number}".encode()).digest())
    _arm(CPU_S, WALL_S)
    what = ""
    try:
        put(chance)
    except (StreamError, DiffcheckError) as error:
        what = "" if kind == "input" else f"{type(error).__name__}: {error}"
    except HangError as error:
        what = f"over {CPU_S:g} s ({error})\n{_last_frames()}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        what = f"{type(error).__name__}: {error}\n{_last_frames()}"
    finally:
        _arm(0, 0)
    if not what and peak_bytes() > cap:
        what = f"memory grew to {peak_bytes() / 1e6:.0f} MB"
    return Wrong(kind, number, what) if what else None


def _last_frames() -> str:
    return "".join(traceback.format_exc().splitlines(keepends=True)[-7:])


def run(kind: str, seed: int, numbers: range, put: Callable[[random.Random], None], *, progress: bool = False) -> list[Wrong]:
    """All inputs of a kind; gives what was wrong, at most 20 of them."""
    found: list[Wrong] = []
    cap = max(MEMORY_BYTES, peak_bytes() + MEMORY_BYTES // 2)  # a test runner may have been large before
    begun = time.monotonic()
    for done, number in enumerate(numbers, 1):
        wrong = one(kind, seed, number, put, cap)
        if wrong is not None:
            if wrong.what.startswith("memory"):
                cap = peak_bytes() + 50_000_000
            found.append(wrong)
            if progress:
                print(f"{wrong.kind}:{wrong.number}: {wrong.what}", flush=True)
            if len(found) == 20:
                break
        if progress and done % 20_000 == 0:
            rate = done / (time.monotonic() - begun)
            print(f"{kind}: {done:,} of {len(numbers):,}, {rate:,.0f} a second, peak {peak_bytes() / 1e6:.0f} MB", flush=True)
    return found


def part(kind: str, seed: int, numbers: range) -> int:
    """Put these numbers through, and print what came of it; the exit code."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder, watched():
        world = World(Path(folder))
        put = world.reading if kind == "input" else Streams(world).decode
        begun = time.monotonic()
        wrong = run(kind, seed, numbers, put, progress=True)
        elapsed = time.monotonic() - begun
    said = ", ".join(f"{what} {times:,}" for what, times in sorted(world.said.items()))
    print(
        f"{kind} {numbers.start:,} to {numbers.stop - 1:,}{f' by {numbers.step}' * (numbers.step > 1)}: {len(numbers):,} in {elapsed:.0f} s, "
        f"{len(wrong)} wrong, peak memory {peak_bytes() / 1e6:.0f} MB; {said}",
        flush=True,
    )
    return 1 if wrong else 0


def shared(kind: str, seed: int, numbers: range, jobs: int) -> int:
    """The same by so many processes, each with every so many-th number."""
    shares = [numbers[at::jobs] for at in range(min(jobs, len(numbers)))]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_exit_with, args=(kind, seed, share)) for share in shares]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    return max((abs(each.exitcode or 0) for each in processes), default=0)


def _exit_with(kind: str, seed: int, numbers: range) -> None:
    sys.exit(part(kind, seed, numbers))


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("--inputs", type=int, default=100_000, help="mutated inputs for reading and sealing")
    options.add_argument("--streams", type=int, default=10_000, help="mutated streams for decoding and comparing")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--first", type=int, default=0, help="the first number of each kind")
    options.add_argument("--jobs", type=int, default=1, help="processes that share the numbers")
    options.add_argument("--only", default="", help="KIND:NUMBER of one input (kinds: input, stream)")
    chosen = options.parse_args()
    if chosen.only:
        kind, _, number = chosen.only.partition(":")
        return part(kind, chosen.seed, range(int(number), int(number) + 1))
    codes = [
        shared(kind, chosen.seed, range(chosen.first, chosen.first + count), chosen.jobs)
        for kind, count in (("input", chosen.inputs), ("stream", chosen.streams))
    ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
