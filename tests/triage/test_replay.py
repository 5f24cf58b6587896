"""A straight line of executed instructions: valid for every type of result, and no instruction's value is lost in it."""

from __future__ import annotations

import struct

import pytest
import wasmtime

from diffcheck.triage.reduce.straight_line import Piece, StraightLine
from diffcheck.wasm import section as ids
from diffcheck.wasm.code import MemArg
from diffcheck.wasm.encode import plain
from diffcheck.wasm.leb import u
from diffcheck.wasm.types import FuncType, ValType, encode_functype
from diffcheck.wasm.values import Value

ONE = struct.unpack("<I", struct.pack("<f", 1.0))[0]
PIECES = (
    Piece("i32.add", plain("i32.add"), (Value("i32", 1 << 31), Value("i32", 5)), "i32"),
    Piece("i64.mul", plain("i64.mul"), (Value("i64", 3), Value("i64", 1 << 40)), "i64"),
    Piece("f32.neg", plain("f32.neg"), (Value("f32", ONE),), "f32"),
    Piece("f64.promote_f32", plain("f64.promote_f32"), (Value("f32", ONE),), "f64"),
    Piece("v128.not", plain("v128.not"), (Value("v128", 7 << 90),), "v128"),
    Piece("br_if", b"", (Value("i32", 1),), "i32"),
    Piece("if", b"", (Value("i32", 0),), "i32"),
)


def _run(body: bytes, result: ValType) -> bytes:
    """The bits of what a body of that type gives; it is stored, since wasmtime's package takes no vector."""
    store = plain("i32.const", 0) + plain("local.get", 0) + plain("call", 0) + plain(f"{result}.store", MemArg(0, 0, 0))
    bodies = [body, b"\x00" + store + b"\x0b"]
    parts = {
        ids.TYPE: [encode_functype(FuncType(("i32",), (result,))), encode_functype(FuncType(("i32",), ()))],
        ids.FUNCTION: [u(0), u(1)],
        ids.MEMORY: [b"\x00\x01"],
        ids.EXPORT: [b"\x01f\x00\x01", b"\x01m\x02\x00"],
        ids.CODE: [u(len(each)) + each for each in bodies],
    }
    data = ids.write([ids.section(each, u(len(parts[each])) + b"".join(parts[each])) for each in ids.NAMES if each in parts])
    engine = wasmtime.Store()
    exports = wasmtime.Instance(engine, wasmtime.Module(engine.engine, data), []).exports(engine)
    exports["f"](engine, 0)
    return bytes(exports["m"].read(engine, 0, 16))


def _changed(one: Piece) -> Piece:
    """With one bit of its first operand, the sign's of a float, another."""
    first = one.operands[0]
    bit = {"f32": 31, "f64": 63, "v128": 100}.get(first.type, 0)
    return Piece(one.name, one.code, (Value(first.type, first.bits ^ (1 << bit)), *one.operands[1:]), one.result)


@pytest.mark.parametrize("result", ["i32", "i64", "f32", "f64", "v128"])
def test_a_change_of_any_piece_changes_the_result(result: ValType) -> None:
    line = StraightLine(FuncType(("i32",), (result,)))
    right = _run(line.summed(PIECES), result)
    for at, each in enumerate(PIECES):
        assert _run(line.summed((*PIECES[:at], _changed(each), *PIECES[at + 1 :])), result) != right


@pytest.mark.parametrize("result", ["i32", "i64", "f32", "f64", "v128"])
@pytest.mark.parametrize("at", range(len(PIECES)))
def test_a_single_piece_gives_its_own_value(result: ValType, at: int) -> None:
    line = StraightLine(FuncType(("i32",), (result,)))
    assert _run(line.last([PIECES[at]]), result) != _run(line.last([_changed(PIECES[at])]), result)


def test_what_leaves_as_it_is_needs_one_instruction() -> None:
    line = StraightLine(FuncType(("i32",), ("i32",)))
    assert line.last(PIECES[:1]) == b"\x00" + plain("i32.const", -(1 << 31)) + plain("i32.const", 5) + plain("i32.add") + b"\x0b"
