r"""``wasi:COMMAND``: any engine that runs a WASI command, started as ``COMMAND MODULE`` (``{}`` stands for the module elsewhere).

The capsule prints its recorder memory: the 16 bytes ``diffcheck:image\\n``, a u64 length, and that many bytes from address 0.
The engine's own output may precede and follow it. A capsule needs several memories; an engine without multi-memory refuses it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from diffcheck.backend.command import Command, CommandBackend
from diffcheck.backend.contract import Capabilities
from diffcheck.observation import Execution, HarnessFailed, Identity, Outcome, Returned, Trapped
from diffcheck.text import decode, plural, printed_end
from diffcheck_backends import command_line, trap_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from diffcheck import process
    from diffcheck.backend.contract import Program, RunLimits

MARKER: Final = b"diffcheck:image\n"
_LENGTH: Final = struct.Struct("<Q")
_TRAPPING_WORDS: Final = ("trap", "runtimeerror", "wasm error", "exception:")


class Wasi(CommandBackend):
    """The engine of a command line."""

    output_bytes = 64 << 20
    capabilities = Capabilities(
        transport="print",
        direct=False,
        exceptions=None,
        gc=None,
        base_bytes=64 << 20,
        startup_s=0.05,
        instructions_per_s=5e7,
        notes=("no state is reported at a trap", "needs an engine with multi-memory", "a stream of at most 64 MiB"),
    )

    def __init__(self, command: command_line.UserCommand, cache: str = "") -> None:
        self._command, self._cache = command, cache
        self._identity: Identity | None = None

    def identity(self) -> Identity:
        """The engine's program, with the version that it reports."""
        if self._identity is None:
            self._identity = self._command.identity("wasi", self._command.version(self._cache))
        return self._identity

    def files(self) -> tuple[str, ...]:
        """The files that the command names."""
        return self._command.files

    def command(self, program: Program, module: Path, answer: Path) -> Command:  # noqa: ARG002 - the contract's
        """The command with the path of the module."""
        argv = self._command.argv
        if any("{}" in word for word in argv):
            return self._command.command(tuple(word.replace("{}", str(module)) for word in argv))
        return self._command.command((*argv, str(module)))

    def read(self, program: Program, ended: process.ProcessResult, answer: Path, limits: RunLimits) -> Execution:  # noqa: ARG002 - the contract's
        """The image if the engine succeeded; else the outcome by its messages."""
        failure = None if ended.exit_code == 0 else _outcome(ended, limits)
        if program.kind == "direct":  # without counters, but it shows whether the module loads
            return Execution(failure or Returned())
        printed = _image(ended)
        if failure is None or (MARKER in ended.stdout and not printed.carried):  # an incomplete image is not used
            return printed
        # An exit prints the image and then traps, since the engine may not support exceptions.
        return Execution(failure, carried=printed.carried)

    def classify_death(self, ended: process.ProcessResult, limits: RunLimits) -> Outcome | None:
        """A failed allocation, if the engine reports it."""
        return trap_words.classify(decode(ended.stderr), None, ended.signal, limits)


def _image(ended: process.ProcessResult) -> Execution:
    stdout = ended.stdout
    # The engine's own output may precede and follow it.
    begin = stdout.find(MARKER)
    if ended.stdout_total > len(stdout):
        return Execution(HarnessFailed("the image is too large to be printed", plural(ended.stdout_total, "byte")))
    if begin < 0:
        return Execution(HarnessFailed("no image in the output", plural(len(stdout), "byte") + " printed"))
    begin += len(MARKER)
    if len(stdout) < begin + _LENGTH.size:
        return Execution(HarnessFailed("incomplete image in the output", "its length is truncated"))
    (length,) = _LENGTH.unpack_from(stdout, begin)
    image = stdout[begin + _LENGTH.size : begin + _LENGTH.size + length]
    if len(image) != length:
        return Execution(HarnessFailed("incomplete image in the output", f"{len(image):,} of {length:,} bytes"))
    return Execution(Returned(), carried=image)


def _outcome(ended: process.ProcessResult, limits: RunLimits) -> Outcome:
    text = decode(ended.stderr)
    outcome = trap_words.classify(text, ended.exit_code, None, limits) or trap_words.wrapper_failure(text)
    if outcome is not None:
        return outcome
    if any(word in text.lower() for word in _TRAPPING_WORDS):
        return Trapped("unknown", printed_end(text))
    return HarnessFailed(f"exited {ended.exit_code} without an image", printed_end(text))


def create(argument: str | None, options: Mapping[str, str]) -> Wasi:
    """The entry point; raises ``ConfigError`` without a command, ``EngineMissingError`` if its program is not found."""
    return Wasi(command_line.direct(command_line.required(argument, "wasi"), options), options.get("cache", ""))
