"""Small generated programs that test an engine: known answers, capabilities, limitations, host functions."""

from __future__ import annotations

from diffcheck.probe import engine_check
from diffcheck.probe.engine_findings import KnownAnswerResult, engine_findings, smoke
from diffcheck.probe.inventory import Diagnosis, InstalledBackend, diagnose, installed_backends

__all__ = [
    "Diagnosis",
    "InstalledBackend",
    "KnownAnswerResult",
    "diagnose",
    "engine_check",
    "engine_findings",
    "installed_backends",
    "smoke",
]
