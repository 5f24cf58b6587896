"""A program in the making: the module's fields, the productions that its features offer, and the scope of one function.

A production writes one instruction or construct, with operands of its own, in the specification's flat text format. Types are
text as well: ``i32``, ``(ref null $s1)``; a statement has the type ``""``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.runner.sweep.operands import operands

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from diffcheck.hunt.generate.weights import Cell, Weights

STATEMENT: Final = ""
NUMBERS: Final = ("i32", "i64", "f32", "f64", "v128")
MOST_TURNS: Final = 8
"""How often a place of a function is executed at most, by its own loops."""
RARELY, EVENLY, OFTEN = 0.25, 0.5, 0.7
"""Probabilities."""
_DEPTH: Final = 5
_LEAF: Final = 0.12
_LOCALS: Final = 3
_CANDIDATES: Final = 3
_COSTLY: Final = 6
_TRIES: Final = 6
MIXES: Final = {
    "i32": "i64.extend_i32_u i64.add",
    "i64": "i64.xor",
    "f32": "i32.reinterpret_f32 i64.extend_i32_u i64.add",
    "f64": "i64.reinterpret_f64 i64.xor",
    "v128": "v128.const i64x2 3 5 i64x2.mul i64x2.extract_lane 1 i64.xor",
}
"""How a number is added to an i64."""
_ZERO: Final = {
    **{type_: f"{type_}.const 0" for type_ in NUMBERS[:4]},
    "v128": "v128.const i64x2 0 0",
}


class Production(msgspec.Struct, frozen=True):
    """``name`` is the instruction, with what is special about it; ``make`` writes it, and leaves a value of ``type``."""

    name: str
    type: str
    make: Callable[[Scope], str]


class DraftFunction(msgspec.Struct, frozen=True):
    """A finished function that others may call. ``cost`` is how many instructions it executes at most, roughly."""

    name: str
    params: tuple[str, ...]
    results: tuple[str, ...]
    cost: int


class Label(msgspec.Struct, frozen=True):
    """A label and the types of a branch to it; ``guard`` is a condition under which a branch ends, empty if every one does."""

    name: str
    types: tuple[str, ...] = ()
    guard: str = ""


class ProgramDraft:
    """A module in the making. ``traps`` is whether its rows may trap. ``contents`` is code that adds the contents of an object in a
    local to an i64, by the local's type, with ``{0}`` for the local.
    """

    def __init__(self, chance: Random, weights: Weights, *, traps: bool = False) -> None:
        self.chance, self.weights, self.traps = chance, weights, traps
        self.fields: list[str] = []
        self.tags: set[str] = set()
        self.functions: list[DraftFunction] = []
        self.made: dict[str, Callable[[Scope], str]] = {}
        self.contents: dict[str, str] = {}
        self.variables = list(NUMBERS)
        self._costly = _COSTLY
        self._offers: dict[str, dict[str, list[Production]]] = {}
        self._names = 0

    def name(self, prefix: str) -> str:
        """A new identifier."""
        self._names += 1
        return f"${prefix}{self._names}"

    def affords(self) -> bool:
        """Whether the module may have one more instruction with a vector of labels, types or clauses: some engines pay for each."""
        self._costly -= 1
        return self._costly >= 0

    def offer(self, feature: str, name: str, type_: str, make: Callable[[Scope], str]) -> None:
        """Add a production of a feature."""
        self._offers.setdefault(type_, {}).setdefault(feature, []).append(Production(name, type_, make))

    def offers(self, type_: str) -> dict[str, list[Production]]:
        """The productions of a type by feature."""
        return self._offers.get(type_, {})

    def reference(self, type_: str, make: Callable[[Scope], str]) -> None:
        """Add a reference type that is not null: ``make`` writes the shortest value."""
        self.made[type_] = make


def constant(chance: Random, type_: str) -> str:
    """A constant of a number type: a boundary value, zero or any."""
    if type_ == "v128":
        return f"v128.const i64x2 {constant(chance, 'i64').split()[1]} {constant(chance, 'i64').split()[1]}"
    if type_ in ("f32", "f64"):
        bits = chance.choice(operands(type_).values)
        return f"i{type_[1:]}.const {bits:#x} {type_}.reinterpret_i{type_[1:]}"
    width = int(type_[1:])
    value = chance.choice(operands(type_).values) if chance.random() < OFTEN else chance.getrandbits(chance.randrange(1, width + 1))
    return f"{type_}.const {value:#x}"


def after(types: tuple[str, ...], text: str) -> Callable[[Scope], str]:
    """A production of fixed code after operands of some types."""

    def make(scope: Scope) -> str:
        return f"{scope.values(types)} {text}"

    return make


def data_text(data: bytes) -> str:
    """Bytes as the text format has them in a string."""
    return "".join(f"\\{byte:02x}" for byte in data)


class Scope:
    """One function in the making. ``cells`` are its productions, each with the one around it; ``cost`` as in ``DraftFunction``."""

    def __init__(self, draft: ProgramDraft, params: tuple[str, ...], size: int) -> None:
        self.draft, self.chance = draft, draft.chance
        self.labels: list[Label] = []
        self.cells: list[Cell] = []
        self.cost, self.turns = 0, 1
        self._depth, self._left, self._around = _DEPTH, size, ""
        self._locals: dict[str, list[str]] = {}
        self._declared: list[str] = []
        self._initial: list[str] = []
        for at, type_ in enumerate(params):
            self._locals.setdefault(type_, []).append(f"$p{at}")

    @property
    def ended(self) -> bool:
        """Whether the function is long enough."""
        return self._left <= 0

    @property
    def declarations(self) -> str:
        """The locals, and the values of those that must not be null."""
        return " ".join([*self._declared, *self._initial])

    # Locals.

    def fresh(self, type_: str) -> str:
        """A local that nothing else uses."""
        name = f"$l{len(self._declared)}"
        self._declared.append(f"(local {name} {type_})")
        return name

    def local(self, type_: str) -> str:
        """One of the locals of a type."""
        found = self._locals.setdefault(type_, [])
        if (len(found) < _LOCALS and self.chance.random() < EVENLY) or not found:
            found.append(self.fresh(type_))
            if type_ in self.draft.made:
                self._initial.append(f"{self.draft.made[type_](self)} local.set {found[-1]}")
        return self.chance.choice(found)

    def locals_of(self, type_: str) -> list[str]:
        """All locals of a type that statements may write."""
        return self._locals.get(type_, [])

    # Values.

    def leaf(self, type_: str) -> str:
        """A local or a constant."""
        self.cost += self.turns
        if self.chance.random() < OFTEN or (
            type_ not in _ZERO and type_ not in self.draft.made and not type_.startswith("(ref null")
        ):
            return f"local.get {self.local(type_)}"
        if type_ in _ZERO:
            return constant(self.chance, type_)
        if type_ in self.draft.made:
            return self.draft.made[type_](self)
        return f"ref.null {type_.removeprefix('(ref null ').removesuffix(')')}"

    def value(self, type_: str) -> str:
        """An expression that leaves a value of a type."""
        if self._depth > 0 and not self.ended and self.chance.random() >= _LEAF:
            found = self._chosen(type_)
            if found is not None:
                return self._made(found)
        return self.leaf(type_)

    def values(self, types: tuple[str, ...]) -> str:
        """Expressions that leave several values."""
        return " ".join(map(self.value, types))

    # Statements.

    def statement(self) -> str:
        """Code that leaves nothing."""
        if self._depth > 0 and not self.ended and self.chance.random() < OFTEN:
            found = self._chosen(STATEMENT)
            if found is not None:
                return self._made(found)
        type_ = self.chance.choice(self.draft.variables)
        return f"{self.value(type_)} local.set {self.local(type_)}"

    def statements(self, most: int) -> str:
        """Some statements, each in a line."""
        return "\n".join(self.statement() for _ in range(self.chance.randint(1, most)))

    def within(self, label: Label | None, make: Callable[[], str], turns: int = 1) -> str:
        """Code inside a block: with its label, executed ``turns`` times."""
        self.labels += [label] if label else []
        self.turns *= turns
        text = make()
        self.turns //= turns
        self.labels = self.labels[: len(self.labels) - bool(label)]
        return text

    # The choice of a production.

    def _chosen(self, type_: str) -> Production | None:
        """The production that was seen least in this place, of some of one feature; one that diverged is rarely drawn."""
        offers, weights = self.draft.offers(type_), self.draft.weights
        features = list(offers)
        for _ in range(_TRIES if features else 0):
            some = self.chance.choices(offers[self.chance.choice(features)], k=_CANDIDATES)
            best = min(some, key=lambda each: weights.times(each.name, self._around))
            if weights.draws(best.name, self.chance):
                return best
        return None

    def _made(self, production: Production) -> str:
        around, self._around = self._around, production.name
        self._depth -= 1
        self._left -= 1
        self.cost += self.turns
        text = production.make(self)
        self._depth += 1
        self._around = around
        self.cells.append((production.name, around))
        return text
