"""The progress of a run on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from diffcheck.report import progress
from diffcheck.runner import events
from tests.report import samples


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_long_name_is_shortened_and_the_time_is_whole(width):
    target = io.StringIO()
    started, *others = samples.events()
    with progress.Display(Console(file=target, width=width, force_terminal=True, color_system=None), plain=False) as display:
        display.take(started)
        for event in others:
            display.take(event)
    finished = [each.report for each in others if isinstance(each, events.CaseFinished) and each.report.verdict == "diverge"]
    lines = [line for line in target.getvalue().splitlines() if "diverge" in line]
    assert len(lines) == len(finished) > 0
    assert all(line.rstrip().endswith((" ms", " s", "min")) for line in lines)
