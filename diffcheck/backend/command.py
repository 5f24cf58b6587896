"""What engines share that are one child process a run: an adapter computes the command and reads the answer."""

from __future__ import annotations

import os
import shlex
import signal
from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck import process
from diffcheck.errors import EngineMissingError
from diffcheck.observation import Cost, Crashed, Execution, HarnessFailed, Outcome, OutOfMemory, TimedOut
from diffcheck.text import decode, printed_end, visible

if TYPE_CHECKING:
    from collections.abc import Callable

from diffcheck.backend.contract import Backend, Host, Pending, Program, RunLimits

ANSWER_BYTES = 64 << 20
OUTPUT_STOP_BYTES = 64 << 20
"""The largest file that an engine may write, and what it may print before it is ended."""


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

    ``output_bytes`` bounds what is read from each of its pipes. ``bounds_address_space`` is for engines that reserve no address
    space beyond what they use: the kernel then holds the memory limit; of the others the resident size is watched.
    """

    output_bytes = 256 << 10
    bounds_address_space = False

    @abstractmethod
    def command(self, program: Program, module: Path, answer: Path) -> Command:
        """The command that runs ``module`` and may write its answer to ``answer``; both are in a private folder."""

    @abstractmethod
    def read(self, program: Program, ended: process.ProcessResult, answer: Path, limits: RunLimits) -> Execution:
        """The engine's answer in the shared terms; called only where the process ended by itself."""

    def shell_commands(self, module: str, entry: str) -> tuple[str, ...]:
        """The command of a run with its environment, then its answer."""
        command = self.command(Program(kind="direct", wasm=b"", entry=entry), Path(module), Path("answer.json"))
        first, *rest = command.argv
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in command.environment.items())
        line = " ".join(filter(None, (variables, '"${ENGINE:-' + _in_quotes(first) + '}"', *map(shlex.quote, rest))))
        return "rm -f answer.json", f"{line} || exit", "if [ -f answer.json ]; then cat answer.json; fi"

    def classify_death(self, ended: process.ProcessResult, limits: RunLimits) -> Outcome | None:  # noqa: ARG002 - for engines that say why they die
        """What a death by a signal means in this engine's words, such as a failed allocation; None for a plain crash."""
        return None

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """See ``Backend``: the module is written to a folder of its own, which is gone when the answer was read."""
        return _ChildPending(self, program, limits, host)


def _in_quotes(text: str) -> str:
    """A text as it stands between a shell's double quotes, and within the braces of an expansion."""
    return "".join(f"\\{each}" if each in '"\\$`}' else each for each in text)


class _ChildPending:
    def __init__(self, backend: CommandBackend, program: Program, limits: RunLimits, host: Host) -> None:
        self._backend, self._program, self._limits = backend, program, limits
        self._reactor = host.reactor
        self._private = process.private_folder(host.folder)
        folder = self._private.__enter__()
        try:
            module, self._answer = folder / "module.wasm", folder / "answer"
            module.write_bytes(program.wasm)
            command = backend.command(program, module, self._answer)
            bounds = process.CommandLimits(
                command=command.argv,
                env=process.scrubbed_environment(command.environment, search_path=command.search_path),
                cwd=command.folder or str(folder),
                result_file=str(folder / "ended"),
                deadline_s=limits.deadline_s,
                memory_bytes=limits.memory_bytes if backend.bounds_address_space else None,
                # Nothing can be resident that has no address: watching it besides would only cost.
                resident_bytes=None if backend.bounds_address_space else limits.memory_bytes,
                output_bytes=backend.output_bytes,
                output_stop_bytes=max(backend.output_bytes, OUTPUT_STOP_BYTES),
                file_bytes=ANSWER_BYTES,
            )
            if host.live and backend.capabilities.transport != "print":  # what is printed there is no text
                self._end: Callable[[], process.ProcessResult] = partial(process.run_live, bounds, folder)
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
                outcome = self._backend.classify_death(ended, self._limits) or death(ended.signal, ended.stderr, self._limits)
            if outcome is None:
                execution = self._backend.read(self._program, ended, self._answer, self._limits)
            else:
                execution = Execution(outcome)
        finally:
            self._private.__exit__(None, None, None)
        cost = Cost(ended.elapsed_ns, ended.cpu_ns, ended.peak_bytes, 1)
        log = "\n".join(visible(line, 4000) for line in decode(ended.stderr[-2000:]).splitlines())
        return msgspec.structs.replace(execution, cost=cost, log=log)

    def _without_folder(self, ended: process.ProcessResult) -> process.ProcessResult:
        """What was printed without the path of the private folder, so that reasons are the same from run to run."""
        folder = os.fsencode(self._answer.parent)
        return msgspec.structs.replace(ended, stderr=ended.stderr.replace(folder + b"/", b"").replace(folder, b"."))


def failure(ended: process.ProcessResult, limits: RunLimits) -> Outcome | None:
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


def death(number: int, stderr: bytes, limits: RunLimits) -> Outcome:
    """What the death of an engine's process by a signal means where the engine itself gave no reason.

    No engine kills itself with SIGKILL and we did not: that is the kernel, short of memory.
    """
    if number == signal.SIGKILL:
        return OutOfMemory(limits.memory_bytes, "killed by the system, as it does when memory runs out")
    if number == signal.SIGXFSZ:
        return HarnessFailed("wrote without end", f"a file of over {ANSWER_BYTES >> 20} MiB")
    return Crashed(number, printed_end(decode(stderr)))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hex; raises ``EngineMissingError`` where it cannot be read."""
    try:
        return process.file_digest(str(path)).hex()
    except OSError as error:
        raise EngineMissingError(f"{path} cannot be read: {error.strerror}", hint="check the path and its rights") from error
