"""A night on two Dask workers, one of which is killed, is a night on this machine."""

from __future__ import annotations

import signal

import msgspec
import pytest

from diffcheck.report import json_file
from diffcheck.runner.persist import journal
from tests.report.normalised import normal
from tests.runner.test_cluster import dask, folder  # noqa: F401 - fixtures

CONFIG = 'workers = 1\njobs = 1\n{}\n[engines]\npulley = "wasmtime-pulley"\n[corpora]\ncorpus = "cases"\n'


def report(service, job):
    (run,) = service.get(f"/api/v1/jobs/{job['id']}/runs").json["items"]
    return msgspec.structs.replace(
        normal(json_file.decode(service.get(f"/api/v1/runs/{run['id']}/report").body, "the report")), baseline=None
    )


@pytest.mark.whole
def test_two_dask_workers_of_which_one_is_killed_give_the_report_of_this_machine(live, folder, dask):  # noqa: F811 - the fixtures
    service = live(config=CONFIG.format(""), DIFFCHECK_DEADLINE="0.5")
    local = report(service, service.run(corpus="corpus"))
    service.stop()
    service = live(config=CONFIG.format(f'executor = "dask:{dask.address}"'), DIFFCHECK_DEADLINE="0.5")
    job = service.post("/api/v1/jobs", {"kind": "run", "corpus": "corpus"}).json
    progress = service.folder / "data" / "jobs" / str(job["id"]) / "reports" / journal.FILE_NAME
    service.until(lambda: journal.unfinished(progress)[0] >= 2)
    dask.processes[1].send_signal(signal.SIGKILL)
    ended = service.ended(job["id"])
    assert ended["state"] == "done", ended
    assert report(service, ended) == local
