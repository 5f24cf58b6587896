"""Three nights over the corpus with the real kilnd: the first, one with the same kilnd, and one with another build of it.

    python -m benchmarks.second_night [--kilnd PATH] [--deadline 60] [PATH...]

Every start of kilnd and of the oracle's server is counted where it happens: kilnd is started by a script that notes it, and each server
notes that it loads Wasmtime. The other build is kilnd with a byte more at its end. Exit code 1 where a target is not reached.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks import common
from diffcheck.report import json_file
from diffcheck.verdict import Report
from tests.report.normalised import normal

_NOTED = """import sys
class Noted:
    def find_spec(name, *_):
        if name == "diffcheck_backends.wasmtime_machine":
            with open({log!r}, "a") as log:
                log.write("oracle\\n")
sys.meta_path.insert(0, Noted)
"""


class Night(msgspec.Struct, frozen=True):
    """What a night took, what was started in it, and its report in its normal form."""

    seconds: float
    subjects: int
    oracles: int
    report: Report


class Nights:
    """Nights in a folder of their own, with one cache."""

    def __init__(self, folder: Path, paths: list[str], deadline: float) -> None:
        self.folder, self.paths, self.deadline = folder, paths, deadline
        self.log = folder / "log"
        (folder / "noted").mkdir()
        (folder / "noted" / "sitecustomize.py").write_text(_NOTED.format(log=str(self.log)))
        self.kilnd = folder / "kilnd"

    def build(self, engine: Path) -> None:
        """The kilnd of the nights to come."""
        self.kilnd.write_text(f'#!/bin/sh\necho subject >> {shlex.quote(str(self.log))}\nexec {shlex.quote(str(engine))} "$@"\n')
        self.kilnd.chmod(0o755)

    def night(self, name: str) -> Night:
        """Run everything once."""
        self.log.write_text("")
        command = [
            sys.executable,
            "-m",
            "diffcheck",
            "run",
            *self.paths,
            "--kilnd",
            str(self.kilnd),
            "--deadline",
            str(self.deadline),
        ]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DIFFCHECK_")}
        environment |= {"PYTHONPATH": str(self.folder / "noted"), "NO_COLOR": "1"}
        begun = time.monotonic()
        ended = subprocess.run(
            [*command, "--cache", str(self.folder / "cache"), "--reports", str(self.folder / name)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - begun
        if ended.returncode not in (0, 1, 3):
            raise SystemExit(f"{name}: exit code {ended.returncode}: {ended.stderr[-500:]}")
        started = self.log.read_text().split()
        report = json_file.read(self.folder / name / "report.json")
        night = Night(seconds, started.count("subject"), started.count("oracle"), normal(report))
        print(
            f"{name}: {seconds:.1f} s, kilnd started {night.subjects} times, the oracle's server {night.oracles} times", flush=True
        )
        for case in report.cases:
            if name == "same kilnd" and case.passes and "subject" not in case.cached:
                print(f"  {case.case} was run: {case.verdict}, {case.reason[:150]}")
        return night


def same(one: Report, other: Report) -> bool:
    """Whether two nights found the same, whatever the engine's digest is."""
    return msgspec.structs.replace(one, subject=other.subject) == other


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    options.add_argument("paths", nargs="*", default=[str(common.CORPUS)])
    options.add_argument("--kilnd")
    options.add_argument("--deadline", type=float, default=60.0)
    chosen = options.parse_args()
    engine = Path(common.kilnd(chosen.kilnd)).absolute()
    print(common.load())
    with tempfile.TemporaryDirectory(prefix="nights-") as name:
        folder = Path(name)
        nights = Nights(folder, chosen.paths, chosen.deadline)
        nights.build(engine)
        first, second = nights.night("first night"), nights.night("same kilnd")
        other = folder / "other-kilnd"
        shutil.copy(engine, other)
        with other.open("ab") as file:
            file.write(b"\0")
        nights.build(other)
        third = nights.night("another kilnd")
    if not (first.subjects and first.oracles):
        raise SystemExit("the first night started no engine: what was counted says nothing")
    return common.show(
        common.Line("engines started with the same kilnd", second.subjects + second.oracles, 0),
        common.Line("time of that night, as a part of the first", second.seconds / first.seconds, 0.1),
        common.Line("oracles started with another kilnd", third.oracles, 0, detail=f"kilnd {third.subjects} times"),
        common.Line(
            "nights that found something else", 2 - same(first.report, second.report) - same(first.report, third.report), 0
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
