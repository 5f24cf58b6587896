"""A run from request to events: finds the cases, chooses the engines, feeds the workers."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck import process
from diffcheck.cases.case_ids import renamed, require_same_root
from diffcheck.cases.discovery import Case, discover, load_case
from diffcheck.errors import CaseError
from diffcheck.runner.case_order import longest_first, share
from diffcheck.runner.case_run import skipped
from diffcheck.runner.engines import choose
from diffcheck.runner.events import CaseFinished, CaseStarted, EngineProbed, Event, RunFinished, RunStarted
from diffcheck.runner.persist import journal as journals
from diffcheck.runner.persist.cache_files import Store
from diffcheck.runner.pool import Pool
from diffcheck.runner.worker import CaseAnswer, MoreMemory, RunPlanRequest, Setup, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from diffcheck.cases.discovery import Discovery, Item
    from diffcheck.runner.engines import Engines
    from diffcheck.runner.persist.journal import Journal
    from diffcheck.runner.request import PlanLine, Request


def run(request: Request, over: Callable[[], bool] = lambda: False) -> Generator[Event, None, None]:
    """The events of a run, ending with ``RunFinished`` even if it is interrupted: by SIGINT or SIGTERM, or between cases once
    ``over()`` is true.
    """
    begun = time.monotonic_ns()
    found = _discover(request)
    ids = [item.id for item in found.items]
    cases = {case for cases in request.known.values() for case in cases}
    require_same_root(request.known_root, cases, found.root, ids, request.known_file)
    engines = choose(msgspec.structs.replace(request, known=_known(request.known, ids)))
    request = engines.request
    items, division = found.items, ""
    if request.shard is not None:
        own = share(items, request.shard_times_ns, *request.shard)
        items, division = own.items, own.division
    started = RunStarted(
        total=len(items),
        jobs=request.jobs,
        subject=engines.subject_identity,
        oracle=engines.oracle_identity,
        notice=engines.notice,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        division=division,
        places=found.places,
        root=found.root,
        notes=(*found.notes, *_cache_notes(request)),
        judges=engines.judge_identities,
    )
    with contextlib.ExitStack() as stack:
        journal = _journal(request, started, items)
        if journal is not None:
            stack.callback(journal.close)
        reactor, interrupted = stack.enter_context(process.Reactor()), stack.enter_context(process.interruptible())

        def stopped() -> bool:
            return interrupted() or over()

        folder = str(stack.enter_context(process.private_folder()))
        events = partial(_events, engines, reactor, folder, stopped)
        if journal is None:
            yield started
            yield from events(items)
        else:
            yield msgspec.structs.replace(started, started=journal.started, resumed=len(journal.resumed))
            yield from _journaled(journal, events, items)
        if request.cache:
            Store(Path(request.cache)).trim(request.cache_bytes)
        yield RunFinished(interrupted=stopped(), elapsed_ns=time.monotonic_ns() - begun)


def _cache_notes(request: Request) -> Iterator[str]:
    """Yield a note if a cache is given and cannot be written; on a cluster the workers have caches of their own."""
    if request.cache and not request.cluster and (reason := Store(Path(request.cache)).unusable()):
        yield f"nothing is cached: {request.cache} cannot be written: {reason}; use another --cache DIR, or --no-cache"


def _discover(request: Request) -> Discovery:
    return discover([Path(path) for path in request.paths], request.only, request.config_folder, request.ids)


def _known(known: dict[str, tuple[str, ...]], ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The known signatures with the current ids of their cases."""
    names = renamed({case for cases in known.values() for case in cases}, ids)
    return {signature: tuple(names.get(case, case) for case in cases) for signature, cases in known.items()}


def _events(
    engines: Engines,
    reactor: process.Reactor,
    folder: str,
    stopped: Callable[[], bool],
    items: Sequence[Item],
    *,
    probe: bool = True,
) -> Iterator[Event]:
    request = engines.request
    ordered = longest_first(items, request.times_ns)
    probe = probe and request.mode != "capsule"  # probe programs are run unmodified
    if request.cluster:
        from diffcheck.runner.dask.dask_cluster import DaskCluster  # noqa: PLC0415 - only a run on a cluster needs Dask

        events: Iterator[Event] = DaskCluster(engines, stopped).events(ordered, probe=probe)
    elif request.verbose and len(items) == 1:
        events = _run_in_process(request, reactor, folder, items[0], probe=probe)
    else:
        events = Pool(request, reactor, folder, stopped).events(ordered, probe=probe)
    for event in events:
        yield _mark_bad_input(event, _given(request))


def _given(request: Request) -> set[str]:
    """The artifacts that the user named."""
    return {str(Path(path)) for path in request.paths}


def _mark_bad_input(event: Event, named: set[str]) -> Event:
    """The event; a file that was found in a folder is no bad input."""
    if not isinstance(event, CaseFinished) or not event.report.bad_input:
        return event
    return CaseFinished(msgspec.structs.replace(event.report, bad_input=event.report.artifact in named))


def _journal(request: Request, started: RunStarted, items: Sequence[Item]) -> Journal | None:
    """The journal of the resumed run, or a new one; None if the request has none."""
    if not request.journal:
        return None
    path = Path(request.journal)
    own = journals.run_identity(request, started.started, started.subject, started.oracle)
    return (journals.resume(path, own, items) if request.resume else None) or journals.begin(path, own, items)


def _journaled(journal: Journal, events: Callable[..., Iterator[Event]], items: Sequence[Item]) -> Iterator[Event]:
    """The journal's events, then those of the remaining cases; each report is stored before it is yielded."""
    findings = journal.findings()
    if findings is not None:
        yield EngineProbed(findings)
    for report in journal.reports():
        yield CaseFinished(report)
    done = set(journal.resumed)
    left = [item for item in items if item.id not in done]
    if not left and findings is not None:
        return
    for event in events(left, probe=findings is None):
        if isinstance(event, EngineProbed):
            journal.probed(event.engine_findings)
        elif isinstance(event, CaseFinished):
            journal.add(event.report)
        yield event


def _run_in_process(request: Request, reactor: process.Reactor, folder: str, item: Item, *, probe: bool) -> Iterator[Event]:
    """Run one case in this process, so that the output of its engine appears at once."""
    worker = Worker(Setup(request, folder, live=True, ask=True), reactor)
    yield CaseStarted(item.id)
    try:
        worker.prepare(load_case(item))
    except CaseError as error:
        reason = error.line
        yield CaseFinished(skipped(Case(item.id, item.artifact), reason, request.subject, bad_input=True))
        return
    if probe:
        yield EngineProbed(Worker(Setup(request, folder), reactor).probe())  # without showing the output of its programs
    answer = worker.run_plan(RunPlanRequest(again=True))
    if isinstance(answer, MoreMemory):
        answer = worker.run_plan(RunPlanRequest(memory_bytes=answer.memory_bytes))
    assert isinstance(answer, CaseAnswer), "it is asked again once"  # noqa: S101
    yield CaseFinished(answer.report)


def plan(request: Request, note: Callable[[str], None] = lambda _: None) -> Iterator[PlanLine]:
    """The plan of every case; ``note`` receives a line for each file passed over. No engine under test is started."""
    found = _discover(request)
    for line in found.notes:
        note(line)
    request = choose(request).request
    with process.Reactor() as reactor, process.private_folder() as folder:
        artifacts, named = {item.id: item.artifact for item in found.items}, _given(request)
        for each in Pool(request, reactor, str(folder), lambda: False).lines(found.items):
            yield msgspec.structs.replace(each, bad_input=each.bad_input and artifacts[each.case] in named)
