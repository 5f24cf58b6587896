"""Clusters of different artifacts are joined where one instruction goes wrong."""

import contextlib
import random

import pytest
from msgspec.structs import replace

from diffcheck.backend import registry
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.nightly.merge_shards import _causes
from diffcheck.runner import planning
from diffcheck.runner.engines import EnginePair
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of
from diffcheck.runner.request import Request
from diffcheck.triage import causes
from diffcheck.triage.localise.localiser import Localiser
from diffcheck.triage.localise.location import Localisation
from diffcheck.verdict import Cause
from tests.doubles.instruction_faults import draw
from tests.report import samples
from tests.runner.test_run import artifact
from tests.test_baseline import difference, report
from tests.triage.localising import changed

PLAIN = '(module (func (export "run_row_0") (result i32) i32.const 20 i32.const 3 i32.mul))'
DEEP = """(module (func $area (param i32) (result i32) local.get 0 i32.const 5 i32.mul)
  (func (export "run_row_0") (result i32) i32.const 2) (func (export "run_row_1") (result i32) i32.const 8 call $area))"""


def found(**fields):
    return Localisation("instruction", "a.wasm", **{"instruction": "i32.div_s", "difference": "control", **fields})


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (found(oracle="3", subject="4", difference="result"), "i32.div_s returns a wrong result"),
        (found(oracle="gave 3", subject="trapped: integer overflow"), "i32.div_s traps: integer overflow"),
        (
            found(oracle="trapped: integer divide by zero", subject="did not trap"),
            "i32.div_s does not trap: integer divide by zero",
        ),
        (found(oracle="went on to `a`", subject="went on to `b`", instruction="br_if 0"), "br_if continues at the wrong place"),
        (
            found(instruction="i32.store 0", oracle="has 3 there afterwards", subject="has 4", difference="state"),
            "i32.store writes wrong contents",
        ),
        (
            found(instruction="memory.grow 0", oracle="has the size 3 afterwards", difference="size"),
            "memory.grow leaves a wrong size",
        ),
        (found(oracle="trapped: unreachable", subject="trapped: x", difference="outcome"), "i32.div_s traps: x"),
        (Localisation("row", "a.wasm"), ""),
        (
            Localisation("row", "a.wasm", why="instantiation should have dropped data segment 3 (...): `memory.init` reads it"),
            "instantiation does not drop a data segment",
        ),
    ],
)
def test_a_cause_is_the_instruction_and_what_became_of_it(answer, name):
    assert causes.cause_name(answer) == name


def test_a_signature_is_looked_for_where_it_shows_first():
    passes = [samples.diverged([difference("a", "f"), difference("a", "g"), difference("b", "h")])]
    diverging = report(samples.case("x", passes, "diverge"), samples.case("y", passes, "diverge"))
    assert [(each.signature, each.case, each.row) for each in causes.first_occurrences(diverging, ["b", "nothing", "a", "b"])] == [
        ("b", "x", "h"), ("a", "x", "f"),
    ]  # fmt: skip


def test_one_instruction_that_goes_wrong_in_two_artifacts_is_one_cause(tmp_path, host):
    oracle, inner = registry.create("wasmtime", {}), registry.create("wasmtime", {})
    request = Request((), mode="capsule")
    names = []
    for name, text, row in (("plain", PLAIN, "run_row_0"), ("deep", DEEP, "run_row_1")):
        plan = planning.make(case_of(ObserveRequest(str(artifact(tmp_path, name, text)))), request, oracle, oracle, inner, host)
        planted = replace(draw(random.Random(1), plan.module, plan.artifact, "integer"), divisor=1, residue=0, skip=0)
        subject = FaultyBackend(inner, planted.fault(plan.module), words=False)
        names.append(causes.cause_name(Localiser(plan, request, oracle, subject, host).localise(row)))
    oracle.close()
    inner.close()
    assert names == ["i32.mul returns a wrong result"] * 2


def test_what_was_localised_runs_no_engine_again(tmp_path, host, monkeypatch):
    starts = []

    class Wrong(FaultyBackend):
        def start(self, *arguments):
            starts.append(arguments)
            return super().start(*arguments)

    @contextlib.contextmanager
    def opened(_request):
        with contextlib.closing(registry.create("wasmtime", {})) as oracle:
            fault = Fault("", "", Expected(), edit=changed(lambda each, raw: b"\x6a" if each.name == "i32.mul" else raw))
            yield EnginePair(oracle, Wrong(oracle, fault, words=False), host)

    monkeypatch.setattr(causes, "open_engines", opened)
    request = Request((), mode="capsule", subject="wasmtime-pulley", cache=str(tmp_path / "cache"))
    place = causes.FirstOccurrence("a", "x", str(artifact(tmp_path, "plain", PLAIN)), "run_row_0")
    found, _ = causes.find_causes(request, [place])
    first = len(starts)
    assert first
    assert [each.name for each in found] == ["i32.mul returns a wrong result"]
    assert causes.find_causes(request, [place]) == (found, 1)
    assert len(starts) == first
    causes.find_causes(replace(request, cache=""), [place])
    assert len(starts) == 2 * first


def test_the_causes_of_shards_are_joined_by_name():
    one, other = Cause("x", ("a",), ("p: 1",), "a title", "4.3.2"), Cause("y", ("b", "c"), ("q: 2", "r: 3"))
    assert _causes([one, other, Cause("x", ("d", "a", "e"), ("s", "t", "u"))]) == (
        Cause("x", ("a", "d", "e"), ("p: 1", "s", "u"), "a title", "4.3.2"),
        other,
    )


def test_localising_stops_at_its_time_limit(monkeypatch):
    places = [causes.FirstOccurrence(name, "x", "x.wasm", "f") for name in "abc"]
    monkeypatch.setattr(
        causes,
        "_localisations",
        lambda _request, wanted, _engines, _tapes: ((each, found(oracle="3", subject="4", difference="result")) for each in wanted),
    )
    request = Request((), subject="wasmtime-pulley")
    whole, tried = causes.find_causes(request, places)
    assert ([each.signatures for each in whole], tried) == ([("a", "b", "c")], 3)
    assert (whole[0].title, whole[0].section[:40]) == ("i32.div_s returns 4, not 3", "WebAssembly core specification 3.0, 4.3.")
    part, tried = causes.find_causes(request, places, 0.0)
    assert ([each.signatures for each in part], tried) == ([("a",)], 1)
