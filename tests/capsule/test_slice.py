"""Slices: valid, with the same indices but for functions, and with bodies in which nothing moves."""

import random
from pathlib import Path

import pytest
import wasmtime

from diffcheck.capsule.slicing.slice_form import STUB_BODY, slice_module
from diffcheck.wasm import module as wasm
from diffcheck.wasm import section as ids
from diffcheck.wasm.code import all_instructions
from diffcheck.wasm.debug.names import function_names
from diffcheck.wasm.leb import padded, u

CORPUS = Path(__file__).parents[2] / "corpus"
ARTIFACTS = sorted(CORPUS.rglob("*.wasm"))
EVERYTHING = """
(module
  (import "a" "f" (func $f (param i32)))
  (type $binary (func (param i32 i32) (result i32)))
  (table $t 8 funcref (ref.func $one))
  (memory 1)
  (global $g (mut funcref) (ref.func $two))
  (global $h (ref func) (ref.func $three))
  (elem (i32.const 0) $one $two $three)
  (elem (table $t) (i32.const 3) funcref (ref.func $two) (ref.null func))
  (elem declare func $four)
  (elem $passive func $five $one)
  (start $three)
  (func $one (type $binary) local.get 0 local.get 1 i32.add)
  (func $two (type $binary) local.get 0 local.get 1 call $one)
  (func $three (call $f (i32.const 1)))
  (func $four (export "four") (type $binary) (return_call $two (local.get 0) (local.get 1)))
  (func $five (export "five") (result i32) (global.set $g (ref.func $four)) (call_indirect (type $binary) (i32.const 1) (i32.const 2) (i32.const 1)))
  (func (export "six") (type $binary) (call $four (local.get 1) (local.get 0))))
"""


def everything():
    return wasm.read(bytes(wasmtime.wat2wasm(EVERYTHING)))


def valid(data):
    config = wasmtime.Config()
    for name in ("wasm_memory64", "wasm_multi_memory", "wasm_function_references", "wasm_gc", "wasm_exceptions", "wasm_tail_call"):
        setattr(config, name, True)
    wasmtime.Module.validate(wasmtime.Engine(config), data)
    return True


def keeps(module, seed):
    rng = random.Random(seed)
    imported = module.n_imported("func")
    everyone = range(imported, imported + len(module.functions))
    share = rng.random()
    return {each for each in everyone if rng.random() < share}


@pytest.mark.parametrize("path", ARTIFACTS, ids=lambda path: path.stem)
def test_a_slice_of_a_real_module_is_valid_and_no_index_grows(path):
    module = wasm.read(path.read_bytes())
    for seed in range(3):
        keep = keeps(module, seed)
        made = slice_module(module, keep)
        assert valid(made.wasm)
        assert all(new <= old for old, new in enumerate(made.index))
        assert [each.name for each in made.module.exports] == [each.name for each in module.exports]
        assert {each for each in made.origins if each is not None} - set(range(module.n_imported("func"))) == keep
        assert len(made.stubs) == len(
            {module.all_functions[old] for old, new in enumerate(made.index) if new >= 0 and made.origins[new] is None}
        )


@pytest.mark.parametrize("path", ARTIFACTS[::6], ids=lambda path: path.stem)
def test_in_a_kept_body_no_instruction_moves(path):
    data = path.read_bytes()
    module = wasm.read(data)
    made = slice_module(module, keeps(module, 1))
    imported = module.n_imported("func")
    for new, (at, size) in enumerate(made.module.bodies, made.module.n_imported("func")):
        old = made.origins[new]
        if old is None:
            assert made.wasm[at : at + size] == STUB_BODY
            continue
        before, length = module.bodies[old - imported]
        ones = list(all_instructions(data, [(before, length)]))
        others = list(all_instructions(made.wasm, [(at, size)]))
        assert [(each.name, each.offset - before, each.end - before) for each in ones] == [
            (each.name, each.offset - at, each.end - at) for each in others
        ]
        for one, other in zip(ones, others, strict=True):
            indices = one.name in ("call", "return_call", "ref.func")
            assert other.immediates == ((made.index[one.immediates[0]],) if indices else one.immediates)


@pytest.mark.parametrize("seed", range(20))
def test_everything_that_names_a_function_is_renumbered(seed):
    module = everything()
    keep = keeps(module, seed)
    made = slice_module(module, keep)
    assert valid(made.wasm)

    def named(each):
        return [made.index[index] for index in each]

    assert [each.funcs for each in made.module.elements] == [tuple(named(each.funcs)) for each in module.elements]
    assert made.module.start == made.index[module.start]
    assert [each.index for each in made.module.exports] == named(each.index for each in module.exports)
    assert [each.type for each in made.module.globals] == [each.type for each in module.globals]
    for old, new in enumerate(made.index):
        if new < 0:
            assert (old, made.module.n_imported("func")) == (0, 0), "no kept function calls the import"
            continue
        assert made.module.all_functions[new] == module.all_functions[old]
        assert (new in made.stubs) == (old not in keep and old >= module.n_imported("func"))


def test_a_slice_with_all_functions_has_the_code_of_the_module():
    module = everything()
    made = slice_module(module, set(range(1, 7)))
    assert not made.stubs
    assert made.index == tuple(range(7))
    assert bytes(made.module.section(ids.CODE).payload) == bytes(module.section(ids.CODE).payload)


def test_names_are_those_of_the_functions_that_are_kept():
    made = slice_module(everything(), {2, 4})
    assert function_names(made.module) == {made.index[2]: "two", made.index[4]: "four"}


@pytest.mark.parametrize(
    ("number", "size", "encoded"), [(3, 1, b"\x03"), (3, 3, b"\x83\x80\x00"), (300, 1, u(300)), (0, 5, b"\x80\x80\x80\x80\x00")]
)
def test_an_index_is_padded_to_the_bytes_of_another(number, size, encoded):
    assert padded(number, size) == encoded


IMPORTS = """
(module
  (import "a" "unused" (func (param i64)))
  (import "a" "table" (table 3 4 funcref))
  (import "a" "used" (func $used (param i32)))
  (import "a" "memory" (memory 1 2))
  (import "a" "dropped" (func $dropped (param i32) (result i32)))
  (import "a" "global" (global $g (mut i64)))
  (import "a" "listed" (func $listed))
  (elem (i32.const 0) $listed)
  (func $kept (call $used (i32.const 1)) (global.set $g (i64.const 2)))
  (func $other (drop (call $dropped (i32.const 1)))))
"""


def test_imported_functions_that_the_slice_does_not_name_are_left_out():
    module = wasm.read(bytes(wasmtime.wat2wasm(IMPORTS)))
    made = slice_module(module, {4})
    assert valid(made.wasm)
    assert [each.name for each in made.module.imports] == ["table", "used", "memory", "global", "listed"]
    assert [each for each in made.module.imports if each.kind != "func"] == [each for each in module.imports if each.kind != "func"]
    assert made.index == (-1, 0, -1, 1, 2, 3)
    assert [made.original(each) for each in range(4)] == [1, 3, 4, 5]
    first = next(all_instructions(made.wasm, made.module.bodies[:1]))
    assert made.original_offset(2, first.offset) == next(all_instructions(module_bytes(), module.bodies[:1])).offset


def module_bytes():
    return bytes(wasmtime.wat2wasm(IMPORTS))
