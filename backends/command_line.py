"""What the adapters of a user's own command share: how the command is understood, and which engine it names."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

from diffcheck import process
from diffcheck.backend import Identity, file_sha256
from diffcheck.errors import ConfigError, EngineMissingError, ReportError
from diffcheck.text import decode, visible

_SHELL_ONLY: Final = re.compile(r"[|&;<>()$`\\*?\[\]#~=%!{}\n]")
_VERSION: Final = re.compile(r"\bv?(\d+\.\d+(?:\.\d+)?[-+.\w]*)")
_VERSION_DEADLINE_S: Final = 5.0
_VERSION_BYTES: Final = 200


def required(argument: str | None, name: str) -> str:
    """The command of a spec such as ``harness:COMMAND``; raises ``ConfigError`` where there is none."""
    if argument is None or not argument.strip():
        raise ConfigError(f"the backend {name} needs a command", hint=f"write {name}:COMMAND")
    return argument


def words(command: str) -> tuple[str, ...]:
    """The command's words as a shell would split them; raises ``ConfigError`` where it cannot be split."""
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise ConfigError(f"the command {visible(command)} cannot be read: {error}", hint="check its quotes") from error


def shell(command: str) -> tuple[str, ...]:
    """How to run what a user would type in a shell: without one where it makes no difference, by ``sh -c`` else.

    Without a shell between, the engine itself is the process whose memory is watched, and found on the user's own PATH.
    """
    if not _SHELL_ONLY.search(command):
        argv = words(command)
        if argv and shutil.which(argv[0]):
            return program(argv)
    return ("/bin/sh", "-c", command)


def program(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The words with the first one as the path of a program; raises ``EngineMissingError`` where there is none."""
    found = shutil.which(argv[0])
    if found is None:
        raise EngineMissingError(f"{visible(argv[0])} was not found", hint="give its full path, or put its folder on PATH")
    return (str(Path(found).absolute()), *argv[1:])


def folder() -> str:
    """Where a user's own command is started: where the user is, since its words may be paths from there."""
    return str(Path.cwd())


def identity(name: str, command: str, *, ask_version: bool) -> Identity:
    """The engine behind ``command``: the files among its words are its binary.

    ``sha256`` is that of the one file, or of all their digests together (``python engine.py`` is two). The version is asked
    for only with ``ask_version``, since a script may take ``--version`` for anything.
    """
    try:
        argv = words(command)
    except ConfigError:
        return Identity(name, found=visible(command))
    first = [Path(found)] if argv and (found := shutil.which(argv[0])) else []
    files = first + [path for word in argv[1:] if (path := Path(word)).is_file()]
    digests = [file_sha256(path) for path in files]
    together = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""
    said = version(files[0]) if ask_version and files else ""
    return Identity(name, said, str(files[-1]) if files else "", together, visible(command))


def known_version(path: Path, cache: str) -> str:
    """What ``version`` says; from the cache's folder, where one is given, if the same program was asked before."""
    if not cache:
        return version(path)
    key = process.program_digest(str(path))
    place = Path(cache) / "versions" / key
    kept = process.read_own(place, key, _VERSION_BYTES)
    if kept is not None:
        return visible(decode(kept), 40)
    said = version(path)
    with contextlib.suppress(OSError, ReportError):  # a cache that cannot be written is no failure
        process.write_own(place, key, said.encode())
    return said


def version(path: Path) -> str:
    """What ``--version`` says, where it says a version: kilnd 0.4.4, for one, prints a banner without one."""
    try:
        said = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_DEADLINE_S,
            check=False,
            env=process.scrubbed_environment({}),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = _VERSION.search(decode((said.stdout + said.stderr)[:4000]))
    return visible(match[1], 40) if match else ""
