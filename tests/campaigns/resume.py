"""SIGKILL to a run at random instants: every file that it left parses, and ``--resume`` ends in the report of a run that was not killed.

    python -m tests.campaigns.resume [--times 200] [--seed 0] [--subject NAME] [PATH...]

Each trial begins a run in an empty folder and kills it at an instant drawn over its whole length; every third one kills the
resumed run as well, before it may end. Half of them keep a cache, whose entries have to be whole too. Exit code 1 where anything
did not parse or a report differs.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
import zlib
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from diffcheck import process
from diffcheck.report import json_file
from diffcheck.runner.persist import journal
from diffcheck.runner.persist.cache_files import PART
from tests.campaigns import kill
from tests.report.normalised import normal

PATHS: Final = (str(kill.CORPUS / "01-decisions"), str(kill.CORPUS / "07-traps" / "assertion.wasm"))
NAMED: Final = {"--junit-xml": "junit.xml", "--sarif": "diffcheck.sarif", "--markdown": "summary.md"}
AGAIN: Final = 3


class Trial(msgspec.Struct, frozen=True):
    """One run that was killed: when, how many cases its journal had by then, and what was wrong."""

    after_s: float
    done: int
    wrong: str


class Runs:
    """Runs of diffcheck over the same cases, each trial in a folder of its own."""

    def __init__(self, base: Path, paths: tuple[str, ...], subject: str) -> None:
        self.base, self.paths, self.subject = base, paths, subject
        begun = time.monotonic()
        self.end(self.start(base / "whole", cached=False))
        self.length_s = time.monotonic() - begun
        self.report = normal(json_file.read(base / "whole" / "report.json"))

    def start(self, folder: Path, *more: str, cached: bool) -> subprocess.Popen[bytes]:
        """Begin a run that writes every format."""
        folder.mkdir(exist_ok=True)
        files = [word for option, name in NAMED.items() for word in (option, str(folder / name))]
        cache = ["--cache", str(folder / "cache")] if cached else []
        options = ("--jobs", "1", "--mode", "capsule", *files, *cache, *more)
        no_cache = "" if cached else "1"
        return kill.start(self.paths, self.subject, folder, *options, errors=True, DIFFCHECK_NO_CACHE=no_cache)

    def end(self, run: subprocess.Popen[bytes]) -> str:
        """Wait for a run; what it said where it failed."""
        said = run.communicate()[1]
        return "" if run.returncode in (0, 1, 3) else f"exit code {run.returncode}: {said[-300:]!r}"

    def trial(self, number: int, chance: random.Random) -> Trial:
        """One run that is killed, perhaps twice, and goes on."""
        folder, cached = self.base / f"trial-{number}", number % 2 == 0
        after_s = chance.uniform(0, self.length_s * 1.05)
        wrong = self._killed(folder, after_s, cached=cached)
        done = journal.unfinished(folder / journal.FILE_NAME)[0]
        if not wrong and number % AGAIN == 0:
            wrong = self._killed(folder, chance.uniform(0, self.length_s), "--resume", cached=cached)
        wrong = wrong or self.end(self.start(folder, "--resume", cached=cached)) or unparsed(folder)
        if not wrong and normal(json_file.read(folder / "report.json")) != self.report:
            wrong = "the resumed report differs from that of the run that was not killed"
        if not wrong:
            shutil.rmtree(folder)
        return Trial(after_s, done, wrong)

    def _killed(self, folder: Path, after_s: float, *more: str, cached: bool) -> str:
        run = self.start(folder, *more, cached=cached)
        time.sleep(after_s)
        run.kill()
        run.communicate()
        return unparsed(folder)


def unparsed(folder: Path) -> str:
    """Which file of a folder for reports does not parse; empty where all do."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith((".tmp", "-wal", "-shm", "-journal")):
            try:
                _parse(path)
            except Exception as error:  # noqa: BLE001 - whatever it is, the file does not parse
                return f"{path.name}: {type(error).__name__} {error}"
    return ""


def _parse(path: Path) -> None:
    data = path.read_bytes()
    if PART in path.parts:
        zlib.decompress(data[process.HEAD_BYTES :])  # which has a checksum
    elif path.name == "report.json":
        json_file.decode(data, path.name)
    elif path.suffix in (".json", ".sarif", ".lock"):
        json.loads(data)
    elif path.suffix == ".xml":
        ET.fromstring(data)
    elif path.suffix == ".sqlite":
        with sqlite3.connect(path) as connection:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise ValueError("its integrity check fails")
        connection.close()
    elif path.suffix == ".html":
        if not data.rstrip().endswith(b"</html>"):
            raise ValueError("the page has no end")
    elif path.suffix == ".md":
        if not data.endswith(b"\n"):
            raise ValueError("the summary has no end")
    else:
        raise ValueError("an unknown file")


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("paths", nargs="*", default=PATHS)
    options.add_argument("--times", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--subject", default="wasmtime-pulley")
    chosen = options.parse_args()
    chance = random.Random(chosen.seed)
    with tempfile.TemporaryDirectory(prefix="resume-") as folder:
        runs = Runs(Path(folder), tuple(chosen.paths), chosen.subject)
        trials = []
        for number in range(chosen.times):
            trials.append(runs.trial(number, chance))
            print(f"\r{number + 1} of {chosen.times}", end="", file=sys.stderr, flush=True)
            if trials[-1].wrong:
                print(f"killed after {trials[-1].after_s:.3f} s: {trials[-1].wrong}", flush=True)
    done = Counter(trial.done for trial in trials)
    print(f"a run takes {runs.length_s:.1f} s and has {len(runs.report.cases)} cases; killed so often with so many of them done:")
    print(", ".join(f"{count} with {cases}" for cases, count in sorted(done.items())))
    wrong = sum(bool(trial.wrong) for trial in trials)
    print(f"{len(trials)} kills, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
