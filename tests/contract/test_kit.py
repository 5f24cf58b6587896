"""The contract kit as a third party runs it, on an adapter in a file of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

ADAPTER = """
import msgspec
from diffcheck.errors import EngineMissingError
from diffcheck.observation import Cost, Execution, Refused, Returned
from diffcheck_backends import wasi, wasmtime

class Wrong(wasmtime.Wasmtime):
    def start(self, program, limits, host):
        pending = super().start(program, limits, host)
        class Altered:
            def wait(self):
                return msgspec.structs.replace(pending.wait(), outcome=Returned())
        return Altered()

right = wasmtime.create
def wrong(argument, options):
    made = wasmtime.create(argument, options)
    made.__class__ = Wrong
    return made

class Old(wasmtime.Wasmtime):
    def start(self, program, limits, host):
        pending = super().start(program, limits, host)
        class Refusing:
            def wait(self):
                if {opcode} not in program.wasm:
                    return pending.wait()
                return msgspec.structs.replace(pending.wait(), outcome=Refused("load", "not supported", "unsupported"), carried=b"")
        return Refusing()

def old(argument, options):
    made = wasmtime.create(argument, options)
    made.__class__ = Old
    return made

class Timed(wasmtime.Wasmtime):
    factors = 3.5, 1  # of the clock's and the processors' time
    def start(self, program, limits, host):
        pending = super().start(program, limits, host)
        class Measured:
            def wait(self):
                ran = pending.wait()
                times = (int(factor * ran.cost.elapsed_ns) for factor in Timed.factors)
                return msgspec.structs.replace(ran, cost=Cost(*times, ran.cost.peak_bytes, 1))
        return Measured()

def busy(argument, options):
    made = wasmtime.create(argument, options)
    made.__class__ = Timed
    return made

def late(argument, options):
    Timed.factors = 3.5, 3.5
    return busy(argument, options)

def asleep(argument, options):
    Timed.factors = 9, 0.1
    return busy(argument, options)

class Silent(wasi.Wasi):
    def read(self, program, ended, answer, limits):
        return Execution(Returned())

def silent(argument, options):
    made = wasi.create("true", options)
    made.__class__ = Silent
    return made

def absent(argument, options):
    raise EngineMissingError("acme was not found", hint="put it on PATH")
"""


def kit(folder: Path, *arguments: str, opcode: str = "0") -> subprocess.CompletedProcess[str]:
    (folder / "adapter.py").write_text(ADAPTER.replace("{opcode}", opcode))
    plugins = ["-p", "no:cacheprovider", "-p", "diffcheck.testing.plugin"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "--pyargs", "diffcheck.testing", *arguments]
    # Other plugins that are installed here take 1.3 s to import.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "backend, code, said",
    [
        ("adapter:right", 0, "1 passed"),
        pytest.param("wasmtime", 0, "1 passed", marks=pytest.mark.whole),
        ("adapter:wrong", 1, "1 failed"),
        pytest.param("adapter:missing", 4, "module 'adapter' has no attribute 'missing'", marks=pytest.mark.whole),
        ("adapter:absent", 4, "acme was not found; put it on PATH"),
        pytest.param("adapter", 4, "use --backend adapter:FACTORY, or one of harness, ", marks=pytest.mark.whole),
        pytest.param("no_adapter:create", 4, "No module named 'no_adapter'", marks=pytest.mark.whole),
        pytest.param("harness", 4, "needs a command; write harness:COMMAND", marks=pytest.mark.whole),
    ],
)
def test_the_kit_tests_the_adapter_that_is_named(tmp_path: Path, backend: str, code: int, said: str) -> None:
    ended = kit(tmp_path, "--backend", backend, "-k", "a_trap_in_a_capsule")
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert said in ended.stdout + ended.stderr


def test_an_engine_that_ignores_its_deadline_fails_and_one_on_a_busy_machine_does_not(tmp_path: Path) -> None:
    late = "the engine was not ended at its deadline"
    for backend, said in (("busy", "1 passed"), ("late", late), ("asleep", late)):
        ended = kit(tmp_path, "--backend", f"adapter:{backend}", "-k", "endless_loop")
        assert said in ended.stdout, ended.stdout + ended.stderr


def test_an_adapter_that_takes_no_answer_for_success_is_found(tmp_path: Path) -> None:
    ended = kit(tmp_path, "--backend", "adapter:silent", "-k", "usable_answer")
    assert "2 failed" in ended.stdout, ended.stdout + ended.stderr


def test_the_kit_without_a_backend_is_one_error(tmp_path: Path) -> None:
    ended = kit(tmp_path)
    assert ended.returncode == 4
    assert (ended.stdout + ended.stderr).count("--backend: the backend to test is missing; use --backend MODULE:FACTORY") == 1


@pytest.mark.whole
def test_a_module_comes_before_a_backend_that_is_registered_under_its_name(tmp_path: Path) -> None:
    about = tmp_path / "adapter-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: adapter\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[diffcheck.backends]\nadapter = adapter:absent\n")
    for spec, code in (("adapter:right", 0), ("adapter", 4), ("adapter:/usr/bin/engine", 4)):
        ended = kit(tmp_path, "--backend", spec, "-k", "identity")
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert code == 0 or "acme was not found; put it on PATH" in ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("capability", "opcode", "tests"),
    [("exceptions", "0x1F", "exception"), pytest.param("gc", "0x5F", "gc_instr", marks=pytest.mark.whole)],
)
def test_a_capability_that_the_engine_lacks_is_named(tmp_path: Path, capability: str, opcode: str, tests: str) -> None:
    ended = kit(tmp_path, "--backend", "adapter:old", "-k", f"a_capsule_may and {tests}", opcode=opcode)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert f"declare {capability}=False, or None" in ended.stdout
