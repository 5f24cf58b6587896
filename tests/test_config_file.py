"""diffcheck.toml: where it is found, what it sets, what it may run."""

import json
import os
from pathlib import Path

import pytest

from diffcheck.backend import registry
from diffcheck.cli import main as entry
from diffcheck.config import config_file
from diffcheck.errors import ConfigError
from diffcheck.report import json_file
from diffcheck.verdict import Tool


def find(folder):
    return config_file.find(folder, registry.options())


@pytest.fixture
def repository(tmp_path, monkeypatch):
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "repo")
    for key in [key for key in os.environ if key.startswith("DIFFCHECK_")]:
        monkeypatch.delenv(key)
    return tmp_path / "repo"


def test_it_is_found_upward_to_the_repository_s_root_and_no_higher(repository):
    (repository.parent / "diffcheck.toml").write_text("jobs = 1\n")
    assert find(repository / "sub") == config_file.Settings()
    (repository / "pyproject.toml").write_text("[project]\nname = 'x'\n[tool.diffcheck]\njobs = 2\n")
    assert find(repository / "sub").values == {"jobs": 2}
    (repository / "diffcheck.toml").write_text("jobs = 3\n")
    assert find(repository / "sub").values == {"jobs": 3}
    (repository / "sub" / "diffcheck.toml").write_text("jobs = 4\n")
    assert find(repository / "sub").values == {"jobs": 4}


def test_without_a_repository_only_the_working_folder_counts(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "diffcheck.toml").write_text("jobs = 1\n")
    assert find(tmp_path).values == {"jobs": 1}
    assert find(tmp_path / "sub") == config_file.Settings()


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("job = 3", "unknown key job", "did you mean jobs?"),
        ("memory_limit = '1GiB'", "unknown key memory_limit", "did you mean memory-limit?"),
        ("jobs = '3'", "jobs must be a whole number", "--jobs"),
        ("jobs = true", "jobs must be a whole number", "--jobs"),
        ("mode = 'capsul'", "mode cannot be 'capsul'", "did you mean capsule?"),
        ("backends = 3", "backends must be a table", "[backends.NAME]"),
        ("[backends.x]\ncomand = 'y'", "unknown key backends.x.comand", "did you mean backends.x.command?"),
        ("[backends.x]\nprotocol = 'wasi'", "backends.x has no command", "add command"),
        ("[backends.x]\ncommand = 'y'\nprotocol = 'wasii'", "backends.x.protocol cannot be", "did you mean wasi?"),
        ("[toolchain]\nkilnd = 4", "toolchain must be a table of strings", "[toolchain]"),
        ("jobs = ", "it is not TOML", "correct the line"),
        ("deadline = 1" + "0" * 309, "deadline must be an integer of at most 64 bits", "correct the line"),
        ("jobs = 0x" + "f" * 9000, "jobs must be an integer of at most 64 bits", "correct the line"),
        ("[" + "a." * 60_000 + "a]", "a key has more than 16 parts", "correct the line"),
        ("kilnd = ''", "kilnd is empty", "found on PATH"),
    ],
)
def test_what_is_wrong_is_an_error_with_the_nearest_right_name(repository, written, message, hint):
    (repository / "diffcheck.toml").write_text(written)
    with pytest.raises(ConfigError) as caught:
        find(repository)
    assert message in str(caught.value)
    assert "diffcheck.toml" in str(caught.value)
    assert hint in caught.value.hint


def test_a_report_names_what_differs_from_the_pinned_toolchain(repository, capsys):
    producers = '(@custom "producers" "\\01\\0cprocessed-by\\01\\06walrus\\060.26.5")'
    (repository / "x.wat").write_text(f'(module (func (export "run") (result i32) i32.const 7) {producers})')
    pins = "wasmtime = '1.2.3'\nwasmtime-pulley = '1.2.3'\nwalrus = '0.26.4'\nabsent = '1'\n"
    (repository / "diffcheck.toml").write_text(f"[toolchain]\n{pins}")
    assert entry.run(["run", "x.wat", "--subject", "wasmtime-pulley", "--evidence", "evidence.json"]) == 0
    report = json_file.read(repository / "reports" / "report.json")
    assert report.cases[0].made_by == (Tool("walrus", "0.26.5"),)
    versions = [f"{each.name} is pinned to 1.2.3, but {each.version} ran." for each in (report.subject, report.oracle)]
    made = "walrus is pinned to 0.26.4, but 0.26.5 made 1 artifact, such as that of x."
    assert report.notice.endswith(" ".join([*versions, made]))
    assert made in " ".join(capsys.readouterr().out.replace("│", " ").split())
    found = json.loads((repository / "evidence.json").read_text())["predicate"]["diffcheck"]
    assert found["notice"] == report.notice
    assert found["toolchain"] == [{"name": "walrus", "version": "0.26.5", "sha256": "", "cases": ["x"]}]
    pins = f"wasmtime = '{report.oracle.version}'\nwalrus = '0.26.5'\nwasmtime-pulley = 'sha256:{report.subject.sha256}'"
    (repository / "diffcheck.toml").write_text(f"[toolchain]\n{pins}")
    assert entry.run(["run", "x.wat", "--subject", "wasmtime-pulley"]) == 0
    assert "pinned" not in json_file.read(repository / "reports" / "report.json").notice


@pytest.mark.parametrize("name", ["diffcheck.toml", "pyproject.toml"])
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_configuration_file_that_is_no_file_is_an_error(repository, name, make):
    make(repository / name)
    with pytest.raises(ConfigError, match=rf"{name}: the file is not a regular file"):
        find(repository)


def shown(capsys, *arguments):
    assert entry.run(["config", *arguments]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    return {words[0]: words[1:] for words in lines}


def test_config_prints_each_value_and_where_it_is_from(repository, capsys, monkeypatch):
    (repository / "diffcheck.toml").write_text("jobs = 2\ndeadline = 5\nmode = 'direct'\nmax-passes = 7\nstrict = true\n")
    (repository / "baseline.toml").write_text("")
    monkeypatch.setenv("DIFFCHECK_DEADLINE", "6")
    monkeypatch.setenv("COLUMNS", "200")
    values = shown(capsys, "--mode", "capsule")
    assert values["jobs"][:2] == ["2", "file"]
    assert values["deadline"][:2] == ["6", "environment"]
    assert values["mode"][:3] == ["capsule", "command", "line"]
    assert values["max-passes"][:2] == ["7", "file"]
    assert values["strict"][:2] == ["True", "file"]
    assert values["baseline"][:2] == ["baseline.toml", "file"]
    assert values["stub-imports"][:2] == ["zero", "default"]


@pytest.mark.parametrize("written", ["only = 'x*'", "only = ['x*', 'y*']"])
def test_a_repeated_option_is_one_text_or_an_array(repository, capsys, monkeypatch, written):
    monkeypatch.setenv("COLUMNS", "200")
    (repository / "diffcheck.toml").write_text(written)
    assert shown(capsys)["only"][:2] == (["x*,", "y*"] if "[" in written else ["x*", "file"])
    for name in ("x", "y", "z"):
        (repository / f"{name}.wat").write_text('(module (func (export "run")))')
        (repository / f"{name}.toml").touch()
    assert entry.run(["plan", ".", "--subject", "wasmtime-pulley"]) == 0
    assert f"{2 if '[' in written else 1} case" in capsys.readouterr().out


def test_paths_and_programs_are_meant_from_the_file_s_folder(repository, monkeypatch):
    (repository / "diffcheck.toml").write_text("kilnd = 'bin/kilnd'\n[backends.mine]\ncommand = './engine --flag'\n")
    monkeypatch.chdir(repository / "sub")
    found = find(repository / "sub")
    assert found.values["kilnd"] == str(repository / "bin" / "kilnd")
    assert found.backends == {"mine": f"harness:{repository}/engine --flag"}


def test_commands_run_from_the_repository_s_root_or_when_they_are_trusted(repository, capsys, monkeypatch, tmp_path):
    (repository / "sub" / "diffcheck.toml").write_text("subject = 'mine'\n[backends.mine]\ncommand = 'touch pwned'\n")
    (repository / "sub" / "x.wat").write_text("(module)")
    monkeypatch.chdir(repository / "sub")
    assert entry.run(["run", "x.wat"]) == 2
    said = capsys.readouterr().err
    assert "touch pwned" in said
    assert "--trust-config" in said
    assert not (repository / "sub" / "pwned").exists()
    assert entry.run(["config"]) == 0
    assert "only with --trust-config" in capsys.readouterr().out
    assert entry.run(["run", "--help"]) == 0
    entry.run(["plan", "x.wat", "--trust-config"])
    assert "subject from" in capsys.readouterr().err
    (repository / "sub" / "diffcheck.toml").rename(repository / "diffcheck.toml")
    assert entry.run(["plan", "x.wat"]) == 0
    assert "subject from" in capsys.readouterr().err


@pytest.mark.parametrize("where", [".", "sub"])
@pytest.mark.parametrize(
    ("written", "refused"),
    [
        ("html = '{away}/page.html'", True),
        ("markdown = '../../elsewhere.md'", True),
        ("sarif = 'link/out.sarif'", True),
        ("reports = '..'", True),
        ("cache = 'cache'", True),
        ("html = 'page.html'\nreports = 'inside/../reports'", False),
    ],
)
def test_a_file_chooses_no_cache_and_no_output_outside_its_folder(
    repository, capsys, monkeypatch, tmp_path, written, refused, where
):
    monkeypatch.delenv("DIFFCHECK_NO_CACHE", raising=False)
    away = tmp_path / "away"
    away.mkdir()
    folder = repository / where
    (folder / "link").symlink_to(away)
    (folder / "diffcheck.toml").write_text(written.format(away=away))
    (folder / "x.wat").write_text('(module (func (export "run")))')
    monkeypatch.chdir(folder)
    code = entry.run(["run", "x.wat", "--subject", "wasmtime-pulley", "--mode", "capsule", "--no-cache"])
    said = capsys.readouterr().err
    assert code == (2 if refused else 0)
    assert ("--trust-config" in said) == refused
    assert list(away.iterdir()) == []
    assert (folder / "reports").exists() != refused
    assert entry.run(["config"]) == 0
    assert ("only with --trust-config" in capsys.readouterr().out) == refused
    assert entry.run(["plan", "x.wat", "--subject", "wasmtime-pulley"]) == 0  # it writes nothing
    assert entry.run(["--trust-config", "run", "x.wat", "--subject", "wasmtime-pulley", "--mode", "capsule"]) in (0, 2)
    capsys.readouterr()


def test_a_file_does_not_choose_the_cluster_that_artifacts_are_sent_to(repository, capsys, monkeypatch):
    (repository / "diffcheck.toml").write_text("executor = 'dask:tcp://127.0.0.1:1'")
    (repository / "x.wat").write_text('(module (func (export "run")))')
    monkeypatch.chdir(repository)
    assert entry.run(["run", "x.wat", "--subject", "wasmtime-pulley", "--no-cache"]) == 2
    assert "--trust-config" in capsys.readouterr().err
    assert (
        entry.run(["run", "x.wat", "--subject", "wasmtime-pulley", "--no-cache", "--executor", "local", "--mode", "capsule"]) == 0
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("deadline = -3", "deadline: -3 is not between 0.001 and 86,400 seconds"),
        ("deadline = 1e400", "deadline: inf is not between 0.001 and 86,400 seconds"),
        ("deadline = nan", "deadline: nan is not between 0.001 and 86,400 seconds"),
        ("jobs = 0", "jobs: 0 is not between 1 and 4,096"),
        ("memory-limit = '3 parsecs'", "memory-limit: '3 parsecs' is not a size"),
    ],
)
def test_a_value_that_the_option_refuses_is_told_with_the_file(repository, capsys, written, message):
    (repository / "diffcheck.toml").write_text(written)
    assert entry.run(["config"]) == 2
    assert f"diffcheck.toml: {message}" in capsys.readouterr().err


ENGINE = """\
subject = "mine"
[backends.mine]
command = "{engine}"
"""


def test_an_engine_is_named_in_four_lines_and_goes_by_that_name(repository, capsys, standin_kilnd):
    (repository / "x.wat").write_text('(module (func (export "run") (result i32) i32.const 7))')
    (repository / "x.toml").write_text("[expect]\nmine = 'diverge'\n")
    (repository / "diffcheck.toml").write_text(ENGINE.format(engine=standin_kilnd()) + "protocol = 'harness'\n")
    assert entry.run(["run", "x.wat", "--subject-version", "1.2"]) == 3
    printed = capsys.readouterr()
    assert "subject from" in printed.err
    assert printed.err.count("subject from") == 1
    report = json_file.read(repository / "reports" / "report.json")
    assert (report.subject.name, report.subject.version, report.cases[0].verdict) == ("mine", "1.2", "agree")
    assert report.cases[0].expected == "diverge"
    assert entry.run(["backends"]) == 0
    assert "mine  harness:" in capsys.readouterr().out
    assert entry.run(["run", "x.wat", "--subject", "mien"]) == 2
    assert "did you mean mine?" in capsys.readouterr().err
