"""Small generated programs that ask an engine what it can do: known answers, and its weaknesses."""

from __future__ import annotations

from diffcheck.probe import known_answer
from diffcheck.probe.engine_findings import KnownAnswerResult, engine_findings, smoke
from diffcheck.probe.inventory import Examined, InstalledBackend, examine, look

__all__ = ["Examined", "InstalledBackend", "KnownAnswerResult", "engine_findings", "examine", "known_answer", "look", "smoke"]
