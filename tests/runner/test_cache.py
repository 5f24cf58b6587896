"""What is known is not run again, what changed is, and what says more of the machine than of an engine is not kept."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import threading
from pathlib import Path

import pytest

from diffcheck import process
from diffcheck.cli import main as entry
from diffcheck.process import Reactor
from diffcheck.runner import run as runs
from diffcheck.runner.persist.cache_files import PART, Store
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from diffcheck.runner.worker import Setup
from tests.doubles import kilnd as kilnd_double
from tests.report.normalised import normal
from tests.runner.test_journal import collected
from tests.runner.test_run import COUNTING, ENDLESS, INVALID, TRAPPING, artifact

STAND_IN = Path(kilnd_double.__file__)


def engine(path, *arguments, remark=""):
    """A program that is the stand-in for kilnd; another remark makes it another program."""
    path.write_text(f'#!/bin/sh\n# {remark}\nexec {shlex.join([sys.executable, str(STAND_IN), *arguments])} "$@"\n')
    path.chmod(0o755)
    return path


class Night:
    """Runs one artifact after the other in this process, and notes what was started for it."""

    def __init__(self, tmp_path, monkeypatch):
        self.folder, self.cache = tmp_path, tmp_path / "cache"
        self.kilnd = engine(tmp_path / "kilnd")
        self.started: list[str] = []
        # A single case with verbose is run in this process; nobody watches it, so its engines are the reactor's.
        monkeypatch.setattr(runs, "Setup", lambda *values, **_live: Setup(*values))
        for name in ("start", "serve", "serve_own"):
            self._watch(monkeypatch, name)

    def _watch(self, monkeypatch, name):
        before = getattr(Reactor, name)

        def noted(reactor, command, **more):
            self.started.append("oracle" if "diffcheck_backends.wasmtime_server" in command else "subject")
            return before(reactor, command, **more)

        monkeypatch.setattr(Reactor, name, noted)

    def run(self, path, mode="capsule", **more):
        """The report of a run, and what it started: "oracle", "subject". Without the direct pass there are no probes either."""
        self.started.clear()
        options = {"kilnd": str(self.kilnd)}
        request = Request((str(path),), subject="kilnd", verbose=True, mode=mode, options=options, cache=str(self.cache), **more)
        return collected(run(request)), set(self.started)


@pytest.fixture
def night(tmp_path, monkeypatch):
    return Night(tmp_path, monkeypatch)


@pytest.mark.parametrize("text", [COUNTING, TRAPPING, INVALID])
def test_an_unchanged_subject_runs_no_engine_and_the_report_is_the_same(night, tmp_path, text):
    path = artifact(tmp_path, "case", text)
    first, ran = night.run(path, mode="both")
    assert ran == {"oracle", "subject"}
    second, ran = night.run(path, mode="both")
    assert ran == set()
    assert normal(second) == normal(first)
    assert (first.cases[0].cached, second.cases[0].cached) in {((), ("oracle", "subject")), ((), ("subject",))}
    assert second.cases[0].passes[-1].subject is None or second.cases[0].passes[-1].subject.cost.executions > 0


def test_a_changed_subject_runs_no_oracle(night, tmp_path):
    path = artifact(tmp_path, "case", TRAPPING)
    first, _ = night.run(path)
    engine(night.kilnd, remark="another build")
    second, ran = night.run(path)
    assert ran == {"subject"}
    assert second.cases[0].cached == ("oracle",)
    assert second.subject.sha256 != first.subject.sha256


def test_a_script_is_another_program_when_a_file_that_it_names_is_another(night, tmp_path):
    real = tmp_path / "real-kilnd.py"
    real.write_bytes(STAND_IN.read_bytes())
    night.kilnd.write_text(f'#!/bin/sh\nexec {sys.executable} {real} "$@"\n')
    path = artifact(tmp_path, "case", COUNTING)
    night.run(path)
    assert night.run(path)[1] == set()
    real.write_bytes(STAND_IN.read_bytes() + b"# rebuilt\n")
    assert night.run(path)[1] == {"subject"}


def test_other_rows_limits_bytes_or_arguments_are_another_program(night, tmp_path):
    path = artifact(tmp_path, "case", COUNTING)
    night.run(path)
    assert night.run(path, deadline_s=9.0)[1] == {"oracle", "subject"}
    (tmp_path / "case.toml").write_text('rows = ["run_row_1"]\n')
    assert night.run(path)[1] == {"oracle", "subject"}
    (tmp_path / "case.toml").unlink()
    assert night.run(path)[1] == set()
    artifact(tmp_path, "case", COUNTING.replace("(i64.const 1)", "(i64.const 2)"))
    assert path.read_bytes() != b""
    assert night.run(path)[1] == {"oracle", "subject"}


def test_a_divergence_with_its_confirmation_needs_no_engine(night, tmp_path):
    engine(night.kilnd, "--fault", "lie")
    path = artifact(tmp_path, "case", COUNTING)
    first, _ = night.run(path, confirm=3)
    assert (first.cases[0].verdict, len(first.cases[0].passes[0].repeats)) == ("diverge", 3)
    second, ran = night.run(path, confirm=3)
    assert ran == set()
    assert normal(second) == normal(first)
    _, ran = night.run(path, confirm=5)  # two more runs than there are on the tape
    assert ran == {"subject"}


def test_damaged_entries_are_run_again_and_whole_afterwards(night, tmp_path):
    path = artifact(tmp_path, "case", TRAPPING)
    first, _ = night.run(path)
    files = [each for each in (night.cache / PART).rglob("*") if each.is_file()]
    assert len(files) >= 3
    for at, file in enumerate(files):
        data = bytearray(file.read_bytes())
        if at % 2:
            del data[len(data) // 2 :]
        else:
            data[-1] ^= 1
        file.write_bytes(data)
    second, ran = night.run(path)
    assert ran == {"oracle", "subject"}
    assert normal(second) == normal(first)
    assert night.run(path)[1] == set()


def test_an_endless_loop_is_kept_only_where_its_case_says_so(night, tmp_path):
    path = artifact(tmp_path, "case", ENDLESS)
    night.run(path, deadline_s=0.5)
    assert night.run(path, deadline_s=0.5)[1] == {"oracle", "subject"}
    (tmp_path / "case.toml").write_text('[expect]\ndefault = "inconclusive"\n')
    night.run(path, deadline_s=0.5)
    second, ran = night.run(path, deadline_s=0.5)
    assert (ran, second.cases[0].verdict) == (set(), "inconclusive")


@pytest.mark.parametrize("fault", ["half", "oom"])
def test_what_says_nothing_of_the_engine_is_run_again_and_the_oracle_is_not(night, tmp_path, fault):
    engine(night.kilnd, "--fault", fault)
    path = artifact(tmp_path, "case", COUNTING)
    first, _ = night.run(path)
    assert first.cases[0].verdict != "agree"
    assert night.run(path)[1] == {"subject"}


@pytest.mark.whole
def test_what_is_flaky_is_run_again(night, tmp_path):
    turn = tmp_path / "turn"
    plain, lying = engine(tmp_path / "plain"), engine(tmp_path / "lying", "--fault", "lie")
    night.kilnd.write_text(
        f'#!/bin/sh\nif [ "$1" ]; then exit; fi\n'
        f'if [ "$(wc -c < "$WITNESS_MODULE")" -lt 200 ]; then exec {plain}; fi\n'  # the known answer
        f"if [ -e {turn} ]; then rm {turn}; exec {plain}; else touch {turn}; exec {lying}; fi\n"
    )
    path = artifact(tmp_path, "case", COUNTING)
    seen = []
    for _ in range(2):
        turn.unlink(missing_ok=True)
        report, ran = night.run(path, confirm=3)
        seen.append((report.cases[0].verdict, "subject" in ran))
    assert seen == [("flaky", True), ("flaky", True)]


def test_entries_are_private_and_the_longest_unused_go_first(tmp_path):
    store = Store(tmp_path)
    for at in range(10):
        assert store.put(f"engine/{at}", os.urandom(10_000))
        file = max((tmp_path / PART).rglob("*"), key=lambda each: each.stat().st_mtime_ns if each.is_file() else 0)
        os.utime(file, (at + 1, at + 1))
    assert stat.S_IMODE((tmp_path / PART).stat().st_mode) == 0o700
    assert store.get("engine/0") is not None  # used just now
    assert store.trim(200_000) == 0
    assert store.trim(60_000) == 5
    assert [at for at in range(10) if store.get(f"engine/{at}")] == [0, 6, 7, 8, 9]
    (kept,) = store.kept()
    assert (kept.engine, kept.entries) == ("engine", 5)
    assert kept.bytes < 60_000
    assert store.clear() == 5
    assert store.kept() == ()


def test_a_cache_that_is_a_file_or_full_of_links_costs_a_run_nothing(night, tmp_path):
    night.cache.write_text("no folder")
    path = artifact(tmp_path, "case", COUNTING)
    assert night.run(path)[0].cases[0].verdict == "agree"
    night.cache.unlink()
    night.run(path)
    target = tmp_path / "target"
    for file in [each for each in (night.cache / PART).rglob("*") if each.is_file()]:
        file.rename(target)
        file.symlink_to(target)
    assert night.run(path)[1] == {"oracle", "subject"}


def test_an_entry_is_an_answer_to_its_own_key_alone(tmp_path):
    store = Store(tmp_path)
    for key in ("good-engine/x", "bad-engine/x"):
        store.put(key, key.encode())
    good, bad = (
        next(path for path in (tmp_path / PART / key).rglob("*") if path.is_file()) for key in ("good-engine", "bad-engine")
    )
    good.write_bytes(bad.read_bytes())
    assert store.get("good-engine/x") is None
    assert store.get("bad-engine/x") == b"bad-engine/x"
    assert store.put("good-engine/x", b"again")
    assert store.get("good-engine/x") == b"again"


@pytest.mark.parametrize("what", ["the file's owner", "the folder's owner", "the file's mode"])
def test_what_others_could_have_written_is_not_believed(tmp_path, monkeypatch, what):
    place = tmp_path / "own" / "file"
    process.write_own(place, "key", b"content")
    assert process.read_own(place, "key", 100) == b"content"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    real = Path.lstat if "file" in what else Path.stat
    if "mode" in what:
        place.chmod(0o666)
    elif os.geteuid() == 0:
        os.chown(place if "file" in what else place.parent, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: real(place).st_uid + 1)
    assert process.read_own(place, "key", 100) is None


def test_two_that_write_the_same_entry_leave_one_whole(tmp_path):
    contents = [bytes([at]) * 200_000 for at in range(4)]
    seen: list[bytes | None] = []

    def work(content):
        store = Store(tmp_path)
        for _ in range(20):
            store.put("engine/same", content)
            seen.append(store.get("engine/same"))

    threads = [threading.Thread(target=work, args=(content,)) for content in contents]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert set(seen) <= set(contents)
    assert len(list((tmp_path / PART).rglob("*/*/*"))) == 1


def test_the_commands_show_and_clear_it_and_a_run_without_it_keeps_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIFFCHECK_NO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    artifact(tmp_path, "case", COUNTING)
    words = ["run", "case.wasm", "--subject", "wasmtime-pulley"]
    assert entry.run([*words, "--no-cache"]) == 0
    assert not (tmp_path / "xdg" / "diffcheck" / PART).exists()
    assert entry.run(words) == 0
    assert "from the cache" not in capsys.readouterr().out
    assert entry.run(words) == 0
    assert "1 of 1 subject results and 1 oracle results from the cache" in capsys.readouterr().out
    assert entry.run(["cache", "info"]) == 0
    assert "wasmtime-pulley-" in capsys.readouterr().out
    (tmp_path / "diffcheck.toml").write_text('cache = "elsewhere"\n')
    assert entry.run(["cache", "info"]) == 2
    assert entry.run(["--trust-config", "cache", "info"]) == 0
    assert f"0 entries, 0 B of at most 2.1 GB, in {tmp_path / 'elsewhere'}" in capsys.readouterr().out.replace("\n", "")
    assert entry.run(["cache", "clear", "--cache", str(tmp_path / "xdg" / "diffcheck")]) == 0
    assert "entries removed" in capsys.readouterr().out
    assert Store(tmp_path / "xdg" / "diffcheck").kept() == ()


@pytest.mark.parametrize(("name", "reason"), [("file", "Not a directory"), ("/proc/sys", "No such file"), ("own", "")])
def test_a_cache_that_cannot_be_written_is_a_note(tmp_path, monkeypatch, capsys, name, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DIFFCHECK_NO_CACHE")
    (tmp_path / "file").write_text("")
    artifact(tmp_path, "case", COUNTING)
    assert entry.run(["run", "case.wasm", "--subject", "wasmtime-pulley", "--cache", name]) == 0
    written = " ".join(capsys.readouterr().err.split())
    assert (f"note: nothing is cached: {tmp_path / name} cannot be written: {reason}" in written) == bool(reason)
    assert written.count("nothing is cached") == bool(reason)


def test_a_script_s_digest_is_of_the_programs_that_it_names(tmp_path):
    named, script, log = tmp_path / "named", tmp_path / "script", tmp_path / "log"
    named.write_bytes(b"\x7fELF one")
    named.chmod(0o755)
    script.write_text(f"#!/bin/sh\necho started >> {log}\nexec '{named}' \"$@\"\n")
    before = process.program_digest(str(script))
    log.write_text("started\n")
    assert process.program_digest(str(script)) == before  # what it writes to is no part of it
    named.write_bytes(b"\x7fELF two")
    assert process.program_digest(str(script)) != before
    assert process.program_digest(str(tmp_path / "missing")) == process.program_digest(str(tmp_path / "gone"))
