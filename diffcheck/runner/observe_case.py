"""One case read in this process: engines chosen, planned, run, its observation given back whole. For snapshots and harnesses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.cases.discovery import item_at, load_case
from diffcheck.config import option_table
from diffcheck.config.version import __version__
from diffcheck.errors import CaseError
from diffcheck.observation import sentence
from diffcheck.runner import plan as plans
from diffcheck.runner.engines import choose, open_engines
from diffcheck.runner.observation_reader import CaseObservation, ObservationReader
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.request import Request, Unknown

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host
    from diffcheck.cases.discovery import Case
    from diffcheck.observation import Identity
    from diffcheck.runner.observation_reader import How
    from diffcheck.runner.plan import CapsulePlan

MODES: Final = ("auto", "declared")
_AT_ONCE: Final = 8
_INITIALIZE: Final = "_initialize"

HOW: Final[dict[How, str]] = {
    "digest": "the digest of everything observed is the oracle's, so the values are equal; they were not read one by one",
    "differences": "it differs from the oracle: what differs was read from the backend, all the rest is equal by digest",
    "full": "every value was read from the backend",
    "carried": "every value was read from the backend",
}


class ObserveRequest(msgspec.Struct, frozen=True):
    """What to run; no ``backend`` means the preferred subject.

    ``rows`` are rows as witness writes them, or one of ``MODES``; none means the case file or the default rules.
    ``full`` reads every value from the backend itself. ``keep_going`` goes on in a new instance after a row that does not return.
    """

    artifact: str
    backend: str = ""
    rows: tuple[str, ...] = ()
    stub_imports: Unknown = "zero"
    full: bool = False
    keep_going: bool = False
    deadline_s: float = 60.0
    memory_bytes: int = 4 << 30
    max_passes: int = 1000
    manifest: str = ""


class CaseRead(msgspec.Struct, frozen=True):
    """What was read, of which plan, and from which engines; ``notice`` says where the backend is a stand-in for another."""

    plan: CapsulePlan
    read: CaseObservation
    backend: Identity
    oracle: Identity
    notice: str


def case_of(wanted: ObserveRequest) -> Case:
    """The case of an artifact: its case file beside it, with the rows and the manifest that were asked for."""
    path = Path(wanted.artifact)
    case = load_case(item_at(path))
    if wanted.manifest:
        case = msgspec.structs.replace(case, manifest=wanted.manifest)
    words = [row for row in wanted.rows if row in MODES]
    rows = tuple(row for row in wanted.rows if row not in MODES)
    if words and rows:
        raise CaseError(
            f"--rows {words[0]} and --rows {rows[0]} do not go together", hint="name the rows, or give auto or declared alone"
        )
    return msgspec.structs.replace(case, rows=tuple(row for row in rows if row != _INITIALIZE)) if rows else case


def read_case(wanted: ObserveRequest) -> CaseRead:
    """Run the case and read it; raises ``DiffcheckError`` with the reason where there is no whole observation."""
    case = case_of(wanted)
    request = Request(
        (wanted.artifact,),
        subject=wanted.backend or registry.preferred("subject"),
        mode="capsule",
        deadline_s=wanted.deadline_s,
        memory_bytes=wanted.memory_bytes,
        rows="auto" if "auto" in wanted.rows else "declared",
        stub_imports=wanted.stub_imports,
        max_passes=wanted.max_passes,
        program_name=False,
    )
    engines = choose(request)
    request = engines.request
    with open_engines(request) as opened:
        oracle, subject, host = opened.oracle, opened.subject, opened.host
        plan = plans.require_capsule(plans.make(case, request, oracle, oracle, subject, host))
        reader = ObservationReader(
            CapsuleSide(oracle, plan.capsules.oracle, plan.limits, host),
            _subject_side(subject, plan, host),
            full=wanted.full,
            max_passes=wanted.max_passes,
        )
        read = reader.read(keep_going=wanted.keep_going)
    notice = engines.notice if wanted.backend == "auto" else ""  # else it is the engine that was asked for
    return CaseRead(plan, read, engines.subject_identity, engines.oracle_identity, notice)


def _subject_side(subject: Backend, plan: CapsulePlan, host: Host) -> CapsuleSide:
    side = CapsuleSide(subject, plan.capsules.subject, plan.limits, host)
    room = process.available_memory_bytes() // 2 // max(1, plan.memory_bytes)
    side.at_once = max(1, min(_AT_ONCE, option_table.default_jobs(), room))
    return side


def source(seen: CaseRead) -> dict[str, Any]:
    """Where the values come from: the engine, how they were read, what the oracle says, and which stubs answered the program."""
    read = seen.read
    return {
        "tool": f"diffcheck {__version__}",
        "backend": {"name": seen.backend.name, "version": seen.backend.version, "sha256": seen.backend.sha256},
        "values": read.how,
        "means": HOW[read.how],
        "oracle": {"name": seen.oracle.name, "version": seen.oracle.version, "agrees": read.agrees},
        "plan": seen.plan.digest,
        "instances": len(read.instances),
        "executions": read.cost.executions,
        "stubs": [{"module": module, "name": name, "kind": kind, "calls": calls} for module, name, kind, calls in stub_uses(seen)],
        "not_returned": [
            {"row": stop.row, "outcome": sentence(stop.outcome), "state": "reported" if stop.state_reported else "not reported"}
            for stop in read.stops
        ],
    }


def stub_uses(seen: CaseRead) -> list[tuple[str, str, str, int]]:
    """The stubs that were called in what was read: module, name, kind, calls."""
    stubs = seen.plan.layout.stubs
    sums = [0] * len(stubs)
    for instance in seen.read.instances:
        for at, calls in enumerate(instance.stub_calls):
            sums[at] += calls
    return [(each.module, each.name, each.kind, calls) for each, calls in zip(stubs, sums, strict=True) if calls]
