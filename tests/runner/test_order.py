"""The longest cases go first, shards are even and the same everywhere, and their merged reports are the whole run's."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from diffcheck.cases.discovery import Item, discover
from diffcheck.cli import main as entry
from diffcheck.config import option_table
from diffcheck.errors import ConfigError, ReportError
from diffcheck.nightly import merge_shards, timings
from diffcheck.report import json_file
from diffcheck.runner.case_order import longest_first, share
from diffcheck.runner.events import CaseStarted
from diffcheck.runner.request import Request
from diffcheck.runner.run import run
from tests.report.normalised import normal
from tests.runner.test_run import COUNTING, INVALID, NOTHING, TRAPPING, artifact

TEXTS = (COUNTING, TRAPPING, NOTHING, INVALID, COUNTING, TRAPPING, COUNTING)


def item(name):
    return Item(name, f"{name}.wasm", "", ".")


def ids(items):
    return [each.id for each in items]


@pytest.fixture
def folder(tmp_path):
    cases = tmp_path / "cases"
    cases.mkdir()
    for at, text in enumerate(TEXTS):
        artifact(cases, f"case{at}", text)
    return cases


def test_the_longest_go_first_and_an_unknown_one_counts_as_the_middle():
    items = [item(name) for name in "abcd"]
    assert ids(longest_first(items, {"a": 1, "b": 9, "d": 5})) == ["b", "c", "d", "a"]
    assert ids(longest_first(items, {})) == ["a", "b", "c", "d"]


def test_without_times_the_largest_go_first(folder):
    (folder / "case2.wasm").write_bytes(b"x" * 100_000)
    found = discover([folder]).items
    assert longest_first(found, {})[0].id == "case2"


def test_the_order_of_a_run_is_that_of_times_and_the_report_s_is_not(folder):
    times = {f"case{at}": at for at in range(len(TEXTS))}
    events = list(run(Request((str(folder),), subject="wasmtime-pulley", times_ns=times)))
    assert [each.case for each in events if isinstance(each, CaseStarted)] == [f"case{at}" for at in reversed(range(len(TEXTS)))]


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
def test_shards_are_even_disjoint_and_whole_whatever_the_order_of_the_items(count):
    items = [item(f"case{at}") for at in range(40)]
    times = {f"case{at}": (at * 7919) % 100 + 1 for at in range(40)}
    shares = [share(items, times, index + 1, count) for index in range(count)]
    again = [share(items[::-1], times, index + 1, count) for index in range(count)]
    assert sorted(name for each in shares for name in ids(each.items)) == sorted(times)
    assert [set(ids(each.items)) for each in shares] == [set(ids(each.items)) for each in again]
    assert len({each.division for each in shares + again}) == 1
    loads = [sum(times[name] for name in ids(each.items)) for each in shares]
    assert max(loads) - min(loads) <= max(times.values())
    others = {**times, "case0": 1000}
    assert share(items, others, 1, 3).division != share(items, times, 1, 3).division


def test_rows_weigh_where_there_are_no_times(folder):
    (folder / "case0.toml").write_text(f"rows = {['run_row_0'] * 900}\n".replace("'", '"'))
    found = discover([folder]).items
    assert ids(share(found, {}, 1, 2).items) == ["case0"]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/", "/3", "-1/3", "1/3/3", "1/0", "1/9999", "a/b", "1.0/3"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="not a shard"):
        option_table.parse_shard(text)


def shards(folder, tmp_path, count, *more):
    files = []
    for index in range(1, count + 1):
        reports = tmp_path / f"shard-{index}"
        words = ["run", str(folder), "--subject", "wasmtime-pulley", "--shard", f"{index}/{count}", "--reports", str(reports)]
        assert entry.run([*words, *more]) in (0, 3)
        files.append(str(reports / "report.json"))
    return files


def test_three_shards_merged_equal_the_whole_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = entry.run(["run", str(folder), "--subject", "wasmtime-pulley", "--reports", "whole"])
    files = shards(folder, tmp_path, 3)
    whole = json_file.read(tmp_path / "whole" / "report.json")
    assert len({case.case for file in files for case in json_file.read(Path(file)).cases}) == len(TEXTS)
    assert entry.run(["merge", *files[::-1], "-o", "merged.json"]) == code
    assert normal(json_file.read(tmp_path / "merged.json")) == normal(whole)
    assert not (tmp_path / "shard-1" / "history.sqlite").exists()
    assert entry.run(["merge", *(str(Path(each).parent) for each in files), "--reports", "all", "--markdown", "s.md"]) == code
    assert {"report.json", "report.html", "history.sqlite"} <= {each.name for each in (tmp_path / "all").iterdir()}
    assert (tmp_path / "s.md").exists()


def test_more_shards_than_cases_merge_as_well(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for at in range(2, len(TEXTS)):
        (folder / f"case{at}.wasm").unlink()
    files = shards(folder, tmp_path, 3)
    assert entry.run(["merge", *files, "-o", "merged.json"]) == 0
    assert len(json_file.read(tmp_path / "merged.json").cases) == 2


def test_timings_of_an_earlier_run_divide_the_next(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    entry.run(["run", str(folder), "--subject", "wasmtime-pulley", "--reports", "whole"])
    report = json_file.read(tmp_path / "whole" / "report.json")
    slow = tuple(msgspec.structs.replace(case, elapsed_ns=10**11 if case.case == "cases/case3" else 10**9) for case in report.cases)
    (tmp_path / "timings.json").write_bytes(json_file.encode(msgspec.structs.replace(report, cases=slow)))
    files = shards(folder, tmp_path, 2, "--timings", "timings.json")
    assert sorted(len(json_file.read(Path(each)).cases) for each in files) == [1, len(TEXTS) - 1]
    (tmp_path / "broken.json").write_text("{")
    assert entry.run(["run", str(folder), "--timings", "broken.json"]) == 2


def test_a_case_from_the_cache_takes_what_it_took(tmp_path):
    path = tmp_path / "report.json"
    case = {
        "case": "x", "elapsed_ns": 5, "cached": ["oracle", "subject"],
        "passes": [{"oracle": {"cost": {"elapsed_ns": 100}}, "subject": {"cost": {"elapsed_ns": 1000}}}, {}],
    }  # fmt: skip
    path.write_bytes(msgspec.json.encode({"cases": [case, {"case": "y", "elapsed_ns": 7}]}))
    assert timings.read(path) == {"x": 1100, "y": 7}
    with pytest.raises(ReportError, match="has no times"):
        timings.read(_written(tmp_path / "other.json", b"[]"))


def _written(path, data):
    path.write_bytes(data)
    return path


def test_what_is_not_all_of_one_run_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reports = {each: json_file.read(Path(each)) for each in shards(folder, tmp_path, 3)}
    one, two, three = reports
    replace = msgspec.structs.replace

    def refused(words, **parts):
        with pytest.raises(ConfigError, match=words):
            merge_shards.merge(parts)

    refused("shard 2/3 is missing", a=reports[one], c=reports[three])
    refused("are both shard 1/3", a=reports[one], b=reports[one])
    refused("is not the report of a shard", a=replace(reports[one], options={}))
    refused("shards of 2 and of 3", a=reports[one], b=replace(reports[two], options={"shard": "2/2"}))
    changed = replace(reports[two], division="else")
    refused("the shards differ in division", a=reports[one], b=changed, c=reports[three])
    changed = replace(reports[two], subject=replace(reports[two].subject, sha256="00" * 32))
    refused("the shards differ in subject", a=reports[one], b=changed, c=reports[three])
    changed = replace(reports[two], options={**reports[two].options, "deadline": "3"})
    refused("the shards differ in options", a=reports[one], b=changed, c=reports[three])
    moved = replace(reports[two], subject=replace(reports[two].subject, path="/elsewhere"))
    assert merge_shards.merge({"a": reports[one], "b": moved, "c": reports[three]}).totals["cases"] == len(TEXTS)
    moved = replace(reports[two], options={**reports[two].options, "kilnd": "/elsewhere/kilnd"})
    assert merge_shards.merge({"a": reports[one], "b": moved, "c": reports[three]}).totals["cases"] == len(TEXTS)
    stopped = replace(reports[two], interrupted=True)
    assert merge_shards.merge({"a": reports[one], "b": stopped, "c": reports[three]}).interrupted
    failed = replace(stopped, error="an engine was removed")
    assert merge_shards.merge({"a": reports[one], "b": failed, "c": reports[three]}).error == "an engine was removed"


@pytest.mark.whole
def test_what_is_known_in_a_shard_is_told_by_the_baseline_over_all(tmp_path, monkeypatch, standin_kilnd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIFFCHECK_KILND", str(standin_kilnd("--fault", "lie")))
    (tmp_path / "cases").mkdir()
    for name in ("one", "two"):
        artifact(tmp_path / "cases", name, COUNTING)
    quick = ["--confirm", "1", "--mode", "capsule"]
    assert entry.run(["run", "cases", *quick]) == 1
    assert entry.run(["baseline", "add", "--all"]) == 0
    known = [*quick, "--baseline", "baseline.toml"]
    assert entry.run(["run", "cases", "--reports", "whole", *known]) == 0
    for index in (1, 2):
        assert entry.run(["run", "cases", "--shard", f"{index}/2", "--reports", f"shard-{index}", *known]) == 0
    assert entry.run(["merge", "shard-1", "shard-2", "-o", "known.json", "--baseline", "baseline.toml"]) == 0
    assert normal(json_file.read(tmp_path / "known.json")) == normal(json_file.read(tmp_path / "whole" / "report.json"))
    assert entry.run(["merge", "shard-1", "shard-2", "-o", "new.json"]) == 1
    assert json_file.read(tmp_path / "new.json").totals["diverge"] == 2
