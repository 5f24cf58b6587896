"""The fewest rows that still show the symptom, with the simplest arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.cases.rows import choose
from diffcheck.triage.reduce.interestingness import BudgetExhausted, Candidate
from diffcheck.wasm import module as wasm
from diffcheck.wasm.values import Value, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.capsule.driver import Call
    from diffcheck.triage.reduce.interestingness import Checker

_SIMPLE: Final = ("0", "1", "-1", "2")


class RowMinimiser:
    """Minimises ``rows`` of one artifact, which show the symptom; ``save`` receives each shorter list."""

    def __init__(self, checker: Checker, data: bytes, rows: tuple[str, ...], save: Callable[[tuple[str, ...]], None]) -> None:
        self.checker, self.data, self.rows, self.save = checker, data, rows, save

    def run(self, row: str) -> bool:
        """Minimise the rows; ``row`` is the symptom's, or empty. False if the time ran out."""
        try:
            self._fewer(row)
            self._simpler()
        except BudgetExhausted:
            return False
        return True

    def _shows(self, rows: tuple[str, ...]) -> bool:
        if not rows or not self.checker.shows(Candidate(self.data, rows)):
            return False
        self.rows = rows
        self.save(rows)
        return True

    def _fewer(self, row: str) -> None:
        if row in self.rows:
            if len(self.rows) > 1 and self._shows((row,)):
                return
            self._shows(self.rows[: self.rows.index(row) + 1])
        chunk = len(self.rows) // 2
        while chunk and len(self.rows) > 1:
            at = 0
            while at < len(self.rows) and len(self.rows) > 1:
                if not self._shows(self.rows[:at] + self.rows[at + chunk :]):
                    at += chunk
            chunk //= 2

    def _simpler(self) -> None:
        """Replace each argument by a simpler one that still shows the symptom."""
        for at in range(len(self.rows)):
            call = next(each for each in choose(wasm.read(self.data), self.rows).calls if each.name == self.rows[at])
            for number in range(len(call.args)):
                self._argument(at, number, call)

    def _argument(self, at: int, number: int, call: Call) -> None:
        row = self.rows[at]
        export, equals, arguments = row.rpartition("=")
        words = arguments.split(",")
        argument = call.args[number]
        if argument.type not in ("i32", "i64", "f32", "f64"):
            return
        for text in _simpler_than(argument):
            changed = export + equals + ",".join([*words[:number], text, *words[number + 1 :]])
            if changed != row and changed not in self.rows and self._shows((*self.rows[:at], changed, *self.rows[at + 1 :])):
                return


def _simpler_than(value: Value) -> list[str]:
    """Simpler values, the simplest first: small numbers, then numbers with fewer bits."""
    found = [text for text in _SIMPLE if abs(int(text)) < _magnitude(value) or parse(text, value.type).bits == 0]
    number = value.bits
    if value.type.startswith("i") and number > int(_SIMPLE[-1]):
        found += [str(1 << (number.bit_length() - 1)), str(number >> (number.bit_length() // 2))]
    return [text for text in dict.fromkeys(found) if parse(text, value.type) != value]


def _magnitude(value: Value) -> int:
    return value.bits if value.type.startswith("i") else 1 << 64
