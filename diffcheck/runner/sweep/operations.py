"""The operations of all families."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.runner.sweep import numeric

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from diffcheck.runner.sweep.operation import Operation

FAMILIES: Final = ("numeric", "conversions", "vector")
_MODULES: Final = (numeric,)


def of(families: Collection[str]) -> Iterator[Operation]:
    """The operations of some families."""
    for module in _MODULES:
        yield from (each for each in module.operations() if each.family in families)
