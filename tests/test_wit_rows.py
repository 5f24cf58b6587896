"""Rows in WIT values: their notation, and that a core module gets and returns the values that the component does."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest

from diffcheck.backend import registry
from diffcheck.backend.contract import CallProgram, ExportCall, RunLimits
from diffcheck.cases import scripts
from diffcheck.cases.wit_rows.lifting import decoded, returned
from diffcheck.cases.wit_rows.wit_rows import is_wit, parse, plain, with_callers
from diffcheck.errors import CaseError
from diffcheck.observation import Returned
from diffcheck.wasm.component import asynchronous, has_other_strings
from diffcheck.wasm.wit import wave
from diffcheck.wasm.wit.types import WitFunction, WitType, option, result
from tests.components import ALLOCATOR, compiled, component, wat
from tests.wit_programs import SCALARS, SHAPES, World, draw_type, draw_value, identity

U8, STRING = WitType("u8"), WitType("string")
SOURCES = Path(__file__).parent / "component_sources"
STRINGS = """(component
  (core module $m (memory (export "memory") 1) (func (export "f") (param i32 i32))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8)))
  (core instance $i (instantiate $m))
  (func $f (param "a" string) (canon lift (core func $i "f") (memory (core memory $i "memory"))
    (realloc (core func $i "realloc")) string-encoding={}))
  (export "f" (func $f)))"""
ITEM = WitType("record", ("x", "y-z"), (U8, option(STRING)))
SHAPE = WitType("variant", ("none", "side"), (None, U8))
needs_tools = pytest.mark.skipif(scripts.converter() is None, reason="wasm-tools is not installed")


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (WitType("s8"), "-128", -128),
        (WitType("f32"), "-nan", 0x7FC0_0000),
        (WitType("f64"), "1e3", 0x408F_4000_0000_0000),
        (WitType("char"), r"'\u{1f600}'", "\U0001f600"),
        (STRING, r'"a\"\n\\"', 'a"\n\\'),
        (WitType("list", types=(U8,)), "[1, 2, // two\n 3,]", (1, 2, 3)),
        (ITEM, '{y-z: "a", x: 1}', (1, (1, "a"))),
        (ITEM, "{x: 1}", (1, (0, None))),
        (WitType("flags", ("r", "w")), "{w}", 2),
        (SHAPE, "%none", (0, None)),
        (SHAPE, "side(7)", (1, 7)),
        (option(U8), "7", (1, 7)),
        (option(option(U8)), "some(none)", (1, (0, None))),
        (result(None, STRING), 'err("no")', (1, "no")),
        (result(U8, None), "7", (0, 7)),
        (option(WitType("enum", ("some", "other"), (None, None))), "%some", (1, (0, None))),
    ],
)  # fmt: skip
def test_a_value_is_read_and_written_back(type_, text, value):
    assert wave.arguments(text, [type_]) == (value,)
    assert wave.arguments(wave.text(type_, value), [type_]) == (value,)


@pytest.mark.parametrize(
    ("type_", "text", "words"),
    [
        (U8, "256", "a number of type u8"),
        (U8, "1_000", "a number of type u8"),
        (WitType("u32"), "9" * 5000, "a number of type u32"),
        (U8, "1 2", "the end"),
        (WitType("char"), "'ab'", "`'`"),
        (WitType("char"), r"'\u{d800}'", "a character"),
        (STRING, '"a', "a character"),
        (ITEM, "{y-z: none}", "the field x"),
        (ITEM, "{x: 1, x: 2}", "at character 8 field x is there twice"),
        (ITEM, "{x: 1, z: 2}", "a field's name is expected, not 'z'$"),
        (ITEM, "{x: }", "a value of type u8 is missing between `:` and `}`"),
        (WitType("list", types=(U8,)), "[1, , 2]", "a value of type u8 is missing between `,` and `,`"),
        (U8, "", r"a value of type u8 is missing between `\(` and `\)`"),
        (WitType("tuple", types=(U8, STRING)), "(1)", r"`,` and a value of type string is expected, not '\)'$"),
        (U8, "none, 2, 3", "a number of type u8 is expected, not 'none'$"),
        (SHAPE, "side", r"`\(` and the value of side is expected, not the end"),
        (SHAPE, "side, 1", r"`\(` and the value of side is expected, not ','$"),
        (option(STRING), "some", r"`\(` and the value of some is expected"),
        (SHAPE, "other", "one of none, side"),
        (WitType("own"), "1", "cannot be written in a row"),
    ],
)
def test_a_mistake_is_reported_with_its_place(type_, text, words):
    with pytest.raises(CaseError, match=words):
        wave.arguments(text, [type_])


def test_a_value_that_is_nested_too_deeply_is_a_mistake():
    deep = U8
    for _ in range(200):
        deep = WitType("list", types=(deep,))
    with pytest.raises(CaseError, match="nested less deeply"):
        wave.arguments("[" * 200, [deep])


@pytest.mark.parametrize("row", ["f(1)", "a:b/c@1.0.0#f()", 'f("=") #2', "init:f(1)", "f(1) -> 3"])
def test_a_call_with_parentheses_is_a_row_in_wit_values(row):
    assert is_wit(row)
    assert plain(row).endswith(")")


@pytest.mark.parametrize("row", ["f({x: 1}", 'f("a -> 3', "f(", "f(1) 2"])
def test_a_row_that_does_not_end_with_a_parenthesis_is_a_mistake(row):
    with pytest.raises(CaseError, match=r"row f\(.* does not end with `\)`"):
        parse([row], {"f": WitFunction((U8,))})


def test_an_error_names_its_row_by_at_most_80_characters():
    long = f'f("{"a" * 70_000}")'
    function = WitFunction((STRING,))
    with pytest.raises(CaseError) as found:
        with_callers(wat(f'(module {ALLOCATOR} (func (export "f") (param i32 i32)))'), parse([long], {"f": function}))
    assert str(found.value) == f'row f("{"a" * 76}…: an argument of 70,000 bytes is too long'
    for rows in ([f"{long}2"], [f"{long[:-1]}, 2)"], [f"g{long}"]):
        with pytest.raises(CaseError) as found:
            parse(rows, {"f": function})
        assert len(str(found.value)) < 200


@pytest.mark.parametrize("row", ["f", "f=1,2", "f=(ref.extern 1)", "(get) g", "wasi:cli/run@0.2.0#run"])
def test_other_rows_are_not(row):
    assert not is_wit(row)


def test_a_function_of_an_interface_has_its_own_name_if_that_is_unique():
    functions = {"a:b/c#f": WitFunction((U8,)), "a:b/d#g": WitFunction(()), "a:b/e#g": WitFunction(()), "g-h": WitFunction(())}
    assert [each.export for each in parse(["f(1)", "a:b/d#g()", "g-h()", "f=1"], functions)] == ["a:b/c#f", "a:b/d#g", "g-h"]
    with pytest.raises(CaseError, match="names 2 functions of the component"):
        parse(["g()"], functions)
    with pytest.raises(CaseError, match="does not name an exported function"):
        parse(["other()"], functions)


def test_a_row_uses_the_memory_and_the_realloc_of_its_export(host):
    bodies = [
        f"(i32.store {at} (i32.const 8) (local.get 0)) (i32.store {at} (i32.const 12) (local.get 1)) (i32.const 8)" for at in (0, 1)
    ]
    reallocs = "".join(
        f'(global $n{at} (mut i32) (i32.const {1024 * (at + 1)})) (func (export "cabi_realloc{suffix}") (param i32 i32 i32 i32) (result i32)'
        f" (global.get $n{at}) (global.set $n{at} (i32.add (global.get $n{at}) (local.get 3))))"
        for at, suffix in enumerate(("", "$1"))
    )
    exports = "".join(f'(func (export "f{at}") (param i32 i32) (result i32) {body})' for at, body in enumerate(bodies))
    function = WitFunction((STRING,), STRING)
    rows = parse(['f0("first")', 'f1("second")', 'f0("")'], {"f0": function, "f1": function})
    called = with_callers(wat(f"(module (memory 1) (memory 1) {reallocs} {exports})"), rows)
    found = registry.create("wasmtime", {}).call(
        CallProgram(called, tuple(ExportCall(each.text) for each in rows)), RunLimits(), host
    )
    assert [decoded(STRING, each.results) for each in found.results] == ["first", "second", ""]


@needs_tools
def test_a_core_module_and_its_component_return_the_same_values(tmp_path, host):
    differing, count = values_that_differ(tmp_path, host, seed=7, signatures=len(SCALARS + SHAPES), values=3)
    assert (differing, count > 40) == ([], True)


@needs_tools
@pytest.mark.parametrize("language", ["c", "rs"])
def test_a_component_of_a_compiler_returns_what_its_core_module_does(tmp_path, host, language):
    module = compiled(tmp_path, SOURCES / f"stock.{language}")
    if module is None:
        pytest.skip("the compiler is not installed")
    source = component(tmp_path, (SOURCES / "stock.wit").read_text(), module).read_bytes()
    oracle = registry.create("wasmtime", {})
    functions = oracle.call(CallProgram(source), RunLimits(), host).functions
    wanted, found = both(oracle, host, source, module, parse(stock_rows(functions), functions))
    assert [each.outcome for each in wanted] == [Returned()] * len(wanted)
    assert wanted == found


def stock_rows(functions):
    """Ten rows of each function."""
    rng = Random(5)
    for name, function in functions.items():
        for _ in range(10):
            yield f"{name}({', '.join(wave.text(each, draw_value(rng, each)) for each in function.params)})"


def both(oracle, host, source, module, rows):
    """The outcomes and core results of rows in the component and in its core module."""
    wanted = oracle.call(CallProgram(source, tuple(ExportCall(each.export, each.args) for each in rows)), RunLimits(), host)
    called = with_callers(module, rows)
    found = oracle.call(CallProgram(called, tuple(ExportCall(each.text) for each in rows)), RunLimits(), host)
    lowered = [
        msgspec.structs.replace(each, results=returned(row.function.result, each.results[0]))
        for row, each in zip(rows, wanted.results, strict=True)
    ]
    return lowered, [msgspec.structs.replace(each, results=tuple(each.results)) for each in found.results]


@needs_tools
@pytest.mark.parametrize("encoding", ["utf8", "utf16", "latin1+utf16"])
def test_a_component_whose_strings_are_not_utf_8_is_recognised(encoding):
    assert has_other_strings(wat(STRINGS.format(encoding))) == (encoding != "utf8")
    assert not asynchronous(wat(STRINGS.format(encoding)))


@needs_tools
@pytest.mark.whole
@pytest.mark.parametrize("seed", range(4))
def test_many_signatures(tmp_path, host, seed):
    assert values_that_differ(tmp_path, host, seed=seed, signatures=60, values=10)[0] == []


def values_that_differ(folder, host, *, seed, signatures, values):
    """The rows whose results differ between a component of functions that return their argument and its core module, and the number
    of rows. Each type is the root of some signature.
    """
    rng, world, core, texts = Random(seed), World(), [], []
    for at in range(signatures):
        type_ = draw_type(rng, (SCALARS + SHAPES)[at % len(SCALARS + SHAPES)])
        world.export(f"same{at}", WitFunction((type_,), type_))
        core.append(identity(f"same{at}", type_))
        texts += [f"same{at}({wave.text(type_, draw_value(rng, type_))})" for _ in range(values)]
    allocator = ALLOCATOR.replace('(func (export "cabi_realloc")', '(func $realloc (export "cabi_realloc")')
    module = wat(f"(module {allocator} {' '.join(core)})")
    source = component(folder, "\n".join(world.lines), module).read_bytes()
    oracle = registry.create("wasmtime", {})
    rows = parse(texts, oracle.call(CallProgram(source), RunLimits(), host).functions)
    differing = []
    for row, of_component, of_module in zip(rows, *both(oracle, host, source, module, rows), strict=True):
        type_, bits = row.function.result, of_module.results
        same = of_component == of_module and bits == returned(type_, row.args[0])
        if not same or (bits[0] < 200 and wave.text(type_, decoded(type_, bits)) != wave.text(type_, row.args[0])):
            differing.append((row.text, of_component, of_module))
    return differing, len(rows)
