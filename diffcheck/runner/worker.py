"""A case worker: a process that takes one case at a time, runs it under both engines and returns its report.

A case takes two messages: ``PrepareRequest``, answered by the expected memory, then ``RunPlanRequest``, answered by the report. So
the parent admits runs by memory without reading an artifact itself. The engines are children of the worker and die with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from diffcheck import probe, process
from diffcheck.backend import adapter_errors, contract, registry
from diffcheck.cases.discovery import Case
from diffcheck.compare.judgement import with_judgements
from diffcheck.errors import AdapterError, DiffcheckError, EngineUnusableError
from diffcheck.probe import engine_check
from diffcheck.runner import case_run as cases
from diffcheck.runner import engines, judges, memory_retry, planning, row_judge, slicing
from diffcheck.runner import plan as plans
from diffcheck.runner.engine_files import BuildWatch
from diffcheck.runner.passes.load_check import chunk_bytes
from diffcheck.runner.persist import execution_cache
from diffcheck.runner.persist.cache_files import Store
from diffcheck.runner.persist.row_plan_cache import StoredRowPlans
from diffcheck.runner.request import PlanLine, Request
from diffcheck.verdict import CaseReport, EngineFinding

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.runner.judges import Judge
    from diffcheck.runner.plan import Plan
    from diffcheck.verdict import Opinion

T = TypeVar("T")
_TRIES: Final = 3


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """The first message: the request and a private folder. With ``ask`` the engines run a known-answer test first.

    Without ``runs`` cases are only planned, and no engine under test is started.
    """

    request: Request
    folder: str
    live: bool = False
    ask: bool = False
    runs: bool = True


class PrepareRequest(msgspec.Struct, frozen=True, tag="prepare"):
    """Plan a case; ``files`` if its files are not at their paths."""

    case: Case
    files: plans.Files | None = None


class ProbeRequest(msgspec.Struct, frozen=True, tag="probe"):
    """Probe the subject."""


class RunPlanRequest(msgspec.Struct, frozen=True, tag="go"):
    """Run the prepared case, with ``memory_bytes`` for each execution if that is not 0. With ``again`` the answer may be
    ``MoreMemory``.
    """

    again: bool = False
    memory_bytes: int = 0


class SetupAnswer(msgspec.Struct, frozen=True, tag="ready"):
    """The engines are set up."""


class PreparedPlan(msgspec.Struct, frozen=True, tag="prepared"):
    """The expected memory of the case, and its line of the plan."""

    memory_bytes: int
    line: PlanLine


class ProbeAnswer(msgspec.Struct, frozen=True, tag="probed"):
    """The engine issues of the subject, independent of cases."""

    engine_findings: tuple[EngineFinding, ...]


class CaseAnswer(msgspec.Struct, frozen=True, tag="done"):
    """The case's report."""

    report: CaseReport


class MoreMemory(msgspec.Struct, frozen=True, tag="more-memory"):
    """The subject needed more memory than the plan expected: the memory with which the case is to be run again, alone."""

    memory_bytes: int


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """Our own environment failed, with the reason; the worker stays usable."""

    what: str


class Unusable(msgspec.Struct, frozen=True, tag="unusable"):
    """An engine cannot be used any longer: the error that ends the run."""

    what: str
    hint: str


Message = Setup | ProbeRequest | PrepareRequest | RunPlanRequest
Answer = SetupAnswer | ProbeAnswer | PreparedPlan | MoreMemory | CaseAnswer | Failed | Unusable


class Worker:
    """The state of the worker between messages."""

    def __init__(self, setup: Setup, reactor: process.Reactor) -> None:
        self.request = setup.request
        self.host: Host = contract.Host(reactor, Path(setup.folder), setup.live)
        roles = engines.create(self.request)
        self.oracle, self.subject = roles.oracle, roles.subject
        store = Store(Path(self.request.cache)) if self.request.cache and self.request.keys else None
        self.watch = BuildWatch(self.request.builds)
        self.validator: Oracle = execution_cache.CachedValidator(
            roles.validator, store, self.request.keys.get("validator", ""), self.watch
        )
        self.tapes = execution_cache.Tapes(store, self.request.keys) if store else None
        self.bodies = execution_cache.StoredBodies(store, self.request.keys["subject"], self.watch) if store else None
        self.row_plans = StoredRowPlans(store, self.request.keys["validator"], self.watch) if store else None
        self.judges = roles.judges
        self.plan: Plan | None = None
        self.case: tuple[Case, plans.Files | None] | None = None
        self.runs = setup.runs
        if setup.ask:
            self._test_known_answers(of_oracle=roles.validator is not roles.oracle)
        gc.freeze()  # what is loaded by now stays: collections between cases need not look at it

    def answer(self, message: ProbeRequest | PrepareRequest | RunPlanRequest) -> Answer:
        """Handle a message."""
        match message:
            case ProbeRequest():
                return ProbeAnswer(self.probe())
            case PrepareRequest(case, files):
                return self.prepare(case, files)
            case RunPlanRequest():
                return self.run_plan(message)

    def prepare(self, case: Case, files: plans.Files | None = None) -> PreparedPlan:
        """Plan a case."""
        if self.runs:
            self._complete_capabilities()
        plan = planning.make(case, self.request, self.validator, self.oracle, self.subject, self.host, files, self.row_plans)
        if self.runs:
            plan = self._in_slices(plan, self.subject)
        self.plan, self.case = plan, (case, files)
        if isinstance(plan, plans.SkippedPlan):
            return PreparedPlan(0, PlanLine(case.id, skipped=plan.reason, bad_input=plan.bad_input))
        line = PlanLine(
            case=case.id,
            rows=len(plan.case_rows) - (plan.layout.n_init if isinstance(plan, plans.CapsulePlan) else 0),
            capsule=plan.no_capsule,
            direct=plan.no_direct,
            functions=plan.functions,
            memory_bytes=plan.memory_bytes,
            passes=(not plan.no_capsule) + (not plan.no_direct),
            planned=_planned(plan),
        )
        memory_bytes = max([plan.memory_bytes, *(each.memory_bytes for each in getattr(plan, "others", ()))])
        if isinstance(plan, plans.CapsulePlan) and plan.slice is not None and self.request.load_check == "auto":
            memory_bytes = chunk_bytes(plan)
        return PreparedPlan(memory_bytes, line)

    def _in_slices(self, plan: Plan, subject: Backend) -> Plan:
        """The plan, or that of the artifact's slices; what the oracle executes is cached."""
        if not isinstance(plan, plans.CapsulePlan) or not slicing.applies(plan, self.request, subject):
            return plan
        name = f"executed functions {plan.capsules.oracle.sha256}"
        choose = partial(slicing.chosen, plan, self.request, subject=subject, host=self.host)
        return self._cached(self.oracle, "oracle", name, lambda oracle: choose(oracle=oracle))

    def run_plan(self, message: RunPlanRequest) -> CaseAnswer | MoreMemory:
        """Run the plan."""
        assert self.plan is not None, "the parent prepares first"  # noqa: S101
        plan = memory_retry.with_limit(self.plan, message.memory_bytes) if message.memory_bytes else self.plan
        report, store = self._compared(plan, self.subject, "subject", self.request)
        return self._more_memory(plan, report, message) or CaseAnswer(self._judged(store()))

    def _compared(
        self, plan: Plan, subject: Backend, role: execution_cache.Role, request: Request
    ) -> tuple[CaseReport, Callable[[], CaseReport]]:
        """The report of a plan, and a function that caches its executions and returns the report that says so."""

        def report(oracle: Backend, subject: Backend) -> CaseReport:
            passes = request.max_passes
            return cases.run(plan, passes, oracle, subject, self.host, self.request.expected_of, request, self.bodies)

        tapes = self.tapes
        if tapes is None or isinstance(plan, plans.SkippedPlan):
            found = self._with_same_builds(lambda: report(self.oracle, subject))
            return found, lambda: found

        def run() -> tuple[CaseReport, execution_cache.Tape, execution_cache.Tape]:
            oracle = tapes.tape(self.oracle, "oracle", execution_cache.name_of(plan, "oracle"))
            tested = tapes.tape(subject, role, execution_cache.name_of(plan, role))
            return report(oracle, tested), oracle, tested

        found, oracle, tested = self._with_same_builds(run)
        return found, lambda: tapes.keep(found, plan, oracle, tested, role)

    def _judged(self, report: CaseReport) -> CaseReport:
        """The report with the opinions of the judges, which run a case only if the engines differ in it."""
        if not self.judges or not any(judges.places(report)):
            return report
        found: dict[str, tuple[Opinion, ...]] = {}
        for judge in self.judges:
            for signature, each in self._opinions(judge, report).items():
                found[signature] = (*found.get(signature, ()), each)
        return with_judgements(report, found, registry.engine(self.request.oracle), registry.engine(self.request.subject))

    def _opinions(self, judge: Judge, report: CaseReport) -> dict[str, Opinion]:
        if isinstance(judge.backend, contract.RowEngine):
            return row_judge.opinions(judge, report, self.plan, self._unwatched)
        own, same_form = self._under(judge, hangs=judges.hangs(report))
        return judges.opinions(judge, report, own, same_form=same_form)

    def _under(self, judge: Judge, *, hangs: bool) -> tuple[CaseReport, bool]:
        """The report with a judge as the subject, and whether its capsule records as much as the subject's."""
        assert self.case is not None, "the parent prepares first"  # noqa: S101
        case, files = self.case
        request = msgspec.structs.replace(self.request, confirm=0, hangs=hangs, load_check="never")
        backend = judge.backend
        try:
            self._complete_capabilities_of(backend, judge.role)
            plan = planning.make(case, request, self.validator, self.oracle, backend, self.host, files, self.row_plans)
            plan = self._in_slices(plan, backend)
            _, store = self._compared(plan, backend, judge.role, request)
            return store(), judges.same_form(self.plan, plan)
        except EngineUnusableError:
            raise
        except DiffcheckError as error:  # it has no opinion
            return cases.skipped(case, error.line, self.request.expected_of), True

    def _more_memory(self, plan: Plan, report: CaseReport, message: RunPlanRequest) -> MoreMemory | None:
        memory_bytes = memory_retry.needed(plan, report) if message.again else 0
        return MoreMemory(memory_bytes) if memory_bytes else None

    def probe(self) -> tuple[EngineFinding, ...]:
        """The engine issues that the probes find in the subject."""
        limits = contract.RunLimits()
        limits = msgspec.structs.replace(limits, deadline_s=min(limits.deadline_s, self.request.deadline_s))
        return self._cached(self.subject, "subject", "probe", lambda subject: probe.engine_findings(subject, self.host, limits))

    def _test_known_answers(self, *, of_oracle: bool) -> None:
        """Run the known-answer test of the subject, of judges, and of an oracle that cannot validate."""
        ask = partial(engine_check.require, host=self._unwatched, limits=self._limits)
        self._cached(self.subject, "subject", "known answer", partial(ask, spec=self.request.subject))
        if of_oracle:
            self._cached(self.oracle, "oracle", "known answer", partial(ask, spec=self.request.oracle))
        for judge in self.judges:
            if isinstance(judge.backend, contract.RowEngine):
                row_judge.require(judge, self._unwatched, self._limits)
                continue
            self._cached(judge.backend, judge.role, "known answer", partial(ask, spec=judge.spec))

    def _complete_capabilities(self) -> None:
        """Test the capabilities that adapters leave open, once for each worker."""
        self._complete_capabilities_of(self.subject, "subject")
        self._complete_capabilities_of(self.oracle, "oracle")

    def _complete_capabilities_of(self, engine: Backend, role: execution_cache.Role) -> None:
        ask = partial(engine_check.capabilities, host=self._unwatched, limits=self._limits)
        if None in (engine.capabilities.exceptions, engine.capabilities.gc):
            engine.capabilities = self._cached(engine, role, "capabilities", ask)

    @property
    def _limits(self) -> contract.RunLimits:
        return contract.RunLimits(deadline_s=self.request.deadline_s, memory_bytes=self.request.memory_bytes)

    @property
    def _unwatched(self) -> Host:
        """The host without live output."""
        return msgspec.structs.replace(self.host, live=False)

    def _cached(self, engine: Backend, role: execution_cache.Role, name: str, work: Callable[[Backend], T]) -> T:
        """The result of ``work`` with the engine; its executions are cached if there is a cache."""
        tapes = self.tapes
        if tapes is None:
            return self._with_same_builds(lambda: work(engine))

        def run() -> tuple[T, execution_cache.Tape]:
            tape = tapes.tape(engine, role, name)
            return work(tape), tape

        done, tape = self._with_same_builds(run)
        tapes.put(tape, role, name)
        return done

    def _with_same_builds(self, work: Callable[[], T]) -> T:
        """The result of ``work``, repeated if the stamps of a build changed; raises ``EngineUnusableError`` if a build changed."""
        for _ in range(_TRIES):
            done = work()
            if self.watch.unchanged():
                return done
        self.watch.require()
        raise EngineUnusableError("the files of an engine keep changing", hint="run again once the build is finished")


def _planned(plan: Plan) -> tuple[tuple[str, str], ...]:
    """The planned rows with the reasons why they were chosen."""
    if not isinstance(plan, plans.CapsulePlan) or not plan.reasons:
        return ()
    return tuple((row, plan.reasons.get(row, "")) for row in plan.rows)


def _failure(error: DiffcheckError, watch: BuildWatch, *, of_case: bool) -> Answer:
    """The answer for an error, which may be due to an engine that was replaced or removed. An adapter that fails in a case costs
    that case only.
    """
    try:
        watch.unchanged()
    except EngineUnusableError as reason:
        error = reason
    ends_run = isinstance(error, EngineUnusableError) or (isinstance(error, AdapterError) and not of_case)
    return Unusable(str(error), error.hint) if ends_run else Failed(error.line)


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
                with adapter_errors.attributed():
                    if isinstance(message, Setup):
                        watch = BuildWatch(message.request.builds)
                        worker = Worker(message, reactor)
                        answer: Answer = SetupAnswer()
                    elif worker is None:
                        answer = Failed("the worker was not set up")
                    else:
                        answer = worker.answer(message)
            except DiffcheckError as error:
                answer = _failure(error, watch, of_case=isinstance(message, PrepareRequest | RunPlanRequest))
            except OSError as error:
                answer = Failed(f"{os.strerror(error.errno) if error.errno else error} ({error.filename or 'no file'})")
            except MemoryError:
                answer = Failed("out of memory in the worker")
            process.write_frame(writer, msgspec.msgpack.encode(answer))


__all__ = [
    "Answer",
    "CaseAnswer",
    "Failed",
    "Message",
    "MoreMemory",
    "PrepareRequest",
    "PreparedPlan",
    "RunPlanRequest",
    "Setup",
    "SetupAnswer",
    "Unusable",
    "main",
]

if __name__ == "__main__":
    main()
