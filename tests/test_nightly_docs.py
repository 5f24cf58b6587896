"""The shell in docs/nightly.md and docs/nightly.yml does what they say, over an engine that stands in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.runner.test_run import COUNTING, artifact

DOCS = Path(__file__).parents[1] / "docs"


def step(name: str) -> str:
    """The shell of the workflow's step of that name."""
    text = (DOCS / "nightly.yml").read_text()
    block = re.split(r"^      - ", text, flags=re.MULTILINE)
    (found,) = [each for each in block if each.startswith(f"name: {name}\n")]
    one = re.search(r"^        run: (?!\|)(.*)$", found, re.MULTILINE)
    return one[1] if one else textwrap.dedent(found.split("run: |\n", 1)[1])


@pytest.fixture
def at_night(tmp_path, standin_kilnd):
    (tmp_path / "corpus").mkdir()
    artifact(tmp_path / "corpus", "counting", COUNTING)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "REPORTS": "reports",
        "CASES": "corpus",
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }

    def call(shell, *, fault=""):
        kilnd = standin_kilnd("--fault", fault) if fault else standin_kilnd()
        command = ["bash", "-e", "-o", "pipefail", "-c", shell]
        return subprocess.run(
            command, cwd=tmp_path, env={**environment, "DIFFCHECK_KILND": str(kilnd)}, capture_output=True, text=True, check=False
        )

    return call


def test_the_workflow_s_steps_pass_the_exit_code_on_and_write_their_files(at_night, tmp_path):
    for fault, code in (("", "0"), ("lie", "1")):
        ended = at_night(step("cross-check"), fault=fault)
        assert ended.returncode == 0, ended.stderr
        assert (tmp_path / "output").read_text().split()[-1] == f"code={code}"
    assert (tmp_path / "summary").read_text()
    assert {"report.json", "history.sqlite", "diffcheck.sarif", "junit.xml"} <= {
        each.name for each in (tmp_path / "reports").iterdir()
    }
    assert "2 runs" in at_night(step("what changed")).stdout


def test_after_the_first_night_s_commands_the_known_bug_is_green_and_cron_is_silent(at_night, tmp_path):
    text = (DOCS / "nightly.md").read_text()
    first, cron = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    ended = at_night(first.replace("diffcheck run corpus\n", "diffcheck run corpus || [ $? = 1 ]\n"), fault="lie")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "added " in ended.stdout
    (tmp_path / "nightly.sh").write_text(cron)
    quiet = at_night("sh nightly.sh", fault="lie")
    assert (quiet.returncode, quiet.stdout) == (0, "")
    (tmp_path / "baseline.toml").unlink()
    loud = at_night("sh nightly.sh", fault="lie")
    assert loud.returncode == 1
    assert "1 diverges" in loud.stdout
