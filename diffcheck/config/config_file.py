"""The configuration file: ``diffcheck.toml``, or ``[tool.diffcheck]`` in ``pyproject.toml``; each key is the name of an option.

It is searched from the working folder up to the root of the repository, the folder with ``.git``; without a repository only in the
working folder. Its commands are run only if it is in the root of the repository. It cannot choose the cache, or output files
outside its folder, unless the user trusts it, since a cloned repository may have such a file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from diffcheck.config.input_files import check_keys, nearest, parse_toml, read_regular
from diffcheck.config.option_table import BY_NAME, Option
from diffcheck.errors import ConfigError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE_NAME: Final = "diffcheck.toml"
PROJECT: Final = "pyproject.toml"
BASELINE: Final = "baseline.toml"
PROTOCOLS: Final = ("harness", "wasi")
Value: TypeAlias = "str | int | float | bool | tuple[str, ...]"
_TABLES: Final = ("backends", "toolchain")
_CAP_BYTES: Final = 1 << 20
ENGINES: Final = ("subject", "oracle", "judge")
_WRITTEN: Final = ("reports", "html", "junit-xml", "sarif", "markdown", "evidence", "requirements", "baseline")
_UNTRUSTED: Final = ("cache", "executor")
"""Options that only a trusted file may set: results from a cache are believed, and a cluster receives artifacts and runs them."""
_TYPES: Final = {
    "text": (str,), "path": (str,), "choice": (str,), "count": (int,), "number": (int,), "seconds": (int, float),
    "size": (str, int), "flag": (bool,), "shard": (str,), "executor": (str,), "causes": (str, int),
}  # fmt: skip
_WORDS: Final = {
    "text": "a string", "path": "a string", "choice": "a string", "count": "a whole number", "number": "a whole number",
    "seconds": "a number of seconds", "size": "a size such as '512MiB', or a number of bytes", "flag": "true or false",
    "shard": "a text such as '1/3'", "executor": "local or dask:ADDRESS", "causes": "auto or a number",
}  # fmt: skip


class Settings(msgspec.Struct, frozen=True):
    """The contents of a file. ``values`` are for click, by option name; ``backends`` are ``PROTOCOL:COMMAND`` by name; ``commands``
    are the commands in it; ``trusted`` is whether its place allows commands. ``outside`` has its cache, executor and outputs
    outside its folder by option name, which only a trusted file may set. ``toolchain`` are the pinned versions and digests of
    engines and tools by name.
    """

    file: str = ""
    values: dict[str, Value] = {}
    backends: dict[str, str] = {}
    commands: tuple[str, ...] = ()
    trusted: bool = False
    outside: dict[str, str] = {}
    toolchain: dict[str, str] = {}


def find(folder: Path, options: Sequence[Option]) -> Settings:
    """The settings for a folder; empty without a file. Raises ``ConfigError``.

    ``options`` are those that a file may set: those of the table, and the programs of installed engines.
    """
    root = next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
    for each in (folder, *folder.parents):
        found = _read(each, options, trusted=each == root)
        if found is not None:
            return found
        if each == (root or folder):
            break
    return Settings()


def _read(folder: Path, options: Sequence[Option], *, trusted: bool) -> Settings | None:
    for name in (FILE_NAME, PROJECT):
        path = folder / name
        if not os.path.lexists(path):
            continue
        try:
            raw = parse_toml(read_regular(str(path), _CAP_BYTES, "the file", ConfigError), ConfigError)
            if name == PROJECT:
                tool = raw.get("tool")
                if not isinstance(tool, dict) or "diffcheck" not in tool:
                    continue
                raw = tool["diffcheck"]
            return _settings(raw, path, options, trusted=trusted and path.stat().st_uid in (0, os.geteuid()))
        except ConfigError as error:
            raise ConfigError(f"{visible(str(path))}: {error}", hint=error.hint) from error
    return None


def _settings(raw: object, path: Path, options: Sequence[Option], *, trusted: bool) -> Settings:
    if not isinstance(raw, dict):
        raise ConfigError("tool.diffcheck must be a table", hint="write [tool.diffcheck]")
    allowed = {each.name: each for each in options}
    check_keys(raw, (*allowed, *_TABLES), ConfigError)
    backends = _backends(raw.get("backends", {}), path.parent)
    values: dict[str, Value] = {}
    for key, value in raw.items():
        if key in _TABLES:
            continue
        values[key] = _value(allowed[key], value, path.parent)
    commands = [f"backends.{name}: {spec}" for name, spec in backends.items()]
    engines = [(key, each) for key in ENGINES for each in _each(values.get(key, ()))]
    commands += [f"{key} = {each}" for key, each in engines if ":" in each]
    commands += [f"{each.name} = {values[each.name]}" for each in options if each.name in values and each.name not in BY_NAME]
    beside = path.parent / BASELINE
    if beside.is_file():
        values.setdefault("baseline", _from_here(beside))
    folder = Path(os.path.realpath(path.parent))
    outside = {name: f"{name} = {raw[name]}" for name in _WRITTEN if name in raw and not _is_inside(folder, str(raw[name]))}
    outside |= {name: f"{name} = {raw[name]}" for name in _UNTRUSTED if raw.get(name, "local") != "local"}
    return Settings(str(path), values, backends, tuple(commands), trusted, outside, _toolchain(raw.get("toolchain", {})))


def _toolchain(raw: object) -> dict[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(each, str) for each in raw.values()):
        raise ConfigError("toolchain must be a table of strings", hint='write [toolchain] with NAME = "VERSION" or "sha256:DIGEST"')
    return dict(raw)


def _each(value: Value) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (str(value),)


def _is_inside(folder: Path, value: str) -> bool:
    return Path(os.path.realpath(folder / value)).is_relative_to(folder)


def _value(option: Option, value: object, folder: Path) -> Value:
    if not option.multiple:
        return _single(option, value, folder)
    return tuple(str(_single(option, each, folder)) for each in (value if isinstance(value, list) else [value]))


def _single(option: Option, value: object, folder: Path) -> str | int | float | bool:
    types = _TYPES[option.kind]
    if not isinstance(value, types) or (isinstance(value, bool) and option.kind != "flag"):
        given = f"{visible(repr(value), 40)}"
        raise ConfigError(
            f"{option.name} must be {_WORDS[option.kind]}, not {given}", hint=f"see `diffcheck run --help`, {option.flag}"
        )
    assert isinstance(value, (str, int, float, bool)), "one of the types"  # noqa: S101 - for the type checker
    if option.kind == "choice" and value not in option.choices:
        near = nearest(str(value), option.choices)
        hint = f"did you mean {near}?" if near else f"it can be {', '.join(option.choices)}"
        raise ConfigError(f"{option.name} cannot be {visible(str(value), 40)!r}", hint=hint)
    if value == "":
        raise ConfigError(f"{option.name} is empty", hint=f"remove the line: the default is {option.default_text}")
    if option.kind == "path":
        return _from_here(folder / str(value))
    if option.name in ENGINES and ":" in str(value):
        protocol, _, command = str(value).partition(":")
        return f"{protocol}:{_resolved(folder, command)}"
    return value


def _from_here(path: Path) -> str:
    """A path relative to the working folder if it is in it, else absolute."""
    path = Path(os.path.normpath(path))
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) and path != here else str(path)


def _resolved(folder: Path, command: str) -> str:
    """The command with the path of its program, if relative, resolved from the folder of the file."""
    program, space, rest = command.partition(" ")
    relative = "/" in program and not program.startswith(("/", "~", "$", '"', "'"))
    return (str(Path(os.path.normpath(folder / program))) if relative else program) + space + rest


def _backends(raw: object, folder: Path) -> dict[str, str]:
    if not isinstance(raw, dict):
        raise ConfigError("backends must be a table", hint='write [backends.NAME] with command = "..." and protocol = "harness"')
    found = {}
    for name, table in raw.items():
        where = f"backends.{visible(name, 60)}"
        if not isinstance(table, dict):
            raise ConfigError(f"{where} must be a table", hint=f"write [{where}]")
        if not name or ":" in name or not name.isprintable():
            raise ConfigError(f"{where!r} is not a valid name of a backend", hint="use letters, digits and hyphens")
        check_keys(table, ("command", "protocol"), ConfigError, f"{where}.")
        command, protocol = table.get("command"), table.get("protocol", "harness")
        if not isinstance(command, str) or not command.strip():
            raise ConfigError(f"{where} has no command", hint='add command = "..."')
        if protocol not in PROTOCOLS:
            near = nearest(str(protocol), PROTOCOLS)
            hint = f"did you mean {near}?" if near else f"it can be {' or '.join(PROTOCOLS)}"
            raise ConfigError(f"{where}.protocol cannot be {visible(repr(protocol), 40)}", hint=hint)
        found[name] = f"{protocol}:{_resolved(folder, command)}"
    return found
