"""SIGKILL to a service and to its workers while it works: every job ends once, every finding is there once.

python -m tests.campaigns.service_kills [--kills 200] [--jobs 500] [--seed 1]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import wasmtime

from diffcheck.nightly import baseline
from diffcheck.report import json_file
from tests.service.live import Live

CONFIG = 'workers = 2\njobs = 1\n[engines]\npulley = "wasmtime-pulley"\n'
NAMES = 50
PAUSE_S = (0.2, 4.0)


def submit(service, number):
    """A job: every second one has a result that is not the expected one. The service may be down."""
    name = f"f{number % NAMES}"
    wasm = wasmtime.wat2wasm(f'(module (func (export "{name}") (result i32) (i32.const {number})))')
    case = f'rows = ["{name} -> {number + number % 2}"]'
    files = {f"{name}.wasm": bytes(wasm), f"{name}.toml": case.encode()}
    while True:
        with suppress(OSError):
            sent = [{"name": each, "sha256": service.upload(data).json["sha256"]} for each, data in files.items()]
            return service.post("/api/v1/jobs", {"kind": "run", "files": sent}).json["id"]
        time.sleep(0.1)


def workers(folder):
    """The process ids of the service's workers."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = entry.read_bytes().split(b"\0")
            if b"diffcheck.service.jobs.worker" in words and str(folder).encode() in words:
                found.append(int(entry.parent.name))
    return found


def kill(service, draw, at):
    """Kill the service, which is started again, or one of its workers."""
    if at % 2:
        service.stop(signal.SIGKILL)
        service.start(wait=False)
    elif running := workers(service.folder / "data"):
        with suppress(ProcessLookupError):
            os.kill(draw.choice(running), signal.SIGKILL)


def ended(service, sent):
    """How many of the jobs that were sent have ended."""
    health = service.get("/api/v1/health").json
    return sent - health["queued"] - health["running"]


def problems(folder, jobs):
    """What is not as it should be in the data of a service."""
    with closing(sqlite3.connect(folder / "service.sqlite")) as connection:
        states = Counter(state for (state,) in connection.execute("SELECT state FROM jobs"))
        runs = [number for (number,) in connection.execute("SELECT job FROM runs")]
        findings = [cause for (cause,) in connection.execute("SELECT cause FROM findings WHERE merged IS NULL")]
        reports = [digest for (digest,) in connection.execute("SELECT report FROM runs")]
        damaged = connection.execute("PRAGMA integrity_check").fetchone()[0]
    signatures = {one for digest in reports for one in baseline.occurrences(json_file.read(folder / "files" / digest[:2] / digest))}
    return [
        *([f"{states} of {jobs} jobs"] if states != {"done": jobs} else []),
        *([f"{len(runs)} runs of {len(set(runs))} jobs"] if sorted(runs) != sorted(set(runs)) or len(runs) != jobs else []),
        *([f"{len(findings)} findings of {len(signatures)} signatures"] if sorted(findings) != sorted(signatures) else []),
        *([f"the database: {damaged}"] if damaged != "ok" else []),
    ]


def campaign(folder, kills, jobs, seed):
    """Run it; returns what is wrong at the end."""
    draw = random.Random(seed)
    service = Live(folder, CONFIG, DIFFCHECK_CACHE=str(folder / "cache")).start()
    try:
        sent = killed = 0
        numbers = set()
        while sent < jobs or killed < kills:
            for _ in range(min(jobs - sent, max(1, jobs // max(kills, 1)) + 1)):
                numbers.add(submit(service, sent))
                sent += 1
            if killed < kills:
                # In step with the jobs: on a busy machine kills would outrun them, and a job fails whose workers are killed too often.
                service.until(lambda sent=sent, killed=killed: ended(service, sent) * kills >= killed * jobs, 3600)
                time.sleep(draw.uniform(*PAUSE_S))
                kill(service, draw, killed)
                killed += 1
        for number in numbers:
            service.until(lambda number=number: service.get(f"/api/v1/jobs/{number}").json["ended"], 3600)
        service.stop()
    finally:
        if service.process.poll() is None:
            service.stop(signal.SIGKILL)
    return problems(folder / "data", jobs)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        begun = time.monotonic()
        found = campaign(Path(name), given.kills, given.jobs, given.seed)
    for each in found:
        print(each)
    print(f"{given.kills} kills, {given.jobs} jobs, {len(found)} problems, {time.monotonic() - begun:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
