"""Faults, the divergences that a comparison must report for them, and the artifacts in which they are planted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from diffcheck.observation import Returned, Trapped

if TYPE_CHECKING:
    from random import Random

    from diffcheck.observation import Execution, FinalState, RowRecord
    from diffcheck.runner.plan import CapsulePlan, RunnablePlan
    from diffcheck.verdict import PassReport
    from diffcheck.wasm.module import Module


class Expected(msgspec.Struct, frozen=True):
    """The divergence that must be reported: kind, place and both values. An empty field matches any value."""

    kind: str = ""
    item: str = ""
    row: str = ""
    oracle: str = ""
    subject: str = ""

    def met(self, report: PassReport) -> bool:
        """Whether the report contains the divergence."""
        return report.verdict == "diverge" and any(
            divergence.kind == self.kind
            and divergence.where.item.startswith(self.item)
            and self.row in ("", divergence.where.row)
            and self.oracle in ("", divergence.oracle)
            and self.subject in ("", divergence.subject)
            for divergence in report.divergences
        )

    def __str__(self) -> str:
        place = " ".join(part for part in (self.row and f"row {self.row}:", self.item or self.kind) if part)
        return f"{self.kind}, {place}" + (f": oracle {self.oracle}, subject {self.subject}" if self.subject else "")


class Fault(msgspec.Struct, frozen=True):
    """A fault: its class, its place and the divergence that it must cause.

    ``edit`` changes the program before the engine runs it, ``carry`` the engine's answer before it is read.
    """

    kind: str
    where: str
    expected: Expected
    edit: Callable[[bytes], bytes] | None = None
    carry: Callable[[Any], Any] | None = None


class FaultTarget(msgspec.Struct, frozen=True):
    """An artifact on which both engines agree, and the oracle's results: rows and state of the first instance, the direct run.

    ``capsule`` and ``direct`` are the plans of the passes; None if a pass does not apply to the artifact.
    """

    name: str
    module: Module
    capsule: CapsulePlan | None = None
    direct: RunnablePlan | None = None
    rows: tuple[RowRecord, ...] = ()
    state: FinalState | None = None
    stream_bytes: int = 0
    execution: Execution | None = None

    @property
    def traps(self) -> bool:
        """Whether the first instance ends in a trap. An engine without state at a trap does not report its state."""
        return any(isinstance(row.outcome, Trapped) for row in self.rows)

    @property
    def returned(self) -> tuple[int, ...]:
        """The indices of the rows of the first instance that returned."""
        return tuple(at for at, row in enumerate(self.rows) if isinstance(row.outcome, Returned))

    @property
    def direct_counters(self) -> dict[int, int]:
        """The counters after the direct run, by id; empty if it did not return."""
        execution = self.execution
        return (execution.counters or {}) if execution is not None and isinstance(execution.outcome, Returned) else {}


Plant = Callable[["FaultTarget", "Random", "tuple[FaultTarget, ...]"], "Fault | None"]
"""Creates a fault of one class in an artifact; None if the class does not apply to it. The third argument is all artifacts."""
