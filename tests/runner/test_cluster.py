"""A run on a Dask cluster gives the report of a run at home, also when a worker is killed in the middle of it."""

from __future__ import annotations

import concurrent.futures as cf
import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from diffcheck.cases.discovery import Case, item_at
from diffcheck.cli import main as entry
from diffcheck.config.version import __version__
from diffcheck.errors import ConfigError, DiffcheckError
from diffcheck.process import orphans
from diffcheck.report import json_file
from diffcheck.runner.case_run import skipped
from diffcheck.runner.dask import remote_batch
from diffcheck.runner.dask.dask_cluster import DaskCluster
from diffcheck.runner.engines import choose
from diffcheck.runner.events import CaseFinished
from diffcheck.runner.persist import journal
from diffcheck.runner.plan import Files
from diffcheck.runner.request import Request
from tests.report.normalised import normal
from tests.runner.test_run import COUNTING, ENDLESS, INVALID, NOTHING, START, TRAPPING, artifact


@pytest.fixture(scope="module", autouse=True)
def reaped():
    """This process has been made a subreaper, so what a killed Dask worker had started is its child now, and dead: wait for it."""
    yield
    for pid in orphans.children():
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


TEXTS = (COUNTING, TRAPPING, NOTHING, INVALID, START, ENDLESS, COUNTING, TRAPPING)


@pytest.fixture
def folder(tmp_path):
    cases = tmp_path / "cases"
    cases.mkdir()
    for at, text in enumerate(TEXTS):
        artifact(cases, f"case{at}", text)
    (cases / "case1.wasm.witness.json").write_text("no manifest")
    (cases / "case6.wasm").write_bytes(b"")
    (cases / "case7.toml").write_text("rowz = 1\n")
    return cases


class Dask:
    """A scheduler and two workers, each a process of its own on loopback."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", "s.json")]
        until = time.monotonic() + 120
        while not self._address() and time.monotonic() < until:
            time.sleep(0.1)
        self.processes += [self._start("worker", "--scheduler-file", "s.json", "--nthreads", "1", "--no-nanny") for _ in "ab"]

    def _start(self, *words):
        log = (self.folder / f"{words[0]}-{len(list(self.folder.iterdir()))}.log").open("wb")
        with log:
            command = [sys.executable, "-m", "dask", *words, "--no-dashboard"]
            return subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env={**os.environ, "DIFFCHECK_NO_CACHE": "1"})

    def _address(self):
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.folder / "s.json").read_text())["address"]
        return ""

    @property
    def address(self):
        return self._address()

    def close(self):
        for each in self.processes[::-1]:
            each.kill()
            each.wait()


@pytest.fixture
def dask(tmp_path):
    pytest.importorskip("distributed")
    (tmp_path / "dask").mkdir()
    cluster = Dask(tmp_path / "dask")
    yield cluster
    cluster.close()


def begun(folder, reports, *more):
    command = [sys.executable, "-m", "diffcheck", "run", str(folder), "--subject", "wasmtime-pulley", "--deadline", "0.5"]
    return subprocess.Popen([*command, "--reports", str(reports), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read(reports):
    return normal(json_file.read(reports / "report.json"))


@pytest.mark.whole
def test_the_report_is_the_local_one_also_when_a_worker_is_killed_in_the_middle(folder, tmp_path, dask):
    local = begun(folder, tmp_path / "local")
    assert local.wait(120) in (1, 3), local.communicate()
    hurt = begun(folder, tmp_path / "hurt", "--executor", f"dask:{dask.address}")
    until = time.monotonic() + 120
    while journal.unfinished(tmp_path / "hurt" / journal.FILE_NAME)[0] < 2 and time.monotonic() < until and hurt.poll() is None:
        time.sleep(0.02)
    assert hurt.poll() is None, hurt.communicate()
    dask.processes[1].send_signal(signal.SIGKILL)
    assert hurt.wait(240) == local.returncode, hurt.communicate()
    assert read(tmp_path / "hurt") == read(tmp_path / "local")
    for each in (local, hurt):
        each.communicate()


def test_a_cluster_that_is_not_there_is_an_error_with_a_hint(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("diffcheck.runner.dask.dask_cluster._CONNECT_S", 0.5)
    assert entry.run(["run", str(folder), "--subject", "wasmtime-pulley", "--executor", "dask:tcp://127.0.0.1:9"]) == 2
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in " ".join(capsys.readouterr().err.split())


def test_tls_without_a_certificate_is_told(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    assert entry.run(["run", str(folder), "--subject", "wasmtime-pulley", "--executor", "dask:tls://127.0.0.1:9"]) == 2
    assert "there is no certificate for tls://127.0.0.1:9" in " ".join(capsys.readouterr().err.split())


def test_an_executor_that_is_none_is_refused(capsys):
    assert entry.run(["run", "x.wasm", "--executor", "slurm:somewhere"]) == 2
    assert "is not an executor" in capsys.readouterr().err


# The batch, without Dask.


def wanted(**more):
    request = Request((), subject="wasmtime-pulley", deadline_s=0.5)
    engines = choose(request)
    one, other = remote_batch.identity_key(engines.subject_identity), remote_batch.identity_key(engines.oracle_identity)
    return msgspec.structs.replace(remote_batch.RemoteBatch(__version__, request, one, other, ()), **more)


def answered(given):
    return msgspec.msgpack.decode(remote_batch.run(msgspec.msgpack.encode(given)), type=remote_batch.BatchAnswer)


def test_what_dask_pickles_of_us_is_a_name(folder):
    pickled = pickle.dumps(remote_batch.run)
    assert b"diffcheck.runner.dask.remote_batch" in pickled
    assert len(pickled) < 60


def test_a_batch_is_answered_by_reports_that_know_nothing_of_where_they_were_made(folder):
    data = (folder / "case0.wasm").read_bytes()
    given = wanted(cases=(remote_batch.CarriedCase(Case("x", "no/such/place.wasm"), data),), probe=True)
    answer = answered(given)
    (report,) = answer.reports
    assert (report.case, report.artifact, report.verdict) == ("x", "no/such/place.wasm", "agree")
    assert answer.findings is not None
    assert (answer.refused, answer.lost) == ("", "")


def test_another_diffcheck_or_engine_is_refused_with_both_names():
    assert ", this is 0.0.1" in answered(wanted(version="0.0.1")).refused
    assert "this run needs wasmtime-pulley 1 (abc)" in answered(wanted(subject=("wasmtime-pulley", "1", "abc"))).refused
    assert "no backend" in answered(wanted(request=Request((), subject="nothing"))).refused
    assert "cannot read the batch" in msgspec.msgpack.decode(remote_batch.run(b"\x00"), type=remote_batch.BatchAnswer).refused


def test_a_batch_whose_program_dies_is_lost(monkeypatch):
    command = [sys.executable, "-c", "import os, sys; sys.stdin.buffer.read(); os.kill(os.getpid(), 9)"]
    monkeypatch.setattr(remote_batch.process, "own_program", lambda *_words: (command, {}))
    assert "ended with -9" in answered(wanted()).lost


def test_names_of_files_lead_nowhere(tmp_path):
    carried = remote_batch.CarriedCase(Case("../../x", "../../../etc/x.wasm", manifest="../y"), b"a", b"m", "why")
    files = remote_batch._write_files(tmp_path / "case-0", carried)
    assert files == Files(str(tmp_path / "case-0" / "artifact"), str(tmp_path / "case-0" / "manifest"), "why")


class Future:
    def __init__(self, result):
        self._result = result

    def result(self):
        if isinstance(self._result, Exception):
            raise self._result
        return msgspec.msgpack.encode(self._result)


class KilledWorker(Exception):  # noqa: N818 - Dask's name
    """What Dask says when a task's workers died again and again."""


def cluster():
    request = Request((), subject="wasmtime-pulley", cluster="tcp://somewhere")
    return DaskCluster(choose(request), lambda: False)


def case_reports(each, future, *names):
    cases = tuple(remote_batch.CarriedCase(Case(name, f"{name}.wasm"), b"") for name in names)
    return [event.report for event in each._answered(future, cases) if isinstance(event, CaseFinished)]


@pytest.mark.parametrize("lost", [KilledWorker("w"), remote_batch.BatchAnswer(lost="the batch's program ended with -9")])
def test_what_was_lost_is_run_again_alone_and_then_has_no_verdict(lost):
    one = cluster()
    assert case_reports(one, Future(lost), "a", "b") == []
    assert [[each.case.id for each in cases] for cases in one._waiting] == [["a"], ["b"]]
    (report,) = case_reports(one, Future(lost), "a")
    assert report.verdict == "inconclusive"
    assert "died" in report.reason or "ended with -9" in report.reason


def test_what_no_worker_can_do_or_no_cluster_answers_ends_the_run():
    with pytest.raises(ConfigError, match="a Dask worker cannot run the cases: no kilnd"):
        case_reports(cluster(), Future(remote_batch.BatchAnswer(refused="no kilnd")), "a")
    with pytest.raises(DiffcheckError, match="at tcp://somewhere does not answer: its scheduler has ended"):
        case_reports(cluster(), Future(cf.CancelledError()), "a")
    with pytest.raises(DiffcheckError, match="does not answer: OSError$"):
        case_reports(cluster(), Future(OSError()), "a")


class Client:
    """Dask's client and its executor in one: of the tasks the first is cancelled, the second is done, a third is not taken."""

    def __init__(self):
        self.submitted = 0

    def get_executor(self, **_options):
        return self

    def ncores(self):
        return {"a worker": 1}

    def submit(self, _function, data):
        (case,) = msgspec.msgpack.decode(data, type=remote_batch.RemoteBatch).cases
        self.submitted += 1
        if self.submitted > 2:
            raise RuntimeError("the client is closed")
        future = cf.Future()
        if self.submitted == 1:
            future.cancel()
        else:
            future.set_result(msgspec.msgpack.encode(remote_batch.BatchAnswer((skipped(case.case, "", "kilnd"),))))
        return future


@pytest.mark.parametrize(("submitted", "finished", "why"), [(0, ["two"], "its scheduler has ended"), (2, [], "RuntimeError: the")])
def test_what_is_finished_is_reported_before_the_error_of_a_lost_scheduler(tmp_path, monkeypatch, submitted, finished, why):
    client = Client()
    client.submitted = submitted
    monkeypatch.setattr(DaskCluster, "_client", lambda _self: contextlib.nullcontext(client))
    monkeypatch.setattr(cf, "wait", lambda futures, *_: (list(futures), []))  # the cancelled one first
    items = [item_at(artifact(tmp_path, name, COUNTING), name) for name in ("one", "two")]
    found = []
    with pytest.raises(DiffcheckError, match=f"does not answer: {why}"):
        found.extend(each.report.case for each in cluster().events(items, probe=False) if isinstance(each, CaseFinished))
    assert found == finished


@pytest.mark.whole
def test_a_scheduler_that_is_killed_leaves_the_error_and_a_report_of_what_was_finished(folder, tmp_path, dask):
    for at in range(8, 16):
        artifact(folder, f"case{at}", ENDLESS)
    hurt = begun(folder, tmp_path / "hurt", "--executor", f"dask:{dask.address}")
    until = time.monotonic() + 120
    while journal.unfinished(tmp_path / "hurt" / journal.FILE_NAME)[0] < 2 and time.monotonic() < until and hurt.poll() is None:
        time.sleep(0.02)
    assert hurt.poll() is None, hurt.communicate()
    dask.processes[0].send_signal(signal.SIGKILL)
    _, err = hurt.communicate(timeout=120)
    assert hurt.returncode == 2
    lines = [line for line in err.splitlines() if line[:1] not in "[╭│╰" and " jobs: " not in line]
    assert lines == [
        f"error: the Dask cluster at {dask.address} does not answer: its scheduler has ended, or the connection to it was lost",
        "hint: check that its scheduler runs, then run again with --resume",
    ]
    assert 2 <= len(json_file.read(tmp_path / "hurt" / "report.json").cases) < len(list(folder.glob("*.wasm")))
    assert journal.unfinished(tmp_path / "hurt" / journal.FILE_NAME)[0]
