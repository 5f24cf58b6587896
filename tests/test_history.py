"""Runs over time, and two runs compared."""

import os
import sqlite3
from datetime import date

import pytest
from msgspec.structs import replace

from diffcheck import process
from diffcheck.cli import main as entry
from diffcheck.cli import run_history
from diffcheck.errors import ReportError
from diffcheck.nightly import baseline, history
from diffcheck.nightly.run_diff import diff
from diffcheck.observation import Cost, Identity, Returned
from diffcheck.report import files, json_file
from diffcheck.report.page_data import Life
from diffcheck.verdict import SideReport
from tests.report import samples
from tests.test_baseline import agreeing, diverging, report
from tests.test_baseline import entry as entry_of


def night(number, *cases, version="0.4.4", sha="bb" * 32):
    return replace(report(*cases), started=f"2026-05-{number:02}T03:00", subject=Identity("kilnd", version, "/k", sha))


def costing(ms, peak=50 << 20):
    side = SideReport(Returned(), "returned", Cost(ms * 10**6, ms * 10**6, peak, 1))
    return samples.case("x", [replace(samples.agreed(), subject=side)])


@pytest.fixture
def path(tmp_path):
    return tmp_path / history.FILE_NAME


def test_a_change_is_told_with_the_subject_s_version_and_a_skipped_night_is_none(path):
    history.add(path, night(1, agreeing("x")))
    history.add(path, night(2, samples.case("x", [], "skipped")))
    history.add(path, night(3, diverging("x", "a"), version="0.4.5", sha="cc" * 32))
    history.add(path, night(4, diverging("x", "a"), version="0.4.5", sha="cc" * 32))
    seen = history.nights(path)["x"]
    first, change = history.changes("x", seen)
    assert first.before is None
    assert (change.before.verdict, change.after.verdict, change.after.version, change.after.signatures) == (
        "agree", "diverge", "0.4.5", ("a",),
    )  # fmt: skip
    assert history.strip(path, "kilnd") == {"a": ("absent", "not run", "diverge", "diverge")}


def test_the_strip_has_the_runs_of_the_same_subject(path):
    other = replace(night(1, diverging("x", "b")), subject=Identity("wasmtime-pulley", "50.0.1", "", "dd" * 32))
    for each in (other, night(2, agreeing("x")), replace(other, started="2026-05-03T03:00"), night(4, diverging("x", "a"))):
        history.add(path, each)
    assert history.strip(path, "kilnd") == {"a": ("absent", "diverge")}


def test_the_page_has_a_cluster_s_state_and_the_strip_up_to_its_own_run(tmp_path):
    known = baseline.Baseline({"a": entry_of("a")})
    runs = [night(1, agreeing("x")), night(2, diverging("x", "a")), night(3, diverging("x", "a", "b")), night(4, agreeing("x"))]
    for each in runs:
        history.add(tmp_path / history.FILE_NAME, each)
    lives = run_history.lives(baseline.apply(runs[2], known, date(2026, 5, 3)), tmp_path)
    assert lives["a"] == Life("known", strip=("absent", "diverge", "diverge"))
    assert lives["b"] == Life("new", strip=("absent", "absent", "diverge"))
    page = tmp_path / "page.html"
    files.write(runs[2], "html", page, lives)
    assert "history, oldest first: absent, diverge, diverge" in page.read_text()


def test_a_night_of_kept_answers_says_nothing_of_cost(path):
    for number, ms in enumerate([100, 0, 0, 102, 0, 0, 98, 0, 0, 101, 99, 0], 1):
        history.add(path, night(number, costing(ms)))
    history.add(path, night(20, costing(105)))
    assert history.costlier("x", history.nights(path)["x"]) == []


def test_the_same_run_is_added_once_and_old_ones_go(path, monkeypatch):
    monkeypatch.setattr(history, "KEPT", 3)
    for number in (1, 1, 2, 3, 4, 5):
        history.add(path, night(number, agreeing("x")))
    assert history.runs(path) == 3
    assert [each.started[:10] for each in history.nights(path, "x")["x"]] == ["2026-05-03", "2026-05-04", "2026-05-05"]


def test_the_file_is_strict_in_wal_mode_and_versioned(path):
    history.add(path, night(1, agreeing("x")))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA user_version").fetchone() == (history.VERSION,)
    assert all("STRICT" in sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table'"))
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ReportError, match="newer"):
        history.runs(path)


def test_a_damaged_file_is_told(path):
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(ReportError, match="cannot be used"):
        history.add(path, night(1, agreeing("x")))


# What SQLite says of a file that may not grow is what it says of a full disk.
FILLING = "PRAGMA max_page_count = 1; CREATE TABLE more (bytes BLOB); INSERT INTO more VALUES (zeroblob(1000000));"


def test_a_full_disk_is_named_and_no_advice_is_given_to_move_the_file(path):
    history.add(path, report(agreeing("a")))
    with pytest.raises(ReportError, match="the disk is full") as raised, history.opened(path) as connection:
        connection.executescript(FILLING)
    assert raised.value.hint == "free some space"


def test_an_io_error_on_a_disk_without_room_is_a_full_disk(path, monkeypatch):
    error = sqlite3.OperationalError("disk I/O error")
    assert not process.is_full(error, path.parent)
    assert not process.is_full(ValueError(), path.parent)
    real = os.statvfs(path.parent)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([0 if at == 4 else each for at, each in enumerate(real)]))
    assert process.is_full(error, path.parent)
    assert not process.is_full(ValueError(), path.parent)


def test_it_is_kept_small(path):
    cases = [agreeing(f"folder/case{number}") for number in range(500)]
    for number in range(1, 21):
        history.add(path, night(number, *cases))
    assert path.stat().st_size / 10_000 < 120


@pytest.mark.parametrize(
    ("before", "now", "reported"),
    [
        ([100, 102, 98, 101, 99, 100], costing(180), "slower"),
        ([100, 180, 60, 140, 90, 170], costing(180), ""),
        ([100, 102, 98, 101], costing(500), ""),
        ([1, 1, 1, 1, 1, 1], costing(4), ""),
        ([100, 102, 98, 101, 99, 100], costing(100, 90 << 20), "more memory"),
    ],
)
def test_a_subject_is_costlier_beyond_its_own_noise(path, before, now, reported):
    for number, ms in enumerate(before, 1):
        history.add(path, night(number, costing(ms)))
    history.add(path, night(20, now))
    found = history.costlier("x", history.nights(path)["x"])
    assert [each.what.split(":")[0] for each in found] == ([reported] if reported else [])


def test_a_run_from_the_cache_says_nothing_of_cost(path):
    for number, ms in enumerate([100, 102, 98, 101, 99, 100], 1):
        history.add(path, night(number, costing(ms)))
        history.add(path, replace(night(number, replace(costing(1), cached=("oracle", "subject"))), started=f"2026-06-{number:02}"))
    assert history.costlier("x", history.nights(path)["x"]) == []
    history.add(path, replace(night(20, costing(180)), started="2026-07-01"))
    assert len(history.costlier("x", history.nights(path)["x"])) == 1


def test_a_run_says_where_its_subject_got_costlier(tmp_path, capsys):
    for number, ms in enumerate([100, 102, 98, 101, 99, 100, 300], 1):
        run_history.remember(night(number, costing(ms)), tmp_path)
    assert capsys.readouterr().err == "note: x got slower: 300 ms, before 100 ms (median of 6 runs)\n"


def test_hostile_names_are_stored_and_found(path):
    for name in ("\ud800", "nul\0", "'; DROP TABLE cases; --", "x" * 100_000):
        history.add(path, replace(night(1, agreeing(name)), started=name[:5]))
    assert history.runs(path) == 4


def test_two_runs_are_told_apart():
    one = report(agreeing("v"), diverging("w", "gone"), diverging("x", "a"), diverging("y", "same"))
    other = report(diverging("x", "a"), diverging("z", "a"), diverging("y", "same"), diverging("w", "new"))
    changes = diff(one, other)
    assert [[each.signature for each in part] for part in (changes.appeared, changes.gone, changes.changed, changes.unchanged)] == [
        ["new"], ["gone"], ["a"], ["same"],
    ]  # fmt: skip
    assert {each.case: (each.before, each.after) for each in changes.cases} == {
        "v": ("agree", ""), "w": ("diverge (gone)", "diverge (new)"), "z": ("", "diverge (a)"),
    }  # fmt: skip
    assert changes.same_cases == 2
    assert diff(one, one).same


def test_the_commands(tmp_path, capsys):
    for number, run in enumerate((report(agreeing("x")), report(diverging("x", "a"))), 1):
        json_file.write(replace(run, root=str(tmp_path)), tmp_path / str(number))
        history.add(tmp_path / history.FILE_NAME, replace(run, started=str(number)))
    one, other = (str(tmp_path / number / "report.json") for number in "12")
    assert entry.run(["compare", one, one]) == 0
    assert entry.run(["compare", one, other]) == 1
    assert "appeared: a" in capsys.readouterr().out
    assert entry.run(["history", "--reports", str(tmp_path)]) == 0
    assert "agree -> diverge" in " ".join(capsys.readouterr().out.split())
    assert entry.run(["history", "nothing", "--reports", str(tmp_path)]) == 2
    file = tmp_path / "baseline.toml"
    arguments = ["--baseline", str(file), "--reports", str(tmp_path / "2")]
    assert entry.run(["baseline", "add", *arguments]) == 2
    assert "not known: a" in capsys.readouterr().err
    assert entry.run(["baseline", "add", "a", "--issue", "url", "--expires", "2030-01-02", *arguments]) == 0
    assert "added a" in capsys.readouterr().out
    assert "expires = 2030-01-02" in file.read_text()
    assert entry.run(["baseline", "update", *arguments]) == 0
    assert entry.run(["baseline", "prune", *arguments]) == 0
    assert entry.run(["baseline", "list", "--baseline", str(file)]) == 0
    assert "1 entry" in capsys.readouterr().out
