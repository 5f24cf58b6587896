"""The build of an engine: its files at the start of a run, to detect an engine that is replaced during the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from diffcheck import process
from diffcheck.backend import contract
from diffcheck.errors import EngineUnusableError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.backend.contract import Backend


class Build(msgspec.Struct, frozen=True):
    """The files of an engine with their stamps, and a digest over their contents."""

    stamps: process.Stamps
    digest: str

    def replaced(self) -> str:
        """The first file that was removed or whose content changed; empty if there is none."""
        changed = self.touched()
        return changed if changed and process.program_digest(*self.stamps) != self.digest else ""

    def touched(self) -> str:
        """The first file whose stamp changed, even if its content did not; empty if there is none."""
        now = process.stamps(self.stamps)
        return next((path for path, stamp in self.stamps.items() if now[path] != stamp), "")


def build(engine: Backend) -> Build:
    """The current build of the engine."""
    files = process.program_files(*contract.files(engine))
    stamps = process.stamps(files)  # before reading, so that a change meanwhile shows in the next stamps
    return Build(stamps, process.program_digest(*files))


class BuildWatch:
    """Checks that the engines of a run stay the same."""

    def __init__(self, builds: Iterable[Build]) -> None:
        self._builds = tuple(builds)

    def unchanged(self) -> bool:
        """Whether no file changed since the last call; raises ``EngineUnusableError`` if a content changed.

        If only stamps changed, another build may have been there for a while: what ran meanwhile has to be run again.
        """
        if not any(each.touched() for each in self._builds):
            return True
        for each in self._builds:
            if path := each.replaced():
                raise replaced(path)
        self._builds = tuple(msgspec.structs.replace(each, stamps=process.stamps(each.stamps)) for each in self._builds)
        return False

    def require(self) -> None:
        """Raise ``EngineUnusableError`` if an engine was replaced, or may have been for a while."""
        touched = next(filter(None, (each.touched() for each in self._builds)), "")
        if touched and not self.unchanged():
            raise replaced(touched)


def replaced(path: str) -> EngineUnusableError:
    """The error for an engine that was replaced or removed during a run."""
    how = "replaced" if Path(path).exists() else "removed"
    return EngineUnusableError(
        f"{visible(path, 300)} was {how} during the run: results that were not complete by then are discarded",
        hint="run again once the build is finished",
    )


__all__ = ["Build", "BuildWatch", "build", "replaced"]
