"""Structured control: blocks with and without values, loops that end, branches of every kind."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from diffcheck.hunt.generate.draft import EVENLY, MOST_TURNS, NUMBERS, STATEMENT, Label

if TYPE_CHECKING:
    from diffcheck.hunt.generate.draft import ProgramDraft, Scope

_TURNS: Final = (1, 2, 3, 5)
_MANY_LABELS: Final = (2, 3, 5, 9, 130, 300)


def declare(draft: ProgramDraft) -> None:
    """Offer blocks of every number type and of none."""
    for type_ in (STATEMENT, *NUMBERS):
        for name, make in (("block", _block), ("loop", _loop), ("if", _if), ("br_table", _br_table)):
            draft.offer("control", f"{name} {type_}".strip(), type_, partial(make, type_))
    for type_ in NUMBERS:
        draft.offer("control", f"br_if {type_}", type_, partial(_br_if, type_))
    draft.offer("control", "br_if", STATEMENT, partial(_br_if, STATEMENT))
    draft.offer("control", "br", STATEMENT, _br)
    draft.offer("control", "block of several", STATEMENT, _several)
    if draft.traps:
        draft.offer("traps", "unreachable", STATEMENT, lambda scope: f"{scope.value('i32')} if unreachable end")
        for type_ in ("i32", "i64"):
            draft.offer("traps", f"{type_}.div_s", type_, partial(_divided, type_))


def _result(type_: str) -> str:
    return f"(result {type_})" if type_ else ""


def _body(type_: str, scope: Scope) -> str:
    """Statements, then a value if the block has one."""
    return f"{scope.statements(3)} {scope.value(type_) if type_ else ''}"


def _block(type_: str, scope: Scope) -> str:
    label = Label(scope.draft.name("b"), (type_,) if type_ else ())
    return f"block {label.name} {_result(type_)}\n{scope.within(label, lambda: _body(type_, scope))} end"


def _loop(type_: str, scope: Scope) -> str:
    """A loop with a counter of its own: branches to it end when the counter is 0."""
    turns = scope.chance.choice(_TURNS)
    if scope.turns * turns > MOST_TURNS:
        return _block(type_, scope)
    counter, label = scope.fresh("i32"), scope.draft.name("w")
    again = Label(label, guard=f"local.get {counter} i32.const 0 i32.gt_s")
    body = scope.within(again, lambda: _body(type_, scope), turns + 1)
    kept = scope.fresh(type_) if type_ else ""
    result = (f"local.set {kept}", f"local.get {kept}") if type_ else ("", "")
    start = f"i32.const {turns} local.set {counter} loop {label} {_result(type_)}"
    count = f"local.get {counter} i32.const 1 i32.sub local.set {counter}"
    return f"{start} {count}\n{body} {result[0]} {again.guard} br_if {label} {result[1]} end"


def _if(type_: str, scope: Scope) -> str:
    label = Label(scope.draft.name("i"), (type_,) if type_ else ())
    condition = scope.value("i32")
    arms = [scope.within(label, lambda: _body(type_, scope)) for _ in range(2 if type_ or scope.chance.random() < EVENLY else 1)]
    return f"{condition} if {label.name} {_result(type_)}\n{' else '.join(arms)} end"


def _target(type_: str, scope: Scope) -> Label | None:
    types = (type_,) if type_ else ()
    fitting = [each for each in scope.labels if each.types == types]
    return scope.chance.choice(fitting) if fitting else None


def _br_if(type_: str, scope: Scope) -> str:
    label = _target(type_, scope)
    if label is None:
        return _block(type_, scope)
    guard = f"{label.guard} i32.and" if label.guard else ""
    test = f"{scope.value('i32')} i32.eqz {guard}"
    return f"{scope.value(type_) if type_ else ''} {test} br_if {label.name}"


def _br(scope: Scope) -> str:
    """A branch that is taken sometimes, with the values that its label takes."""
    label = scope.chance.choice(scope.labels) if scope.labels else None
    if label is None:
        return _block(STATEMENT, scope)
    guard = f"{label.guard} i32.and" if label.guard else ""
    return f"{scope.value('i32')} i32.const 1 i32.and {guard} if {scope.values(label.types)} br {label.name} end"


def _br_table(type_: str, scope: Scope) -> str:
    """Branches out of a few nested blocks, each of which changes the result in its own way."""
    if not scope.draft.affords():
        return _block(type_, scope)
    many = scope.chance.choice(_MANY_LABELS)
    labels = [scope.draft.name("t") for _ in range(3)]
    table = " ".join(scope.chance.choice(labels) for _ in range(many))
    index = f"{scope.value('i32')} i32.const {many + 3} i32.rem_u"
    if type_:
        inner = f"{scope.value(type_)} {index} br_table {table} {labels[-1]}"
        for label in labels:
            change = f"local.set {scope.fresh(type_)} {scope.value(type_)}" if label != labels[-1] else ""
            inner = f"block {label} (result {type_})\n{inner} end {change}"
        return inner
    inner = f"{index} br_table {table} {labels[-1]}"
    for label in labels:
        inner = f"block {label}\n{inner} end {scope.statement()}"
    return inner


def _several(scope: Scope) -> str:
    """A block with parameters and results, left at its end or by a branch."""
    types = tuple(scope.chance.choice(NUMBERS) for _ in range(scope.chance.randint(2, 4)))
    params = tuple(scope.chance.choice(NUMBERS) for _ in range(scope.chance.randint(0, 3)))
    label = Label(scope.draft.name("s"), types)
    given = scope.values(params)
    taken = " ".join(f"local.set {scope.local(each)}" for each in reversed(params))
    body = scope.within(label, lambda: f"{taken} {scope.statements(2)} {scope.values(types)}")
    after = " ".join(f"local.set {scope.local(each)}" for each in reversed(types))
    signature = "".join(f" (param {each})" for each in params) + "".join(f" (result {each})" for each in types)
    return f"{given} block {label.name}{signature}\n{body} end {after}"


def _divided(type_: str, scope: Scope) -> str:
    name = scope.chance.choice(("div_s", "div_u", "rem_s", "rem_u"))
    return f"{scope.value(type_)} {scope.value(type_)} {type_}.const 1 {type_}.and {type_}.{name}"
