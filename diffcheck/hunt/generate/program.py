"""A program from a seed: some features, five functions that use them, and at most 180 rows."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.hunt.generate import aggregates, calls, constants, control, exceptions, large, memory, numeric, references, tables
from diffcheck.hunt.generate.draft import MIXES, NUMBERS, OFTEN, DraftFunction, ProgramDraft, Scope
from diffcheck.runner.sweep.operands import operands
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from diffcheck.hunt.generate.weights import Cell, Weights

FEATURES: Final = {
    "memory": memory.declare,
    "calls": calls.declare,
    "exceptions": exceptions.declare,
    "tables": tables.declare,
    "aggregates": aggregates.declare,
    "references": references.declare,
    "constants": constants.declare,
    "large": large.declare,
}
"""Features that a program may have, in the order in which they are declared; all programs have numbers and control."""
_MOST_FEATURES: Final = 3
_FUNCTIONS: Final = 5
_SIZE: Final = 120
_ROWS: Final = 36
_TRAP_ROWS: Final = 6
_TRAPS: Final = 0.15
_PADDED: Final = 0.06


class Generated(msgspec.Struct, frozen=True):
    """A program as text with its rows. ``tags`` are the productions of each exported function, ``cells`` those of the program.

    ``traps`` is whether rows may trap: then it has one function. ``padded`` is whether its integers have their longest encoding.
    """

    seed: str
    text: str
    rows: tuple[str, ...]
    tags: dict[str, frozenset[str]]
    cells: tuple[Cell, ...]
    features: tuple[str, ...]
    traps: bool = False
    padded: bool = False


def generate(seed: str, weights: Weights) -> Generated:
    """The program of a seed, with what was seen least so far; counts its cells."""
    chance = Random(seed)  # noqa: S311 - reproducible, not secret
    traps = chance.random() < _TRAPS
    draft = ProgramDraft(chance, weights, traps=traps)
    chosen = set(chance.sample(list(FEATURES), chance.randint(1, _MOST_FEATURES)))
    numeric.declare(draft)
    control.declare(draft)
    for name in (each for each in FEATURES if each in chosen):
        FEATURES[name](draft)
    padded = _is_padded(draft, chosen)
    names = [f"f{at}" for at in range(1 if traps else _FUNCTIONS)]
    tags, cells, rows = {}, [], []
    for name in names:
        found, own = _function(draft, name, chance.randint(_SIZE // 4, _SIZE))
        tags[name] = frozenset(each for each, _ in found) | draft.tags
        cells += found
        rows += own
    cells += [(each, "") for each in draft.tags]
    weights.count(cells)
    text = "\n".join(["(module", *draft.fields, ")"])
    return Generated(seed, text, tuple(dict.fromkeys(rows)), tags, tuple(cells), tuple(sorted(chosen)), traps, padded)


def _is_padded(draft: ProgramDraft, features: set[str]) -> bool:
    """Whether integers have their longest encoding: rarely, unless programs with these features diverge mostly without it."""
    words = ("short", "long")
    short, long = (min(draft.weights.share(f"{word} encoding of {each}") for each in features) for word in words)
    padded = draft.chance.random() * (_PADDED * long + (1 - _PADDED) * short) < _PADDED * long
    draft.tags.update(f"{words[padded]} encoding of {each}" for each in features)
    return padded


def _function(draft: ProgramDraft, name: str, size: int) -> tuple[list[Cell], list[str]]:
    """Add an exported function; returns its cells and its rows."""
    chance = draft.chance
    params = tuple(chance.choice(NUMBERS) for _ in range(chance.randint(0, 4)))
    results = (*(chance.choice(NUMBERS) for _ in range(chance.randint(0, 2))), "i64")
    scope = Scope(draft, params, size)
    lines = []
    while not scope.ended:
        lines.append(scope.statement())
    body = "\n".join([*lines, scope.values(results[:-1]), _mixed(scope)])
    signature = "".join(f"(param $p{at} {each})" for at, each in enumerate(params)) + f" (result {' '.join(results)})"
    draft.fields.append(f'(func ${name} (export "{name}") {signature} {scope.declarations}\n{body})')
    draft.functions.append(DraftFunction(f"${name}", params, results, scope.cost))
    count = _TRAP_ROWS if draft.traps else _ROWS
    return scope.cells, [_row(chance, name, params) for _ in range(count)]


def _mixed(scope: Scope) -> str:
    """An i64 that depends on all numbers in locals, and on the contents of structures and arrays."""
    mixes = {**{type_: f"local.get {{0}} {mix}" for type_, mix in MIXES.items()}, **scope.draft.contents}
    parts = [f"{mix.format(each)} i64.const 23 i64.rotl" for type_, mix in mixes.items() for each in scope.locals_of(type_)]
    return " ".join(["i64.const 0", *parts])


def _row(chance: Random, name: str, params: tuple[str, ...]) -> str:
    values = [Value(each, _argument(chance, each)) for each in params]
    return f"{name}={','.join(map(str, values))}" if values else name


def _argument(chance: Random, type_: str) -> int:
    """A boundary value, or any."""
    if type_ == "v128":
        return _argument(chance, "i64") << 64 | _argument(chance, "i64")
    found: int = chance.choice(operands(type_).values)
    return found if chance.random() < OFTEN or type_[0] == "f" else chance.getrandbits(int(type_[1:]))
