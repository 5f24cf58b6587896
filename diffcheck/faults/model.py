"""What a fault is, what a comparison has to say of it, and the artifacts that faults are planted in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from diffcheck.observation import Returned, Trapped

if TYPE_CHECKING:
    from random import Random

    from diffcheck.observation import Execution, FinalState, RowSeen
    from diffcheck.runner.plan import CapsulePlan, RunnablePlan
    from diffcheck.verdict import PassReport
    from diffcheck.wasm.module import Module


class Expected(msgspec.Struct, frozen=True):
    """What has to be reported: the divergence's kind and place, and its two values where they are known (empty: any)."""

    kind: str = ""
    item: str = ""
    row: str = ""
    oracle: str = ""
    subject: str = ""

    def met(self, report: PassReport) -> bool:
        """Whether the report says it."""
        return report.verdict == "diverge" and any(
            each.kind == self.kind
            and each.where.item.startswith(self.item)
            and each.where.row == (self.row or each.where.row)
            and each.oracle == (self.oracle or each.oracle)
            and each.subject == (self.subject or each.subject)
            for each in report.divergences
        )

    def __str__(self) -> str:
        place = " ".join(part for part in (self.row and f"row {self.row}:", self.item or self.kind) if part)
        return f"{self.kind}, {place}" + (f": {self.oracle} against {self.subject}" if self.subject else "")


class Fault(msgspec.Struct, frozen=True):
    """One fault: its class, where it is, what has to come of it.

    ``edit`` changes the program's bytes before the engine is given them, ``carry`` what the engine answered, on its way.
    """

    kind: str
    where: str
    expected: Expected
    edit: Callable[[bytes], bytes] | None = None
    carry: Callable[[Any], Any] | None = None


class FaultTarget(msgspec.Struct, frozen=True):
    """An artifact that both engines agree on, with what the oracle had: rows and state of its first instance, its direct run.

    ``module`` is the artifact, ``capsule`` and ``direct`` the plans of its passes; None if that pass does not apply.
    """

    name: str
    module: Module
    capsule: CapsulePlan | None = None
    direct: RunnablePlan | None = None
    rows: tuple[RowSeen, ...] = ()
    state: FinalState | None = None
    stream_bytes: int = 0
    execution: Execution | None = None

    @property
    def traps(self) -> bool:
        """Whether the first instance ends by a trap: an engine that reports nothing there shows no state of it."""
        return any(isinstance(row.outcome, Trapped) for row in self.rows)

    @property
    def returned(self) -> tuple[int, ...]:
        """The positions of the rows of the first instance that returned."""
        return tuple(at for at, row in enumerate(self.rows) if isinstance(row.outcome, Returned))


Plant = Callable[["FaultTarget", "Random", "tuple[FaultTarget, ...]"], "Fault | None"]
"""Chooses a place for a fault of one class in an artifact (the third argument: all of them), or finds that it has none."""
