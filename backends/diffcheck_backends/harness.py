"""``harness:COMMAND``: any engine with witness's harness protocol, started by ``sh -c COMMAND`` as witness does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.backend.command import Command, CommandBackend
from diffcheck.backend.contract import Capabilities
from diffcheck.observation import Execution, HarnessFailed, Identity
from diffcheck.text import decode, printed_end
from diffcheck_backends import command_line, harness_protocol, trap_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from diffcheck import process
    from diffcheck.backend.contract import Program, RunLimits
    from diffcheck.observation import Outcome


class Harness(CommandBackend):
    """The engine of a shell command. Its cost is unknown; it is estimated from that of kilnd without huge pages."""

    capabilities = Capabilities(
        transport="words",
        base_bytes=37_000_000,
        function_bytes=8_470_000,
        code_bytes=35,
        vector_bytes=8_410_000,
        segment_bytes=8_550_000,
        startup_s=0.025,
        function_s=0.006,
        instructions_per_s=5e7,
        max_exports=256,
        notes=("no state is reported at a trap", "cost and limits are unknown: estimated from kilnd's"),
    )

    def __init__(self, command: command_line.UserCommand) -> None:
        self._command = command
        self._identity: Identity | None = None

    def identity(self) -> Identity:
        """The files that the command names. The version is unknown, since the protocol has no option for it."""
        if self._identity is None:
            self._identity = self._command.identity("harness")
        return self._identity

    def files(self) -> tuple[str, ...]:
        """The files that the command names."""
        return self._command.files

    def command(self, program: Program, module: Path, answer: Path) -> Command:  # noqa: ARG002 - the contract's
        """The same command for every program: the protocol uses the environment."""
        return self._command.command(self._command.argv, harness_protocol.environment(module, answer))

    def read(self, program: Program, ended: process.ProcessResult, answer: Path, limits: RunLimits) -> Execution:
        """The snapshot if the engine succeeded; else the outcome by the messages of known engines."""
        if ended.exit_code == 0:
            return harness_protocol.read(program, answer)
        text = decode(ended.stderr)
        outcome = trap_words.classify(text, ended.exit_code, None, limits)
        outcome = outcome or trap_words.wrapper_failure(text)
        if outcome is None:
            which = "with" if harness_protocol.has_answer(answer) else "without"
            outcome = HarnessFailed(f"exited {ended.exit_code} {which} an answer", printed_end(text))
        return Execution(outcome)

    def classify_death(self, ended: process.ProcessResult, limits: RunLimits) -> Outcome | None:
        """A failed allocation, if the engine reports it."""
        return trap_words.classify(decode(ended.stderr), None, ended.signal, limits)


def create(argument: str | None, options: Mapping[str, str]) -> Harness:
    """The entry point; raises ``ConfigError`` without a command."""
    return Harness(command_line.shell(command_line.required(argument, "harness"), options))
