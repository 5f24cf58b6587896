"""The map: which instructions were checked with which classes of operands, and with what outcome."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from diffcheck.observation import Identity
from diffcheck.runner.sweep.operands import RANDOM
from diffcheck.verdict import Tool

Outcome = Literal["agree", "allowed", "not reached", "unsupported", "diverge"]
OUTCOMES: tuple[Outcome, ...] = ("agree", "allowed", "not reached", "unsupported", "diverge")
"""From the least to the most important: a cell has the most important outcome of its checks."""
CHECKED: frozenset[Outcome] = frozenset({"agree", "allowed", "diverge"})
SCHEMA: Final = "diffcheck-sweep-v1"


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """An instruction with a class of operands. ``checks`` were executed by both engines; ``findings`` are the cases of divergences,
    ``reason`` is why it is unsupported or was not reached.
    """

    family: str
    instruction: str
    class_: str
    outcome: Outcome
    checks: int = 0
    findings: tuple[str, ...] = ()
    reason: str = ""


class SweepMap(msgspec.Struct, frozen=True):
    """The result of a sweep, as stored in ``sweep.json``. ``checks_per_s`` is by CPU time of the subject, in packed loops only."""

    schema: Literal["diffcheck-sweep-v1"]
    tool: Tool
    subject: Identity
    oracle: Identity
    started: str
    elapsed_ns: int
    seed: int
    families: tuple[str, ...]
    cells: tuple[Cell, ...]
    checks_per_s: float = 0.0

    @property
    def checks(self) -> int:
        """All checks."""
        return sum(each.checks for each in self.cells)

    @property
    def share(self) -> float:
        """The share of the cells that were checked."""
        return sum(each.outcome in CHECKED for each in self.cells) / max(1, len(self.cells))

    def of(self, outcome: Outcome) -> tuple[Cell, ...]:
        """The cells with an outcome."""
        return tuple(each for each in self.cells if each.outcome == outcome)

    @property
    def line(self) -> str:
        """The share of what was checked, in one line."""
        checked = sum(each.outcome in CHECKED for each in self.cells)
        instructions = {each.instruction for each in self.cells if each.outcome in CHECKED}
        every = {each.instruction for each in self.cells}
        return (
            f"{self.share:.1%} checked: {checked:,} of {len(self.cells):,} cells (instruction x operand class), "
            f"{len(instructions)} of {len(every)} instructions, {self.checks:,} checks"
        )


def lost(old: SweepMap, new: SweepMap) -> tuple[Cell, ...]:
    """The cells of the old map that were checked then and are not now: of families that both have, without random operands."""
    now = {(each.instruction, each.class_) for each in new.cells if each.outcome in CHECKED}
    before = (each for each in old.cells if each.outcome in CHECKED and each.class_ != RANDOM and each.family in new.families)
    return tuple(each for each in before if (each.instruction, each.class_) not in now)
