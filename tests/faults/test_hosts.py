"""Hosts that fall short: a full disk, a folder that cannot be written, no memory, few descriptors, a clock that jumps."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from diffcheck import process
from diffcheck.errors import ReportError
from diffcheck.process import files
from diffcheck.report import json_file
from diffcheck.runner import pool
from diffcheck.runner.events import CaseFinished, RunFinished
from diffcheck.runner.request import Request
from diffcheck.runner.run import run

CORPUS = Path(__file__).parents[2] / "corpus" / "01-decisions"
FEW = ("leap_year", "triangle", "days_in_month")


@pytest.fixture
def artifacts(tmp_path) -> Path:
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for name in FEW:
        for path in CORPUS.glob(f"{name}.*"):
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of so many bytes; where that is not permitted the test is left out."""
    mounted = []

    def mount(name: str, options: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("mounting is not permitted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def command(artifacts: Path, reports: Path, *, environment: dict[str, str] | None = None, before=None, jobs: int = 2):
    words = [sys.executable, "-m", "diffcheck", "run", str(artifacts), "--subject", "wasmtime-pulley", "--jobs", str(jobs)]
    return subprocess.run(
        [*words, "--reports", str(reports)],
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=before,
    )


def test_a_full_disk_is_said_and_leaves_no_half_report(artifacts, small_disk):
    reports = small_disk("reports", "size=8k")
    done = command(artifacts, reports)
    assert done.returncode == 2
    assert "disk is full" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [entry.name for entry in reports.iterdir() if entry.name.startswith(("report", ".diffcheck"))]


def test_a_full_disk_leaves_the_report_before(artifacts, small_disk):
    reports = small_disk("reports", "size=256k")
    assert command(artifacts, reports).returncode == 0
    before = (reports / "report.json").read_bytes()
    with contextlib.suppress(OSError):
        (reports / "filler").write_bytes(b"x" * (1 << 20))
    done = command(artifacts, reports)
    assert done.returncode == 2
    assert "disk is full" in done.stderr
    assert (reports / "report.json").read_bytes() == before
    json_file.read(reports / "report.json")


def test_a_full_temporary_folder_is_the_reason_that_no_case_runs(artifacts, small_disk, tmp_path):
    temporary = small_disk("temporary", "size=4k")  # one page, which Python finds enough to take the folder
    stand_in = Path(__file__).parents[1] / "doubles" / "kilnd.py"
    words = [sys.executable, "-m", "diffcheck", "run", str(artifacts), "--subject", f"harness:{sys.executable} {stand_in}"]
    done = subprocess.run(
        [*words, "--reports", str(tmp_path / "reports")],
        env={**os.environ, "TMPDIR": str(temporary)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(temporary.iterdir()) == []


def test_a_read_only_reports_folder_is_said_before_anything_runs(artifacts, small_disk):
    reports = small_disk("reports", "ro,size=64k")
    done = command(artifacts, reports)
    assert done.returncode == 2
    assert "nothing can be written to" in done.stderr
    assert "the file system is read-only" in done.stderr
    assert "hint:" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("number, words", [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")])
def test_each_reason_why_nothing_can_be_written_has_its_words(number, words, tmp_path, monkeypatch):
    def fail(*_arguments: object, **_named: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "open", fail)
    with pytest.raises(ReportError, match=words) as raised:
        process.check_folder(tmp_path)
    assert raised.value.hint


def reports_of(request: Request) -> dict[str, str]:
    events = list(run(request))
    assert isinstance(events[-1], RunFinished)
    return {event.report.case: event.report.verdict for event in events if isinstance(event, CaseFinished)}


def test_without_free_memory_cases_run_one_after_the_other(artifacts, monkeypatch):
    monkeypatch.setattr(process, "available_memory_bytes", lambda: 0)
    at_once, most = set(), 0
    send, answered = pool.Pool._send, pool.Pool._answered

    def note_send(self, slot, doing, *rest):
        nonlocal most
        if doing == "go":
            at_once.add(slot)
            most = max(most, len(at_once))
        send(self, slot, doing, *rest)

    def note_answer(self, slot):
        at_once.discard(slot)
        yield from answered(self, slot)

    monkeypatch.setattr(pool.Pool, "_send", note_send)
    monkeypatch.setattr(pool.Pool, "_answered", note_answer)
    request = Request((str(artifacts),), subject="wasmtime-pulley", jobs=3)
    assert reports_of(request) == dict.fromkeys(FEW, "agree")
    assert most == 1


@pytest.mark.parametrize("number", [12, 20, 32])
def test_with_few_descriptors_a_run_ends_in_verdicts_or_in_an_error_that_says_why(number, artifacts, tmp_path):
    done = command(
        artifacts, tmp_path / "reports", before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number)), jobs=4
    )
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert len(json_file.read(tmp_path / "reports" / "report.json").cases) == len(FEW)
    elif (tmp_path / "reports" / "report.json").exists():
        report = json_file.read(tmp_path / "reports" / "report.json")
        assert len(report.cases) == len(FEW)
        assert all(case.verdict == "agree" or "files" in case.reason for case in report.cases)
    else:
        assert done.returncode == 2
        assert "files" in done.stderr
        assert "hint:" in done.stderr


CLOCK = """
import random, time
real = time.time
def jumping():
    return real() + random.choice((-1e9, -3600, 0, 0.5, 3600, 1e9))
time.time = jumping
time.time_ns = lambda: int(jumping() * 1e9)
"""


def test_a_clock_that_jumps_changes_no_verdict_and_ends_no_deadline(artifacts, tmp_path):
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(CLOCK)
    environment = {"PYTHONPATH": f"{tmp_path / 'clock'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    seen = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time.__name__)"],
        env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert seen.stdout.strip() == "jumping"
    done = command(artifacts, tmp_path / "reports", environment=environment)
    assert done.returncode == 0, done.stderr
    report = json_file.read(tmp_path / "reports" / "report.json")
    assert [case.verdict for case in report.cases] == ["agree"] * len(FEW)
    assert 0 < report.elapsed_ns < 120e9
