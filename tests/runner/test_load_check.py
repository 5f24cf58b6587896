"""The load check: a function that no row enters and that the subject refuses is a divergence, found among all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import wasmtime

from diffcheck.backend import registry
from diffcheck.backend.contract import Backend, StoredExecution, local_host
from diffcheck.cases.discovery import discover, load_case
from diffcheck.observation import Crashed, Execution, OutOfMemory, Refused
from diffcheck.runner import case_run, slicing
from diffcheck.runner.passes.load_check import body_digests, context_digest
from diffcheck.runner.request import Request
from diffcheck.wasm import module as wasm
from diffcheck.wasm.code import all_instructions
from tests.runner.test_run import artifact, reports

PROGRAM = """
(module
  (import "env" "f" (func $f))
  (func $a (result i32) (i32.const 1)) (func $b (param f64) (result f64) (f64.nearest (local.get 0)))
  {functions}
  (func $refers (result funcref) (ref.func $exported))
  (func $exported (export "exported") (call $f) (drop (call $c3)))
  (func (export "run_row_0") (result i32) (call $a)))
"""
MANY = " ".join(f"(func $c{at} (result i32) (i32.const {at}))" for at in range(40))


class Loader(Backend):
    """An engine with another outcome for modules with a function that rounds."""

    def __init__(self, inner, outcome):
        self.inner, self.outcome, self.capabilities = inner, outcome, inner.capabilities
        self.programs = []

    def identity(self):
        return self.inner.identity()

    def start(self, program, limits, host):
        self.programs.append(program)
        module = wasm.read(program.wasm)
        if program.kind == "direct" and any(each.name == "f64.nearest" for each in all_instructions(program.wasm, module.bodies)):
            return StoredExecution(Execution(self.outcome))
        return self.inner.start(program, limits, host)


class Bodies:
    def __init__(self):
        self.known = {}

    def get(self, context):
        return self.known.get(context, frozenset())

    def add(self, context, bodies):
        self.known[context] = self.get(context) | bodies


@pytest.fixture
def checked(tmp_path):
    path = artifact(tmp_path, "program", PROGRAM.replace("{functions}", MANY))

    def check(outcome, bodies=None, given=path, *, at_once=False, loader=Loader, **options):
        request = Request((str(given),), subject="wasmtime-pulley", oracle="wasmtime", slice="always", **options)
        case = load_case(discover([Path(given)]).items[0])
        subject = loader(inner, outcome)
        if not at_once:
            subject.capabilities = msgspec.structs.replace(inner.capabilities, function_bytes=60 << 20)
        plan = slicing.make(case, request, oracle, subject, host)
        return case_run.run(plan, 50, oracle, subject, host, "wasmtime-pulley", request, bodies), subject

    with local_host() as host:
        oracle, inner = registry.create("wasmtime", {}), registry.create("wasmtime-pulley", {})
        yield check
        oracle.close()
        inner.close()


@pytest.mark.parametrize("outcome", [Refused("load", "no rounding in function 2", "invalid"), Crashed(11)])
def test_a_function_that_the_subject_does_not_load_is_a_divergence(checked, outcome):
    report, _ = checked(outcome)
    assert report.verdict == "diverge"
    (found,) = report.passes[1].divergences
    assert (found.kind, found.where.item, found.oracle) == ("validity", "function 2 `b`", "loads it")


class Segments(Loader):
    """An engine that refuses a module with two data segments."""

    def start(self, program, limits, host):
        self.programs.append(program)
        if program.kind == "direct" and len(wasm.read(program.wasm).data) > 1:
            return StoredExecution(Execution(self.outcome))
        return self.inner.start(program, limits, host)


def test_no_function_is_blamed_where_the_module_is_refused_without_any(checked, tmp_path):
    segments = '(memory 1) (data (i32.const 0) "a") (data (i32.const 8) "b")'
    given = artifact(tmp_path, "segments", PROGRAM.replace("{functions}", MANY + segments))
    report, subject = checked(Refused("load", "no reason given", "invalid"), None, given, loader=Segments)
    (found,) = report.passes[1].divergences
    assert found.where.item == "the module without its functions"
    assert sum(each.kind == "direct" for each in subject.programs) <= 3, "no halves are tried"


class Together(Loader):
    """An engine that refuses a module with a certain function and a certain row."""

    def start(self, program, limits, host):
        module = wasm.read(program.wasm)
        found = {(each.name, each.immediates) for each in all_instructions(program.wasm, module.bodies)}
        if program.kind == "direct" and {("f64.nearest", ()), ("i32.const", (4321,))} <= found:
            return StoredExecution(Execution(self.outcome))
        return self.inner.start(program, limits, host)


def test_an_artifact_that_fits_is_loaded_as_a_whole_and_again_until_it_is_accepted(checked, tmp_path):
    text = PROGRAM.replace("{functions}", MANY).replace("(result i32) (call $a)", "(result i32) (i32.const 4321)")
    given, bodies = artifact(tmp_path, "together", text), Bodies()
    for _ in range(2):
        report, _ = checked(Refused("load", "too much", "invalid"), bodies, given, at_once=True, loader=Together)
        (found,) = report.passes[1].divergences
        assert (report.verdict, found.where.item) == ("diverge", "45 functions together")
        assert not any("limits of the subject on a whole module" in each for each in report.not_done)
    report, subject = checked(Crashed(11), bodies, given, at_once=True)
    assert sum(each.kind == "direct" for each in subject.programs) > 1


def test_it_is_not_run_if_it_is_not_wanted(checked):
    report, _ = checked(Crashed(11), load_check="never")
    assert report.verdict == "agree"


def test_functions_that_are_loaded_agree_and_what_cannot_be_seen_is_stated(checked):
    report, _ = checked(Refused("load", "a limit", "limit"))
    assert report.verdict == "agree"
    assert any("whether the subject loads function 2 `b`" in each for each in report.not_done)
    assert any("limits of the subject on a whole module" in each for each in report.not_done)
    report, _ = checked(OutOfMemory(1))
    assert any("whether the subject loads function 2 `b`: out of memory" in each for each in report.not_done)


def test_functions_that_were_loaded_are_not_loaded_again_in_another_build(checked, tmp_path):
    bodies = Bodies()
    checked(Crashed(11), bodies)
    (loaded,) = (len(each) for each in bodies.known.values())
    assert loaded == 42, "all that no row enters but the one that is not loaded"
    changed = PROGRAM.replace("{functions}", "(func $new (result i32) (i32.const 99))" + MANY).replace("f64.nearest", "f64.ceil")
    given = artifact(tmp_path, "changed", changed)
    _, subject = checked(Crashed(11), bodies, given)
    (program,) = (each for each in subject.programs if each.kind == "direct")
    own = [each for each in wasm.read(program.wasm).bodies if each[1] > 3]
    assert len(own) <= 6, "two changed functions, and stubs"


def test_a_body_has_the_same_digest_where_only_indices_differ():
    one = "(module (func $x (result i32) (i32.const 1)) (func $y (result i32) (call $x)))"
    other = "(module (func (result i32) (i32.const 2)) (func $x (result i32) (i32.const 1)) (func $y (result i32) (call $x)))"

    modules = [wasm.read(bytes(wasmtime.wat2wasm(each))) for each in (one, other)]
    assert body_digests(modules[0], [1])[1] == body_digests(modules[1], [2])[2]
    assert body_digests(modules[0], [0])[0] != body_digests(modules[1], [0])[0]
    assert context_digest(modules[0]) == context_digest(modules[1])


def test_a_run_of_a_slice_loads_the_rest(tmp_path):
    path = artifact(tmp_path, "program", PROGRAM.replace("{functions}", MANY))
    (report,) = reports(path, slice="always").values()
    assert report.verdict == "agree"
    assert report.passes[1].subject.words == "loaded the 43 functions that no row enters"
