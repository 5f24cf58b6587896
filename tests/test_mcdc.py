"""MC/DC impact: witness's own conclusions, and which of them a wrong subject would change."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path

import msgspec
import pytest

from diffcheck.observation import Returned, RowRecord
from diffcheck.report import terminal_text
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.observe import witness_harness
from diffcheck.runner.observe.observe_case import ObserveRequest, read_case
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.verdict import McdcImpact
from diffcheck.wasm.values import Value
from diffcheck.witness import mcdc
from diffcheck.witness.formats import Branch, Decision, Manifest, read_manifest

CORPUS = Path(__file__).parents[1] / "corpus"
LEAP_YEAR = CORPUS / "01-decisions" / "leap_year.wasm"
CENTURIES_OF_101_YEARS = ("41e4006f", "41e5006f")


def manifest(chain="and", kind="br_if"):
    branches = tuple(Branch(each, function_index=9, kind=kind) for each in (10, 11))
    return Manifest(branches=branches, decisions=(Decision(0, (10, 11), "a.c", 7, chain),))


def trace(*records):
    return b"".join(struct.pack("<HBB", *each) for each in records)


def row(data=b"", brvals=(0, 0), brcnts=(0, 0), result=None):
    results = (Value("i32", result),) if result is not None else ()
    return RowRecord("r", Returned(), results=results, brvals=brvals, brcnts=brcnts, trace=data)


def conclusions(rows, counters=(), **kind):
    seen = mcdc.DecisionEvidence()
    seen.add(rows, dict(counters))
    return list(mcdc.Decisions(manifest(**kind), (10, 11)).conclusions(seen).values())


TT, TF, F = trace((10, 1, 0), (11, 1, 0)), trace((10, 1, 0), (11, 0, 0)), trace((10, 0, 0))


def test_an_and_of_two_conditions_needs_three_rows():
    assert conclusions([]) == ["dead", "dead"]
    assert conclusions([row(F)]) == ["gap", "dead"]
    assert conclusions([row(TT), row(F)]) == ["proved", "gap"]
    assert conclusions([row(TT), row(TF), row(F)]) == ["proved", "proved"]


def test_a_loops_turns_in_one_row_are_rows_of_the_decision():
    assert conclusions([row(TT + TF + F)]) == ["proved", "proved"]


def test_the_outcome_of_a_mixed_chain_is_the_functions_else_the_rows():
    observed = [row(TT + trace((9, 1, 2)) + TF + trace((9, 0, 2)) + F + trace((9, 0, 2)))]
    assert conclusions(observed, chain="mixed") == ["proved", "proved"]
    assert conclusions([row(TT, result=1), row(TF, result=0), row(F, result=0)], chain="mixed") == ["proved", "proved"]
    assert conclusions([row(TT), row(TF), row(F)], chain="mixed") == ["gap", "gap"], "no outcome is known"


def test_another_condition_that_differs_proves_nothing():
    both = [row(trace((10, 1, 0), (11, 1, 0)), result=1), row(trace((10, 0, 0), (11, 0, 0)), result=0)]
    assert conclusions(both, chain="mixed") == ["gap", "gap"]


def test_without_a_trace_the_last_values_of_the_row_count():
    assert conclusions([row(brvals=(1, 1), brcnts=(1, 1), result=1), row(brvals=(0, 0), brcnts=(1, 0), result=0)]) == [
        "proved",
        "gap",
    ]


def test_an_arm_of_a_table_is_proved_where_it_was_taken():
    assert conclusions([row()], {10: 3, 11: 0}, kind="br_table_target") == ["proved", "dead"]


def test_impact_names_the_conditions_that_come_out_differently():
    one, other = mcdc.DecisionEvidence(), mcdc.DecisionEvidence()
    one.add([row(TT), row(TF), row(F)], {})
    other.add([row(TT), row(TT), row(F)], {})
    found = mcdc.Decisions(manifest(), (10, 11)).impact(one, other)
    assert found == (McdcImpact(0, 1, 11, "a.c", 7, "proved", "gap"),)
    assert mcdc.Decisions(manifest(), (10, 11)).impact(one, one) == ()
    assert terminal_text.impact(found) == "1 condition is not proved under the subject, in 1 decision"
    assert (
        terminal_text.conclusion(found[0])
        == "a.c:7, decision 0, condition 1 (branch 11): proved under the oracle, gap under the subject"
    )


def test_a_damaged_trace_is_read_as_far_as_it_goes():
    assert conclusions([row(TT + b"\x01\x02"), row(trace((999, 1, 0), (5, 5, 5))), row(F)]) == ["proved", "gap"]


DECIDING = ["01-decisions/access_policy", "01-decisions/days_in_month", "01-decisions/instruction_dispatch", "01-decisions/leap_year",
            "01-decisions/triangle", "02-programs/hashing", "02-programs/json_check_fused", "02-programs/sorting"]  # fmt: skip


@pytest.mark.parametrize("name", DECIDING)
def test_conclusions_are_witness_own(name, tmp_path):
    witness = shutil.which("witness")
    if not witness:
        pytest.skip("there is no witness here (PATH)")
    artifact = CORPUS / f"{name}.wasm"
    seen = read_case(ObserveRequest(str(artifact), backend="wasmtime"))
    described = read_manifest(Path(f"{artifact}.witness.json").read_bytes())
    (tmp_path / "snapshot.json").write_text(json.dumps(witness_harness.snapshot(seen, described, "auto")))
    record, copy = str(tmp_path / "run.json"), f"cp {tmp_path}/snapshot.json $WITNESS_OUTPUT"
    subprocess.run([witness, "run", str(artifact), "--harness", copy, "-o", record], check=True, capture_output=True)
    report = subprocess.run([witness, "report", "--input", record, "--format", "mcdc-json"], check=True, capture_output=True)
    expected = {
        (decision["id"], condition["index"]): condition["status"]
        for decision in json.loads(report.stdout)["decisions"]
        for condition in decision["conditions"]
    }
    shown = mcdc.DecisionEvidence()
    for instance in seen.read.instances:
        shown.add(instance.rows, instance.state.counters)
    assert mcdc.Decisions(described, seen.plan.layout.branches).conclusions(shown) == expected
    assert expected


def test_a_run_with_a_wrong_subject_says_which_conclusions_change(standin_kilnd, patched):
    wrong = patched(standin_kilnd(), *CENTURIES_OF_101_YEARS)
    request = Request((str(LEAP_YEAR),), subject="kilnd", mode="capsule", options={"kilnd": str(wrong)})
    report = next(event.report for event in run(request) if isinstance(event, CaseFinished))
    (capsule,) = (each for each in report.passes if each.applicable)
    assert report.verdict == "diverge"
    assert capsule.mcdc
    assert {each.line for each in capsule.mcdc} == {5}
    assert all(each.oracle != each.subject for each in capsule.mcdc)
    assert msgspec.json.decode(msgspec.json.encode(report), type=type(report)) == report


def test_nothing_is_computed_where_nothing_differs(standin_kilnd):
    request = Request((str(LEAP_YEAR),), subject="kilnd", mode="capsule", options={"kilnd": str(standin_kilnd())})
    report = next(event.report for event in run(request) if isinstance(event, CaseFinished))
    assert report.verdict == "agree"
    assert not any(each.mcdc for each in report.passes)
