"""The execution cache: what an engine did with a program is reused as long as both stay the same.

The cache has a tape for each case and side: all executions of the engine in the order of their start, so that reruns (to confirm a
divergence, to locate it) are reproduced as well. The bytes of a program contain the artifact, the rows, the stubs and the
recorder, so their digest and the limits identify the execution; name, version and binary identify the engine. Cached executions
are compared again each time.

Not cached are results that depend on the machine: executions that ran out of time or memory or had a broken answer, and all of a
subject whose pass is flaky. Exceptions are a time limit that the case file expects (an endless loop), and a confirmed hang.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck import process
from diffcheck.backend.contract import Backend, Oracle, StoredExecution
from diffcheck.config.version import __version__
from diffcheck.observation import Execution, HarnessFailed, Outcome, OutOfMemory, Refused, TimedOut
from diffcheck.runner.persist.cache_files import Store
from diffcheck.runner.plan import CapsulePlan, RefusedPlan, RunnablePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.backend.contract import CallProgram, CallResults, Host, Pending, Program, RunLimits
    from diffcheck.observation import Identity
    from diffcheck.runner.engine_files import BuildWatch
    from diffcheck.runner.request import Request
    from diffcheck.verdict import CaseReport

Role = str
"""``oracle``, ``subject``, or ``judge NAME``."""
_FORMAT: Final = "1"
_TAPE_BYTES: Final = 256 << 20
_encode = msgspec.msgpack.Encoder().encode
_FAILURES: Final = (TimedOut, OutOfMemory, HarnessFailed)


class TapeEntry(msgspec.Struct, frozen=True):
    """One execution on a tape; ``program`` is the digest of the program, ``turn`` the number of its earlier executions."""

    program: bytes
    turn: int
    execution: Execution


class Validation(msgspec.Struct, frozen=True):
    """The oracle's validation of a module: its refusal, if any."""

    refusal: Refused | None


_tape = msgspec.msgpack.Decoder(tuple[TapeEntry, ...])
_bodies = msgspec.msgpack.Decoder(frozenset[str])
_validation = msgspec.msgpack.Decoder(Validation)


def engine_key(engine: Backend, spec: str, build: str) -> str:
    """The key of an engine in the cache: its name, and a digest of everything that its results depend on.

    That is its version, the digest of its ``build``, a user's own command in full, and the adapter.
    """
    identity = engine.identity()
    words = (_FORMAT, __version__, identity.name, identity.version, identity.sha256, spec if ":" in spec else "")
    digest = hashlib.sha256(_encode((*words, build, _adapter(type(engine).__module__))))
    return f"{identity.name}-{digest.hexdigest()[:24]}"


@cache
def _adapter(module: str) -> str:
    """A digest of the sources of an adapter's package."""
    source = getattr(sys.modules[module], "__file__", None)
    return process.program_digest(*(str(each) for each in sorted(Path(source).parent.glob("*.py")))) if source else ""


class Tape(Backend):
    """An engine that replays the executions on its tape, and runs and records others."""

    def __init__(self, engine: Backend, played: tuple[TapeEntry, ...] = ()) -> None:
        self._engine = engine
        self.capabilities = engine.capabilities
        self._known = {(each.program, each.turn): each.execution for each in played}
        self._turns: Counter[bytes] = Counter()
        self._bytes = sum(len(each.execution.carried) for each in played)
        self.answered = self.ran = 0

    def identity(self) -> Identity:
        """The identity of the recorded engine."""
        return self._engine.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """A recorded execution, or a new one."""
        digest = _digest(program, limits)
        key = digest, self._turns[digest]
        self._turns[digest] += 1
        if key in self._known:
            self.answered += 1
            return StoredExecution(self._known[key])
        self.ran += 1
        return _Recording(self._engine.start(program, limits, host), self, key)

    def record(self, key: tuple[bytes, int], execution: Execution) -> None:
        """Record a finished execution."""
        self._bytes += len(execution.carried)
        self._known[key] = execution

    @property
    def whole(self) -> bool:
        """Whether the tape is small enough to be stored."""
        return self._bytes <= _TAPE_BYTES

    def outcomes(self) -> list[Outcome]:
        """The outcomes of all executions."""
        return [each.outcome for each in self._known.values()]

    def encoded(self) -> bytes:
        """All executions as they are stored."""
        return _encode(tuple(TapeEntry(program, turn, each) for (program, turn), each in self._known.items()))


class _Recording:
    def __init__(self, pending: Pending, tape: Tape, key: tuple[bytes, int]) -> None:
        self._pending, self._tape, self._key = pending, tape, key

    def wait(self) -> Execution:
        execution = self._pending.wait()
        self._tape.record(self._key, execution)
        return execution


def _digest(program: Program, limits: RunLimits) -> bytes:
    wasm = (program.kind == "capsule" and program.template_sha256) or hashlib.sha256(program.wasm).hexdigest()
    return hashlib.sha256(_encode((program.kind, wasm, program.parameters, program.entry, limits))).digest()


class CachedValidator(Oracle):
    """An oracle whose validations are cached; without a store it is run each time."""

    def __init__(self, oracle: Oracle, store: Store | None, key: str, watch: BuildWatch | None = None) -> None:
        """``watch`` checks that the oracle is still the one that ``key`` names."""
        self._oracle, self._store, self._key, self._watch = oracle, store, key, watch
        self.capabilities = oracle.capabilities

    def identity(self) -> Identity:
        """The oracle's own."""
        return self._oracle.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """The oracle's own."""
        return self._oracle.start(program, limits, host)

    def validate(self, wasm: bytes, limits: RunLimits, host: Host) -> Outcome | None:
        """See ``Oracle``; a validation is cached, a failure to validate is not."""
        if self._store is None:
            return self._oracle.validate(wasm, limits, host)
        name = f"{self._key}/validate {hashlib.sha256(wasm).hexdigest()}"
        kept = self._store.get(name)
        if kept is not None:
            try:
                return _validation.decode(kept).refusal
            except msgspec.MsgspecError:
                pass  # of another version: validated again
        refusal = self._oracle.validate(wasm, limits, host)
        if refusal is None or isinstance(refusal, Refused):
            self._put(name, _encode(Validation(refusal)))
        return refusal

    def assemble(self, text: bytes, limits: RunLimits, host: Host) -> bytes:
        """See ``Oracle``; errors in the text are not cached."""
        name = f"{self._key}/assemble {hashlib.sha256(text).hexdigest()}"
        kept = self._store.get(name) if self._store else None
        if kept is not None:
            return kept
        wasm = self._oracle.assemble(text, limits, host)
        self._put(name, wasm)
        return wasm

    def call(self, program: CallProgram, limits: RunLimits, host: Host) -> CallResults:
        """The oracle's own, not cached."""
        return self._oracle.call(program, limits, host)

    def _put(self, name: str, content: bytes) -> None:
        if self._watch is not None:
            self._watch.require()
        if self._store:
            self._store.put(name, content)

    def close(self) -> None:
        """The oracle's own."""
        self._oracle.close()


class Tapes:
    """Loads and stores the tapes of cases; ``keys`` are those of the engines by role."""

    def __init__(self, store: Store, keys: dict[str, str]) -> None:
        self._store, self._keys = store, keys

    def tape(self, engine: Backend, role: Role, name: str) -> Tape:
        """The tape of an engine in a role under ``name``, empty if there is none."""
        data = self._store.get(self._name(role, name))
        try:
            return Tape(engine, _tape.decode(data) if data else ())
        except msgspec.MsgspecError:
            return Tape(engine)

    def put(self, tape: Tape, role: Role, name: str) -> None:
        """Store a tape with new executions."""
        if tape.ran and tape.whole:
            self._store.put(self._name(role, name), tape.encoded())

    def keep(self, report: CaseReport, plan: RefusedPlan | RunnablePlan, oracle: Tape, subject: Tape, role: Role) -> CaseReport:
        """Store the tapes of a case as far as they are reproducible; returns the report with the sides that came from the cache.

        ``role`` is that of the subject, which may be a judge.
        """
        if all(_is_reproducible(each, report) for each in (*oracle.outcomes(), *_side_outcomes(report, "oracle"))):
            self.put(oracle, "oracle", name_of(plan, "oracle"))
        flaky = any(each.verdict == "flaky" or len(set(each.repeats)) > 1 for each in report.passes)
        if not flaky and all(_is_reproducible(each, report) for each in (*subject.outcomes(), *_side_outcomes(report, "subject"))):
            self.put(subject, role, name_of(plan, role))
        sides: tuple[tuple[Literal["oracle", "subject"], Tape], ...] = (("oracle", oracle), ("subject", subject))
        return msgspec.structs.replace(report, cached=tuple(role for role, tape in sides if tape.answered and not tape.ran))

    def _name(self, role: Role, name: str) -> str:
        return f"{self._keys[role]}/{role} {name}"


class StoredBodies:
    """The functions that a subject is known to load, in the store (``load_check.LoadedBodies``)."""

    def __init__(self, store: Store, key: str, watch: BuildWatch) -> None:
        self._store, self._key, self._watch = store, key, watch

    def get(self, context: str) -> frozenset[str]:
        """Return the digests of bodies."""
        data = self._store.get(self._name(context))
        try:
            return _bodies.decode(data) if data else frozenset()
        except msgspec.MsgspecError:
            return frozenset()

    def add(self, context: str, bodies: frozenset[str]) -> None:
        """Add digests of bodies; raises ``EngineUnusableError`` if the subject's build changed."""
        self._watch.require()
        self._store.put(self._name(context), _encode(sorted(self.get(context) | bodies)))

    def _name(self, context: str) -> str:
        return f"{self._key}/loaded {context}"


class TapePairs:
    """The tapes of both engines for work outside a run, such as localising; without a cache nothing is recorded."""

    def __init__(self, request: Request) -> None:
        """The cache and the keys are those of a request whose engines were chosen."""
        self._tapes = Tapes(Store(Path(request.cache)), request.keys) if request.cache and request.keys else None
        self._used: list[tuple[Tape, Role, str]] = []

    def pair(self, oracle: Backend, subject: Backend, name: str) -> tuple[Backend, Backend]:
        """Both engines, which replay what was recorded under ``name``."""
        if self._tapes is None:
            return oracle, subject
        first, second = self._tapes.tape(oracle, "oracle", name), self._tapes.tape(subject, "subject", name)
        self._used += [(first, "oracle", name), (second, "subject", name)]
        return first, second

    def store(self) -> None:
        """Store the tapes that another machine would record alike; call this once the engines are known to be the same."""
        if self._tapes is None:
            return
        for tape, role, name in self._used:
            if not any(isinstance(each, _FAILURES) for each in tape.outcomes()):
                self._tapes.put(tape, role, name)


def name_of(plan: RefusedPlan | RunnablePlan, role: Role) -> str:
    """A digest of what the tape of a case depends on: the artifact, the capsules and the limits.

    The oracle's does not depend on the subject's capsule, so that one run of the oracle serves all subjects.
    """
    parts = (plan, *plan.others) if isinstance(plan, CapsulePlan) else ()
    sides = [(each.capsules.standard, each.capsules.oracle if role == "oracle" else each.capsules.subject) for each in parts]
    capsules = [each.sha256 for both in sides for each in both]
    return hashlib.sha256(_encode((plan.sha256, capsules, plan.entry, plan.limits))).hexdigest()


def _side_outcomes(report: CaseReport, role: Role) -> Iterator[Outcome]:
    """The outcomes of a side's passes, which may differ from those of executions, such as a recorder without memory."""
    for each in report.passes:
        side = each.oracle if role == "oracle" else each.subject
        if side is not None:
            yield side.outcome


def _is_reproducible(outcome: Outcome, report: CaseReport) -> bool:
    """Whether an execution would end in the same way on another machine or another day."""
    if not isinstance(outcome, _FAILURES):
        return True
    if not isinstance(outcome, TimedOut):
        return False
    expected = report.expected != "agree" and report.as_expected
    hangs = any(each.verdict == "diverge" and each.subject and isinstance(each.subject.outcome, TimedOut) for each in report.passes)
    return expected or hangs
