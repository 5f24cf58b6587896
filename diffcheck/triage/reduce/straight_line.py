"""A row's function as a straight line: the instructions that were executed, each over the numbers that it took.

If single instructions cause the difference, nothing else of the program is left: no loop, no call, no branch. It is a candidate
like any other, and most of its pieces are removed later. Instructions on references and those that trapped are not replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.triage.reduce.units import literal
from diffcheck.wasm.draft import constant
from diffcheck.wasm.encode import encode_locals, plain
from diffcheck.wasm.opcodes import BLOCKS, CALLS, END, JUMPS
from diffcheck.wasm.types import RefType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffcheck.wasm.types import FuncType, ValType
    from diffcheck.wasm.typing import TypedInstruction
    from diffcheck.wasm.values import Value

BRANCHES: Final = frozenset({"if", "br_if"})
"""Replayed by whether they branched."""
_NOT: Final = ((BLOCKS | JUMPS | CALLS) - BRANCHES) | {
    "end", "else", "nop", "drop",
    "local.get", "local.set", "local.tee", "i32.const", "i64.const", "f32.const", "f64.const", "v128.const",
}  # fmt: skip
_IF: Final = b"\x04\x7f\x41\x01\x05\x41\x00\x0b"  # if (result i32) i32.const 1 else i32.const 0 end
_BR_IF: Final = b"\x02\x7f\x41\x00", b"\x0d\x00\x1a\x41\x01\x0b"  # block (result i32) i32.const 0 ... br_if 0 drop i32.const 1 end
_SUMS: Final = {"i32": "i32", "f32": "i32", "i64": "i64", "f64": "i64", "v128": "v128"}
_TO_INTEGER: Final = {"f32": ("i32", "i32.reinterpret_f32"), "f64": ("i64", "i64.reinterpret_f64")}
_TO_FLOAT: Final = {"f32": "f32.reinterpret_i32", "f64": "f64.reinterpret_i64"}
_TURN: Final = 5


class Piece(msgspec.Struct, frozen=True):
    """An executed instruction: its name, bytes and operands, and the type of its result, if any."""

    name: str
    code: bytes
    operands: tuple[Value, ...]
    result: ValType | None


def piece(each: TypedInstruction, code: bytes, operands: Sequence[Value | None]) -> Piece | None:
    """The piece of an instruction; None if it is not replayed, or an operand is not a known number."""
    name = each.instruction.name
    if name in _NOT or len(each.results) > 1 or None in operands or (name in BRANCHES and len(operands) > 1):
        return None
    result = "i32" if name in BRANCHES else each.results[0] if each.results else None
    if isinstance(result, RefType):
        return None
    return Piece(name, b"" if name in BRANCHES else code, tuple(value for value in operands if value is not None), result)


class StraightLine:
    """Writes bodies of a function's type from pieces, so that the function's result depends on theirs."""

    def __init__(self, type_: FuncType) -> None:
        self.type = type_
        only = type_.results[0] if len(type_.results) == 1 else None
        self.sum = _SUMS.get(only, "") if isinstance(only, str) else ""
        self.scratch = {"i64": len(type_.params), "v128": len(type_.params) + 1}

    def summed(self, pieces: Sequence[Piece]) -> bytes:
        """A body that runs the pieces in order and mixes all their results into its own."""
        code = [constant(self.sum)] if self.sum else []
        for each in pieces:
            code.append(_run(each))
            if each.result is None:
                continue
            if not self.sum:
                code.append(plain("drop"))
                continue
            code.append(self._as_sum(each.result))
            code.append(plain("v128.xor" if self.sum == "v128" else f"{self.sum}.xor"))
            if self.sum != "v128":
                code += [plain(f"{self.sum}.const", _TURN), plain(f"{self.sum}.rotl")]
        return self._body(code, self.sum)

    def last(self, pieces: Sequence[Piece]) -> bytes:
        """A body that runs the pieces and returns the result of the last one."""
        code: list[bytes] = []
        left = ""
        for at, each in enumerate(pieces):
            code.append(_run(each))
            if each.result is None:
                continue
            if at + 1 < len(pieces) or not self.sum:
                code.append(plain("drop"))
            elif each.result == self.type.results[0]:
                return self._body(code, "", whole=True)
            else:
                code.append(self._as_sum(each.result))
                left = self.sum
        return self._body(code, left)

    def _body(self, code: list[bytes], left: str, *, whole: bool = False) -> bytes:
        """``left`` is the type of the sum on the stack, if any; with ``whole`` the result itself is on the stack."""
        if not whole:
            if left:
                to_float = _TO_FLOAT.get(str(self.type.results[0]))
                code = [*code, plain(to_float)] if to_float else code
            else:
                code = [*code, *map(constant, self.type.results)]
        used = self.scratch if any(plain("local.tee", local) in each for local in self.scratch.values() for each in code) else {}
        return encode_locals([(1, each) for each in used]) + b"".join(code) + END

    def _as_sum(self, type_: ValType) -> bytes:
        """Converts a value to the type of the sum; every bit counts."""
        code: list[bytes] = []
        if type_ == "v128" and self.sum != "v128":
            local = self.scratch["v128"]
            code += [plain("local.tee", local), plain("i64x2.extract_lane", 0)]
            code += [plain("local.get", local), plain("i64x2.extract_lane", 1), plain("i64.xor")]
            type_ = "i64"
        elif type_ in _TO_INTEGER:
            type_, name = _TO_INTEGER[str(type_)]
            code.append(plain(name))
        if type_ == "i32" and self.sum in ("i64", "v128"):
            code.append(plain("i64.extend_i32_u"))
            type_ = "i64"
        elif type_ == "i64" and self.sum == "i32":
            local = self.scratch["i64"]
            code += [plain("local.tee", local), plain("i64.const", 32), plain("i64.shr_u")]
            code += [plain("local.get", local), plain("i64.xor"), plain("i32.wrap_i64")]
        if type_ == "i64" and self.sum == "v128":
            code.append(plain("i64x2.splat"))
        return b"".join(code)


def _run(each: Piece) -> bytes:
    operands = b"".join(map(literal, each.operands))
    if each.name == "if":
        return operands + _IF
    if each.name == "br_if":
        return _BR_IF[0] + operands + _BR_IF[1]
    return operands + each.code
