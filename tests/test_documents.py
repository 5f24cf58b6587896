"""Every command of every document runs as it stands, and every name in a document exists.

A page's blocks run in order in one folder, which has what the page takes for granted. Where kilnd is not found a stand-in takes its place.
The corpus is two of its cases; with ``-m whole`` all of it is run, by a distribution that is installed from the network.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from diffcheck.cases import scripts
from diffcheck.cli.command_group import COMMANDS, cli
from tests.documents import LANGUAGES, PAGES, ROOT, blocks, fences

CASES = ("01-decisions/triangle", "01-decisions/leap_year", "09-engine/sensor_rounding")
CENTURIES_OF_101_YEARS = ("41e4006f", "41e5006f")  # in leap_year
APP = """
(module (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "run_row_0") (result i32) (if (result i32) (i32.load (i32.const 0)) (then (i32.const 1)) (else (i32.const 2)))))
"""
NOT_HERE = {
    "diffcheck hunt": "it takes the given time; tests/hunt runs it",
    "go build": "it needs Go and the network",
    "rows:wazero-rows": "it needs Go and the network",
    "app.component.wasm": "it needs a component; tests/triage/test_blame.py and tests/test_prepare.py have some",
    "diffcheck bisect": "it needs several builds; tests/triage/test_bisect.py runs it",
    "diffcheck matrix": "tests/cli/test_matrix.py runs it",
    ".venv/bin/python -m pytest": "this suite",
    "pip install": "it would change this environment; .ci/run installs the distribution",
    "pytest --pyargs": "tests/contract/test_backends_page.py runs it",
    "--subject v8": "tests/contract/test_backends_page.py runs it",
    "diffcheck gate": "tests/cli/test_gate.py runs it, and its sweep takes a minute",
    "diffcheck serve": "it runs until it is stopped; tests/service starts it",
    "diffcheck submit": "it needs a service; tests/service has one",
    "corpus/build": "it compiles the corpus; tests/test_corpus.py checks its products",
}
SLOW = ("diffcheck export-wast sensor", "diffcheck sweep --family", "diffcheck explore")
TOOLS = ("meld", "witness", "jq", "node", "wasmi")
VERDICTS = {0, 1, 3}  # of a command that reports what it found
ALLOWED = dict.fromkeys(
    ("run", "sweep", "merge", "show", "report", "localise", "triage", "history", "compare", "explain", "selftest", "doctor"),
    VERDICTS,
)


def why_not(command):
    """Why a command cannot be run here; empty if it can."""
    for words, why in NOT_HERE.items():
        if words in command:
            return why
    needed = [tool for tool in TOOLS if re.search(rf"\b{tool}(?: |'|$)", command)] + ["meld"] * ("diffcheck prepare" in command)
    missing = [tool for tool in needed if shutil.which(tool) is None]
    missing += ["wasm-tools"] * (scripts.SUFFIX in command and scripts.converter() is None)
    return f"it needs {missing[0]}" if missing else ""


@pytest.fixture(scope="module")
def folders(tmp_path_factory, standin_kilnd, patched):
    """Makes a page's folder, once a page; all are copies of one in which the corpus was run."""
    first = tmp_path_factory.mktemp("first")
    furnish(first, standin_kilnd, patched)
    made = {}

    def folder(page):
        if page not in made:
            made[page] = tmp_path_factory.mktemp("page") / "clone"
            shutil.copytree(first, made[page], symlinks=True)
        return made[page]

    return folder


def furnish(folder, standin_kilnd, patched):
    """Put what the pages take for granted into a folder."""
    for name in CASES:
        for path in (ROOT / "corpus").glob(f"{name}.*"):
            shutil.copy(path, place(folder / path.relative_to(ROOT)))
    shutil.copytree(ROOT / "docs" / "engines", folder / "docs" / "engines")
    (folder / "app.wasm").write_bytes(wasmtime.wat2wasm(APP))
    fused = ROOT / "corpus" / "02-programs" / "json_check_fused"
    sources = {
        "app.inst": fused,
        "leap_year": ROOT / "corpus/01-decisions/leap_year",
        "assertion": ROOT / "corpus/07-traps/assertion",
    }
    for name, source in sources.items():
        for suffix in (".wasm", ".wasm.witness.json", ".toml"):
            shutil.copy(f"{source}{suffix}", folder / f"{name}{suffix}")
    found = os.environ.get("DIFFCHECK_KILND") or shutil.which("kilnd")
    wrong = patched(found or standin_kilnd(), *CENTURIES_OF_101_YEARS)
    kilnd = Path(found) if found else wrong  # so that something diverges
    shutil.copy(wrong, folder / "wrong-kilnd")
    for name in ("PATH/TO/kilnd", "bin/kilnd"):
        place(folder / name).symlink_to(kilnd)
    (folder / "bin" / "diffcheck").write_text(f'#!/bin/sh\nexec {shlex.join(DIFFCHECK)} "$@"\n')
    (folder / "bin" / "diffcheck").chmod(0o755)
    place(folder / ".venv" / "bin" / "diffcheck").symlink_to(folder / "bin" / "diffcheck")
    subprocess.run([*DIFFCHECK, "run", "corpus"], cwd=folder, env=environment(folder), check=False, capture_output=True)


DIFFCHECK = (sys.executable, "-m", "diffcheck")


def place(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def environment(folder):
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        "PATH": path,
        "HOME": str(folder),
        "DIFFCHECK_KILND": str(folder / "bin" / "kilnd"),
        "DIFFCHECK_CAUSES": "0",  # tests/test_pictures.py runs with causes
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def expected(command):
    """The exit codes that a command may end with."""
    verbs = re.findall(r"\bdiffcheck (\w+)", command)
    return ALLOWED.get(verbs[-1], {0}) if verbs and "witness run" not in command else {0, 1} if "cross-check" in command else {0}


def marks(block):
    """A page's blocks run in one process; those that take the longest, whose commands other tests run as well, with ``-m whole``."""
    slow = any(words in command for command in block.commands for words in SLOW)
    return [pytest.mark.xdist_group(block.page), *([pytest.mark.whole] if slow else [])]


@pytest.mark.parametrize("block", [pytest.param(each, id=str(each), marks=marks(each)) for each in blocks()])
def test_the_commands_of_a_block_run_as_they_stand(block, folders):
    folder = folders(block.page)
    for number, command in enumerate(block.commands):
        if why := why_not(command):
            pytest.skip(why)  # what follows needs what this command makes
        ended = subprocess.run(
            ["bash", "-c", command], cwd=folder, env=environment(folder), capture_output=True, text=True, check=False, timeout=300
        )
        codes = {1, 2} if number in block.fails else expected(command)
        assert ended.returncode in codes, f"{block}: {command}\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}"


def test_every_fenced_block_names_its_language():
    assert not [(page, line) for page, line, language, _ in fences() if language not in LANGUAGES and page != "docs/commands.md"]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "ARCHITECTURE.md"], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_module_and_option_that_a_page_names_exists(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    missing = [target for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) if not (page.parent / target).exists()]
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"(?:\w+/)+\w*\.?\w*", code) and code.split("/")[0] in ROOMS | FOLDERS:
            missing += [] if any((base / code).exists() for base in BASES) else [code]
        elif code.startswith("diffcheck "):
            missing += unknown_options(code)
    assert not missing


BASES = (ROOT, ROOT / "diffcheck", ROOT / "backends")
ROOMS = {path.stem for path in (ROOT / "diffcheck").iterdir()} | {"diffcheck_backends"}
FOLDERS = {"diffcheck", "docs", "tests", "benchmarks", "corpus", "backends"}


def unknown_options(code):
    """The command and options in ``diffcheck COMMAND ...`` that do not exist."""
    words = shlex.split(code.replace("|", " "))[1:]
    name = next((word for word in words if not word.startswith("-")), "")
    if not name or not name.islower():
        return []
    if name not in COMMANDS:
        return [f"diffcheck {name}"]
    command = cli.get_command(None, name)
    known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts} | {
        "--help",
        "--trust-config",
        "-h",
    }
    for each in getattr(command, "commands", {}).values():
        known |= {option for parameter in each.params for option in parameter.opts}
    return [f"diffcheck {name} {word}" for word in words if word.startswith("-") and word.partition("=")[0] not in known]


@pytest.mark.whole
def test_the_distribution_installs_and_runs_by_the_commands_of_the_readme(tmp_path):
    try:
        socket.create_connection(("pypi.org", 443), 5).close()
    except OSError:
        if not os.environ.get("PIP_INDEX_URL"):
            pytest.skip("there is no network here")
    clone = tmp_path / "clone"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".venv", ".git", ".*_cache", "__pycache__", ".hypothesis"))
    install, run = next(each.commands for each in blocks() if each.page == "README.md")
    assert subprocess.run(["bash", "-c", install], cwd=clone, check=False).returncode == 0
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DIFFCHECK_NO_CACHE": "1"}
    assert subprocess.run(["bash", "-c", run], cwd=clone, env=environment, check=False).returncode == 0
