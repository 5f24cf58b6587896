"""Tables of references with both index types, and element segments with their whole life."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.hunt.generate.draft import OFTEN, RARELY, STATEMENT, after

if TYPE_CHECKING:
    from diffcheck.hunt.generate.draft import ProgramDraft, Scope

_SIZE: Final = 8
_ITEMS: Final = 4


class DraftTable(msgspec.Struct, frozen=True):
    """A table of i31 references with segments of its own: one active, one that stays, one that is dropped."""

    name: str
    index: str
    active: str
    passive: str
    dropped: str


def declare(draft: ProgramDraft) -> None:
    """Declare one table or two."""
    chance = draft.chance
    for index in chance.choice((("i32",), ("i64",), ("i32", "i64"))):
        names = [draft.name(prefix) for prefix in ("t", "ea", "ep", "ed")]
        table = DraftTable(names[0], index, *names[1:])
        word, suffix = "i64 " * (index == "i64"), " table64" * (index == "i64")
        start = chance.choice(("", "(ref.i31 (i32.const 99))"))
        draft.fields.append(f"(table {table.name} {word}{_SIZE} {_SIZE + chance.randrange(4)} i31ref {start})")
        for name, place in (
            (table.active, f"(table {table.name}) ({index}.const {chance.randrange(5)})"),
            (table.passive, ""),
            (table.dropped, ""),
        ):
            items = " ".join(
                f"(ref.i31 (i32.const {chance.getrandbits(31)}))" if chance.random() < OFTEN else "(ref.null i31)"
                for _ in range(_ITEMS)
            )
            draft.fields.append(f"(elem {name} {place} i31ref {items})")
        draft.offer("tables", f"table.get{suffix}", "i31ref", partial(_get, table))
        draft.offer("tables", f"ref.is_null of table.get{suffix}", "i32", partial(_is_null, table))
        for name, result, make in (
            ("table.set", STATEMENT, _set), ("table.fill", STATEMENT, _fill), ("table.copy", STATEMENT, _copy),
            ("table.init", STATEMENT, _init), ("elem.drop", STATEMENT, _drop), ("table.grow", index, _grow),
            ("table.size", index, _size),
        ):  # fmt: skip
            draft.offer("tables", name + suffix, result, partial(make, table))
        for name, segment in (("active", table.active), ("dropped", table.dropped)) if draft.traps else ():
            draft.offer("traps", f"table.init {name}{suffix}", STATEMENT, partial(_init_gone, table, segment))
        if draft.traps:
            draft.offer("traps", f"table.get outside{suffix}", "i32", partial(_outside, table))
    draft.offer("tables", "i31 in a table", "i31ref", after(("i32",), "ref.i31"))


def _slot(table: DraftTable, scope: Scope) -> str:
    return f"{scope.value(table.index)} {table.index}.const {_SIZE - 1} {table.index}.and"


def _get(table: DraftTable, scope: Scope) -> str:
    return f"{_slot(table, scope)} table.get {table.name}"


def _is_null(table: DraftTable, scope: Scope) -> str:
    return f"{_get(table, scope)} ref.is_null"


def _entry(scope: Scope) -> str:
    return (
        f"{scope.value('i32')} ref.i31"
        if scope.chance.random() < OFTEN
        else scope.chance.choice((scope.value("i31ref"), "ref.null i31"))
    )


def _set(table: DraftTable, scope: Scope) -> str:
    return f"{_slot(table, scope)} {_entry(scope)} table.set {table.name}"


def _run(table: DraftTable, scope: Scope, most: int = _SIZE) -> tuple[str, str, int]:
    """Two places and a length that fit the table."""
    length = scope.chance.randrange(most + 1)
    places = [f"{table.index}.const {scope.chance.randrange(_SIZE + 1 - length)}" for _ in range(2)]
    return places[0], places[1], length


def _fill(table: DraftTable, scope: Scope) -> str:
    place, _, length = _run(table, scope)
    return f"{place} {_entry(scope)} {table.index}.const {length} table.fill {table.name}"


def _copy(table: DraftTable, scope: Scope) -> str:
    target, source, length = _run(table, scope)
    return f"{target} {source} {table.index}.const {length} table.copy {table.name} {table.name}"


def _init(table: DraftTable, scope: Scope) -> str:
    """From the segment that stays, or nothing from the beginning of one that may be dropped."""
    if scope.chance.random() < RARELY:
        return f"{table.index}.const {_SIZE} i32.const 0 i32.const 0 table.init {table.name} {table.dropped}"
    target, _, length = _run(table, scope, _ITEMS)
    source = scope.chance.randrange(_ITEMS + 1 - length)
    return f"{target} i32.const {source} i32.const {length} table.init {table.name} {table.passive}"


def _drop(table: DraftTable, scope: Scope) -> str:
    return f"elem.drop {scope.chance.choice((table.dropped, table.active))}"


def _grow(table: DraftTable, scope: Scope) -> str:
    most = 0xFFFF_FFFF_FFFF_FFFF if table.index == "i64" else 0xFFFF_FFFF
    return f"{_entry(scope)} {table.index}.const {scope.chance.choice((0, 1, 1, 3, most))} table.grow {table.name}"


def _size(table: DraftTable, _scope: Scope) -> str:
    return f"table.size {table.name}"


# Traps.


def _init_gone(table: DraftTable, segment: str, scope: Scope) -> str:
    """From a segment that is dropped: an active one is from the beginning."""
    place = f"{table.index}.const {scope.chance.randrange(4)}"
    return f"elem.drop {table.dropped} {place} i32.const 0 i32.const 1 table.init {table.name} {segment}"


def _outside(table: DraftTable, scope: Scope) -> str:
    return f"{table.index}.const {scope.chance.choice((12, 0x7FFF_FFFF, 0xFFFF_FFFF))} table.get {table.name} ref.is_null"
