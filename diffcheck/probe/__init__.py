"""Small generated programs that test an engine: known answers, capabilities, limitations, host functions."""

from __future__ import annotations

from diffcheck.probe import known_answer
from diffcheck.probe.engine_findings import KnownAnswerResult, engine_findings, smoke
from diffcheck.probe.inventory import Diagnosis, InstalledBackend, diagnose, installed_backends

__all__ = [
    "Diagnosis",
    "InstalledBackend",
    "KnownAnswerResult",
    "diagnose",
    "engine_findings",
    "installed_backends",
    "known_answer",
    "smoke",
]
