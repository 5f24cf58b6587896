"""Shell completion of commands, engines, cases and files."""

import os
import subprocess
import sys

import pytest

from diffcheck.report import json_file
from tests.report import samples
from tests.report.test_model import collect


def completed(folder, words):
    variables = {"_DIFFCHECK_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    code = "from diffcheck.cli.main import main; main()"
    command = [sys.executable, "-c", f"import sys; sys.argv = ['diffcheck']; {code}"]
    ended = subprocess.run(command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    return [line.partition(",")[2] for line in ended.stdout.splitlines()], ended.stdout


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("diffcheck re", ["report", "reduce", "reproduce"]),
        ("diffcheck show decisions/l", ["decisions/leap_year"]),
        ("diffcheck triage decisions/tr", ["decisions/triangle"]),
        ("diffcheck show lea", ["leap_year"]),
        ("diffcheck run . -k memory", ["memory/grow"]),
        ("diffcheck run . --subject wasmtime-", ["wasmtime-pulley"]),
        ("diffcheck run . --auto", ["--auto-rows"]),
    ],
)
def test_completion(tmp_path, words, wanted):
    json_file.write(collect(samples.events()), tmp_path / "reports")
    assert sorted(completed(tmp_path, words)[0]) == sorted(wanted)


@pytest.mark.parametrize("words", ["diffcheck run corp", "diffcheck run . --html out", "diffcheck explain some.wa"])
def test_paths_are_completed_by_the_shell(tmp_path, words):
    assert completed(tmp_path, words)[1].startswith("file,")
