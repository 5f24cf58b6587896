"""How engines are found, and what a user reads where they are not."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from diffcheck.backend import registry
from diffcheck.backend.contract import Host, Program, RunLimits
from diffcheck.errors import ConfigError, EngineMissingError
from diffcheck.observation import HarnessFailed, Refused
from diffcheck.testing import programs
from diffcheck.testing.test_backend import assembled
from diffcheck_backends import harness, kilnd, wasi

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.delenv("DIFFCHECK_KILND", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    return monkeypatch


def test_without_kilnd_the_hint_says_what_to_do(nowhere: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineMissingError) as raised:
        kilnd.create(None, {})
    for word in ("--kilnd PATH", "DIFFCHECK_KILND", "wasmtime-pulley", "releases"):
        assert word in raised.value.hint


def test_the_option_comes_before_the_variable_and_the_variable_before_the_path(
    nowhere: pytest.MonkeyPatch, standin_kilnd: Callable[..., Path]
) -> None:
    first, second, third = (standin_kilnd() for _ in range(3))
    nowhere.setenv("PATH", str(third.parent))
    assert registry.create("kilnd", {}).identity().found == "PATH"
    nowhere.setenv("DIFFCHECK_KILND", str(second))
    assert registry.create("kilnd", {}).identity().path == str(second)
    assert registry.create("kilnd", {}).identity().found == "DIFFCHECK_KILND"
    assert registry.create("kilnd", {"kilnd": str(first)}).identity().path == str(first)
    assert registry.create("kilnd", {"kilnd": str(first)}).identity().found == "--kilnd"
    assert registry.create(f"kilnd:{third}", {"kilnd": str(first)}).identity().path == str(third)


@pytest.mark.parametrize("given", ["missing", ".", "text"])
def test_a_path_that_is_no_program_is_told_with_where_it_was_given(nowhere: pytest.MonkeyPatch, tmp_path: Path, given: str) -> None:
    (tmp_path / "text").touch(0o644)
    nowhere.setenv("DIFFCHECK_KILND", str(tmp_path / given))
    with pytest.raises(EngineMissingError, match="DIFFCHECK_KILND names"):
        registry.create("kilnd", {})


@pytest.mark.parametrize("argument", [None, "", "  "])
def test_a_command_is_needed(argument: str | None) -> None:
    for create in (harness.create, wasi.create):
        with pytest.raises(ConfigError, match="needs a command"):
            create(argument, {})


def test_a_wasi_engine_that_is_not_there_is_told() -> None:
    with pytest.raises(EngineMissingError, match="was not found"):
        wasi.create("no-such-engine run", {})
    with pytest.raises(ConfigError, match="cannot be read"):
        wasi.create("engine 'run", {})


def test_the_module_stands_where_the_command_says(standin_wasi: Callable[..., Path], host: Host) -> None:
    engine = shlex.quote(str(standin_wasi()))
    for command in (engine, f"{engine} {{}}", f"{engine} --any {{}}"):
        program = Program("capsule", assembled(programs.printing_capsule(1)))
        assert wasi.create(command, {}).execute(program, RunLimits(), host).carried[:1] == b"\1"


def test_an_engine_with_one_memory_only_refuses_and_its_words_are_told(standin_wasi: Callable[..., Path], host: Host) -> None:
    text = '(module (memory 1) (memory (export "diffcheck:memory") 1) (func (export "_start")))'
    engine = wasi.create(shlex.quote(str(standin_wasi("--single-memory"))), {})
    outcome = engine.execute(Program("capsule", assembled(text)), RunLimits(), host).outcome
    assert isinstance(outcome, Refused)
    assert "multi" in outcome.reason


@pytest.mark.parametrize(
    "printed, what",
    [
        ("", "no image in the output"),
        ("diffcheck:image\\n", "incomplete image in the output"),
        ("diffcheck:image\\n\\377\\377\\377\\377\\377\\377\\377\\377", "incomplete image in the output"),
        ("diffcheck:image\\n\\005\\000\\000\\000\\000\\000\\000\\000abcd", "incomplete image in the output"),
    ],
)
def test_an_image_that_is_not_whole_is_a_failure(tmp_path: Path, host: Host, printed: str, what: str) -> None:
    script = tmp_path.parent / f"{tmp_path.name}-engine"
    script.write_text(f"#!/bin/sh\nprintf '{printed}'\n")
    script.chmod(0o755)
    outcome = wasi.create(shlex.quote(str(script)), {}).execute(Program("capsule", b""), RunLimits(), host).outcome
    assert isinstance(outcome, HarnessFailed)
    assert outcome.what == what


def test_the_version_is_asked_of_a_wasi_engine(standin_wasi: Callable[..., Path]) -> None:
    identity = wasi.create(shlex.quote(str(standin_wasi())), {}).identity()
    assert identity.version == "1.2.3"


@pytest.mark.kilnd
def test_kilnd_says_no_version(real_kilnd: str) -> None:
    """If this fails, kilnd has learnt to say one: then the README need not explain why it is empty."""
    assert kilnd.create(real_kilnd, {}).identity().version == ""


@pytest.mark.kilnd
def test_kilnd_as_a_command_says_what_the_adapter_says(real_kilnd: str, host: Host) -> None:
    by_name, by_command = kilnd.create(real_kilnd, {}), harness.create(shlex.quote(real_kilnd), {})
    for text in (programs.COUNTERS, programs.NO_ENTRY, programs.FLOAT_COUNTER, programs.TRAPS["throw"][1], programs.TRAP_IN_DATA):
        program = Program("direct", assembled(text))
        one, other = (each.execute(program, RunLimits(), host) for each in (by_name, by_command))
        assert (one.outcome, one.counters) == (other.outcome, other.counters)
