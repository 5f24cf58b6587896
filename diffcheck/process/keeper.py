"""Start diffcheck's own programs as children: forked where that is safe, and below a keeper if they start engines themselves.

A keeper is a parent process that only waits. It is a subreaper, so it inherits the descendants that its program leaves, and kills
them when the program ends or when the keeper's own parent ends. A program with a keeper can therefore start engines by vfork,
which does not copy page tables: no engine needs its own tie to the program's life.
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
from diffcheck.process.spawn import LINUX, ChildPipes

_FORK_BYTES: Final = 192 << 20
"""A larger process is not forked: its page tables would be copied, and its size would count as the child's peak memory."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_WATCHED: Final = (signal.SIGTERM, signal.SIGCHLD)


def start(module: str, *, cwd: str | os.PathLike[str] | None, with_keeper: bool) -> ChildPipes:
    """Start ``main()`` of a module of diffcheck in its own session, with pipes for stdin, stdout and stderr."""
    if _may_fork():
        return spawn.fork(lambda: _run_forked(module, cwd, with_keeper=with_keeper))
    arguments = ("diffcheck.process.keeper_main", module) if with_keeper else (module,)
    command, environment = spawn.own_program(*arguments)
    return spawn.spawn(command, env=environment, cwd=cwd, memory_bytes=None, file_bytes=None, wants_stdin=True)


def _may_fork() -> bool:
    """Whether this process is small and has one thread, so that no other thread can hold a lock during the fork."""
    if not LINUX:
        return False
    try:
        with Path("/proc/self/statm").open("rb") as file:
            resident = int(file.read().split()[1]) * _PAGE_BYTES
        return len(os.listdir("/proc/self/task")) == 1 and resident <= _FORK_BYTES  # noqa: PTH208 - names only
    except (OSError, ValueError, IndexError):
        return False


def _run_forked(module: str, cwd: str | os.PathLike[str] | None, *, with_keeper: bool) -> int:
    """Set up the environment of a freshly executed program in the forked child, then call the module's ``main``."""
    environment = spawn.own_program(module)[1]
    os.environ.clear()
    os.environ.update(environment)
    if cwd is not None:
        os.chdir(cwd)
    orphans.clear()
    gc.freeze()  # the collector would touch, and so copy, the parent's pages
    return keep(module) if with_keeper else _call(module)


def _call(module: str) -> int:
    spawn.name_process(module.rpartition(".")[2])
    return import_module(module).main() or 0


def keep(module: str) -> int:
    """Run ``main()`` of a module in a child, kill its remaining descendants, and exit with its status.

    This process must have only one thread.
    """
    inherits = spawn.become_subreaper()
    keeper = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    program = os.fork()
    if not program:
        spawn.run_child(lambda: _below(module, keeper, inherits=inherits))
    spawn.name_process("keeper")
    _release_pipes()
    # Set after the fork, since the program's own parent is this keeper.
    spawn.die_with_parent(by=signal.SIGTERM)
    status = _wait(program)
    _kill_descendants()
    return _exit_like(status)


def _below(module: str, keeper: int, *, inherits: bool) -> int:
    """Run the program below its keeper. If the keeper is no subreaper, each child is tied to the program's life as usual."""
    spawn.die_with_parent(keeper)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    spawn.has_keeper = inherits
    return _call(module)


def _release_pipes() -> None:
    """Replace the keeper's pipes by /dev/null, so that they close when the program ends."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    os.close(nothing)


def _wait(program: int) -> int:
    """Reap children until the program ends and return its status. The program is killed when the keeper's parent ends."""
    while True:
        for pid, status in _reap():
            if pid == program:
                return status
        if signal.sigwait(_WATCHED) == signal.SIGTERM:
            os.kill(program, signal.SIGKILL)


def _reap() -> list[tuple[int, int]]:
    """Reap every child that has ended: (pid, status)."""
    reaped = []
    with contextlib.suppress(ChildProcessError):
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            reaped.append(child)
    return reaped


def _kill_descendants() -> None:
    """Kill the descendants that the program left. Those that survive SIGKILL for a second are left to the keeper's parent."""
    until = time.monotonic() + REAP_S
    while (left := orphans.children()) and time.monotonic() < until:
        for pid in left:
            orphans.kill_leader(pid)
        _reap()
        time.sleep(0.001)


def _exit_like(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        with contextlib.suppress(OSError, ValueError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code
