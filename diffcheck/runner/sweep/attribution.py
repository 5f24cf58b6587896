"""Which of the differences are of their own instruction, and which follow from another instruction that their program needs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from diffcheck.runner.sweep.programs import calls, packed, whole
from diffcheck.wasm.opcodes import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.runner.sweep.programs import Row

_WORD: Final = re.compile(r"[a-z][a-z0-9_.]+")


def instructions(row: Row) -> frozenset[str]:
    """The instructions in the smallest program of a row."""
    text = packed([whole(row.operation)]).text if row.packed else calls([row]).text
    return frozenset(_WORD.findall(text)) & BY_NAME.keys()


def needs(rows: Iterable[Row]) -> dict[str, str]:
    """For each differing operation that follows from another one, by name: the wrong instruction that it needs.

    An operation follows from a wrong instruction that is in its program, unless the program that shows that instruction to be wrong
    needs the operation's own instruction in turn. Rows that differ only in a loop show no instruction to be wrong.
    """
    rows = list(rows)
    used = {id(each): instructions(each) for each in rows}
    shown: dict[str, frozenset[str]] = {}
    for each in rows:
        if not each.packed:
            own = each.operation.instruction
            shown[own] = min(shown.get(own, used[id(each)]), used[id(each)], key=len)
    found: dict[str, str] = {}
    for each in rows:
        own = each.operation.instruction
        others = (wrong for wrong in sorted(shown) if wrong != own and wrong in used[id(each)] and own not in shown[wrong])
        if (first := next(others, "")) and each.operation.name not in found:
            found[each.operation.name] = first
    return found
