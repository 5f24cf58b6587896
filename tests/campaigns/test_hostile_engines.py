"""Each way of an engine to fail is an outcome of its own, in words; the run goes on and nothing of the engine stays."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from diffcheck.backend.contract import Program
from diffcheck.observation import sentence, tag
from diffcheck.verdict import CaseReport
from tests.campaigns.hostile import ENGINE, EXPECTED, LATE_S, PARENT_BYTES, children, engines, limits_of
from tests.doubles import hostile

DEADLINE_S = 1.0
MARK = f"diffcheck-hostile-{os.getpid()}"
ONE_RUN = pytest.mark.xdist_group("hostile run")  # which takes some ten seconds


def test_every_way_has_its_class():
    assert EXPECTED.keys() == hostile.WAYS.keys()
    assert EXPECTED.keys() >= hostile.HANGING


@pytest.mark.parametrize("way", sorted(EXPECTED))
def test_a_hostile_engine_is_told_as_what_it_is_within_a_second_of_its_deadline(way, host):
    expected, words = EXPECTED[way]
    limits = limits_of(way, DEADLINE_S)
    for engine in engines(way, host.folder):
        begun = time.monotonic()
        execution = engine.execute(Program("direct", b"\0asm\1\0\0\0"), limits, host)
        assert time.monotonic() - begun < limits.deadline_s + LATE_S
        assert tag(execution.outcome) == expected
        assert words in sentence(execution.outcome)
        assert sentence(execution.outcome).isprintable()
        assert children() == []


class Ran(msgspec.Struct):
    """What the run in a process of its own came to."""

    reports: list[CaseReport]
    interrupted: bool
    left: list[int]
    peak_bytes: int


RUN = """
import sys
from pathlib import Path
import msgspec
from tests.campaigns.hostile import children
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.request import Request
from diffcheck.runner.run import run

folder, subject = sys.argv[1:]
request = Request((folder,), subject=subject, mode="direct", jobs=2, deadline_s=20.0, memory_bytes=256 << 20)
events = list(run(request))
# Not ru_maxrss, which begins at the size of the process that forked this one (Linux, exec_mmap).
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) * 1024
reports = [event.report for event in events if isinstance(event, CaseFinished)]
ran = {"reports": reports, "interrupted": events[-1].interrupted, "left": children(), "peak_bytes": peak}
sys.stdout.buffer.write(msgspec.json.encode(ran))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Ran:
    """One run over an artifact for each way, with good ones between, on an engine that fails as the artifact says."""
    import wasmtime  # noqa: PLC0415 - not for a collection

    folder = tmp_path_factory.mktemp("artifacts")
    counter = '(global (export "__witness_counter_0") (mut i64) (i64.const 3)) (func (export "run"))'
    for way in EXPECTED:
        (folder / f"{way}.wasm").write_bytes(wasmtime.wat2wasm(f'(module {counter} (func (export "way:{way}")))'))
        (folder / f"{way}-after.wasm").write_bytes(wasmtime.wat2wasm(f"(module {counter})"))
        if way in hostile.HANGING:
            (folder / f"{way}.toml").write_text(f"[limits]\ndeadline_s = {DEADLINE_S}\n")
    engine = shlex.join([sys.executable, str(ENGINE), "by-module", MARK])
    words = [sys.executable, "-c", RUN, str(folder), f"harness:{engine}"]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        words, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, timeout=300, check=True
    )
    return msgspec.json.decode(done.stdout, type=Ran)


@pytest.fixture(scope="module")
def reports(ran) -> dict[str, CaseReport]:
    return {report.case: report for report in ran.reports}


@ONE_RUN
@pytest.mark.parametrize("way", sorted(EXPECTED))
def test_the_run_goes_on_after_it(way, ran, reports):
    assert not ran.interrupted
    assert reports[f"{way}-after"].verdict == "agree"


@ONE_RUN
@pytest.mark.parametrize("way", sorted(EXPECTED.keys() - {"good"}))
def test_the_report_says_what_the_engine_did(way, reports):
    outcome, words = EXPECTED[way]
    (direct,) = (each for each in reports[way].passes if each.mode == "direct")
    assert direct.verdict in ("diverge", "inconclusive")
    assert direct.subject is not None
    assert tag(direct.subject.outcome) == outcome
    assert words in direct.subject.words
    assert reports[way].reason


@ONE_RUN
def test_nothing_is_left_and_the_parent_stays_small(ran):
    assert ran.left == []
    assert ran.peak_bytes < PARENT_BYTES
    assert not [line for path in Path("/proc").glob("[0-9]*/cmdline") if MARK in (line := command_line(path))]


def command_line(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:  # it has ended
        return ""
