"""Arrays: reads and writes, bulk operations that overlap, arrays from data segments."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from diffcheck.hunt.generate.draft import MIXES, NUMBERS, STATEMENT, after, data_text
from diffcheck.hunt.generate.fields import value_of

if TYPE_CHECKING:
    from diffcheck.hunt.generate.draft import ProgramDraft, Scope
    from diffcheck.hunt.generate.fields import Field

_LENGTHS: Final = (7, 8, 9, 13)
_BYTES: Final = 256
_WITHIN: Final = 0.6
"""The share of the copies within one array."""


def declare(draft: ProgramDraft, type_: str, field: Field) -> None:
    """Offer the instructions on an array type; all its arrays have the same length."""
    length = draft.chance.choice(_LENGTHS)
    own, some = f"(ref {type_})", f"i32.const {length}"
    draft.reference(own, after((), f"{some} array.new_default {type_}"))
    for nullable in (own, f"(ref null {type_})"):
        draft.offer("arrays", "array.new", nullable, partial(_with_value, field, "", f"{some} array.new {type_}"))
        draft.offer("arrays", "array.new_fixed", nullable, partial(_fixed, type_, field, length))
    for suffix in field.gets:
        draft.offer(
            "arrays", f"array.get{suffix} of {field.word}", field.type, partial(_get, own, length, f"array.get{suffix} {type_}")
        )
    draft.offer("arrays", "array.len", "i32", after((own,), "array.len"))
    draft.offer("arrays", f"array.set of {field.word}", STATEMENT, partial(_set, type_, field, length))
    draft.offer("arrays", f"array.fill of {field.word}", STATEMENT, partial(_fill, type_, field, length))
    draft.offer("arrays", f"array.copy of {field.word}", STATEMENT, partial(_copy, type_, length))
    if field.type in NUMBERS:
        _segments(draft, type_, field, length)
    _contents(draft, type_, field)
    if draft.traps:
        new = f"{some} array.new_default {type_} {some}"
        draft.offer("traps", "array.len of null", "i32", after((), f"ref.null {type_} array.len"))
        draft.offer(
            "traps", f"array.set of {field.word} outside", STATEMENT, partial(_with_value, field, new, f"array.set {type_}")
        )


def _with_value(field: Field, before: str, behind: str, scope: Scope) -> str:
    return f"{before} {value_of(field, scope)} {behind}"


def _fixed(type_: str, field: Field, length: int, scope: Scope) -> str:
    values = " ".join(value_of(field, scope) for _ in range(length))
    return f"{values} array.new_fixed {type_} {length}"


def _get(own: str, length: int, instruction: str, scope: Scope) -> str:
    return f"{scope.value(own)} {_index(length, scope)} {instruction}"


def _set(type_: str, field: Field, length: int, scope: Scope) -> str:
    return f"{scope.value(f'(ref {type_})')} {_index(length, scope)} {value_of(field, scope)} array.set {type_}"


def _index(length: int, scope: Scope) -> str:
    return f"{scope.value('i32')} i32.const {length} i32.rem_u"


def _run(most: int, scope: Scope) -> tuple[str, str, str]:
    """Two places and a length inside an array."""
    length = scope.chance.randrange(most + 1)
    places = [f"i32.const {scope.chance.randrange(most + 1 - length)}" for _ in range(2)]
    return places[0], places[1], f"i32.const {length}"


def _fill(type_: str, field: Field, length: int, scope: Scope) -> str:
    place, _, count = _run(length, scope)
    return f"{scope.value(f'(ref {type_})')} {place} {value_of(field, scope)} {count} array.fill {type_}"


def _copy(type_: str, length: int, scope: Scope) -> str:
    """Often within one array, where the runs may overlap."""
    target, source, count = _run(length, scope)
    local = scope.local(f"(ref {type_})")
    other = f"local.get {local}" if scope.chance.random() < _WITHIN else scope.value(f"(ref {type_})")
    return f"local.get {local} {target} {other} {source} {count} array.copy {type_} {type_}"


def _segments(draft: ProgramDraft, type_: str, field: Field, length: int) -> None:
    """Arrays of numbers from a data segment that stays."""
    data, own = draft.name("d"), f"(ref {type_})"
    draft.fields.append(f'(data {data} "{data_text(draft.chance.randbytes(_BYTES))}")')
    new = f"i32.const 0 i32.const {length} array.new_data {type_} {data}"
    draft.offer("arrays", f"array.new_data of {field.word}", own, after((), new))

    def init(scope: Scope) -> str:
        target, _, count = _run(length, scope)
        return f"{scope.value(own)} {target} i32.const 0 {count} array.init_data {type_} {data}"

    draft.offer("arrays", f"array.init_data of {field.word}", STATEMENT, init)


def _contents(draft: ProgramDraft, type_: str, field: Field) -> None:
    """A function that mixes all elements of an array, or whether they are null; results of functions depend on it."""
    if not draft.weights.draws("contents of an array", draft.chance):
        return
    draft.tags.add("contents of an array")
    name, get = draft.name("dg"), f"array.get{field.gets[-1]} {type_}"
    mix = MIXES.get(field.type, f"ref.is_null {MIXES['i32']}")
    draft.fields.append(
        f"(func {name} (param $r (ref {type_})) (result i64) (local $i i32) (local $x i64)\n"
        f"loop $again local.get $i local.get $r array.len i32.lt_u if\n"
        f"local.get $x i64.const 9 i64.rotl local.get $r local.get $i {get} {mix} local.set $x\n"
        f"local.get $i i32.const 1 i32.add local.set $i br $again end end local.get $x)"
    )
    draft.contents[f"(ref {type_})"] = f"local.get {{0}} call {name} i64.xor"
