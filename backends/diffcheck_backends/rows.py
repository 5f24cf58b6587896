"""``rows:COMMAND``: a program that calls exports of a module for an engine that cannot run a capsule; it can only be a judge.

Standard input has one JSON object a line: ``{"module": BASE64}``, then for each call ``{"export": NAME, "args": ["5", ...]}``. The
program answers each call with a line ``{"results": ["2", ...]}`` or ``{"trap": MESSAGE}``. Values are bit patterns as unsigned
decimal text. The calls share an instance; the call after a trap has a new one.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import msgspec

from diffcheck import process
from diffcheck.backend.command import death, failure
from diffcheck.backend.contract import RowAnswer, RowCall, RowEngine
from diffcheck.observation import HarnessFailed, Identity, Outcome, Returned, Trapped
from diffcheck.text import decode, printed_end, visible
from diffcheck_backends import command_line, trap_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.backend.contract import Host, RunLimits


class _Line(msgspec.Struct):
    """An answer: results, or the message of a trap."""

    results: tuple[str, ...] = ()
    trap: str | None = None


class RowsCommand(RowEngine):
    """The program of a command line."""

    def __init__(self, command: command_line.UserCommand, cache: str = "") -> None:
        self._command, self._cache = command, cache
        self._identity: Identity | None = None

    def identity(self) -> Identity:
        """The program, with the version that it reports."""
        if self._identity is None:
            self._identity = self._command.identity("rows", self._command.version(self._cache))
        return self._identity

    def files(self) -> tuple[str, ...]:
        """The files that the command names."""
        return self._command.files

    def call(self, wasm: bytes, calls: tuple[RowCall, ...], limits: RunLimits, host: Host) -> tuple[RowAnswer, ...]:
        """See ``RowEngine``."""
        lines = [
            {"module": base64.b64encode(wasm).decode()},
            *({"export": each.export, "args": [*map(str, each.args)]} for each in calls),
        ]
        command = self._command.command(self._command.argv)
        child = host.reactor.start(
            command.argv,
            env=process.scrubbed_environment(command.environment, search_path=command.search_path),
            cwd=command.folder or None,
            deadline_s=limits.deadline_s,
            resident_bytes=limits.memory_bytes,
            stdin=b"".join(msgspec.json.encode(line) + b"\n" for line in lines),
        )
        ended = host.reactor.wait(child)
        answers = [_answer(line, limits) for line in ended.stdout.splitlines()[: len(calls)]]
        if len(answers) < len(calls):
            answers.append(RowAnswer(failure(ended, limits) or _end(ended, limits)))
        return tuple(answers)


def _answer(line: bytes, limits: RunLimits) -> RowAnswer:
    try:
        found = msgspec.json.decode(line, type=_Line)
        results = tuple(map(int, found.results))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return RowAnswer(HarnessFailed("an answer is not a line of the protocol", visible(decode(line), 200)))
    if found.trap is None:
        return RowAnswer(Returned(), results)
    return RowAnswer(trap_words.classify(found.trap, 1, None, limits) or Trapped("unknown", visible(found.trap, 400)))


def _end(ended: process.ProcessResult, limits: RunLimits) -> Outcome:
    """How a program ended that did not answer all calls."""
    if ended.signal is not None:
        return death(ended.signal, ended.stderr, limits)
    return HarnessFailed(f"exited {ended.exit_code}", printed_end(decode(ended.stderr)))


def create(argument: str | None, options: Mapping[str, str]) -> RowsCommand:
    """The entry point; raises ``ConfigError`` without a command, ``EngineMissingError`` if its program is not found."""
    return RowsCommand(command_line.direct(command_line.required(argument, "rows"), options), options.get("cache", ""))
