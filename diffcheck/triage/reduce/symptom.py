"""What a reduction preserves: the signature of a divergence, computed without a manifest, and the pass in which it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from diffcheck.verdict import CaseReport, PassReport


class Symptom(msgspec.Struct, frozen=True):
    """A divergence to look for.

    ``signature`` preserves the kind of the difference, the item (a result by number and type, a global by name, a memory by
    index), the artifact's name, the export, and both outcomes with the kind of a trap or the stage of a refusal. It does not
    preserve values, arguments, row numbers, branch ids, addresses and names from the manifest, so that surrounding code can be
    removed. ``oracle`` and ``subject`` are the two values as text.
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
        return f"{where}{self.item}: oracle {self.oracle}, subject {self.subject} ({self.mode} pass)"


def symptoms(report: CaseReport, row: str = "") -> tuple[Symptom, ...]:
    """The divergences of a report, the earliest for each signature and pass, those of the capsule pass first; with ``row`` those in
    that row only.
    """
    return tuple(found for each in report.passes for found in _of(each, row))


def _of(one: PassReport, row: str) -> tuple[Symptom, ...]:
    in_row = [each for each in one.divergences if each.signature and row in ("", each.where.row)]
    first = {each.signature: each for each in reversed(in_row)}
    return tuple(
        Symptom(name, one.mode, each.kind, each.where.row, each.where.item, each.oracle, each.subject)
        for name in one.signatures
        if (each := first.get(name)) is not None
    )
