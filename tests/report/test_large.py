"""10,000 cases in every format: time and memory, measured in a process of their own.

The time is the processor's, so that other programs on the machine have no part in it; ``benchmarks/reports.py`` tells the clock's.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_10_000_cases_in_all_formats_take_under_10_s_and_300_mb(tmp_path):
    command = [sys.executable, "-m", "tests.report.large", str(tmp_path)]
    took = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=300).stdout)
    assert took["cpu_seconds"] < 10
    assert took["peak_bytes"] < 300_000_000
    assert took["bytes"]["report.markdown"] <= 1 << 20
    assert took["sarif_packed"] <= 10_000_000
