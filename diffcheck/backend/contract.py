"""The contract of engine adapters.

An adapter is an entry point of the group ``diffcheck.backends``: a ``BackendFactory``; ``registry`` has optional declarations. An
adapter knows the command line, the answers and the messages of its engine, and nothing else. ``process`` is responsible for
spawning, deadlines and limits, and the runner for what is run and compared. ``command`` has the base of engines that are one child
process for each run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

import msgspec

from diffcheck import process
from diffcheck.backend import adapter_errors
from diffcheck.errors import ArtifactError
from diffcheck.observation import Execution, HarnessFailed, Identity, Outcome
from diffcheck.wasm.wit.types import WitFunction

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Transport = Literal["memory", "words", "print"]

SEARCH_PATH = "search-path"
"""The option with the user's PATH, since the environment of a worker has another one."""
COMPILED_FOLDER = "compiled"
"""The folder, in that of the option ``cache``, in which engines may cache compiled modules; it is bounded and cleared with it."""
HARNESS_ENTRIES = ("_start", "run", "0", "1", "main")
"""The entries of a harness run in order of preference, the same for the oracle."""


class Capabilities(msgspec.Struct, frozen=True):
    """The capabilities of an engine, its costs (measured on the date in the adapter) and its limits."""

    transport: Transport
    """How the stream is carried out of a capsule."""
    state_at_trap: bool = False
    """Whether the transport works after a trap."""
    direct: bool = True
    """Whether the engine can run an unmodified artifact."""
    exceptions: bool | None = True
    """Whether capsules may unwind an exit by an exception; None if not known: then known-answer tests decide."""
    gc: bool | None = True
    """Whether capsules may use GC instructions that the artifact does not; None as for ``exceptions``."""
    base_bytes: int = 64 << 20
    """This and the next four estimate the resident size, for admitting runs and for slicing."""
    function_bytes: int = 0
    code_bytes: int = 0
    """For each byte of code."""
    vector_bytes: int = 0
    """For each instruction with a vector as immediate: ``br_table``, ``try_table``, ``select`` with types."""
    segment_bytes: int = 0
    """For each active element segment."""
    startup_s: float = 0.05
    """The time before the first instruction, apart from that for functions."""
    function_s: float = 0.0
    """The time before the first instruction for each function."""
    instructions_per_s: float = 5e7
    """The speed after the first instruction."""
    max_exports: int | None = None
    """None if no limit is known."""
    notes: tuple[str, ...] = ()
    """Known limits as text."""

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a transport that does not exist, or a value of a wrong type."""
        if self.transport not in get_args(Transport):
            raise ValueError(f"transport is {self.transport!r}; allowed are {', '.join(get_args(Transport))}")
        if problem := adapter_errors.wrong_field(self):
            raise ValueError(problem)


class RunLimits(msgspec.Struct, frozen=True):
    """The limits of one execution: a deadline in seconds, memory in bytes, and options of oracles.

    ``stack_bytes`` is the native stack for calls (None: the engine's default); ``count_fuel`` requests the number of fuel units.
    Only oracles need to support these two.
    """

    deadline_s: float = 10.0
    memory_bytes: int = 4 << 30
    stack_bytes: int | None = None
    count_fuel: bool = False


class Program(msgspec.Struct, frozen=True):
    """A program to run.

    For a capsule, ``wasm`` contains the parameters of the pass. ``parameters`` are the same bytes alone, ``parameters_address`` is
    their place in the recorder memory, and ``template_sha256`` identifies the bytes without them, so that a long-lived engine can
    compile once and write the parameters itself. ``entry`` is the export to call. ``measured`` is whether the peak memory of the
    process is read to the page, so that the engine must not have huge pages.
    """

    kind: Literal["capsule", "direct"]
    wasm: bytes
    entry: str = "_start"
    template_sha256: str = ""
    parameters: bytes = b""
    parameters_offset: int = 0
    parameters_address: int = 0
    measured: bool = False


class Host(msgspec.Struct, frozen=True):
    """The environment of backends: the reactor that owns all children, a private folder, and whether output is ``live``: then an
    engine's output is shown at once, and its run is waited for.
    """

    reactor: process.Reactor
    folder: Path
    live: bool = False


@contextmanager
def local_host() -> Iterator[Host]:
    """A host in this process; its children are ended and its folder is removed afterwards."""
    with process.Reactor() as reactor, process.private_folder() as folder:
        yield Host(reactor, folder)


@runtime_checkable
class Pending(Protocol):
    """An execution in progress."""

    def wait(self) -> Execution:
        """The finished execution; other children are served meanwhile."""
        ...


def finished(pending: Pending) -> Execution:
    """The finished execution; raises ``AdapterError`` if the adapter returned something else."""
    return adapter_errors.checked(pending.wait, pending.wait(), Execution)


class StoredExecution(Pending):
    """An execution that is known already."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution

    def wait(self) -> Execution:
        """The execution."""
        return self._execution


class HostWorld(msgspec.Struct, frozen=True):
    """The environment of a program with the engine's own host functions: a folder, arguments, and the names of environment
    variables (their values are in the engine's environment).
    """

    folder: str
    args: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


class HostCall(msgspec.Struct, frozen=True):
    """A call of a host function in the engine's log: module and name, and the arguments in order."""

    function: str
    args: tuple[int, ...]


class HostResult(msgspec.Struct, frozen=True):
    """The result of a program run with the engine's own host functions.

    ``values`` are the results of the export, None if it did not return; ``failure`` is the engine's message, ``unknown`` whether
    the engine lacks the function. ``calls`` is empty if the engine has no log.
    """

    values: tuple[int, ...] | None = None
    failure: str = ""
    unknown: bool = False
    calls: tuple[HostCall, ...] = ()


class HostEngine(Protocol):
    """An engine that can run programs with its own host functions, for ``diffcheck imports --probe``.

    ``label`` is its command in short, such as ``engine --wasi``.
    """

    label: str

    def host_command(self, module: Path, export: str, world: HostWorld) -> tuple[str, ...]:
        """The command that calls ``export`` of ``module`` and prints its results."""
        ...

    def host_result(self, ended: process.ProcessResult) -> HostResult:
        """The result by the engine's output; called only if the process ended by itself."""
        ...


class Backend(ABC):
    """One engine, ready to run programs."""

    capabilities: Capabilities

    @abstractmethod
    def identity(self) -> Identity:
        """The identity of the engine; called once for each run, may start the engine."""

    def files(self) -> tuple[str, ...]:
        """The full paths of the engine's files; cached executions are valid while these stay the same."""
        path = identity(self).path
        return (path,) if path else ()

    @abstractmethod
    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """Start ``program``; the engine's behaviour is in the ``Execution``, never an exception."""

    def execute(self, program: Program, limits: RunLimits, host: Host) -> Execution:
        """Run ``program`` and wait for it."""
        return finished(adapter_errors.checked(self.start, self.start(program, limits, host), Pending))

    def host_engine(self) -> HostEngine | None:
        """How to run a program with the engine's own host functions; None if that is not supported."""
        return None

    def shell_commands(self, module: str, entry: str) -> tuple[str, ...]:  # noqa: ARG002 - most engines have none
        """Lines for a POSIX shell that call ``entry`` of the file ``module`` by the engine's own commands and print its counters as
        JSON on stdout; empty if that is not possible. The last status is 0 only if the entry returns. ``ENGINE`` may name another
        program of the engine.
        """
        return ()

    def invocation(self, module: str, export: str) -> str:  # noqa: ARG002 - most engines have none
        """The shell command that calls ``export`` of the file ``module`` and prints its results; empty if there is none."""
        return ""

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Release what is kept between executions."""


class Oracle(Backend):
    """A backend that can also validate artifacts. Any may be ``--oracle``; the default oracle validates for one that cannot."""

    @abstractmethod
    def validate(self, wasm: bytes, limits: RunLimits, host: Host) -> Outcome | None:
        """None if the engine accepts the module, else its refusal, or the outcome of a failed validation."""

    @abstractmethod
    def assemble(self, text: bytes, limits: RunLimits, host: Host) -> bytes:
        """The binary of a module in text form; raises ``ArtifactError`` with the reason."""

    def call(self, program: CallProgram, limits: RunLimits, host: Host) -> CallResults:  # noqa: ARG002 - the contract's
        """The results of the calls; raises ``ArtifactError`` if the program cannot be run. ``deadline_s`` is that of a call."""
        raise ArtifactError(f"{self.identity().name} cannot call the exports of a component")


class StubMemory(msgspec.Struct, frozen=True):
    """Addresses in the stubs' memory of an artifact with closed imports (``capsule.sealed_artifact.ClosedArtifact``)."""

    export: str
    exit_flag: int
    exit_code: int
    captures: int
    buffers: int


class ExportCall(msgspec.Struct, frozen=True):
    """A call of an export, ``interface#function`` in a component, with bit patterns or, for a component, WIT values."""

    export: str
    args: tuple[Any, ...] = ()


class CallProgram(msgspec.Struct, frozen=True):
    """A component, or a module without imports, and the calls of its exports: in one instance up to the first that does not return,
    and then in a new one. ``init`` are exports that are called first in each instance, ``before`` those called before each call.

    ``args``, ``env`` and ``stdin`` are those of a component. ``stub_memory`` is None if the module has no stubs.
    """

    wasm: bytes
    calls: tuple[ExportCall, ...] = ()
    init: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    stdin: bytes = b""
    stub_memory: StubMemory | None = None


class CallResult(msgspec.Struct, frozen=True):
    """The outcome of a call, its results as in ``ExportCall``, and what it wrote to stdout and stderr."""

    outcome: Outcome
    results: tuple[Any, ...] = ()
    stdout: bytes = b""
    stderr: bytes = b""


class CallResults(msgspec.Struct, frozen=True):
    """The results of a ``CallProgram``. ``counters`` are witness's, summed over the instances; ``functions`` are a component's
    exported functions.
    """

    results: tuple[CallResult, ...]
    counters: dict[int, int] = {}
    functions: dict[str, WitFunction] = {}


class RowCall(msgspec.Struct, frozen=True):
    """A call of an export with the bit patterns of its numeric arguments."""

    export: str
    args: tuple[int, ...] = ()


class RowAnswer(msgspec.Struct, frozen=True):
    """The outcome of a call, and the bit patterns of its numeric results."""

    outcome: Outcome
    results: tuple[int, ...] = ()


class RowEngine(Backend):
    """An engine that only calls exports of a module without imports, and so can only be a judge."""

    capabilities = Capabilities("print", direct=False, exceptions=False, gc=False, notes=("can only be a judge",))

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:  # noqa: ARG002 - the contract's
        """A failure: such an engine cannot run a program."""
        return StoredExecution(Execution(HarnessFailed("it only calls exports, so it can only be a judge")))

    @abstractmethod
    def call(self, wasm: bytes, calls: tuple[RowCall, ...], limits: RunLimits, host: Host) -> tuple[RowAnswer, ...]:
        """The answers to the calls in one instance, a new one after each trap; fewer if the engine ended before the last."""


def identity(backend: Backend) -> Identity:
    """The identity of an engine; raises ``AdapterError`` if the adapter fails or its identity has a wrong type."""
    return adapter_errors.call(backend.identity, Identity)


def files(backend: Backend) -> tuple[str, ...]:
    """The full paths of an engine's files; raises ``AdapterError`` if the adapter fails or they have a wrong type."""
    found = adapter_errors.call(backend.files, tuple)
    if problem := adapter_errors.wrong(found, tuple[str, ...]):
        raise adapter_errors.failed(backend.files, f"returned {problem}")
    return found


class BackendFactory(Protocol):
    """Creates a backend: the object of an entry point. ``argument`` is the text after the colon in ``harness:COMMAND``."""

    def __call__(self, argument: str | None, options: Mapping[str, str]) -> Backend:
        """The backend; raises ``EngineMissingError`` or ``ConfigError``.

        ``options`` has the user's PATH as ``search-path`` if this process has another one, and the cache folder as ``cache``.
        """
        ...
