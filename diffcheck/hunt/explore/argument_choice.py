"""Arguments for exports: constants of the code and numbers near them, boundaries, and changed arguments of useful rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.cases.arguments import BOUNDARIES
from diffcheck.errors import ArtifactError
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.values import Value, float_bits, float_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from diffcheck.wasm.module import Module

_BOUNDS: Final = {"f32": 1 << 31, "f64": 1 << 63}
_SMALL: Final = 17
_MOST_FLOAT: Final = 1e15
_MOST_TIMES: Final = 8
_WIDTHS: Final = {"i32": 32, "i64": 64, "f32": 32, "f64": 64}
_CHANGED: Final = 0.6
"""The share of arguments that are those of a useful row, with one of them changed."""


class ArgumentChoice:
    """Chooses arguments for one artifact. ``addresses`` are what pointers may point to."""

    def __init__(self, module: Module, chance: Random, addresses: Sequence[int] = ()) -> None:
        self._chance = chance
        self._constants = sorted({*_constants(module), *range(_SMALL)})
        self._addresses = list(addresses)

    def new(self, types: Sequence[str]) -> tuple[Value, ...]:
        """Arguments of some types; later ones may equal earlier ones."""
        found: list[Value] = []
        for each in types:
            same = [one for one in found if one.type == each]
            equal = bool(same) and self._chance.random() < 1 / 3
            found.append(self._chance.choice(same) if equal else self._value(each))
        return tuple(found)

    def changed(self, args: Sequence[Value]) -> tuple[Value, ...]:
        """The arguments with one of them changed."""
        at = self._chance.randrange(len(args))
        return (*args[:at], self._near(args, args[at]), *args[at + 1 :])

    def candidate(self, types: Sequence[str], useful: Sequence[Sequence[Value]]) -> tuple[Value, ...]:
        """Arguments for a function, from those that were ``useful`` or new."""
        if types and useful and self._chance.random() < _CHANGED:
            return self.changed(self._chance.choice(useful))
        return self.new(types)

    def _value(self, type_: str) -> Value:
        kind = self._chance.randrange(6)
        if kind == 0:
            return self._chance.choice(BOUNDARIES[type_])
        if kind == 1 and type_ == "i32" and self._addresses:
            return Value("i32", self._chance.choice(self._addresses))
        if kind == 2:  # noqa: PLR2004 - one of six
            return self._number(type_, self._chance.getrandbits(self._chance.randrange(1, _WIDTHS[type_])))
        number = self._chance.choice(self._constants)
        if kind == 3:  # noqa: PLR2004 - one of six
            number *= self._chance.randrange(1, _MOST_TIMES)
        return self._number(type_, number + self._chance.choice((0, 0, 1, -1)))

    def _near(self, args: Sequence[Value], value: Value) -> Value:
        kind = self._chance.randrange(5)
        if kind == 0:
            return self._chance.choice([each for each in args if each.type == value.type])
        if kind == 1:
            return self._value(value.type)
        if kind == 2:  # noqa: PLR2004 - one of five
            return Value(value.type, value.bits ^ 1 << self._chance.randrange(_WIDTHS[value.type]))
        step = self._chance.choice((1, -1, 2, -2, self._chance.choice(self._constants)))
        if value.type in _BOUNDS:
            return self._number(value.type, step)
        return self._number(value.type, value.bits + step)

    def _number(self, type_: str, number: int) -> Value:
        if type_ not in _BOUNDS:
            return Value(type_, number & ((1 << _WIDTHS[type_]) - 1))
        bound = _BOUNDS[type_]
        return Value(type_, float_bits(type_, max(-bound, min(number, bound)) / self._chance.choice((1, 1, 2, 10))))


def _constants(module: Module) -> Iterator[int]:
    """The integers of the code, and the integer parts of its floats; not those after an unknown instruction."""
    for offset, body in module.body_bytes():
        try:
            for each in instructions(body, offset, start=read_locals(body).end):
                if each.name in ("i32.const", "i64.const"):
                    yield each.immediates[0]
                elif each.name == "f64.const":
                    number = float_number("f64", each.immediates[0])
                    if abs(number) < _MOST_FLOAT:
                        yield int(number)
        except ArtifactError:
            continue
