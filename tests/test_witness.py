"""Witness's manifests and trace records: what a manifest has to have in common with its artifact, and what a record is about."""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec
import pytest
import wasmtime

from diffcheck.compare import rows
from diffcheck.compare.findings import Findings
from diffcheck.observation import Returned, RowRecord
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.wasm import module as wasm
from diffcheck.witness import formats
from diffcheck.witness.formats import Branch, Decision, Manifest
from tests.compare.test_compare import LAYOUT

CORPUS = sorted((Path(__file__).parents[1] / "corpus").glob("*/*.wasm.witness.json"))
TEXT = """
(module
  (global $c0 (export "__witness_counter_0") (mut i64) (i64.const 0))
  (global $c1 (export "__witness_counter_1") (mut i64) (i64.const 0))
  (func $first (export "first") (global.set $c0 (i64.const 1)))
  (func $second (export "second") (global.set $c1 (i64.const 1))))
"""
BRANCHES = (Branch(0, 0, "first", "br_if"), Branch(1, 1, "second", "if_then"))
OWN = Manifest(branches=BRANCHES, decisions=(Decision(0, (0,), "a.c", 3), Decision(1, (1,), "a.c", 9)))


def run_capsule(path):
    """The report of the one case."""
    events = run(Request((str(path),), subject="wasmtime-pulley", mode="capsule"))
    return next(each.report for each in events if isinstance(each, CaseFinished))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name.partition(".")[0])
def test_a_manifest_that_witness_wrote_fits_its_artifact(path):
    data = path.with_name(path.name.removesuffix(".witness.json")).read_bytes()
    assert formats.contradiction(formats.read_manifest(path.read_bytes()), wasm.read(data), data) == ""


@pytest.mark.parametrize(
    ("branches", "why"),
    [
        (BRANCHES, ""),
        ((BRANCHES[0],), "it has 1 branch, the artifact 2 counters"),
        ((BRANCHES[0], Branch(7, 1, "second", "if_then")), "branch 1 is with a counter and not in the manifest"),
        ((Branch(0, 0, "third", "br_if"), BRANCHES[1]), "the artifact has no function third"),
        ((Branch(0, 1, "second", "br_if"), Branch(1, 0, "first", "if_then")), "second does not count branch 0"),
        ((Branch(0, 1, "second", "br_table_target"), BRANCHES[1]), ""),
        ((Branch(0, 0, None, "br_if"), BRANCHES[1]), ""),
    ],
)
def test_a_manifest_of_another_build_is_reported_and_nothing_is_derived_from_it(tmp_path, branches, why):
    path = tmp_path / "own.wasm"
    path.write_bytes(wasmtime.wat2wasm(TEXT))
    data = path.read_bytes()
    manifest = msgspec.structs.replace(OWN, branches=branches)
    assert formats.contradiction(manifest, wasm.read(data), data) == why
    (tmp_path / "own.wasm.witness.json").write_bytes(msgspec.json.encode(manifest))
    report = run_capsule(path)
    assert [each for each in report.not_done if "manifest" in each] == (
        [f"the manifest is of another build and not used: {why}"] if why else []
    )


@pytest.mark.parametrize(
    ("text", "manifest", "said"),
    [
        (TEXT, None, formats.NO_MANIFEST),
        ('(module (func (export "run")))', None, formats.NOT_INSTRUMENTED),
        (TEXT, Manifest(branches=BRANCHES), formats.NO_DECISIONS),
    ],
)
def test_what_is_missing_for_mcdc_is_said(tmp_path, text, manifest, said):
    path = tmp_path / "own.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    if manifest:
        (tmp_path / "own.wasm.witness.json").write_bytes(msgspec.json.encode(manifest))
    report = run_capsule(path)
    assert said in report.not_done


# Trace records: u16 number, u8 value, u8 kind.

CONDITION, MARKER, OUTCOME = 0, 1, 2


def compared(one, other, *, overflow=False):
    """The divergence that two traces of a row make."""
    ones, others = (b"".join(struct.pack("<HBB", *each) for each in records) for records in (one, other))
    findings = Findings(OWN)
    seen = (RowRecord("r", Returned(), trace=ones), RowRecord("r", Returned(), trace=others, trace_overflow=overflow))
    rows.compare(*seen, msgspec.structs.replace(LAYOUT, branches=(), stubs=()), findings)
    (found,) = findings.divergences
    return found


def test_an_outcome_record_is_about_a_function():
    found = compared([(0, 1, CONDITION), (1, 1, OUTCOME)], [(0, 1, CONDITION), (1, 0, OUTCOME)])
    assert (found.oracle, found.subject) == ("outcome of function 1 is 1", "outcome of function 1 is 0")
    assert (found.where.function, found.where.branch, found.where.line) == ("second", "", None)


def test_a_condition_is_about_a_branch_and_a_marker_about_neither():
    found = compared([(1, 1, CONDITION)], [(1, 0, CONDITION)])
    assert (found.oracle, found.where.branch, found.where.line) == ("condition of branch 1 is 1", "if_then", 9)
    found = compared([(1, 0, MARKER)], [(2, 0, MARKER)])
    assert (found.oracle, found.subject, found.where.branch) == ("row marker 1", "row marker 2", "")


def test_traces_that_end_alike_are_told_apart():
    same = [(0, 1, CONDITION)]
    found = compared(same, same, overflow=True)
    assert (found.oracle, found.subject) == ("ends after 1 records", "ends after 1 records, its memory was full")
    assert compared([], same).oracle == "ends after 0 records"
    alike = Findings()
    alike.diverge("result", "result 0", "1", "1")
    assert alike.divergences[0].detail == "both have the same text; the recorded values differ"
