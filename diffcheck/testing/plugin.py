"""The pytest plugin: the fixture ``assert_agrees``, and ``--backend`` for the contract kit."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from diffcheck.errors import ConfigError, DiffcheckError
from diffcheck.text import visible_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from diffcheck.backend.contract import Backend
    from diffcheck.verdict import CaseReport, Report

_KIT = "diffcheck.testing"


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(parser: pytest.Parser, args: list[str]) -> None:
    """Add ``--backend`` for the kit only, since other plugins have an option of that name."""
    if any(each.startswith(_KIT) for each in args):
        parser.getgroup("diffcheck").addoption("--backend", metavar="SPEC", help="MODULE:FACTORY, or a registered backend.")


def backend_of(config: pytest.Config) -> Backend:
    """The backend of ``--backend``: ``MODULE:FACTORY``, or a registered one; ends pytest if it cannot be created."""
    spec = config.getoption("--backend", default="") or ""
    sys.path.insert(0, str(config.invocation_params.dir))
    try:
        return _backend(spec)
    except DiffcheckError as error:
        pytest.exit(f"{f'--backend {spec}'.strip()}: {error.line}", returncode=pytest.ExitCode.USAGE_ERROR)


def _backend(spec: str) -> Backend:
    """The backend of a factory if the module has it, else the registered one."""
    from diffcheck.backend import registry  # noqa: PLC0415 - not for every pytest session

    module, _, factory = spec.partition(":")
    registered = module in registry.names()
    if not registered and not factory:
        hint = f"use --backend {module or 'MODULE'}:FACTORY, or one of {', '.join(registry.names())}"
        raise ConfigError("no installed backend has this name" if module else "the backend to test is missing", hint=hint)
    if registered and not _has(module, factory):
        return registry.create(spec, {})
    return registry.created(module, module, lambda: getattr(import_module(module), factory), None, {})


def _has(module: str, factory: str) -> bool:
    try:
        return bool(factory) and hasattr(import_module(module), factory)
    except Exception:  # noqa: BLE001 - if an adapter registered under this name has the fault, it is reported then
        return False


@pytest.fixture
def assert_agrees() -> Callable[..., Report]:
    """``assert_agrees(paths, rows=(), **options)``, options of ``diffcheck.run``: the report; fails if a case does not agree."""
    return _agreed


def _agreed(paths: str | os.PathLike[str], rows: Sequence[str] = (), **options: Any) -> Report:  # noqa: ANN401 - see diffcheck.run
    import diffcheck  # noqa: PLC0415 - not for every pytest session

    __tracebackhide__ = True
    try:
        report = diffcheck.run(paths, rows=rows, **options)
    except DiffcheckError as error:
        pytest.fail(visible_lines(error.line), pytrace=False)
    if failed := [case for case in report.cases if case.verdict != "agree"]:
        pytest.fail("\n".join(visible_lines(_summary(case)) for case in failed), pytrace=False)
    return report


def _summary(case: CaseReport) -> str:
    """The verdict, its reason, and one line for each divergence."""
    divergences = [divergence for each in case.passes for divergence in each.divergences]
    lines = [f"  {each}" for each in divergences]
    return "\n".join([f"{case.case}: {case.verdict}" + (f": {case.reason}" if case.reason else ""), *lines])
