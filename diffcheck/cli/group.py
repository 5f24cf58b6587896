"""The group of commands; each is imported when it is called for."""

from __future__ import annotations

from importlib import import_module
from typing import Final

import rich_click as click

from diffcheck import __version__

COMMANDS: Final = ("run", "show", "report", "plan", "snapshot", "harness", "seal", "backends", "doctor", "selftest", "schema")
"""The commands in the order of ``--help``; command ``x`` is ``command`` in the module ``diffcheck.cli.x``."""


class LazyGroup(click.RichGroup):
    """A group whose commands are modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """All commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"diffcheck.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="diffcheck %(version)s")
def cli() -> None:
    """Run WebAssembly artifacts under two engines and report where they disagree.

    The subject is the engine under test, the oracle is wasmtime. Start with `diffcheck run corpus/`.
    """
