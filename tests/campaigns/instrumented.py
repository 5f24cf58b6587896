"""The corpus instrumented for localising, under wasmtime: ``python -m tests.campaigns.instrumented [NAME...]``.

Every program is run as a plain capsule and instrumented, in both digests; outcomes and observation streams have to be the same. Prints
a line a program, then the overhead in time and size. How many passes localising takes is printed by ``python -m tests.campaigns.localise``.
"""

from __future__ import annotations

import statistics
import sys

from diffcheck import process
from diffcheck.errors import RunFailedError
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.tracing.event_log import VARIANTS
from tests.triage.trials import CORPUS, Bench
from tests.triage.unchanged import compared


def main() -> int:
    names = sys.argv[1:]
    slower, larger, differ, programs, events = [], [], 0, 0, 0
    with process.Reactor() as reactor, process.private_folder() as folder:
        bench = Bench(reactor, folder, 0)
        for path in sorted(CORPUS.glob("*/*.wasm")):
            if names and path.stem not in names:
                continue
            try:
                plan = bench.plan(str(path))
            except RunFailedError as error:
                print(error)
                continue
            programs += 1
            for variant in VARIANTS:
                work = Localiser(plan, bench.request, bench.oracle, bench.inner, bench.host)
                seen = compared(work, plan, variant, rounds=3)
                differ += bool(seen.differences)
                events += seen.events
                slower.append(seen.instrumented_s / seen.plain_s)
                larger.append(seen.instrumented_bytes / seen.plain_bytes)
                said = "; ".join(seen.differences) or "the same"
                print(
                    f"{path.stem} {variant}: {said}; {seen.instances} instances, {seen.events:,} events, "
                    f"{slower[-1]:.1f} times the time, {larger[-1]:.1f} times the size",
                    flush=True,
                )
        bench.close()
    print(f"{programs} programs in both digests: {differ} runs differ; {events:,} events")
    print(
        f"time: median {statistics.median(slower):.2f} times, most {max(slower):.1f}; size: median {statistics.median(larger):.1f} times"
    )
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main())
