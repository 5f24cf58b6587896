"""Which of the differences are of their own instruction, and which follow from another instruction that their program needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.capsule.deterministic import open_results
from diffcheck.runner.sweep.programs import calls, packed, whole
from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.runner.sweep.programs import Row

_MOST: Final = 0.5
_WORD: Final = re.compile(r"[a-z][a-z0-9_.]+")


def instructions(row: Row) -> frozenset[str]:
    """The instructions in the smallest program of a row, with those that check a NaN."""
    operation = row.operation
    text = packed([whole(operation)]).text if row.packed else calls([row]).text
    if operation.instruction in open_results.OPEN:
        text += open_results.checked(operation.instruction, tuple(range(len(operation.params))), len(operation.params))
        text += " ".join(each.text for each in open_results.HELPERS.values())
    return frozenset(_WORD.findall(text)) & BY_NAME.keys()


def needs(rows: Iterable[Row], shares: Mapping[str, float]) -> dict[str, str]:
    """For each differing operation that follows from another one, by name: the wrong instruction that it needs.

    ``shares`` are the shares of an instruction's cells that differ. An operation follows from an instruction in its program that is
    wrong in most of its cells, unless the program that shows this needs the operation's own instruction in turn, and that one is
    wrong in as many. Rows that differ only in a loop show no instruction to be wrong.
    """
    rows = list(rows)
    used = {id(each): instructions(each) for each in rows}
    shown: dict[str, frozenset[str]] = {}
    for each in rows:
        own = each.operation.instruction
        if not each.packed and shares.get(own, 0.0) > _MOST:
            shown[own] = min(shown.get(own, used[id(each)]), used[id(each)], key=len)
    found: dict[str, str] = {}
    for each in rows:
        own = each.operation.instruction
        for wrong in sorted(shown):
            follows = own not in shown[wrong] or shares[wrong] > shares.get(own, 0.0)
            if wrong != own and wrong in used[id(each)] and follows:
                found.setdefault(each.operation.name, wrong)
    return found
