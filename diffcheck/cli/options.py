"""Click's options, made from the table in ``config``, and the request made of their values."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any, Final

import msgspec
import rich_click as click

from diffcheck.backend import registry
from diffcheck.cli import completion, config_defaults
from diffcheck.cli.option_types import type_of
from diffcheck.config import option_table
from diffcheck.runner import request as requests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from click.decorators import FC


PROGRAMS: Final = "PROGRAMS"


def option(name: str, *, default: str | None = None, panels: bool = False, short: str | None = None) -> Callable[[FC], FC]:
    """The click option for an entry of the table; ``default`` and ``short`` replace those of the entry."""
    entry = next(each for each in registry.options() if each.name == name)
    if default is not None:
        entry = msgspec.structs.replace(entry, default=default)
    names = [entry.flag, entry.key, *filter(None, [entry.short if short is None else short])]
    kind: dict[str, Any] = {"is_flag": True} if entry.kind == "flag" else {"type": type_of(entry), "default": entry.default}
    if entry.kind in ("path", "executor"):
        kind["callback"] = config_defaults.refuse_outside
    if entry.name == "rows":
        kind["callback"] = _note_old_rows
    if entry.metavar:
        kind["metavar"] = entry.metavar
    if panels:
        kind["panel"] = entry.panel
    return click.option(
        *names,
        envvar=entry.env,
        multiple=entry.multiple,
        show_default=entry.default_help or entry.default is not None,
        shell_complete=completion.of(entry),
        help=entry.help,
        **kind,
    )


def options(*names: str, panels: bool = False, shorts: Mapping[str, str] | None = None) -> Callable[[FC], FC]:
    """Several options, in the order given; ``PROGRAMS`` stands for those of the engines.

    ``panels`` groups them in ``--help``; ``shorts`` are other one-letter names, by option; empty for none.
    """
    expanded = [one for name in names for one in ([each.name for each in registry.programs()] if name == PROGRAMS else [name])]

    def decorate(function: FC) -> FC:
        for name in reversed(expanded):
            function = option(name, panels=panels, short=(shorts or {}).get(name))(function)
        return function

    return decorate


def programs(given: dict[str, Any]) -> dict[str, str]:
    """The paths of engines' programs that were given, by adapter."""
    return {each.name: given[each.key] for each in registry.programs() if given.get(each.key)}


def engine(spec: str, given: dict[str, Any]) -> str:
    """The engine of a command's own option, with its program if that was given."""
    program = programs(given).get(spec)
    return f"{spec}:{program}" if program else spec


def _note_old_rows(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    if "auto" in value:
        click.echo("note: `--rows auto` is now `--auto-rows`; it still works", err=True)
    return value


def chosen_rows(given: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
    """The rows of ``--rows``, and whether ``--auto-rows`` or the ``--rows auto`` of 0.1 was given."""
    rows = tuple(given.get("rows") or ())
    return tuple(row for row in rows if row not in ("auto", "declared")), bool(given.get("auto_rows")) or "auto" in rows


def observed_rows(given: dict[str, Any]) -> tuple[str, ...]:
    """The rows in the form of ``ObserveRequest``."""
    calls, auto = chosen_rows(given)
    return (*calls, "auto") if auto else calls


def request(paths: tuple[str, ...], given: dict[str, Any]) -> requests.Request:
    """The request with the options' values; an option that the command lacks keeps its default."""
    calls, auto = chosen_rows(given)
    fields: dict[str, Any] = {
        "jobs": given.get("jobs") or option_table.default_jobs(),
        "only": tuple(given.get("only") or ()),
        "calls": calls,
        "rows": "auto" if auto else "declared",
        "config_folder": config_defaults.folder(),
        "deadline_s": given.get("deadline"),
        "memory_bytes": given.get("memory_limit"),
        "cache": cache_folder(given["cache"]) if "cache" in given and not given.get("no_cache") else "",
        "cache_bytes": given.get("cache_limit"),
        "shard": option_table.parse_shard(given["shard"]) if given.get("shard") else None,
        "cluster": option_table.parse_executor(given.get("executor") or "local"),
        "options": programs(given),
        **{key: config_defaults.engine(key, given[key]) for key in ("subject", "oracle") if given.get(key)},
        "judges": tuple(config_defaults.engine("judge", each) for each in given.get("judge") or ()),
        "subject_name": config_defaults.called(given.get("subject") or ""),
        "subject_version": given.get("subject_version"),
        **{
            name: given.get(name)
            for name in ("mode", "stub_imports", "slice", "load_check", "max_passes", "confirm", "verbose", "resume")
        },
    }
    return requests.Request(paths, **{name: value for name, value in fields.items() if value is not None})


def cache_folder(given: str | None) -> str:
    """The cache's folder: the one given, else the default one; empty if there is none."""
    return os.path.abspath(given) if given else option_table.cache_folder(os.environ)  # noqa: PTH100 - a link stays one


def recorded(given: dict[str, Any]) -> dict[str, str]:
    """The values that a report stores, by option name, as a user would write them."""
    calls, auto = chosen_rows(given)
    given = {**given, "rows": shlex.join(calls), "auto_rows": auto}
    values = ((entry, given.get(entry.key)) for entry in registry.options() if entry.recorded)
    return {entry.name: _text(value) for entry, value in values if value not in (None, (), False, "")}


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if value is True else str(value)


def defaults() -> dict[str, str]:
    """The recorded options' defaults in the form of ``recorded``."""
    return option_table.defaults()
