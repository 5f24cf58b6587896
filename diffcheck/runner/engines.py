"""Choosing the engines of a request, and opening them in this process."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from diffcheck.backend import contract, registry
from diffcheck.backend.contract import Backend, Host, Oracle, RunLimits
from diffcheck.cases import prepare
from diffcheck.config import option_table
from diffcheck.errors import EngineMissingError, RunFailedError
from diffcheck.observation import Identity
from diffcheck.probe import engine_check
from diffcheck.runner import judges
from diffcheck.runner.engine_files import BuildWatch, build
from diffcheck.runner.equivalent.equivalent_oracle import EquivalentOracle
from diffcheck.runner.persist import execution_cache
from diffcheck.runner.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SAME: Final = "Subject and oracle are the same engine: this run only tests diffcheck itself."
SELF: Final = "self"
"""The oracle that is the subject itself, with an equivalent program."""


class Engines(msgspec.Struct, frozen=True):
    """The chosen engines. ``request`` names them with the paths of their programs, so that a worker opens the same ones."""

    request: Request
    subject_identity: Identity
    oracle_identity: Identity
    notice: str
    judge_identities: tuple[Identity, ...] = ()


class Roles(msgspec.Struct, frozen=True):
    """The backends of a run by role. ``validator`` validates artifacts; it is the oracle if the oracle can validate.

    ``judges`` are by their roles in the execution cache.
    """

    validator: Oracle
    oracle: Backend
    subject: Backend
    judges: tuple[judges.Judge, ...] = ()


class EnginePair(msgspec.Struct, frozen=True):
    """Both engines, opened in this process, and their host."""

    oracle: Oracle
    subject: Backend
    host: Host


def as_validator(engine: Backend) -> Oracle:
    """The engine as a validator of artifacts; raises ``RunFailedError`` if it cannot validate."""
    if not isinstance(engine, Oracle):
        raise RunFailedError(f"{engine.identity().name} cannot validate an artifact", hint="use the default --oracle")
    return engine


def preferred_oracle(options: Mapping[str, str]) -> Oracle:
    """The oracle that ``auto`` stands for; it validates artifacts if the oracle of a run cannot."""
    return as_validator(registry.create(registry.preferred("oracle"), options))


def create(request: Request) -> Roles:
    """The backends that a request names."""
    options = {**request.options, "cache": request.cache}  # else components are still prepared in the default folder
    if request.oracle == SELF:
        validator = preferred_oracle(options)
        itself = EquivalentOracle(registry.create(request.subject, options), validator)
        return Roles(validator, itself, registry.create(request.subject, options), judges.create(request, options))
    oracle = registry.create(request.oracle, options)
    validator = oracle if isinstance(oracle, Oracle) else preferred_oracle(options)
    return Roles(validator, oracle, registry.create(request.subject, options), judges.create(request, options))


def choose(request: Request) -> Engines:
    """The engines of a request; raises ``EngineMissingError`` or ``ConfigError``."""
    request, skipped = _resolve(request)
    engines = create(request)
    roles: dict[str, Backend] = {name: getattr(engines, name) for name in ("validator", "oracle", "subject")}
    roles |= {each.role: each.backend for each in engines.judges}
    builds = {role: build(engine) for role, engine in roles.items()}  # before any of them starts
    subject, oracle = contract.identity(engines.subject), contract.identity(engines.oracle)
    programs = {each.name for each in registry.programs()}
    paths = {spec: each.path for spec, each in ((request.subject, subject), (request.oracle, oracle)) if spec in programs}
    specs = {"validator": "", "oracle": request.oracle, "subject": request.subject}
    specs |= {each.role: each.spec for each in engines.judges}
    keys = {role: execution_cache.engine_key(roles[role], specs[role], builds[role].digest) for role in specs if request.cache}
    chosen = msgspec.structs.replace(
        request,
        options={**_preparation_options(), **request.options, **paths},
        keys=keys,
        builds=tuple({tuple(each.stamps): each for each in builds.values()}.values()),
    )
    judged_by = tuple(contract.identity(each.backend) for each in engines.judges)
    return Engines(chosen, _configured_identity(subject, request), oracle, _notice(request, skipped), judged_by)


def _resolve(request: Request) -> tuple[Request, str]:
    """The request with an engine in place of ``auto``, and the preferred engine if that was not found."""
    options = {
        contract.SEARCH_PATH: os.environ.get("PATH", ""),
        **request.options,
        **registry.located(request.options, os.environ),
        **({"cache": request.cache} if request.cache else {}),
    }
    oracle = registry.preferred("oracle") if request.oracle == registry.AUTO else request.oracle
    subject, skipped = request.subject, ""
    name, _, path = subject.partition(":")
    if path and registry.declaration(name).program and oracle.partition(":")[0] != name:
        subject, options[name] = name, path  # the alias of --NAME PATH
    elif subject == registry.AUTO:
        subject, skipped = _first_found(options)
    return msgspec.structs.replace(request, subject=subject, oracle=oracle, options=options), skipped


def _first_found(options: Mapping[str, str]) -> tuple[str, str]:
    """The best subject that is installed, and the preferred one if that is not installed."""
    choices = registry.ranked("subject")
    name = next((each for each in choices if _is_found(each, options)), choices[-1])
    return name, "" if name == choices[0] else choices[0]


def _is_found(name: str, options: Mapping[str, str]) -> bool:
    """Whether the engine is installed; raises ``EngineMissingError`` if its program is not at the configured path."""
    try:
        registry.create(name, options)
    except EngineMissingError:
        if name in options:
            raise
        return False
    return True


def _notice(request: Request, skipped: str) -> str:
    """What a run with these two engines cannot show, and how to test the engine that was not found."""
    if request.subject == request.oracle:
        return SAME
    if request.oracle == SELF:
        return f"{request.subject} is compared with itself: as the oracle it runs equivalent programs made of other instructions."
    parts = [f"No {skipped} was found, so the subject is {request.subject}."] if skipped else []
    engine = registry.declaration(request.subject).engine
    if engine and engine == registry.declaration(request.oracle).engine:
        parts.append(f"This run compares {engine} with itself; it does not test any other engine.")
    parts += [f"Use {each.flag} PATH or set {each.env} to test {skipped}." for each in registry.programs() if each.name == skipped]
    return " ".join(parts)


def _configured_identity(identity: Identity, request: Request) -> Identity:
    """The identity of the subject with the name and version that the user configured."""
    return msgspec.structs.replace(
        identity, name=request.subject_name or identity.name, version=request.subject_version or identity.version
    )


def _preparation_options() -> dict[str, str]:
    """The options by which a worker, which has no environment, prepares components: the tools and the cache folder."""
    folder = option_table.cache_folder(os.environ)
    return {**prepare.tools(os.environ), **({"cache": folder} if folder else {})}


@contextmanager
def open_engines(request: Request, subject: Backend | None = None) -> Iterator[EnginePair]:
    """Open the chosen engines of a request in this process; ``subject`` replaces its subject.

    Raises ``RunFailedError`` if the oracle cannot validate artifacts, and ``EngineUnusableError`` if the subject does not answer
    as an engine or an engine was replaced meanwhile.
    """
    watch = BuildWatch(request.builds)
    engines = create(request)
    oracle, tested = as_validator(engines.oracle), subject or engines.subject
    with contract.local_host() as host, closing(oracle), closing(tested):
        limits = RunLimits(request.deadline_s, request.memory_bytes)
        engine_check.require(tested, request.subject, host, limits)
        tested.capabilities = engine_check.capabilities(tested, host, limits)
        yield EnginePair(oracle, tested, host)
        watch.require()


__all__ = ["SAME", "EnginePair", "Engines", "Roles", "as_validator", "choose", "create", "open_engines", "preferred_oracle"]
