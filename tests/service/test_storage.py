"""The store of files, the queue, and reports as they are entered, without a web server."""

from __future__ import annotations

import base64
import errno
import shutil
import sqlite3
import time
from types import SimpleNamespace
from unittest.mock import Mock

import msgspec
import pytest

from diffcheck.config.option_table import parse_size
from diffcheck.errors import ReportError
from diffcheck.nightly import history
from diffcheck.report import json_file, model
from diffcheck.service import catalogue, report_import, results
from diffcheck.service.content_store import StorageFullError, TooLargeError
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs import job_queue, worker
from diffcheck.service.jobs.job_queue import LeaseLostError, Plan, QueueFullError, Step
from diffcheck.service.jobs.job_request import JobRequest, RequestError
from diffcheck.service.settings import ServiceLimits, ServiceSettings
from diffcheck.verdict import Cause
from tests.report import samples
from tests.report.test_model import collect

NOW = time.time()


@pytest.fixture
def data(tmp_path):
    made = DataFolder(
        tmp_path / "data", ServiceSettings(engines={"auto": "auto"}, limits=ServiceLimits(upload="1MiB", disk="1MiB", queue=3))
    )
    made.create()
    return made


def plan(name="x"):
    return Plan("run", (), "corpus", identity=(name,))


def test_a_file_is_stored_once_under_its_digest(data):
    digest = data.store.add([b"ab", b"c"])
    assert data.store.path(digest).read_bytes() == b"abc"
    assert data.store.add([b"abc"]) == digest
    assert data.store.used_bytes() == 3
    for bad in ("../../etc/passwd", "0" * 64, digest + "\n", ""):
        with pytest.raises(FileNotFoundError):
            data.store.path(bad)


def test_too_large_a_file_leaves_nothing_behind(data):
    with pytest.raises(TooLargeError):
        data.store.add([b"x" * (1 << 20), b"y"])
    assert data.store.used_bytes() == 0
    assert not [path for path in (data.path / "files").rglob("*") if path.is_file()]


def test_rendered_reports_make_room_and_uploads_stay(data):
    kept = data.store.add([b"k" * 600_000])
    derived = data.store.add([b"d" * 600_000], derived=True)
    new = data.store.add([b"n" * 10])
    assert (data.store.exists(kept), data.store.exists(derived), data.store.exists(new)) == (True, False, True)
    data.store.add([b"m" * 500_000])
    with pytest.raises(StorageFullError):
        data.store.add([b"o"])
    assert data.store.path(kept).read_bytes() == b"k" * 600_000


def test_a_full_disk_refuses_files_and_reading_goes_on(data, monkeypatch):
    digest = data.store.add([b"abc"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(StorageFullError, match="the disk is full"):
        data.store.add([b"x"])
    assert data.store.path(digest).read_bytes() == b"abc"


def test_a_job_is_not_begun_without_room_for_what_it_finds(data, monkeypatch):
    number, _ = data.queue.submit(plan(), "x")
    reserve = parse_size(data.settings.limits.reserve)
    monkeypatch.setattr(worker, "_FULL_S", 0)

    def attempts(free):
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
        stopped = iter((False, True, True))
        worker.JobWorker(data, "w", lambda: next(stopped)).run()
        with data.database.reading() as connection:
            return catalogue.job(connection, number).attempts

    assert attempts(reserve // 2 - 1) == 0
    assert attempts(reserve - 1) == 1
    with pytest.raises(StorageFullError):  # half of the reserve is not for uploads
        data.store.add([b"x"])


def test_a_job_is_run_by_priority_and_ends_once(data):
    first, _ = data.queue.submit(plan("a"), "a")
    urgent, new = data.queue.submit(plan("b"), "b", priority=1)
    assert new
    assert data.queue.submit(plan("a"), "a") == (first, False)
    held = data.queue.claim("w1")
    assert held.id == urgent
    data.queue.recover("w1")
    again = data.queue.claim("w2")
    assert again.id == urgent
    with pytest.raises(LeaseLostError), data.database.writing() as connection:
        job_queue.finish(connection, held, "done", 0, "")
    with data.database.writing() as connection:
        job_queue.finish(connection, again, "done", 0, "")
    with pytest.raises(LeaseLostError):
        data.queue.renew(again)
    assert data.queue.claim("w2").id == first
    assert data.queue.claim("w2") is None


def test_a_job_that_kills_its_workers_fails_in_the_end(data):
    number, _ = data.queue.submit(plan(), "x")
    for _ in range(job_queue.MOST_ATTEMPTS):
        assert data.queue.claim("w").id == number
        data.queue.recover("w")
    assert data.queue.claim("w") is None
    with data.database.reading() as connection:
        assert catalogue.job(connection, number).state == "failed"
    assert data.queue.submit(plan(), "x") == (number, False)  # asked again, it is tried again
    assert data.queue.claim("w").id == number


def test_a_lease_that_is_not_renewed_expires(data, monkeypatch):
    number, _ = data.queue.submit(plan(), "x")
    data.queue.claim("w")
    data.queue.expire()
    assert data.queue.claim("w") is None
    monkeypatch.setattr(time, "time", lambda at=NOW: at + 3600)
    data.queue.expire()
    assert data.queue.claim("w").id == number


def test_a_full_queue_refuses_jobs(data):
    for name in "abc":
        data.queue.submit(plan(name), name)
    with pytest.raises(QueueFullError):
        data.queue.submit(plan("d"), "d")


def test_a_job_that_fails_for_want_of_room_is_handed_back(data, monkeypatch):
    number, _ = data.queue.submit(plan(), "x")
    full = ReportError("the disk is full")
    full.__cause__ = OSError(errno.ENOSPC, "no space")
    monkeypatch.setattr(worker.JobProcess, "run", Mock(side_effect=full))
    with pytest.raises(StorageFullError):
        worker.JobWorker(data, "w", lambda: False).work(data.queue.claim("w"))
    with data.database.reading() as connection:
        job = catalogue.job(connection, number)
    assert (job.state, job.attempts) == ("queued", 0)


def test_a_job_whose_folder_is_gone_fails_with_the_reason(data, tmp_path):
    gone = tmp_path / "gone"
    number, _ = data.queue.submit(msgspec.structs.replace(plan(), folder=str(gone), steps=(Step(("run", ".")),)), "x")
    worker.JobWorker(data, "w", lambda: False).work(data.queue.claim("w"))
    with data.database.reading() as connection:
        job = catalogue.job(connection, number)
    assert job.state == "failed"
    assert str(gone) in job.reason


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "a run needs files or a corpus"),
        ([("a.toml", b"")], "at least one"),
        ([("a.wasm", b"x"), ("diffcheck.toml", b'subject = "harness:sh"')], "not an artifact"),
        ([("a.wasm", b"x"), ("a.exe", b"x")], "not an artifact"),
        ([("a.wasm", b"x"), ("a.toml", b"nonsense = 1")], "a.toml"),
        ([("a.wasm", b"x"), ("a.toml", b"[limits]\ndeadline_s = 500")], "60 seconds"),
        ([("a.wasm", b"x"), ("a.toml", b'stdin_file = "/etc/passwd"')], "stdin_file"),
    ],
)
def test_a_hostile_set_of_files_is_refused(data, files, said):
    named = [{"name": name, "sha256": data.store.add([content])} for name, content in files]
    with pytest.raises(RequestError, match=said):
        data.planner.plan(msgspec.convert({"kind": "run", "files": named}, JobRequest))


@pytest.mark.parametrize("name", ["../a.wasm", "a/b.wasm", ".wasm", "-x.wasm", "a\n.wasm", "\u202ea.wasm", "a" * 101, ""])
def test_a_hostile_name_is_no_file_of_a_job(name):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "run", "files": [{"name": name, "sha256": "0" * 64}]}, JobRequest)


def test_engines_come_from_the_configuration_only(data):
    sha256 = data.store.add([b"x"])
    for engine in ("harness:sh -c id", "kilnd:/bin/sh", "build:1", "latest", "auto;id"):
        with pytest.raises(RequestError):
            data.planner.plan(
                msgspec.convert({"kind": "run", "engine": engine, "files": [{"name": "a.wasm", "sha256": sha256}]}, JobRequest)
            )


def test_a_hunt_has_other_programs_each_time_and_its_finds_stay_and_become_findings(data):
    first, second = (data.planner.plan(JobRequest("hunt", again=again))[0] for again in ("a", "b"))
    hunt, run = first.steps
    assert hunt.arguments != second.steps[0].arguments
    finds = hunt.arguments[hunt.arguments.index("--finds") + 1]
    assert finds.startswith(str(data.path))
    assert run.arguments[:2] == ("run", finds)
    assert run.reports == ("",)


def enter(data, report, suite="corpus", hooks=()):
    """Enter a report as a worker does."""
    digest = data.store.add([json_file.encode(report)])
    with data.database.writing() as connection:
        number, _ = job_queue.submit(connection, plan(digest), "night")
        results.enter(connection, results.Source(number, "", suite, digest, {}), report, hooks)


def found(data):
    with data.database.reading() as connection:
        return catalogue.findings(connection, "", "", "", None, 100).items


def test_a_cluster_that_is_localised_later_joins_its_cause_and_keeps_its_address(data):
    report = collect(samples.events())
    signatures = [each.signature for each in model.clusters(report)]
    enter(data, report)
    before = found(data)
    assert {each.cause for each in before} == set(signatures)
    with data.database.writing() as connection:
        connection.execute("UPDATE findings SET state = 'known', issue = 'https://example.org/1' WHERE id = ?", (before[0].id,))
    cause = Cause(
        "i32.popcnt returns a wrong result", tuple(signatures), ("corpus/a: here",), "`i32.popcnt` returns a wrong result"
    )
    enter(data, msgspec.structs.replace(report, causes=(cause,), started="2030-01-01T00:00:00+00:00"))
    (after,) = found(data)
    assert (after.cause, after.state, after.issue) == (cause.name, "known", "https://example.org/1")
    with data.database.reading() as connection:
        assert {catalogue.finding(connection, each.id).finding.id for each in before} == {after.id}
    enter(data, msgspec.structs.replace(report, started="2030-01-02T00:00:00+00:00"))
    assert [each.id for each in found(data)] == [after.id]


def test_a_reports_folder_is_imported_once_with_its_history(data, tmp_path):
    report = collect(samples.events())
    for day in range(1, 4):
        night = msgspec.structs.replace(report, started=f"2030-01-0{day}T00:00:00+00:00")
        history.add(tmp_path / history.FILE_NAME, night)
    json_file.write(night, tmp_path)
    assert report_import.enter(data, tmp_path, "corpus") == 3
    assert report_import.enter(data, tmp_path, "corpus") == 0
    with data.database.reading() as connection:
        case = catalogue.cases(connection, "corpus", "", "", None, 10).items[0]
        assert len(case.nights) == 3
        assert len(catalogue.runs(connection, "corpus", None, 10).items) == 3


def test_a_copy_is_made_while_the_database_is_written(data, tmp_path):
    with data.database.writing() as connection:
        job_queue.submit(connection, plan(), "x")
    data.database.backup(tmp_path / "copy.sqlite")
    with sqlite3.connect(tmp_path / "copy.sqlite") as copy:
        assert copy.execute("SELECT count(*) FROM jobs").fetchone() == (1,)
    with pytest.raises(ReportError):
        data.database.backup(tmp_path / "copy.sqlite")
    with pytest.raises(ReportError, match="cannot be written"):
        data.database.backup(tmp_path / "none" / "copy.sqlite")


def test_a_database_of_a_newer_version_is_not_touched(data):
    with data.database.writing() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ReportError, match="newer diffcheck"):
        data.database.prepare()


@pytest.mark.parametrize("key", ["[1%s]" % ("0" * 30), "[-1%s]" % ("0" * 30), '["x"]', "[1,2]", "[" * 500, ""])
def test_a_cursor_that_the_service_did_not_make_is_refused(data, key):
    cursor = base64.urlsafe_b64encode(key.encode()).decode() or "?"
    with data.database.reading() as connection, pytest.raises(catalogue.CursorError):
        catalogue.jobs(connection, "", cursor, 10)
