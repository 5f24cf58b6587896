"""The exceptions that reach a user: each has an exit code and a hint that says what to do now.

What a module or an engine does is data (``observation``), never an exception; these are for our own environment, for
input that cannot be used, and for bugs. They are caught once, in ``cli``.
"""

from __future__ import annotations

EXIT_AGREE = 0
EXIT_DIVERGE = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_INTERRUPTED = 130


class DiffcheckError(Exception):
    """Base of all: ``str()`` is one sentence, ``hint`` says what to do, ``exit_code`` is what the process ends with."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def line(self) -> str:
        """The sentence and the hint, where there is one, in a line."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class ArtifactError(DiffcheckError):
    """A WebAssembly binary that cannot be used; ``offset`` is the byte offset in the file where that was seen."""

    def __init__(self, reason: str, *, offset: int | None = None, hint: str = "") -> None:
        super().__init__(reason if offset is None else f"{reason} (at byte offset {offset:#x})", hint=hint)
        self.reason = reason
        self.offset = offset


class UnsealableError(ArtifactError):
    """A valid artifact that has no capsule, with the reason (the design's short list)."""


class ManifestError(DiffcheckError):
    """A witness manifest that cannot be read or that contradicts its artifact."""


class CaseError(DiffcheckError):
    """A case file, a row or a limit that makes no sense."""


class ConfigError(DiffcheckError):
    """An option, an environment variable or a configuration file that cannot be used."""


class EngineMissingError(DiffcheckError):
    """An engine or an external tool that is not where it was looked for."""


class EngineUnusableError(DiffcheckError):
    """A program that does not answer as an engine, or an engine that was replaced while it was in use."""


class NothingToDoError(DiffcheckError):
    """No artifact under the paths given."""


class ReportError(DiffcheckError):
    """A report that cannot be written or read."""


class RunFailedError(DiffcheckError):
    """A run that did not complete where only a complete one is an answer: the row, the engine and the reason."""

    exit_code = EXIT_DIVERGE


class UnrunnableError(RunFailedError):
    """An artifact that cannot be run at all, with the reason."""

    exit_code = EXIT_USAGE


class StreamError(DiffcheckError):
    """An observation stream that is damaged: a finding of its own, caught where streams are decoded."""
