"""kilnd, the native daemon of the kiln project and the first subject. Facts and figures are of kilnd 0.4.4, measured 2026-11.

In its harness mode it has no arguments and no imports, calls one fixed entry and reports integer globals. So the stream of a
capsule is carried by 250 globals, one window for each run, and nothing is carried at a trap.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diffcheck.backend.command import Command, CommandBackend, file_sha256
from diffcheck.backend.contract import SEARCH_PATH, Capabilities
from diffcheck.errors import EngineMissingError
from diffcheck.observation import Execution, HarnessFailed, Identity, OutOfMemory, Refused
from diffcheck.text import decode, printed_end
from diffcheck_backends import command_line, harness_protocol, kiln_words, trap_words
from diffcheck_backends.kilnd_host import KilndHost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck import process
    from diffcheck.backend.contract import Program, RunLimits
    from diffcheck.observation import Outcome

VARIABLE: Final = "DIFFCHECK_KILND"
MISSING_HINT: Final = (
    "use --kilnd PATH, set DIFFCHECK_KILND, or use --subject wasmtime-pulley; kilnd is in the releases of the kiln project"
)

NEAR_LIMIT_BYTES: Final = 32 << 20
"""kilnd 0.4.4 reports some failed allocations as a module that does not load (code 1005, with a limit of 20 MB)."""

_SMALL_BYTES: Final = 32 << 10
_MALLOC: Final = {"hugetlb": 1, "top_pad": 64 << 20, "mmap_threshold": 16 << 20, "trim_threshold": (1 << 32) - 1}
_TUNABLES: Final = ":".join(f"glibc.malloc.{name}={value}" for name, value in _MALLOC.items())
"""Its 8 MB for each function in huge pages, kept when they are freed. A module of 20 functions takes 70 ms of CPU, not 250; one of
64 functions and more would take longer (measured 2026-11-28).
"""

CAPABILITIES: Final = Capabilities(
    transport="words",
    state_at_trap=False,
    direct=True,
    exceptions=True,
    base_bytes=56_000_000,
    function_bytes=8_470_000,
    code_bytes=35,
    vector_bytes=8_410_000,
    segment_bytes=8_550_000,
    startup_s=0.025,
    function_s=0.006,
    instructions_per_s=5e7,
    max_exports=256,
    notes=(
        "256 exports; 4,096 data segments; 4,096 entries in an element segment; 50,000 locals; a call depth of about 9,998",
        "8.5 MB for each function, br_table, try_table, select with types and active element segment, executed or not",
        "no state is reported at a trap",
        "it does not validate, and it instantiates modules with missing memory or global imports",
        "refusals state no reason",
    ),
)


class Kilnd(CommandBackend):
    """kilnd at ``path``; ``found`` is how it was found, ``cache`` the folder for its version."""

    capabilities = CAPABILITIES
    bounds_address_space = True

    def __init__(self, path: Path, found: str, cache: str = "") -> None:
        self.path, self.found, self._cache = path, found, cache
        self._identity: Identity | None = None

    def identity(self) -> Identity:
        """Name, version (empty if the binary does not report it), path and SHA-256."""
        if self._identity is None:
            version = command_line.version(self.path, self._cache)
            self._identity = Identity("kilnd", version, str(self.path), file_sha256(self.path), self.found)
        return self._identity

    def files(self) -> tuple[str, ...]:
        """The binary, or a script that replaces it."""
        return (str(self.path),)

    def host_engine(self) -> KilndHost:
        """The command line with wasi 0.2; the harness mode has no host functions."""
        return KilndHost(self.path)

    def command(self, program: Program, module: Path, answer: Path) -> Command:
        """The command without arguments: the environment selects the harness mode."""
        tunables = {"GLIBC_TUNABLES": _TUNABLES} if len(program.wasm) <= _SMALL_BYTES and not program.measured else {}
        return Command((str(self.path),), harness_protocol.environment(module, answer) | tunables)

    def read(self, program: Program, ended: process.ProcessResult, answer: Path, limits: RunLimits) -> Execution:
        """The snapshot if kilnd succeeded, else the outcome by its error line."""
        if ended.exit_code == 0:
            return harness_protocol.read(program, answer)
        text = decode(ended.stderr)
        outcome = kiln_words.classify(text, ended.exit_code, None, limits) or trap_words.wrapper_failure(text)
        if outcome is None:
            outcome = HarnessFailed(f"exited {ended.exit_code} without an answer", printed_end(text))
        if isinstance(outcome, Refused) and ended.peak_bytes + NEAR_LIMIT_BYTES > limits.memory_bytes:
            outcome = OutOfMemory(limits.memory_bytes, "refused close to the memory limit, which may be the reason")
        return Execution(outcome)

    def classify_death(self, ended: process.ProcessResult, limits: RunLimits) -> Outcome | None:
        """The outcome of a failed allocation, which ends kilnd by SIGABRT."""
        return kiln_words.classify(decode(ended.stderr), None, ended.signal, limits)


def find(argument: str | None, options: Mapping[str, str]) -> tuple[Path, str]:
    """The path of kilnd and how it was found: ``argument``, else on PATH; raises ``EngineMissingError``."""
    if argument:
        found = VARIABLE if argument == os.environ.get(VARIABLE) else "--kilnd"
        path = Path(argument).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise EngineMissingError(f"kilnd was not found: {found} names {argument}, not a program", hint=MISSING_HINT)
        return path.absolute(), found
    on_path = shutil.which("kilnd", path=options.get(SEARCH_PATH))
    if on_path is None:
        raise EngineMissingError("kilnd was not found", hint=MISSING_HINT)
    return Path(on_path).absolute(), "PATH"


def create(argument: str | None, options: Mapping[str, str]) -> Kilnd:
    """The entry point: kilnd at ``argument``, which may come from --kilnd or DIFFCHECK_KILND, else on PATH."""
    return Kilnd(*find(argument, options), options.get("cache", ""))
