"""From an upload to a finding that is known, fixed and returned, over a real service."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import wasmtime

from .conftest import BITS, ONE

PROGRAM = {"bits.wasm": wasmtime.wat2wasm(BITS), "bits.toml": b'rows = ["bits=6"]'}


def test_a_finding_is_new_then_known_then_fixed_then_returned(live):
    service = live()
    job = service.submit(PROGRAM, engine="bad")
    assert (job["state"], job["exit_code"]) == ("done", 1), job
    (finding,) = service.findings()
    assert (finding["state"], finding["issue"]) == ("new", "")
    page = service.get(f"/findings/{finding['id']}")
    assert page.status == 200
    assert "result 0 in bits=6: 1, expected 2" in page.text

    night = service.run(corpus="corpus", engine="bad", again="first night")
    assert night["exit_code"] == 1
    changed = service.call("PATCH", f"/api/v1/findings/{finding['id']}", {"issue": "https://example.org/issues/1"})
    assert changed.json["state"] == "known"
    night = service.run(corpus="corpus", engine="bad", again="second night")
    assert night["exit_code"] == 0
    (run,) = service.get(f"/api/v1/jobs/{night['id']}/runs").json["items"]
    assert (run["totals"]["known"], run["totals"]["diverge"]) == (1, 0)

    service.run(corpus="corpus", engine="good")
    service.submit(PROGRAM, engine="good")
    (finding,) = service.findings()
    assert finding["state"] == "fixed"
    service.run(corpus="corpus", engine="bad", again="third night")
    (finding,) = service.findings()
    assert finding["state"] == "returned"
    words = [each["state"] for each in service.get(f"/api/v1/findings/{finding['id']}").json["history"]]
    assert words == ["returned", "fixed", "seen", "seen", "new"]
    first, second = {run["sha256"] for run in service.get("/api/v1/runs").json["items"]}
    compared = service.get(f"/api/v1/builds/compare?first={first}&second={second}").json
    assert len(compared["only_first"]) + len(compared["only_second"]) == 1


def test_asking_twice_is_one_job_and_another_engine_is_another(live):
    service = live()
    first = service.submit({"one.wasm": wasmtime.wat2wasm(ONE)}, engine="good")
    assert service.submit({"one.wasm": wasmtime.wat2wasm(ONE)}, engine="good") == first
    assert service.submit({"one.wasm": wasmtime.wat2wasm(ONE)}, engine="bad")["id"] != first["id"]
    assert first["exit_code"] == 0


def test_progress_is_streamed_and_ends_with_the_job(live):
    service = live()
    sha256 = service.upload(PROGRAM["bits.wasm"]).json["sha256"]
    job = service.post("/api/v1/jobs", {"kind": "run", "files": [{"name": "bits.wasm", "sha256": sha256}]}).json
    events = service.get(f"/api/v1/jobs/{job['id']}/events")
    assert events.headers["Content-Type"].startswith("text/event-stream")
    assert "event: log" in events.text
    assert '"state":"done"' in events.text.rpartition("event: job")[2]
    for last in ("9" * 15, "9" * 25, "9" * 5000, "-1", "x"):
        again = service.get(f"/api/v1/jobs/{job['id']}/events", Last_Event_ID=last)
        assert (again.status, "event: job" in again.text) == (200, True), last


def test_a_job_is_cancelled_while_it_waits_and_while_it_runs(live):
    service = live("[limits]\njob_seconds = 600\n")
    slow = service.post("/api/v1/jobs", {"kind": "sweep", "engine": "good", "budget_seconds": 600}).json
    waits = service.post("/api/v1/jobs", {"kind": "sweep", "engine": "bad"}).json
    assert service.post(f"/api/v1/jobs/{waits['id']}/cancel").json["state"] == "cancelled"
    service.until(lambda: service.get(f"/api/v1/jobs/{slow['id']}").json["state"] == "running")
    service.post(f"/api/v1/jobs/{slow['id']}/cancel")
    assert service.ended(slow["id"])["state"] == "cancelled"


def test_a_stopped_service_hands_its_job_back_and_goes_on_with_it(live):
    service = live()
    job = service.post("/api/v1/jobs", {"kind": "sweep", "engine": "good", "budget_seconds": 600}).json
    service.until(lambda: service.get(f"/api/v1/jobs/{job['id']}").json["state"] == "running")
    service.stop(signal.SIGTERM)
    assert service.process.returncode == 0
    service.start()
    again = service.until(lambda: (each := service.get(f"/api/v1/jobs/{job['id']}").json)["state"] == "running" and each)
    assert again["attempts"] == 1
    service.post(f"/api/v1/jobs/{job['id']}/cancel")


def test_a_killed_service_leaves_no_process_and_its_job_ends_once(live):
    service = live()
    job = service.post("/api/v1/jobs", {"kind": "run", "corpus": "corpus", "engine": "bad"}).json
    service.until(lambda: service.get(f"/api/v1/jobs/{job['id']}").json["state"] == "running")
    service.stop(signal.SIGKILL)
    service.until(lambda: not _processes(str(service.folder / "data")))
    service.start()
    ended = service.ended(job["id"])
    assert (ended["state"], ended["exit_code"], ended["attempts"]) == ("done", 1, 2)
    assert len(service.get(f"/api/v1/jobs/{job['id']}/runs").json["items"]) == 1
    assert len(service.findings()) == 1


def _processes(words):
    """Processes whose command line has these words."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words.encode() in entry.read_bytes():
                found.append(entry)
    return found
