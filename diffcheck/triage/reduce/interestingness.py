"""Does a candidate still show the symptom? Asked of workers, in parallel, each answer kept by the digest of what was asked."""

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
from diffcheck.runner import plan as plans
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
"""How many executions that run into their deadline a case may cost before its worker is given up."""
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
    """The time is over, or the user wants to stop: what was found so far counts."""


class TimeBudget:
    """Seconds for a piece of work, from ``begun`` on the monotonic clock or from now; ``stopped`` says whether the user wants to stop."""

    def __init__(self, seconds: float | None, stopped: Callable[[], bool] = lambda: False, begun: float | None = None) -> None:
        begun = time.monotonic() if begun is None else begun
        self.seconds = seconds
        self.end = begun + seconds if seconds is not None else math.inf
        self._reserved_s = 0.0
        self._part = math.inf
        self.stopped = stopped

    @property
    def until(self) -> float:
        """When it is over, on the monotonic clock."""
        return min(self.end - self._reserved_s, self._part)

    def reserve(self, seconds: float) -> None:
        """Leave so much time for what comes last, a twentieth of all at least, at most a third of what is left; the last call counts."""
        if self.seconds is not None:
            wanted = max(seconds, _LAST_SHARE * self.seconds)
            self._reserved_s = min(wanted, max(0.0, self.end - time.monotonic()) / 3)

    def release(self) -> None:
        """What comes last may take the time that was left for it."""
        self._reserved_s = 0.0

    @contextlib.contextmanager
    def part(self, share: float) -> Iterator[None]:
        """No more than this share of what is left may be taken within: the rest is for what follows."""
        now = time.monotonic()
        self._part = now + share * (self.until - now)
        try:
            yield
        finally:
            self._part = math.inf

    def check(self) -> None:
        """Raises ``Spent`` where it is over."""
        if self.stopped() or time.monotonic() >= self.until:
            raise BudgetExhausted

    def left_s(self) -> float:
        """What is left; a day where there is no limit."""
        return min(_DAY_S, max(0.0, self.until - time.monotonic()))


class Question(msgspec.Struct, frozen=True):
    """A candidate: an artifact's bytes and the rows to drive."""

    wasm: bytes
    rows: tuple[str, ...]

    @property
    def digest(self) -> str:
        """What the answer is kept under."""
        return hashlib.sha256(self.wasm + b"\0" + "\0".join(self.rows).encode("utf-8", "surrogateescape")).hexdigest()


class Answers:
    """Answers by a question's digest, in a file that is appended to; ``about`` is what they hold for, and others are left out."""

    def __init__(self, path: Path | None, about: str) -> None:
        self.path, self.about = path, about
        self.known: dict[str, bool] = {}
        if path is not None and path.exists():
            for line in path.read_text("ascii", "replace").splitlines():
                words = line.split()
                if len(words) == 3 and words[0] == about:  # noqa: PLR2004 - a line that was cut is left out
                    self.known[words[1]] = words[2] == "yes"

    def add(self, digest: str, *, shows: bool) -> None:
        """Keep an answer."""
        self.known[digest] = shows
        if self.path is not None:
            process.refuse_links(self.path)
            with self.path.open("a", encoding="ascii") as file:
                file.write(f"{self.about} {digest} {'yes' if shows else 'no'}\n")


class _Worker:
    """A worker process and the question that it is at."""

    def __init__(self, start: Callable[[], Server], path: Path, watch_s: float) -> None:
        self._start, self.path, self._watch_s = start, path, watch_s
        self.server: Server | None = None
        self.doing = "idle"
        self.needs = 0
        self.answer: w.Answer | None = None

    def send(self, message: w.Message, doing: str) -> None:
        """Send a message; the worker is started where there is none."""
        if self.server is None or not self.server.alive:
            self.server = self._start()
        self.server.send(_encode(message), self._watch_s)
        self.doing, self.answer = doing, None

    def take(self) -> None:
        """Take the answer, which is there."""
        assert self.server is not None, "it was sent a message"  # noqa: S101
        reply = self.server.receive()
        self.answer = _decode(reply.message) if isinstance(reply, process.Reply) else None
        prepared = isinstance(self.answer, w.PreparedPlan) and self.doing == "prepare"
        self.needs = self.answer.memory_bytes if isinstance(self.answer, w.PreparedPlan) else 0
        self.doing = "prepared" if prepared else "idle"


class Checker:
    """Asks of candidates whether they show what ``says`` looks for; their programs stand in ``folder``, a private one.

    ``within_s`` is how long an execution of what shows it took so far: one that takes several times that is not waited for. None, as it
    begins, waits for all. ``shown_s`` is what the last comparison took that showed it, 0 where none was run.
    """

    def __init__(
        self, request: Request, case: Case, says: Callable[[CaseReport], bool], answers: Answers,
        reactor: process.Reactor, folder: Path, budget: TimeBudget,
    ) -> None:  # fmt: skip
        self.request, self.case, self.says = request, case, says
        self.answers, self.reactor, self.folder, self.budget = answers, reactor, folder, budget
        self.within_s: float | None = None
        self.shown_s = 0.0
        watch_s = max(_WATCH_S, _EXECUTIONS * (case.limits.deadline_s or request.deadline_s))
        self.workers = [_Worker(self._start, self._place(at), watch_s) for at in range(max(1, request.jobs))]
        self.asked = 0
        self._room = int(process.available_memory_bytes() * _SHARE)
        self._lost = 0

    def _place(self, worker: int) -> Path:
        """Where a worker's candidates stand: under the artifact's own name, which signatures are made of."""
        place = self.folder / f"worker-{worker}"
        process.refuse_links(place)
        place.mkdir(exist_ok=True)
        return place / f"{Path(self.case.artifact).stem}.wasm"

    def shows(self, question: Question) -> bool:
        """Whether one candidate shows it."""
        return self.first([question]) is not None

    def first(self, questions: Iterable[Question]) -> int | None:
        """The position of the first candidate that shows it, in their order; those behind it are not all looked at."""
        source, at = iter(questions), 0
        while batch := list(islice(source, len(self.workers))):
            for offset, shows in enumerate(self._batch(batch)):
                if shows:
                    return at + offset
            at += len(batch)
        return None

    def report(self, question: Question) -> CaseReport:
        """One candidate's whole report; ``RunFailedError`` where none came."""
        (answer,) = self._run([question])
        if not isinstance(answer, w.Done):
            raise RunFailedError(f"the case could not be run: {answer.what if isinstance(answer, w.Failed) else 'the worker died'}")
        return answer.report

    def close(self) -> None:
        """End the workers."""
        for each in self.workers:
            if each.server is not None and each.server.alive:
                each.server.kill()

    def _batch(self, questions: list[Question]) -> list[bool]:
        known = [self.answers.known.get(each.digest) for each in questions]
        open_ = [each for each, answer in zip(questions, known, strict=True) if answer is None]
        self.budget.check()
        for question, answer in zip(open_, self._run(open_), strict=True):
            if isinstance(answer, w.Done):  # a worker that died says nothing of a candidate that may be asked again
                shows = self.says(answer.report)
                self.answers.add(question.digest, shows=shows)
                if shows:
                    self.shown_s = answer.report.elapsed_ns / 1e9
                if shows and self.within_s is not None:
                    self.within_s = min(self.within_s, execution_s(answer.report))
        return [self.answers.known.get(each.digest, False) for each in questions]

    def _run(self, questions: list[Question]) -> list[w.Answer | None]:
        """Ask as many workers; each takes up its case, and goes on when there is room for it."""
        at_work = self.workers[: len(questions)]
        self.asked += len(questions)
        try:
            for worker, question in zip(at_work, questions, strict=True):
                worker.send(w.PrepareRequest(self._case(question, worker.path)), "prepare")
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
            for each in at_work:  # where the time is over, what is under way ends with its worker
                if each.doing != "idle" and each.server is not None:
                    each.server.kill()
                    each.server, each.doing = None, "idle"

    def _case(self, question: Question, path: Path) -> Case:
        """A candidate's case, its artifact at ``path``."""
        path.write_bytes(question.wasm)
        case = msgspec.structs.replace(self.case, artifact=str(path), manifest="", rows=question.rows)
        if self.within_s is None:
            return case
        whole = case.limits.deadline_s or self.request.deadline_s
        deadline = min(whole, max(_LEAST_S, _TIMES * self.within_s))
        return msgspec.structs.replace(case, limits=msgspec.structs.replace(case.limits, deadline_s=deadline))

    def _admit(self, workers: list[_Worker]) -> None:
        running = sum(each.needs for each in workers if each.doing == "go")
        for each in workers:
            if each.doing == "prepared" and (not running or running + each.needs <= self._room):
                each.send(w.Go(), "go")
                running += each.needs

    def _count(self, worker: _Worker) -> None:
        if isinstance(worker.answer, w.Unusable):
            raise EngineUnusableError(worker.answer.what, hint=worker.answer.hint)
        self._lost = self._lost + 1 if worker.answer is None else 0
        if self._lost > _LOST:
            raise DiffcheckError("workers end again and again", hint="run `diffcheck doctor`")

    def _start(self) -> Server:
        server = self.reactor.serve_own(w.__name__, with_keeper=True)
        server.send(_encode(w.Setup(self.request, str(self.folder))), min(_SETUP_S, self.budget.left_s()))
        reply = server.receive()
        self.budget.check()
        answer = _decode(reply.message) if isinstance(reply, process.Reply) else None
        if isinstance(answer, w.Unusable):
            raise EngineUnusableError(answer.what, hint=answer.hint)
        if not isinstance(answer, w.Ready):
            why = answer.what if isinstance(answer, w.Failed) else visible(decode(getattr(reply, "stderr", b""))[-300:])
            raise DiffcheckError(f"a worker could not be set up: {why}", hint="run `diffcheck doctor`")
        return server


def execution_s(report: CaseReport) -> float:
    """How long an execution took in a report, in seconds: the mean of the slower side."""
    sides = [side for each in report.passes for side in (each.oracle, each.subject) if side is not None and side.cost.executions]
    return max((side.cost.elapsed_ns / side.cost.executions for side in sides), default=report.elapsed_ns) / 1e9


class Inline(Checker):
    """Asks in this process, one candidate after the other, of a backend that is no installed adapter's."""

    def __init__(self, engines: tuple[Oracle, Backend, Host], request: Request, *given: Any) -> None:  # noqa: ANN401 - what a Checker takes
        super().__init__(msgspec.structs.replace(request, jobs=1), *given)
        self.oracle, self.backend, self.host = engines

    def _run(self, questions: list[Question]) -> list[w.Answer | None]:
        return [self._one(each) for each in questions]

    def _one(self, question: Question) -> w.Done:
        self.asked += 1
        self.budget.check()
        case = self._case(question, self.workers[0].path)
        plan = plans.make(case, self.request, self.oracle, self.oracle, self.backend, self.host)
        passes = self.request.max_passes
        return w.Done(cases.run(plan, passes, self.oracle, self.backend, self.host, self.request.subject, self.request))
