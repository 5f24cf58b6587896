"""SIGKILL at random instants: no process remains, no file is half written, and the next run removes temporary files."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.campaigns import kill

STAND_IN = Path(__file__).parents[1] / "doubles" / "kilnd.py"


@pytest.mark.parametrize("times", [1, pytest.param(4, marks=pytest.mark.whole)])
def test_after_a_kill_nothing_is_left_and_reports_are_whole(tmp_path, times):
    subject = f"harness:{shlex.join([sys.executable, str(STAND_IN)])}"
    runs = kill.Runs(tmp_path, (str(kill.CORPUS / "01-decisions" / "leap_year.wasm"),), subject)
    done = kill.trials(runs, times, seed=7, targets=kill.TARGETS if times > 1 else ("diffcheck", "worker"))
    assert {trial.wrong for trial in done} == {""}
    assert {trial.target for trial in done} >= {"diffcheck", "worker"}
    assert runs.left() == []
