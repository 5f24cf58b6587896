"""The contract that an engine's adapter fulfils, and how one is opened.

An adapter is found by the entry-point group ``diffcheck.backends``; the entry is a ``BackendFactory``, and ``registry`` has what it
may declare besides. It knows its engine's command line, its answer's format and its words, and nothing else: spawning, deadlines
and limits are ``process``'s, what is run and compared is the runner's. ``CommandBackend`` has all that an engine started as a child
needs, so that a new one is the command to run and the answer to read.
"""

from __future__ import annotations

import os
import shlex
import signal
from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from diffcheck import process, registry
from diffcheck.errors import ConfigError, EngineMissingError
from diffcheck.observation import Cost, Crashed, Execution, HarnessFailed, Identity, Outcome, OutOfMemory, TimedOut
from diffcheck.text import decode, printed_end, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Transport = Literal["memory", "words", "print"]

ANSWER_BYTES = 64 << 20
OUTPUT_STOP_BYTES = 64 << 20
"""The largest file that an engine may write, and what it may print before it is ended."""

SEARCH_PATH = "search-path"
"""The option that has the user's PATH: a worker's own environment has another one."""
HARNESS_ENTRIES = ("_start", "run", "0", "1", "main")
"""The entries of a harness run in order of preference; the oracle takes the same ones."""


class Capabilities(msgspec.Struct, frozen=True):
    """What an engine can carry, and what is known of its cost and limits.

    ``transport`` is how a capsule's stream comes out; ``state_at_trap`` whether it still does after a trap; ``direct`` whether
    the engine can run an artifact as it is; ``exceptions`` whether its capsules may unwind an exit by an exception; ``gc``
    whether they may use GC instructions where the artifact itself has none. An adapter that cannot know these two gives None: then
    the engine is asked by known answers.
    ``base_bytes``, ``function_bytes`` and ``code_bytes`` (for a byte of code) estimate the resident size to admit a run by,
    ``startup_s`` and ``function_s`` the time before the first instruction, ``instructions_per_s`` the speed after it (all measured
    on the engine's adapter's date).
    ``max_exports`` is None where no limit is known. ``notes`` are known limits in words.
    """

    transport: Transport
    state_at_trap: bool = False
    direct: bool = True
    exceptions: bool | None = True
    gc: bool | None = True
    base_bytes: int = 64 << 20
    function_bytes: int = 0
    code_bytes: int = 0
    startup_s: float = 0.05
    function_s: float = 0.0
    instructions_per_s: float = 5e7
    max_exports: int | None = None
    notes: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """What one execution may take: a deadline in seconds, the engine's memory in bytes, and how an oracle runs.

    ``stack_bytes`` is the native stack for calls (None: the engine's own); ``count_fuel`` asks for the number of fuel units. An
    engine that cannot do these ignores them: only oracles are asked.
    """

    deadline_s: float = 10.0
    memory_bytes: int = 4 << 30
    stack_bytes: int | None = None
    count_fuel: bool = False


class Program(msgspec.Struct, frozen=True):
    """What is put to an engine.

    For a capsule, ``wasm`` is its bytes with the parameters of this pass already in them, ``parameters`` the same bytes alone
    with ``parameters_address`` their place in the recorder memory, and ``template_sha256`` names the bytes without them, so that
    an engine that lives on between passes compiles once and writes the parameters itself. ``entry`` is the export to call.
    """

    kind: Literal["capsule", "direct"]
    wasm: bytes
    entry: str = "_start"
    template_sha256: str = ""
    parameters: bytes = b""
    parameters_offset: int = 0
    parameters_address: int = 0


class Host(msgspec.Struct, frozen=True):
    """What a worker gives its backends: the reactor that owns all children, a private folder, and whether a person watches: then
    what an engine prints is shown as it comes, and its run is waited for at once.
    """

    reactor: process.Reactor
    folder: Path
    live: bool = False


@contextmanager
def local_host() -> Iterator[Host]:
    """A host in this process; its children and its folder are gone afterwards."""
    with process.Reactor() as reactor, process.private_folder() as folder:
        yield Host(reactor, folder)


class Pending(Protocol):
    """An execution under way."""

    def wait(self) -> Execution:
        """The finished execution; other children go on meanwhile."""
        ...


class HostWorld(msgspec.Struct, frozen=True):
    """What a program with the engine's own host functions is given: a folder it may use, arguments, and the names of the
    environment variables that it may see (their values are in the engine's environment).
    """

    folder: str
    args: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


class HostCall(msgspec.Struct, frozen=True):
    """A call of a host function as the engine's log has it: module and name, and the arguments in the order it shows."""

    function: str
    args: tuple[int, ...]


class HostSaid(msgspec.Struct, frozen=True):
    """What an engine said of a program that it ran with its own host functions.

    ``values`` are what the export returned, None where it did not; ``failure`` is the reason in the engine's words, ``unknown``
    whether it is that it has no such function. ``calls`` is empty where the engine keeps no log.
    """

    values: tuple[int, ...] | None = None
    failure: str = ""
    unknown: bool = False
    calls: tuple[HostCall, ...] = ()


class HostEngine(Protocol):
    """An engine that can run a program with host functions of its own: what ``diffcheck imports --probe`` asks.

    ``label`` says how it is run, such as ``engine --wasi``.
    """

    label: str

    def host_command(self, module: Path, export: str, world: HostWorld) -> tuple[str, ...]:
        """The command that calls ``export`` of ``module`` and shows what it returns."""
        ...

    def host_said(self, ended: process.Ended) -> HostSaid:
        """What it said, in the shared terms; called only where the process ended by itself."""
        ...


class Backend(ABC):
    """One engine, ready to run programs."""

    capabilities: Capabilities

    @abstractmethod
    def identity(self) -> Identity:
        """Which engine this is; asked once a run, may start it."""

    def files(self) -> tuple[str, ...]:
        """The files that the engine is made of, by their full paths: what it did is remembered for, and only while they stay."""
        path = self.identity().path
        return (path,) if path else ()

    @abstractmethod
    def start(self, program: Program, limits: Limits, host: Host) -> Pending:
        """Begin to run ``program``; what the engine does is told in the ``Execution``, never by an exception."""

    def execute(self, program: Program, limits: Limits, host: Host) -> Execution:
        """Run ``program`` and wait for it."""
        return self.start(program, limits, host).wait()

    def host_engine(self) -> HostEngine | None:
        """How to run a program with the engine's own host functions; None where nothing here knows how."""
        return None

    def plain(self, module: str, entry: str) -> tuple[str, ...]:  # noqa: ARG002 - most engines have none
        """Lines for a POSIX shell that call ``entry`` of the module in the file ``module``, by the engine's own commands, and print
        what it says and the counters; none where there is no such way. ``SUBJECT`` may name another program of that engine.
        """
        return ()

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Let go of what was kept between executions."""


class Oracle(Backend):
    """A backend that can also judge an artifact."""

    @abstractmethod
    def validate(self, wasm: bytes, limits: Limits, host: Host) -> Outcome | None:
        """None where the engine takes the module, else its refusal (or why it could not say)."""

    @abstractmethod
    def assemble(self, text: bytes, limits: Limits, host: Host) -> bytes:
        """The binary of a module in text form; raises ``ArtifactError`` with the reason."""


class Command(msgspec.Struct, frozen=True):
    """How to start an engine once: ``argv``, what its environment has besides the scrubbed one, the folder to start it in (empty:
    the private one), and its PATH (empty: a fixed one).
    """

    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    folder: str = ""
    search_path: str = ""


class CommandBackend(Backend):
    """An engine that is one child process a run: an adapter says the command and reads the answer.

    ``output_bytes`` is what is kept of each of its pipes. ``bounds_address_space`` is for engines that reserve no address
    space beyond what they use: the kernel then holds the memory limit; of the others the resident size is watched.
    """

    output_bytes = 256 << 10
    bounds_address_space = False

    @abstractmethod
    def command(self, program: Program, module: Path, answer: Path) -> Command:
        """The command that runs ``module`` and may write its answer to ``answer``; both are in a private folder."""

    @abstractmethod
    def read(self, program: Program, ended: process.Ended, answer: Path, limits: Limits) -> Execution:
        """The engine's answer in the shared terms; called only where the process ended by itself."""

    def plain(self, module: str, entry: str) -> tuple[str, ...]:
        """The command that a run has, with its environment; its answer is printed behind it."""
        command = self.command(Program(kind="direct", wasm=b"", entry=entry), Path(module), Path("answer.json"))
        first, *rest = command.argv
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in command.environment.items())
        line = " ".join(filter(None, (variables, '"${SUBJECT:-' + _in_quotes(first) + '}"', *map(shlex.quote, rest))))
        return "rm -f answer.json", line, 'echo "exit code $?"', "if [ -f answer.json ]; then cat answer.json; echo; fi"

    def died(self, ended: process.Ended, limits: Limits) -> Outcome | None:  # noqa: ARG002 - for engines that say why they die
        """What a death by a signal means in this engine's words, such as a failed allocation; None for a plain crash."""
        return None

    def start(self, program: Program, limits: Limits, host: Host) -> Pending:
        """See ``Backend``: the module is written to a folder of its own, which is gone when the answer was read."""
        return _ChildPending(self, program, limits, host)


def _in_quotes(text: str) -> str:
    """A text as it stands between a shell's double quotes, and within the braces of an expansion."""
    return "".join(f"\\{each}" if each in '"\\$`}' else each for each in text)


class _ChildPending:
    def __init__(self, backend: CommandBackend, program: Program, limits: Limits, host: Host) -> None:
        self._backend, self._program, self._limits = backend, program, limits
        self._reactor = host.reactor
        self._private = process.private_folder(host.folder)
        folder = self._private.__enter__()
        try:
            module, self._answer = folder / "module.wasm", folder / "answer"
            module.write_bytes(program.wasm)
            command = backend.command(program, module, self._answer)
            bounds = process.Bounds(
                command=command.argv,
                env=process.scrubbed_environment(command.environment, search_path=command.search_path),
                cwd=command.folder or str(folder),
                ended=str(folder / "ended"),
                deadline_s=limits.deadline_s,
                memory_bytes=limits.memory_bytes if backend.bounds_address_space else None,
                # Nothing can be resident that has no address: watching it besides would only cost.
                resident_bytes=None if backend.bounds_address_space else limits.memory_bytes,
                output_bytes=backend.output_bytes,
                output_stop_bytes=max(backend.output_bytes, OUTPUT_STOP_BYTES),
                file_bytes=ANSWER_BYTES,
            )
            if host.live and backend.capabilities.transport != "print":  # what is printed there is no text
                self._end: Callable[[], process.Ended] = partial(process.run_watched, bounds, folder)
            else:
                self._end = partial(self._reactor.wait, bounds.start(self._reactor))
        except BaseException:
            self._private.__exit__(None, None, None)
            raise

    def wait(self) -> Execution:
        try:
            ended = self._without_folder(self._end())
            outcome = failure(ended, self._limits)
            if outcome is None and ended.signal is not None:
                outcome = self._backend.died(ended, self._limits) or death(ended.signal, ended.stderr, self._limits)
            if outcome is None:
                execution = self._backend.read(self._program, ended, self._answer, self._limits)
            else:
                execution = Execution(outcome)
        finally:
            self._private.__exit__(None, None, None)
        cost = Cost(ended.elapsed_ns, ended.cpu_ns, ended.peak_bytes, 1)
        log = "\n".join(visible(line, 4000) for line in decode(ended.stderr[-2000:]).splitlines())
        return msgspec.structs.replace(execution, cost=cost, log=log)

    def _without_folder(self, ended: process.Ended) -> process.Ended:
        """What was printed without the path of the private folder, so that reasons are the same from run to run."""
        folder = os.fsencode(self._answer.parent)
        return msgspec.structs.replace(ended, stderr=ended.stderr.replace(folder + b"/", b"").replace(folder, b"."))


def failure(ended: process.Ended, limits: Limits) -> Outcome | None:
    """The outcome of a child that we had to end; None where it ended by itself."""
    if ended.timed_out:
        return TimedOut(limits.deadline_s)
    if ended.over_memory:
        return OutOfMemory(limits.memory_bytes, "resident size over the limit")
    if ended.exit_code is None and ended.signal is None:
        return HarnessFailed("could not be ended", "the engine's process did not die of SIGKILL")
    if ended.flooded:
        return HarnessFailed("printed without end", f"{ended.stdout_total + ended.stderr_total} bytes")
    return None


def death(number: int, stderr: bytes, limits: Limits) -> Outcome:
    """What the death of an engine's process by a signal means where the engine itself gave no reason.

    No engine kills itself with SIGKILL and we did not: that is the kernel, short of memory.
    """
    if number == signal.SIGKILL:
        return OutOfMemory(limits.memory_bytes, "killed by the system, as it does when memory runs out")
    if number == signal.SIGXFSZ:
        return HarnessFailed("wrote without end", f"a file of over {ANSWER_BYTES >> 20} MiB")
    return Crashed(number, printed_end(decode(stderr)))


class BackendFactory(Protocol):
    """Makes a backend: what an entry point names. ``argument`` is what follows the colon in ``harness:COMMAND``."""

    def __call__(self, argument: str | None, options: Mapping[str, str]) -> Backend:
        """The backend, or ``EngineMissingError``/``ConfigError``.

        ``options`` has the user's PATH as ``search-path`` where this process has another one, and the cache's folder as ``cache``.
        """
        ...


def create(spec: str, options: Mapping[str, str]) -> Backend:
    """The backend that ``NAME`` or ``NAME:ARGUMENT`` names; raises ``ConfigError`` for an unknown one.

    Without an argument, one whose adapter declares a program has the path that ``options`` or the environment say.
    """
    name, colon, argument = spec.partition(":")
    factory: BackendFactory | None = next((each.load() for each in entry_points(group=registry.ADAPTERS, name=name)), None)
    if factory is None:
        raise ConfigError(f"there is no backend {visible(name)!r}", hint=f"the backends here are {', '.join(registry.names())}")
    return factory(argument if colon else registry.located(options, os.environ).get(name), options)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hex; raises ``EngineMissingError`` where it cannot be read."""
    try:
        return process.file_digest(str(path)).hex()
    except OSError as error:
        raise EngineMissingError(f"{path} cannot be read: {error.strerror}", hint="check the path and its rights") from error


__all__ = [
    "ANSWER_BYTES",
    "HARNESS_ENTRIES",
    "SEARCH_PATH",
    "Backend",
    "BackendFactory",
    "Capabilities",
    "Command",
    "CommandBackend",
    "Host",
    "HostCall",
    "HostEngine",
    "HostSaid",
    "HostWorld",
    "Limits",
    "Oracle",
    "Pending",
    "Program",
    "Transport",
    "create",
    "death",
    "failure",
    "file_sha256",
    "local_host",
]
