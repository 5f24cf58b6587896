"""The installed backends, and a diagnosis of each."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend import adapter_errors, registry
from diffcheck.backend.contract import Capabilities, Host, identity, local_host
from diffcheck.backend.registry import create
from diffcheck.errors import DiffcheckError
from diffcheck.observation import Identity
from diffcheck.probe.engine_findings import engine_findings, smoke
from diffcheck.probe.instructions import wrong_instructions
from diffcheck.verdict import EngineFinding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from diffcheck.backend.contract import Backend, RunLimits


_WRONG_HINT = "report it to the engine's authors; `diffcheck localise` finds the instruction in an artifact"


class InstalledBackend(msgspec.Struct, frozen=True):
    """An installed backend: its engine, or the problem and a hint."""

    name: str
    identity: Identity | None = None
    capabilities: Capabilities | None = None
    problem: str = ""
    hint: str = ""


class Diagnosis(msgspec.Struct, frozen=True):
    """The doctor's result for a backend. ``named`` is whether the user named it, so that its absence is a failure."""

    name: str
    named: bool
    identity: Identity | None = None
    checks: int = 0
    problem: str = ""
    hint: str = ""
    findings: tuple[EngineFinding, ...] = ()


def installed_backends(options: Mapping[str, str]) -> Iterator[InstalledBackend]:
    """Yield every installed backend, by name."""
    for name in registry.names():
        installed, backend = _create(name, options)
        if backend is not None:
            backend.close()
        yield installed


def diagnose(names: tuple[str, ...], options: Mapping[str, str], limits: RunLimits) -> Iterator[Diagnosis]:
    """Test each backend of ``names``, or every installed one, with the probe's programs."""
    with local_host() as host:
        for name in names or registry.names():
            installed, backend = _create(name, options)
            if backend is None:
                yield Diagnosis(name, bool(names), problem=installed.problem, hint=installed.hint)
                continue
            yield _diagnose(installed, backend, host, limits, named=bool(names))


def _diagnose(installed: InstalledBackend, backend: Backend, host: Host, limits: RunLimits, *, named: bool) -> Diagnosis:
    name, found = installed.name, installed.identity
    try:
        with adapter_errors.attributed(), closing(backend):
            known = smoke(backend, host, limits)
            wrong = wrong_instructions(backend, host, limits)
            findings = () if known.problem or wrong else engine_findings(backend, host, limits)
    except DiffcheckError as error:
        return Diagnosis(name, named, found, problem=str(error), hint=error.hint)
    if wrong:
        problem = f"{', '.join(each.name for each in wrong)}: expected {wrong[0].oracle}, got {wrong[0].subject}"
        return Diagnosis(name, named, found, known.checks, problem, _WRONG_HINT)
    return Diagnosis(name, named, found, known.checks, known.problem, known.hint, findings)


def _create(spec: str, options: Mapping[str, str]) -> tuple[InstalledBackend, Backend | None]:
    try:
        backend = create(spec, options)
    except DiffcheckError as error:
        return InstalledBackend(spec, problem=str(error), hint=error.hint), None
    try:
        return InstalledBackend(spec, identity(backend), backend.capabilities), backend
    except DiffcheckError as error:
        backend.close()
        return InstalledBackend(spec, problem=str(error), hint=error.hint), None
