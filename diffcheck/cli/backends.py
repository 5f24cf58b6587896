"""``diffcheck backends``: the engines that can be used here."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck import probe
from diffcheck.cli import config_defaults
from diffcheck.cli.options import PROGRAMS, options, programs
from diffcheck.report import command_tables, terminal_text
from diffcheck.text import visible


@click.command("backends")
@options(PROGRAMS)
def command(**given: Any) -> int:  # noqa: ANN401 - the options of the table
    """List the backends: version, capabilities, and where each was found or why it cannot be used."""
    command_tables.backends(probe.installed_backends(programs(given)), terminal_text.console())
    found = config_defaults.in_force()
    for name, spec in found.backends.items():
        click.echo(f"{visible(name, 60)}  {visible(spec, 300)}  (named in {visible(found.file)})")
    return 0
