"""The pytest plugin: the fixture ``assert_agrees``, and ``--backend`` for the contract kit."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from diffcheck.errors import DiffcheckError
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
    from diffcheck.backend import registry  # noqa: PLC0415 - not for every pytest session

    spec = config.getoption("--backend")
    if not spec:
        raise pytest.UsageError("name the backend to test: --backend MODULE:FACTORY")
    module, _, factory = spec.partition(":")
    try:
        if module in registry.names():
            return registry.create(spec, {})
        sys.path.insert(0, str(config.invocation_params.dir))
        backend: Backend = getattr(import_module(module), factory)(None, {})
    except (DiffcheckError, ImportError, AttributeError) as error:
        pytest.exit(f"{spec} cannot be used: {error}", returncode=pytest.ExitCode.USAGE_ERROR)
    return backend


@pytest.fixture
def assert_agrees() -> Callable[..., Report]:
    """``assert_agrees(paths, rows=(), **options)``, options of ``diffcheck.run``: the report; fails if a case does not agree."""
    return _agreed


def _agreed(paths: str | os.PathLike[str], rows: Sequence[str] = (), **options: Any) -> Report:  # noqa: ANN401 - see diffcheck.run
    import diffcheck  # noqa: PLC0415 - not for every pytest session

    __tracebackhide__ = True
    report = diffcheck.run(paths, rows=rows, **options)
    if failed := [case for case in report.cases if case.verdict != "agree"]:
        pytest.fail("\n".join(visible_lines(_summary(case)) for case in failed), pytrace=False)
    return report


def _summary(case: CaseReport) -> str:
    """The verdict, its reason, and one line for each divergence."""
    divergences = [divergence for each in case.passes for divergence in each.divergences]
    lines = [f"  {each}" for each in divergences]
    return "\n".join([f"{case.case}: {case.verdict}" + (f": {case.reason}" if case.reason else ""), *lines])
