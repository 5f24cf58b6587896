"""A run that was stopped goes on, and only as the same run; two runs do not write to one folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import msgspec
import pytest

from diffcheck import process
from diffcheck.cli import main as entry
from diffcheck.errors import ConfigError, ReportError
from diffcheck.nightly import history
from diffcheck.report.model import Collector
from diffcheck.runner.events import CaseFinished, CaseStarted, EngineProbed, RunStarted
from diffcheck.runner.persist import journal
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from tests.report.normalised import normal
from tests.runner.test_run import COUNTING, NOTHING, TRAPPING, artifact


@pytest.fixture
def folder(tmp_path):
    cases = tmp_path / "cases"
    cases.mkdir()
    for at, text in enumerate((COUNTING, TRAPPING, NOTHING, COUNTING)):
        artifact(cases, f"case{at}", text)
    return cases


def request(folder, **more):
    path = folder.parent / journal.FILE_NAME
    return Request((str(folder),), subject="wasmtime-pulley", journal=str(path), **more)


def collected(events):
    collector = Collector({})
    for event in events:
        collector.take(event)
    return collector.report()


def stopped_after(count, wanted):
    """A run that is given up after so many cases."""
    events = run(wanted)
    for event in events:
        count -= isinstance(event, CaseFinished)
        if not count:
            break
    events.close()


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_stopped_run_goes_on_where_it_was_and_ends_in_the_same_report(folder, count):
    whole = collected(run(Request((str(folder),), subject="wasmtime-pulley")))
    stopped_after(count, request(folder))
    events = list(run(request(folder, resume=True)))
    begun = [each.case for each in events if isinstance(each, CaseStarted)]
    assert len(begun) == 4 - count
    assert next(each for each in events if isinstance(each, RunStarted)).resumed == count
    assert sum(isinstance(each, EngineProbed) for each in events) == 1
    assert normal(collected(events)) == normal(whole)


def test_an_interrupted_run_is_called_discarded_when_a_new_one_begins(folder, capsys):
    stopped_after(1, request(folder))
    words = ["run", str(folder), "--subject", "wasmtime-pulley", "--reports", str(folder.parent)]
    assert entry.run([*words, "-k", "nosuchcase"]) == 2
    assert "is discarded" not in capsys.readouterr().err
    assert journal.unfinished(folder.parent / journal.FILE_NAME)[0] == 1
    entry.run(words)
    assert "an interrupted run (1 of 4 cases) is discarded" in capsys.readouterr().err


def test_a_run_that_goes_on_has_the_start_of_the_first(folder):
    stopped_after(1, request(folder))
    path = folder.parent / journal.FILE_NAME
    connection = sqlite3.connect(path)
    (data,) = connection.execute("SELECT value FROM head WHERE name = 'head'").fetchone()
    head = msgspec.structs.replace(msgspec.msgpack.decode(data, type=journal.RunIdentity), started="2001-02-03T04:05:06+00:00")
    connection.execute("UPDATE head SET value = ? WHERE name = 'head'", (msgspec.msgpack.encode(head),))
    connection.commit()
    connection.close()
    assert collected(run(request(folder, resume=True))).started == "2001-02-03T04:05:06+00:00"


@pytest.mark.parametrize("change", ["a byte", "another case's"])
def test_a_damaged_entry_is_run_again(folder, change):
    whole = collected(run(Request((str(folder),), subject="wasmtime-pulley")))
    stopped_after(3, request(folder))
    with contextlib.closing(sqlite3.connect(folder.parent / journal.FILE_NAME)) as connection, connection:
        (one, data), (_, other), _ = connection.execute("SELECT name, report FROM cases WHERE report IS NOT NULL").fetchall()
        forged = other if change != "a byte" else data[:-1] + bytes([data[-1] ^ 1])
        connection.execute("UPDATE cases SET report = ? WHERE name = ?", (forged, one))
    events = list(run(request(folder, resume=True)))
    assert one in {each.case for each in events if isinstance(each, CaseStarted)}
    assert normal(collected(events)) == normal(whole)


def test_a_journal_that_is_a_link_is_not_written_through(folder):
    (folder.parent / "else").write_bytes(b"")
    path = folder.parent / journal.FILE_NAME
    path.symlink_to(folder.parent / "else")
    for name in ("journal", "history"):
        with pytest.raises(ReportError, match="is a link, and links are not followed"):
            journal.unfinished(path) if name == "journal" else history.runs(path)
    list(run(request(folder)))
    assert (folder.parent / "else").read_bytes() == b""


def test_another_run_is_no_run_to_go_on_with(folder):
    stopped_after(1, request(folder))
    with pytest.raises(ConfigError, match="deadline_s was 10.0, now it is 3.0"):
        list(run(request(folder, resume=True, deadline_s=3.0)))
    wanted = msgspec.structs.replace(request(folder, resume=True), subject="wasmtime")
    with pytest.raises(ConfigError, match="subject of the interrupted run was wasmtime-pulley"):
        list(run(wanted))
    (folder / "case2.toml").write_text('rows = ["run_row_0"]\n')
    with pytest.raises(ConfigError, match="case2 has changed"):
        list(run(request(folder, resume=True)))
    (folder / "case2.toml").unlink()
    artifact(folder, "later", COUNTING)
    with pytest.raises(ConfigError, match="later was added"):
        list(run(request(folder, resume=True)))
    (folder / "later.wasm").unlink()
    assert sum(isinstance(each, CaseFinished) for each in run(request(folder, resume=True, jobs=2))) == 4


def test_without_a_journal_or_with_an_empty_one_the_run_begins_anew(folder):
    assert sum(isinstance(each, CaseStarted) for each in run(request(folder, resume=True))) == 4
    (folder.parent / journal.FILE_NAME).write_bytes(b"")
    assert sum(isinstance(each, CaseStarted) for each in run(request(folder, resume=True))) == 4


def test_a_file_that_is_no_journal_is_told(folder):
    (folder.parent / journal.FILE_NAME).write_bytes(b"no database" * 100)
    assert journal.unfinished(folder.parent / journal.FILE_NAME) == (0, 0)
    with pytest.raises(ReportError, match=r"journal.sqlite cannot be used"):
        list(run(request(folder, resume=True)))
    assert sum(isinstance(each, CaseStarted) for each in run(request(folder))) == 4  # a new run needs no old journal


def test_the_second_run_on_a_folder_is_refused_with_who_holds_it(tmp_path):
    code = "import sys, pathlib\nfrom diffcheck.process import locked\nwith locked(pathlib.Path(sys.argv[1])):\n print('held', flush=True)\n sys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ReportError, match=f"another run writes to .*: process {holder.pid} on "), process.locked(tmp_path):
            pass
        assert json.loads((tmp_path / "run.lock").read_bytes())["pid"] == holder.pid
    finally:
        holder.kill()
        holder.wait()
        holder.stdin.close()
        holder.stdout.close()
    with process.locked(tmp_path):  # a lock is gone with its process
        assert json.loads((tmp_path / "run.lock").read_bytes())["pid"] == os.getpid()


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "else").write_bytes(b"x" * 600)
    (tmp_path / "run.lock").symlink_to(tmp_path / "else")
    with pytest.raises(ReportError, match="cannot be locked"), process.locked(tmp_path):
        pass
    assert (tmp_path / "else").read_bytes() == b"x" * 600


def test_a_killed_run_leaves_a_journal_and_a_whole_one_leaves_none(folder, tmp_path):
    command = [sys.executable, "-m", "diffcheck", "run", str(folder), "--subject", "wasmtime-pulley", "--jobs", "1"]
    reports = tmp_path / "reports"

    def begin(*more):
        return subprocess.Popen(
            [*command, "--reports", str(reports), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    killed = begin()
    until = time.monotonic() + 60
    while journal.unfinished(reports / journal.FILE_NAME)[0] == 0 and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    shutil.copytree(reports, tmp_path / "copy")
    output = begin("--resume").communicate()
    assert (reports / "report.json").exists(), output
    assert not (reports / journal.FILE_NAME).exists()
    if (tmp_path / "copy" / journal.FILE_NAME).exists():  # it may have ended before the signal
        assert journal.unfinished(tmp_path / "copy" / journal.FILE_NAME)[1] == 4
