"""Programs of the sweep in the specification's text format: packed into loops, one call a check, and one function alone.

A *packed* program has a function for each operation, which runs all combinations of its tables in memory and returns a digest of
the results; its parameters are the part of the first table, so that a row is a cell: an instruction with a class of operands.
"""

from __future__ import annotations

from itertools import groupby, product
from math import prod
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from diffcheck.runner.sweep.operands import ANY, BITS, Operands
from diffcheck.wasm.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from diffcheck.runner.sweep.operation import Operation

T = TypeVar("T")
SCAFFOLD: Final = frozenset(
    {
        *("i32.load", "i64.load", "f32.load", "f64.load", "v128.load", "i32.add", "i32.lt_u", "i32.eq", "i32.const", "i64.const"),
        *("local.get", "local.set", "local.tee", "loop", "br_if", "if", "return"),
    }
)
"""Instructions of every packed function, besides the digest's. Their own checks are calls."""
TRAP: Final = "trap: "
"""The beginning of the class of operands that trap."""
_LOOPS: Final = "loops"
_TABLES_AT: Final = 4096
_PAGE: Final = 65_536
_UNROLLED: Final = 4
_MOST_CALLS: Final = 64
_ROTATE: Final = "local.get $h i64.const 23 i64.rotl i64.add local.set $h"
_MULTIPLY: Final = "local.get $h i64.xor i64.const 0x9e3779b97f4a7c15 i64.mul local.set $h"
_DIGESTS: Final = {"i64.rotl": _MULTIPLY, "i64.add": _MULTIPLY}
"""The digest of an instruction that the usual one uses, which shares none with it."""
_BITS: Final = {
    "i32": "i64.extend_i32_u",
    "i64": "",
    "f32": "i32.reinterpret_f32 i64.extend_i32_u",
    "f64": "i64.reinterpret_f64",
}


class Row(msgspec.Struct, frozen=True, dict=True):
    """A row of a program: an operation with the product of some operands, all of one class."""

    text: str
    operation: Operation
    class_: str
    tables: tuple[Operands, ...]
    packed: bool = False

    @property
    def checks(self) -> int:
        """How many times the row executes the operation."""
        return prod(len(each.values) for each in self.tables)


class PackedFunction(msgspec.Struct, frozen=True):
    """A packed function: an operation with its tables, of which the table ``at`` is divided among rows, by class or by value."""

    operation: Operation
    tables: tuple[Operands, ...]
    at: int = 0
    by_value: bool = False
    class_: str = ""

    def divided(self) -> Iterator[tuple[str, int, int]]:
        """The class of each row, with its part of the divided table: the first index, and the one after the last."""
        table, done = self.tables[self.at], 0
        sizes = [1] * len(table.values) if self.by_value else [len(list(run)) for _, run in groupby(table.classes)]
        for size in sizes:
            yield self.class_ or table.classes[done], done, done + size
            done += size


class SweepProgram(msgspec.Struct, frozen=True):
    """A module as text with its rows. ``pieces`` are its packed functions, empty if its rows are calls."""

    text: str
    rows: tuple[Row, ...]
    pieces: tuple[PackedFunction, ...] = ()

    @property
    def padded(self) -> bool:
        """As in ``Operation``."""
        return self.rows[0].operation.padded

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations of the rows, each once."""
        return tuple({each.operation.name: each.operation for each in self.rows}.values())

    def halves(self) -> tuple[SweepProgram, ...]:
        """The program in two parts: of its operations, or of the calls of one; empty if it cannot be divided."""
        if self.pieces:
            return tuple(map(packed, _halves(self.pieces)))
        names = dict.fromkeys(each.operation.name for each in self.rows)
        if len(names) == 1:
            return tuple(map(calls, _halves(self.rows)))
        first = set(list(names)[: len(names) // 2])
        parts = ([each for each in self.rows if (each.operation.name in first) is wanted] for wanted in (True, False))
        return tuple(map(calls, parts))


def _halves(items: Sequence[T]) -> tuple[Sequence[T], ...]:
    middle = len(items) // 2
    return (items[:middle], items[middle:]) if middle else ()


def whole(operation: Operation, seed: int = 0) -> PackedFunction:
    """All combinations of an operation's operands, without those of the last table that trap with any others."""
    tables = operation.operands(seed)
    if operation.traps is not None:
        trapping = {values[-1] for _, values in operation.cases(seed) if operation.traps(values)}
        tables = (*tables[:-1], tables[-1].without(frozenset(trapping)))
    return PackedFunction(operation, tables)


def narrowed(row: Row) -> PackedFunction | tuple[Row, ...]:
    """The finer rows of a packed row: a piece with a row for each value of one table, or calls if there are few combinations."""
    if row.checks <= _MOST_CALLS:
        chosen = product(*(each.values for each in row.tables))
        return tuple(call(row.operation, values, row.class_) for values in chosen)
    at = next(at for at, each in enumerate(row.tables) if len(each.values) > 1)
    return PackedFunction(row.operation, row.tables, at, by_value=True, class_=row.class_)


def packed(pieces: Sequence[PackedFunction]) -> SweepProgram:
    """A program of loops; each row returns the digest of the results of its combinations.

    All loops are in one function, since some engines pay for each function; its first parameter chooses the piece.
    """
    memory, bodies, rows = _Memory(), [], []
    locals_: dict[str, str] = {}
    for number, each in enumerate(pieces):
        bodies.append(f"local.get $n i32.const {number} i32.eq if\n{_loops(each, memory, locals_)} local.get $h return end\n")
        table = each.tables[each.at]
        width, address = BITS[table.type] // 8, memory.address(table)
        for class_, first, last in each.divided():
            part = Operands(table.type, table.values[first:last], table.classes[first:last])
            tables = (*each.tables[: each.at], part, *each.tables[each.at + 1 :])
            text = f"{_LOOPS}={number},{address + width * first},{address + width * last}"
            rows.append(Row(text, each.operation, class_, tables, packed=True))
    declared = " ".join(f"(local ${name} {type_})" for name, type_ in locals_.items())
    params = "(param $n i32) (param $p i32) (param $end i32) (result i64) (local $h i64)"
    function = f'(func (export "{_LOOPS}") {params} {declared}\n{"".join(bodies)} unreachable)'
    return SweepProgram(_module([each.operation for each in pieces], [function], memory), tuple(rows), tuple(pieces))


class _Memory:
    """The tables of a program in its memory, equal ones once."""

    def __init__(self) -> None:
        self.data = b""
        self._places: dict[tuple[str, tuple[int, ...]], int] = {}

    def address(self, table: Operands) -> int:
        key = table.type, table.values
        if key not in self._places:
            self._places[key] = _TABLES_AT + len(self.data)
            values = table.values + table.values[-1:] * (-len(table.values) % _UNROLLED)
            self.data += b"".join(each.to_bytes(BITS[table.type] // 8, "little") for each in values)
        return self._places[key]


def _loops(piece: PackedFunction, memory: _Memory, locals_: dict[str, str]) -> str:
    """Nested loops over the tables: outermost the divided one, in the part that the parameters give; the innermost is unrolled.

    Adds the locals that it needs.
    """
    operation, tables = piece.operation, piece.tables
    order = [piece.at, *(at for at in range(len(tables)) if at != piece.at)]
    inner, pointers = order[-1], {piece.at: "p", **{at: f"p{at}" for at in order[1:]}}
    values = {at: f"v{at}_{tables[at].type}" for at in order[:-1]}
    locals_ |= {name: tables[at].type for at, name in values.items()} | {pointers[at]: "i32" for at in order[1:]}
    locals_ |= {_result(at, each): each for at, each in enumerate(operation.results)}
    width, unrolled = BITS[tables[inner].type] // 8, _UNROLLED if len(order) > 1 else 1
    body = ""
    for step in range(unrolled):
        load = f"local.get ${pointers[inner]} {tables[inner].type}.load offset={width * step}"
        pushed = " ".join(load if at == inner else f"local.get ${values[at]}" for at in range(len(tables)))
        body += f"{pushed} {operation.text} {_digest(operation)}\n"
    body = _loop(pointers[inner], tables[inner], memory, body, unrolled)
    for at in reversed(order[:-1]):
        body = f"local.get ${pointers[at]} {tables[at].type}.load local.set ${values[at]}\n{body}"
        body = _loop(pointers[at], tables[at], memory, body, 1)
    return body


def _loop(pointer: str, table: Operands, memory: _Memory, body: str, step: int) -> str:
    width, address, divided = BITS[table.type] // 8, memory.address(table), pointer == "p"
    start = "" if divided else f"i32.const {address} local.set ${pointer}\n"
    end = "local.get $end" if divided else f"i32.const {address + width * len(table.values)}"
    next_ = f"local.get ${pointer} i32.const {width * step} i32.add local.tee ${pointer} {end} i32.lt_u br_if $l{pointer}"
    return f"{start}loop $l{pointer}\n{body}{next_} end\n"


def _result(at: int, type_: str) -> str:
    return f"r{at}_{type_}"


def _digest(operation: Operation) -> str:
    """Take the results from the stack and add them to the digest ``$h``."""
    mix = _DIGESTS.get(operation.instruction, _ROTATE)
    names = [_result(at, each) for at, each in enumerate(operation.results)]
    several = len(names) > 1
    parts = [f"local.set ${name}" for name in reversed(names)] if several else []
    for name, type_ in zip(names, operation.results, strict=True):
        get = f"local.get ${name} " if several else ""
        if type_ == "v128":
            keep = get or f"local.tee ${name} "
            parts.append(f"{keep}i64x2.extract_lane 0 {mix} local.get ${name} i64x2.extract_lane 1 {mix}")
        else:
            parts.append(f"{get}{_BITS[type_]} {mix}")
    return " ".join(parts)


def calls(rows: Iterable[Row]) -> SweepProgram:
    """A program in which each row is one check, with the instruction's own results."""
    rows = tuple(rows)
    operations = tuple({each.operation.name: each.operation for each in rows}.values())
    return SweepProgram(_module(operations, [single_function(each) for each in operations], None), rows)


def call(operation: Operation, values: tuple[int, ...], class_: str = "") -> Row:
    """The row that executes an operation once, with its own results."""
    words = ",".join(str(Value(type_, value)) for type_, value in zip(operation.params, values, strict=True))
    tables = tuple(Operands(type_, (value,), (class_,)) for type_, value in zip(operation.params, values, strict=True))
    return Row(f"{operation.name}={words}" if words else operation.name, operation, class_ or ANY, tables)


def single_function(operation: Operation) -> str:
    """The operation alone, with its operands as parameters."""
    params = "".join(f" (param {each})" for each in operation.params)
    results = "".join(f" (result {each})" for each in operation.results)
    locals_ = "".join(f" (local ${name} {type_})" for name, type_ in operation.locals)
    pushed = " ".join(f"local.get {at}" for at in range(len(operation.params)))
    return f'(func (export "{operation.name}"){params}{results}{locals_}\n  {pushed} {operation.text})'


def _module(operations: Sequence[Operation], functions: list[str], memory: _Memory | None) -> str:
    fields = [operations[0].fields, *dict.fromkeys(each.own for each in operations)]
    if memory is not None:
        data = "".join(f"\\{byte:02x}" for byte in memory.data)
        pages = -(-(_TABLES_AT + len(memory.data)) // _PAGE)
        fields.append(f'(memory {pages}) (data (i32.const {_TABLES_AT}) "{data}")')
    body = "\n".join([*filter(None, fields), *functions])
    return f"(module\n{body}\n)\n"
