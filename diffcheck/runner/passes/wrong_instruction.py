"""A damaged observation explained: the instruction of the recorder's own that the subject gets wrong, by its known answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.compare.findings import signature
from diffcheck.probe.instructions import wrong_instructions
from diffcheck.verdict import Divergence, Where

if TYPE_CHECKING:
    from diffcheck.backend.contract import Backend, Host, RunLimits
    from diffcheck.verdict import PassReport

_DETAIL: Final = "the recorder uses this instruction, so that rows could not be compared"
ITEM: Final = "instruction "
"""How the item of such a divergence begins; the instruction's name follows."""


def explained(report: PassReport, subject: Backend, limits: RunLimits, host: Host) -> PassReport:
    """The report of a pass that went wrong in the recorder, with the instructions that the subject gets wrong, if any.

    One signature an instruction, whatever the artifact: it is wrong in the capsule's own code.
    """
    found = tuple(
        Divergence(
            "stream", Where(item=f"{ITEM}{each.name}"), each.oracle, each.subject,
            signature("stream", "instruction", "", each.name), _DETAIL,
        )
        for each in wrong_instructions(subject, host, limits)
    )  # fmt: skip
    if not found:
        return report
    others = tuple(each for each in report.divergences if not _of_recorder(each))
    total = report.divergences_total - len(report.divergences) + len(found) + len(others)
    reason = f"{found[0].where.item}: {found[0].oracle} against {found[0].subject}"
    return msgspec.structs.replace(
        report, verdict="diverge", divergences=(*found, *others), divergences_total=total, reason=reason, vacuous=False
    )


def _of_recorder(each: Divergence) -> bool:
    """Whether the divergence is of the stream, or of an end before any row."""
    return each.kind == "stream" or (each.kind == "outcome" and not each.where.row)
