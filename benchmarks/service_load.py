"""The pages of a service with 100,000 results and 10,000 findings, while two jobs run engines.

python benchmarks/service_load.py [--seconds 20] [--clients 4]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import common
import msgspec

from diffcheck.observation import Identity, Returned
from diffcheck.report.model import Collector
from diffcheck.runner.events import CaseFinished, RunFinished, RunStarted
from diffcheck.service import results
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs.job_queue import Plan
from diffcheck.service.settings import ServiceSettings
from diffcheck.verdict import Agreement, CaseReport, Divergence, PassReport, SideReport, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.verdict import Report

CASES, RUNS, FINDINGS = 2_500, 40, 10_000
TARGET_MS = 100.0
PAGES = (
    "/", "/findings", "/findings?state=new&q=result", "/findings/{finding}", "/cases?suite=corpus", "/cases?suite=corpus&q=case-1",
    "/cases/{case}", "/map", "/builds", "/jobs", "/jobs/1", "/submit", "/api/v1/findings?limit=200", "/api/v1/cases?suite=corpus",
    "/api/v1/runs", "/api/v1/findings/{finding}",
)  # fmt: skip


def report(run: int) -> Report:
    """A run of all cases; the first one has all findings, the others a hundredth of them."""
    each = FINDINGS // CASES
    collector = Collector({})
    collector.take(RunStarted(CASES, 2, Identity("engine", f"1.{run}", f"{run:064x}"), Identity("oracle", "1", "0" * 64), "",
                              started=f"2026-01-{1 + run % 28:02}T{run // 28:02}:00:00+00:00", root="/corpus"))  # fmt: skip
    for at in range(CASES):
        diverges = run == 0 or at % 100 == 0
        divergences = tuple(
            Divergence("result", Where(f"row_{n}", f"result {n}", f"function_{at}"), "1", "2", f"{at:06}{n:06}")
            for n in range(each)
        )
        side = SideReport(Returned(), "returned")
        done = PassReport("capsule", applicable=True, verdict="diverge" if diverges else "agree", oracle=side, subject=side,
                          divergences=divergences if diverges else (), divergences_total=each * diverges,
                          agreement=Agreement(each, 10, 5, 10, 5, 1))  # fmt: skip
        rows = tuple(f"row_{n}" for n in range(each))
        collector.take(CaseFinished(CaseReport(f"corpus/case-{at}", f"corpus/case-{at}.wasm", "0" * 64, done.verdict, "", "agree",
                                               vacuous=False, plan="0", rows=rows, passes=(done,))))  # fmt: skip
    collector.take(RunFinished(interrupted=False, elapsed_ns=10**9))
    return collector.report()


def fill(folder: Path) -> None:
    """Enter the runs as workers do."""
    data = DataFolder(folder, ServiceSettings())
    data.create()
    digest = data.store.add([b"{}"])
    for run in range(RUNS):
        with data.database.writing() as connection:
            number = connection.execute(
                "INSERT INTO jobs (key, kind, title, plan, priority, state, created, ended) VALUES (?, 'run', 'night', ?, 0, 'done', ?, ?)",
                (str(run), msgspec.json.encode(Plan("run", ())).decode(), time.time(), time.time()),
            ).lastrowid
            results.enter(connection, results.Source(number, "", "corpus", digest, {}), report(run), ())
    with data.database.reading() as connection:
        counts = [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("results", "findings")]
    common.note(f"{counts[0]:,} results, {counts[1]:,} findings")


def client(port: int, seconds: float, seed: int, taken: dict[str, list[float]]) -> None:
    """Ask for pages in turn, one after the other."""
    draw, until = random.Random(seed), time.monotonic() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while time.monotonic() < until:
        page = draw.choice(PAGES)
        address = page.format(finding=draw.randrange(1, FINDINGS), case=draw.randrange(1, CASES))
        begun = time.perf_counter()
        connection.request("GET", address)
        answer = connection.getresponse()
        answer.read()
        taken[page].append((time.perf_counter() - begun) * 1e3)
        assert answer.status == 200, (address, answer.status)


@contextlib.contextmanager
def serving(folder: Path, port: int) -> Iterator[None]:
    """The service with two workers that run the corpus."""
    config = folder / "service.toml"
    config.write_text(f'workers = 2\njobs = 1\n[engines]\nauto = "auto"\n[corpora]\ncorpus = "{common.CORPUS}"\n')
    command = [sys.executable, "-P", "-m", "diffcheck", "serve", "--data", str(folder / "data"), "--config", str(config)]
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], env=os.environ, stdout=log, stderr=log)
    try:
        yield
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait()


def start_jobs(port: int) -> None:
    """Wait for the service, and queue two runs of the corpus."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while True:
        with contextlib.suppress(OSError):
            connection.request("GET", "/api/v1/health")
            connection.getresponse().read()
            break
        connection.close()
        time.sleep(0.1)
    for again in "ab":
        body = msgspec.json.encode({"kind": "run", "corpus": "corpus", "again": again})
        connection.request("POST", "/api/v1/jobs", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()
    time.sleep(3)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=4)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, socket.socket() as probe:
        folder = Path(name)
        fill(folder / "data")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        taken: dict[str, list[float]] = {page: [] for page in PAGES}
        with serving(folder, port):
            start_jobs(port)
            threads = [threading.Thread(target=client, args=(port, given.seconds, seed, taken)) for seed in range(given.clients)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
    lines = []
    for page, values in taken.items():
        p95 = statistics.quantiles(values, n=20)[-1]
        detail = f"median {statistics.median(values):.0f} ms, most {max(values):.0f} ms, {len(values)} answers; {common.load()}"
        lines.append(common.Line(f"p95 of {page}", p95, TARGET_MS, unit=" ms", detail=detail))
    return common.show(*lines)


if __name__ == "__main__":
    sys.exit(main())
