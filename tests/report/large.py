"""A report of 10,000 cases as a nightly run might have it; ``python -m tests.report.large FOLDER`` writes it in all formats and says
what that took."""

from __future__ import annotations

import gzip
import json
import random
import sys
import time
from pathlib import Path

from diffcheck.observation import Cost, Returned
from diffcheck.report import files, json_file
from diffcheck.report.model import Collector
from diffcheck.verdict import Agreement, Divergence, PassReport, SideReport, StubUse, Where

from . import samples

CASES = 10_000


def report(count=CASES, seed=7, share=0.1, most=11):
    """``share`` of the cases diverge, each in up to ``most`` differences."""
    draw = random.Random(seed)
    cases = tuple(_case(draw, at, share, most) for at in range(count))
    collector = Collector({"mode": "both", "deadline": "10"})
    for event in samples.events(cases):
        collector.take(event)
    return collector.report()


def _case(draw, at, share, most):
    diverges = draw.random() < share
    rows = tuple(f"run_row_{row}" for row in range(draw.randrange(2, 12)))
    divergences = [_divergence(draw, rows) for _ in range(draw.randint(1, most))] if diverges else []
    capsule = PassReport(
        "capsule",
        applicable=True,
        verdict="diverge" if diverges else "agree",
        reason="counter differs" if diverges else "",
        oracle=_side(draw, 40),
        subject=_side(draw, 400),
        divergences=tuple(divergences),
        divergences_total=len(divergences),
        agreement=Agreement(len(rows), 120, 37, 160, 60, 3, ("the state at the trap",) if diverges else ()),
        stubs=tuple(
            StubUse("wasi_snapshot_preview1", name, "functional", draw.randrange(1, 9)) for name in ("fd_write", "clock_time_get")
        ),
    )
    return samples.case(
        f"group-{at % 40:02}/module_{at:05}",
        [capsule, samples.not_applicable("no harness entry (_start, run, 0, 1, main)")],
        capsule.verdict,
        reason=capsule.reason and f"capsule: {capsule.reason}",
        rows=rows,
        sha256=f"{draw.getrandbits(256):064x}",
        elapsed_ns=draw.randrange(10**6, 10**10),
        not_done=("1,200 pages were not digested",) if draw.random() < 0.05 else (),
    )


def _side(draw, ms):
    cost = Cost(int(draw.lognormvariate(0, 1) * ms * 1e6), int(ms * 9e5), draw.randrange(40_000_000, 400_000_000), 2)
    log = "Error: Error { category: Runtime, code: 1005 }" if draw.random() < 0.05 else ""
    return SideReport(Returned(), "returned", cost, f"{draw.getrandbits(128):032x}", log)


def _divergence(draw, rows):
    line = draw.randrange(1, 500)
    where = Where(
        draw.choice(rows), f"counter {draw.randrange(200)}", f"function_{line}", "br_if", f"src/module_{line % 37}.c", line
    )
    oracle, subject = draw.randrange(1000), draw.randrange(1000)
    return Divergence("counter", where, str(oracle), str(subject), f"{line:012x}")


def _peak_bytes():
    """This program's own peak; what getrusage says is inherited from the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main(folder):
    made = report()
    before = time.process_time()
    json_file.write(made, folder)
    for name in files.FORMATS:
        files.write(made, name, folder / f"report.{files.FORMATS[name]}")
    print(json.dumps({
        "cpu_seconds": round(time.process_time() - before, 2),
        "peak_bytes": _peak_bytes(),
        "bytes": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
        "sarif_packed": len(gzip.compress((folder / "report.sarif").read_bytes())),
    }))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]))
