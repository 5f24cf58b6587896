"""What the adapters of a user's own command share: the program that it names, the files that it is made of, its version."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck import process
from diffcheck.backend.command import Command, file_sha256
from diffcheck.backend.contract import SEARCH_PATH
from diffcheck.errors import ConfigError, EngineMissingError, ReportError
from diffcheck.observation import Identity
from diffcheck.text import decode, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHELL_ONLY: Final = re.compile(r"[|&;<>()$`\\*?\[\]#~=%!{}\n]")
_SHELL_WORD: Final = re.compile(r"""[^\s'"`;|&<>()=]+""")
_VERSION: Final = re.compile(r"\bv?(\d+\.\d+(?:\.\d+)?[-+.\w]*)")
_VERSION_DEADLINE_S: Final = 5.0
_VERSION_BYTES: Final = 200
_VERSION_OUTPUT_BYTES: Final = 4000
_LAUNCHERS: Final = re.compile(
    r"(?:(?:ba|da|k|z|fi)?sh|busybox|bun|bwrap|cargo|chrt|deno|docker|doas|dotnet|env|firejail|gdb|go|ionice|java|ltrace|lua(?:jit)?|"
    r"mono|nice|node(?:js)?|nohup|npm|npx|numactl|perf|perl|php|pipx|podman|pypy|python|qemu-\w+|rr|ruby|setsid|stdbuf|strace|sudo|"
    r"systemd-run|taskset|time|timeout|uvx?|valgrind|wine|xvfb-run)[\d.]*\Z"
)
"""Programs that run another one: their version is not the engine's."""


class UserCommand(msgspec.Struct, frozen=True):
    """A user's own command as it is started: ``argv`` begins with a full path, ``search_path`` is the PATH that it runs with.

    ``files`` are the programs and other files that it names, by their full paths.
    """

    line: str
    argv: tuple[str, ...]
    search_path: str
    files: tuple[str, ...]

    def command(self, argv: tuple[str, ...], environment: Mapping[str, str] | None = None) -> Command:
        """The command that runs ``argv`` in the user's folder, since its words may be paths from there."""
        return Command(argv, dict(environment or {}), str(Path.cwd()), self.search_path)

    def identity(self, name: str, version: str = "") -> Identity:
        """The engine behind it; ``sha256`` is the file's, or that of all their digests together (``python engine.py`` is two)."""
        digests = [file_sha256(Path(path)) for path in self.files]
        together = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""
        return Identity(name, version, self.files[-1] if self.files else "", together, visible(self.line))

    def version(self, cache: str) -> str:
        """What its program says of ``--version``; empty where that program only launches or interprets the engine."""
        launched = any(_is_file(word) and process.is_program(word) for word in self.argv[1:])
        return "" if launched or _LAUNCHERS.match(Path(self.argv[0]).name) else version(Path(self.argv[0]), cache)


def required(argument: str | None, name: str) -> str:
    """The command of a spec such as ``harness:COMMAND``; raises ``ConfigError`` where there is none."""
    if argument is None or not argument.strip():
        raise ConfigError(f"the backend {name} needs a command", hint=f"write {name}:COMMAND")
    return argument


def direct(line: str, options: Mapping[str, str]) -> UserCommand:
    """A command that is started without a shell; raises ``EngineMissingError`` where its program is not found."""
    search_path = _search_path(options)
    argv = _words(line)
    if not argv:
        raise ConfigError("the command is empty", hint="give a program")
    found = _program(argv[0], search_path)
    if found is None:
        raise EngineMissingError(f"{visible(argv[0])} was not found", hint="give its full path, or put its folder on PATH")
    return UserCommand(line, (found, *argv[1:]), search_path, _files((found, *argv[1:]), search_path))


def shell(line: str, options: Mapping[str, str]) -> UserCommand:
    """A command that a user would type in a shell: run without one where it makes no difference, by ``sh -c`` else.

    Without a shell between, the engine itself is the process whose memory is watched.
    """
    search_path = _search_path(options)
    if not _SHELL_ONLY.search(line):
        argv = _words(line)
        if argv and _program(argv[0], search_path):
            return direct(line, options)
    return UserCommand(line, ("/bin/sh", "-c", line), search_path, _files((line,), search_path))


def _words(line: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(line))
    except ValueError as error:
        raise ConfigError(f"the command {visible(line)} cannot be read: {error}", hint="check its quotes") from error


def _search_path(options: Mapping[str, str]) -> str:
    return options.get(SEARCH_PATH) or os.environ.get("PATH", "")


def _program(word: str, search_path: str) -> str | None:
    found = shutil.which(word, path=search_path)
    return None if found is None else str(Path(found).absolute())


def _files(words: tuple[str, ...], search_path: str) -> tuple[str, ...]:
    """The files that words name or have in them, each once: regular files by their path, programs also by their name on PATH."""
    parts = (part for word in words for part in ((word,) if _is_file(word) else _SHELL_WORD.findall(word)))
    found = (str(Path(part).absolute()) if _is_file(part) else _program(part, search_path) for part in parts)
    return tuple(dict.fromkeys(filter(None, found)))


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


def version(path: Path, cache: str = "") -> str:
    """What ``--version`` says, where it says a version: kilnd 0.4.4, for one, prints a banner without one.

    A program that was asked before is not started again: its answer is in the folder ``cache``, where one is given.
    """
    key = process.program_digest(str(path)) if cache else ""
    place = Path(cache) / "versions" / key
    kept = process.read_own(place, key, _VERSION_BYTES) if cache else None
    if kept is not None:
        return visible(decode(kept), 40)
    said = _ask_version(path)
    if cache and said is not None:
        with contextlib.suppress(OSError, ReportError):  # a cache that cannot be written is no failure
            process.write_own(place, key, said.encode())
    return said or ""


def _ask_version(path: Path) -> str | None:
    """The version that a program prints, empty where it prints none, None where it does not answer in time."""
    with process.Reactor() as reactor:
        try:
            child = reactor.start(
                (str(path), "--version"),
                env=process.scrubbed_environment(),
                deadline_s=_VERSION_DEADLINE_S,
                output_bytes=2 * _VERSION_OUTPUT_BYTES,
            )
        except process.SpawnError:
            return ""
        ended = reactor.wait(child)
    if ended.timed_out:
        return None
    match = _VERSION.search(decode((ended.stdout + ended.stderr)[:_VERSION_OUTPUT_BYTES]))
    return visible(match[1], 40) if match else ""
