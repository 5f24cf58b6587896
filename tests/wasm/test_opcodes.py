"""The table of instructions, held against wasmtime's own text format and validator."""

from __future__ import annotations

from functools import cache
from itertools import product

import pytest
import wasmtime

from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import instructions, read_locals
from diffcheck.wasm.leb import Reader
from diffcheck.wasm.opcodes import BY_NAME, BY_OPCODE, OPS, Op

from . import printed

FUNCTIONS = 3  # what MODULE defines before the function under test
MODULE = """
  (type $t (func)) (type $s (struct (field (mut i8)) (field (mut i32)))) (type $a (array (mut i8)))
  (memory $m0 {address} 1) (memory $m1 {address1} 1)
  (table $t0 {address} 9 funcref) (table $t1 {address1} 9 funcref)
  (global $g (mut i32) (i32.const 0)) (tag $e)
  (func $f) (func $f1) (func $f2)
  (data $d "abc") (elem $el func $f $f1) (elem declare func $f2)
"""
MARKER, MARKER_BYTES = "i64.const 0x5ca1ab1e", bytes.fromhex("429ed686e505")

SAMPLES = {
    "labelidx": "0",
    "funcidx": "$f2",
    "typeidx": "1",
    "tableidx": "1",
    "memidx": "1",
    "globalidx": "0",
    "localidx": "200",
    "tagidx": "0",
    "dataidx": "0",
    "elemidx": "1",
    "fieldidx": "1",
    "memarg": "1 offset=300 align=1",
    "lane": "1",
    "u32": "3",
    "i32": "-123456",
    "i64": "-0x123456789abcdef",
    "f32": "-1.5",
    "f64": "nan:0x4000000000001",
    "v128": "i64x2 1 -2",
    "shuffle": "0 1 2 3 4 5 6 7 31 30 29 28 27 26 25 24",
    "heaptype": "exn",
    "labels": "0 0 0 0",
    "atomic_order": "",
}
# What stands before the instruction, the instruction, and what stands after the marker that follows it.
CONTEXTS = {
    "block": ("", "block (result i32)", "end"),
    "loop": ("", "loop (param i32) (result i32 i32)", "end"),
    "if": ("", "if (result (ref null 1))", "end"),
    "else": ("if", "else", "end"),
    "end": ("block", "end", ""),
    "try_table": ("", "try_table (result v128) (catch $e 0) (catch_ref $e 0) (catch_all 0) (catch_all_ref 0)", "end"),
    "try": ("", "try", "catch_all end"),
    "catch": ("try", "catch $e", "end"),
    "catch_all": ("try", "catch_all", "end"),
    "rethrow": ("try catch_all", "rethrow 0", "end"),
    "delegate": ("try", "delegate 0", ""),
    "call_indirect": ("", "call_indirect $t1 (type $t)", ""),
    "return_call_indirect": ("", "return_call_indirect $t1 (type $t)", ""),
    "select_t": ("", "select (result (ref 1))", ""),
    "ref.test": ("", "ref.test (ref 1)", ""),
    "ref.test_null": ("", "ref.test (ref null i31)", ""),
    "ref.cast": ("", "ref.cast (ref i31)", ""),
    "ref.cast_null": ("", "ref.cast (ref null 1)", ""),
    "br_on_cast": ("", "br_on_cast 0 anyref (ref 1)", ""),
    "br_on_cast_fail": ("", "br_on_cast_fail 0 (ref null any) (ref null i31)", ""),
    "memory.init": ("", "memory.init $m1 $d", ""),
    "table.init": ("", "table.init $t1 $el", ""),
}


def context(op: Op) -> tuple[str, str, str]:
    """The text before, of and after one use of an instruction."""
    return CONTEXTS.get(op.name) or ("", " ".join([op.name, *(SAMPLES[kind] for kind in op.immediates)]), "")


def code_entries(binary: bytes) -> list[tuple[int, bytes]]:
    """The code entries of a module, each with its file offset."""
    reader = Reader(binary)
    reader.skip(8)
    while not reader.eof:
        section, inner = reader.u8(), reader.sub(reader.u32())
        if section == 10:
            sizes = (inner.u32() for _ in range(inner.u32()))
            return [(inner.offset, inner.bytes(size)) for size in sizes]
    return []


def module(function: str, address: str = "", address1: str = "") -> str:
    return f"(module {MODULE.format(address=address, address1=address1)} {function})"


@cache
def engine() -> wasmtime.Engine:
    config = wasmtime.Config()
    for name in dir(wasmtime.Config):
        if name.startswith("wasm_") and name[5:] in {
            "exceptions", "function_references", "gc", "memory64", "multi_memory", "relaxed_simd", "tail_call", "threads", "wide_arithmetic",
        }:  # fmt: skip
            setattr(config, name, True)
    return wasmtime.Engine(config)


def by_proposal(ops):
    """The instructions of each proposal, as the parameters of a test."""
    groups: dict[str, list[Op]] = {}
    for op in ops:
        groups.setdefault(op.proposal, []).append(op)
    return [pytest.param(group, id=name or "core") for name, group in groups.items()]


def is_valid(text: str) -> bool:
    try:
        wasmtime.Module.validate(engine(), wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError:
        return False
    return True


@pytest.mark.parametrize("ops", by_proposal(OPS))
def test_an_instruction_has_the_name_and_the_length_that_wasmtime_gives_it(ops):
    for op in ops:
        before, text, after = context(op)
        binary = wasmtime.wat2wasm(module(f"(func unreachable {before} {text} {MARKER} {after})"))
        _, body = code_entries(binary)[FUNCTIONS]
        found = list(instructions(body, start=read_locals(body).end))
        # Each word before the instruction is an instruction; each after it is one of one byte, as is the function's end.
        here = found[1 + len(before.split())]
        assert here.name == op.name
        assert here.end == len(body) - len(MARKER_BYTES) - len(after.split()) - 1, op.name
        assert body[here.end :].startswith(MARKER_BYTES), op.name
        assert body[here.offset :].startswith(op.encoding), op.name
        assert len(here.immediates) == len(op.immediates), op.name


def test_every_instruction_has_the_name_that_wasm_tools_prints():
    if printed.tool() is None:
        pytest.skip("wasm-tools is not on PATH")
    uses = "\n".join(f"{before} {text} {after}" for before, text, after in map(context, OPS))
    binary = wasmtime.wat2wasm(module(f"(func {uses})"))
    found = printed.decoded(wasm.read(binary), binary)
    assert found == printed.names(binary)
    assert {op.name for op in OPS} <= {name for body in found for name in body}


def typed() -> list[Op]:
    return [op for op in OPS if op.params is not None]


def function_of(op: Op, types: dict[str, str], *, results: str) -> str:
    """A function that passes its parameters to the instruction and returns what it gives."""
    params = " ".join(types.get(kind, kind) for kind in op.params)
    gets = " ".join(f"local.get {index}" for index in range(len(op.params)))
    immediates = " ".join("1" if kind in {"memidx", "tableidx"} else SAMPLES[kind] for kind in op.immediates)
    if op.immediates in {("memidx", "memidx"), ("tableidx", "tableidx")}:
        immediates = "0 1"
    if op.name in {"memory.init", "table.init"}:
        immediates = "1 0"
    if "memarg" in op.immediates:
        align = op.width if op.proposal == "threads" else 1
        immediates = immediates.replace("align=1", f"align={align}").replace("300", "304")
    return f"(func (param {params}) (result {results}) {gets} {op.name} {immediates})"


@pytest.mark.parametrize("ops", by_proposal(typed()))
def test_an_instruction_takes_and_gives_the_types_of_the_table(ops):
    for op, first, second in product(ops, ("i32", "i64"), ("i32", "i64")):
        shortest = "i32" if "i32" in (first, second) else "i64"
        # An instruction with one memory or table is tried on the second one.
        types = {"addr": first if "addr2" in op.params else second, "addr2": second, "addrmin": shortest}
        results = " ".join(types.get(kind, kind) for kind in op.results)
        function = function_of(op, types, results=results)
        assert is_valid(module(function, first, second)), function
        wrong = results + " i32" if results != "i32" else "i64"
        assert not is_valid(module(function_of(op, types, results=wrong), first, second))


# An atomic access has its natural alignment and no other, so those are tested with the types.
@pytest.mark.parametrize("op", [op for op in OPS if op.width and op.proposal != "threads"], ids=lambda op: op.name)
def test_the_natural_alignment_is_the_largest_that_is_valid(op):
    text = function_of(op, {"addr": "i32"}, results=" ".join(op.results))
    assert is_valid(module(text.replace("align=1", f"align={op.width}")))
    assert not is_valid(module(text.replace("align=1", f"align={op.width * 2}")))


def test_names_and_opcodes_are_unique():
    assert len(BY_NAME) == len(BY_OPCODE) == len(OPS)


def test_only_the_legacy_form_of_exception_handling_is_legacy():
    assert {op.name for op in OPS if op.legacy} == {"try", "catch", "catch_all", "rethrow", "delegate"}
