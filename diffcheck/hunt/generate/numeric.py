"""Instructions on numbers and vectors, from the table of opcodes: operands do not trap, results have one value."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from diffcheck.capsule.deterministic.open_results import OPEN
from diffcheck.hunt.generate.draft import NUMBERS
from diffcheck.runner.sweep.operands import SHAPES
from diffcheck.wasm.opcodes import OPS

if TYPE_CHECKING:
    from diffcheck.hunt.generate.draft import ProgramDraft, Scope
    from diffcheck.wasm.opcodes import Op

_VECTOR: Final = 0xFD
_TYPED: Final = 0.2
"""The share of the selects that have a type."""
_DIVISION: Final = re.compile(r"i(32|64)\.(div|rem)_([su])")
_TRUNCATION: Final = re.compile(r"i(32|64)\.trunc_f(32|64)_[su]")
_NAN: Final = {"f32": "0x7fc00000", "f64": "0x7ff8000000000000"}
_SMALL: Final = "v128.const i32x4 255 255 255 255 v128.and"
_RELAXED: Final = (
    ("swizzle", 1, f"v128.const i8x16 {'15 ' * 16}v128.and"),
    ("q15mulr", 1, f"v128.const i16x8 {'0x7fff ' * 8}v128.and"),
    ("dot", 1, f"v128.const i8x16 {'127 ' * 16}v128.and"),
)
"""A part of a relaxed instruction's name, the operand to limit, and how: then the specification allows one result only."""


def declare(draft: ProgramDraft) -> None:
    """Offer every instruction that takes and leaves numbers only."""
    for op in OPS:
        if op.params and op.results and {*op.params, *op.results} <= set(NUMBERS) and not op.width and not op.legacy:
            feature = "relaxed" if "relaxed" in op.name else "vectors" if op.prefix == _VECTOR else op.proposal or "numbers"
            draft.offer(feature, op.name, op.results[0], partial(_instruction, op))
    for type_ in NUMBERS:
        draft.offer("numbers", f"select {type_}", type_, partial(_select, type_))
        draft.offer("numbers", f"local.tee {type_}", type_, partial(_tee, type_))


def _select(type_: str, scope: Scope) -> str:
    typed = f"(result {type_})" if scope.chance.random() < _TYPED and scope.draft.affords() else ""
    return f"{scope.value(type_)} {scope.value(type_)} {scope.value('i32')} select {typed}"


def _tee(type_: str, scope: Scope) -> str:
    return f"{scope.value(type_)} local.tee {scope.local(type_)}"


def _instruction(op: Op, scope: Scope) -> str:
    assert op.params is not None, "as chosen above"  # noqa: S101
    assert op.results is not None, "as chosen above"  # noqa: S101
    parts = [_operand(op, at, type_, scope) for at, type_ in enumerate(op.params)]
    parts.append(" ".join([op.name, *_lanes(op, scope)]))
    if op.name in OPEN:
        parts.append(_canonical(op.name, scope))
    parts += [f"local.set {scope.local(each)}" for each in op.results[1:]]
    return " ".join(parts)


def _operand(op: Op, at: int, type_: str, scope: Scope) -> str:
    """An operand; a divisor is small and positive, a number to truncate a small integer."""
    if _TRUNCATION.fullmatch(op.name):
        return f"{scope.value('i32')} i32.const 0x7fff i32.and {type_}.convert_i32_s"
    value = scope.value(type_)
    division = _DIVISION.fullmatch(op.name)
    if division and at == 1:
        limit = f"{type_}.const 0x7fff {type_}.and " if division[3] == "s" else ""
        return f"{value} {limit}{type_}.const 1 {type_}.or"
    return f"{value} {_limit(op.name, at)}" if "relaxed" in op.name else value


def _limit(name: str, at: int) -> str:
    """What follows an operand of a relaxed instruction."""
    if "laneselect" in name:
        return f"v128.const i64x2 0 0 {name.split('.', maxsplit=1)[0]}.ne" if at == 2 else ""  # noqa: PLR2004 - the mask
    if any(word in name for word in ("madd", "min", "max", "trunc")):
        return f"{_SMALL} " + ("f64x2.convert_low_i32x4_u" if "f64x2" in name else "f32x4.convert_i32x4_u")
    return next((text for word, operand, text in _RELAXED if word in name and operand == at), "")


def _lanes(op: Op, scope: Scope) -> list[str]:
    if "shuffle" in op.immediates:
        return [str(scope.chance.randrange(32)) for _ in range(16)]
    if "lane" in op.immediates:
        return [str(scope.chance.randrange(SHAPES[op.name.split(".")[0]][1]))]
    return []


def _canonical(name: str, scope: Scope) -> str:
    """Replace a NaN, whose bits the specification leaves open, by one value."""
    shape = OPEN[name].shape
    local = scope.fresh("v128" if shape else OPEN[name].result)
    same = f"local.get {local} local.get {local}"
    if not shape:
        type_ = OPEN[name].result
        return f"local.tee {local} {type_}.const nan {same} {type_}.eq select"
    lane, count = SHAPES[shape]
    nans = f"{_NAN[lane]} " * count
    return f"local.tee {local} v128.const {shape.replace('f', 'i')} {nans}{same} {shape}.eq v128.bitselect"
