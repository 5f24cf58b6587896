"""Decoding and rewriting of function bodies."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from diffcheck.errors import ArtifactError
from diffcheck.wasm.code import CatchClause, MemArg, has_any, instructions, read_locals, reindex
from diffcheck.wasm.leb import u
from diffcheck.wasm.opcodes import OPS
from diffcheck.wasm.types import RefType

from .test_opcodes import FUNCTIONS, MARKER, code_entries, context, module

CALLERS = {"call", "return_call", "ref.func"}


def expression(text: str) -> bytes:
    """The expression of a function of module's, as wasmtime encodes it."""
    _, body = code_entries(wasmtime.wat2wasm(module(f"(func {text})")))[FUNCTIONS]
    return body[read_locals(body).end :]


def everything() -> str:
    """Text that uses every instruction."""
    uses = (context(op) for op in OPS)
    return "\n".join(f"{before} {text} {MARKER} {after}" for before, text, after in uses)


def decoded(body: bytes) -> list[tuple[str, tuple[object, ...]]]:
    return [(each.name, each.immediates) for each in instructions(body)]


def test_offsets_are_the_files_and_follow_each_other():
    offset, body = code_entries(wasmtime.wat2wasm(module("(func (local i32 i32 f64) local.get 1 drop)")))[FUNCTIONS]
    declared = read_locals(body, offset)
    assert declared.groups == ((2, "i32"), (1, "f64"))
    found = list(instructions(body, offset, start=declared.end))
    assert [each.name for each in found] == ["local.get", "drop", "end"]
    assert [each.offset for each in found] == [offset + declared.end, *(each.end for each in found[:-1])]
    assert found[-1].end == offset + len(body)


@pytest.mark.parametrize(
    "text, immediates",
    [
        ("i32.const -2147483648", (-(2**31),)),
        ("i64.const 64", (64,)),
        ("i64.const -64", (-64,)),
        ("f32.const -nan:0x200000", (0xFFA00000,)),
        ("f64.const 1", (0x3FF0000000000000,)),
        ("v128.const i64x2 1 -1", (1 | (2**64 - 1) << 64,)),
        ("i64.load $m1 offset=300 align=2", (MemArg(1, 1, 300),)),
        ("i64.load offset=3", (MemArg(3, 0, 3),)),
        ("v128.load8_lane $m1 offset=5 7", (MemArg(0, 1, 5), 7)),
        ("br_table 0 0 0", ((0, 0, 0),)),
        ("call_indirect $t1 (type $a)", (2, 1)),
        ("select (result (ref null $s))", ((RefType(nullable=True, heap=1),),)),
        ("br_on_cast 0 anyref (ref $s)", (1, 0, "any", 1)),
        ("ref.null extern", ("extern",)),
        ("memory.copy $m1 $m0", (1, 0)),
    ],
)
def test_immediates_are_read(text, immediates):
    assert decoded(expression(text))[0][1] == immediates


@pytest.mark.parametrize(
    "text, kind",
    [("", None), ("(result i64)", "i64"), ("(result funcref)", RefType(nullable=True, heap="func")), ("(param i32)", 3)],
)
def test_block_types_are_read(text, kind):
    assert decoded(expression(f"block {text} end"))[0] == ("block", (kind,))


def test_the_clauses_of_a_try_table_are_read():
    found = decoded(expression("block try_table (catch $e 0) (catch_all_ref 1) end end"))
    assert found[1] == ("try_table", (None, (CatchClause("catch", 0, 0), CatchClause("catch_all_ref", None, 1))))


@pytest.mark.parametrize("code, shown", [(b"\x27", "0x27"), (b"\xfd\x9a\x01", "0xfd 0x9a"), (b"\xfb\x7f", "0xfb 0x7f")])
@pytest.mark.parametrize("read", [lambda *a: list(instructions(*a)), lambda body, base: reindex(body, base_offset=base)])
def test_an_unknown_opcode_is_named_with_its_offset(code, shown, read):
    with pytest.raises(ArtifactError, match=f"unknown opcode {shown} ") as caught:
        read(b"\x01\x01" + code, 0x1000)
    assert caught.value.offset == 0x1002


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.whole)])
def test_a_body_cut_anywhere_ends_with_an_instruction_or_an_error(step):
    body = expression(everything())
    ends = {each.end for each in instructions(body)}
    for size in range(1, len(body), step):
        cut = body[:size]
        if size in ends:
            assert list(instructions(cut))[-1].end == size
            assert reindex(cut, funcs=lambda index: index) == cut
        else:
            with pytest.raises(ArtifactError):
                list(instructions(cut))
            with pytest.raises(ArtifactError):
                reindex(cut, funcs=lambda index: index)


@given(st.binary(max_size=40))
def test_arbitrary_bytes_are_read_the_same_way_by_both_or_refused(body):
    try:
        found = decoded(body)
    except ArtifactError:
        found = None
    try:
        assert reindex(body, funcs=lambda index: index) == body
        moved = reindex(body, funcs=lambda index: index + 1)
    except ArtifactError:
        # A run of other instructions is passed over without looking at the size of its integers.
        assert found is None
        return
    if found is not None:
        assert decoded(moved) == [(name, (seen[0] + 1,) if name in CALLERS else seen) for name, seen in found]


@given(
    st.lists(st.sampled_from([op for op in OPS if op.name not in {"end", "else"}]), min_size=1, max_size=8), st.sampled_from(OPS)
)
def test_an_instruction_is_found_where_there_is_one(ops, wanted):
    body = expression("\n".join(f"{before} {text} {after}" for before, text, after in map(context, ops)))
    for name in (wanted.name, ops[-1].name):
        assert has_any(body, frozenset({name})) == any(each.name == name for each in instructions(body))


@given(st.lists(st.sampled_from([op for op in OPS if op.name not in {"end", "else"}]), min_size=1, max_size=8))
def test_the_same_indices_give_the_same_bytes(ops):
    body = expression("\n".join(f"{before} {text} {after}" for before, text, after in map(context, ops)))
    same = dict.fromkeys(("funcs", "tables", "globals", "elems", "datas"), lambda index: index)
    assert reindex(body, **same) == reindex(body) == body


@pytest.mark.parametrize("start", [0, 3])
def test_function_indices_move_past_every_instruction_and_nothing_else_does(start):
    body = expression(everything())
    moved = reindex(b"\x10\x01\x10"[:start] + body, start=start, funcs=lambda index: index + 1000)
    assert moved[:start] == b"\x10\x01\x10"[:start]
    expected = [(name, (seen[0] + 1000,) if name in CALLERS else seen) for name, seen in decoded(body)]
    assert decoded(moved[start:]) == expected
    back = reindex(moved[start:], funcs=lambda index: index - 1000)
    assert decoded(back) == decoded(body)
    assert len(back) == len(moved[start:])


@pytest.mark.parametrize(
    "space, before, after",
    [
        ("tables", "table.copy $t1 $t0 call_indirect $t1 (type $t)", b"\xfc\x0e\x06\x05\x11\x00\x06"),
        ("globals", "global.get $g global.set $g", b"\x23\x05\x24\x05"),
        ("elems", "table.init $t1 $el elem.drop $el", b"\xfc\x0c\x05\x01\xfc\x0d\x05"),
        ("datas", "memory.init $m1 $d data.drop $d", b"\xfc\x08\x05\x01\xfc\x09\x05"),
        ("funcs", "call $f1 return_call $f1 ref.func $f1", b"\x10\x06\x12\x06\xd2\x06"),
    ],
)
def test_each_index_space_is_mapped(space, before, after):
    assert reindex(expression(before), **{space: lambda index: index + 5}) == after + b"\x0b"


def test_an_index_keeps_its_number_of_bytes_where_it_fits():
    padded = b"\x10\x81\x80\x80\x80\x00" + b"\x10\x82\x80\x80\x80\x00" + b"\x0b"
    assert reindex(padded, funcs=lambda index: 7 if index == 2 else index) == padded[:6] + b"\x10\x87\x80\x80\x80\x00\x0b"
    assert reindex(b"\x10\x02\x0b", funcs=lambda _: 300) == b"\x10\xac\x02\x0b"


def test_bytes_of_a_constant_are_not_taken_for_a_call():
    body = b"\x43\x10\x01\x10\x01" + b"\xfd\x0c" + b"\x10\x01" * 8 + b"\x41\x90\x02" + b"\x0b"
    assert reindex(body, funcs=lambda index: index + 1) == body


def test_a_table_of_branches_is_passed_over():
    body = b"\x0e\x02\x10\x10\x10" + b"\x10\x01" + b"\x0b"
    assert reindex(body, funcs=lambda index: index + 1) == body[:5] + b"\x10\x02\x0b"


def test_a_transports_function_goes_in_front_of_all_others():
    text = '(module {} (func $f (result i32) i32.const 41) (func (export "go") (result i32) call $f i32.const 1 i32.add))'
    plain = wasmtime.wat2wasm(text.format(""))
    shifted = wasmtime.wat2wasm(text.format('(import "a" "b" (func))'))
    for (_, body), (_, wanted) in zip(code_entries(plain), code_entries(shifted), strict=True):
        assert reindex(body, start=read_locals(body).end, funcs=lambda index: index + 1) == wanted


def test_a_long_body_is_passed_over_in_one_run():
    nops = b"\x01" * 1_000_000 + b"\x0b"
    assert reindex(nops, funcs=lambda index: index + 1) == nops
    assert u(0) + nops == reindex(u(0) + nops, start=1)
