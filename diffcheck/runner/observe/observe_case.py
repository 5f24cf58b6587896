"""The whole observation of one case, made in this process. For snapshots and harnesses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck import process
from diffcheck.backend import registry
from diffcheck.cases.discovery import item_at, load_case
from diffcheck.config import option_table
from diffcheck.config.version import __version__
from diffcheck.errors import RunFailedError
from diffcheck.observation import LeftSlice, sentence
from diffcheck.runner import plan as plans
from diffcheck.runner import slicing
from diffcheck.runner.engines import choose, open_engines
from diffcheck.runner.observation_reader import CaseObservation, ObservationReader
from diffcheck.runner.passes.capsule_run import CapsuleSide
from diffcheck.runner.request import Request, Slice, Unknown

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
    "digest": "the digest equals the oracle's, so all values are the oracle's; they were not read from the backend",
    "differences": "it differs from the oracle: differing values were read from the backend, all others have equal digests",
    "full": "every value was read from the backend",
    "carried": "every value was read from the backend",
}


class ObserveRequest(msgspec.Struct, frozen=True):
    """What to run; an empty ``backend`` means the preferred subject.

    ``rows`` are rows in witness's notation, or one of ``MODES``; none means the case file or the default rules. ``full`` reads
    every value from the backend. ``keep_going`` continues in a new instance after a row that does not return.
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
    slice: Slice = "auto"


class CaseRead(msgspec.Struct, frozen=True):
    """An observation with its plan and engines; ``notice`` warns if the backend replaces another that was not found."""

    plan: CapsulePlan
    read: CaseObservation
    backend: Identity
    oracle: Identity
    notice: str


def case_of(request_: ObserveRequest) -> Case:
    """The case of an artifact from the case file beside it, with the requested rows and manifest."""
    path = Path(request_.artifact)
    case = load_case(item_at(path))
    if request_.manifest:
        case = msgspec.structs.replace(case, manifest=request_.manifest)
    rows = tuple(row for row in request_.rows if row not in MODES)
    return msgspec.structs.replace(case, rows=tuple(row for row in rows if row != _INITIALIZE)) if rows else case


def read_case(request_: ObserveRequest) -> CaseRead:
    """Run the case and read its observation; raises ``DiffcheckError`` with the reason if it is incomplete."""
    case = case_of(request_)
    request = Request(
        (request_.artifact,),
        subject=request_.backend or registry.preferred("subject"),
        mode="capsule",
        deadline_s=request_.deadline_s,
        memory_bytes=request_.memory_bytes,
        rows="auto" if "auto" in request_.rows else "declared",
        stub_imports=request_.stub_imports,
        max_passes=request_.max_passes,
        slice=request_.slice,
        program_name=False,
    )
    engines = choose(request)
    request = engines.request
    with open_engines(request) as opened:
        oracle, subject, host = opened.oracle, opened.subject, opened.host
        plan = plans.require_capsule(slicing.make(case, request, oracle, subject, host))
        if plan.others:
            why = f"the rows need {1 + len(plan.others)} slices to fit the memory of the backend, and one is read"
            raise RunFailedError(why, hint="use a larger --memory-limit, or fewer rows at a time (--rows)")
        read = _read(plan, request_, oracle, subject, host)
        for _ in range(slicing.WIDENINGS):
            left = next((each.outcome for each in read.stops if isinstance(each.outcome, LeftSlice)), None)
            if left is None:
                break
            plan = slicing.widened(plan, left.stub, subject)
            read = _read(plan, request_, oracle, subject, host)
        else:
            raise RunFailedError("the backend enters too many functions that the oracle does not enter", hint="use --slice never")
    notice = engines.notice if request_.backend == "auto" else ""  # else the user named the engine
    return CaseRead(plan, read, engines.subject_identity, engines.oracle_identity, notice)


def _read(plan: CapsulePlan, request: ObserveRequest, oracle: Backend, subject: Backend, host: Host) -> CaseObservation:
    reader = ObservationReader(
        CapsuleSide(oracle, plan.capsules.oracle, plan.limits, host),
        _subject_side(subject, plan, host),
        full=request.full,
        max_passes=request.max_passes,
    )
    return reader.read(keep_going=request.keep_going)


def _subject_side(subject: Backend, plan: CapsulePlan, host: Host) -> CapsuleSide:
    side = CapsuleSide(subject, plan.capsules.subject, plan.limits, host)
    room = process.available_memory_bytes() // 2 // max(1, plan.memory_bytes)
    side.at_once = max(1, min(_AT_ONCE, option_table.default_jobs(), room))
    return side


def source(observed: CaseRead) -> dict[str, Any]:
    """The origin of the values: the engine, how they were read, whether the oracle agrees, and which stubs were called."""
    read = observed.read
    return {
        "tool": f"diffcheck {__version__}",
        "backend": {"name": observed.backend.name, "version": observed.backend.version, "sha256": observed.backend.sha256},
        "values": read.how,
        "means": HOW[read.how],
        "oracle": {"name": observed.oracle.name, "version": observed.oracle.version, "agrees": read.agrees},
        "plan": observed.plan.digest,
        **({"slice": observed.plan.slice.summary} if observed.plan.slice is not None else {}),
        "instances": len(read.instances),
        "executions": read.cost.executions,
        "stubs": [
            {"module": module, "name": name, "kind": kind, "calls": calls} for module, name, kind, calls in stub_uses(observed)
        ],
        "not_returned": [
            {"row": stop.row, "outcome": sentence(stop.outcome), "state": "reported" if stop.state_reported else "not reported"}
            for stop in read.stops
        ],
    }


def stub_uses(observed: CaseRead) -> list[tuple[str, str, str, int]]:
    """The stubs that were called: module, name, kind, calls."""
    stubs = observed.plan.layout.stubs
    sums = [0] * len(stubs)
    for instance in observed.read.instances:
        for at, calls in enumerate(instance.stub_calls):
            sums[at] += calls
    return [(each.module, each.name, each.kind, calls) for each, calls in zip(stubs, sums, strict=True) if calls]
