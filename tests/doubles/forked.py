"""Stand-ins for engines as forked children: a new interpreter that imports wasmtime takes 0.15 s of CPU, a fork a tenth of that.

The process that localises is forked as well, so that its engines are.
"""

from __future__ import annotations

import gc
import os
import resource
import shlex
import sys
from functools import cache, partial
from pathlib import Path
from types import CodeType

from diffcheck.process import Reactor, orphans, reactor, spawn
from diffcheck.process.spawn import ChildPipes

DOUBLES = Path(__file__).parent
_LEAST_BYTES = 1 << 30
"""What a stand-in needs of its limit beyond the address space of this process, which a forked child has; else it is executed."""
_SCRIPT_BYTES = 1 << 12
_ISOLATED = ["-P", "-m", "diffcheck.triage.isolated"]
_start, _spawn, _execv = Reactor.start, spawn.spawn, os.execv


def install() -> None:
    """Let every ``Reactor`` of this process and of its forked workers fork for a stand-in, unless it has little memory."""

    def start(self, command, **limits):
        given = [limits[name] for name in ("memory_bytes", "resident_bytes") if limits.get(name)]
        if given and min(given) < _LEAST_BYTES + _own_bytes():
            reactor.spawn = _spawn
        try:
            return _start(self, command, **limits)
        finally:
            reactor.spawn = _fork

    Reactor.start, reactor.spawn = start, _fork


def _own_bytes() -> int:
    """The address space of this process."""
    return _statm(0)


def resident_bytes() -> int:
    """The memory of this process that is in RAM."""
    return _statm(1)


def _statm(field: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()


def _script(command) -> list[str]:
    """The script of a stand-in with its arguments; empty for another program.

    A command is ``python [-I] SCRIPT ARGUMENTS``, or a shell script whose only command it is.
    """
    command = list(command)
    while command and command[0] != sys.executable:
        lines = _lines(Path(command[0]))
        words = "".join(line for line in lines if not line.startswith("#"))
        if lines[:1] != ["#!/bin/sh"] or not (words.startswith("exec ") and words.endswith(' "$@"')):
            return []
        command = shlex.split(words)[1:-1] + command[1:]
    words = [each for each in command[1:] if each != "-I"]
    return words if words and Path(words[0]).parent == DOUBLES else []


def _lines(path: Path) -> list[str]:
    small = path.is_file() and path.stat().st_size < _SCRIPT_BYTES
    return path.read_text(errors="replace").splitlines() if small else []


@cache
def _code(script: str) -> CodeType:
    return compile(Path(script).read_bytes(), script, "exec")


def _fork(command, *, env, cwd, memory_bytes, file_bytes, wants_stdin) -> ChildPipes:
    """As ``spawn``."""
    own = list(command[1:-1]) == _ISOLATED
    words = list(command[-1:]) if own else _script(command)
    if not words:
        return _spawn(command, env=env, cwd=cwd, memory_bytes=memory_bytes, file_bytes=file_bytes, wants_stdin=wants_stdin)
    import wasmtime  # noqa: F401, PLC0415 - once for all forks

    run = partial(_localise if own else _run, words)
    pipes = spawn.fork(partial(_child, run, env, cwd, spawn._limits(memory_bytes, file_bytes)))
    if wants_stdin:
        return pipes
    os.close(pipes.stdin)
    return ChildPipes(pipes.pid, None, pipes.stdout, pipes.stderr)


def _child(run, env, cwd, limits) -> int:
    gc.disable()
    orphans.clear()
    os.environ.clear()
    os.environ.update(env)
    if cwd is not None:
        os.chdir(cwd)
    for which, values in limits:
        resource.setrlimit(which, values)
    sys.stdin = os.fdopen(0, closefd=False)  # a child of this one closes its own
    os.execv = _execute
    return run()


def _execute(path, command) -> None:
    """As ``os.execv``."""
    words = _script(command)
    if not words:
        _execv(path, command)
    _run(words)


def _localise(words) -> int:
    from diffcheck.triage import isolated  # noqa: PLC0415 - programs that start engines have no need of it

    return isolated.main(*words)


def _run(words) -> int:
    sys.argv = words
    exec(_code(words[0]), {"__name__": "__main__", "__file__": words[0]})
    return 0
