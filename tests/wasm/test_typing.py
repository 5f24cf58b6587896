"""The type of ref.func: funcref where a module needs nothing more, since an engine may lack typed function references."""

from __future__ import annotations

import pytest
import wasmtime

from diffcheck.wasm import module as wasm
from diffcheck.wasm.types import RefType
from diffcheck.wasm.typing import type_body

FUNCREF = RefType(nullable=True, heap="func")


def ref_func(text):
    """The type that ref.func has in function 0 of a module."""
    binary = wasmtime.wat2wasm(f"(module (elem declare func 0) {text})")
    module = wasm.read(binary)
    offset, size = module.bodies[0]
    (found,) = (
        each for each in type_body(module, 0, binary[offset : offset + size], offset).code if each.instruction.name == "ref.func"
    )
    return found.results[0]


def test_it_is_funcref_where_the_module_has_no_typed_references():
    assert ref_func("(table 2 funcref) (func (table.set (i32.const 0) (ref.func 0)))") == FUNCREF


@pytest.mark.parametrize(
    "text",
    [
        "(type $t (func)) (func (type $t) (call_ref $t (ref.func 0)))",
        "(type $t (func)) (table 2 (ref null $t)) (func (type $t) (table.set (i32.const 0) (ref.func 0)))",
        "(type $t (func)) (global (mut (ref null $t)) (ref.null $t)) (func (type $t) (global.set 0 (ref.func 0)))",
        "(type $t (func)) (func (type $t) (local (ref null $t)) (local.set 0 (ref.func 0)))",
        "(type $t (func)) (func (type $t) (drop (block (result (ref $t)) (ref.func 0))))",
        "(type $t (func)) (func (type $t) (drop (select (result (ref null $t)) (ref.func 0) (ref.null $t) (i32.const 0))))",
        "(type $t (func)) (func (type $t) (drop (ref.as_non_null (ref.func 0))))",
        "(type $s (struct (field (ref func)))) (type $t (func)) (func (type $t) (drop (struct.new $s (ref.func 0))))",
        "(type $t (func)) (func (type $t) (drop (ref.null $t)) (drop (ref.func 0)))",
    ],
)
def test_it_has_the_functions_type_where_something_may_need_it(text):
    found = ref_func(text)
    assert found == RefType(nullable=False, heap=found.heap)
    assert isinstance(found.heap, int)
