"""The module that shows a divergence by itself: it has no imports, makes the calls from within, and says what came out in counters."""

from __future__ import annotations

import wasmtime

from diffcheck.triage.reduce.symptom import Symptom
from diffcheck.triage.writeup.standalone import standalone

PROGRAM = """
(module
  (import "env" "log" (func $log (param i32)))
  (import "env" "memory" (memory 1))
  (import "env" "base" (global $base i32))
  (func (export "f") (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (call $log (local.get 0))))
    (i32.add (i32.load (i32.const 8)) (i32.add (global.get $base) (local.get 0))))
  (func (export "_start")))
"""


def test_imports_are_closed_and_results_stand_in_counters() -> None:
    symptom = Symptom("0" * 12, "capsule", "result", "f=41", "result 0", "41", "42")
    made = standalone(bytes(wasmtime.wat2wasm(PROGRAM)), ("f=41",), symptom)
    assert made.closed == ("env.log", "env.memory", "env.base")
    store = wasmtime.Store()
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, made.wasm), []).exports(store)
    exports["_start"](store)
    assert [each.what for each in made.shown] == ["result 0 of f=41 (i32)"]
    assert exports["__witness_counter_0"].value(store) == 41
    assert exports["observed"](store) == 41
