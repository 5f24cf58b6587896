"""Exceptions: thrown here or some frames below, caught at labels of every kind, thrown again by reference."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.hunt.generate.draft import MOST_TURNS, NUMBERS, RARELY, STATEMENT, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.hunt.generate.draft import ProgramDraft

_FRAMES: Final = 2
_COST: Final = 40


class Tags(msgspec.Struct, frozen=True):
    """A tag with the type of its value, one without, and functions: those that throw what the first
    parameter says (nothing if it is 2), and those that catch.
    """

    type: str
    valued: str
    plain: str
    throw: tuple[str, ...]
    catch: tuple[str, ...]


def declare(draft: ProgramDraft) -> None:
    """Declare two tags and functions that throw them."""
    type_ = draft.chance.choice(NUMBERS)
    tags = Tags(
        type_, draft.name("e"), draft.name("e"), tuple(draft.name("x") for _ in range(_FRAMES)), (draft.name("c"), draft.name("c"))
    )
    draft.fields += [f"(tag {tags.valued} (param {type_}))", f"(tag {tags.plain})"]
    draft.fields.append(
        f"(func {tags.throw[0]} (param i32 {type_}) local.get 0 i32.eqz if local.get 1 throw {tags.valued} end\n"
        f"local.get 0 i32.const 1 i32.eq if throw {tags.plain} end)"
    )
    for inner, outer in zip(tags.throw, tags.throw[1:], strict=False):
        draft.fields.append(f"(func {outer} (param i32 {type_}) local.get 0 local.get 1 call {inner})")
    for name, make in (("catch", _catch), ("catch_ref", _catch_ref), ("catch_all", _catch_all), ("throw_ref", _again)):
        draft.offer("exceptions", f"{name} to a block", type_, partial(_limited, make, tags))
    draft.offer("exceptions", "catch_all to a loop", STATEMENT, partial(_limited, _retry, tags))
    draft.offer("exceptions", "catch to an outer block", STATEMENT, partial(_limited, _outer, tags))
    _to_function(draft, tags)


def _limited(make: Callable[[Tags, Scope], str], tags: Tags, scope: Scope) -> str:
    """A handler, or a call of one of the functions with a handler where the module has many."""
    if scope.draft.affords():
        return make(tags, scope)
    text = _call(scope.chance.choice(tags.catch), tags, scope)
    return text if make not in (_retry, _outer) else f"{text} local.set {scope.local(tags.type)}"


def _thrown(tags: Tags, scope: Scope) -> str:
    """Code that throws one of the tags, here or below, or none."""
    scope.cost += _COST * scope.turns
    kind = f"{scope.value('i32')} i32.const 3 i32.rem_u"
    if scope.chance.random() < RARELY:
        return f"{kind} i32.eqz if {scope.value(tags.type)} throw {tags.valued} end"
    return f"{kind} {scope.value(tags.type)} call {scope.chance.choice(tags.throw)}"


def _catch(tags: Tags, scope: Scope) -> str:
    """The value of the tag, of the body, or of what follows a tag without value."""
    caught, plain, done = (scope.draft.name("h") for _ in range(3))
    body = f"{_thrown(tags, scope)} {scope.value(tags.type)}"
    clauses = f"(catch {tags.valued} {caught}) (catch {tags.plain} {plain})"
    return (
        f"block {done} (result {tags.type}) block {caught} (result {tags.type}) block {plain}\n"
        f"try_table (result {tags.type}) {clauses} {body} end br {done} end {scope.value(tags.type)} end end"
    )


def _catch_ref(tags: Tags, scope: Scope) -> str:
    caught, plain, done = (scope.draft.name("h") for _ in range(3))
    body = f"{_thrown(tags, scope)} {scope.value(tags.type)}"
    clauses = f"(catch_ref {tags.valued} {caught}) (catch_all {plain})"
    return (
        f"block {done} (result {tags.type}) block {plain} block {caught} (result {tags.type}) (result exnref)\n"
        f"try_table (result {tags.type}) {clauses} {body} end br {done} end\n"
        f"ref.is_null local.set {scope.local('i32')} br {done} end {scope.value(tags.type)} end"
    )


def _catch_all(tags: Tags, scope: Scope) -> str:
    caught, done = scope.draft.name("h"), scope.draft.name("h")
    body = f"{_thrown(tags, scope)} {scope.value(tags.type)}"
    return (
        f"block {done} (result {tags.type}) block {caught}\n"
        f"try_table (result {tags.type}) (catch_all {caught}) {body} end br {done} end {scope.value(tags.type)} end"
    )


def _again(tags: Tags, scope: Scope) -> str:
    """Caught by reference, and thrown again to an outer handler."""
    inner, outer, plain, done = (scope.draft.name("h") for _ in range(4))
    body = f"{_thrown(tags, scope)} {scope.value(tags.type)}"
    return (
        f"block {done} (result {tags.type}) block {outer} (result {tags.type}) block {plain}\n"
        f"try_table (catch {tags.valued} {outer}) (catch_all {plain})\n"
        f"block {inner} (result exnref) try_table (catch_all_ref {inner}) {body} br {done} end unreachable end throw_ref end\n"
        f"unreachable end {scope.value(tags.type)} end end"
    )


def _retry(tags: Tags, scope: Scope) -> str:
    """A loop that is entered again by a handler, until its counter is 0."""
    turns = scope.chance.choice((1, 2, 3))
    if scope.turns * turns > MOST_TURNS:
        return scope.statement()
    counter, label = scope.fresh("i32"), scope.draft.name("w")
    body = scope.within(None, lambda: scope.statements(2), turns + 1)
    count = f"local.get {counter} i32.const 1 i32.sub local.tee {counter} i32.const 0 i32.lt_s"
    given = f"{count} if (result i32) i32.const 2 else i32.const {scope.chance.randrange(2)} end"
    thrown = f"{given} {scope.value(tags.type)} call {scope.chance.choice(tags.throw)}"
    start = f"i32.const {turns} local.set {counter} loop {label}"
    return f"{start} {body}\ntry_table (catch_all {label}) {thrown} end end"


def _outer(tags: Tags, scope: Scope) -> str:
    """A handler whose label is some blocks further out."""
    label, kept = scope.draft.name("h"), scope.local(tags.type)
    inner = f"try_table (catch {tags.valued} {label}) (catch_all 1) {_thrown(tags, scope)} end"
    body = f"block block {inner} {scope.statement()} end end {scope.value(tags.type)}"
    return f"block {label} (result {tags.type}) {body} end local.set {kept}"


def _to_function(draft: ProgramDraft, tags: Tags) -> None:
    """Functions with a handler whose label is their own: for what is thrown in them, or below."""
    ways = {
        "thrown itself": f"local.get 0 if local.get 1 throw {tags.valued} end",
        "thrown below": f"local.get 0 i32.eqz i32.const 1 i32.shl local.get 1 call {tags.throw[-1]}",
    }
    for function, (name, thrown) in zip(tags.catch, ways.items(), strict=True):
        scope = Scope(draft, ("i32", tags.type), 4)
        body = f"try_table (catch {tags.valued} 0) {thrown} end {scope.value(tags.type)}"
        signature = f"(param $p0 i32) (param $p1 {tags.type}) (result {tags.type})"
        draft.fields.append(f"(func {function} {signature} {scope.declarations}\n{body})")
        draft.offer("exceptions", f"catch to the function, {name}", tags.type, partial(_call, function, tags))


def _call(function: str, tags: Tags, scope: Scope) -> str:
    scope.cost += _COST * scope.turns
    return f"{scope.value('i32')} i32.const 1 i32.and {scope.value(tags.type)} call {function}"
