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
from diffcheck.observation import Returned
from diffcheck_backends import wasmtime

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
"""


def kit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "adapter.py").write_text(ADAPTER)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "diffcheck.testing", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "backend, code, said",
    [
        ("adapter:right", 0, "1 passed"),
        ("wasmtime", 0, "1 passed"),
        ("adapter:wrong", 1, "1 failed"),
        ("adapter:missing", 4, "adapter:missing cannot be used"),
        ("harness", 4, "needs a command"),
    ],
)
def test_the_kit_tests_the_adapter_that_is_named(tmp_path: Path, backend: str, code: int, said: str) -> None:
    ended = kit(tmp_path, "--backend", backend, "-k", "a_trap_in_a_capsule")
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert said in ended.stdout + ended.stderr


def test_the_kit_needs_a_backend(tmp_path: Path) -> None:
    ended = kit(tmp_path, "-k", "identity")
    assert ended.returncode != 0
    assert "--backend MODULE:FACTORY" in ended.stdout + ended.stderr
