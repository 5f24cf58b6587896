"""Localising in a slice: the same answer as in the whole artifact, in the artifact's own indices and offsets."""

import msgspec
import pytest

from diffcheck.backend import registry
from diffcheck.faults.fault import Expected, Fault
from diffcheck.faults.faulty_backend import FaultyBackend
from diffcheck.runner import slicing
from diffcheck.runner.observe.observe_case import ObserveRequest, case_of, read_case
from diffcheck.runner.request import Request
from diffcheck.triage import localise_artifact
from diffcheck.triage.localise.localiser import Localiser
from tests.runner.test_run import artifact
from tests.runner.test_slicing import OTHER_BRANCH, OTHER_ELEMENT, WITHOUT_EFFECT, the_subject
from tests.triage.localising import changed

NAMELESS = """
(module
  (func (param i32)) (func (param i32) (result i32) (i32.const 5)) (func (param i64))
  (func (result i32) (i32.rem_u (i32.const 70) (i32.const 100)))
  (func (export "run_row_0") (result i32) (i32.add (i32.const 1) (call 3)))
  (func (param i64)))
"""
INDICES = """
(module
  (table 2 funcref) (elem declare func $given $wrong)
  (func (param i32)) (func (param i32)) (func (param i32))
  (func $given (result i32) i32.const 1) (func $wrong (result i32) i32.const 2)
  (func (export "run_row_0") (result funcref)
    (table.set (i32.const 0) (ref.func $given)) (table.set (i32.const 1) (ref.func $wrong))
    (table.get (i32.rem_u (i32.const 0) (i32.const 100)))))
"""


def answers(path, fault):
    for when in ("never", "always"):
        request = Request((str(path),), subject=the_subject(fault), oracle="wasmtime", mode="capsule", slice=when)
        yield localise_artifact.localise(request, "", lambda _: None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (INDICES, "i32.rem_u"),
        pytest.param(OTHER_BRANCH, "i32.lt_s", marks=pytest.mark.whole),
        pytest.param(OTHER_ELEMENT, "i32.rem_u", marks=pytest.mark.whole),
        pytest.param(NAMELESS, "i32.rem_u", marks=pytest.mark.whole),
    ],
)
def test_the_place_is_that_in_the_whole_artifact(tmp_path, text, fault):
    whole, sliced = answers(artifact(tmp_path, "program", text), fault)
    assert whole.depth == sliced.depth == "instruction"
    place = ("row", "function", "function_index", "offset", "file_offset", "instruction", "operands", "path", "oracle", "subject")
    assert {each: getattr(sliced, each) for each in place} == {each: getattr(whole, each) for each in place}


def test_an_instruction_with_an_open_result_is_named_as_in_the_whole_artifact(host, tmp_path):
    path = artifact(
        tmp_path,
        "program",
        """(module (func $dropped) (func (export "run_row_0") (result i32) (local $x f32)
      (local.set $x (f32.floor (f32.reinterpret_i32 (i32.const 0x7fa00001)))) (i32.reinterpret_f32 (local.get $x))))""",
    )
    edit = changed(lambda each, raw: b"\x01" if each.name == "f32.floor" else raw)
    answers = []
    oracle = registry.create("wasmtime", {})
    subject = FaultyBackend(oracle, Fault("", "", Expected(), edit=edit), words=False)
    for when in ("never", "always"):
        request = Request((str(path),), subject="wasmtime", mode="capsule", slice=when)
        plan = slicing.make(case_of(ObserveRequest(str(path))), request, oracle, subject, host)
        answers.append(Localiser(plan, request, oracle, subject, host).localise())
    oracle.close()
    whole, sliced = answers
    assert whole.instruction == "f32.floor"
    assert (sliced.instruction, sliced.offset, sliced.file_offset, sliced.locals) == (
        whole.instruction, whole.offset, whole.file_offset, whole.locals
    )  # fmt: skip


def test_an_observation_of_a_slice_is_that_of_the_whole_also_where_only_the_backend_enters_a_function(tmp_path):
    path = artifact(tmp_path, "program", OTHER_BRANCH)
    made = [read_case(ObserveRequest(str(path), backend=the_subject("i32.lt_s"), slice=when)) for when in ("never", "always")]
    whole, sliced = ([msgspec.to_builtins(row.results) for one in each.read.instances for row in one.rows] for each in made)
    assert sliced == whole
    assert made[1].plan.slice.summary == "5 of 102 functions"


def test_functions_without_effect_are_not_in_the_way_of_an_observation(tmp_path):
    path = artifact(tmp_path, "program", WITHOUT_EFFECT)
    seen = read_case(ObserveRequest(str(path), backend=the_subject("i32.lt_s"), slice="always"))
    assert not seen.read.stops
