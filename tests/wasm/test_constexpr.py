from __future__ import annotations

import pytest

from diffcheck.errors import ArtifactError
from diffcheck.wasm.constexpr import Instr, read_constexpr, substitute_globals
from diffcheck.wasm.leb import Reader


@pytest.mark.parametrize(
    "code,name,immediates",
    [
        ("41 7f", "i32.const", (-1,)),
        ("42 8080808080808080807f", "i64.const", (-(1 << 63),)),
        ("43 0000a07f", "f32.const", (0x7FA00000,)),
        ("44 010000000000f47f", "f64.const", (0x7FF4000000000001,)),
        ("fd0c 000102030405060708090a0b0c0d0e0f", "v128.const", (bytes(range(16)),)),
        ("23 8001", "global.get", (128,)),
        ("d0 70", "ref.null", ("func",)),
        ("d0 05", "ref.null", (5,)),
        ("d2 03", "ref.func", (3,)),
        ("6a", "i32.add", ()),
        ("6b", "i32.sub", ()),
        ("6c", "i32.mul", ()),
        ("7c", "i64.add", ()),
        ("7d", "i64.sub", ()),
        ("7e", "i64.mul", ()),
        ("fb00 01", "struct.new", (1,)),
        ("fb01 01", "struct.new_default", (1,)),
        ("fb06 01", "array.new", (1,)),
        ("fb07 01", "array.new_default", (1,)),
        ("fb08 01 02", "array.new_fixed", (1, 2)),
        ("fb1a", "any.convert_extern", ()),
        ("fb1b", "extern.convert_any", ()),
        ("fb1c", "ref.i31", ()),
    ],
)
def test_every_constant_instruction_is_read(code: str, name: str, immediates: tuple[object, ...]) -> None:
    raw = bytes.fromhex(code)
    expr = read_constexpr(Reader(raw + b"\x0b\xff"))
    assert expr.raw == raw + b"\x0b"
    assert expr.instrs == (Instr(name, immediates, 0, len(raw)),)  # type: ignore[arg-type]


def test_an_end_byte_within_an_immediate_does_not_end_the_expression() -> None:
    raw = bytes.fromhex("410b 420b 6a 0b")
    assert read_constexpr(Reader(raw)).raw == raw


@pytest.mark.parametrize("code", ["01", "20 00", "fb02 00", "fd0d", "00", "fc00"])
def test_what_is_not_constant_is_an_error_with_its_offset(code: str) -> None:
    with pytest.raises(ArtifactError, match="not a constant instruction") as caught:
        read_constexpr(Reader(bytes.fromhex("4100" + code), 50))
    assert caught.value.offset == 52


@pytest.mark.parametrize("code", ["", "41", "4100", "44 00", "d0", "fb", "fb08 01"])
def test_an_expression_that_is_cut_off_is_an_error(code: str) -> None:
    with pytest.raises(ArtifactError):
        read_constexpr(Reader(bytes.fromhex(code)))


def test_global_reads_are_replaced_and_all_else_stays() -> None:
    raw = bytes.fromhex("4105 2380808000 6a 2302 6c 2301 6a 0b")
    new = substitute_globals(raw, {0: b"\x41\x07", 1: b""})
    assert new == bytes.fromhex("4105 4107 6a 2302 6c 6a 0b")


def test_nothing_to_replace_gives_the_same_bytes() -> None:
    raw = bytes.fromhex("2380808000 0b")
    assert substitute_globals(raw, {}) == raw
    assert substitute_globals(raw, {7: b"\x41\x00"}) == raw


def test_a_byte_that_only_looks_like_a_global_read_stays() -> None:
    raw = bytes.fromhex("4123 4100 6a 0b")
    assert substitute_globals(raw, {0x41: b"\x41\x00", 0: b""}) == raw
