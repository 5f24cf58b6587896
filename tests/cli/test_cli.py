import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from diffcheck.cli import main as entry
from diffcheck.cli.command_group import COMMANDS, PANELS, cli, module_of
from diffcheck.config import option_table
from diffcheck.config.version import __version__

ROOT = Path(__file__).parents[2]


def called(*arguments, **environment):
    return CliRunner(env={"COLUMNS": "200", **environment}).invoke(cli, arguments, prog_name="diffcheck")


def modules_after(*arguments):
    code = f"""
import sys
from pathlib import Path
sys.argv = ["diffcheck", *{arguments!r}]
from diffcheck.cli.main import main
try:
    main()
except SystemExit:
    pass
print(*sorted(sys.modules), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ended.stdout, set(ended.stderr.split())


def test_version_is_answered_before_anything_is_imported():
    stdout, modules = modules_after("--version")
    assert stdout == f"diffcheck {__version__}\n"
    assert not modules & {"rich", "rich_click", "click", "wasmtime", "msgspec", "diffcheck.errors", "deepdiff"}


def test_help_imports_no_command():
    _, modules = modules_after("--help")
    assert not modules & {
        "wasmtime",
        "deepdiff",
        "diffcheck.report",
        "diffcheck.backend.contract",
        "subprocess_tee",
        "jinja2",
        "tomlkit",
    }
    assert not modules & {f"diffcheck.cli.{module_of(each)}" for each in COMMANDS}


def test_the_help_of_no_command_executes_what_the_command_does():
    code = f"""
import sys
from pathlib import Path
from types import ModuleType
from click.testing import CliRunner
from diffcheck.cli.command_group import cli
for name in {COMMANDS!r}:
    assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0, name
print(*(name for name, module in sys.modules.items() if type(module) is ModuleType and hasattr(module, "__file__")))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # without what tests add
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    executed = {name for name in ended.stdout.split() if name.startswith("diffcheck.") and not name.startswith("diffcheck.cli.")}
    empty = {name for name in executed if (ROOT / name.replace(".", "/")).is_dir()} - {"diffcheck.cli"}  # packages
    assert executed - empty == {
        "diffcheck.cli",
        "diffcheck.config.option_table",
        "diffcheck.errors",
        "diffcheck.backend.registry",
        "diffcheck.text",
        "diffcheck.config.version",
    }


@pytest.mark.parametrize("command", ["run", "plan", "doctor", "show", "backends"])
def test_the_help_of_a_command_imports_no_slow_package(command):
    _, modules = modules_after(command, "--help")
    assert not modules & {"wasmtime", "deepdiff", "subprocess_tee", "jinja2", "tomlkit", "distributed"}


def test_every_command_has_help():
    shown = called("--help").output
    for name in COMMANDS:
        assert name in shown
        assert called(name, "--help").exit_code == 0


@pytest.mark.parametrize("option", option_table.OPTIONS, ids=lambda option: option.name)
def test_help_of_run_has_every_option_with_its_default(option):
    shown = " ".join(called("run", "--help").output.replace("│", " ").split())
    assert option.flag in shown
    assert option.help in shown
    default = (option.default_help and f"({option.default_help})") or option.default
    assert not default or f"[default: {default}]" in shown


@pytest.mark.parametrize(("width", "lines"), [(80, 72), (100, 60)])
def test_help_of_run_fits_two_screens(width, lines):
    shown = called("run", "--help", COLUMNS=str(width), TERMINAL_WIDTH=str(width)).output
    assert len(shown.splitlines()) <= lines
    assert all(f"─ {panel} ─" in shown for panel in option_table.PANELS)
    assert {option.panel for option in option_table.OPTIONS} == set(option_table.PANELS)


def test_commands_are_grouped_by_task():
    shown = called("--help").output
    assert all(f"─ {panel} ─" in shown for panel in PANELS)
    assert sorted(map(module_of, COMMANDS)) == sorted(
        path.stem for path in (ROOT / "diffcheck/cli").glob("*.py") if has_command(path)
    )


def has_command(path):
    return "\ndef command(" in path.read_text()


@pytest.mark.parametrize("width", [40, 80, 140])
def test_help_keeps_within_the_terminal(width):
    for arguments in (["--help"], ["run", "--help"]):
        lines = called(*arguments, COLUMNS=str(width), TERMINAL_WIDTH=str(width)).output.splitlines()
        assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["run"], "error: Missing argument 'PATH...'", "hint: run `diffcheck run --help`"),
        (["run", "x", "--jobs", "0"], "'--jobs'", "hint: "),
        (["run", "x", "--jobs", "many"], "'many' is not a valid integer", "hint: "),
        (["run", "x", "--jobs", "1_0"], "'1_0' is not a valid integer", "hint: "),
        (["run", "x", "--deadline", "\u0663"], "'\u0663' is not a valid float", "hint: "),
        (["run", "x", "--causes", "\u0663"], "'\u0663' is not a number of clusters", "hint: "),
        (["sweep", "--budget", "nan"], "nan is not between 1 and 86,400 seconds", "hint: "),
        (["sweep", "--seed", "1_0"], "'1_0' is not a valid integer", "hint: "),
        (["run", "x", "--mode", "fast"], "'--mode'", "hint: "),
        (["run", "x", "--deadline", "-1"], "'--deadline'", "hint: "),
        (["run", "x", "--deadline", "nan"], "'--deadline'", "hint: "),
        (["run", "x", "--memory-limit", "lots"], "'lots' is not a size", "hint: "),
        (["run", "x", "--nonsense"], "No such option", "hint: "),
        (["run", "x", "--rwos", "f"], "Did you mean '--rows'?", "hint: run `diffcheck run --help`"),
        (["nonsense"], "No such command 'nonsense'", "hint: run `diffcheck --help`"),
        (["rnu", "x"], "No such command 'rnu'. Did you mean 'run'?", "hint: run `diffcheck --help`"),
        (["baseline", "lisst"], "Did you mean 'list'?", "hint: run `diffcheck baseline --help`"),
        (["run", ".", "-k", "a and"], "a name is missing at the end", "hint: write as in"),
        (["schema", "cats"], "'cats'", "hint: "),
        (
            ["show", "x", "--reports", "no/such/folder"],
            "there is no report at no/such/folder/report.json",
            "hint: run `diffcheck run",
        ),
        (["nons\x1b[31mense\n"], r"nons\x1b[31mense\n", "hint: "),
    ],
)
def test_a_usage_error_is_a_line_and_a_hint_on_stderr(capsys, arguments, message, hint):
    assert entry.run(arguments) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith("error: ")
    assert message in seen.err
    assert hint in seen.err
    assert "\x1b" not in seen.err


def test_an_environment_variable_sets_an_option_and_is_checked_as_one(capsys, monkeypatch):
    monkeypatch.setenv("DIFFCHECK_JOBS", "none")
    assert entry.run(["run", "x"]) == 2
    assert "DIFFCHECK_JOBS" in capsys.readouterr().err


def test_schema_prints_json(capsys):
    assert entry.run(["schema", "report"]) == 0
    assert capsys.readouterr().out.startswith('{\n  "$schema": "https://json-schema.org/draft/2020-12/schema"')


def test_schemas_are_listed(capsys):
    assert entry.run(["schema"]) == 0
    assert capsys.readouterr().out == "report  diffcheck-report-v1: report.json of a run\n"


def test_descriptions_in_a_schema_are_single_lines(capsys):
    entry.run(["schema", "report"])
    assert "\\n" not in capsys.readouterr().out


def test_a_text_of_several_lines_is_shown_as_lines(capsys, tmp_path):
    (tmp_path / "a.wat").write_text("(module (func\n  (nonsense)))")
    assert entry.run(["plan", str(tmp_path / "a.wat"), "--subject", "wasmtime-pulley"]) == 2
    assert "\\x0a" not in capsys.readouterr().out


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m diffcheck schema report | head -c 1; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    assert ended.stdout.startswith("{")


def test_a_terminal_without_unicode_gets_escapes():
    command = [sys.executable, "-m", "diffcheck", "show", "é", "--reports", "ü"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 2
    assert r"\xfc" in ended.stderr


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4GB", 4_000_000_000),
        ("4GiB", 4 << 30),
        ("4 gib", 4 << 30),
        ("512MiB", 512 << 20),
        ("1.5G", 1_500_000_000),
        ("2097152", 2 << 20),
        ("2097152B", 2 << 20),
        ("2000k", 2_000_000),
    ],
)
def test_sizes(text, size):
    assert option_table.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "4XB", "1e9", "0", "1k", "9" * 30, "9" * 5000, "4GBB", "٤GB", "inf"])
def test_what_is_no_size(text):
    with pytest.raises(option_table.ConfigError) as caught:
        option_table.parse_size(text)
    assert caught.value.hint
