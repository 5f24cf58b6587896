"""Structures and arrays: recursion groups, subtypes, fields of every type."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from diffcheck.hunt.generate import arrays
from diffcheck.hunt.generate.draft import EVENLY, MIXES, NUMBERS, STATEMENT, after
from diffcheck.hunt.generate.fields import NULLS, PACKED, Field, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diffcheck.hunt.generate.draft import ProgramDraft, Scope

_MUTABLE: Final = 0.7
"""The share of the fields that are mutable."""


def declare(draft: ProgramDraft) -> None:
    """Declare a structure with a subtype, one that refers to it and to itself, and two arrays."""
    chance = draft.chance
    base, derived, node, numbers, references = (draft.name("o") for _ in range(5))
    fields = [_field(draft) for _ in range(chance.randint(1, 4))]
    more = [*fields, *(_field(draft) for _ in range(chance.randint(1, 3)))]
    linked = [
        Field(f"(ref null {base})", mutable=True),
        Field(f"(ref null {node})", mutable=True),
        Field(chance.choice(tuple(NULLS)), mutable=True),
        _field(draft),
    ]
    chance.shuffle(linked)
    element = Field(chance.choice((*PACKED, *NUMBERS)), mutable=True)
    held = Field(chance.choice((f"(ref null {base})", f"(ref null {numbers})", "anyref")), mutable=True)
    draft.fields.append(
        f"(rec (type {base} (sub (struct {_texts(fields)}))) (type {derived} (sub {base} (struct {_texts(more)})))\n"
        f"(type {node} (struct {_texts(linked)})))\n(type {numbers} (array {element})) (type {references} (array {held}))"
    )
    for type_, own in ((base, fields), (derived, more), (node, linked)):
        _structure(draft, type_, own)
    for type_, of_element in ((numbers, element), (references, held)):
        arrays.declare(draft, type_, of_element)
    draft.offer("structures", "subsumption", f"(ref {base})", after((f"(ref {derived})",), ""))
    draft.variables += [f"(ref null {node})", f"(ref {derived})", f"(ref {numbers})"]
    for one in (base, derived, node, numbers, references):
        draft.offer("structures", "ref.is_null", "i32", after((f"(ref null {one})",), "ref.is_null"))
        draft.offer("structures", "ref.eq", "i32", after((f"(ref null {one})",) * 2, "ref.eq"))


def _field(draft: ProgramDraft) -> Field:
    return Field(draft.chance.choice((*NUMBERS, *PACKED, "i31ref")), mutable=draft.chance.random() < _MUTABLE)


def _texts(fields: list[Field]) -> str:
    return " ".join(f"(field {each})" for each in fields)


def _structure(draft: ProgramDraft, type_: str, fields: list[Field]) -> None:
    own = f"(ref {type_})"
    draft.reference(own, after((), f"struct.new_default {type_}"))
    for nullable in (own, f"(ref null {type_})"):
        draft.offer("structures", "struct.new", nullable, partial(_new, type_, fields))
        draft.offer("structures", "struct.new_default", nullable, after((), f"struct.new_default {type_}"))
    draft.offer("structures", "br_on_non_null", own, partial(_replaced, type_))
    for at, field in enumerate(fields):
        for suffix in field.gets:
            make = partial(_get, f"struct.get{suffix} {type_} {at}", own)
            draft.offer("structures", f"struct.get{suffix} of {field.word}", field.type, make)
        if field.mutable:
            draft.offer(
                "structures", f"struct.set of {field.word}", STATEMENT, partial(_set, field, f"struct.set {type_} {at}", own)
            )
        if draft.traps and field.type in NUMBERS:
            draft.offer(
                "traps",
                f"struct.get{field.gets[0]} of null",
                field.type,
                after((), f"ref.null {type_} struct.get{field.gets[0]} {type_} {at}"),
            )
    draft.contents[own] = " ".join(_contents(draft, type_, fields))


def _contents(draft: ProgramDraft, type_: str, fields: list[Field]) -> Iterator[str]:
    """Code that adds the numbers of a structure in the local ``{0}`` to an i64."""
    for at, field in enumerate(fields):
        get = f"struct.get{field.gets[-1]}"
        if field.type in MIXES and draft.weights.draws(f"{get} of {field.word}", draft.chance):
            yield f"local.get {{0}} {get} {type_} {at} {MIXES[field.type]} i64.const 5 i64.rotl"


def _new(type_: str, fields: list[Field], scope: Scope) -> str:
    return f"{' '.join(value_of(each, scope) for each in fields)} struct.new {type_}"


def _replaced(type_: str, scope: Scope) -> str:
    """A reference, or another one where it is null."""
    label = scope.draft.name("n")
    other = f"struct.new_default {type_}"
    if scope.chance.random() < EVENLY:
        return f"block {label} (result (ref {type_})) {scope.value(f'(ref null {type_})')} br_on_non_null {label} {other} end"
    done = scope.draft.name("n")
    inner = f"{scope.value(f'(ref null {type_})')} br_on_null {label} br {done}"
    return f"block {done} (result (ref {type_})) block {label} {inner} end {other} end"


def _get(instruction: str, own: str, scope: Scope) -> str:
    return f"{scope.value(own)} {instruction}"


def _set(field: Field, instruction: str, own: str, scope: Scope) -> str:
    return f"{scope.value(own)} {value_of(field, scope)} {instruction}"
