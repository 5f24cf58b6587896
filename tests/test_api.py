"""What ``import diffcheck`` gives, and the pytest plugin."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest

import diffcheck
from diffcheck.runner.events import CaseFinished
from tests.runner.test_run import COUNTING, artifact

SUBJECT = "wasmtime-pulley"


def test_every_public_name_is_listed_and_imported_on_first_use():
    errors = ("DiffcheckError", "EngineMissingError", "RunFailedError", "AdapterError", "ManifestError")
    for name in ("run", "load_report", "snapshot", "Report", *errors):
        assert name in dir(diffcheck)
        assert getattr(diffcheck, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        diffcheck.nothing  # noqa: B018
    assert (Path(diffcheck.__file__).parent / "py.typed").is_file()


def test_the_examples_of_the_page_run_as_they_stand(monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "api.md"
    monkeypatch.chdir(page.parents[1])
    monkeypatch.delenv("DIFFCHECK_KILND", raising=False)
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert (failed, tried > 8) == (0, True)


def test_importing_diffcheck_imports_none_of_its_modules():
    script = "import sys, diffcheck; print([name for name in sys.modules if name.startswith('diffcheck.')])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_run_gives_a_report_and_its_events(tmp_path):
    artifact(tmp_path, "counting", COUNTING)
    events = []
    report = diffcheck.run(tmp_path, subject=SUBJECT, progress=events.append)
    assert [(case.case, case.verdict) for case in report.cases] == [("counting", "agree")]
    assert [each.report for each in events if isinstance(each, CaseFinished)] == list(report.cases)
    assert list(tmp_path.iterdir()) == [tmp_path / "counting.wasm"]


def test_rows_are_called_in_place_of_those_of_the_case_file(tmp_path):
    path = tmp_path / "add.wat"
    path.write_text('(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))')
    path.with_suffix(".toml").write_text('rows = ["add=1,1"]\n')
    rows = ["add=1,2", "add=3,4"]
    (case,) = diffcheck.run([path], rows=rows, subject=SUBJECT, mode="capsule").cases
    assert case.rows == tuple(rows)
    (case,) = diffcheck.run([path], rows=["auto"], subject=SUBJECT, mode="capsule").cases
    assert case.rows[0] == "add=1,1"
    assert len(case.rows) > 1


def test_one_string_is_one_row_or_name(tmp_path):
    path = tmp_path / "add.wat"
    path.write_text('(module (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1))))')
    assert diffcheck.run(path, rows="add=1,2", subject=SUBJECT, mode="capsule").cases[0].rows == ("add=1,2",)
    with pytest.raises(diffcheck.DiffcheckError, match="'zzz'"):
        diffcheck.run(path, only="zzz", subject=SUBJECT)


@pytest.mark.parametrize(
    "options", [{"mode": "caps"}, {"stub_imports": "x"}, {"jobs": 0}, {"confirm": -1}, {"deadline_s": -1.0}, {"only": [1]}], ids=str
)
def test_a_value_that_is_none_of_its_option_is_refused(tmp_path, options):
    with pytest.raises(diffcheck.ConfigError):
        diffcheck.run(artifact(tmp_path, "counting", COUNTING), subject=SUBJECT, **options)


def test_a_report_is_loaded_from_its_folder_or_file(tmp_path):
    artifact(tmp_path, "counting", COUNTING)
    subprocess.run(
        [sys.executable, "-m", "diffcheck", "run", ".", "--subject", SUBJECT], cwd=tmp_path, check=True, capture_output=True
    )
    report = diffcheck.load_report(tmp_path / "reports")
    assert report == diffcheck.load_report(str(tmp_path / "reports" / "report.json"))
    assert report.totals["agree"] == 1
    with pytest.raises(diffcheck.ReportError, match="no report"):
        diffcheck.load_report(tmp_path / "nothing.json")


@pytest.mark.whole
def test_a_notebook_shows_what_is_not_as_expected_with_names_escaped(tmp_path, standin_kilnd):
    artifact(tmp_path, "<b>counting", COUNTING)
    report = diffcheck.run(tmp_path, subject=f"kilnd:{standin_kilnd('--fault', 'lie')}")
    html = report._repr_html_()
    assert "<td>&lt;b&gt;counting</td><td>diverge</td>" in html
    assert "1 diverge" in html
    assert "<table>" not in diffcheck.run(tmp_path, subject=SUBJECT)._repr_html_()


PLUGIN = """
def test_agrees(assert_agrees):
    report = assert_agrees("counting.wasm", subject="wasmtime-pulley")
    assert report.totals["agree"] == 1

def test_differs(assert_agrees):
    assert_agrees("counting.wasm", rows=["run_row_0 -> 8"], subject="wasmtime-pulley")

def test_is_missing(assert_agrees):
    assert_agrees("nope.wasm", subject="wasmtime-pulley")
"""


def test_the_fixture_fails_with_what_differs(tmp_path):
    artifact(tmp_path, "counting", COUNTING)
    (tmp_path / "test_it.py").write_text(PLUGIN)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "2 failed, 1 passed" in ended.stdout
    assert "nope.wasm cannot be used: " in ended.stdout
    assert "run_report.py" not in ended.stdout, "no frame of the tool"
    assert "counting: diverge" in ended.stdout
    assert "expected 8" in ended.stdout
