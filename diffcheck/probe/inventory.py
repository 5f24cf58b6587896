"""Which engines there are on this machine, and whether each works."""

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


_WRONG = "report it to the engine's authors; `diffcheck localise` finds the instruction in an artifact"


class InstalledBackend(msgspec.Struct, frozen=True):
    """A backend that is installed: which engine it has, or the problem and what to do."""

    name: str
    identity: Identity | None = None
    capabilities: Capabilities | None = None
    problem: str = ""
    hint: str = ""


class Examined(msgspec.Struct, frozen=True):
    """What the doctor found of a backend; ``named`` is whether the user asked for it, so that its absence is a failure."""

    name: str
    named: bool
    identity: Identity | None = None
    checks: int = 0
    problem: str = ""
    hint: str = ""
    findings: tuple[EngineFinding, ...] = ()


def look(options: Mapping[str, str]) -> Iterator[InstalledBackend]:
    """Every backend that is installed, by name."""
    for name in registry.names():
        found, backend = _create(name, options)
        if backend is not None:
            backend.close()
        yield found


def examine(names: tuple[str, ...], options: Mapping[str, str], limits: RunLimits) -> Iterator[Examined]:
    """Each backend of ``names``, or every one that is installed, tried with the probe's programs."""
    with local_host() as host:
        for name in names or registry.names():
            found, backend = _create(name, options)
            if backend is None:
                yield Examined(name, bool(names), problem=found.problem, hint=found.hint)
                continue
            try:
                yield _examine(name, found, backend, host, limits, named=bool(names))
            finally:
                backend.close()


def _examine(name: str, found: InstalledBackend, backend: Backend, host: Host, limits: RunLimits, *, named: bool) -> Examined:
    try:
        asked = smoke(backend, host, limits)
        wrong = wrong_instructions(backend, host, limits)
        if wrong:
            problem = f"{', '.join(each.name for each in wrong)}: {wrong[0].oracle} is right, it gives {wrong[0].subject}"
            return Examined(name, named, found.identity, asked.checks, problem, _WRONG)
        findings = () if asked.problem else engine_findings(backend, host, limits)
    except DiffcheckError as error:
        return Examined(name, named, found.identity, problem=str(error), hint=error.hint)
    return Examined(name, named, found.identity, asked.checks, asked.problem, asked.hint, findings)


def _create(spec: str, options: Mapping[str, str]) -> tuple[InstalledBackend, Backend | None]:
    try:
        backend = create(spec, options)
    except DiffcheckError as error:
        return InstalledBackend(spec, problem=str(error), hint=error.hint), None
    except (ImportError, AttributeError) as error:  # an adapter of someone else's that does not load
        return InstalledBackend(
            spec, problem=f"its adapter does not load: {error}", hint="reinstall the package that brings it"
        ), None
    try:
        return InstalledBackend(spec, backend.identity(), backend.capabilities), backend
    except DiffcheckError as error:
        backend.close()
        return InstalledBackend(spec, problem=str(error), hint=error.hint), None
