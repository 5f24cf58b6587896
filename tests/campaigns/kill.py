"""SIGKILL to diffcheck, to a worker, its keeper, its oracle server or an engine, at random instants of a run.

    python -m tests.campaigns.kill [--times 200] [--target NAME]... [--seed 0] [--subject NAME] [PATH...]

After each: within two seconds no process of the run may be there, the report is the old one or a whole new one, and nothing but
reports stands beside it. ``--times`` is for each target; runs of different targets take turns. Where something other than diffcheck was killed, the run goes on and every case has its verdict. What a
killed run left in the folder for temporary files is removed by the next run. Exit code 1 where any of this did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.report import json_file

if TYPE_CHECKING:
    from collections.abc import Sequence

CORPUS: Final = Path(__file__).parents[2] / "corpus"
PATHS: Final = tuple(str(CORPUS / name) for name in ("01-decisions", "07-traps/assertion.wasm"))
GONE_S: Final = 2.0
TARGETS: Final = ("diffcheck", "worker", "keeper", "oracle server", "engine")
_TRIES: Final = 5
_NAMES: Final = {"worker": "worker", "keeper": "keeper", "oracle server": "wasmtime_server"}


class Trial(msgspec.Struct, frozen=True):
    """One kill: what was killed, when, how long anything was still there, the exit code, and what was wrong."""

    target: str
    after_s: float
    gone_s: float
    code: int | None
    wrong: str


def processes(mark: str) -> dict[int, str]:
    """Names by pid (``comm`` of proc_pid_comm(5)) of all processes that have the mark in their environment, arguments or folder."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                folder = Path(entry.path)
                line = (folder / "cmdline").read_bytes()
                state = (folder / "stat").read_bytes().rpartition(b")")[2].split()[0]
                texts = (line, (folder / "environ").read_bytes(), os.fsencode((folder / "cwd").readlink()))
                if state != b"Z" and any(mark.encode() in text for text in texts):
                    found[int(entry.name)] = (folder / "comm").read_text().strip()
    return found


def _own_name(pid: int) -> str:
    """A forked child has its parent's name until it gives itself another."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def start(
    paths: Sequence[str], subject: str, reports: Path, *options: str, errors: bool = False, **environment: str
) -> subprocess.Popen[bytes]:
    """A run of diffcheck in a process of its own, without a cache unless the environment allows one; its stderr is kept for ``errors``."""
    command = [sys.executable, "-m", "diffcheck", "run", *paths, "--subject", subject, "--reports", str(reports), *options]
    return subprocess.Popen(
        command,
        env={**os.environ, "NO_COLOR": "1", "DIFFCHECK_NO_CACHE": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if errors else subprocess.DEVNULL,
    )


class Runs:
    """Runs of diffcheck in a folder of their own."""

    def __init__(self, base: Path, paths: tuple[str, ...], subject: str) -> None:
        self.base, self.paths, self.subject = base, paths, subject
        self.temporary = base / "temporary"
        self.temporary.mkdir()
        self.cases = 0

    def start(self, reports: Path) -> subprocess.Popen[bytes]:
        """Begin a run."""
        return start(self.paths, self.subject, reports, "--jobs", "2", TMPDIR=str(self.temporary))

    def whole(self) -> float:
        """A run that nothing happens to; gives its seconds."""
        begun = time.monotonic()
        shutil.rmtree(self.base / "whole", ignore_errors=True)
        self.start(self.base / "whole").wait()
        self.cases = len(json_file.read(self.base / "whole" / "report.json").cases)
        return time.monotonic() - begun

    def trial(self, number: int, target: str, after_s: float) -> Trial:
        """One run with one kill."""
        reports = self.base / f"reports-{number}"
        old = number % 2 == 0
        if old:
            shutil.copytree(self.base / "whole", reports)
        run = self.start(reports)
        time.sleep(after_s)
        killed = self._kill(run, target)
        if target == "diffcheck" or not killed:
            run.kill() if target == "diffcheck" else None
            run.wait()
        else:
            try:
                run.wait(120)
            except subprocess.TimeoutExpired:
                run.kill()
                return Trial(target, after_s, 0.0, None, "the run did not end")
        gone_s = self._gone()
        wrong = self._wrong(reports, run, target, gone_s, old=old)
        shutil.rmtree(reports, ignore_errors=True)
        return Trial(target if killed else "nothing (not there)", after_s, gone_s, run.returncode, wrong)

    def _kill(self, run: subprocess.Popen[bytes], target: str) -> bool:
        if target == "diffcheck":
            return run.poll() is None
        while run.poll() is None:  # an engine may live for milliseconds only: the next one, then
            there = {pid: name for pid, name in processes(str(self.temporary)).items() if pid != run.pid}
            if target in _NAMES:
                chosen = [pid for pid, name in there.items() if _NAMES[target] == name]
            else:
                chosen = [pid for pid, name in there.items() if name not in _NAMES.values() and name != _own_name(run.pid)]
            for pid in chosen[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    return True
        return False

    def _gone(self) -> float:
        """Seconds until nothing of the run was there any more."""
        begun = time.monotonic()
        while processes(str(self.temporary)) and time.monotonic() - begun < GONE_S + 1:
            time.sleep(0.02)
        return time.monotonic() - begun

    def _wrong(self, reports: Path, run: subprocess.Popen[bytes], target: str, gone_s: float, *, old: bool) -> str:
        if gone_s > GONE_S:
            return f"still there: {processes(str(self.temporary))}"
        path = reports / "report.json"
        if old and not path.exists():
            return "the old report is gone"
        if path.exists():
            try:
                report = json_file.read(path)
            except Exception as error:  # noqa: BLE001 - whatever it is, the file was not whole
                return f"the report is not whole: {error}"
            if target != "diffcheck" and len(report.cases) != self.cases:
                return f"{len(report.cases)} of {self.cases} cases have a verdict"
        elif target != "diffcheck":
            return f"no report (exit code {run.returncode})"
        return ""

    def left(self) -> list[str]:
        """What killed runs left in the folder for temporary files once another run is over; their age is faked."""
        before = [entry for entry in self.temporary.iterdir() if entry.is_dir()]
        for entry in before:
            os.utime(entry, (0, 0))
        self.start(self.base / "last").wait()
        return [entry.name for entry in self.temporary.iterdir()]


def trials(runs: Runs, times: int, seed: int, targets: Sequence[str] = TARGETS) -> list[Trial]:
    """So many trials of each target, in turns."""
    chance = random.Random(seed)
    length_s = statistics.median(runs.whole() for _ in range(min(times, 3)))
    done: list[Trial] = []
    for _ in range(times):
        for target in targets:
            for _ in range(_TRIES):  # a run may be over before its instant comes
                done.append(runs.trial(len(done), target, chance.uniform(0, length_s)))
                if done[-1].wrong:
                    print(f"{target} after {done[-1].after_s:.3f} s: {done[-1].wrong}", flush=True)
                if len(done) % 20 == 0:
                    print(f"{len(done)} runs, {sum(bool(trial.wrong) for trial in done)} wrong so far", flush=True)
                if done[-1].target == target:
                    break
    return done


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("paths", nargs="*", default=PATHS)
    options.add_argument("--times", type=int, default=200, help="kills of each target (default: 200)")
    options.add_argument("--target", action="append", choices=TARGETS, help="what is killed; may be given again (default: all)")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--subject", default="auto")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        runs = Runs(Path(folder), tuple(chosen.paths), chosen.subject)
        done = trials(runs, chosen.times, chosen.seed, chosen.target or TARGETS)
        left = runs.left()
    for target, count in Counter(trial.target for trial in done).items():
        of = [trial for trial in done if trial.target == target]
        codes = dict(Counter(trial.code for trial in of))
        print(f"{target:20} {count:4} killed, gone after at most {max(trial.gone_s for trial in of):.2f} s, exit codes {codes}")
    wrong = [trial for trial in done if trial.wrong]
    kills = sum(trial.target in TARGETS for trial in done)
    print(f"{kills} kills, {len(wrong)} wrong; left in the folder for temporary files after the next run: {left or 'nothing'}")
    return 1 if wrong or left else 0


if __name__ == "__main__":
    sys.exit(main())
