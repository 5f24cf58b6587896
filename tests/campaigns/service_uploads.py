"""Hostile artifacts, case files and manifests uploaded to a service: each costs no more than its own case or its own job.

python -m tests.campaigns.service_uploads [--uploads 1000] [--seed 1]

A job is one good artifact and hostile ones. Every request is answered below status 500, every job ends, and where the case files
are accepted the good artifact agrees.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import wasmtime

from tests.campaigns.mutations import mutated_module, mutated_text
from tests.service.live import Live

CONFIG = 'workers = 1\njobs = 1\n[engines]\npulley = "wasmtime-pulley"\n[limits]\nupload_seconds = 900\n'
CORPUS = Path(__file__).parents[2] / "corpus"
GOOD = {
    "good.wasm": bytes(wasmtime.wat2wasm('(module (func (export "run") (result i32) (i32.const 1)))')),
    "good.toml": b'rows = ["run"]',
}
TEXTS = (
    b"(module " + b"(block " * 50_000,
    b'(module (func (export "run") (loop (br 0))))',
    b'(module (memory 65536) (func (export "run") (memory.fill (i32.const 0) (i32.const 1) (i32.const -1))))',
    b'(module (func $f (export "run") (call $f)))',
    b"(module (table 4000000000 funcref))",
    b"\xff\xfe\x00",
)
ARTIFACTS_A_JOB = 10
SMALL_BYTES = 12_000
MOST_JOB_S = 1800


def hostile(draw):
    """The files of a hostile artifact by their suffixes: mutated ones of the corpus, or a text that asks for much."""
    if draw.random() < 0.1:
        return {".wat": draw.choice(TEXTS), ".toml": b'rows = ["run"]\n[limits]\ndeadline_s = 2'}
    paths = sorted(path for path in CORPUS.rglob("*.wasm") if path.stat().st_size < SMALL_BYTES)
    chosen, other = draw.choice(paths), draw.choice(paths)
    files = {".wasm": mutated_module(chosen.read_bytes(), draw, other.read_bytes())}
    for beside, suffix in ((chosen.with_suffix(".toml"), ".toml"), (Path(f"{chosen}.witness.json"), ".wasm.witness.json")):
        if beside.is_file():
            text = beside.read_text()
            files[suffix] = mutated_text(text, draw) if draw.random() < 0.2 else text.encode()
    return files


def problems(service, draw, number, counts):
    """Submit a job of hostile artifacts; returns what is wrong, and counts the answers and the verdicts."""
    files = dict(GOOD)
    for at in range(ARTIFACTS_A_JOB):
        files |= {f"h{number}_{at}{suffix}": data for suffix, data in hostile(draw).items()}
    named = []
    for name, data in files.items():
        answer = service.upload(data)
        counts[f"upload {answer.status}"] += 1
        if answer.status == 201:
            named.append({"name": name, "sha256": answer.json["sha256"]})
        elif answer.status >= 500:
            return [f"{name}: status {answer.status}"]
    answer = service.post("/api/v1/jobs", {"kind": "run", "files": named})
    while answer.status == 409:  # a case file that cannot be used: the job goes without it
        counts["case file refused"] += 1
        refused = next(each for each in named if each["name"] in answer.json["detail"])
        named.remove(refused)
        answer = service.post("/api/v1/jobs", {"kind": "run", "files": named})
    if answer.status != 201:
        return [f"a job has status {answer.status}: {answer.text[:300]}"]
    job = service.ended(answer.json["id"], MOST_JOB_S)
    if job["state"] != "done":
        return [f"job {job['id']} is {job['state']}: {job['reason']}"]
    (run,) = service.get(f"/api/v1/jobs/{job['id']}/runs").json["items"]
    counts.update(run["totals"])
    cases = {case["name"]: case["verdict"] for case in service.get(f"/api/v1/cases?suite={run['suite']}&limit=200").json["items"]}
    return [] if cases.get("good") == "agree" else [f"job {job['id']}: the good artifact has {cases.get('good')}"]


def campaign(folder, uploads, seed):
    """Run it; returns what is wrong, and the counts."""
    draw, counts, found = random.Random(seed), Counter(), []
    service = Live(folder, CONFIG, DIFFCHECK_CACHE=str(folder / "cache")).start()
    try:
        number = 0
        while sum(count for name, count in counts.items() if name.startswith("upload")) < uploads:
            found += problems(service, draw, number, counts)
            number += 1
        log = (folder / "log").read_text()
        found += [line for line in log.splitlines() if "is started again" in line or '"level":"error"' in line]
    finally:
        service.stop(signal.SIGTERM)
    return found, counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        begun = time.monotonic()
        found, counts = campaign(Path(name), given.uploads, given.seed)
    for each in found:
        print(each)
    print(", ".join(f"{name}: {count:,}" for name, count in sorted(counts.items())))
    print(f"{len(found)} problems, {time.monotonic() - begun:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
