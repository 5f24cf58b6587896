"""The contract that an engine's adapter fulfils.

An adapter is found by the entry-point group ``diffcheck.backends``; the entry is a ``BackendFactory``, and ``registry`` has what it
may declare besides. It knows its engine's command line, its answer's format and its words, and nothing else: spawning, deadlines
and limits are ``process``'s, what is run and compared is the runner's. ``command`` has what an engine needs that is one child
process a run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from diffcheck import process
from diffcheck.observation import Execution, Identity, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Transport = Literal["memory", "words", "print"]

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


class RunLimits(msgspec.Struct, frozen=True):
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


class HostResult(msgspec.Struct, frozen=True):
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

    def host_result(self, ended: process.ProcessResult) -> HostResult:
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
    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """Begin to run ``program``; the ``Execution`` reports what the engine does, never an exception."""

    def execute(self, program: Program, limits: RunLimits, host: Host) -> Execution:
        """Run ``program`` and wait for it."""
        return self.start(program, limits, host).wait()

    def host_engine(self) -> HostEngine | None:
        """How to run a program with the engine's own host functions; None where nothing here knows how."""
        return None

    def shell_commands(self, module: str, entry: str) -> tuple[str, ...]:  # noqa: ARG002 - most engines have none
        """Lines for a POSIX shell that call ``entry`` of the module in the file ``module`` by the engine's own commands, and print
        its counters as JSON on stdout. The last status is not 0 unless the entry returns. ``ENGINE`` may name another program of
        that engine. Empty if there is no such way.
        """
        return ()

    def invocation(self, module: str, export: str) -> str:  # noqa: ARG002 - most engines have none
        """The shell command that calls ``export`` of the module in the file ``module`` and prints its results; empty if none."""
        return ""

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Let go of what was kept between executions."""


class Oracle(Backend):
    """A backend that can also judge an artifact."""

    @abstractmethod
    def validate(self, wasm: bytes, limits: RunLimits, host: Host) -> Outcome | None:
        """None where the engine takes the module, else its refusal (or why it could not say)."""

    @abstractmethod
    def assemble(self, text: bytes, limits: RunLimits, host: Host) -> bytes:
        """The binary of a module in text form; raises ``ArtifactError`` with the reason."""


class BackendFactory(Protocol):
    """Makes a backend: what an entry point names. ``argument`` is what follows the colon in ``harness:COMMAND``."""

    def __call__(self, argument: str | None, options: Mapping[str, str]) -> Backend:
        """The backend, or ``EngineMissingError``/``ConfigError``.

        ``options`` has the user's PATH as ``search-path`` where this process has another one, and the cache's folder as ``cache``.
        """
        ...
