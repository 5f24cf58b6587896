"""What the service's jobs give beside what the commands give."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading

import msgspec
import pytest
import wasmtime

from diffcheck.errors import ConfigError
from diffcheck.report import json_file
from diffcheck.service import catalogue, client
from diffcheck.service.data_folder import DataFolder
from diffcheck.service.jobs.job_request import JobRequest
from diffcheck.service.jobs.worker import JobWorker
from diffcheck.service.settings import BuildSettings, ServiceSettings
from tests.report.normalised import normal

from .conftest import BITS, ONE, PULLEY, make_corpus


def diffcheck(service, *words, cwd=None):
    environment = {**os.environ, "DIFFCHECK_CAUSES": "0", "DIFFCHECK_CONFIRM": "1", **service.environment}
    environment.pop("DIFFCHECK_NO_CACHE", None)
    return subprocess.run(
        [sys.executable, "-m", "diffcheck", *words],
        cwd=cwd or service.folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


def deliver(folder, name, text):
    """Put a build into a watched folder, as a CI job does."""
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    (folder / f"{name}.json").write_text(json.dumps({"version": name, "commit": "abc"}))


def build(service, name, *states):
    """The build with a name, when it has one of the states."""

    def found():
        items = service.get("/api/v1/builds").json["items"]
        return next((each for each in items if each["name"] == name and each["state"] in states), None)

    return service.until(found)


def examined(service, finding, kind):
    """The job of a triage or a bisection, as the finding's page starts it; waits for its end."""
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    answer = service.post(f"/findings/{finding['id']}/examine", f"kind={kind}".encode(), **form)
    assert answer.status == 303, answer.text
    return service.ended(int(answer.headers["Location"].rpartition("/")[2]))


def test_a_night_by_the_service_is_a_night_by_the_command(live, engines):
    service = live()
    job = service.run(corpus="corpus", engine="bad")
    (run,) = service.get(f"/api/v1/jobs/{job['id']}/runs").json["items"]
    by_service = json_file.decode(service.get(f"/api/v1/runs/{run['id']}/report").body, "the report")
    ended = diffcheck(service, "run", "corpus", "--subject", f"kilnd:{engines[1]}", "--jobs", "1", cwd=service.folder / "project")
    assert ended.returncode == job["exit_code"] == 1
    by_command = json_file.read(service.folder / "project" / "reports" / "report.json")
    assert msgspec.structs.replace(normal(by_service), baseline=None) == normal(by_command)


def test_submit_prints_the_report_and_has_the_exit_code_of_run(live, tmp_path):
    service = live()
    (tmp_path / "bits.wasm").write_bytes(wasmtime.wat2wasm(BITS))
    (tmp_path / "bits.toml").write_text('rows = ["bits=6"]')
    submitted = diffcheck(
        service, "submit", "bits.wasm", "--server", service.url, "--engine", "bad", "--wait", "--reports", "submitted"
    )
    assert submitted.returncode == 1, submitted.stderr
    assert "1 difference in 1 case" in submitted.stdout or "1 difference not known in 1 case" in submitted.stdout
    assert "exit code  1" in submitted.stdout
    assert json.loads((tmp_path / "submitted" / "report.json").read_text())["totals"]["diverge"] == 1
    later = diffcheck(service, "submit", "bits.wasm", "--server", service.url, "--engine", "bad")
    assert (later.returncode, later.stdout.strip()) == (0, f"{service.url}/jobs/1")
    refused = diffcheck(service, "submit", "bits.wasm", "--server", service.url, "--engine", "none")
    assert refused.returncode == 2
    assert "there is no engine 'none'" in refused.stderr


def test_submit_to_another_web_server_is_refused_with_what_to_do(tmp_path):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<!doctype html>")

        def log_message(self, *_):
            pass

    (tmp_path / "one.wasm").write_bytes(wasmtime.wat2wasm(ONE))
    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ConfigError, match="is not a diffcheck service"):
            client.Client(f"http://127.0.0.1:{server.server_port}", None).submit([str(tmp_path)], "", auto_rows=False)
        server.shutdown()


@pytest.mark.whole
def test_a_triage_gives_the_finding_its_reduced_program_and_a_reproducer(live):
    service = live()
    service.run(corpus="corpus", engine="bad")
    (finding,) = service.findings()
    assert list(service.get(f"/api/v1/findings/{finding['id']}").json["attachments"]) == ["program.wasm"]
    job = examined(service, finding, "triage")
    assert (job["state"], job["exit_code"]) == ("done", 1), service.get(f"/api/v1/jobs/{job['id']}/log").text
    files = service.get(f"/api/v1/findings/{finding['id']}").json["attachments"]
    assert {"issue.md", "reproduce.sh", "reproduce.wast"} <= set(files)
    assert service.get(f"/api/v1/findings/{finding['id']}/files/program.wasm").body == wasmtime.wat2wasm(BITS)
    assert "popcnt" in service.get(f"/findings/{finding['id']}").text


@pytest.mark.whole
def test_a_watched_build_is_accepted_and_gated_and_no_engine_is_refused(live, engines, tmp_path):
    folder = tmp_path / "builds"
    folder.mkdir()
    service = live('[builds]\nfolder = "builds"\nadapter = "kilnd"\n')

    deliver(folder, "first", engines[0].read_text())
    build(service, "first", "accepted")
    deliver(folder, "none", "#!/bin/sh\necho hello\n")
    assert build(service, "none", "refused")["reason"]
    assert service.get("/api/v1/service").json["engines"][:1] == ["latest"]
    assert service.run(corpus="corpus", engine="latest")["exit_code"] == 0


@pytest.mark.whole
def test_a_map_is_shown_after_a_sweep(live):
    service = live(config=PULLEY, DIFFCHECK_FAMILY="numeric")
    job = service.run(kind="sweep", budget_seconds=1)
    assert (job["state"], job["exit_code"]) == ("done", 0), service.get(f"/api/v1/jobs/{job['id']}/log").text
    page = service.get("/map").text
    assert "numeric" in page
    assert "f32.abs" in page


@pytest.mark.whole
def test_a_hunt_is_run_for_its_budget(live):
    service = live(config=PULLEY)
    job = service.run(kind="hunt", budget_seconds=5)
    log = service.get(f"/api/v1/jobs/{job['id']}/log").text
    assert (job["state"], job["exit_code"]) == ("done", 0), log
    assert "programs" in log


@pytest.mark.whole
def test_a_gate_enters_the_run_of_the_corpus_and_the_sweep(live):
    service = live(config=PULLEY)
    job = service.run(kind="gate", against="pulley", corpus="corpus", budget_seconds=1, seconds=3600)
    assert (job["state"], job["exit_code"]) == ("done", 0), service.get(f"/api/v1/jobs/{job['id']}/log").text
    runs = service.get(f"/api/v1/jobs/{job['id']}/runs").json["items"]
    assert {run["part"]: run["totals"]["agree"] for run in runs}[""] == 2
    assert "numeric" in service.get("/map").text


@pytest.mark.whole
def test_a_bisection_of_a_finding_names_the_first_bad_build(engines, cache, tmp_path, monkeypatch):
    """Without the known answers of each build, which take longer than the bisection."""
    monkeypatch.setenv("DIFFCHECK_CAUSES", "0")
    monkeypatch.setenv("DIFFCHECK_CACHE", cache)
    corpus = make_corpus(tmp_path)
    settings = ServiceSettings(jobs=1, corpora={"corpus": str(corpus)}, builds=BuildSettings(str(tmp_path), "kilnd"))
    data = DataFolder(tmp_path / "data", settings)
    data.create()
    good, bad = (each.read_text() for each in engines)
    for name, text in (("a", good), ("b", f"{good}# another build\n"), ("c", bad)):
        digest = data.store.add([text.encode()])
        data.store.path(digest).chmod(0o500)
        with data.database.writing() as connection:
            values = (digest, name, name, "", 0, "accepted")
            connection.execute(
                "INSERT INTO builds (sha256, name, version, revision, arrived, state) VALUES (?, ?, ?, ?, ?, ?)", values
            )

    def done(request):
        data.queue.submit(*data.planner.plan(request))
        leased = data.queue.claim("w")
        JobWorker(data, "w", lambda: False).work(leased)
        with data.database.reading() as connection:
            job = catalogue.job(connection, leased.id)
        return job.state, job.exit_code, data.log_end(leased.id, 10_000).decode()

    assert done(JobRequest("run", corpus="corpus", engine="latest"))[:2] == ("done", 1)
    state, exit_code, log = done(JobRequest("bisect", finding=1))
    assert (state, exit_code) == ("done", 0), log
    assert "last good  build-2" in log
    assert "first bad  build-3" in log
    with data.database.reading() as connection:
        attachments = catalogue.finding(connection, 1).attachments
    assert data.store.path(attachments["bisect.txt"]).read_text() == log
