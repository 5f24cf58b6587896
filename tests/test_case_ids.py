"""Case ids: the same whichever path a run is given; those of version 0.1 are recognised where they are stored."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from shutil import copytree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from diffcheck.cases.case_ids import certain, is_under, rekeyed, renamed, root
from diffcheck.cases.discovery import discover
from diffcheck.cli import main as entry
from diffcheck.nightly import baseline as b
from diffcheck.nightly import baseline_changes, baseline_file, history, run_diff
from diffcheck.report import json_file
from diffcheck.report.model import Collector
from tests.report import samples

DAY = date(2026, 5, 1)
TEXT = '(module (func (export "run") (result i32) i32.const 7))'
NAMES = ("corpus/a/x", "corpus/b/x", "corpus/y")


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in NAMES:
        path = tmp_path / "project" / f"{name}.wat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT)
        path.with_suffix(".toml").touch()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def ids(*paths, config_folder=""):
    found = discover([Path(path) for path in paths], config_folder=config_folder)
    return tuple(item.id for item in found.items), found.places


@pytest.mark.parametrize("marker", [".git", "diffcheck.toml", ""])
def test_ids_are_the_same_whichever_path_is_given(project, marker):
    if marker:
        (project / marker).touch()
    for paths in (["."], ["corpus"], [f"{project}/corpus"], ["corpus/a", "corpus/b", "corpus/y.wat"], ["./corpus/../corpus"]):
        assert sorted(ids(*paths)[0]) == list(NAMES)
    assert ids("corpus/a/x.wat") == (("corpus/a/x",), ("corpus/a/x",))
    assert ids("corpus/a", "corpus/b") == (("corpus/a/x", "corpus/b/x"), ("corpus/a", "corpus/b"))
    assert ids(".")[1] == ("",)


def test_ids_are_the_same_from_another_working_folder(project, monkeypatch):
    (project / ".git").mkdir()
    for folder in ("corpus", "corpus/a", "..", "/"):
        monkeypatch.chdir(project / folder)
        assert ids(project / "corpus")[0] == NAMES


def test_the_folder_of_the_configuration_file_in_force_goes_before_the_repository(project):
    (project / ".git").mkdir()
    assert ids("corpus/a", config_folder=str(project / "corpus"))[0] == ("a/x",)
    assert root(str(project / "corpus"), "", str(project / "corpus" / "a")) == str(project)


def test_outside_of_every_project_ids_are_relative_to_the_given_folder(project, monkeypatch):
    monkeypatch.chdir(project / "corpus" / "a")
    assert ids(project) == (NAMES, ("",))
    assert ids(project / "corpus" / "b")[0] == ("x",)


@given(st.lists(st.text("ab/", min_size=1, max_size=6)), st.lists(st.text("ab/", min_size=1, max_size=6)))
def test_an_old_id_is_the_end_of_one_present_id(before, now):
    names = renamed(before, now)
    assert not names.keys() & set(now)
    assert names.keys() <= set(before)
    assert len(set(names.values())) == len(names)
    assert all(new in now and new.endswith(f"/{old}") for old, new in names.items())


def test_of_several_old_ids_the_longest_is_meant_and_of_several_cases_the_shortest():
    assert renamed(["x", "a/x"], ["corpus/x", "corpus/a/x"]) == {"x": "corpus/x", "a/x": "corpus/a/x"}
    assert renamed(["x"], ["corpus/a/x", "corpus/b/x"]) == {}
    assert renamed(["x"], ["x", "corpus/x"]) == {}
    assert certain({"x": "corpus/x", "y": "corpus/a/y"}, ["corpus"]) == {"x": "corpus/x"}
    assert rekeyed({"x": 3, "z": 4}, ["corpus/x"]) == {"corpus/x": 3, "z": 4}
    assert [is_under(place, "corpus/a") for place in ("", "corpus", "corpus/a", "corp", "corpus/a/x")] == [True] * 3 + [False] * 2


# A baseline


def report(*cases, sha="bb", places=("corpus",)):
    collector = Collector({})
    for event in samples.events(tuple(cases)):
        collector.take(event)
    made = collector.report()
    return replace(made, subject=replace(made.subject, sha256=sha * 32), places=places)


def diverging(name):
    return samples.case(name, [samples.diverged([samples.COUNTER])], "diverge")


def agreeing(name):
    return samples.case(name, [samples.agreed(), samples.not_applicable()])


def known(*cases):
    signature = samples.COUNTER.signature
    return b.Baseline({signature: b.BaselineEntry(signature, cases, b.Engine("kilnd", "0.4.3", "aa" * 32), modes=("capsule",))})


def states(found, baseline):
    return [each.state for each in b.apply(found, baseline, DAY).baseline.standings]


def test_prune_and_update_touch_only_what_lies_under_the_paths_that_were_run():
    two = known("corpus/a/gone", "corpus/b/gone")
    here = report(agreeing("corpus/a/x"), places=("corpus/a",))
    assert states(here, two) == ["not run"]
    assert baseline_changes.prune(two, here, DAY) == (two, ())
    assert baseline_changes.update(known("corpus/b/gone"), here, DAY) == (known("corpus/b/gone"), ())
    assert states(replace(here, places=("corpus",)), two) == ["stale"]
    assert baseline_changes.prune(two, replace(here, places=("corpus",)), DAY)[0].entries == {}
    some = known("corpus/a/gone", "corpus/a/x", "corpus/b/gone")
    (after,) = baseline_changes.update(some, report(diverging("corpus/a/x"), places=("corpus/a",)), DAY)[0].entries.values()
    assert after.cases == ("corpus/a/x", "corpus/b/gone")


def test_old_ids_in_a_baseline_are_recognised_and_update_writes_the_present_ones():
    old = known("a/x", "y")
    found = report(diverging("corpus/a/x"), diverging("corpus/y"))
    assert states(found, old) == ["known"]
    (after,) = baseline_changes.update(old, found, DAY)[0].entries.values()
    assert after.cases == ("corpus/a/x", "corpus/y")
    assert states(report(agreeing("corpus/a/x"), agreeing("corpus/y")), old) == ["fixed"]


def test_an_old_id_that_may_mean_another_case_is_never_taken_for_fixed():
    old = known("x")
    alone = report(agreeing("corpus/a/x"), places=("corpus/a/x",))
    assert states(alone, old) == ["not run"]
    assert baseline_changes.update(old, alone, DAY) == (old, ())


def test_a_run_of_one_case_prunes_nothing(project, capsys):
    (project / ".git").mkdir()
    file = Path("baseline.toml")
    baseline_file.write(known(*NAMES), file)
    before = file.read_text()
    assert entry.run(["run", "corpus/a/x.wat", "--subject", "wasmtime-pulley", "--mode", "capsule"]) == 0
    assert entry.run(["baseline", "prune"]) == 0
    assert file.read_text() == before
    capsys.readouterr()


def other_project(project, monkeypatch):
    """A folder beside the project with one artifact of the same relative name; it is the working folder."""
    other = project.parent / "other"
    (other / "corpus" / "a").mkdir(parents=True)
    (other / "corpus" / "a" / "z.wasm").write_bytes((project / "corpus" / "a" / "x.wat").read_bytes())
    monkeypatch.chdir(other)


@pytest.mark.parametrize("recorded", [".", "corpus/..", ""])
@pytest.mark.parametrize("action", ["prune", "update"])
def test_a_report_of_another_root_changes_no_entry(project, monkeypatch, capsys, recorded, action):
    if not recorded:
        (project / ".git").mkdir()
    file = project / "baseline.toml"
    baseline_file.write(replace(known("corpus/a/gone", "corpus/a/x"), root=recorded), file)
    before = file.read_text()
    other_project(project, monkeypatch)
    entry.run(["run", "corpus", "--subject", "wasmtime-pulley", "--mode", "capsule"])
    assert json_file.read(Path("reports/report.json")).root == str(project.parent / "other")
    capsys.readouterr()
    assert entry.run(["baseline", action, "--baseline", "../project/baseline.toml"]) == 2
    assert f"cases is {project.parent}/other, that of ../project/baseline.toml is {project}" in capsys.readouterr().err
    assert file.read_text() == before


def test_a_baseline_of_another_root_is_refused_before_anything_runs(project, monkeypatch, capsys):
    file = project / "baseline.toml"
    baseline_file.write(replace(known("corpus/a/gone", "corpus/a/x"), root="."), file)
    before = file.read_text()
    other_project(project, monkeypatch)
    words = ["run", "corpus", "--subject", "wasmtime-pulley", "--mode", "capsule"]
    baseline = ["--baseline", "../project/baseline.toml"]
    assert entry.run([*words, *baseline]) == 2
    said = capsys.readouterr().err
    assert f"the cases of ../project/baseline.toml are relative to {project}, those of the run to {project.parent}/other" in said
    assert "--baseline" in said
    assert not Path("reports/report.json").exists()
    assert entry.run([*words, "--shard", "1/1"]) == 3
    assert entry.run(["merge", "reports", "-o", "merged.json", *baseline]) == 2
    json_file.write(replace(report(diverging("corpus/a/z")), root=str(Path.cwd())), Path("reports"))
    assert entry.run(["baseline", "add", "--all", *baseline]) == 2
    assert capsys.readouterr().err.count("those of the run to") == 2
    assert file.read_text() == before


def test_a_baseline_of_a_copy_of_the_project_is_recognised(project, monkeypatch, capsys):
    baseline_file.write(replace(known("corpus/a/gone", "corpus/a/x"), root="."), project / "baseline.toml")
    copy = project.parent / "copy"
    copytree(project, copy)
    monkeypatch.chdir(copy)
    one = next(each for each in Path("corpus").rglob("*.wat") if each.name != "x.wat")
    words = ["run", str(one), "--subject", "wasmtime-pulley", "--mode", "capsule", "--baseline", "../project/baseline.toml"]
    assert entry.run(words) == 0
    capsys.readouterr()


def test_a_baseline_outside_of_the_root_says_where_that_is(project, monkeypatch, capsys):
    json_file.write(replace(report(diverging("corpus/a/gone"), diverging("corpus/y")), root=str(project)), Path("reports"))
    Path("../kept").mkdir()
    arguments = ["--baseline", "../kept/baseline.toml"]
    assert entry.run(["baseline", "add", "--all", *arguments]) == 0
    assert baseline_file.read(Path(arguments[1])).root == "../project"
    assert Path(arguments[1]).read_text().count("root = ") == 1
    json_file.write(replace(report(agreeing("corpus/a/x"), places=("corpus/a",)), root=str(project)), Path("reports"))
    assert entry.run(["baseline", "update", *arguments]) == 0
    assert baseline_file.read(Path(arguments[1])).entries[samples.COUNTER.signature].cases == ("corpus/y",)
    assert baseline_file.read(Path(arguments[1])).root == "../project"
    capsys.readouterr()


def test_a_report_of_another_machine_fits_where_its_root_has_the_same_name(project, capsys):
    baseline_file.write(replace(known("corpus/gone"), root="."), Path("baseline.toml"))
    for place, code in (("/no/such/folder", 2), ("", 2), ("/no/such/project", 0)):
        json_file.write(replace(report(agreeing("corpus/a/x")), root=place), Path("reports"))
        assert entry.run(["baseline", "prune"]) == code
        assert bool(baseline_file.read(Path("baseline.toml")).entries) == bool(code)
    capsys.readouterr()


def test_of_several_roots_only_the_working_folder_s_places_are_the_report_s(project, monkeypatch):
    (project / ".git").mkdir()
    other_project(project, monkeypatch)
    monkeypatch.chdir(project)
    found = discover([Path("../other/corpus"), Path("corpus/b")])
    assert (found.root, found.places) == (str(project), ("corpus/b",))
    assert len(found.items) == 2


# The history, timings, and two reports


def test_the_history_of_an_old_id_goes_on_under_the_present_one(tmp_path):
    path = tmp_path / "history.sqlite"
    first = replace(report(agreeing("a/x"), agreeing("y")), started="2026-01-01")
    history.add(path, first)
    history.add(path, replace(report(agreeing("corpus/a/x"), places=("corpus/a/x",)), started="2026-01-02"))
    assert set(history.nights(path)) == {"a/x", "y", "corpus/a/x"}
    history.add(path, replace(report(agreeing("corpus/a/x"), agreeing("corpus/y")), started="2026-01-03"))
    assert {name: len(nights) for name, nights in history.nights(path).items()} == {"corpus/a/x": 3, "corpus/y": 2}


def test_two_reports_with_old_and_present_ids_are_compared_case_by_case():
    found = run_diff.diff(report(diverging("a/x"), agreeing("y")), report(diverging("corpus/a/x"), agreeing("corpus/y")))
    assert found.same
    assert found.same_cases == 2


def test_a_case_is_named_by_its_old_id_too(project, capsys):
    assert entry.run(["run", "corpus", "--subject", "wasmtime-pulley", "--mode", "capsule"]) == 0
    assert [case.case for case in json_file.read(project / "reports" / "report.json").cases] == list(NAMES)
    assert entry.run(["show", "a/x"]) == 0
    assert entry.run(["localise", "a/x", "--subject", "wasmtime-pulley"]) == 0
    capsys.readouterr()
