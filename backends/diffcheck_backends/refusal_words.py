"""Kinds of refusals by the engine's reason: invalid, an unsupported proposal, or an implementation limit.

The messages are those of wasmparser 0.261, which all engines in Rust use, of wasmtime 50 and of V8 (Node 24).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from diffcheck.observation import RefusalKind

_LIMITS: Final = (
    r"implementation (?:limit|error)",
    r"exceeds? (?:\S+ ){0,5}limits?\b",
    r"exceeds maximum",
    r"greater than implementation limits",
    r"size is out of bounds",
    r"string size out of bounds",
    r"number of elements is out of bounds",
    r"locals exceed maximum",
    r"local count too large",
    r"nesting is too deep",
    r"hierarchy too deep",
    r"function (?:is )?too large",
    r"> maximum",
)
_PROPOSALS: Final = (
    r"not enabled",
    r"\bproposal\b",
    r"\bfeatures?\b",
    r"\b(?:is|are) disabled",
    r"\bdisallowed\b",
    r"(?<!supertypes )not supported",
    r"must be enabled",
    r"not (?:yet )?implemented",
    r"\bmulti-?memory\b",
    r"\bmultiple (?:memories|tables)\b",
    r"\brequired for (?:exact|index|non-nullable|shared)\b",
    r"enable (?:with|via) --",
)
_KINDS: Final[tuple[tuple[RefusalKind, re.Pattern[str]], ...]] = (
    ("limit", re.compile("|".join(_LIMITS), re.IGNORECASE)),
    ("unsupported", re.compile("|".join(_PROPOSALS), re.IGNORECASE)),
)


def kind(reason: str, otherwise: RefusalKind) -> RefusalKind:
    """The kind of refusal in ``reason``; ``otherwise`` if it names neither a limit nor a proposal."""
    return next((found for found, pattern in _KINDS if pattern.search(reason)), otherwise)
