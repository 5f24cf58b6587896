"""The installed adapters by name, and their declarations, without importing an engine or adapter.

An adapter is an entry of the group ``diffcheck.backends`` (see ``contract``). A ``Declaration`` under the same name in the group
``diffcheck.declarations`` is optional; its module should import only this one, since ``--help`` reads it.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from diffcheck.backend import adapter_errors
from diffcheck.config import option_table
from diffcheck.config.option_table import Option
from diffcheck.errors import ConfigError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from importlib.metadata import EntryPoint

    from diffcheck.backend.contract import Backend, BackendFactory

DECLARATIONS: Final = "diffcheck.declarations"
AUTO: Final = "auto"
"""The subject or oracle that stands for the preferred engine."""


class Declaration(msgspec.Struct, frozen=True):
    """The declaration of an adapter.

    ``program`` is the help text of an option ``--NAME PATH``, the alias of ``--subject NAME:PATH``, with the environment variable
    ``DIFFCHECK_NAME``; empty for no such option. ``auto`` means the installed engine with the highest ``subject_rank`` or
    ``oracle_rank``; 0 excludes it. ``engine`` names the engine if several adapters run the same one, and ``engines`` those of
    programs that an adapter's command may name: what shares an engine is one voice among judges.
    """

    program: str = ""
    subject_rank: int = 0
    oracle_rank: int = 0
    engine: str = ""
    engines: dict[str, str] = {}


def names() -> tuple[str, ...]:
    """The installed adapters, sorted."""
    return tuple(sorted(entry.name for entry in _adapters(tuple(sys.path))))


@cache
def _adapters(_import_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """The entries of adapters that an import path has; reading those of 90 packages takes 7 ms."""
    return tuple(entry_points(group=adapter_errors.ADAPTERS))


@cache
def _declarations() -> dict[str, Declaration]:
    found = {}
    for entry in entry_points(group=DECLARATIONS):
        with contextlib.suppress(Exception):  # `diffcheck backends` reports adapters that do not load
            found[entry.name] = entry.load()
    return found


def declaration(spec: str) -> Declaration:
    """The declaration of the adapter of ``NAME`` or ``NAME:ARGUMENT``."""
    return _declarations().get(spec.partition(":")[0], Declaration())


@cache
def engine(spec: str) -> str:
    """The engine of ``NAME`` or ``NAME:ARGUMENT``, equal for two that are not independent.

    It is the declared one, else that of the program that the argument names, else the adapter.
    """
    name, _, argument = spec.partition(":")
    program = _first_word(argument or name).rpartition("/")[2].removesuffix(".exe")
    declared = declaration(spec)
    aliases = {each: known.engine for each, known in _declarations().items() if known.engine}
    return declared.engine or declared.engines.get(program) or aliases.get(program) or program


def _first_word(command: str) -> str:
    """The program of a command line; an unbalanced quote, which its adapter reports, is an ordinary character."""
    try:
        return (shlex.split(command) or [""])[0]
    except ValueError:
        return command.partition(" ")[0]


def ranked(role: Literal["subject", "oracle"]) -> tuple[str, ...]:
    """The engines that ``auto`` may mean, preferred first; raises ``ConfigError`` if there is none."""
    ranks = {name: each.subject_rank if role == "subject" else each.oracle_rank for name, each in _declarations().items()}
    found = tuple(sorted((name for name in ranks if ranks[name]), key=lambda name: (-ranks[name], name)))
    if not found:
        raise ConfigError(f"no installed adapter can be the {role}", hint="install diffcheck again")
    return found


def preferred(role: Literal["subject", "oracle"]) -> str:
    """The engine that ``auto`` means if it is installed."""
    return ranked(role)[0]


@cache
def programs() -> tuple[Option, ...]:
    """The options for paths of engines' programs, by the names of adapters."""
    return tuple(
        Option(name, "path", each.program, default_help="found on PATH", metavar="PATH", panel=option_table.ENGINES)
        for name, each in sorted(_declarations().items())
        if each.program and name not in option_table.BY_NAME
    )


@cache
def options() -> tuple[Option, ...]:
    """All options of a run in the order of ``--help``: those of ``config``, with the engines' programs after ``oracle``."""
    at = 1 + list(option_table.BY_NAME).index("oracle")
    return (*option_table.OPTIONS[:at], *programs(), *option_table.OPTIONS[at:])


def located(given: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The paths of engines' programs by adapter: from ``given``, else from the environment."""
    found = {each.name: given.get(each.name) or environment.get(each.env, "") for each in programs()}
    return {name: path for name, path in found.items() if path}


def create(spec: str, options: Mapping[str, str]) -> Backend:
    """The backend of ``NAME`` or ``NAME:ARGUMENT``; raises ``ConfigError`` if it is unknown.

    Without an argument, the path of a declared program is taken from ``options`` or the environment. Raises ``AdapterError`` if
    the adapter is faulty.
    """
    name, colon, argument = spec.partition(":")
    entry = next((each for each in _adapters(tuple(sys.path)) if each.name == name), None)
    if entry is None:
        from diffcheck.config.input_files import nearest  # noqa: PLC0415 - for an error alone

        near = nearest(name, names())
        hint = f"did you mean {near}?" if near else f"installed backends: {', '.join(names())}"
        raise ConfigError(f"there is no backend {visible(name)!r}", hint=hint)
    return created(name, entry.module, entry.load, argument if colon else located(options, os.environ).get(name), options)


def created(
    name: str, module: str, load: Callable[[], BackendFactory], argument: str | None, options: Mapping[str, str]
) -> Backend:  # fmt: skip
    """The backend of the factory that ``load`` imports from ``module``; raises ``AdapterError`` if the adapter is faulty."""
    from diffcheck.backend.contract import Backend, Capabilities  # noqa: PLC0415 - not for --help

    factory = adapter_errors.loaded(name, module, load)
    backend = adapter_errors.call(factory, Backend, argument, options)
    if not isinstance(found := getattr(backend, "capabilities", None), Capabilities):
        raise adapter_errors.failed(factory, f"returned a backend whose capabilities are {visible(repr(found), 80)}")
    return backend


__all__ = ["AUTO", "Declaration", "create", "declaration", "located", "names", "options", "preferred", "programs", "ranked"]
