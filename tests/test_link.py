"""Several modules merged into one."""

from __future__ import annotations

from typing import Any

import pytest
import wasmtime

from diffcheck.cases.link import INSTANTIATE, LinkedModule, link
from diffcheck.errors import ArtifactError

FIRST = """(module
  (type (func (param i64))) (tag (export "x") (param i32)) (memory (export "m") 1) (table (export "t") 4 funcref)
  (global (export "g") (mut i32) (i32.const 1)) (global (export "c") i32 (i32.const 3)) (data (i32.const 1) "ab")
  (func $load (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "throw") (throw 0 (i32.const 5))) (elem (i32.const 0) $one) (func $one (result i32) (i32.const 1)))"""
SECOND = """(module
  (type $r (func (result i32))) (import "A" "c" (global $c i32)) (import "A" "load" (func $load (param i32) (result i32)))
  (import "A" "t" (table 2 funcref)) (import "A" "m" (memory 1)) (import "A" "g" (global $g (mut i32)))
  (import "A" "x" (tag $x (param i32))) (import "A" "throw" (func $throw)) (memory $own 1)
  (global $d i32 (global.get $c)) (data (i32.const 1) "z") (data (memory $own) (offset (global.get $c)) "q") (elem (i32.const 1) $two)
  (func $two (result i32) (i32.const 2)) (func $start (global.set $g (i32.const 9))) (start $start)
  (func (export "call") (param i32) (result i32) (call_indirect (type $r) (local.get 0)))
  (func (export "own") (result i32) (i32.load8_u $own (i32.const 3))) (func (export "d") (result i32) (global.get $d))
  (func (export "catch") (result i32) (block $b (result i32) (try_table (catch $x $b) (call $throw)) (i32.const 0)))
  (func (export "load") (param i32) (result i32) (call $load (local.get 0))) (export "again" (memory 0)))"""


def modules(*texts: str, cut: bool = False) -> list[LinkedModule]:
    """The modules of texts, each of which may import from earlier ones by the letters A, B, ...; the last has no prefix."""
    names = [chr(ord("A") + at) for at in range(len(texts))]
    sources = {name: at for at, name in enumerate(names)}
    return [
        LinkedModule(
            bytes(wasmtime.wat2wasm(text)), "" if at == len(texts) - 1 else names[at], {each: to for each, to in sources.items() if to < at},
            deferred=True, cut=cut and 0 < at < len(texts) - 1,
        )
        for at, text in enumerate(texts)
    ]  # fmt: skip


def instance(wasm: bytes) -> Any:
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, wasm), []).exports(store)
    return lambda name, *args: exports[name](store, *args)


def test_functions_memories_tables_globals_and_tags_are_shared() -> None:
    call = instance(link(modules(FIRST, SECOND)))
    call(f"A:{INSTANTIATE}")
    assert (call("A:load", 1), call("load", 2)) == (ord("a"), ord("b"))
    call(INSTANTIATE)
    assert (call("A:load", 1), call("own"), call("d"), call("catch")) == (ord("z"), ord("q"), 3, 5)
    assert [call("call", each) for each in (0, 1)] == [1, 2]


def test_the_start_function_may_instantiate_all() -> None:
    call = instance(link(modules(FIRST, SECOND), at_start=True))
    assert (call("A:load", 1), call("load", 2), call("own")) == (ord("z"), ord("b"), ord("q"))


def test_segments_are_dropped_once_they_are_initialised() -> None:
    second = '(module (memory (import "A" "m") 1) (data $d (i32.const 1) "z") (func (export "f") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))))'
    call = instance(link(modules(FIRST, second), at_start=True))
    with pytest.raises(wasmtime.Trap, match="out of bounds"):
        call("f")


def test_an_instantiation_that_traps_leaves_what_it_did_before() -> None:
    traps = """(module (memory (import "A" "m") 1) (table (import "A" "t") 4 funcref) (func $f (result i32) (i32.const 8))
      (elem (i32.const 3) $f) (data (i32.const 1) "y") (data (i32.const 65536) "y") (data (i32.const 2) "y")
      (func $s unreachable) (start $s))"""
    call = instance(link(modules(FIRST, traps, SECOND, cut=True)))
    for step in ("A:", "B:"):
        call(step + INSTANTIATE)
    assert (call("A:load", 1), call("A:load", 2), call("call", 3)) == (ord("y"), ord("b"), 8)


def test_imports_that_no_module_provides_stay_imports() -> None:
    wasm = link(
        modules(
            FIRST,
            '(module (import "A" "c" (func)) (import "Z" "f" (func $f (param f64))) (func (export "g") (call $f (f64.const 1))))',
        )
    )
    assert [(each.module, each.name) for each in wasmtime.Module(wasmtime.Engine(), wasm).imports] == [("A", "c"), ("Z", "f")]


def test_recursive_types_keep_their_identity() -> None:
    types = "(rec (type $a (sub (struct (field (ref null $b))))) (type $b (sub $a (struct (field (ref null $b)) (field i32)))))"
    first = f'(module {types} (func (export "make") (result (ref null $a)) (struct.new $b (ref.null $b) (i32.const 4))))'
    second = f"""(module (type (func)) {types} (import "A" "make" (func $make (result (ref null $a))))
      (func (export "get") (result i32) (struct.get $b 1 (ref.cast (ref $b) (call $make)))))"""
    assert instance(link(modules(first, second)))("get") == 4


def test_modules_that_cannot_be_merged_are_an_error() -> None:
    clash = [LinkedModule(bytes(wasmtime.wat2wasm('(module (func (export "f")))'))) for _ in range(2)]
    with pytest.raises(ArtifactError, match="export the same name"):
        link(clash)
    invalid = bytes.fromhex("0061736d01000000 01040160000003020100 0a06010400 1005 0b".replace(" ", ""))
    for prefix, name in (("", "the artifact"), ("lib", "the linked module lib")):
        with pytest.raises(ArtifactError, match=f"{name} is invalid: it uses func 5"):
            link([LinkedModule(invalid, prefix)])
