"""A program as it is and instrumented for localising, on one engine: whether anything that is observed differs, and what it costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import msgspec

from diffcheck.capsule import layout as lo
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.plan import CapsulePlan
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.tracing.event_log import NEVER, LogParameters, Variant


class Compared(msgspec.Struct, frozen=True):
    """One program: its instances, its events, the instances that differ in words, seconds without and with instrumentation."""

    instances: int
    events: int
    differences: tuple[str, ...]
    plain_s: float
    instrumented_s: float
    plain_bytes: int
    instrumented_bytes: int


def compared(work: Localiser, plan: CapsulePlan, variant: Variant, rounds: int = 1) -> Compared:
    """Run all rows of a plan's capsule both ways, instance after instance: after a trap the next row has a new one."""
    made = work.instrumenter.instrument(variant, "full", {})
    plain = CapsuleSide(work.oracle, plan.capsules.oracle, plan.limits, work.host)
    logged = work.instrumenter.side(made, work.oracle)
    differences, events, at = [], 0, 0
    plain_s = instrumented_s = 0.0
    count = len(plan.rows) - plan.layout.n_init
    instances = 0
    while at < count or not instances:
        one, took = _timed(lambda at=at: plain.run(lo.Parameters(at, count)), rounds)
        plain_s += took
        other, took = _timed(lambda at=at: logged.logged(LogParameters(at, count, step=NEVER)), rounds)
        instrumented_s += took
        mark = one.header.stream_key if one.header is not None else None
        # How deep calls may go is open (A.2, Implementation Limitations), and frames are larger with the probes.
        exhausted = one.outcome == other.outcome and "exhausted" in str(one.outcome)
        if (mark, str(one.outcome)) != (other.stream, str(other.outcome)) and not exhausted:
            differences.append(f"from row {at}: {one.outcome} {mark} became {other.outcome} {other.stream}")
        events += other.log.count if other.log is not None else 0
        instances += 1
        if mark is None or one.header.record + 1 - plan.layout.n_init <= at:
            break
        at = one.header.record + 1 - plan.layout.n_init
    return Compared(
        instances, events, tuple(differences), plain_s, instrumented_s, len(plan.capsules.standard.wasm), len(logged.capsule.wasm)
    )  # fmt: skip


def _timed(run: Callable, rounds: int):
    run()  # compiled
    found, times = None, []
    for _ in range(rounds):
        begun = time.perf_counter()
        found = run()
        times.append(time.perf_counter() - begun)
    return found, statistics.median(times)
