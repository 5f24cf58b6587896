"""Calls of every kind: direct, through a table, by reference, as a tail call, recursive with a count that ends."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from diffcheck.hunt.generate.draft import NUMBERS, OFTEN, DraftFunction, Scope, after, constant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from diffcheck.hunt.generate.draft import ProgramDraft

MOST_COST: Final = 1_500
"""The most instructions that a call may execute, roughly."""
_SLOTS: Final = 8
_TARGETS: Final = 2
_TURNS: Final = 6


def declare(draft: ProgramDraft) -> None:
    """Declare a function type with functions of it, a table of these, and a function that calls itself."""
    chance = draft.chance
    params = tuple(chance.choice(NUMBERS) for _ in range(chance.randint(1, 4)))
    results = tuple(chance.choice(NUMBERS) for _ in range(chance.randint(1, 3)))
    type_, table = draft.name("f"), draft.name("tf")
    draft.fields.append(f"(type {type_} (func {_signature(params, results)}))")
    names = [_target(draft, type_, params, results) for _ in range(_TARGETS)]
    most = _SLOTS + chance.randrange(3)
    draft.fields.append(f"(table {table} {_SLOTS} {most} (ref null {type_}))")
    entries = " ".join(f"(ref.func {chance.choice(names)})" for _ in range(_SLOTS))
    draft.fields.append(f"(elem (table {table}) (i32.const 0) (ref null {type_}) {entries})")
    draft.fields.append(f"(elem declare func {' '.join(names)})")
    cost = max(each.cost for each in draft.functions)
    at_slot = partial(_at_slot, type_, table)
    for at, result in enumerate(results):
        ways = {"call": partial(_direct, names), "call_indirect": at_slot, "call_ref": partial(_by_reference, type_, names)}
        for name, call in ways.items():
            draft.offer("calls", f"{name} {len(results)} results", result, partial(_call, call, params, results, at, cost))
    draft.reference(f"(ref {type_})", lambda scope: f"ref.func {scope.chance.choice(names)}")
    for name, statement in (("table.set", _set), ("table.fill", _fill), ("table.copy", _copy)):
        draft.offer("table of functions", name, "", partial(statement, type_, table))
    draft.offer("table of functions", "table.grow", "i32", partial(_grow, type_, table))
    draft.offer("table of functions", "table.get", f"(ref null {type_})", partial(_get, table))
    _recursive(draft)
    if draft.traps:
        null = f"(ref.null {type_})"
        draft.offer(
            "traps", "call_ref null", results[0], partial(_call, after((), f"{null[1:-1]} call_ref {type_}"), params, results, 0, 1)
        )
        _nullability(draft)


def _signature(params: Iterable[str], results: Iterable[str]) -> str:
    return "".join(f" (param {each})" for each in params) + "".join(f" (result {each})" for each in results)


def _target(draft: ProgramDraft, type_: str, params: tuple[str, ...], results: tuple[str, ...]) -> str:
    """A small function, which may end in a tail call of an earlier one."""
    name, scope = draft.name("g"), Scope(draft, params, 12)
    body = f"{scope.statements(3)} "
    same = [each for each in draft.functions if each.results == results]
    if same and draft.chance.random() < OFTEN:
        chosen = draft.chance.choice(same)
        body += f"{scope.values(chosen.params)} return_call {chosen.name}"
        scope.cost += chosen.cost
    else:
        body += scope.values(results)
    declared = " ".join(f"(param $p{at} {each})" for at, each in enumerate(params)) + _signature((), results)
    draft.fields.append(f"(func {name} (type {type_}) {declared} {scope.declarations}\n{body})")
    draft.functions.append(DraftFunction(name, params, results, scope.cost))
    return name


def _call(call: object, params: tuple[str, ...], results: tuple[str, ...], at: int, cost: int, scope: Scope) -> str:
    """A call of which one result is left and the others go to locals; a constant where the calls would cost too much."""
    if scope.cost + scope.turns * cost > MOST_COST:
        return constant(scope.chance, results[at])
    scope.cost += scope.turns * cost
    own = scope.fresh(results[at])
    kept = [f"local.set {own if place == at else scope.local(each)}" for place, each in enumerate(results)]
    return f"{scope.values(params)} {call(scope)} {' '.join(reversed(kept))} local.get {own}"  # type: ignore[operator]


def _direct(names: list[str], scope: Scope) -> str:
    return f"call {scope.chance.choice(names)}"


def _slot(scope: Scope) -> str:
    return f"{scope.value('i32')} i32.const {_SLOTS - 1} i32.and"


def _at_slot(type_: str, table: str, scope: Scope) -> str:
    return f"{_slot(scope)} call_indirect {table} (type {type_})"


def _by_reference(type_: str, names: list[str], scope: Scope) -> str:
    """By a reference that a table or a local gave, and that is replaced if it is null."""
    found = scope.draft.name("r")
    given = scope.value(f"(ref null {type_})")
    other = f"ref.func {scope.chance.choice(names)}"
    return f"block {found} (result (ref {type_})) {given} br_on_non_null {found} {other} end call_ref {type_}"


# The table.


def _get(table: str, scope: Scope) -> str:
    return f"{_slot(scope)} table.get {table}"


def _set(type_: str, table: str, scope: Scope) -> str:
    return f"{_slot(scope)} {scope.value(f'(ref {type_})')} table.set {table}"


def _run(scope: Scope) -> tuple[str, str, str]:
    """Two places and a length that fit the table."""
    length = scope.chance.randrange(_SLOTS + 1)
    places = [f"i32.const {scope.chance.randrange(_SLOTS + 1 - length)}" for _ in range(2)]
    return places[0], places[1], f"i32.const {length}"


def _fill(type_: str, table: str, scope: Scope) -> str:
    place, _, length = _run(scope)
    return f"{place} {scope.value(f'(ref {type_})')} {length} table.fill {table}"


def _copy(_type: str, table: str, scope: Scope) -> str:
    return f"{' '.join(_run(scope))} table.copy {table} {table}"


def _grow(type_: str, table: str, scope: Scope) -> str:
    count = scope.chance.choice((0, 1, 1, 2, 0xFFFF_FFFF))
    return f"{scope.value(f'(ref {type_})')} i32.const {count} table.grow {table}"


# Recursion, and types that differ in little.


def _recursive(draft: ProgramDraft) -> None:
    """A function that calls itself so often as its argument says, at the end or in the middle."""
    name, tail = draft.name("rec"), draft.chance.randrange(2)
    scope = Scope(draft, ("i32", "i64"), 6)
    step = scope.value("i64")
    down = "local.get $p0 i32.const 1 i32.sub"
    again = f"{down} {step} return_call {name}" if tail else f"{down} {step} call {name} local.get $p1 i64.xor"
    draft.fields.append(
        f"(func {name} (param $p0 i32) (param $p1 i64) (result i64) {scope.declarations}\n"
        f"local.get $p0 i32.eqz if (result i64) local.get $p1 else {again} end)"
    )
    cost = _TURNS * (scope.cost + 4)
    limited = f"i32.const {_TURNS} i32.rem_u"

    def call(scope: Scope) -> str:
        if scope.cost + scope.turns * cost > MOST_COST:
            return constant(scope.chance, "i64")
        scope.cost += scope.turns * cost
        return f"{scope.value('i32')} {limited} {scope.value('i64')} call {name}"

    draft.offer("calls", "recursive return_call" if tail else "recursive call", "i64", call)


def _nullability(draft: ProgramDraft) -> None:
    """A call through a type that differs from the function's own in one nullability only."""
    one, other, function, table = (draft.name(prefix) for prefix in ("fn", "fo", "g", "tn"))
    draft.fields += [
        f"(type {one} (func (param (ref null func)) (result i32)))",
        f"(type {other} (func (param (ref func)) (result i32)))",
        f"(func {function} (type {one}) local.get 0 ref.is_null)",
        f"(table {table} funcref (elem {function}))",
    ]
    text = f"ref.func {function} i32.const 0 call_indirect {table} (type {other})"
    draft.offer("traps", "call_indirect of another nullability", "i32", after((), text))
