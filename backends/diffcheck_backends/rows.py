"""``rows:COMMAND``: a program that calls exports of a module for an engine that cannot run a capsule; it can only be a judge.

Standard input has one JSON object a line: ``{"module": BASE64}``, then for each call ``{"export": NAME, "args": ["5", ...]}``. The
program answers each call with a line ``{"results": ["2", ...]}`` or ``{"trap": MESSAGE}``, and exits with 0. Values are bit
patterns as unsigned decimal text. The calls share an instance; the call after a trap has a new one.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.backend.command import death, failure
from diffcheck.backend.contract import RowAnswer, RowCall, RowEngine
from diffcheck.observation import Crashed, HarnessFailed, Identity, Outcome, Returned, Trapped, sentence
from diffcheck.text import decode, plural, printed_end, visible
from diffcheck_backends import command_line, trap_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.backend.contract import Host, RunLimits


_DECIMAL: Final = re.compile("[0-9]{1,20}")


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
        answers = ended.stdout.splitlines()
        unusable = failure(ended, limits) or _end(ended, limits)
        if unusable is None and len(answers) != len(calls):
            unusable = HarnessFailed("the protocol is violated", f"{plural(len(answers), 'line')} for {plural(len(calls), 'call')}")
        if unusable is not None:
            return (RowAnswer(unusable),) * len(calls)
        return tuple(_answer(line, limits) for line in answers)


def _answer(line: bytes, limits: RunLimits) -> RowAnswer:
    """The answer of a line: one member of an object, so that no other reading of the line is possible."""
    try:
        ((name, value),) = json.loads(line, object_pairs_hook=tuple)
        if name == "trap" and isinstance(value, str):
            return RowAnswer(trap_words.classify(value, 1, None, limits) or Trapped("unknown", visible(value, 400)))
        if name == "results" and isinstance(value, list) and all(_DECIMAL.fullmatch(each) for each in value):
            return RowAnswer(Returned(), tuple(map(int, value)))
    except (ValueError, TypeError, RecursionError):
        pass
    return RowAnswer(HarnessFailed("the protocol is violated", visible(decode(line), 200)))


def _end(ended: process.ProcessResult, limits: RunLimits) -> Outcome | None:
    """How a program ended, unless it exited with 0: its answers are not believed."""
    if ended.signal is not None:
        died = death(ended.signal, ended.stderr, limits)
        return HarnessFailed(sentence(died)) if isinstance(died, Crashed) else died
    return HarnessFailed(f"exited {ended.exit_code}", printed_end(decode(ended.stderr))) if ended.exit_code else None


def create(argument: str | None, options: Mapping[str, str]) -> RowsCommand:
    """The entry point; raises ``ConfigError`` without a command, ``EngineMissingError`` if its program is not found."""
    return RowsCommand(command_line.direct(command_line.required(argument, "rows"), options), options.get("cache", ""))
