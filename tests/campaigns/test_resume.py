"""SIGKILL at random instants: what is left parses, and the run that goes on ends in the report of one that was not killed."""

from __future__ import annotations

import random

import pytest

from tests.campaigns import kill, resume


@pytest.mark.parametrize("times", [1, pytest.param(6, marks=pytest.mark.whole)])
def test_killed_runs_leave_whole_files_and_go_on_to_the_same_report(tmp_path, times):
    runs = resume.Runs(tmp_path, (str(kill.CORPUS / "01-decisions" / "leap_year.wasm"),), "wasmtime-pulley")
    chance = random.Random(5)
    assert [runs.trial(number, chance).wrong for number in range(times)] == [""] * times
    assert resume.unparsed(tmp_path / "whole") == ""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("report.json", '{"schema": "diffcheck-report-v1"'),
        ("run.lock", "{"),
        ("report.html", "<html><body>"),
        ("junit.xml", "<testsuites>"),
        ("journal.sqlite", "x" * 200),
        ("summary.md", "half a li"),
        ("cache/observations/engine/ab/cd", "diffcheck-cache-1\n" + "x" * 60),
        ("stray.bin", ""),
    ],
)
def test_a_file_that_is_not_whole_is_seen(tmp_path, name, content):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    assert (tmp_path / name).name in resume.unparsed(tmp_path)
