"""Comparing the outcomes of both engines for a module that the oracle refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.observation import Crashed, Refused, loaded, sentence

if TYPE_CHECKING:
    from diffcheck.compare.findings import Findings
    from diffcheck.observation import Outcome
    from diffcheck.verdict import Divergence

BOTH_REFUSE: Final = "both engines refuse the artifact: only validity is compared"
_UNJUDGED: Final = {
    "unsupported": "the artifact uses a proposal that the oracle does not support",
    "limit": "the artifact exceeds an implementation limit of the oracle",
}
_KIND: Final = "validity"
ACCEPTS: Final = "accepts the module"
_PARTICULARS: Final = re.compile(r"\(at offset.*?\)|`[^`]*`|0x[0-9a-f]+|\b\d+\b")


def why_unjudged(oracle: Refused) -> str:
    """Why the oracle's refusal does not show that the artifact is invalid; empty if it does."""
    if oracle.kind == "invalid":
        return ""
    return f"{_UNJUDGED.get(oracle.kind, 'why the oracle refuses the artifact is unknown')}: {oracle.reason}"


def rule(reason: str) -> str:
    """The rule that a module breaks: the oracle's reason without numbers, names and types of the module."""
    return " ".join(_PARTICULARS.sub(" ", reason.partition(":")[0]).split())


def loads_invalid(divergence: Divergence) -> bool:
    """Whether the subject loads an invalid module."""
    return divergence.kind == _KIND and divergence.subject.startswith(ACCEPTS)


def accepted(subject: Outcome) -> str:
    """Text for a divergence's value: that the module was loaded, and the outcome after it if there was something to call."""
    nothing_to_call = isinstance(subject, Refused) and subject.stage == "entry"
    return ACCEPTS if nothing_to_call else f"{ACCEPTS} and {sentence(subject)}"


def compare(oracle: Refused, subject: Outcome, findings: Findings, broken: str = "") -> str:
    """Record a divergence if the subject loads an invalid module or crashes; returns why the comparison is inconclusive.

    ``broken`` is the rule that the module breaks in a script's words, empty if only the oracle names it.
    """
    loads = loaded(subject)
    if loads or isinstance(subject, Crashed):
        words = accepted(subject) if loads else sentence(subject)
        shape = f"{broken or rule(oracle.reason)} / {'loaded' if loads else 'crashed'}"
        detail = f"the script expects: {broken}" if broken else ""
        findings.diverge(_KIND, "validity", sentence(oracle), words, shape=shape, detail=detail)
        return ""
    if loads is None:
        return f"the oracle {sentence(oracle)}; whether the subject loads the artifact is unknown: it {sentence(subject)}"
    findings.compared(1)
    findings.not_compared("anything but validity: both engines refuse the artifact")
    return ""
