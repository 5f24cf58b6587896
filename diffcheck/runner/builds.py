"""The build of an engine: its files when a run begins, so that an engine that is replaced during the run is noticed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck import process
from diffcheck.errors import EngineUnusableError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.backend.contract import Backend


class Build(msgspec.Struct, frozen=True):
    """An engine's files with their stamps, and the digest over their contents."""

    stamps: process.Stamps
    digest: str

    def replaced(self) -> str:
        """The first file whose content is another one now or which is gone; empty where there is none."""
        changed = self.touched()
        return changed if changed and process.program_digest(*self.stamps) != self.digest else ""

    def touched(self) -> str:
        """The first file that was written to, replaced or renamed, be it by the same content; empty where there is none."""
        now = process.stamps(self.stamps)
        return next((path for path, stamp in self.stamps.items() if now[path] != stamp), "")


def build(engine: Backend) -> Build:
    """The engine's build as it is now."""
    files = process.program_files(*engine.files())
    stamps = process.stamps(files)  # first: what changes while it is read shows in the next stamps
    return Build(stamps, process.program_digest(*files))


class BuildWatch:
    """Watches the builds of a run's engines."""

    def __init__(self, builds: Iterable[Build]) -> None:
        self._builds = tuple(builds)

    def unchanged(self) -> bool:
        """Whether nothing was written to or replaced since this was asked last; EngineUnusableError for another content.

        Where only the stamps are others, another build may have stood there for a while: what ran meanwhile is to be run again.
        """
        if not any(each.touched() for each in self._builds):
            return True
        for each in self._builds:
            if path := each.replaced():
                raise replaced(path)
        self._builds = tuple(msgspec.structs.replace(each, stamps=process.stamps(each.stamps)) for each in self._builds)
        return False

    def require(self) -> None:
        """Raises ``EngineUnusableError`` where an engine was replaced, or may have been for a while."""
        touched = next(filter(None, (each.touched() for each in self._builds)), "")
        if touched and not self.unchanged():
            raise replaced(touched)


def replaced(path: str) -> EngineUnusableError:
    """The error of an engine that was replaced or removed while it was in use."""
    how = "replaced" if Path(path).exists() else "removed"
    return EngineUnusableError(
        f"{visible(path, 300)} was {how} during the run: results that were not complete by then are discarded",
        hint="run again once the build is finished",
    )


__all__ = ["Build", "BuildWatch", "build", "replaced"]
