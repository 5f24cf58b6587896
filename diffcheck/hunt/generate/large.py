"""Constructs in large numbers: types, labels, locals, parameters, fields, elements, blocks, functions in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diffcheck.hunt.generate.draft import STATEMENT, after

if TYPE_CHECKING:
    from diffcheck.hunt.generate.draft import ProgramDraft, Scope


def declare(draft: ProgramDraft) -> None:
    """Declare one kind of large thing; every function of the module has its name among its tags."""
    kinds = {
        "many types": _types, "many types before": _types, "many parameters": _parameters, "many results": _results,
        "many fields": _fields, "many elements": _elements, "many locals": _locals, "many blocks": _blocks, "many labels": _labels,
        "many globals": _globals, "many exports": _exports, "many segments": _segments,
    }  # fmt: skip
    drawn = [each for each in kinds if draft.weights.draws(each, draft.chance)]
    if drawn:
        kind = min(draft.chance.choices(drawn, k=3), key=lambda each: draft.weights.times(each, ""))
        draft.tags.add(kind)
        kinds[kind](draft)


def _types(draft: ProgramDraft) -> None:
    """So many types that indices of structures and functions need a second byte, or are those of instructions."""
    count = draft.chance.choice((12, 13, 15, 70, 130, 200))
    types = "".join(f"(type (struct {'(field i32) ' * (at % 5 + 1)}(field {('i64', 'f32')[at % 2]})))" for at in range(count))
    draft.fields.insert(0, types)


def _parameters(draft: ProgramDraft) -> None:
    count = draft.chance.choice((20, 129, 300, 1000))
    name = draft.name("g")
    draft.fields.append(f"(func {name} (param {'i32 ' * count}) (result i32) local.get {count - 1} local.get 0 i32.sub)")
    draft.offer("large", "many parameters", "i32", after(("i32",), f"{'i32.const 5 ' * (count - 1)}call {name}"))


def _results(draft: ProgramDraft) -> None:
    count = draft.chance.choice((20, 129, 300, 1000))
    name = draft.name("g")
    values = " ".join(f"i32.const {at}" for at in range(count))
    draft.fields.append(f"(func {name} (result {'i32 ' * count}) {values})")
    draft.offer("large", "many results", "i32", after((), f"call {name} {'i32.xor ' * (count - 1)}"))


def _fields(draft: ProgramDraft) -> None:
    count, name = draft.chance.choice((17, 65, 300)), draft.name("s")
    draft.fields.append(f"(type {name} (struct {'(field (mut i32)) ' * count}))")
    values = " ".join(f"i32.const {at}" for at in range(count))
    draft.offer(
        "large", "many fields", "i32", lambda scope: f"{values} struct.new {name} struct.get {name} {scope.chance.randrange(count)}"
    )


def _elements(draft: ProgramDraft) -> None:
    count, name = draft.chance.choice((1024, 1025, 5000)), draft.name("a")
    draft.fields.append(f"(type {name} (array (mut i32)))")
    place = f"i32.const {count} i32.rem_u array.get {name}"
    draft.offer(
        "large",
        "many elements",
        "i32",
        lambda scope: f"{scope.value('i32')} i32.const {count} array.new {name} {scope.value('i32')} {place}",
    )


def _locals(draft: ProgramDraft) -> None:
    count, name = draft.chance.choice((130, 1000, 20_000)), draft.name("g")
    body = f"local.get 0 local.set {count + 1} local.get {count + 1}"
    draft.fields.append(f"(func {name} (param i32) (result i32) (local {'i64 ' * count}) (local i32) {body})")
    draft.offer("large", "many locals", "i32", after(("i32",), f"call {name}"))


def _blocks(draft: ProgramDraft) -> None:
    depth, name = draft.chance.choice((130, 300, 1000)), draft.name("g")
    body = f"{'block ' * depth}local.get 0 br_if {depth - 1} {'i32.const 1 local.set 0 end ' * depth}"
    draft.fields.append(f"(func {name} (param i32) (result i32) {body} local.get 0)")
    draft.offer("large", "many blocks", "i32", after(("i32",), f"call {name}"))


def _labels(draft: ProgramDraft) -> None:
    count = draft.chance.choice((127, 128, 300, 1000))

    def make(scope: Scope) -> str:
        if not scope.draft.affords():
            return scope.leaf("i32")
        labels = " ".join(str(scope.chance.randrange(2)) for _ in range(count))
        index = f"{scope.value('i32')} i32.const {count + 5} i32.rem_u"
        return f"block (result i32) block (result i32) i32.const 3 {index} br_table {labels} 1 end i32.const 4 i32.xor end"

    draft.offer("large", "many labels", "i32", make)


def _globals(draft: ProgramDraft) -> None:
    count, name = draft.chance.choice((130, 500)), draft.name("v")
    draft.fields.append("".join(f"(global {name}_{at} (mut i32) (i32.const {at}))" for at in range(count)))
    draft.offer("large", "many globals", "i32", lambda scope: f"global.get {name}_{scope.chance.randrange(count)}")
    draft.offer(
        "large", "many globals", STATEMENT, lambda scope: f"{scope.value('i32')} global.set {name}_{scope.chance.randrange(count)}"
    )


def _exports(draft: ProgramDraft) -> None:
    name = draft.name("v")
    draft.fields.append(f"(global {name} i32 (i32.const 1))")
    draft.fields += [f'(export "x{at}" (global {name}))' for at in range(draft.chance.choice((200, 257, 400)))]


def _segments(draft: ProgramDraft) -> None:
    name, count = draft.name("a"), draft.chance.choice((130, 500))
    draft.fields.append(f"(type {name} (array i8))")
    draft.fields += [f'(data {name}_{at} "{at % 10}")' for at in range(count)]
    new = "i32.const 0 i32.const 1 array.new_data"
    draft.offer(
        "large",
        "many segments",
        "i32",
        lambda scope: f"{new} {name} {name}_{scope.chance.randrange(count)} i32.const 0 array.get_u {name}",
    )
