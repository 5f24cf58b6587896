"""Find and kill the descendants that a child left. As a subreaper, this process becomes their parent when the child ends.

Every child of a ``Reactor`` leads its own session, and no process can join another session. Children in this process's own
session therefore belong to other code and are not touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_TASKS = "/proc/self/task"

# Pids of the children that a reactor waits for: none of them is an orphan.
registered: set[int] = set()
# Pids that survived SIGKILL for a second (uninterruptible sleep). They are reaped when possible and never waited for.
_abandoned: set[int] = set()


def clear() -> None:
    """Clear all records, in a forked process: the children are its parent's."""
    registered.clear()
    _abandoned.clear()


def abandon(pid: int) -> None:
    """Stop waiting for ``pid``, which SIGKILL does not end. A later call of ``end_orphans`` reaps it."""
    registered.discard(pid)
    _abandoned.add(pid)


def kill_group(group: int) -> bool:
    """Send SIGKILL to a process group; False if there is none that may be signalled."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def kill_leader(pid: int) -> None:
    """Send SIGKILL to the group of an unreaped child, or to the child alone if the group may not be signalled."""
    if not kill_group(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def end_orphans() -> list[tuple[int, int]]:
    """Kill every orphan and reap the dead ones, in one pass without waiting; returns (pid, process group) of the live ones.

    Call it again until it returns nothing: children of a killed orphan are re-parented only after its death.
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
            if session == ours or session in registered:  # started by other code, or by a child that still runs
                continue
            group = os.getpgid(pid)
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                _abandoned.discard(pid)
            elif pid not in _abandoned:
                os.kill(pid, signal.SIGKILL)
                alive.append((pid, group))
    return alive


def children() -> list[int]:
    """Pids of this process's children, including zombies; empty without /proc."""
    try:
        tasks = os.listdir(_TASKS)  # noqa: PTH208 - called at every child's end, where a Path costs as much as the call
    except OSError:
        return []
    pids = []
    for task in tasks:
        try:
            pids += [int(pid) for pid in _read(f"{_TASKS}/{task}/children").split()]
        except FileNotFoundError:
            if task == str(os.getpid()):  # any other thread may have just ended
                return _children_by_scan()  # a kernel without CONFIG_PROC_CHILDREN
    return pids


def is_stopped(pid: int) -> bool:
    """Whether a process or one of its children is stopped by a signal (SIGSTOP); False if /proc cannot be read."""
    try:
        pids = [pid, *(int(child) for child in _read(f"/proc/{pid}/task/{pid}/children").split())]
        return any(_state_and_parent(f"/proc/{each}")[0] == b"T" for each in pids)
    except (OSError, ValueError, IndexError):
        return False


def _children_by_scan() -> list[int]:
    me = str(os.getpid()).encode()
    pids = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if _state_and_parent(str(entry))[1] == me:
                    pids.append(int(entry.name))
    return pids


def _state_and_parent(folder: str) -> list[bytes]:
    # The process name before the last ")" may hold any byte; state and parent follow it (proc_pid_stat(5)).
    return _read(f"{folder}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
