"""What localising found: the first instruction whose execution differs, as data that every output can show."""

from __future__ import annotations

from typing import Literal

import msgspec

Depth = Literal["instruction", "function", "row", "none"]
"""How far the search came: an instruction's execution, a function only, a row only, or no difference at all."""

Difference = Literal["", "result", "allowed", "state", "size", "control", "outcome"]
"""What differs at the instruction: a result, whether the specification allows it, what was written, a size, where control goes on, how
the run ended.
"""


class Moment(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event before the difference, which both engines have: its number, place and value in words."""

    event: int
    function: str
    offset: int
    instruction: str
    value: str


class Localisation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer. ``offset`` counts within the function's body, ``file_offset`` in the artifact's file.

    ``oracle`` and ``subject`` say in words what each engine had there; ``operands`` and ``locals`` are the values before the
    instruction, which are equal on both. ``path`` are the activations, outermost first, each with the
    offset of its call. ``execution`` counts, from 1, how often the instruction had run on this instance. ``runs`` is how often the subject was started after the row was known. ``variant`` is the digest
    that found it, ``confirmed`` whether the other one, over other instructions, shows the same event.
    """

    depth: Depth
    artifact: str
    row: str = ""
    function: str = ""
    function_index: int = -1
    offset: int = -1
    file_offset: int = -1
    instruction: str = ""
    event: int = -1
    execution: int = 0
    events: int = 0
    oracle: str = ""
    subject: str = ""
    operands: tuple[str, ...] = ()
    locals: tuple[str, ...] = ()
    before: tuple[Moment, ...] = ()
    path: tuple[str, ...] = ()
    source: str = ""
    why: str = ""
    notes: tuple[str, ...] = ()
    runs: int = 0
    row_runs: int = 0
    variant: str = ""
    difference: Difference = ""
    confirmed: bool = False
    oracle_engine: str = ""
    subject_engine: str = ""

    def __str__(self) -> str:
        if self.depth == "none":
            return self.why
        if self.depth == "row":
            return f"row {self.row}: {self.why}" if self.row else self.why
        place = f"event {self.event:,}: " if self.event >= 0 else ""
        place += f"function `{self.function}`"
        if self.depth == "function":
            return f"{place}: {self.why}"
        of = f" of {', '.join(self.operands)}" if self.operands else ""
        engines = self.oracle_engine or "oracle", self.subject_engine or "subject"
        return (
            f"{place}, offset {self.offset:#x}, `{self.instruction}`{of}: {engines[0]} {self.oracle}, {engines[1]} {self.subject}"
        )
