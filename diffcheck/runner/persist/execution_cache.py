"""Observations from night to night: what an engine did with a program is known, while both are the same.

Kept is a tape for a case and a side: all executions of the engine, in the order in which they were begun, so that a run again
(to confirm a divergence, to find a place) gives again what came out then. A program's bytes hold the artifact, the rows, the
stubs and the recorder, so their digest and the limits say what was run; the engine's name, version and binary say on what. What
comes of it is compared anew each time.

What says more of the machine than of the engine is not kept: executions that ran out of time or memory or whose answer was
broken, and all of a subject whose pass is flaky. A time limit is kept where the case's file expects the verdict that comes of it
(an endless loop), and a hang, which was confirmed.
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
from diffcheck.backend.contract import Backend, Oracle
from diffcheck.config.version import __version__
from diffcheck.observation import Execution, HarnessFailed, Outcome, OutOfMemory, Refused, TimedOut
from diffcheck.runner.plan import CapsulePlan, RefusedPlan, RunnablePlan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.backend.contract import Host, Pending, Program, RunLimits
    from diffcheck.observation import Identity
    from diffcheck.runner.builds import BuildWatch
    from diffcheck.runner.persist.cache_files import Store
    from diffcheck.verdict import CaseReport

Role = Literal["oracle", "subject"]
_FORMAT: Final = "1"
_TAPE_BYTES: Final = 256 << 20
_encode = msgspec.msgpack.Encoder().encode
_FAILURES: Final = (TimedOut, OutOfMemory, HarnessFailed)


class Played(msgspec.Struct, frozen=True):
    """One execution on a tape; ``program`` is the digest of what was run, ``turn`` how often it had been run before."""

    program: bytes
    turn: int
    execution: Execution


class Judgement(msgspec.Struct, frozen=True):
    """What an oracle says of a module: its refusal, if any."""

    refusal: Refused | None


_tape = msgspec.msgpack.Decoder(tuple[Played, ...])
_judgement = msgspec.msgpack.Decoder(Judgement)


def engine_key(engine: Backend, spec: str, build: str) -> str:
    """What an engine's observations are kept under: its name, and a digest of all that its answers depend on.

    That is its version, the digest of its ``build``, a user's own command in full, and the adapter that reads it.
    """
    identity = engine.identity()
    words = (_FORMAT, __version__, identity.name, identity.version, identity.sha256, spec if ":" in spec else "")
    digest = hashlib.sha256(_encode((*words, build, _adapter(type(engine).__module__))))
    return f"{identity.name}-{digest.hexdigest()[:24]}"


@cache
def _adapter(module: str) -> str:
    """A digest of the sources of the package that an adapter is in."""
    source = getattr(sys.modules[module], "__file__", None)
    return process.program_digest(*(str(each) for each in sorted(Path(source).parent.glob("*.py")))) if source else ""


class Tape(Backend):
    """An engine that plays what is on its tape, and runs and records what is not."""

    def __init__(self, engine: Backend, played: tuple[Played, ...] = ()) -> None:
        self._engine = engine
        self.capabilities = engine.capabilities
        self._known = {(each.program, each.turn): each.execution for each in played}
        self._turns: Counter[bytes] = Counter()
        self._bytes = sum(len(each.execution.carried) for each in played)
        self.answered = self.ran = 0

    def identity(self) -> Identity:
        """The engine's own."""
        return self._engine.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """What is on the tape, or a new execution."""
        digest = _digest(program, limits)
        key = digest, self._turns[digest]
        self._turns[digest] += 1
        if key in self._known:
            self.answered += 1
            return _Kept(self._known[key])
        self.ran += 1
        return _Recorded(self._engine.start(program, limits, host), self, key)

    def record(self, key: tuple[bytes, int], execution: Execution) -> None:
        """Note an execution that ended."""
        self._bytes += len(execution.carried)
        self._known[key] = execution

    @property
    def whole(self) -> bool:
        """Whether it is small enough to be kept."""
        return self._bytes <= _TAPE_BYTES

    def outcomes(self) -> list[Outcome]:
        """How the executions ended."""
        return [each.outcome for each in self._known.values()]

    def encoded(self) -> bytes:
        """All executions as they are kept."""
        return _encode(tuple(Played(program, turn, each) for (program, turn), each in self._known.items()))


class _Kept:
    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def wait(self) -> Execution:
        return self._execution


class _Recorded:
    def __init__(self, pending: Pending, tape: Tape, key: tuple[bytes, int]) -> None:
        self._pending, self._tape, self._key = pending, tape, key

    def wait(self) -> Execution:
        execution = self._pending.wait()
        self._tape.record(self._key, execution)
        return execution


def _digest(program: Program, limits: RunLimits) -> bytes:
    wasm = (program.kind == "capsule" and program.template_sha256) or hashlib.sha256(program.wasm).hexdigest()
    return hashlib.sha256(_encode((program.kind, wasm, program.parameters, program.entry, limits))).digest()


class Judge(Oracle):
    """An oracle whose judgements are kept; where there is no store it is asked each time."""

    def __init__(self, oracle: Oracle, store: Store | None, key: str, watch: BuildWatch | None = None) -> None:
        """``watch`` knows whether the oracle is still the one that ``key`` names."""
        self._oracle, self._store, self._key, self._watch = oracle, store, key, watch
        self.capabilities = oracle.capabilities

    def identity(self) -> Identity:
        """The oracle's own."""
        return self._oracle.identity()

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """The oracle's own."""
        return self._oracle.start(program, limits, host)

    def validate(self, wasm: bytes, limits: RunLimits, host: Host) -> Outcome | None:
        """See ``Oracle``; a judgement is kept, a failure to judge is not."""
        name = f"{self._key}/validate {hashlib.sha256(wasm).hexdigest()}"
        kept = self._store.get(name) if self._store else None
        if kept is not None:
            try:
                return _judgement.decode(kept).refusal
            except msgspec.MsgspecError:
                pass  # of another version: judged anew
        refusal = self._oracle.validate(wasm, limits, host)
        if self._store and (refusal is None or isinstance(refusal, Refused)):
            self._put(name, _encode(Judgement(refusal)))
        return refusal

    def assemble(self, text: bytes, limits: RunLimits, host: Host) -> bytes:
        """See ``Oracle``; text that is none is told anew each time."""
        name = f"{self._key}/assemble {hashlib.sha256(text).hexdigest()}"
        kept = self._store.get(name) if self._store else None
        if kept is not None:
            return kept
        wasm = self._oracle.assemble(text, limits, host)
        self._put(name, wasm)
        return wasm

    def _put(self, name: str, content: bytes) -> None:
        if self._watch is not None:
            self._watch.require()
        if self._store:
            self._store.put(name, content)

    def close(self) -> None:
        """The oracle's own."""
        self._oracle.close()


class Tapes:
    """Gives each case its tapes, and keeps them when it is done; ``keys`` are the engines' by role."""

    def __init__(self, store: Store, keys: dict[str, str]) -> None:
        self._store, self._keys = store, keys

    def tape(self, engine: Backend, role: Role, name: str) -> Tape:
        """The tape of an engine in a role for what ``name`` tells apart, empty where there is none."""
        data = self._store.get(self._name(role, name))
        try:
            return Tape(engine, _tape.decode(data) if data else ())
        except msgspec.MsgspecError:
            return Tape(engine)

    def put(self, tape: Tape, role: Role, name: str) -> None:
        """Keep a tape on which something is new."""
        if tape.ran and tape.whole:
            self._store.put(self._name(role, name), tape.encoded())

    def keep(self, report: CaseReport, name: str, oracle: Tape, subject: Tape) -> CaseReport:
        """Keep a case's tapes as far as they say something of the engines; gives the report with what came from the cache."""
        if all(_lasts(each, report) for each in (*oracle.outcomes(), *_told(report, "oracle"))):
            self.put(oracle, "oracle", name)
        flaky = any(each.verdict == "flaky" or _changed(each.repeats) for each in report.passes)
        if not flaky and all(_lasts(each, report) for each in (*subject.outcomes(), *_told(report, "subject"))):
            self.put(subject, "subject", name)
        sides = (("oracle", oracle), ("subject", subject))
        return msgspec.structs.replace(report, cached=tuple(role for role, tape in sides if tape.answered and not tape.ran))

    def _name(self, role: Role, name: str) -> str:
        return f"{self._keys[role]}/{role} {name}"


def name_of(plan: RefusedPlan | RunnablePlan) -> str:
    """A digest of what a case's tapes depend on: the artifact, the capsules that the engines are given, and the limits."""
    capsules = [each.sha256 for each in msgspec.structs.astuple(plan.capsules)] if isinstance(plan, CapsulePlan) else []
    return hashlib.sha256(_encode((plan.sha256, capsules, plan.entry, plan.limits))).hexdigest()


def _told(report: CaseReport, role: Role) -> Iterator[Outcome]:
    """How a side's passes ended: that the recorder's memory could not grow, for one, is no execution's own outcome."""
    for each in report.passes:
        side = each.oracle if role == "oracle" else each.subject
        if side is not None:
            yield side.outcome


def _changed(repeats: tuple[object, ...]) -> bool:
    return any(each != repeats[0] for each in repeats)


def _lasts(outcome: Outcome, report: CaseReport) -> bool:
    """Whether an execution that ended so would end so again, on another machine or another night."""
    if not isinstance(outcome, _FAILURES):
        return True
    if not isinstance(outcome, TimedOut):
        return False
    said = report.expected != "agree" and report.as_expected
    hangs = any(each.verdict == "diverge" and each.subject and isinstance(each.subject.outcome, TimedOut) for each in report.passes)
    return said or hangs
