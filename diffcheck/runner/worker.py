"""A case worker: a process that takes one case at a time, starts engines for it, and gives back its report.

Two messages a case: the case, answered by what it is expected to need; then the word to go on, answered by the report. So the
parent admits runs by memory without reading an artifact itself. The worker's engines are its own children and die with it.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from diffcheck import probe, process
from diffcheck.backend import contract
from diffcheck.cases.discovery import Case
from diffcheck.errors import DiffcheckError, EngineUnusableError
from diffcheck.probe import known_answer
from diffcheck.runner import case_run as cases
from diffcheck.runner import engines
from diffcheck.runner import plan as plans
from diffcheck.runner.builds import BuildWatch
from diffcheck.runner.persist import execution_cache
from diffcheck.runner.persist.cache_files import Store
from diffcheck.runner.request import PlanLine, Request
from diffcheck.verdict import CaseReport, EngineFinding

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.runner.plan import Plan

T = TypeVar("T")
_TRIES: Final = 3


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """The first message: what the run is, and the folder to work in; with ``ask`` the engines are asked a known answer first.
    Without ``runs`` cases are planned only, and no engine under test is started.
    """

    request: Request
    folder: str
    live: bool = False
    ask: bool = False
    runs: bool = True


class PrepareRequest(msgspec.Struct, frozen=True, tag="prepare"):
    """Take up a case; ``files`` where its files are not where it says."""

    case: Case
    files: plans.Files | None = None


class ProbeRequest(msgspec.Struct, frozen=True, tag="probe"):
    """Ask the subject what it can do."""


class Go(msgspec.Struct, frozen=True, tag="go"):
    """Run the case that was prepared."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker's engines are set up."""


class PreparedPlan(msgspec.Struct, frozen=True, tag="prepared"):
    """What the case is expected to need, and its line of the plan."""

    memory_bytes: int
    line: PlanLine


class ProbeAnswer(msgspec.Struct, frozen=True, tag="probed"):
    """What is true of the subject and not of a case."""

    engine_findings: tuple[EngineFinding, ...]


class Done(msgspec.Struct, frozen=True, tag="done"):
    """The case's report."""

    report: CaseReport


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Our own environment failed, in words; the worker goes on."""

    what: str


class Unusable(msgspec.Struct, frozen=True, tag="unusable"):
    """An engine cannot be used, or not any longer: the error that ends the run."""

    what: str
    hint: str


Message = Setup | ProbeRequest | PrepareRequest | Go
Answer = Ready | ProbeAnswer | PreparedPlan | Done | Failed | Unusable


class Worker:
    """The worker's state between messages."""

    def __init__(self, setup: Setup, reactor: process.Reactor) -> None:
        self.request = setup.request
        # An engine against itself should agree, whatever a case expects of it against another.
        own = self.request.subject_name or self.request.subject
        self.subject_name = "default" if self.request.subject == self.request.oracle else own
        self.host: Host = contract.Host(reactor, Path(setup.folder), setup.live)
        roles = engines.create(self.request)
        self.oracle, self.subject = roles.oracle, roles.subject
        store = Store(Path(self.request.cache)) if self.request.cache and self.request.keys else None
        self.watch = BuildWatch(self.request.builds)
        self.judge: Oracle = execution_cache.Judge(roles.judge, store, self.request.keys.get("judge", ""), self.watch)
        self.tapes = execution_cache.Tapes(store, self.request.keys) if store else None
        self.plan: Plan | None = None
        self.runs = setup.runs
        if setup.ask:
            self._ask(of_oracle=roles.judge is not roles.oracle)

    def answer(self, message: ProbeRequest | PrepareRequest | Go) -> Answer:
        """Do what a message asks for."""
        match message:
            case ProbeRequest():
                return ProbeAnswer(self.probe())
            case PrepareRequest(case, files):
                return self.prepare(case, files)
            case Go():
                return self.go()

    def prepare(self, case: Case, files: plans.Files | None = None) -> PreparedPlan:
        """Make the case's plan."""
        if self.runs:
            self._complete_capabilities()
        plan = plans.make(case, self.request, self.judge, self.oracle, self.subject, self.host, files)
        self.plan = plan
        if isinstance(plan, plans.SkippedPlan):
            return PreparedPlan(0, PlanLine(case.id, skipped=plan.reason))
        line = PlanLine(
            case=case.id,
            rows=len(plan.rows) - (plan.layout.n_init if isinstance(plan, plans.CapsulePlan) else 0),
            capsule=plan.no_capsule,
            direct=plan.no_direct,
            functions=plan.functions,
            memory_bytes=plan.memory_bytes,
            passes=(not plan.no_capsule) + (not plan.no_direct),
        )
        return PreparedPlan(plan.memory_bytes, line)

    def go(self) -> Done:
        """Run the plan."""
        assert self.plan is not None, "the parent prepares first"  # noqa: S101
        plan, self.plan = self.plan, None
        if self.tapes is None or isinstance(plan, plans.SkippedPlan):
            return Done(self._watched(lambda: self._run(plan, self.oracle, self.subject)))
        tapes, name = self.tapes, execution_cache.name_of(plan)

        def run() -> tuple[CaseReport, execution_cache.Tape, execution_cache.Tape]:
            oracle, subject = tapes.tape(self.oracle, "oracle", name), tapes.tape(self.subject, "subject", name)
            return self._run(plan, oracle, subject), oracle, subject

        report, oracle, subject = self._watched(run)
        return Done(tapes.keep(report, name, oracle, subject))

    def probe(self) -> tuple[EngineFinding, ...]:
        """What the probes find out about the subject."""
        limits = contract.RunLimits()
        limits = msgspec.structs.replace(limits, deadline_s=min(limits.deadline_s, self.request.deadline_s))
        return self._kept(self.subject, "subject", "probe", lambda subject: probe.engine_findings(subject, self.host, limits))

    def _ask(self, *, of_oracle: bool) -> None:
        """Ask the subject, and an oracle that is not known to be one, one known answer."""
        ask = partial(known_answer.require, host=self._unwatched, limits=self._limits)
        self._kept(self.subject, "subject", "known answer", partial(ask, spec=self.request.subject))
        if of_oracle:
            self._kept(self.oracle, "oracle", "known answer", partial(ask, spec=self.request.oracle))

    def _complete_capabilities(self) -> None:
        """Fill in what the adapters leave open of their engines; asked once a worker."""
        ask = partial(known_answer.capabilities, host=self._unwatched, limits=self._limits)
        roles: tuple[tuple[Backend, execution_cache.Role], ...] = ((self.subject, "subject"), (self.oracle, "oracle"))
        for engine, role in roles:
            if None in (engine.capabilities.exceptions, engine.capabilities.gc):
                engine.capabilities = self._kept(engine, role, "capabilities", ask)

    @property
    def _limits(self) -> contract.RunLimits:
        return contract.RunLimits(deadline_s=self.request.deadline_s, memory_bytes=self.request.memory_bytes)

    @property
    def _unwatched(self) -> Host:
        """The host for what no person watches."""
        return msgspec.structs.replace(self.host, live=False)

    def _kept(self, engine: Backend, role: execution_cache.Role, name: str, work: Callable[[Backend], T]) -> T:
        """What comes of ``work`` with the engine, whose executions are kept in the cache where there is one."""
        tapes = self.tapes
        if tapes is None:
            return self._watched(lambda: work(engine))

        def run() -> tuple[T, execution_cache.Tape]:
            tape = tapes.tape(engine, role, name)
            return work(tape), tape

        done, tape = self._watched(run)
        tapes.put(tape, role, name)
        return done

    def _watched(self, work: Callable[[], T]) -> T:
        """What comes of ``work`` by the builds that the run began with; EngineUnusableError where there are others."""
        for _ in range(_TRIES):
            done = work()
            if self.watch.unchanged():
                return done
        self.watch.require()
        raise EngineUnusableError("an engine's files are written to all the time", hint="run again once the build is finished")

    def _run(self, plan: Plan, oracle: Backend, subject: Backend) -> CaseReport:
        return cases.run(plan, self.request.max_passes, oracle, subject, self.host, self.subject_name, self.request)


def _failure(error: DiffcheckError, watch: BuildWatch) -> Answer:
    """The answer for an error, whose reason may be an engine that was replaced or removed."""
    try:
        watch.unchanged()
    except EngineUnusableError as reason:
        error = reason
    return Unusable(str(error), error.hint) if isinstance(error, EngineUnusableError) else Failed(error.line)


def main() -> None:
    """Answer messages until the parent closes the channel."""
    reader, writer = process.claim_channel()
    process.die_with_parent()
    with process.Reactor() as reactor, contextlib.suppress(BrokenPipeError):
        worker: Worker | None = None
        watch = BuildWatch(())
        decoder = msgspec.msgpack.Decoder(Message)
        while (frame := process.read_frame(reader)) is not None:
            message = decoder.decode(frame)
            try:
                if isinstance(message, Setup):
                    watch = BuildWatch(message.request.builds)
                    worker = Worker(message, reactor)
                    answer: Answer = Ready()
                elif worker is None:
                    answer = Failed("the worker was not set up")
                else:
                    answer = worker.answer(message)
            except DiffcheckError as error:
                answer = _failure(error, watch)
            except OSError as error:
                answer = Failed(f"{os.strerror(error.errno) if error.errno else error} ({error.filename or 'no file'})")
            except MemoryError:
                answer = Failed("out of memory in the worker")
            process.write_frame(writer, msgspec.msgpack.encode(answer))


__all__ = ["Answer", "Done", "Failed", "Go", "Message", "PrepareRequest", "PreparedPlan", "Ready", "Setup", "Unusable", "main"]

if __name__ == "__main__":
    main()
