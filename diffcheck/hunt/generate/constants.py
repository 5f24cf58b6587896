"""Globals of every type, with constant expressions of every form."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from diffcheck.hunt.generate.draft import NUMBERS, OFTEN, STATEMENT, after, constant

if TYPE_CHECKING:
    from random import Random

    from diffcheck.hunt.generate.draft import ProgramDraft, Scope


def declare(draft: ProgramDraft) -> None:
    """Declare globals of numbers, and of references that are made by constant expressions."""
    chance = draft.chance
    earlier: list[str] = []
    for type_ in (*NUMBERS, "i32", "i64"):
        name, mutable = draft.name("v"), chance.random() < OFTEN
        first = _expression(chance, type_, [each for each in earlier if each.startswith(f"${type_}")])
        name = f"${type_}{name[1:]}"
        draft.fields.append(f"(global {name} {f'(mut {type_})' if mutable else type_} {first})")
        earlier += [] if mutable else [name]
        draft.offer("globals", f"global.get {type_}", type_, after((), f"global.get {name}"))
        if mutable:
            draft.offer("globals", f"global.set {type_}", STATEMENT, partial(_set, name, type_))
    structure, array, held, list_, outer = (draft.name("c") for _ in range(5))
    number = chance.getrandbits(31)
    made = f"(i32.const {number}) (i32.const {number % 300}) (i64.const {number * 5})"
    draft.fields.append(
        f"(type {structure} (struct (field i32) (field i8) (field i64))) (type {array} (array i32))\n"
        f"(global {held} (ref {structure}) (struct.new {structure} {made}))\n"
        f"(global {list_} (ref {array}) (array.new_fixed {array} 3 (i32.const {number % 7}) (i32.const 8) (i32.const 9)))\n"
        f"(global {outer} externref (extern.convert_any (ref.i31 (i32.const {number % 1000}))))"
    )
    for text, type_, word in (
        (f"global.get {held} struct.get {structure} 0", "i32", "struct.new"),
        (f"global.get {held} struct.get_s {structure} 1", "i32", "struct.new, packed"),
        (f"global.get {held} struct.get {structure} 2", "i64", "struct.new, long"),
        (f"global.get {list_} i32.const {chance.randrange(3)} array.get {array}", "i32", "array.new_fixed"),
        (f"global.get {outer} any.convert_extern ref.test (ref i31)", "i32", "extern.convert_any"),
    ):
        draft.offer("constant expressions", f"constant {word}", type_, after((), text))


def _set(name: str, type_: str, scope: Scope) -> str:
    return f"{scope.value(type_)} global.set {name}"


def _expression(chance: Random, type_: str, earlier: list[str]) -> str:
    """A constant, an earlier global, or for integers a sum of such."""
    if type_ in ("i32", "i64"):
        parts = [f"{type_}.const {chance.getrandbits(int(type_[1:])):#x}", *(f"global.get {each}" for each in earlier)]
        text = chance.choice(parts)
        for _ in range(chance.randrange(3)):
            text += f" {chance.choice(parts)} {type_}.{chance.choice(('add', 'sub', 'mul'))}"
        return text
    if type_ == "v128":
        return constant(chance, type_)
    return f"{type_}.const {chance.choice(('nan', '-0', 'inf', '1.5', '0x1p-149', 'nan:0x200001'))}"
