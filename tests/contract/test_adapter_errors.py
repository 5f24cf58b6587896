"""Faulty adapters: the error names the adapter, the method, the file and the line, and other engines are not affected."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest

from diffcheck import load_report
from diffcheck.backend import registry
from diffcheck.backend.contract import Capabilities
from diffcheck.cli import main as entry
from tests.runner.test_run import COUNTING, artifact

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADAPTER = """
import sys
from pathlib import Path
from diffcheck import observation
from diffcheck.backend.command import Command, CommandBackend, file_sha256
from diffcheck.backend.contract import Capabilities
from diffcheck.cli import main as entry

class Engine(CommandBackend):
    capabilities = Capabilities("memory", direct=True)

    def identity(self):
        return observation.Identity("faulty", "1", sys.executable, file_sha256(Path(sys.executable)), "PATH")

    def command(self, program, module, answer):
        return Command((sys.executable, "-c", ""))

    def read(self, program, ended, answer, limits):
        return observation.Execution(observation.Returned(), bytes(3000), counters={0: 42})

def create(argument, options):
    return Engine()
"""
FAULTS = {
    "syntax": ("def create(argument, options):", "def create(argument options):", "cannot be imported: SyntaxError"),
    "import": ("import sys\n", "import sys, no_such_module\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
    "transport": ('"memory"', '"memroy"', "transport is 'memroy'; allowed are memory, words, print"),
    "capability": ("direct=True", "direct='yes'", "direct: 'yes' (Expected `bool`, got `str`)"),
    "factory raises": ("return Engine()", "return {}['engine']", "create raised KeyError: 'engine'"),
    "factory's parameters": ("def create(argument, options)", "def create(argument)", "create raised TypeError: create() takes 1"),
    "factory returns nothing": ("return Engine()", "Engine()", "create returned None, which is not of the type Backend"),
    "factory exits": ("return Engine()", "sys.exit('no engine')", "create raised SystemExit: no engine"),
    "no capabilities": ('    capabilities = Capabilities("memory", direct=True)\n', "", "create returned a backend whose capabilities are None"),
    "capabilities of another type": ('= Capabilities("memory", direct=True)', "= {'direct': True}", "capabilities are {'direct': True}"),
    "start returns nothing": ("    def command(", "    def start(self, *arguments):\n        pass\n\n    def command(", "Engine.start returned None, which is not of the type Pending"),
    "close raises": ("    def command(", "    def close(self):\n        return {}['engine']\n\n    def command(", "Engine.close raised KeyError: 'engine'"),
    "identity raises": ("return observation.Identity(", "return observation.Identitty(", "Engine.identity raised AttributeError: "),
    "identity's path": (", sys.executable, file", ", Path(sys.executable), file", "returned Identity with a wrong path: PosixPath("),
    "command raises": ("return Command(", "return Comand(", "Engine.command raised NameError: "),
    "read raises": ("return observation.Execution(", "return {}['counters'](", "Engine.read raised KeyError: 'counters'"),
    "read asserts": ("return observation.Execution(", "assert program.kind == 'direct', 'capsules'\n        return observation.Execution(", ""),
    "read opens nothing": ("return observation.Execution(", "answer.read_bytes()\n        return observation.Execution(", "Engine.read raised FileNotFoundError"),
    "read returns nothing": ("return observation.Execution(", "observation.Execution(", "Engine.read returned None, which is not of the type Execution"),
    "read returns text": ("return observation.Execution(", "return 'returned'\n        return observation.Execution(", "Engine.read returned 'returned', which is not"),
    "the outcome is text": ("(observation.Returned(), b", "('returned', b", "returned Execution with a wrong outcome: 'returned'"),
    "a kind that does not exist": ("observation.Returned()", "observation.Trapped('boom')", "with a wrong outcome: Trapped(kind='boom'"),
}  # fmt: skip
FAULTS_OF_FILES = {
    "no files": ("None", "Engine.files returned None, which is not of the type tuple"),
    "files of another type": ("(Path(sys.executable),)", "Engine.files returned (PosixPath("),
    "files raises": ("{}['engine']", "Engine.files raised KeyError: 'engine'"),
}
FAULTS |= {
    name: ("    def command(", f"    def files(self):\n        return {value}\n\n    def command(", message)
    for name, (value, message) in FAULTS_OF_FILES.items()
}
IN_RUN = (
    *FAULTS_OF_FILES,
    "no capabilities",
    "start returns nothing",
    "import",
    "factory returns nothing",
    "identity raises",
    "identity's path",
    "read raises",
    "read returns nothing",
)


class Diffcheck(NamedTuple):
    """The end of a command."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Diffcheck]:
    """Runs a command where an adapter with a fault is installed."""
    about = tmp_path / "faulty-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[diffcheck.backends]\nfaulty = faulty_engine:create\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.delenv("DIFFCHECK_KILND", raising=False)  # doctor fails for a known answer that it does not give

    def run(fault: str, *arguments: str) -> Diffcheck:
        before, after, _ = FAULTS[fault]
        assert before in ADAPTER
        (tmp_path / "faulty_engine.py").write_text(ADAPTER.replace(before, after))
        sys.modules.pop("faulty_engine", None)
        code = entry.run(list(arguments))
        return Diffcheck(code, *capsys.readouterr())

    return run


@pytest.mark.parametrize(
    "fault", [each for each in FAULTS if each not in (*FAULTS_OF_FILES, "read asserts")]
)  # doctor does not ask for them
def test_doctor_names_the_method_the_file_and_the_line(tmp_path: Path, faulty: Callable[..., Diffcheck], fault: str) -> None:
    ended = faulty(fault, "doctor", "faulty")
    assert ended.code in (1, 2), ended
    assert FAULTS[fault][2] in ended.stdout
    assert f"({tmp_path / 'faulty_engine.py'}, line " in ended.stdout
    assert "the adapter faulty" in ended.stdout
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("fault", IN_RUN)
def test_a_run_with_a_faulty_adapter_is_an_error_and_no_defect_of_ours(
    tmp_path: Path, faulty: Callable[..., Diffcheck], fault: str
) -> None:
    artifact(tmp_path, "counting", COUNTING)
    ended = faulty(fault, "run", "counting.wasm", "--subject", "faulty", "--no-cache")
    assert ended.code == 2, ended
    assert FAULTS[fault][2] in ended.stderr
    assert f"({tmp_path / 'faulty_engine.py'}, line " in ended.stderr
    assert "hint: correct the adapter" in ended.stderr


@pytest.mark.parametrize("command", ["backends", "doctor"])
@pytest.mark.parametrize("fault", ["import", "factory raises", "identity raises"])
def test_other_engines_are_listed_beside_a_faulty_adapter(faulty: Callable[..., Diffcheck], fault: str, command: str) -> None:
    ended = faulty(fault, command)
    assert ended.code == 0, ended
    assert FAULTS[fault][2] in ended.stdout
    assert "wasmtime-pulley" in ended.stdout


def test_an_adapter_that_fails_in_a_case_makes_it_inconclusive(tmp_path: Path, faulty: Callable[..., Diffcheck]) -> None:
    artifact(tmp_path, "counting", COUNTING)
    artifact(tmp_path, "other", COUNTING)
    ended = faulty("read asserts", "run", ".", "--subject", "faulty", "--no-cache")
    assert ended.code == 3, ended
    report = load_report(tmp_path / "reports")
    assert [each.verdict for each in report.cases] == ["inconclusive"] * 2
    assert all("Engine.read raised AssertionError: capsules" in each.reason for each in report.cases)


def test_capabilities_are_checked_where_they_are_declared() -> None:
    for values in ({"transport": "memroy"}, {"transport": "memory", "notes": "text"}, {"transport": "print", "base_bytes": "64"}):
        with pytest.raises(ValueError, match="transport is|notes: 'text'|base_bytes: '64'"):
            Capabilities(**values)


def test_a_backend_that_is_created_is_still_one() -> None:
    assert registry.create("wasmtime", {}).identity().name == "wasmtime"
