"""Whether a candidate still shows the symptom: tested by parallel workers, the answers cached by the candidate's digest."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from diffcheck import process
from diffcheck.errors import DiffcheckError, EngineUnusableError, RunFailedError
from diffcheck.runner import case_run as cases
from diffcheck.runner import slicing
from diffcheck.runner import worker as w
from diffcheck.text import decode, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from diffcheck.backend.contract import Backend, Host, Oracle
    from diffcheck.cases.discovery import Case
    from diffcheck.process import Server
    from diffcheck.runner.request import Request
    from diffcheck.verdict import CaseReport

_SETUP_S: Final = 60.0
_WATCH_S: Final = 120.0
_EXECUTIONS: Final = 40
"""After this many executions that reach their deadline, a worker is given up."""
_POLL_S: Final = 0.1
_LOST: Final = 8
_LEAST_S: Final = 1.5
_TIMES: Final = 6.0
_SHARE: Final = 0.7
_LAST_SHARE: Final = 0.05
_DAY_S: Final = 86_400.0
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(w.Answer).decode


class BudgetExhausted(Exception):  # noqa: N818 - an outcome of the search
    """The time is over, or the user stopped; the results so far count."""


class TimeBudget:
    """A time limit in seconds from ``begun`` (monotonic clock) or from now; ``stopped`` returns whether the user stopped."""

    def __init__(self, seconds: float | None, stopped: Callable[[], bool] = lambda: False, begun: float | None = None) -> None:
        begun = time.monotonic() if begun is None else begun
        self.seconds = seconds
        self.end = begun + seconds if seconds is not None else math.inf
        self._reserved_s = 0.0
        self._part = math.inf
        self.stopped = stopped

    @property
    def until(self) -> float:
        """The end of the usable time, on the monotonic clock."""
        return min(self.end - self._reserved_s, self._part)

    def reserve(self, seconds: float) -> None:
        """Reserve time for the last step: at least a twentieth of all, at most a third of the rest. The last call counts."""
        if self.seconds is not None:
            wanted = max(seconds, _LAST_SHARE * self.seconds)
            self._reserved_s = min(wanted, max(0.0, self.end - time.monotonic()) / 3)

    def release(self) -> None:
        """Make the reserved time usable."""
        self._reserved_s = 0.0

    @contextlib.contextmanager
    def part(self, share: float) -> Iterator[None]:
        """Within the context, only this share of the remaining time is usable."""
        now = time.monotonic()
        self._part = now + share * (self.until - now)
        try:
            yield
        finally:
            self._part = math.inf

    def check(self) -> None:
        """Raises ``BudgetExhausted`` if the time is over."""
        if self.stopped() or time.monotonic() >= self.until:
            raise BudgetExhausted

    def left_s(self) -> float:
        """The remaining time in seconds; a day if there is no limit."""
        return min(_DAY_S, max(0.0, self.until - time.monotonic()))


class Candidate(msgspec.Struct, frozen=True):
    """An artifact's bytes and the rows to call."""

    wasm: bytes
    rows: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The key of the cached answer."""
        return hashlib.sha256(self.wasm + b"\0" + "\0".join(self.rows).encode("utf-8", "surrogateescape")).hexdigest()


class Answers:
    """Answers by a candidate's digest, appended to a file. Lines of another symptom, artifact or engine than ``about`` are skipped."""

    def __init__(self, path: Path | None, about: str) -> None:
        self.path, self.about = path, about
        self.known: dict[str, bool] = {}
        if path is not None and path.exists():
            for line in path.read_text("ascii", "replace").splitlines():
                words = line.split()
                if len(words) == 3 and words[0] == about:  # noqa: PLR2004 - a truncated line is skipped
                    self.known[words[1]] = words[2] == "yes"

    def add(self, digest: str, *, shows: bool) -> None:
        """Cache an answer."""
        self.known[digest] = shows
        if self.path is not None:
            process.refuse_links(self.path)
            with self.path.open("a", encoding="ascii") as file:
                file.write(f"{self.about} {digest} {'yes' if shows else 'no'}\n")


class _Worker:
    """A worker process and the state of its candidate."""

    def __init__(self, start: Callable[[], Server], path: Path, watch_s: float) -> None:
        self._start, self.path, self._watch_s = start, path, watch_s
        self.server: Server | None = None
        self.doing = "idle"
        self.needs = 0
        self.answer: w.Answer | None = None

    def send(self, message: w.Message, doing: str) -> None:
        """Send a message; start the worker if it is not running."""
        if self.server is None or not self.server.alive:
            self.server = self._start()
        self.server.send(_encode(message), self._watch_s)
        self.doing, self.answer = doing, None

    def take(self) -> None:
        """Receive the answer, which has arrived."""
        assert self.server is not None, "it was sent a message"  # noqa: S101
        reply = self.server.receive()
        self.answer = _decode(reply.message) if isinstance(reply, process.Reply) else None
        prepared = isinstance(self.answer, w.PreparedPlan) and self.doing == "prepare"
        self.needs = self.answer.memory_bytes if isinstance(self.answer, w.PreparedPlan) else 0
        self.doing = "prepared" if prepared else "idle"


class Checker:
    """Tests whether candidates satisfy a predicate on their report; their files are in the private ``folder``.

    ``within_s`` is the shortest execution of a candidate that did: executions are ended after several times that, or at the
    deadline if it is None. ``shown_s`` is the duration of the last comparison of such a candidate, 0 if there was none.
    """

    def __init__(
        self, request: Request, case: Case, predicate: Callable[[CaseReport], bool], answers: Answers,
        reactor: process.Reactor, folder: Path, budget: TimeBudget,
    ) -> None:  # fmt: skip
        self.request, self.case, self.predicate = request, case, predicate
        self.answers, self.reactor, self.folder, self.budget = answers, reactor, folder, budget
        self.within_s: float | None = None
        self.shown_s = 0.0
        watch_s = max(_WATCH_S, _EXECUTIONS * (case.limits.deadline_s or request.deadline_s))
        self.workers = [_Worker(self._start, self._place(at), watch_s) for at in range(max(1, request.jobs))]
        self.tested = 0
        self._room = int(process.available_memory_bytes() * _SHARE)
        self._lost = 0

    def _place(self, worker: int) -> Path:
        """The path of a worker's candidate; its name is the artifact's, since signatures contain it."""
        place = self.folder / f"worker-{worker}"
        process.refuse_links(place)
        place.mkdir(exist_ok=True)
        return place / f"{Path(self.case.artifact).stem}.wasm"

    def shows(self, candidate: Candidate) -> bool:
        """Whether a candidate satisfies the predicate."""
        return self.first([candidate]) is not None

    def first(self, candidates: Iterable[Candidate]) -> int | None:
        """The index of the first candidate that satisfies the predicate, or None. Not all of those after it are tested."""
        source, at = iter(candidates), 0
        while batch := list(islice(source, len(self.workers))):
            for offset, shows in enumerate(self._batch(batch)):
                if shows:
                    return at + offset
            at += len(batch)
        return None

    def report(self, candidate: Candidate) -> CaseReport:
        """A candidate's report; raises ``RunFailedError`` if there is none."""
        (answer,) = self._run([candidate])
        if not isinstance(answer, w.CaseAnswer):
            raise RunFailedError(f"the case could not be run: {answer.what if isinstance(answer, w.Failed) else 'the worker died'}")
        return answer.report

    def close(self) -> None:
        """End the workers."""
        for each in self.workers:
            if each.server is not None and each.server.alive:
                each.server.kill()

    def _batch(self, candidates: list[Candidate]) -> list[bool]:
        unknown = [each for each in candidates if each.digest not in self.answers.known]
        self.budget.check()
        for candidate, answer in zip(unknown, self._run(unknown), strict=True):
            if isinstance(answer, w.CaseAnswer):  # if the worker died, the candidate can be tested again
                shows = self.predicate(answer.report)
                self.answers.add(candidate.digest, shows=shows)
                if shows:
                    self.shown_s = answer.report.elapsed_ns / 1e9
                if shows and self.within_s is not None:
                    self.within_s = min(self.within_s, execution_s(answer.report))
        return [self.answers.known.get(each.digest, False) for each in candidates]

    def _run(self, candidates: list[Candidate]) -> list[w.Answer | None]:
        """Run each candidate in a worker of its own; a worker continues after preparing when there is memory for it."""
        at_work = self.workers[: len(candidates)]
        self.tested += len(candidates)
        try:
            for worker, candidate in zip(at_work, candidates, strict=True):
                worker.send(w.PrepareRequest(self._case(candidate, worker.path)), "prepare")
            while True:
                self._admit(at_work)
                busy = [each for each in at_work if each.doing in ("prepare", "go")]
                if not busy:
                    return [each.answer for each in at_work]
                ready = self.reactor.wait_any([each.server for each in busy if each.server is not None], _POLL_S)
                self.budget.check()
                for each in busy:
                    if each.server in ready:
                        each.take()
                        self._count(each)
        finally:
            for each in at_work:  # if the time is over, running workers are ended
                if each.doing != "idle" and each.server is not None:
                    each.server.kill()
                    each.server, each.doing = None, "idle"

    def _case(self, candidate: Candidate, path: Path) -> Case:
        """The case of a candidate, whose artifact is written to ``path``."""
        path.write_bytes(candidate.wasm)
        case = msgspec.structs.replace(self.case, artifact=str(path), manifest="", rows=candidate.rows)
        if self.within_s is None:
            return case
        whole = case.limits.deadline_s or self.request.deadline_s
        deadline = min(whole, max(_LEAST_S, _TIMES * self.within_s))
        return msgspec.structs.replace(case, limits=msgspec.structs.replace(case.limits, deadline_s=deadline))

    def _admit(self, workers: list[_Worker]) -> None:
        running = sum(each.needs for each in workers if each.doing == "go")
        for each in workers:
            if each.doing == "prepared" and (not running or running + each.needs <= self._room):
                each.send(w.RunPlanRequest(), "go")
                running += each.needs

    def _count(self, worker: _Worker) -> None:
        if isinstance(worker.answer, w.Unusable):
            raise EngineUnusableError(worker.answer.what, hint=worker.answer.hint)
        self._lost = self._lost + 1 if worker.answer is None else 0
        if self._lost > _LOST:
            raise DiffcheckError("the workers ended repeatedly", hint="run `diffcheck doctor`")

    def _start(self) -> Server:
        server = self.reactor.serve_own(w.__name__, with_keeper=True)
        server.send(_encode(w.Setup(self.request, str(self.folder))), min(_SETUP_S, self.budget.left_s()))
        reply = server.receive()
        self.budget.check()
        answer = _decode(reply.message) if isinstance(reply, process.Reply) else None
        if isinstance(answer, w.Unusable):
            raise EngineUnusableError(answer.what, hint=answer.hint)
        if not isinstance(answer, w.SetupAnswer):
            why = answer.what if isinstance(answer, w.Failed) else visible(decode(getattr(reply, "stderr", b""))[-300:])
            raise DiffcheckError(f"a worker could not be set up: {why}", hint="run `diffcheck doctor`")
        return server


def execution_s(report: CaseReport) -> float:
    """The mean duration of an execution in a report, in seconds, of the slower side."""
    sides = [side for each in report.passes for side in (each.oracle, each.subject) if side is not None and side.cost.executions]
    return max((side.cost.elapsed_ns / side.cost.executions for side in sides), default=report.elapsed_ns) / 1e9


class InProcessChecker(Checker):
    """Tests candidates in this process, one after the other, under a backend that has no installed adapter."""

    def __init__(self, engines: tuple[Oracle, Backend, Host], request: Request, *arguments: Any) -> None:  # noqa: ANN401 - those of Checker
        super().__init__(msgspec.structs.replace(request, jobs=1), *arguments)
        self.oracle, self.backend, self.host = engines

    def _run(self, candidates: list[Candidate]) -> list[w.Answer | None]:
        return [self._one(each) for each in candidates]

    def _one(self, candidate: Candidate) -> w.CaseAnswer:
        self.tested += 1
        self.budget.check()
        case = self._case(candidate, self.workers[0].path)
        plan = slicing.make(case, self.request, self.oracle, self.backend, self.host)
        passes = self.request.max_passes
        return w.CaseAnswer(cases.run(plan, passes, self.oracle, self.backend, self.host, self.request.subject, self.request))
