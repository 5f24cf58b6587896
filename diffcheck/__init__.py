"""Differential cross-check of WebAssembly engines over witness-instrumented artifacts; see docs/api.md."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffcheck.config.version import __version__ as __version__
    from diffcheck.errors import AdapterError as AdapterError
    from diffcheck.errors import ArtifactError as ArtifactError
    from diffcheck.errors import CaseError as CaseError
    from diffcheck.errors import ConfigError as ConfigError
    from diffcheck.errors import DiffcheckError as DiffcheckError
    from diffcheck.errors import EngineMissingError as EngineMissingError
    from diffcheck.errors import EngineUnusableError as EngineUnusableError
    from diffcheck.errors import ManifestError as ManifestError
    from diffcheck.errors import NothingToDoError as NothingToDoError
    from diffcheck.errors import ReportError as ReportError
    from diffcheck.errors import RunFailedError as RunFailedError
    from diffcheck.report.run_report import load_report as load_report
    from diffcheck.report.run_report import run as run
    from diffcheck.runner.observe.snapshot import Snapshot as Snapshot
    from diffcheck.runner.observe.snapshot import snapshot as snapshot
    from diffcheck.verdict import Report as Report

_EXCEPTIONS = (
    "AdapterError", "ArtifactError", "CaseError", "ConfigError", "DiffcheckError", "EngineMissingError", "EngineUnusableError",
    "ManifestError", "NothingToDoError", "ReportError", "RunFailedError",
)  # fmt: skip
_MODULES = {
    "run": "report.run_report",
    "load_report": "report.run_report",
    "Report": "verdict",
    "snapshot": "runner.observe.snapshot",
    "Snapshot": "runner.observe.snapshot",
    "__version__": "config.version",
    **dict.fromkeys(_EXCEPTIONS, "errors"),
}
"""The public names, and the module of each: imported on first use, so that ``import diffcheck`` takes no time."""


def __getattr__(name: str) -> object:
    """The public name, imported now; raises ``AttributeError`` for any other."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"diffcheck.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return sorted({*globals(), *_MODULES})
