"""Our own programs as children: forked where that is safe, which saves their start, and kept where they start engines themselves.

A kept program has a process above it, its keeper, that does nothing but wait. Being a subreaper, the keeper inherits whatever the
program leaves behind, and ends it: when the program ends, and when the keeper's own parent does. So what a kept program starts
needs no tie to life of its own and can be started by vfork, without a copy of its page tables.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from importlib import import_module
from pathlib import Path
from typing import Final

from diffcheck.process import orphans, spawn
from diffcheck.process.child import REAP_S
from diffcheck.process.spawn import LINUX, Spawned

_FORK_BYTES: Final = 192 << 20
"""A larger process is not copied: its size would count as its child's, and its page tables would have to be copied."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_WATCHED: Final = (signal.SIGTERM, signal.SIGCHLD)


def start(module: str, *, cwd: str | os.PathLike[str] | None, kept: bool) -> Spawned:
    """Start ``main()`` of one of our modules, with pipes for its stdin, stdout and stderr, in a session of its own."""
    if _may_fork():
        return spawn.fork(lambda: _run_forked(module, cwd, kept=kept))
    command, environment = spawn.own_program("diffcheck.process.keeper_main", module) if kept else spawn.own_program(module)
    return spawn.spawn(command, env=environment, cwd=cwd, memory_bytes=None, file_bytes=None, wants_stdin=True)


def _may_fork() -> bool:
    """Whether this process is small and has one thread, Python's own: then no lock is held by a thread that a copy has not."""
    if not LINUX:
        return False
    try:
        with Path("/proc/self/statm").open("rb") as file:
            resident = int(file.read().split()[1]) * _PAGE_BYTES
        return len(os.listdir("/proc/self/task")) == 1 and resident <= _FORK_BYTES  # noqa: PTH208 - names only
    except (OSError, ValueError, IndexError):
        return False


def _run_forked(module: str, cwd: str | os.PathLike[str] | None, *, kept: bool) -> int:
    """In the child, which has its pipes: what a program of its own would find, then its ``main``."""
    environment = spawn.own_program(module)[1]
    os.environ.clear()
    os.environ.update(environment)
    if cwd is not None:
        os.chdir(cwd)
    orphans.forget()
    gc.freeze()  # what was there before is not looked at again, and so not copied
    return keep(module) if kept else _call(module)


def _call(module: str) -> int:
    spawn.name_process(module.rpartition(".")[2])
    return import_module(module).main() or 0


def keep(module: str) -> int:
    """Run ``main()`` of a module in a child, end all that it leaves, and end as it did; for a process of one thread."""
    inherits = spawn.become_subreaper()
    keeper = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    program = os.fork()
    if not program:
        spawn.run_child(lambda: _below(module, keeper, inherits=inherits))
    spawn.name_process("keeper")
    _let_go_of_pipes()
    # Asked for after the fork: the program has another parent to die with.
    spawn.die_with_parent(by=signal.SIGTERM)
    status = _wait(program)
    _end_all()
    return _end_as(status)


def _below(module: str, keeper: int, *, inherits: bool) -> int:
    """The program, below its keeper; where that inherits nothing, each child is tied to the program's life as anywhere else."""
    spawn.die_with_parent(keeper)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    spawn.kept = inherits
    return _call(module)


def _let_go_of_pipes() -> None:
    """Their other end is to see the program's end, and not the keeper's."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _wait(program: int) -> int:
    """Reap what ends until the program does, which is killed when the parent ends; gives its status."""
    while True:
        for pid, status in _ended():
            if pid == program:
                return status
        if signal.sigwait(_WATCHED) == signal.SIGTERM:
            os.kill(program, signal.SIGKILL)


def _ended() -> list[tuple[int, int]]:
    """Every child that has ended: pid and status."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(one)
    return found


def _end_all() -> None:
    """Kill what the program left, and what that leaves; what SIGKILL does not end within a second is the parent's to find."""
    until = time.monotonic() + REAP_S
    while (left := orphans.children()) and time.monotonic() < until:
        for pid in left:
            orphans.kill_leader(pid)
        _ended()
        time.sleep(0.001)


def _end_as(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code
