"""``diffcheck config``: the values of all options and their sources."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.backend import registry
from diffcheck.cli import config_defaults
from diffcheck.cli.options import options
from diffcheck.report import command_tables, terminal_text
from diffcheck.text import visible


@click.command("config")
@options(*(option.name for option in registry.options()))
def command(**given: Any) -> int:  # noqa: ANN401 - the options of the table
    """Print every option's value and its source: command line, environment, file or default.

    The file is diffcheck.toml, or [tool.diffcheck] in pyproject.toml, in the working folder or above it up to the repository's
    root. Its keys are the options' names; [backends.NAME] with command and protocol (harness or wasi) names an engine;
    [toolchain] pins versions of engines and tools.
    """
    found = config_defaults.in_force()
    lines = []
    for option in registry.options():
        source = config_defaults.words(config_defaults.source(option.key))
        place = {"file": found.file, "environment": option.env}.get(source, "")
        value = given[option.key]
        default = value is None or value is False or value == ()
        value = ", ".join(value) if isinstance(value, tuple) else value
        said = f"({option.default_text})" if default else f"{value:g}" if isinstance(value, float) else str(value)
        lines.append((option.name, said, source, place))
    command_tables.settings(lines, found.file, found.backends, found.commands, terminal_text.console(), trusted=found.trusted)
    for name, pin in found.toolchain.items():
        click.echo(f"toolchain {visible(name, 60)}: {visible(pin, 100)}")
    for line in found.outside.values():
        click.echo(f"used only with --trust-config: {visible(line)}")
    return 0
