"""The installed backends, and a diagnosis of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from diffcheck.backend import registry
from diffcheck.backend.contract import Capabilities, Host, local_host
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
            try:
                yield _diagnose(installed, backend, host, limits, named=bool(names))
            finally:
                backend.close()


def _diagnose(installed: InstalledBackend, backend: Backend, host: Host, limits: RunLimits, *, named: bool) -> Diagnosis:
    name, identity = installed.name, installed.identity
    try:
        known = smoke(backend, host, limits)
        wrong = wrong_instructions(backend, host, limits)
        if wrong:
            problem = f"{', '.join(each.name for each in wrong)}: expected {wrong[0].oracle}, got {wrong[0].subject}"
            return Diagnosis(name, named, identity, known.checks, problem, _WRONG_HINT)
        findings = () if known.problem else engine_findings(backend, host, limits)
    except DiffcheckError as error:
        return Diagnosis(name, named, identity, problem=str(error), hint=error.hint)
    return Diagnosis(name, named, identity, known.checks, known.problem, known.hint, findings)


def _create(spec: str, options: Mapping[str, str]) -> tuple[InstalledBackend, Backend | None]:
    try:
        backend = create(spec, options)
    except DiffcheckError as error:
        return InstalledBackend(spec, problem=str(error), hint=error.hint), None
    except (ImportError, AttributeError) as error:  # a broken third-party adapter
        problem = f"its adapter does not load: {error}"
        return InstalledBackend(spec, problem=problem, hint="reinstall the package that provides it"), None
    try:
        return InstalledBackend(spec, backend.identity(), backend.capabilities), backend
    except DiffcheckError as error:
        backend.close()
        return InstalledBackend(spec, problem=str(error), hint=error.hint), None
