"""``diffcheck report``: a stored run in other formats."""

import json
import os
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from diffcheck.cli.command_group import cli
from diffcheck.errors import ReportError
from diffcheck.report import json_file
from tests.report import samples
from tests.report.test_model import collect


@pytest.fixture
def stored(tmp_path):
    return json_file.write(collect(samples.events()), tmp_path / "reports")


def called(*arguments, **environment):
    return CliRunner(env={"COLUMNS": "120", **environment}).invoke(
        cli, ["report", *map(str, arguments)], prog_name="diffcheck", standalone_mode=False
    )


def test_a_stored_run_is_rendered_to_every_file_named(stored, tmp_path):
    made = {name: tmp_path / f"out.{name}" for name in ("html", "junit-xml", "sarif", "markdown")}
    result = called(stored, *(word for name, path in made.items() for word in (f"--{name}", path)))
    assert (result.exit_code, result.output) == (0, "")
    assert made["html"].read_bytes().startswith(b"<!doctype html>")
    assert ET.parse(made["junit-xml"]).getroot().tag == "testsuites"
    assert json.loads(made["sarif"].read_text())["version"] == "2.1.0"
    assert made["markdown"].read_text().startswith("## ")
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["reports", *(path.name for path in made.values())])


def test_the_folder_of_a_run_will_do_and_without_a_file_it_is_shown(stored):
    result = called(stored.parent)
    assert result.exit_code == 0
    assert "2 differences in 3 cases" in result.output


def test_a_file_can_be_named_by_the_environment(stored, tmp_path):
    called(stored, DIFFCHECK_MARKDOWN=str(tmp_path / "summary.md"))
    assert (tmp_path / "summary.md").exists()


@pytest.mark.parametrize(("target", "words"), [("missing/out.html", "no folder"), ("reports", "is a folder")])
def test_a_file_that_cannot_be_written_is_told_before_anything_is_done(stored, tmp_path, target, words):
    result = called(stored, "--sarif", tmp_path / "out.sarif", "--html", tmp_path / target)
    assert isinstance(result.exception, ReportError)
    assert words in str(result.exception)
    assert not (tmp_path / "out.sarif").exists()


@pytest.mark.parametrize(
    "names",
    [("--html", "reports/report.json"), ("--html", "x", "--sarif", "./x"), ("--markdown", "reports/../reports/report.json")],
)
def test_no_file_is_written_over_another(stored, tmp_path, monkeypatch, names):
    monkeypatch.chdir(tmp_path)
    before = stored.read_bytes()
    result = called(stored, *names)
    assert isinstance(result.exception, ReportError)
    assert "overwritten" in str(result.exception)
    assert stored.read_bytes() == before
    assert not (tmp_path / "x").exists()


def test_a_file_that_cannot_be_written_costs_none_of_the_others(stored, tmp_path, monkeypatch):
    def write(path, data):
        if path.name == "full.html":
            raise ReportError("no space left", hint="")
        path.write_bytes(data)

    monkeypatch.setattr("diffcheck.process.write_atomically", write)
    result = called(stored, "--html", tmp_path / "full.html", "--sarif", tmp_path / "out.sarif", "--markdown", tmp_path / "out.md")
    assert str(result.exception) == "no space left"
    assert (tmp_path / "out.sarif").exists()
    assert (tmp_path / "out.md").exists()


def damaged(stored, change):
    data = json.loads(stored.read_bytes())
    change(data)
    stored.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(schema="diffcheck-report-v0"), "its schema is 'diffcheck-report-v0'"),
        (lambda data: data.pop("oracle"), "missing required field `oracle`"),
        (lambda data: data["cases"][3].update(verdict="maybe"), "`$.cases[3].verdict`"),
        (lambda data: data["cases"][0].update(rows=7), "`$.cases[0].rows`"),
    ],
)
def test_an_older_or_damaged_report_is_told_with_what_is_wrong_with_it(stored, change, words):
    damaged(stored, change)
    result = called(stored)
    assert isinstance(result.exception, ReportError)
    assert words in str(result.exception)
    assert result.exception.hint


@pytest.mark.parametrize("keep", [0, 1, 100, 5000])
def test_a_report_that_was_cut_short_is_told(stored, keep):
    stored.write_bytes(stored.read_bytes()[:keep])
    result = called(stored)
    assert isinstance(result.exception, ReportError)
    assert "is not JSON" in str(result.exception)


def test_a_report_that_is_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "report.json")
    result = called(tmp_path / "report.json")
    assert isinstance(result.exception, ReportError)
    assert "is not a file" in str(result.exception)


def test_a_later_report_with_more_fields_is_still_shown(stored):
    damaged(stored, lambda data: data.update(later=[1]))
    assert called(stored).exit_code == 0


def test_what_is_no_report_is_an_error(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    result = called(tmp_path / "x.json", "--html", tmp_path / "x.html")
    assert isinstance(result.exception, ReportError)
    assert not (tmp_path / "x.html").exists()
