"""Click's options, made from the table in ``config``, and the request that their values are."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click

from diffcheck.backend import registry
from diffcheck.cli import config_defaults
from diffcheck.cli.option_types import type_of
from diffcheck.config import option_table
from diffcheck.runner import request as requests

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.decorators import FC


PROGRAMS: Final = "PROGRAMS"


def option(name: str, *, default: str | None = None) -> Callable[[FC], FC]:
    """The click option for an entry of the table, with another default if one is given; variable and default are in its help."""
    entry = next(each for each in registry.options() if each.name == name)
    if default is not None:
        entry = msgspec.structs.replace(entry, default=default)
    names = [entry.flag, entry.key] + ([entry.short] if entry.short else [])
    kind: dict[str, Any] = {"is_flag": True} if entry.kind == "flag" else {"type": type_of(entry), "default": entry.default}
    if entry.kind in ("path", "executor"):
        kind["callback"] = config_defaults.refuse_outside
    if entry.multiple:
        kind["multiple"] = True
    if entry.metavar:
        kind["metavar"] = entry.metavar
    return click.option(
        *names,
        envvar=entry.env,
        show_envvar=True,
        show_default=entry.default_help or True,
        help=entry.help,
        **kind,
    )


def options(*names: str) -> Callable[[FC], FC]:
    """Several options, in the order given; ``PROGRAMS`` stands for those of the engines."""
    given = [one for name in names for one in ([each.name for each in registry.programs()] if name == PROGRAMS else [name])]

    def decorate(function: FC) -> FC:
        for name in reversed(given):
            function = option(name)(function)
        return function

    return decorate


def programs(given: dict[str, Any]) -> dict[str, str]:
    """Where engines' programs are, by adapter, as far as that was given."""
    return {each.name: given[each.key] for each in registry.programs() if given.get(each.key)}


def engine(spec: str, given: dict[str, Any]) -> str:
    """The engine that a command's own option names, with its program where that is given."""
    program = programs(given).get(spec)
    return f"{spec}:{program}" if program else spec


def request(paths: tuple[str, ...], given: dict[str, Any]) -> requests.Request:
    """The request that the options' values are; those that a command does not have keep their defaults."""
    fields: dict[str, Any] = {
        "jobs": given.get("jobs") or option_table.default_jobs(),
        "only": tuple(given.get("only") or ()),
        "config_folder": config_defaults.folder(),
        "deadline_s": given.get("deadline"),
        "memory_bytes": given.get("memory_limit"),
        "cache": cache_folder(given["cache"]) if "cache" in given and not given.get("no_cache") else "",
        "cache_bytes": given.get("cache_limit"),
        "shard": option_table.parse_shard(given["shard"]) if given.get("shard") else None,
        "cluster": option_table.parse_executor(given.get("executor") or "local"),
        "options": programs(given),
        **{key: config_defaults.engine(key, given[key]) for key in ("subject", "oracle") if given.get(key)},
        "subject_name": config_defaults.called(given.get("subject") or ""),
        "subject_version": given.get("subject_version"),
        **{name: given.get(name) for name in ("mode", "rows", "stub_imports", "max_passes", "confirm", "verbose", "resume")},
    }
    return requests.Request(paths, **{name: value for name, value in fields.items() if value is not None})


def cache_folder(given: str | None) -> str:
    """The cache's folder: the one given, else where caches are kept; empty where there is no such place."""
    return os.path.abspath(given) if given else option_table.cache_folder(os.environ)  # noqa: PTH100 - a link stays one


def recorded(given: dict[str, Any]) -> dict[str, str]:
    """The values that a report keeps, by option name, as a user would write them."""
    values = ((entry, given.get(entry.key)) for entry in registry.options() if entry.recorded)
    return {entry.name: _text(value) for entry, value in values if value not in (None, ())}


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def defaults() -> dict[str, str]:
    """The recorded options' defaults in the form of ``recorded``, for telling which ones were changed."""
    return option_table.defaults()
