"""An operation: one way to execute an instruction, as text with scalar operands and results."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.runner.sweep.operands import ANY, operands, type_of
from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.runner.sweep.operands import Operands

_SPECIAL: Final = ("memory64", "table64", "another memory", "initial data", "constant expression")
_RANDOM_VALUES: Final = {1: 256, 2: 160, 3: 30, 4: 12}
"""How many random values an operand has, by the number of operands."""


def always(_values: tuple[int, ...]) -> bool:
    """The predicate of an operation that always traps."""
    return True


class Operation(msgspec.Struct, frozen=True, dict=True):
    """An instruction with its immediates and all that it needs, in the specification's text format.

    ``text`` takes its operands from the stack and leaves the ``results``; ``locals`` are its own, by name and type. ``tables`` are
    the tables of its operands, ``params`` their types. ``form`` distinguishes it from other operations of the instruction. ``fields`` are
    fields of the module; operations with equal ``fields`` share a program. ``own`` are fields of this operation alone.
    Or else ``types`` are the types of its operands, and ``chosen`` their combinations. ``traps`` is whether the instruction traps
    with these operands; None if it never does. ``rows`` is whether each check is a call with results of its own; other operations
    are packed into loops with digests. ``padded`` is whether all integers in the code have their longest encoding. ``cell`` is the
    class of its operands, if it is not ``form``.
    """

    family: str
    instruction: str
    text: str
    tables: tuple[str, ...] = ()
    results: tuple[str, ...] = ("i32",)
    form: str = ""
    fields: str = ""
    own: str = ""
    locals: tuple[tuple[str, str], ...] = ()
    traps: Callable[[tuple[int, ...]], bool] | None = None
    rows: bool = True
    padded: bool = False
    types: tuple[str, ...] = ()
    chosen: tuple[tuple[int, ...], ...] = ()
    cell: str = ""

    @property
    def name(self) -> str:
        """The operation's name, also that of its export."""
        return f"{self.instruction} {self.form}".strip()

    @property
    def plain(self) -> bool:
        """Whether the instruction is used in no special way: an engine for which this is wrong is wrong in most programs."""
        return self.family != "immediates" and not any(word in self.form for word in _SPECIAL)

    @property
    def proposal(self) -> str:
        """The proposal beyond the specification that the instruction belongs to, or empty."""
        return BY_NAME[self.instruction].proposal

    @property
    def params(self) -> tuple[str, ...]:
        """The types of the operands."""
        return self.types or tuple(map(type_of, self.tables))

    def operands(self, seed: int = 0) -> tuple[Operands, ...]:
        """The tables of operands, of boundary values or with a seed of random ones."""
        return tuple(operands(each, seed, _RANDOM_VALUES.get(len(self.tables), 0)) for each in self.tables)

    def cases(self, seed: int = 0) -> Iterator[tuple[str, tuple[int, ...]]]:
        """All combinations of operands, each with its class: ``cell``, ``form``, or that of the first operand."""
        own = self.cell or (self.form if self.rows else "")
        tables = self.operands(seed)
        if self.chosen or not tables:
            for values in self.chosen or ((),):
                yield own or ANY, values
            return
        for class_, value in zip(tables[0].classes, tables[0].values, strict=True):
            for rest in product(*(each.values for each in tables[1:])):
                yield own or class_, (value, *rest)

    def count(self, seed: int = 0) -> int:
        """The number of combinations of operands."""
        return prod(len(each.values) for each in self.operands(seed))
