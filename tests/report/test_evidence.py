"""Evidence of a run and results by requirement."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random

import msgspec
import pytest
import wasmtime

from diffcheck.cli import main as entry
from diffcheck.report import json_file
from diffcheck.report.evidence import requirements, statement, verify
from diffcheck.verdict import MapShare

from . import samples
from .test_model import collect

TAMPERINGS = 50


@pytest.fixture
def report():
    found = collect(samples.events())
    cases = tuple(msgspec.structs.replace(each, requirements=("REQ-1",)) for each in found.cases)
    return msgspec.structs.replace(found, cases=cases, judges=(samples.ORACLE,), map=MapShare(10, 9, 1000))


def places(value, path=()):
    """The places of all values that are no objects or lists."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))
    else:
        yield path, value


def tampered(evidence: bytes, seed: int) -> bytes:
    """The evidence with one value changed, removed or added, or an element moved."""
    found, chance = json.loads(evidence), Random(seed)
    path, value = chance.choice(list(places(found)))
    parent = found
    for key in path[:-1]:
        parent = parent[key]
    match seed % 4:
        case 0 if isinstance(value, bool) or value is None:
            parent[path[-1]] = 1
        case 0 if isinstance(value, int):
            parent[path[-1]] = value + 1
        case 0 | 1:
            parent[path[-1]] = f"{value}x"
        case 2:
            del parent[path[-1]]
        case _ if isinstance(parent, list):
            parent.insert(0, copy.deepcopy(value))
        case _:
            parent["another"] = value
    return json.dumps(found, indent=2, sort_keys=True).encode() + b"\n"


def problems(evidence: bytes, report) -> list[str]:
    return verify.problems(evidence, json_file.encode(report), "report.json")


def test_evidence_is_an_in_toto_statement_of_a_test_result(report) -> None:
    found = json.loads(statement.render(report))
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert all(each["digest"]["sha256"] for each in found["subject"])
    predicate = found["predicate"]
    assert predicate["result"] == "FAILED"
    named = [*predicate["passedTests"], *predicate["warnedTests"], *predicate["failedTests"]]
    assert sorted(named) == sorted(each.case for each in report.cases)
    assert [(each["name"], each["annotations"]["role"]) for each in predicate["configuration"]] == [
        ("kilnd", "subject"), ("wasmtime", "oracle"), ("wasmtime", "judge"), ("diffcheck", "tool"),
    ]  # fmt: skip
    assert predicate["diffcheck"]["map"] == {"cells": 10, "checked": 9, "checks": 1000}
    assert predicate["diffcheck"]["notCompared"]


def test_the_same_report_gives_the_same_bytes_also_when_it_was_stored(report) -> None:
    assert statement.render(report) == statement.render(report)
    assert problems(statement.render(report), report) == []


def test_tampered_evidence_is_refused(report) -> None:
    evidence = statement.render(report)
    for seed in range(TAMPERINGS):
        changed = tampered(evidence, seed)
        assert changed != evidence
        assert problems(changed, report), seed
    assert problems(b"{", report)
    assert problems(evidence.rstrip(), report) == ["the evidence has the right content, but its bytes differ"]


def test_evidence_of_a_tampered_report_is_refused(report) -> None:
    evidence = statement.render(report)
    first, *others = report.cases
    for changed in (
        msgspec.structs.replace(report, cases=tuple(others)),
        msgspec.structs.replace(report, cases=(msgspec.structs.replace(first, purpose="another"), *others)),
        msgspec.structs.replace(report, subject=msgspec.structs.replace(report.subject, sha256="00" * 32)),
        msgspec.structs.replace(report, elapsed_ns=report.elapsed_ns + 1),
    ):
        assert problems(evidence, changed)


def test_a_run_writes_evidence_that_verifies_and_results_by_requirement(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("one.wasm").write_bytes(wasmtime.wat2wasm('(module (func (export "one") (result i32) (i32.const 1)))'))
    Path("one.toml").write_text('rows = ["one"]\nrequirements = ["REQ-7", "REQ: \\"8\\""]\n')
    assert entry.run(["run", "one.wasm", "--evidence", "evidence.json", "--requirements", "requirements.yaml"]) == 0
    assert entry.run(["evidence", "verify", "evidence.json", "reports"]) == 0
    assert entry.run(["report", "reports", "--evidence", "later.json"]) == 0
    assert Path("later.json").read_bytes() == Path("evidence.json").read_bytes()
    assert Path("requirements.yaml").read_text() == (
        '- artifact: "REQ-7"\n  status: pass\n  message: "1 case agrees: one"\n'
        '- artifact: "REQ: \\"8\\""\n  status: pass\n  message: "1 case agrees: one"\n'
    )
    Path("evidence.json").write_text(Path("evidence.json").read_text().replace('"PASSED"', '"FAILED"'))
    assert entry.run(["evidence", "verify", "evidence.json", "reports"]) == 1
    assert "predicate.result: the report has 'PASSED', the evidence 'FAILED'" in capsys.readouterr().out
    assert entry.run(["evidence", "verify", "evidence.json", "nope.json"]) == 2
    error = capsys.readouterr().err
    assert "the report nope.json cannot be read" in error
    assert "hint: name the evidence first" in error
    Path("one.toml").write_text('rows = ["one"]\nrequirements = "REQ-7"\n')
    assert entry.run(["run", "one.wasm"]) == 2


def test_a_requirement_fails_if_one_of_its_cases_fails(report) -> None:
    (result,) = requirements.results(report)
    assert (result.artifact, result.status) == ("REQ-1", "fail")
    agreeing = tuple(each for each in report.cases if each.verdict == "agree" and each.as_expected)
    (result,) = requirements.results(msgspec.structs.replace(report, cases=agreeing))
    assert result.status == "pass"
    without = tuple(msgspec.structs.replace(each, requirements=()) for each in report.cases)
    assert requirements.render(msgspec.structs.replace(report, cases=without)) == b"[]\n"
