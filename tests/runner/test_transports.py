"""Every way in which an engine may carry a capsule's stream: no difference is the tool's own."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import msgspec
import pytest
from wasmtime import wat2wasm

import diffcheck
from diffcheck.cases.discovery import discover, item_at, load_case
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.observation import Trapped
from diffcheck.probe import engine_check
from diffcheck.runner import case_run as runner
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.planning import make
from diffcheck.runner.request import Request
from diffcheck_backends import wasi, wasmtime
from tests.doubles.altered_engine import Altered, carried_as

CORPUS = Path(__file__).parents[2] / "corpus"
CASES = ("exit_code", "exceptions", "table_traps", "growth")
WAYS = tuple(product(("memory", "words", "print"), (True, False), (True, False)))
"""Transport, state at a trap, exceptions."""
IN_SHORT = [way for way in WAYS if way[0] != "print" or way[1] == way[2]]


def observed(oracle, subject, host, item):
    """The report of a case."""
    request = Request(())
    plan = make(load_case(item), request, oracle, oracle, subject, host)
    return runner.run(plan, request.max_passes, oracle, subject, host, "altered")


def verdicts(oracle, subject, host, items):
    """The cases' ids with verdict and reason, but for those with the expected verdict."""
    reports = {item.id: observed(oracle, subject, host, item) for item in items}
    return {name: (report.verdict, report.reason) for name, report in reports.items() if not report.as_expected}


@pytest.fixture
def engines(request, standin_wasi):
    """Wasmtime as it is, and one that differs from it only in what it can carry."""
    transport, state, exceptions = request.param
    oracle = wasmtime.create(None, {})
    inner = wasi.create(str(standin_wasi(*(["--after-trap"] if state else []))), {}) if transport == "print" else oracle
    subject = Altered(
        inner, carried_as(transport, state_at_trap=state), transport=transport, state_at_trap=state, exceptions=exceptions
    )
    yield oracle, subject
    oracle.close()


@pytest.mark.parametrize("engines", IN_SHORT, indirect=True)
def test_an_engine_that_differs_only_in_what_it_carries_agrees(engines, host):
    items = [each for each in discover([CORPUS]).items if each.id.rpartition("/")[2] in CASES]
    assert len(items) == len(CASES)
    assert verdicts(*engines, host, items) == {}


@pytest.mark.whole
@pytest.mark.parametrize("engines", WAYS, indirect=True)
def test_the_whole_corpus_has_its_expected_verdicts_however_it_is_carried(engines, host):
    assert verdicts(*engines, host, discover([CORPUS]).items) == {}


@pytest.mark.parametrize("exceptions", [True, False])
def test_a_printing_engine_that_carries_nothing_after_a_trap_does_not_diverge_by_an_exit(host, standin_wasi, exceptions):
    oracle, inner = wasmtime.create(None, {}), wasi.create(str(standin_wasi()), {})

    def drop(_, execution):
        return msgspec.structs.replace(execution, carried=b"") if isinstance(execution.outcome, Trapped) else execution

    subject = Altered(inner, drop, exceptions=exceptions, gc=False)
    items = [each for each in discover([CORPUS]).items if each.id.rpartition("/")[2] in ("calculator", "exit_code", "wasi_tour")]
    assert len(items) == 3
    reports = [observed(oracle, subject, host, each) for each in items]
    oracle.close()
    assert [each.verdict for each in reports] == ["agree"] * 3
    if not exceptions:
        assert any("the code of an exit" in words for each in reports for words in each.passes[0].agreement.not_compared)


def test_a_printing_engine_that_traps_before_an_exit_diverges(host, tmp_path, standin_wasi):
    path = tmp_path / "exit.wasm"
    path.write_bytes(bytes(wat2wasm(EXIT)))
    fault = Fault("", "", Expected(), edit=lambda wasm: wasm.replace(b"\x41\xab\x02\x1a", b"\x00\x01\x01\x01"))
    oracle, inner = wasmtime.create(None, {}), wasi.create(str(standin_wasi()), {})
    verdicts = []
    for planted in (None, fault):
        subject = FaultyBackend(Altered(inner, lambda _, each: each, exceptions=False, gc=False), planted, words=False)
        verdicts.append(observed(oracle, subject, host, item_at(path)).verdict)
    oracle.close()
    assert verdicts == ["agree", "diverge"]


EXIT = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (func (export "run") (drop (i32.const 299)) (call $exit (i32.const 3))))"""
PROPOSALS = {
    "an exported global": '(module (global (export "g") (ref i31) (ref.i31 (i32.const 1041))) (func (export "run")))',
    "an imported global": """(module (import "host" "g" (global $g (mut i31ref)))
      (func (export "run") (global.set $g (ref.i31 (i32.const 1041)))))""",
    "an import's argument": """(module (import "host" "f" (func $f (param i31ref)))
      (func (export "run") (call $f (ref.i31 (i32.const 1041)))))""",
    "a result": '(module (func (export "run") (result (ref null i31)) (ref.i31 (i32.const 1041))))',
    "an external reference": """(module (func (export "run") (result externref)
      (extern.convert_any (ref.i31 (i32.const 1041)))))""",
    "an external reference in a global": """(module (func (export "run"))
      (global (export "g") externref (extern.convert_any (ref.i31 (i32.const 1041)))))""",
    "an exception's payload": """(module (tag $t (param i32)) (func (export "run") (throw $t (i32.const 1041))))""",
}


@pytest.mark.parametrize("name", PROPOSALS)
def test_a_wasi_command_carries_references_and_exceptions(name, host, tmp_path, standin_wasi):
    path = tmp_path / "artifact.wasm"
    path.write_bytes(bytes(wat2wasm(PROPOSALS[name])))
    oracle, request = wasmtime.create(None, {}), Request((str(path),), rows="auto", mode="capsule")
    fault = Fault("", "", Expected(), edit=lambda wasm: wasm.replace(b"\x41\x91\x08", b"\x41\x92\x08"))
    verdicts = {}
    for planted in (None, fault):
        subject = FaultyBackend(wasi.create(str(standin_wasi()), {}), planted, words=False)
        subject.capabilities = engine_check.capabilities(subject, host)
        plan = make(case_of(ObserveRequest(str(path))), request, oracle, oracle, subject, host)
        report = runner.run(plan, request.max_passes, oracle, subject, host, "subject")
        verdicts[planted] = report.verdict, report.passes[0].signatures != ()
    oracle.close()
    assert verdicts == {None: ("agree", False), fault: ("diverge", True)}


@pytest.mark.parametrize(
    "options, has", [((), (True, True)), (("--no-exceptions",), (False, True)), (("--single-memory",), (False, False))]
)
def test_the_proposals_of_a_wasi_command_are_known_answers(options, has, host, standin_wasi):
    found = engine_check.capabilities(wasi.create(str(standin_wasi(*options)), {}), host)
    assert (found.exceptions, found.gc) == has


def test_a_run_asks_for_the_proposals_of_a_wasi_command(tmp_path, standin_wasi):
    path = tmp_path / "artifact.wasm"
    path.write_bytes(bytes(wat2wasm(PROPOSALS["an exception's payload"])))
    report = diffcheck.run(path, subject=f"wasi:{standin_wasi()}", jobs=1)
    assert [each.verdict for each in report.cases] == ["agree"]
    assert report.cases[0].passes[0].subject.words == "threw tag 0 t (i32 1041)"
