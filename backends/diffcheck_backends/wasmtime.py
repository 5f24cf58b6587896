"""wasmtime, the oracle, and its interpreter ``wasmtime-pulley``, a subject that is always installed.

Both run in a server process (``wasmtime_server``) that a worker reuses; this module never imports wasmtime. Measured with wasmtime
50.0.1 from PyPI, 2026-11.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.backend.command import death, file_sha256
from diffcheck.backend.contract import COMPILED_FOLDER, Capabilities, Oracle, RunLimits
from diffcheck.errors import ArtifactError, EngineMissingError
from diffcheck.observation import (
    Cost,
    Crashed,
    Execution,
    HarnessFailed,
    Identity,
    Outcome,
    OutOfMemory,
    TimedOut,
    Trapped,
    sentence,
)
from diffcheck.text import decode, visible, visible_lines
from diffcheck.wasm import code
from diffcheck_backends import wasmtime_plain
from diffcheck_backends.wasmtime_wire import (
    Answer,
    Assemble,
    AssemblyResult,
    CallAnswer,
    CallRequest,
    Compile,
    ModuleMissing,
    Request,
    RunRequest,
    RunResult,
    Target,
    Validate,
    ValidationResult,
    Variant,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.backend.contract import CallProgram, CallResults, Host, Pending, Program

COMPILING: Final = "while compiling"
COMPILING_S: Final = 10.0
COMPILING_S_PER_BYTE: Final = 2e-5
"""The limit of a compilation, apart from the deadline of the run: 20 s a megabyte, which takes 1.7 s of CPU (2026-11-28)."""
CACHED_BYTES: Final = 64 << 10
"""The least size of modules of which the compiled form is cached: smaller ones are compiled in less than 0.1 s."""
STUCK: Final = "the engine did not stop at its deadline"

_GRACE_S: Final = 1.0
_LEAST_RESIDENT_BYTES: Final = 6 << 30
_SERVER_BYTES: Final = 1 << 30
_MAX_WASM_BYTES: Final = process.FRAME_CAP_BYTES - (1 << 20)
_START_DEADLINE_S: Final = 30.0
_PANIC: Final = re.compile(r"panicked at ([^\n]*)\n([^\n]*)")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class Wasmtime(Oracle):
    """Wasmtime for one target; servers are started when needed and replaced when they die."""

    def __init__(self, name: str, target: Target, instructions_per_s: float, cache: str = "") -> None:
        """``cache`` is the cache folder, empty for none."""
        self.name, self.target = name, target
        self.compiled = str(Path(cache).absolute() / COMPILED_FOLDER) if cache else ""
        self.capabilities = Capabilities(
            transport="memory",
            state_at_trap=True,
            direct=True,
            exceptions=True,
            base_bytes=80_000_000,
            function_bytes=20_000,
            startup_s=0.005,
            function_s=0.0005,
            instructions_per_s=instructions_per_s,
            notes=("a stream of at most 192 MiB", "stacks of 16 KiB to 2 MiB"),
        )
        self._idle: list[_Connection] = []

    def shell_commands(self, module: str, entry: str) -> tuple[str, ...]:
        """Lines that use Wasmtime's Python package; see ``wasmtime_plain``."""
        return wasmtime_plain.lines(module, entry, target=self.target)

    def invocation(self, module: str, export: str) -> str:
        """Wasmtime's command line; it has no option for the interpreter, so there is none for that."""
        return "" if self.target == "pulley64" else wasmtime_plain.invocation(module, export)

    def identity(self) -> Identity:
        """The version of the package, and its shared library; starts nothing."""
        version, library = _installed()
        return Identity(self.name, version, str(library), _digest(library), f"Python package wasmtime {version}")

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """See ``Backend``; an idle server or a new one runs the program."""
        return _Running(self, program, limits, host)

    def validate(self, wasm: bytes, limits: RunLimits, host: Host) -> Outcome | None:
        """See ``Oracle``; compiles nothing."""
        try:
            limits = compile_limits(len(wasm), limits)
            answer = self._ask(Validate(self.variant(limits), wasm), "while validating", limits, host)
        except _ServerEndedError as gone:
            return gone.outcome
        return answer.refusal if isinstance(answer, ValidationResult) else _unexpected(answer)

    def assemble(self, text: bytes, limits: RunLimits, host: Host) -> bytes:
        """The binary of a module in text form; raises ``ArtifactError`` with wasmtime's message."""
        try:
            answer = self._ask(Assemble(text), "while assembling", limits, host)
        except _ServerEndedError as gone:
            raise ArtifactError(sentence(gone.outcome)) from gone
        if isinstance(answer, AssemblyResult) and not answer.error:
            return answer.wasm
        raise ArtifactError(visible_lines(answer.error if isinstance(answer, AssemblyResult) else "unexpected answer", 1000))

    def call(self, program: CallProgram, limits: RunLimits, host: Host) -> CallResults:
        """See ``Oracle``; a server of its own calls the exports."""
        deadline_s = compile_limits(len(program.wasm), limits).deadline_s + (1 + len(program.calls)) * (
            limits.deadline_s + _GRACE_S
        )
        server = host.reactor.serve_own(
            "diffcheck_backends.wasmtime_calls", cwd=host.folder, resident_bytes=max(_LEAST_RESIDENT_BYTES, limits.memory_bytes)
        )
        try:
            server.send(_encode(CallRequest(program, limits)), _START_DEADLINE_S + deadline_s)
            reply = server.receive()
        finally:
            server.stop(_GRACE_S)
        if isinstance(reply, process.ProcessResult):
            raise ArtifactError(sentence(_outcome_of_end(reply, "while calling exports", limits)))
        answer = msgspec.msgpack.decode(reply.message, type=CallAnswer)
        if answer.results is None:
            raise ArtifactError(answer.error)
        return answer.results

    def close(self) -> None:
        """End the servers."""
        while self._idle:
            self._idle.pop().close()

    def variant(self, limits: RunLimits) -> Variant:
        """The configuration for ``limits``."""
        return Variant(self.target, limits.stack_bytes, limits.count_fuel)

    def connect(self, limits: RunLimits, host: Host) -> _Connection:
        """An idle server with enough memory, or a new one; returned with ``keep``."""
        resident_bytes = max(_LEAST_RESIDENT_BYTES, limits.memory_bytes + _SERVER_BYTES)
        kept, self._idle = self._idle, []
        chosen: _Connection | None = None
        for connection in kept:
            if not connection.alive:
                continue
            if chosen is None and connection.host.reactor is host.reactor and connection.resident_bytes >= resident_bytes:
                chosen = connection
            else:
                self._idle.append(connection)
        return chosen or _Connection(host, resident_bytes)

    def keep(self, connection: _Connection) -> None:
        """Take a server back."""
        self._idle.append(connection)

    def _ask(self, request: Request, doing: str, limits: RunLimits, host: Host) -> Answer:
        connection = self.connect(limits, host)
        connection.send(request, limits.deadline_s)
        answer, _ = connection.receive(doing, limits)
        self.keep(connection)
        return answer


class _ServerEndedError(Exception):
    """A server has ended instead of answering; ``outcome`` is that of its request."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


class _Connection:
    """A server, and the modules that it should have compiled."""

    def __init__(self, host: Host, resident_bytes: int) -> None:
        self.host, self.resident_bytes = host, resident_bytes
        self.compiled: set[tuple[Variant, str]] = set()
        self._server = host.reactor.serve_own("diffcheck_backends.wasmtime_server", cwd=host.folder, resident_bytes=resident_bytes)
        # Its start must not count as time of the first program.
        self.send(Assemble(b"(module)"), _START_DEADLINE_S)
        try:
            self.receive("while starting", None)
        except _ServerEndedError as gone:
            raise EngineMissingError(
                f"wasmtime does not start: {sentence(gone.outcome)}",
                hint="use fewer --jobs, or run where more memory is free"
                if isinstance(gone.outcome, OutOfMemory)
                else "reinstall diffcheck's dependencies (pip install --force-reinstall wasmtime)",
            ) from gone

    @property
    def alive(self) -> bool:
        return self._server.alive

    def send(self, request: Request, deadline_s: float) -> None:
        self._server.send(_encode(request), deadline_s)

    def receive(self, doing: str, limits: RunLimits | None) -> tuple[Answer, int]:
        """The answer and its time in nanoseconds; raises ``_ServerEndedError`` if the server has ended."""
        reply = self._server.receive()
        if isinstance(reply, process.ProcessResult):
            raise _ServerEndedError(_outcome_of_end(reply, doing, limits or RunLimits()))
        return _decode(reply.message), reply.elapsed_ns

    def close(self) -> None:
        self._server.stop(_GRACE_S)


class _Running:
    """A program in progress: compiled if needed, then run."""

    def __init__(self, backend: Wasmtime, program: Program, limits: RunLimits, host: Host) -> None:
        self._backend, self._program, self._limits = backend, program, limits
        self._sha256 = program.template_sha256 if program.kind == "capsule" else ""
        self._sha256 = self._sha256 or hashlib.sha256(program.wasm).hexdigest()
        self._variant = backend.variant(limits)
        self._compiling = compile_limits(len(program.wasm), limits)
        self._compile_ns = 0
        self._begun = time.monotonic()
        self._connection: _Connection | None = None
        if len(program.wasm) <= _MAX_WASM_BYTES:
            self._connection = backend.connect(limits, host)
            self._begun = time.monotonic()
            if (self._variant, self._sha256) in self._connection.compiled:
                self._send_run(self._connection)
            else:
                self._send_module(self._connection)

    def wait(self) -> Execution:
        """See ``Pending``; a server that ended is not reused."""
        connection = self._connection
        if connection is None:
            return Execution(HarnessFailed("the module is too large to be sent", f"{len(self._program.wasm):,} bytes"))
        try:
            execution = self._converse(connection)
        except _ServerEndedError as gone:
            return Execution(gone.outcome, cost=Cost(elapsed_ns=round((time.monotonic() - self._begun) * 1e9), executions=1))
        self._backend.keep(connection)
        cost = execution.cost + Cost(self._compile_ns, self._compile_ns)
        return msgspec.structs.replace(execution, cost=cost)

    def _converse(self, connection: _Connection) -> Execution:
        answer, elapsed_ns = connection.receive(*self._doing)
        if isinstance(answer, ModuleMissing):
            self._send_module(connection)
            answer, elapsed_ns = connection.receive(*self._doing)
        if isinstance(answer, ValidationResult):
            self._compile_ns = elapsed_ns
            if answer.refusal is not None:
                return Execution(answer.refusal, cost=Cost(executions=1))
            connection.compiled.add((self._variant, self._sha256))
            self._send_run(connection)
            answer, _ = connection.receive(*self._doing)
        if not isinstance(answer, RunResult):
            return Execution(_unexpected(answer))
        return _located(answer, self._program.wasm)

    def _send_module(self, connection: _Connection) -> None:
        self._doing = COMPILING, self._compiling
        connection.compiled.discard((self._variant, self._sha256))
        wasm = self._program.wasm
        cache = self._backend.compiled if len(wasm) >= CACHED_BYTES else ""
        connection.send(Compile(self._variant, self._sha256, wasm, cache), self._compiling.deadline_s)

    def _send_run(self, connection: _Connection) -> None:
        self._doing = STUCK, self._limits
        run = RunRequest(
            self._variant,
            self._program.kind,
            self._sha256,
            self._program.entry,
            self._program.parameters,
            self._program.parameters_address,
            self._limits.deadline_s,
            self._limits.memory_bytes,
        )
        connection.send(run, self._limits.deadline_s + _GRACE_S)


def compile_limits(size: int, limits: RunLimits) -> RunLimits:
    """The limits with the deadline of a compilation of ``size`` bytes, which is not part of a run."""
    return msgspec.structs.replace(limits, deadline_s=max(limits.deadline_s, COMPILING_S) + size * COMPILING_S_PER_BYTE)


def _outcome_of_end(ended: process.ProcessResult, doing: str, limits: RunLimits) -> Outcome:
    """The outcome of a program whose server ended."""
    stderr = decode(ended.stderr)
    if ended.timed_out:
        return TimedOut(limits.deadline_s, doing)
    if ended.over_memory:
        return OutOfMemory(limits.memory_bytes, "resident size over the limit")
    if ended.garbage:
        return HarnessFailed("the server's answer is malformed", ended.garbage)
    if ended.signal is not None:
        panic = _PANIC.search(stderr)
        if panic is not None:
            return Crashed(ended.signal, visible(f"panicked at {panic[1]} {panic[2]}", 400))
        return death(ended.signal, ended.stderr, limits)
    return HarnessFailed("the server ended", visible(stderr.strip().rpartition("\n")[2] or doing, 400))


def _located(ran: RunResult, wasm: bytes) -> Execution:
    """The execution, with the name of the trapping instruction."""
    outcome = ran.execution.outcome
    if not isinstance(outcome, Trapped) or ran.trap_offset is None:
        return ran.execution
    try:
        operation, _ = code.opcode(wasm, ran.trap_offset)
    except (ArtifactError, IndexError):
        return ran.execution
    return msgspec.structs.replace(ran.execution, outcome=msgspec.structs.replace(outcome, instructions=(operation.name,)))


def _unexpected(answer: Answer) -> HarnessFailed:
    return HarnessFailed("unexpected answer", type(answer).__name__)


@cache
def _installed() -> tuple[str, Path]:
    """The version of the package and the path of its shared library, without importing it."""
    spec = importlib.util.find_spec("wasmtime")
    if spec is None or spec.origin is None:
        raise EngineMissingError("the Python package wasmtime is not installed", hint="pip install wasmtime")
    libraries = sorted(Path(spec.origin).parent.glob("*/*wasmtime.*"))
    if not libraries:
        raise EngineMissingError("the Python package wasmtime has no library for this platform", hint="use Linux or macOS")
    return importlib.metadata.version("wasmtime"), libraries[0]


@cache
def _digest(library: Path) -> str:
    return file_sha256(library)


def create(argument: str | None, options: Mapping[str, str]) -> Wasmtime:  # noqa: ARG001 - the contract's
    """The entry point of ``wasmtime``, native code by Cranelift."""
    return Wasmtime("wasmtime", "native", 3e9, options.get("cache", ""))


def create_pulley(argument: str | None, options: Mapping[str, str]) -> Wasmtime:  # noqa: ARG001 - the contract's
    """The entry point of ``wasmtime-pulley``, the interpreter: about 11 times slower."""
    return Wasmtime("wasmtime-pulley", "pulley64", 2.8e8, options.get("cache", ""))
