"""What a reduction has to keep: a divergence's signature as it is without a manifest, and the pass in which it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from diffcheck.verdict import CaseReport, PassReport


class Symptom(msgspec.Struct, frozen=True):
    """A divergence to look for.

    Kept by a reduction, through ``signature``: the kind of the difference; the item's kind (a result with its number and type, a
    counter, a global by its name, a memory by its number); the artifact's name and the export whose row it is; for an outcome the
    pair of both, with the trap's kind or the stage of a refusal. Not kept: values, arguments, row numbers, branch ids, addresses, and names that only a
    manifest has, so that the code around the fault may go. ``oracle`` and ``subject`` are the two values in words, for people.
    """

    signature: str
    mode: Literal["capsule", "direct"]
    kind: str
    row: str
    item: str
    oracle: str
    subject: str

    def shown_by(self, report: CaseReport) -> bool:
        """Whether a case's report has this divergence, in this pass."""
        return any(each.mode == self.mode and self.signature in each.signatures for each in report.passes)

    def __str__(self) -> str:
        where = f"row {self.row}, " if self.row else ""
        return f"{where}{self.item}: {self.oracle} against {self.subject} ({self.mode} pass)"


def symptoms(report: CaseReport) -> tuple[Symptom, ...]:
    """The divergences of a report, one a signature and pass, the earliest first; the capsule's before the direct pass's."""
    return tuple(found for each in report.passes for found in _of(each))


def _of(one: PassReport) -> tuple[Symptom, ...]:
    first = {each.signature: each for each in reversed(one.divergences) if each.signature}
    return tuple(
        Symptom(name, one.mode, each.kind, each.where.row, each.where.item, each.oracle, each.subject)
        for name in one.signatures
        for each in (first[name],)
    )
