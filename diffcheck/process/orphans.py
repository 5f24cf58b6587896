"""Finds and ends descendants that a child left behind: being a subreaper, this process is their parent when the child is gone.

Whatever a child of a ``Reactor`` starts is outside this process's own session, since every such child leads a session
and no process can join another. So children in our own session belong to other code here, and are left alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_TASKS = "/proc/self/task"

# Children that are waited for by a reactor, by pid: none of these is an orphan.
registered: set[int] = set()
# What did not die of SIGKILL within its second (uninterruptible sleep): reaped when it can be, never waited for again.
_abandoned: set[int] = set()


def forget() -> None:
    """Forget all children: what a forked process does, since they are its parent's."""
    registered.clear()
    _abandoned.clear()


def abandon(pid: int) -> None:
    """Stop waiting for ``pid``, which SIGKILL does not end; a later call of ``end_orphans`` reaps it."""
    registered.discard(pid)
    _abandoned.add(pid)


def kill_group(group: int) -> bool:
    """SIGKILL to a process group; whether there was one that could be signalled."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_leader(pid: int) -> None:
    """SIGKILL to the group of a child that was not reaped yet, and to itself where the group may not be signalled as a whole."""
    if not kill_group(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_orphans() -> list[tuple[int, int]]:
    """Kill every orphan and reap those that are dead; one pass, without waiting.

    Returns (pid, process group) of each that was still alive. Call again until nothing is returned: what a killed
    orphan had started is re-parented to us only then.
    """
    alive = []
    ours = -1
    for pid in children():
        if pid in registered:
            continue
        if ours < 0:
            ours = os.getsid(0)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            session = os.getsid(pid)
            if session == ours or session in registered:  # by other code here, or of a child that still runs
                continue
            group = os.getpgid(pid)
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                _abandoned.discard(pid)
            elif pid not in _abandoned:
                os.kill(pid, signal.SIGKILL)
                alive.append((pid, group))
    return alive


def children() -> list[int]:
    """Pids of this process's children, zombies too; empty where there is no /proc."""
    try:
        tasks = os.listdir(_TASKS)  # noqa: PTH208 - at every child's end, where a Path costs as much as the call
    except OSError:
        return []
    found = []
    for task in tasks:
        try:
            found += [int(pid) for pid in _read(f"{_TASKS}/{task}/children").split()]
        except FileNotFoundError:
            if task == str(os.getpid()):  # any other thread may just have ended
                return _children_by_scan()  # a kernel without CONFIG_PROC_CHILDREN
    return found


def is_stopped(pid: int) -> bool:
    """Whether a process or one of its children is stopped by a signal (SIGSTOP); False where that cannot be seen."""
    try:
        pids = [pid, *(int(each) for each in _read(f"/proc/{pid}/task/{pid}/children").split())]
        return any(_read(f"/proc/{each}/stat").rpartition(b")")[2].split()[0] == b"T" for each in pids)
    except (OSError, ValueError, IndexError):
        return False


def _children_by_scan() -> list[int]:
    me = os.getpid()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # The name before the last ")" may hold anything; state and parent follow it (proc_pid_stat(5)).
                if int(_read(f"{entry}/stat").rpartition(b")")[2].split()[1]) == me:
                    found.append(int(entry.name))
    return found


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
