"""The configuration file's defaults for a command's options, and its backends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import rich_click as click

from diffcheck.backend import registry
from diffcheck.cli.option_types import type_of
from diffcheck.config import config_file, input_files, option_table
from diffcheck.errors import ConfigError
from diffcheck.text import visible

if TYPE_CHECKING:
    from click.core import ParameterSource

_REPEATED = {each.key for each in option_table.OPTIONS if each.multiple}


def load(ctx: click.Context, command: str, *, trust: bool) -> None:
    """Find the file and make it the source of the command's defaults; raises ``ConfigError`` if it is unsafe."""
    found = config_file.find(Path.cwd(), registry.options())
    ctx.obj = msgspec.structs.replace(found, outside={}) if trust else found
    if not found.file:
        return
    group = ctx.command
    wanted = group.get_command(ctx, command) if isinstance(group, click.Group) else None
    subcommands = wanted.commands if isinstance(wanted, click.Group) else {}
    parameters = [each for one in (wanted, *subcommands.values()) if one for each in one.params]
    takes = {each.name for each in parameters if not each.multiple or each.name in _REPEATED}
    engines = {*config_file.ENGINES, *(each.key for each in registry.programs())}
    if found.commands and not found.trusted and not trust and command != "config" and takes & engines:
        raise ConfigError(
            f"{visible(found.file)} names a program to run ({visible(found.commands[0])}), and it is not in a repository's root",
            hint="read it, then use --trust-config",
        )
    _check(found)
    values = {each.key: found.values[each.name] for each in registry.options() if each.name in found.values}
    taken = {key: value for key, value in values.items() if key in takes}
    ctx.default_map = {command: dict.fromkeys(subcommands, taken) if subcommands else taken}


def refuse_outside(ctx: click.Context, param: click.Parameter, value: Any) -> Any:  # noqa: ANN401 - a callback of click's
    """The value; raises ``ConfigError`` if an untrusted file chooses the cache, the executor or an output outside its folder."""
    found = in_force()
    words = found.outside.get((param.name or "").replace("_", "-"))
    origin = ctx.get_parameter_source(param.name or "")
    if words and origin is not None and origin.name == "DEFAULT_MAP" and ctx.info_name != "config":
        raise ConfigError(
            f"{visible(found.file)} chooses the cache, the executor, or an output outside its folder ({visible(words)})",
            hint=f"read it, then use --trust-config, or set --{(param.name or '').replace('_', '-')} yourself",
        )
    return value


def _check(found: config_file.Settings) -> None:
    """Check the values as the options do; raises ``ConfigError`` with the file's name."""
    for each in registry.options():
        if each.name in found.values:
            try:
                value = found.values[each.name]
                for one in value if isinstance(value, tuple) else (value,):
                    type_of(each).convert(one, None, None)
            except click.UsageError as error:
                raise ConfigError(
                    f"{visible(found.file)}: {each.name}: {visible(error.message, 300)}",
                    hint=f"see `diffcheck run --help`, {each.flag}",
                ) from error


def in_force() -> config_file.Settings:
    """The settings of the running command."""
    ctx = click.get_current_context(silent=True)
    return (ctx.find_object(config_file.Settings) if ctx is not None else None) or config_file.Settings()


def folder() -> str:
    """The folder of the configuration file, as an absolute path; empty without one."""
    file = in_force().file
    return str(Path(file).absolute().parent) if file else ""


def engine(key: str, name: str) -> str:
    """The backend that an option's value names, resolved by the file's own names; a program of the file is noted on stderr."""
    found = in_force()
    spec = found.backends.get(name, name)
    if found.backends and spec == name and ":" not in name and name != "auto":
        _look_near(name, found)
    origin = source(key)
    if spec != name or (":" in spec and origin is not None and origin.name == "DEFAULT_MAP"):
        click.echo(f"note: {key} from {visible(found.file)}: {visible(spec, 1000)}", err=True)
    return spec


def called(name: str) -> str:
    """The file's name for an engine, which reports use; empty for a backend's own name."""
    return name if name in in_force().backends else ""


def _look_near(name: str, found: config_file.Settings) -> None:
    """Raises ``ConfigError`` for a name that is neither the file's nor a backend's."""
    known = [*found.backends, *registry.names()]
    if name not in known:
        near = input_files.nearest(name, known)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(visible(each, 60) for each in known)}"
        raise ConfigError(f"there is no backend {visible(name, 60)!r}", hint=hint)


def source(key: str) -> ParameterSource | None:
    """The source of an option's value in the running command."""
    ctx = click.get_current_context(silent=True)
    return ctx.get_parameter_source(key) if ctx is not None else None


def words(origin: ParameterSource | None) -> str:
    """The source of an option's value as text."""
    names = {"COMMANDLINE": "command line", "ENVIRONMENT": "environment", "DEFAULT_MAP": "file"}
    return names.get(origin.name, "default") if origin is not None else "default"
