"""Which engines a request comes to."""

from __future__ import annotations

import msgspec
import pytest

from diffcheck.backend import registry
from diffcheck.errors import ConfigError, EngineMissingError, RunFailedError
from diffcheck.runner.engines import choose, create, open_engines
from diffcheck.runner.request import Request


@pytest.fixture
def nowhere(monkeypatch):
    monkeypatch.delenv("DIFFCHECK_KILND", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    return monkeypatch


def chosen(**given):
    return choose(Request(("x",), **given))


def test_a_program_behind_the_subjects_name_is_the_option_of_that_name(nowhere, standin_kilnd):
    path = str(standin_kilnd())
    by_name, by_option = chosen(subject=f"kilnd:{path}"), chosen(options={"kilnd": path})
    assert by_name == by_option
    assert (by_name.request.subject, by_name.request.options["kilnd"], by_name.notice) == ("kilnd", path, "")


def test_two_builds_of_one_engine_are_two_engines(nowhere, standin_kilnd):
    one, other = str(standin_kilnd()), str(standin_kilnd())
    engines = chosen(subject=f"kilnd:{one}", oracle=f"kilnd:{other}")
    assert (engines.subject_identity.path, engines.oracle_identity.path) == (one, other)
    assert engines.request.expected_of == "default"


@pytest.mark.parametrize(
    ("subject", "oracle", "name", "expected"),
    [
        ("wasi:x", "wasmtime", "", "wasi:x"),
        ("wasi:x", "wasi:y", "", "wasi:x"),
        ("wasi:/old/x", "wasi:/new/x", "", "default"),
        ("wasi:/old/x", "wasi:/new/x", "old", "old"),
        ("wasmtime-pulley", "wasmtime", "", "wasmtime-pulley"),
        ("wasmtime", "wasmtime", "own", "default"),
    ],
)
def test_what_a_case_expects_of_an_engine_does_not_hold_against_another_build_of_it(subject, oracle, name, expected):
    assert Request(("x",), subject=subject, oracle=oracle, subject_name=name).expected_of == expected


def test_the_environment_variable_is_read_without_a_command_line(nowhere, standin_kilnd):
    path = str(standin_kilnd())
    nowhere.setenv("DIFFCHECK_KILND", path)
    assert chosen().request.options["kilnd"] == path


def test_auto_does_not_pass_over_a_program_that_was_named(nowhere):
    nowhere.setenv("DIFFCHECK_KILND", "/no/such/kilnd")
    with pytest.raises(EngineMissingError, match="DIFFCHECK_KILND names"):
        chosen()


def test_a_fallback_says_what_was_not_found_and_how_to_give_it(nowhere):
    engines = chosen()
    assert (engines.request.subject, engines.request.oracle) == ("wasmtime-pulley", "wasmtime")
    for words in ("No kilnd was found", "compares Wasmtime with itself", "--kilnd PATH", "DIFFCHECK_KILND"):
        assert words in engines.notice


@pytest.mark.parametrize(("subject", "oracle"), [("wasmtime-pulley", "wasmtime"), ("wasmtime", "wasmtime-pulley")])
def test_two_adapters_of_one_engine_are_noted(subject, oracle):
    assert chosen(subject=subject, oracle=oracle).notice.startswith("This run compares Wasmtime with itself")


def test_an_interpreter_against_another_engine_is_not_noted(standin_kilnd):
    assert chosen(subject="wasmtime-pulley", oracle=f"kilnd:{standin_kilnd()}").notice == ""


def test_an_oracle_that_cannot_judge_has_a_judge_beside_it_and_opens_no_triage(standin_kilnd):
    request = chosen(subject="wasmtime", oracle=f"kilnd:{standin_kilnd()}").request
    roles = create(request)
    assert (roles.validator.identity().name, roles.oracle.identity().name) == ("wasmtime", "kilnd")
    with pytest.raises(RunFailedError, match="kilnd cannot validate"), open_engines(request):
        pass


def test_without_a_declaration_there_is_nothing_for_auto_to_take(monkeypatch):
    monkeypatch.setattr(registry, "_declarations", dict)
    with pytest.raises(ConfigError, match="can be the oracle"):
        chosen()


def test_engines_get_the_cache_folder_of_the_request_only(tmp_path):
    """The options of a request always have a folder, in which components are prepared."""
    request = Request(("x",), subject="wasmtime-pulley", oracle="wasmtime", options={"cache": "/elsewhere"})
    assert create(request).oracle.compiled == ""
    folder = str(tmp_path)
    assert create(msgspec.structs.replace(request, cache=folder)).subject.compiled == f"{folder}/compiled"
