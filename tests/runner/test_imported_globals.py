"""An imported mutable global is state that the host sees: it is compared as an exported one is."""

from __future__ import annotations

import pytest

from diffcheck.cases.discovery import Case
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import case_run as cases
from diffcheck.runner import planning
from diffcheck.runner.request import Request
from diffcheck_backends import wasmtime

PROGRAM = """(module (import "host" "level" (global $level (mut i32))) (import "host" "limit" (global i32))
  (global (export "own") (mut i32) (i32.const 7))
  (func (export "run_row_0") (global.set $level (i32.const 41))))"""
FAULT = Fault("another value", "global.set", Expected(), edit=lambda wasm: wasm.replace(b"\x41\x29\x24", b"\x41\x2a\x24"))


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("fault", [None, FAULT])
def test_a_wrong_value_in_an_imported_global_diverges(host, tmp_path, fault, words):
    path = tmp_path / "case.wat"
    path.write_text(PROGRAM)
    oracle, inner = wasmtime.create(None, {}), wasmtime.create(None, {})
    subject = FaultyBackend(inner, fault, words=words)
    asked = Request((), mode="capsule")
    plan = planning.make(Case("case", str(path)), asked, oracle, oracle, subject, host)
    try:
        report = cases.run(plan, 100, oracle, subject, host, "faulty", asked)
    finally:
        oracle.close()
        inner.close()
    differences = [(each.where.item, each.oracle, each.subject) for each in report.passes[0].divergences]
    assert differences == ([("global host level (imported, 0)", "41", "42")] if fault else [])
    assert not report.vacuous
