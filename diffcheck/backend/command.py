"""Engines that are one child process for each run: an adapter computes the command and reads the answer."""

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
from diffcheck.backend import adapter_errors
from diffcheck.errors import EngineMissingError
from diffcheck.observation import Cost, Crashed, Execution, HarnessFailed, Outcome, OutOfMemory, TimedOut
from diffcheck.text import decode, printed_end, visible

if TYPE_CHECKING:
    from collections.abc import Callable

from diffcheck.backend.contract import Backend, Host, Pending, Program, RunLimits

ANSWER_BYTES = 64 << 20
OUTPUT_STOP_BYTES = 64 << 20
"""The largest file that an engine may write, and the largest output before it is killed."""


class Command(msgspec.Struct, frozen=True):
    """A command: ``argv``, additions to the scrubbed environment, the working folder (empty: the private one), and PATH (empty: a
    fixed one).
    """

    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    folder: str = ""
    search_path: str = ""


class CommandBackend(Backend):
    """An engine that is one child process for each run.

    ``output_bytes`` is the number of bytes kept of each pipe. ``bounds_address_space`` is for engines that reserve no unused
    address space: then the kernel enforces the memory limit; the resident size of other engines is polled.
    """

    output_bytes = 256 << 10
    bounds_address_space = False

    @abstractmethod
    def command(self, program: Program, module: Path, answer: Path) -> Command:
        """The command that runs ``module`` and may write its answer to ``answer``, both in a private folder."""

    @abstractmethod
    def read(self, program: Program, ended: process.ProcessResult, answer: Path, limits: RunLimits) -> Execution:
        """The execution by the engine's answer; called only if the process ended by itself."""

    def shell_commands(self, module: str, entry: str) -> tuple[str, ...]:
        """The command of a run with its environment, then a command that prints the answer."""
        command = self.command(Program(kind="direct", wasm=b"", entry=entry), Path(module), Path("answer.json"))
        first, *rest = command.argv
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in command.environment.items())
        line = " ".join(filter(None, (variables, '"${ENGINE:-' + in_quotes(first) + '}"', *map(shlex.quote, rest))))
        return "rm -f answer.json", f"{line} || exit", "if [ -f answer.json ]; then cat answer.json; fi"

    def classify_death(self, ended: process.ProcessResult, limits: RunLimits) -> Outcome | None:  # noqa: ARG002 - for engines that print the reason
        """The outcome of a death by a signal that the engine explains, such as a failed allocation; None for a crash."""
        return None

    def start(self, program: Program, limits: RunLimits, host: Host) -> Pending:
        """See ``Backend``. The module is in a private folder, which is removed when the answer has been read."""
        return _ChildPending(self, program, limits, host)


def in_quotes(text: str) -> str:
    """A text escaped for double quotes of a shell, also within the braces of an expansion."""
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
            command = adapter_errors.call(backend.command, Command, program, module, self._answer)
            bounds = process.CommandLimits(
                command=command.argv,
                env=process.scrubbed_environment(command.environment, search_path=command.search_path),
                cwd=command.folder or str(folder),
                result_file=str(folder / "ended"),
                deadline_s=limits.deadline_s,
                memory_bytes=limits.memory_bytes if backend.bounds_address_space else None,
                # With a limit of the address space the resident size need not be polled.
                resident_bytes=None if backend.bounds_address_space else limits.memory_bytes,
                output_bytes=backend.output_bytes,
                output_stop_bytes=max(backend.output_bytes, OUTPUT_STOP_BYTES),
                file_bytes=ANSWER_BYTES,
            )
            if host.live and backend.capabilities.transport != "print":  # that output is not text
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
                arguments = self._program, ended, self._answer, self._limits
                execution = adapter_errors.call(self._backend.read, Execution, *arguments)
            else:
                execution = Execution(outcome)
        finally:
            self._private.__exit__(None, None, None)
        cost = Cost(ended.elapsed_ns, ended.cpu_ns, ended.peak_bytes, 1)
        log = "\n".join(visible(line, 4000) for line in decode(ended.stderr[-2000:]).splitlines())
        return msgspec.structs.replace(execution, cost=cost, log=log)

    def _without_folder(self, ended: process.ProcessResult) -> process.ProcessResult:
        """The result without the path of the private folder, so that reasons do not vary between runs."""
        folder = os.fsencode(self._answer.parent)
        return msgspec.structs.replace(ended, stderr=ended.stderr.replace(folder + b"/", b"").replace(folder, b"."))


def failure(ended: process.ProcessResult, limits: RunLimits) -> Outcome | None:
    """The outcome of a child that was killed; None if it ended by itself."""
    if ended.timed_out:
        return TimedOut(limits.deadline_s)
    if ended.over_memory:
        return OutOfMemory(limits.memory_bytes, "resident size over the limit")
    if ended.exit_code is None and ended.signal is None:
        return HarnessFailed("could not be terminated", "the engine's process survived SIGKILL")
    if ended.flooded:
        return HarnessFailed("printed too much", f"{ended.stdout_total + ended.stderr_total} bytes")
    return None


def death(number: int, stderr: bytes, limits: RunLimits) -> Outcome:
    """The outcome of a death by a signal without a reason from the engine.

    A SIGKILL that we did not send is from the kernel, when memory runs out.
    """
    if number == signal.SIGKILL:
        return OutOfMemory(limits.memory_bytes, "killed by the system, probably because memory ran out")
    if number == signal.SIGXFSZ:
        return HarnessFailed("wrote too much", f"a file of over {ANSWER_BYTES >> 20} MiB")
    return Crashed(number, printed_end(decode(stderr)))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file in hex; raises ``EngineMissingError`` if it cannot be read."""
    try:
        return process.file_digest(str(path)).hex()
    except OSError as error:
        raise EngineMissingError(f"{path} cannot be read: {error.strerror}", hint="check the path and its permissions") from error
