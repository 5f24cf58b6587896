"""The explanation of a damaged observation: wrong instructions in the capsule, found by known-answer tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.compare.findings import signature
from diffcheck.probe.instructions import wrong_instructions
from diffcheck.verdict import Divergence, Where
from diffcheck.wasm.code import has_any, read_locals
from diffcheck.wasm.module import read

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host, RunLimits
    from diffcheck.verdict import PassReport

_DETAIL: Final = "the capsule uses this instruction, so rows could not be compared"
ITEM: Final = "instruction "
"""The beginning of the item of such a divergence; the name of the instruction follows."""


def with_wrong_instructions(report: PassReport, capsule: bytes, subject: Backend, limits: RunLimits, host: Host) -> PassReport:
    """The report of a failure in the recorder, with the wrong instructions of the subject that the capsule has, if any.

    Each instruction has one signature, whatever the artifact, since the code is the capsule's.
    """
    found = tuple(
        Divergence(
            "stream", Where(item=f"{ITEM}{each.name}"), each.oracle, each.subject,
            signature("stream", "instruction", "", each.name), _DETAIL,
        )
        for each in wrong_instructions(subject, host, limits)
        if _has(capsule, each.name)
    )  # fmt: skip
    if not found:
        return report
    others = tuple(each for each in report.divergences if not _of_recorder(each))
    total = report.divergences_total - len(report.divergences) + len(found) + len(others)
    return msgspec.structs.replace(
        report, verdict="diverge", divergences=(*found, *others), divergences_total=total, reason=str(found[0]), vacuous=False
    )


def _has(capsule: bytes, instruction: str) -> bool:
    names = frozenset({instruction})
    bodies = read(capsule).body_bytes()
    return any(has_any(body, names, start=read_locals(body, at).end, base_offset=at) for at, body in bodies)


def _of_recorder(each: Divergence) -> bool:
    """Whether the divergence is in the stream, or in an outcome before any row."""
    return each.kind == "stream" or (each.kind == "outcome" and not each.where.row)
