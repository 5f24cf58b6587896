"""A user's own command, for the adapters that run one: its program, the files that it names, its version."""

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
"""Programs that run another program, whose version they do not report."""


class UserCommand(msgspec.Struct, frozen=True):
    """A user's own command: ``argv`` begins with a full path, ``search_path`` is its PATH.

    ``files`` are the full paths of the programs and other files that it names.
    """

    line: str
    argv: tuple[str, ...]
    search_path: str
    files: tuple[str, ...]

    def command(self, argv: tuple[str, ...], environment: Mapping[str, str] | None = None) -> Command:
        """The command that runs ``argv`` in the user's folder, since its words may be relative paths."""
        return Command(argv, dict(environment or {}), str(Path.cwd()), self.search_path)

    def identity(self, name: str, version: str = "") -> Identity:
        """The identity of the engine; ``sha256`` is that of its file, or of the digests of all files (``python engine.py`` has
        two).
        """
        digests = [file_sha256(Path(path)) for path in self.files]
        together = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""
        return Identity(name, version, self.files[-1] if self.files else "", together, visible(self.line))

    def version(self, cache: str) -> str:
        """The version that its program reports; empty if the program only launches or interprets the engine."""
        launched = any(_is_file(word) and process.is_program(word) for word in self.argv[1:])
        return "" if launched or _LAUNCHERS.match(Path(self.argv[0]).name) else version(Path(self.argv[0]), cache)


def required(argument: str | None, name: str) -> str:
    """The command of ``harness:COMMAND`` and the like; raises ``ConfigError`` if there is none."""
    if argument is None or not argument.strip():
        raise ConfigError(f"the backend {name} needs a command", hint=f"write {name}:COMMAND")
    return argument


def direct(line: str, options: Mapping[str, str]) -> UserCommand:
    """A command without a shell; raises ``EngineMissingError`` if its program is not found."""
    search_path = _search_path(options)
    argv = _words(line)
    if not argv:
        raise ConfigError("the command is empty", hint="name a program")
    found = _program(argv[0], search_path)
    if found is None:
        raise EngineMissingError(f"{visible(argv[0])} was not found", hint="use its full path, or put its folder on PATH")
    return UserCommand(line, (found, *argv[1:]), search_path, _files((found, *argv[1:]), search_path))


def shell(line: str, options: Mapping[str, str]) -> UserCommand:
    """A command in shell syntax, run by ``sh -c`` only if it needs a shell.

    Without a shell the engine is the process whose memory is limited.
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
    """The files named by words or parts of them, without duplicates: regular files by path, programs also by name on PATH."""
    parts = (part for word in words for part in ((word,) if _is_file(word) else _SHELL_WORD.findall(word)))
    found = (str(Path(part).absolute()) if _is_file(part) else _program(part, search_path) for part in parts)
    return tuple(dict.fromkeys(filter(None, found)))


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


def version(path: Path, cache: str = "") -> str:
    """The version that ``--version`` prints; empty if there is none, as in the banner of kilnd 0.4.4.

    With a folder ``cache`` the program is started only once.
    """
    key = process.program_digest(str(path)) if cache else ""
    entry = Path(cache) / "versions" / key
    cached = process.read_own(entry, key, _VERSION_BYTES) if cache else None
    if cached is not None:
        return visible(decode(cached), 40)
    reported = _ask_version(path)
    if cache and reported is not None:
        with contextlib.suppress(OSError, ReportError):  # an unwritable cache is not an error
            process.write_own(entry, key, reported.encode())
    return reported or ""


def _ask_version(path: Path) -> str | None:
    """The version that a program prints; empty if it prints none, None if it does not answer in time."""
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
