import json

import jsonschema
import pytest

from diffcheck.errors import ReportError
from diffcheck.report import json_file

from . import samples
from .test_model import collect


def test_a_report_is_valid_under_its_schema():
    schema = json_file.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(json_file.encode(collect(samples.events()))), schema, jsonschema.Draft202012Validator)


def test_the_schema_refuses_an_unknown_verdict():
    document = json.loads(json_file.encode(collect(samples.events())))
    document["cases"][0]["verdict"] = "fine"
    assert list(jsonschema.Draft202012Validator(json_file.schema()).iter_errors(document))


def test_a_report_is_read_back_equal(tmp_path):
    report = collect(samples.events(notice=samples.NOTICE))
    path = json_file.write(report, tmp_path / "new" / "folder")
    assert json_file.read(path) == report
    assert [each.name for each in path.parent.iterdir()] == ["report.json"]


@pytest.mark.parametrize("name", samples.HOSTILE)
def test_any_name_is_read_back_equal(name):
    report = collect(samples.events((samples.case(name, [samples.agreed()], reason=name),)))
    assert json_file.decode(json_file.encode(report), "it") == report


def test_numbers_are_exact_for_readers_with_doubles():
    def numbers(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [number for each in value for number in numbers(each)]
        return [value] if isinstance(value, int | float) else []

    found = numbers(json.loads(json_file.encode(collect(samples.events()))))
    assert found
    assert max(found) < 1 << 53


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"more": ' + b"[" * 100_000, "not JSON"),
        (b"[]", "not a diffcheck report"),
        (b"{}", "has no schema"),
        (b'{"schema": "diffcheck-report-v2"}', "'diffcheck-report-v2'"),
        (b'{"schema": "diffcheck-report-v1"}', "missing required field"),
    ],
)
def test_what_is_no_report_is_told_as_such(tmp_path, data, words):
    path = tmp_path / "report.json"
    path.write_bytes(data)
    with pytest.raises(ReportError, match=words) as caught:
        json_file.read(path)
    assert caught.value.hint


def test_a_missing_report_says_how_to_make_one(tmp_path):
    with pytest.raises(ReportError, match="no report at") as caught:
        json_file.read(tmp_path / "report.json")
    assert "diffcheck run" in caught.value.hint


def test_a_folder_that_cannot_be_made_is_an_error_with_a_hint(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportError, match="cannot be created") as caught:
        json_file.write(collect(samples.events()), tmp_path / "file" / "reports")
    assert "--reports" in caught.value.hint
