"""A worker that is stopped by a signal is replaced once its case's deadline is over, and the others' cases are run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import wasmtime

from diffcheck.process import is_stopped
from diffcheck.runner import pool
from diffcheck.runner.events import CaseFinished, CaseStarted
from diffcheck.runner.request import Request
from diffcheck.runner.run import run

COUNTING = """
(module (func (export "run") (result i32) (local i32)
  (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const %d)))) (local.get 0)))
"""
DEADLINE_S = 3.0


def below(pid):
    """A process's children and theirs, by pid to name."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            found[int(child)] = Path(f"/proc/{child}/comm").read_text().strip()
            found |= below(int(child))
        except OSError:
            pass
    return found


@pytest.mark.parametrize("which", ["worker", "keeper"])
def test_a_stopped_worker_costs_only_its_own_case_and_its_deadline(tmp_path, which):
    for at in range(3):
        (tmp_path / f"case-{at}.wasm").write_bytes(wasmtime.wat2wasm(COUNTING % (1_000_000 + at)))
    request = Request((str(tmp_path),), subject="wasmtime-pulley", mode="capsule", jobs=1, deadline_s=DEADLINE_S, hangs=False)
    reports, stopped = {}, 0
    begun = time.monotonic()
    for event in run(request):
        if isinstance(event, CaseStarted) and not stopped:
            stopped = next(pid for pid, name in below(os.getpid()).items() if name == which)
            os.kill(stopped, signal.SIGSTOP)
        if isinstance(event, CaseFinished):
            reports[event.report.case.rpartition("/")[2]] = event.report
    assert time.monotonic() - begun < 60
    assert len(reports) == 3
    if which == "worker":  # it can do its work without the keeper
        assert [each.reason for each in reports.values() if each.verdict == "inconclusive"] == [
            "the worker was replaced: it was stopped by a signal for longer than the deadline"
        ]
    assert sorted(each.verdict for each in reports.values())[:2] == ["agree", "agree"]
    assert not Path(f"/proc/{stopped}").exists()


@pytest.mark.whole
def test_a_worker_with_many_executions_is_not_replaced(tmp_path, standin_kilnd, monkeypatch):
    monkeypatch.setattr(pool, "_WATCH_S", 0.0)
    monkeypatch.setattr(pool, "_WATCH_DEADLINES", 1)
    engine = tmp_path / "slow"
    engine.write_text(f'#!/bin/sh\nsleep 0.5\nexec {standin_kilnd()} "$@"\n')
    engine.chmod(0o755)
    rows = "".join(f'(func (export "run_row_{at}") unreachable)' for at in range(10))
    (tmp_path / "traps.wasm").write_bytes(wasmtime.wat2wasm(f"(module {rows})"))
    request = Request((str(tmp_path / "traps.wasm"),), subject=f"kilnd:{engine}", mode="capsule", deadline_s=DEADLINE_S)
    begun = time.monotonic()
    (report,) = (event.report for event in run(request) if isinstance(event, CaseFinished))
    assert report.verdict == "agree", report.reason
    assert time.monotonic() - begun > DEADLINE_S


def test_a_process_is_stopped_where_its_child_is():
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)
    try:
        assert not is_stopped(os.getpid())
        os.kill(child, signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)
        assert is_stopped(child)
        assert is_stopped(os.getpid())
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert not is_stopped(child)
