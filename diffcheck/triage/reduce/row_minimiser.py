"""The fewest rows that still show the symptom, and the simplest arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from diffcheck.cases.rows import choose
from diffcheck.triage.reduce.interestingness import BudgetExhausted, Question
from diffcheck.values import Value, parse
from diffcheck.wasm import module as wasm

if TYPE_CHECKING:
    from collections.abc import Callable

    from diffcheck.capsule.driver import Call
    from diffcheck.triage.reduce.interestingness import Checker

_SIMPLE: Final = ("0", "1", "-1", "2")


class Minimiser:
    """Minimises ``rows`` of one artifact, which show the symptom; ``save`` is given each shorter list."""

    def __init__(self, checker: Checker, data: bytes, rows: tuple[str, ...], save: Callable[[tuple[str, ...]], None]) -> None:
        self.checker, self.data, self.rows, self.save = checker, data, rows, save

    def run(self, row: str) -> bool:
        """Minimise; ``row`` is the one that the symptom names, or nothing. False where the time is over."""
        try:
            self._fewer(row)
            self._simpler()
        except BudgetExhausted:
            return False
        return True

    def _shows(self, rows: tuple[str, ...]) -> bool:
        if not rows or not self.checker.shows(Question(self.data, rows)):
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
        """Each argument to a simpler one, as long as that goes."""
        for at in range(len(self.rows)):
            module = wasm.read(self.data)
            calls = [each for each in choose(module, self.rows).calls if not each.init]
            call = calls[at]
            for number in range(len(call.args)):
                self._argument(at, number, call)

    def _argument(self, at: int, number: int, call: Call) -> None:
        row = self.rows[at]
        head = row[: len(row) - len(",".join(row.rpartition("=")[2].split(",")))]
        words = row.rpartition("=")[2].split(",")
        given = call.args[number]
        if given.type not in ("i32", "i64", "f32", "f64"):
            return
        for text in _simpler_than(given):
            changed = head + ",".join([*words[:number], text, *words[number + 1 :]])
            if changed != row and changed not in self.rows and self._shows((*self.rows[:at], changed, *self.rows[at + 1 :])):
                return


def _simpler_than(value: Value) -> list[str]:
    """Values that are simpler, the simplest first: small numbers, then half as many bits."""
    found = [text for text in _SIMPLE if abs(int(text)) < _magnitude(value) or parse(text, value.type).bits == 0]
    number = value.bits
    if value.type.startswith("i") and number > int(_SIMPLE[-1]):
        found += [str(1 << (number.bit_length() - 1)), str(number >> (number.bit_length() // 2))]
    return [text for text in dict.fromkeys(found) if parse(text, value.type) != value]


def _magnitude(value: Value) -> int:
    return value.bits if value.type.startswith("i") else 1 << 64
