"""The result of localising: the first instruction whose execution differs."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Depth = Literal["instruction", "function", "row", "none"]
"""The precision of the result: an instruction, only a function, only a row, or no difference."""

Difference = Literal["", "result", "allowed", "state", "size", "control", "argument", "outcome"]
"""What differs at the instruction: a result, whether the specification allows it, the state, a size, where execution continues, an
argument of a call, the outcome of the run.
"""

INSTANTIATED: Final = "the state differs before any instruction ran, after instantiation (core specification 3.0, 4.7.2)"
"""The beginning of ``why`` for a fault of instantiation."""

NOT_STARTED: Final = "instantiation does not call the start function (core specification 3.0, 4.7.2)"
"""``why`` for an engine that ignores the start section."""


class Moment(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event before the difference, equal on both engines: its number, place and value."""

    event: int
    function: str
    offset: int
    instruction: str
    value: str


class Localisation(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first difference. ``offset`` is in bytes from the function's body, ``file_offset`` from the start of the artifact.

    ``oracle`` and ``subject`` describe what each engine did; ``operands`` and ``locals`` are the values before the instruction,
    equal on both. ``path`` is the call stack, outermost first, with the offset of each call. ``execution`` is the number of the
    instruction's execution in this instance, from 1. ``runs`` counts runs of the subject after the row was known, ``row_runs``
    those before. ``variant`` is the digest that showed the difference; ``confirmed`` is whether the other digest, over other
    instructions, shows the same.
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
