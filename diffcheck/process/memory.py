"""Available memory of the machine and of the control groups (containers, CI jobs) that contain this process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory_bytes(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Return the least of MemAvailable and each control group's limit minus its usage. Reclaimable memory is not usage.

    Without /proc: half of the physical memory.
    """
    machine = _field(proc / "meminfo", "MemAvailable:")
    if machine is None:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return max(0, min([machine * 1024, *(limit - used for limit, used in _groups(proc, cgroup))]))


def machine_memory_bytes(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int:
    """Return the least of MemTotal and each control group's limit. Without /proc: the physical memory."""
    machine = _field(proc / "meminfo", "MemTotal:")
    if machine is None:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine * 1024, *(limit for limit, _ in _groups(proc, cgroup))])


def _groups(proc: Path, cgroup: Path) -> Iterator[tuple[int, int]]:
    """Yield limit and usage of each control group with a limit; reclaimable memory is not usage."""
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:  # version 2
            yield from _limited(cgroup, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            yield from _limited(cgroup / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _limited(mount: Path, path: str, limit_name: str, usage_name: str, reclaimable_name: str) -> Iterator[tuple[int, int]]:
    """Yield limit and usage of a group and of each of its ancestors. Groups that this container cannot see are skipped."""
    inner = Path(path.lstrip("/"))
    for group in (mount / inner, *(mount / parent for parent in inner.parents)):
        limit, usage = _text(group / limit_name).strip(), _text(group / usage_name).strip()
        if limit.isdigit() and usage.isdigit():  # not "max"
            reclaimable = _field(group / "memory.stat", reclaimable_name) or 0
            yield int(limit), max(0, int(usage) - reclaimable)


def _field(path: Path, name: str) -> int | None:
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == name and words[1].isdigit():
            return int(words[1])
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", errors="replace")
    except OSError:
        return ""
