"""The shell in docs/nightly.md and docs/nightly.yml does what they say, over an engine that stands in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.runner.test_run import COUNTING, TRAPPING, artifact

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
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "REPORTS": "reports",
        "CASES": "corpus",
        "DIFFCHECK_CAUSES": "0",  # localising takes up to a minute a run
        "DIFFCHECK_MODE": "capsule",  # without the probes of the direct pass
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }

    def call(shell, *, fault="", **more):
        kilnd = standin_kilnd("--fault", fault) if fault else standin_kilnd()
        command = ["bash", "-e", "-o", "pipefail", "-c", shell]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, **more, "DIFFCHECK_KILND": str(kilnd)},
            capture_output=True,
            text=True,
            check=False,
        )

    return call


@pytest.mark.whole
def test_the_workflow_s_steps_run_the_shards_merge_them_and_pass_the_exit_code_on(at_night, tmp_path):
    for name in ("trapping", "more"):
        artifact(tmp_path / "corpus", name, TRAPPING)
    for fault, code in (("", "0"), ("lie", "1")):
        assert at_night(step("the same times for all shards")).returncode == 0
        shutil.rmtree(tmp_path / "shards", ignore_errors=True)
        for number in (1, 2, 3):
            ended = at_night(step("cross-check"), fault=fault, REPORTS="reports", SHARD=f"{number}/3")
            assert ended.returncode == 0, ended.stderr
            handed = tmp_path / "shards" / f"shard-{number}"
            handed.mkdir(parents=True)
            (tmp_path / "reports" / "report.json").rename(handed / "report.json")
        ended = at_night(step("merge"), fault=fault)
        assert ended.returncode == 0, ended.stderr
        assert (tmp_path / "output").read_text().split()[-1] == f"code={code}"
    assert "counting" in (tmp_path / "summary").read_text()
    assert {"report.json", "history.sqlite", "diffcheck.sarif", "junit.xml"} <= {
        each.name for each in (tmp_path / "reports").iterdir()
    }
    assert "2 runs" in at_night(step("what changed")).stdout
    assert (tmp_path / "times" / "report.json").stat().st_size > 100


def test_a_shard_that_fails_fails_its_job(at_night, tmp_path):
    at_night(step("the same times for all shards"))
    assert at_night(step("cross-check"), SHARD="4/3").returncode == 2
    (tmp_path / "shards").mkdir()
    assert at_night(step("merge")).returncode == 0
    assert (tmp_path / "output").read_text().split()[-1] == "code=2"


def test_the_workflow_s_matrix_is_all_of_its_shards():
    text = (DOCS / "nightly.yml").read_text()
    assert "shard: [1/3, 2/3, 3/3]" in text
    assert "cargo" not in text


@pytest.mark.whole
def test_after_the_first_night_s_commands_the_known_bug_is_green_and_cron_is_silent(at_night, tmp_path):
    text = (DOCS / "nightly.md").read_text()
    first, shards, cron, _gate = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    ended = at_night(shards)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "whole" / "report.json").exists()
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
    broken = at_night("sh nightly.sh", DIFFCHECK_MODE="nonsense")
    assert broken.returncode == 2
    assert "exit code 2" in broken.stdout
    assert "'nonsense' is not one of" in broken.stdout
    missing = at_night("sh nightly.sh", PATH="/usr/bin:/bin")
    assert missing.returncode == 127
    assert "exit code 127" in missing.stdout
