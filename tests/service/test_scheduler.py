"""What is due: schedule, watched builds, messages."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import shutil
import socketserver
import threading
import time
from types import SimpleNamespace
from unittest.mock import Mock

import msgspec
import pytest

from diffcheck.service import build_folder, notifications, scheduler
from diffcheck.service.content_store import StorageFullError
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.settings import BuildSettings, ScheduleEntry, ServiceSettings, Webhook
from tests.report import samples
from tests.report.test_model import collect

from .test_storage import enter

HOUR = 3600.0
NOW = time.time()


@pytest.fixture
def made(tmp_path):
    def making(**fields):
        (tmp_path / "corpus").mkdir(exist_ok=True)
        settings = ServiceSettings(engines={"auto": "auto"}, corpora={"corpus": str(tmp_path / "corpus")}, **fields)
        data = DataFolder(tmp_path / "data", settings)
        data.create()
        return data

    return making


def jobs(data):
    with data.database.reading() as connection:
        return [tuple(row) for row in connection.execute("SELECT kind, title, state FROM jobs ORDER BY id")]


@pytest.fixture
def step(monkeypatch):
    """Does what is due at so many seconds after a midnight."""

    def doing(made_scheduler, seconds):
        monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0 // 86_400 * 86_400 + seconds)
        made_scheduler.step()

    return doing


def test_an_entry_is_run_when_it_is_due_and_missed_times_once(made, step):
    data = made(
        schedule=(ScheduleEntry("hourly", corpus="corpus", every_minutes=60), ScheduleEntry("nightly", "sweep", at="02:00"))
    )
    due = scheduler.Scheduler(data)
    step(due, 60)
    assert jobs(data) == []
    step(due, HOUR)
    step(due, HOUR + 1)
    assert [kind for kind, *_ in jobs(data)] == ["run"]
    step(due, 50 * HOUR)  # the service was down for two days
    step(due, 50 * HOUR + 1)
    assert sorted(kind for kind, *_ in jobs(data)) == ["run", "run", "sweep"]


def test_an_entry_without_its_engine_waits_for_it_and_holds_up_no_other(made, step, tmp_path, caplog):
    (tmp_path / "builds").mkdir()
    entries = (ScheduleEntry("newest", "sweep", "latest", every_minutes=60), ScheduleEntry("other", "sweep", every_minutes=60))
    due = scheduler.Scheduler(data := made(builds=BuildSettings(str(tmp_path / "builds"), "kilnd"), schedule=entries))
    for seconds in (60, HOUR, HOUR + 2, HOUR + 4):
        step(due, seconds)
    assert [title for _, title, _ in jobs(data)] == ["other: sweep auto"]
    assert caplog.text.count("there is no such build") == 1
    digest = data.store.add([b"x"])
    with data.database.writing() as connection:
        connection.execute(
            "INSERT INTO builds (sha256, name, version, revision, arrived, state) VALUES (?, 'x', '', '', 0, 'accepted')", (digest,)
        )
    step(due, HOUR + 6)
    assert [title for _, title, _ in jobs(data)][1:] == ["newest: sweep build:1"]


def test_a_defect_in_a_step_does_not_stop_the_scheduler(made, step, monkeypatch, caplog):
    data = made()
    monkeypatch.setattr(build_folder, "watch", Mock(side_effect=KeyError("no such key")))
    monkeypatch.setattr(data.store, "evict", evict := Mock())
    step(scheduler.Scheduler(data), 0)
    assert evict.called
    assert "no such key" in caplog.text


def drop_build(folder, name, about):
    """Put a build and the file beside it into the watched folder, as a CI job does."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho {name}\nexit 1\n")
    program.chmod(0o755)
    (folder / f"{name}.json").write_text(about)


def test_a_build_is_taken_when_it_is_complete_and_checked(made, tmp_path):
    folder = tmp_path / "builds"
    folder.mkdir()
    data = made(builds=BuildSettings(str(folder), "kilnd", "corpus"))
    seen = set()
    program = folder / "engine-1"
    program.write_text("#!/bin/sh\nexit 1\n")
    build_folder.watch(data, seen)
    assert jobs(data) == []
    program.chmod(0o755)
    (folder / "engine-1.json").write_text(json.dumps({"version": "1", "commit": "abc"}))
    build_folder.watch(data, seen)
    build_folder.watch(data, seen)
    assert [kind for kind, *_ in jobs(data)] == ["check"]
    program.unlink()  # CI cleans its folder
    with data.database.writing() as connection:
        connection.execute("UPDATE builds SET state = 'accepted'")
    build_folder.watch(data, seen)
    assert [kind for kind, *_ in jobs(data)] == ["check", "run"]
    drop_build(folder, "engine-2", json.dumps({"version": "2"}))
    build_folder.watch(data, seen)
    with data.database.writing() as connection:
        connection.execute("UPDATE builds SET state = 'accepted'")
    build_folder.watch(data, seen)
    assert jobs(data)[-1][:2] == ("gate", "gate corpus with build:2 against build:1")


def test_a_build_waits_for_room_on_the_disk_and_is_read_once(made, tmp_path, monkeypatch):
    folder = tmp_path / "builds"
    data = made(builds=BuildSettings(str(folder), "kilnd"))
    drop_build(folder, "engine", json.dumps({"version": "1"}))
    seen = set()
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(StorageFullError):
            build_folder.watch(data, seen)
    assert jobs(data) == []
    build_folder.watch(data, seen)
    assert [kind for kind, *_ in jobs(data)] == ["check"]
    monkeypatch.setattr(data.store, "add_file", Mock(side_effect=AssertionError("it was read again")))
    build_folder.watch(data, seen)


@pytest.mark.parametrize("about", ['{"version": 1}', "{", '{"commit": "x"}'])
def test_a_build_with_a_bad_description_is_refused_with_the_reason(made, tmp_path, about):
    folder = tmp_path / "builds"
    data = made(builds=BuildSettings(str(folder), "kilnd"))
    drop_build(folder, "engine", about)
    build_folder.watch(data, set())
    with data.database.reading() as connection:
        (row,) = connection.execute("SELECT state, reason FROM builds").fetchall()
    assert row["state"] == "refused"
    assert row["reason"]


@pytest.fixture
def receiver():
    """A receiver of webhooks whose first answer is an error."""
    taken = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.headers["X-Diffcheck-Signature"], body))
            self.send_response(500 if len(taken) == 1 else 204)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", taken
        server.shutdown()


def test_a_message_is_signed_sent_once_a_cause_and_tried_again(made, tmp_path, receiver, monkeypatch):
    url, taken = receiver
    (tmp_path / "key").write_bytes(b"secret\n")
    hooks = (Webhook(url, str(tmp_path / "key")),)
    data = made(webhooks=hooks)
    report = collect(samples.events())
    enter(data, report, hooks=hooks)
    enter(data, msgspec.structs.replace(report, started="2030-01-01T00:00:00+00:00"), hooks=hooks)  # nothing new
    notifications.deliver(data.database, hooks)
    notifications.deliver(data.database, hooks)
    first = len(taken)
    monkeypatch.setattr(time, "time", lambda at=NOW: at + HOUR)
    notifications.deliver(data.database, hooks)
    assert len(taken) == first + 1
    signature, body = taken[-1]
    assert body == taken[0][1]
    assert signature == f"sha256={hmac.new(b'secret', body, hashlib.sha256).hexdigest()}"
    assert json.loads(body)["event"] == "new"
    assert len({body for _, body in taken}) == first


def test_a_receiver_that_does_not_answer_in_http_is_one_that_failed(made, tmp_path):
    (tmp_path / "key").write_bytes(b"secret\n")

    class Nonsense(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(1 << 16)
            self.request.sendall(b"nonsense\r\n\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Nonsense) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hooks = (Webhook(f"http://127.0.0.1:{server.server_address[1]}/", str(tmp_path / "key")),)
        data = made(webhooks=hooks)
        enter(data, collect(samples.events()), hooks=hooks)
        notifications.deliver(data.database, hooks)
        server.shutdown()
    with data.database.reading() as connection:
        tried = connection.execute("SELECT state, reason FROM deliveries WHERE attempts = 1").fetchall()
    assert [tuple(row) for row in tried] == [("waiting", "nonsense\\x0d\\x0a")]


def test_names_are_plain_text_in_markdown():
    finding = {"id": 1, "title": "`x` <img src=x> [a](b) @all\n# h", "last_build": "1", "fixed_build": "", "issue": ""}
    line = notifications.markdown(finding, "new")
    assert "\n" not in line
    for mark in ("`", "<", "[", "(b", "@", "#"):
        assert mark not in line.replace(f"\\{mark}", "").replace("\\(b", "").replace("in 1", ""), line
