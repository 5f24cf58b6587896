"""The operations of all families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.errors import ConfigError
from diffcheck.runner.sweep import control, immediates, memory, numeric, references, tables
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from diffcheck.runner.sweep.operation import Operation

FAMILIES: Final = ("control", "numeric", "conversions", "vector", "memory", "tables", "references", "exceptions", "immediates")
_MODULES: Final = (control, numeric, memory, tables, references, immediates)


def chosen(families: Sequence[str]) -> tuple[str, ...]:
    """The families that a user named, all if none is named; raises ``ConfigError`` for one that does not exist."""
    for each in families:
        if each not in FAMILIES:
            raise ConfigError(
                f"{visible(each, 60)} is not a family of instructions", hint=f"the families are {', '.join(FAMILIES)}"
            )
    return tuple(each for each in FAMILIES if each in families or not families)


def of(families: Collection[str]) -> Iterator[Operation]:
    """The operations of some families."""
    for module in _MODULES:
        yield from (each for each in module.operations() if each.family in families)
