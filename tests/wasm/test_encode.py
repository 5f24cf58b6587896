"""Encoding instructions: what was decoded gives the same bytes, and a changed immediate changes nothing else."""

from __future__ import annotations

import msgspec
import pytest
import wasmtime
from hypothesis import given, settings

from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import MemArg, instructions, read_locals
from diffcheck.wasm.encode import encode
from diffcheck.wasm.opcodes import OPS

from .generate import strategy
from .test_code import everything, expression
from .test_opcodes import FUNCTIONS, by_proposal, code_entries, context, module


def again(body: bytes, start: int = 0) -> bytes:
    return b"".join(encode(each, like=body[each.offset : each.end]) for each in instructions(body, start=start))


def test_every_instruction_gives_the_bytes_that_the_oracles_assembler_writes():
    body = expression(everything())
    for each in instructions(body):
        assert encode(each) == body[each.offset : each.end], each


@settings(max_examples=60, deadline=None)
@given(strategy())
def test_bodies_of_generated_modules_give_the_same_bytes(data):
    for offset, size in wasm.read(data).bodies:
        body = data[offset : offset + size]
        start = read_locals(body).end
        assert again(body, start) == body[start:]


@pytest.mark.parametrize(
    "raw",
    [
        "1080808000",  # call 0, padded as linkers leave it
        "41ff00",  # i32.const 127
        "41ffffffff7f",  # i32.const -1 in six bytes less one
        "2842008001",  # i32.load of memory 0 by index, with an offset
        "28828080800083808000",  # both integers padded
        "fd8b800000 00",  # a prefixed opcode, padded
        "1c016370",  # a nullable reference in its long form
        "0240",
    ],
)
def test_unusual_encodings_are_kept(raw):
    body = bytes.fromhex(raw)
    found = list(instructions(body))
    assert again(body) == body, found


def test_a_changed_immediate_leaves_the_others_bytes():
    body = bytes.fromhex("1183808080008280808000")  # call_indirect with padded type and table
    (found,) = instructions(body)
    changed = msgspec.structs.replace(found, immediates=(300, found.immediates[1]))
    assert encode(changed, like=body) == bytes.fromhex("11ac02") + body[6:]


def test_memory_indices_have_their_flag():
    (found,) = instructions(bytes.fromhex("280210"))
    moved = msgspec.structs.replace(found, immediates=(MemArg(2, 3, 16),))
    assert encode(moved) == bytes.fromhex("28420310")


@pytest.mark.parametrize("ops", by_proposal(op for op in OPS if not op.legacy))
def test_what_is_encoded_is_decoded_to_the_same(ops):
    for before, text, after in map(context, ops):
        _, entry = code_entries(wasmtime.wat2wasm(module(f"(func {before} {text} {after})")))[FUNCTIONS]
        body = entry[read_locals(entry).end :]
        for each in instructions(body):
            (seen,) = instructions(encode(each))
            assert (seen.name, seen.immediates) == (each.name, each.immediates)
