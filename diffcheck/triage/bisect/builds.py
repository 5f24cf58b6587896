"""The builds of an engine, in order: the files of a folder, or the revisions of a git repository and a command that builds one."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.errors import ConfigError, NothingToDoError
from diffcheck.process import ProcessResult, SpawnError
from diffcheck.text import decode, is_digits, printed_end, visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.process import Reactor

ORDER: Final = "builds.txt"
"""The file in a folder of builds that has their names in order, one a line."""
REVISION: Final = "{rev}"
_GIT_S: Final = 60.0
_BUILD_S: Final = 7200.0
_DIGITS: Final = re.compile(r"([0-9]+)")


class NoBuildError(Exception):
    """A build that cannot be made, with the reason."""


class BuildRange(msgspec.Struct, frozen=True):
    """The builds from the good to the bad one; ``path`` gives the full path of one's program, and raises ``NoBuildError``.

    ``folder`` has them as files, None if they are built.
    """

    names: tuple[str, ...]
    path: Callable[[str], Path]
    folder: Path | None = None


def of_folder(folder: Path, good: str, bad: str) -> BuildRange:
    """The files of a folder, in the order of ``builds.txt``, else by name with numbers as numbers. Empty names are the ends."""
    order = folder / ORDER
    if order.is_file():
        names = [line.strip() for line in order.read_text("utf-8", "backslashreplace").splitlines() if line.strip()]
    elif folder.is_dir():
        names = sorted((each.name for each in folder.iterdir() if each.is_file()), key=_by_number)
    else:
        raise ConfigError(f"{visible(str(folder))} is not a folder", hint="give the folder of the builds")
    return BuildRange(_between(names, good, bad), lambda name: (folder / name).absolute(), folder)


def _by_number(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if is_digits(part) else (0, part) for part in _DIGITS.split(name)]


def _between(names: list[str], good: str, bad: str) -> tuple[str, ...]:
    for name in filter(None, (good, bad)):
        if name not in names:
            raise ConfigError(f"there is no build {visible(name)}", hint=f"there are {visible(', '.join(names), 300)}")
    first, last = names.index(good) if good else 0, names.index(bad) if bad else len(names) - 1
    if first >= last:
        raise NothingToDoError("the good build does not come before the bad one", hint="check --good and --bad")
    return tuple(names[first : last + 1])


def of_command(command: str, good: str, bad: str, reactor: Reactor) -> BuildRange:
    """The revisions on the first-parent path from ``good`` to ``bad`` in the repository of this folder.

    ``command`` builds the revision ``{rev}``; the last line that it prints is the path of the program.
    """
    if REVISION not in command:
        raise ConfigError(f"--command does not contain {REVISION}", hint=f"for example --command 'build.sh {REVISION}'")
    if not good or not bad:
        raise ConfigError("--command needs --good and --bad", hint="give two revisions")
    ends = ("rev-parse", "--verify", "--end-of-options", f"{good}^{{commit}}")
    listed = ("rev-list", "--reverse", "--first-parent", "--end-of-options", bad, f"^{good}")
    revisions = [line for arguments in (ends, listed) for line in _git(reactor, arguments).split()]
    if len(revisions) < 2:  # noqa: PLR2004 - the good and the bad one
        raise NothingToDoError(f"there is no revision after {visible(good)} up to {visible(bad)}", hint="check --good and --bad")

    def path(revision: str) -> Path:
        argv = ("/bin/sh", "-c", command.replace(REVISION, revision))
        ended = _run(reactor, argv, _BUILD_S)
        lines = decode(ended.stdout).strip().splitlines()
        if ended.timed_out or ended.exit_code != 0 or not lines:
            raise NoBuildError(f"it was not built: {printed_end(decode(ended.stderr)) or 'no path was printed'}")
        return Path(lines[-1].strip()).absolute()

    return BuildRange(tuple(revisions), path)


def _git(reactor: Reactor, arguments: tuple[str, ...]) -> str:
    ended = _run(reactor, ("git", *arguments), _GIT_S)
    if ended.exit_code != 0:
        raise ConfigError(f"git {arguments[0]} failed: {printed_end(decode(ended.stderr))}", hint="check --good and --bad")
    return decode(ended.stdout)


def _run(reactor: Reactor, argv: tuple[str, ...], deadline_s: float) -> ProcessResult:
    try:  # with the user's environment, since the commands are the user's
        return reactor.wait(reactor.start(argv, env=os.environ, deadline_s=deadline_s, output_stop_bytes=1 << 30))
    except SpawnError as error:
        raise ConfigError(f"{argv[0]} cannot be started: {error}", hint="is it installed?") from error
