"""Which functions are called: declared rows and the default rules."""

from __future__ import annotations

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from diffcheck.capsule.driver import Call
from diffcheck.cases.rows import Rows, choose, declarable, signature
from diffcheck.errors import CaseError
from diffcheck.wasm.module import Module, custom, read, write
from diffcheck.wasm.types import FuncType, RefType
from diffcheck.wasm.values import Value


def module(*exports: str, more: str = "") -> Module:
    """A module of functions: each export is its name, and after a blank line its type in the text format."""
    functions = []
    for export in exports:
        name, _, type_ = export.partition("\n")
        quoted = "".join(f"\\{byte:02x}" for byte in name.encode())
        functions.append(f'(func (export "{quoted}") {type_} unreachable)')
    return read(wasmtime.wat2wasm(f"(module {' '.join(functions)} {more})"))


def names(rows: Rows) -> list[str]:
    return [row.name for row in rows.rows]


def bits(rows: Rows) -> list[tuple[int, ...]]:
    return [tuple(value.bits for value in row.args) for row in rows.rows]


def refusal(of: Module, row: str) -> CaseError:
    with pytest.raises(CaseError) as caught:
        choose(of, [row])
    return caught.value


# Declared rows


def test_a_row_has_its_functions_index_type_and_arguments() -> None:
    (row,) = choose(module("f", "parse\n(param i32 i64 f64) (result i32)"), ["parse=-1,0xffffffffffffffff,3.5"]).rows
    assert row == Call(
        "parse=-1,0xffffffffffffffff,3.5",
        1,
        FuncType(("i32", "i64", "f64"), ("i32",)),
        (Value("i32", 0xFFFFFFFF), Value("i64", (1 << 64) - 1), Value("f64", 0x400C000000000000)),
    )


def test_rows_keep_their_order_and_may_repeat() -> None:
    of = module("a", "b\n(param i32)")
    assert names(choose(of, ["b=1", "a", "b=1", "a="])) == ["b=1", "a", "b=1", "a="]


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        ("f32", "nan", 0x7FC00000),
        ("f32", "-nan:0x1", 0xFF800001),
        ("f64", "nan:0x4000000000001", 0x7FF4000000000001),
        ("f64", "-inf", 0xFFF0000000000000),
        ("f64", "-0", 0x8000000000000000),
        ("f64", "0x1p-1074", 1),
        ("v128", "0x0123456789abcdef0123456789abcdef", 0x0123456789ABCDEF0123456789ABCDEF),
        ("i32", "-2147483648", 0x80000000),
        ("i64", " 7 ", 7),
    ],
)
def test_arguments_are_typed_by_the_exports_parameters(type_: str, text: str, expected: int) -> None:
    assert bits(choose(module(f"f\n(param {type_})"), [f"f={text}"])) == [(expected,)]


@pytest.mark.parametrize(
    ("row", "index", "args"),
    [
        ("a", 0, ()),
        ("a=b", 1, ()),
        ("a=b=1", 2, ()),
        ("a=b=2", 1, (2,)),
        ("a=7", 0, (7,)),
        ("x,y=1", 3, (1,)),
        ("=", 4, ()),
        ("==5", 4, (5,)),
        ("=6", 5, (6,)),
    ],
)
def test_the_longest_export_name_wins(row: str, index: int, args: tuple[int, ...]) -> None:
    types = ["a\n", "a=b\n", "a=b=1\n", "x,y\n", "=\n", "\n"]
    of = module(*(name + ("(param i32)" if index == at and args else "") for at, name in enumerate(types)))
    (found,) = choose(of, [row]).rows
    assert (found.function, tuple(value.bits for value in found.args)) == (index, args)


def test_a_row_that_names_no_export_lists_the_nearest_with_their_types() -> None:
    of = module(
        "is_leap\n(param i32) (result i32)", "is_date\n(param i32 i32)", "__witness_row_reset", more='(memory (export "is_leep") 1)'
    )
    error = refusal(of, "is_leep=2024")
    assert str(error) == "row is_leep=2024 does not name an exported function"
    assert error.hint.startswith("did you mean: is_leap(i32) -> i32")
    assert "__witness" not in error.hint


def test_a_row_unlike_any_export_is_shown_some_exports() -> None:
    assert refusal(module("alpha"), "zzz").hint == "exports are: alpha()"
    assert refusal(module(more="(memory 1)"), "zzz").hint == "the artifact exports no function"


@pytest.mark.parametrize("row", ["f ->", "f -> ", "g=1 ->", "g=1 -> ", "(get) n ->", "init:f ->"])
def test_a_row_whose_arrow_has_no_result_is_an_error(row: str) -> None:
    of = module("f", "g\n(param i32)", more='(global (export "n") i32 (i32.const 1))')
    assert str(refusal(of, row)).endswith(" expects nothing")


@pytest.mark.parametrize("row", ["g=1->2", "g=1 ->2", "g=1-> 2"])
def test_a_row_whose_arrow_has_no_spaces_is_told_so(row: str) -> None:
    assert str(refusal(module("g\n(param i32)"), row)) == f"row {row} has an arrow without spaces"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("f=1", "row f=1 has 1 argument, f takes 2 arguments"),
        ("f", "row f has no argument, f takes 2 arguments"),
        ("f=1,2,3", "row f=1,2,3 has 3 arguments, f takes 2 arguments"),
        ("none=1", "row none=1 has 1 argument, none takes none"),
        ("f=1,x", "argument 2 of row f=1,x is 'x', but f expects f32"),
        ("f=4294967296,1", "argument 1 of row f=4294967296,1 is '4294967296', but f expects i32"),
        ("f=,1", "argument 1 of row f=,1 is '', but f expects i32"),
        ("f=1,1e39", "argument 2 of row f=1,1e39 is '1e39', but f expects f32"),
        ("d=1e400", "argument 1 of row d=1e400 is '1e400', but d expects f64"),
        ("d=1_0.5", "argument 1 of row d=1_0.5 is '1_0.5', but d expects f64"),
        ("d=\u0663", "argument 1 of row d=\u0663 is '\u0663', but d expects f64"),
        ("f=1_000,1", "argument 1 of row f=1_000,1 is '1_000', but f expects i32"),
        ("f=\u0663,1", "argument 1 of row f=\u0663,1 is '\u0663', but f expects i32"),
        ("f=0b1,1", "argument 1 of row f=0b1,1 is '0b1', but f expects i32"),
        ("=1", "row =1 has 1 argument, '' takes none"),
    ],
)
def test_wrong_arguments_are_told(row: str, said: str) -> None:
    error = refusal(module("f\n(param i32 f32)", "d\n(param f64)", "none", ""), row)
    assert (str(error), bool(error.hint)) == (said, True)


def test_a_reference_parameter_takes_only_null() -> None:
    of = module("f\n(param funcref i32)", "g\n(param i32 (ref func))", "h\n(param (ref null extern))")
    assert bits(choose(of, ["f=null,1", "h=null"])) == [(0, 1), (0,)]
    assert "argument 1 of row h=3 is '3', but h expects (ref null extern)" in str(refusal(of, "h=3"))
    error = refusal(of, "g=1,null")
    assert str(error) == "row g=1,null cannot be called: parameter 2 is a non-null reference"
    assert error.hint == "g(i32, (ref func))"


def test_hostile_names_and_arguments_are_shown_as_escapes() -> None:
    of = module("\x1b[31m\u202e\n(param i32)", "a\0b" * 400)
    for row in ("\x1b[31m\u202e=\x1b", "\x1b[3m\u202e", "\x1b" * 100_000, "\x1b[31m\u202e=" + "9" * 100_000, "a\0b=" * 9999):
        error = refusal(of, row)
        assert (str(error) + error.hint).isprintable()
        assert len(str(error) + error.hint) < 3000


@given(st.text(max_size=20))
def test_any_row_is_called_or_refused(row: str) -> None:
    of = module("f", "f=\n(param i32)", "\n(param f64)")
    try:
        rows = choose(of, [row]).rows
    except CaseError as error:
        assert error.hint
    else:
        assert [each.name for each in rows] == [row]


# Default rules


def test_run_rows_come_in_numeric_order_and_before_any_entry() -> None:
    of = module("run_row_10", "run_row_9", "_start", "run_row_x", "run_row_2", "run_row_3\n(param i32)", "other")
    assert names(choose(of)) == ["run_row_2", "run_row_9", "run_row_10", "run_row_x"]


def test_a_run_rows_number_may_be_of_any_length() -> None:
    of = module("run_row_" + "9" * 5000, "run_row_" + "0" * 5000 + "7", "run_row_\u0661")
    assert [len(name) for name in names(choose(of))] == [5009, 5008, 9]


@pytest.mark.parametrize(
    ("exports", "entry"),
    [
        (["main", "run", "_start", "wasi:cli/run@0.2.6#run"], "wasi:cli/run@0.2.6#run"),
        (["main", "run", "_start"], "_start"),
        (["main", "run", "other"], "run"),
        (["main", "_start\n(param i32)"], "main"),
        (["wasi:cli/run@0.2.6#run", "wasi:cli/run@0.2.6", "0"], "wasi:cli/run@0.2.6#run"),
    ],
)
def test_else_the_first_entry_without_parameters_is_the_only_row(exports: list[str], entry: str) -> None:
    assert names(choose(module(*exports))) == [entry]


def test_else_every_export_without_parameters_is_a_row_as_witness_has_it() -> None:
    of = module(
        "b",
        "a",
        "c\n(param i32)",
        "__witness_row_reset",
        "_initialize",
        "0",
        "d\n(result i32)",
        more='(global (export "g") i32 (i32.const 0))',
    )
    assert names(choose(of)) == ["b", "a", "0", "d"]


@pytest.mark.parametrize("mark", ["section", "export"])
def test_the_numbered_shims_of_a_fused_component_are_no_rows(mark: str) -> None:
    of = module("0", "1\n(param i32)", "1a", *(["demo:parser/check@1.0.0#all"] if mark == "export" else []))
    if mark == "section":
        of = read(write([*of.sections, custom("component-provenance", b"")]))
    assert [name for name in names(choose(of)) if name[0] in "01"] == ["1a"]


def test_the_start_function_and_initialize_come_first() -> None:
    of = module("f", "_initialize", more="(func $s) (start $s)")
    found = choose(of, ["f"])
    assert [(call.name, call.function, call.init) for call in found.calls] == [
        ("(start)", 2, True),
        ("_initialize", 1, True),
        ("f", 0, False),
    ]
    assert choose(module("f", "_initialize\n(param i32)")).init == ()
    assert choose(module("f", "_initialize\n(result i32)")).init == ()


def test_an_artifact_without_a_callable_export_says_what_to_do() -> None:
    scalar = choose(module("f\n(param i32)"))
    assert (scalar.rows, scalar.why_none) == ((), "no export without parameters; use --auto-rows or a case file")
    assert "case file" in choose(module("f\n(param v128)")).why_none
    assert choose(module("__witness_row_reset")).why_none == "the artifact exports no function"
    assert choose(module("f")).why_none == ""


# Rows of a table, and init rows


TABLE = """
(table 4 funcref) (elem (i32.const 1) $add $none) (elem (i32.const 3) func $f64)
(func $add (param i32 i32) (result i32) local.get 0) (func $none) (func $f64 (param f64))
"""


@pytest.mark.parametrize(
    ("row", "function", "args"), [("table[1]=2,-1", 0, (2, 0xFFFFFFFF)), ("table[2]", 1, ()), ("table[3]=1.5", 2, (0x3FF8 << 48,))]
)
def test_a_row_calls_the_function_in_a_slot_of_the_table(row: str, function: int, args: tuple[int, ...]) -> None:
    (call,) = choose(module(more=TABLE), [row]).rows
    assert (call.name, call.function, tuple(value.bits for value in call.args)) == (row, function, args)


@pytest.mark.parametrize("row", ["table[0]", "table[4]", "table[9999999999]", "table[x]", "table[]"])
def test_an_empty_slot_is_no_row(row: str) -> None:
    assert "does not name an exported function" in str(refusal(module("f", more=TABLE), row))


def test_a_slots_arguments_are_checked() -> None:
    assert str(refusal(module("f", more=TABLE), "table[1]=1")) == "row table[1]=1 has 1 argument, table[1] takes 2 arguments"


def test_an_export_named_like_a_slot_comes_first() -> None:
    (call,) = choose(module("table[1]", more=TABLE), ["table[1]"]).rows
    assert call.function == 0


def test_an_init_row_is_called_first_in_each_instance() -> None:
    found = choose(
        module("f", "malloc\n(param i32) (result i32)", more="(func $s) (start $s)"), ["f", "init:malloc=8", "init:malloc=8"]
    )
    assert [(call.name, call.function, call.init) for call in found.calls] == [
        ("(start)", 2, True),
        ("init:malloc=8", 1, True),
        ("init:malloc=8", 1, True),
        ("f", 0, False),
    ]
    assert declarable(found.calls) == ("init:malloc=8", "init:malloc=8", "f")
    assert choose(module("f", "init:f"), ["init:f"]).rows[0].function == 1
    assert "row g does not name" in str(refusal(module("f"), "init:g"))


def test_what_a_host_calls_first_is_an_init_row_of_the_default_rows() -> None:
    found = choose(module("f", "__wasm_call_ctors", "__wasm_apply_data_relocs"))
    assert names(found) == ["f"]
    assert [call.name for call in found.init] == ["init:__wasm_apply_data_relocs", "init:__wasm_call_ctors"]
    assert choose(module("_start", "__wasm_call_ctors")).init == ()
    assert names(choose(module("f", "_initialize", "__wasm_call_ctors"))) == ["f", "__wasm_call_ctors"]
    assert choose(module("f", "__wasm_call_ctors"), ["f"]).init == ()


def test_a_signature_reads_as_a_rows_author_would_write_it() -> None:
    assert (
        signature(FuncType(("i32", RefType(nullable=True, heap="func")), ("f64", RefType(nullable=False, heap=3))))
        == "(i32, (ref null func)) -> f64, (ref 3)"
    )


@pytest.mark.parametrize("row", ["new\nline", "new\\x0aline", "new\\x0aline=1"])
def test_a_row_is_taken_as_it_is_shown(row: str) -> None:
    of = read(wasmtime.wat2wasm(f'(module (func (export "new\\0aline") {"(param i32)" if row.endswith("=1") else ""}))'))
    (call,) = choose(of, [row]).rows
    assert (call.name, call.function) == (row, 0)


def test_the_export_with_the_empty_name_has_rows_that_can_be_named() -> None:
    of = read(wasmtime.wat2wasm('(module (func (export "")) (func (export "f")))'))
    assert names(choose(of)) == ["''", "f"]
    assert names(choose(of, ["''"])) == names(choose(of, [""])) == ["''"]
