"""SIGKILL at random instants: nothing of ours or of an engine stays, no file is half written, and the next run tidies up."""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import kill
from diffcheck.process import files, private_folder, write_atomically

STAND_IN = Path(__file__).parents[1] / "doubles" / "kilnd.py"


@pytest.mark.slow
def test_after_a_kill_nothing_is_left_and_reports_are_whole(tmp_path):
    subject = f"harness:{shlex.join([sys.executable, str(STAND_IN)])}"
    runs = kill.Runs(tmp_path, (str(kill.CORPUS / "01-decisions" / "leap_year.wasm"),), subject)
    done = kill.trials(runs, 2, seed=7)
    assert {trial.wrong for trial in done} == {""}
    assert len(done) >= 8
    assert {trial.target for trial in done} >= {"diffcheck", "worker"}
    assert runs.left() == []


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def folder(path: Path, *, old: bool = True) -> Path:
    path.mkdir(mode=0o700)
    (path / "module.wasm").write_bytes(b"x")
    if old:
        os.utime(path, (0, 0))
    return path


def test_the_folder_of_a_killed_run_is_removed_by_the_next(temporary):
    stale = folder(temporary / "diffcheck-private-abcd1234")
    with private_folder():
        assert not stale.exists()


def test_a_folder_that_is_in_use_or_new_or_not_ours_by_name_stays(temporary):
    used = folder(temporary / "diffcheck-private-abcd1234")
    new = folder(temporary / "diffcheck-private-abcd5678", old=False)
    named = folder(temporary / "diffcheck-private-of-mine")
    link = temporary / "diffcheck-private-abcd9999"
    link.symlink_to(named)
    descriptor = os.open(used, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with private_folder():
            pass
    finally:
        os.close(descriptor)
    assert used.exists()
    assert new.exists()
    assert (named / "module.wasm").exists()
    assert link.is_symlink()


def test_two_runs_do_not_remove_each_others_folders(temporary):
    with private_folder() as one:
        os.utime(one, (0, 0))
        with private_folder() as other:
            assert one.exists()
            assert other.exists()


def test_what_a_killed_writer_left_is_removed_by_the_next_that_writes_there(tmp_path):
    left = tmp_path / ".diffcheck-0123456789abcdef.tmp"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    write_atomically(tmp_path / "report.json", b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]
