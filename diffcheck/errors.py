"""The exceptions that reach a user, each with an exit code and a hint on what to do.

The behaviour of modules and engines is data (``observation``), never an exception. These exceptions are for our own environment,
for input that cannot be used, and for bugs. They are caught once, in ``cli``.
"""

from __future__ import annotations

import errno
from typing import Final

EXIT_AGREE = 0
EXIT_DIVERGE = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_INTERRUPTED = 130

MACHINE_ERRORS: Final = {
    errno.ENOSPC: "free some space, or set TMPDIR to a folder with more",
    errno.EDQUOT: "free some space, or set TMPDIR to a folder with more",
    errno.EROFS: "set TMPDIR to a folder that can be written",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or use fewer --jobs",
    errno.ENFILE: "close other programs, or use fewer --jobs",
    errno.ENOMEM: "free some memory, or use fewer --jobs",
    errno.EIO: "check the disk",
}
"""Failures of the machine by error number, each with what to do about it."""


class DiffcheckError(Exception):
    """The base class: ``str()`` is one sentence, ``hint`` is what to do, ``exit_code`` is that of the process."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def line(self) -> str:
        """The sentence, and the hint if there is one, in a line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class ArtifactError(DiffcheckError):
    """A WebAssembly binary that cannot be used; ``offset`` is the byte offset of the error in the file."""

    def __init__(self, reason: str, *, offset: int | None = None, hint: str = "") -> None:
        super().__init__(reason if offset is None else f"{reason} (at byte offset {offset:#x})", hint=hint)
        self.reason = reason
        self.offset = offset


class UnsealableError(ArtifactError):
    """A valid artifact that has no capsule."""


class ManifestError(DiffcheckError):
    """A witness manifest that cannot be read or that contradicts its artifact."""


class CaseError(DiffcheckError):
    """A case file, a row or a limit that cannot be used."""


class ConfigError(DiffcheckError):
    """An option, an environment variable or a configuration file that cannot be used."""


class EngineMissingError(DiffcheckError):
    """An engine or an external tool that was not found."""


class EngineUnusableError(DiffcheckError):
    """A program that does not answer as an engine, or an engine that was replaced during a run."""


class AdapterError(DiffcheckError):
    """An engine's adapter that raised an exception or returned a wrong value: its file and line."""


class NothingToDoError(DiffcheckError):
    """No artifact under the given paths."""


class ReportError(DiffcheckError):
    """A report that cannot be written or read."""


class RunFailedError(DiffcheckError):
    """A run that did not complete although its result is needed: the row, the engine and the reason."""

    exit_code = EXIT_DIVERGE


class UnrunnableError(RunFailedError):
    """An artifact that cannot be run at all, with the reason."""

    exit_code = EXIT_USAGE


class StreamError(DiffcheckError):
    """A damaged observation stream: a finding, caught where streams are decoded."""
