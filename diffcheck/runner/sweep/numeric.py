"""Operations of the numeric, conversion and vector instructions: all pairs or triples of operands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from diffcheck.runner.sweep.operands import BITS, SHAPES, shape
from diffcheck.runner.sweep.operation import Operation
from diffcheck.runner.sweep.programs import SCAFFOLD
from diffcheck.wasm.opcodes import OPS
from diffcheck.wasm.values import float_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from diffcheck.wasm.opcodes import Op

_TYPES: Final = frozenset({"i32", "i64", "f32", "f64", "v128"})
_VECTOR: Final = 0xFD
_MANY: Final = 3
"""Instructions with more operands get a part of the tables."""
_SHUFFLES: Final = (
    tuple(range(16)),
    tuple(range(15, -1, -1)),
    tuple(range(16, 32)),
    tuple(range(31, 15, -1)),
    tuple(lane // 2 + 16 * (lane % 2) for lane in range(16)),
    (0,) * 16,
    (31,) * 16,
    (0, 31, 15, 16, 7, 24, 8, 23, 1, 30, 14, 17, 3, 28, 12, 19),
)


def operations() -> Iterator[Operation]:
    """The operations of all instructions whose operands and results are numbers and vectors."""
    for op in OPS:
        typed = op.params is not None and op.results is not None and {*op.params, *op.results} <= _TYPES
        if typed and op.params and not {"memarg", "memidx", "tableidx"} & set(op.immediates):
            yield from _forms(op)
            if op.name in SCAFFOLD:
                yield Operation(_family(op), op.name, op.name, tuple(f"few {each}" for each in op.params), op.results or (), "call")


def _forms(op: Op) -> Iterator[Operation]:
    if "shuffle" in op.immediates:
        for lanes in _SHUFFLES:
            yield _operation(op, " ".join(map(str, lanes)), "lanes " + " ".join(map(str, lanes)))
    elif "lane" in op.immediates:
        for lane in range(SHAPES[shape(op.name)][1]):
            yield _operation(op, str(lane), f"lane {lane}")
    else:
        yield _operation(op)


def _operation(op: Op, immediates: str = "", form: str = "") -> Operation:
    params, results = op.params or (), op.results or ()
    few = "few " if len(params) > _MANY or form else ""
    tables = tuple(few + (shape(op.name) if each == "v128" else each) for each in params)
    return Operation(
        _family(op),
        op.name,
        f"{op.name} {immediates}".strip(),
        tables,
        results,
        form,
        traps=_trap(op.name),
        rows=False,
    )


def _family(op: Op) -> str:
    if op.prefix == _VECTOR:
        return "vector"
    return "numeric" if op.name[:3] in {*(op.params or ())} and ".reinterpret" not in op.name else "conversions"


def _trap(name: str) -> Callable[[tuple[int, ...]], bool] | None:
    """Whether a division, a remainder or a truncation traps (core specification 4.3.2 and 4.3.4)."""
    type_, _, operation = name.partition(".")
    if operation in ("div_u", "rem_u", "rem_s"):
        return lambda values: values[1] == 0
    if operation == "div_s":
        least, minus_one = 1 << BITS[type_] - 1, (1 << BITS[type_]) - 1
        return lambda values: values[1] == 0 or values == (least, minus_one)
    if operation.startswith("trunc_f"):
        return _truncation(BITS[type_], operation[6:9], signed=operation.endswith("_s"))
    return None


def _truncation(bits: int, source: str, *, signed: bool) -> Callable[[tuple[int, ...]], bool]:
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)

    def traps(values: tuple[int, ...]) -> bool:
        number = float_number(source, values[0])
        return not math.isfinite(number) or not least <= math.trunc(number) <= most

    return traps
