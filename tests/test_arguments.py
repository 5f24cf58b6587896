"""Arguments to try: boundary values, pointers, and what a runtime's exports are."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from diffcheck.cases.arguments import BOUNDARIES, BUFFER_BYTES, Addresses, boundaries, pointers, static_addresses
from diffcheck.cases.numeric_functions import NumericFunctions
from diffcheck.cases.registrations import Registration, can_register, registrations
from diffcheck.cases.runtime_exports import allocators, constructors, frees, is_plumbing, makes, minified_constructor
from diffcheck.observation import StubCall
from diffcheck.wasm import values
from diffcheck.wasm.module import Module, read
from diffcheck.wasm.types import FuncType
from diffcheck.wasm.values import Value, is_nan

UNARY = FuncType(("i32",), ("i32",))


def module(text: str) -> tuple[Module, bytes]:
    data = wasmtime.wat2wasm(f"(module {text})")
    return read(data), data


def bits(found: list[tuple[Value, ...]]) -> list[tuple[int, ...]]:
    return [tuple(each.bits for each in one) for one in found]


@pytest.mark.parametrize("type_", ["f32", "f64"])
def test_float_boundaries_have_both_zeros_a_nan_and_the_ends_of_the_range(type_: str) -> None:
    found = BOUNDARIES[type_]
    assert [str(value).removesuffix(".0") for value in found[:5]] == ["0", "-0", "1", "-1.5", "inf"]
    assert sum(map(is_nan, found)) == 1
    assert found[6].bits == 1
    assert found[7].bits == {"f32": 0x7F7FFFFF, "f64": 0x7FEFFFFFFFFFFFFF}[type_]
    assert len({value.bits for value in found}) == 8


def test_several_parameters_are_equal_first_and_vary_alone_then() -> None:
    found = bits(boundaries(FuncType(("i32", "i32")), 16))
    assert found[:3] == [(0, 0), (1, 1), (0xFFFFFFFF, 0xFFFFFFFF)]
    assert {(0, 1), (1, 0), (0x80000000, 1), (1, 0x7FFFFFFF)} <= set(found)


@given(st.lists(st.sampled_from(sorted(BOUNDARIES)), min_size=1, max_size=12))
def test_arguments_are_read_back_from_their_text(types: list[str]) -> None:
    found = boundaries(FuncType(tuple(types)), 16) + pointers(FuncType(tuple(types)), Addresses(4096, 16, 32, (64,)), 128)
    assert len(set(found[:16])) == len(found[:16])
    for row in found:
        assert tuple(values.parse(str(each), kind) for each, kind in zip(row, types, strict=True)) == row


def test_pointers_have_room_for_the_lengths_that_are_passed_with_them() -> None:
    addresses = Addresses(65536, 1024, 2048, (3000, 4000))
    for count in range(1, 9):
        for row in bits(pointers(FuncType(("i32",) * count), addresses)):
            assert len(row) == count
            assert all(each < 65536 + BUFFER_BYTES for each in row)
    assert (65536,) in bits(pointers(UNARY, addresses))
    assert (1024, 16) in bits(pointers(FuncType(("i32", "i32")), addresses))
    assert (65536 + 2 * 4096, 1024, 16) in bits(pointers(FuncType(("i32",) * 3), addresses))


def test_a_handle_is_the_first_argument_or_the_second_behind_a_place_for_the_result() -> None:
    found = bits(pointers(FuncType(("i32", "i32", "i32")), Addresses(65536, 1024), 7000))
    assert all(7000 in row[:2] for row in found)
    assert (7000, 1024, 16) in found
    assert any(row[:2] == (65536 + 2 * 4096, 7000) for row in found)


def test_text_is_found_in_the_data_and_the_buffer_in_the_middle_of_the_memory() -> None:
    found = static_addresses(
        *module('(memory 4) (data (i32.const 100) "\\00\\00a readable text, in the data\\00\\08\\00\\00\\00eightxxx")')
    )
    assert found == Addresses(2 * 65536, 102, 131)
    assert static_addresses(*module("(memory i64 4)")) == static_addresses(*module("")) == Addresses()


@pytest.mark.parametrize(
    "name",
    ["malloc", "cabi_realloc", "cabi_post_x", "__new", "stackAlloc", "setThrew", "memory.grow", "dynCall_vi", "emscripten_x"],
)
def test_plumbing_is_not_the_programs_own(name: str) -> None:
    assert is_plumbing(name, component=False)


@pytest.mark.parametrize(
    "name", ["freeze", "mallocate", "compute", "cabinet", "main", "free_list", "free", "__wbindgen_free", "fd_seek"]
)
def test_a_name_that_only_begins_like_plumbing_is_the_programs_own(name: str) -> None:
    assert not is_plumbing(name, component=False)


def test_the_adapters_of_a_fused_component_are_plumbing() -> None:
    assert [name for name in ("fd_seek", "7$1", "demo:math/ops@1.0.0#sign") if is_plumbing(name, component=True)] == [
        "fd_seek",
        "7$1",
    ]


def test_allocators_are_known_by_name_and_type_and_by_type_where_names_are_minified() -> None:
    functions = {
        "malloc": UNARY,
        "cabi_realloc": FuncType(("i32",) * 4, ("i32",)),
        "f": UNARY,
        "alloc": FuncType(("i64",), ("i32",)),
    }
    plain, _ = module("")
    assert list(allocators(plain, functions, 99)) == [("malloc", (99,)), ("cabi_realloc", (0, 0, 8, 99))]
    minified, _ = module('(import "a" "b" (func))')
    assert list(allocators(minified, {"f": UNARY, "g": FuncType()}, 99)) == [("f", (99,))]
    assert minified_constructor(minified, {"f": UNARY, "g": FuncType()}) == "g"
    assert minified_constructor(plain, {"g": FuncType()}) is None
    assert list(constructors({"__wbindgen_start": FuncType(), "__wasm_call_ctors": FuncType()})) == [
        "__wasm_call_ctors",
        "__wbindgen_start",
    ]


@pytest.mark.parametrize(
    ("name", "ends"), [("free", True), ("__wbg_point_free", True), ("hb_blob_destroy", True), ("freedom", False)]
)
def test_what_ends_objects_is_known_by_its_name(name: str, ends: bool) -> None:
    assert frees(name) == ends
    assert makes("point_new")


def test_functions_without_memory_and_table_have_numbers_as_parameters() -> None:
    of, _ = module("""
      (memory 1) (table 1 funcref) (type $t (func))
      (func $leaf (param i32) (result i32) local.get 0)
      (func $calls (param i32) (result i32) local.get 0 call $leaf)
      (func $loads (param i32) (result i32) local.get 0 i32.load)
      (func $calls_what_loads (param i32) (result i32) local.get 0 call $loads)
      (func $indirect (param i32) local.get 0 call_indirect (type $t))
      (func $fills (param i32) local.get 0 i32.const 0 i32.const 1 memory.fill)
    """)
    numeric = NumericFunctions(of)
    assert [at in numeric for at in range(6)] == [True, True, False, False, False, False]


REGISTERS = """
(import "a" "b" (func (param i32 i32 i32 i32 i32 i32)))
(memory 1) (table 3 funcref) (elem (i32.const 1) $invoker $other)
(data (i32.const 64) "iid\\00encode\\00vf\\00")
(func $invoker (param i32 f64) (result i32) i32.const 0) (func $other)
"""


def test_a_registration_is_known_by_its_signature_and_its_function_whatever_the_import_is_named() -> None:
    of, data = module(REGISTERS)
    assert can_register(of)

    def call(*args: int) -> StubCall:
        return StubCall("a.b", tuple(Value("i32", each) for each in args), b"")

    assert registrations(of, data, [call(68, 2, 4000, 64, 1, 7)]) == [Registration(1, 7, "encode")]
    assert registrations(of, data, [call(68, 2, 4000, 64, 2, 7), call(68, 2, 4000, 75, 1, 7), call(0, 0, 0, 0, 1, 0)]) == []
    assert not can_register(module("(table 1 funcref)")[0])
