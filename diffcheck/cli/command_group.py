"""The group of commands; each is imported when it is called for."""

from __future__ import annotations

import ast
import contextlib
import difflib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rich_click as click

from diffcheck.cli.deferred import deferred_imports
from diffcheck.config.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.shell_completion import CompletionItem

PANELS: Final = {
    "Cross-check": ("run", "matrix", "sweep", "gate", "show", "report", "plan"),
    "Triage": ("triage", "explain", "localise", "reduce", "reproduce", "export-wast", "bisect"),
    "Nightly runs": ("hunt", "finds", "baseline", "history", "compare", "merge", "evidence"),
    "Artifacts and witness": ("prepare", "explore", "seal", "snapshot", "harness", "imports"),
    "Service": ("serve", "submit"),
    "Engines": ("backends", "doctor", "selftest"),
    "Settings": ("config", "cache", "schema"),
}
"""The commands by task, in the order of ``--help``; command ``x-y`` is ``command`` in the module ``diffcheck.cli.x_y``."""
COMMANDS: Final = tuple(name for names in PANELS.values() for name in names)

TRUST: Final = "--trust-config"
ARGUMENTS: Final = "diffcheck.arguments"
"""The key of ``Context.meta`` for the command line's arguments."""
_HELP: Final = "diffcheck.help"


class SuggestingGroup(click.RichGroup):
    """A group that answers an unknown command with the most similar one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; raises ``UsageError`` with a suggestion."""
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing and not name.startswith("-"):
            near = difflib.get_close_matches(name[:64], self.list_commands(ctx), 1)
            raise click.UsageError(f"No such command {name!r}." + (f" Did you mean {near[0]!r}?" if near else ""), ctx)
        return super().resolve_command(ctx, args)


class LazyGroup(SuggestingGroup):
    """A group whose commands are modules; each takes its options' defaults from the configuration file."""

    _listed = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; ``--trust-config`` may be anywhere before ``--``."""
        own = args[: args.index("--")] if "--" in args else args
        if TRUST in own:
            args = [TRUST, *(each for each in own if each != TRUST), *args[len(own) :]]
        ctx.meta[ARGUMENTS] = tuple(args)
        ctx.meta[_HELP] = any(each in ("-h", "--help") for each in own)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """All commands."""
        return list(COMMANDS)

    def format_help(self, ctx: click.RichContext, formatter: click.RichHelpFormatter) -> None:  # type: ignore[override]
        """As click does, with the commands' docstrings read from their files, since importing all of them takes a second."""
        with self._listing():
            super().format_help(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click does, without importing the commands."""
        with self._listing():
            return super().shell_complete(ctx, incomplete)

    @contextlib.contextmanager
    def _listing(self) -> Iterator[None]:
        """Within the context, commands have only a name and a help text."""
        self._listed = True
        try:
            yield
        finally:
            self._listed = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        if self._listed:
            return click.RichCommand(name=cmd_name, help=_docstring(cmd_name))
        with deferred_imports("diffcheck"):  # --help needs the options, not the runner
            command = import_module(f"diffcheck.cli.{module_of(cmd_name)}").command
        return command if isinstance(command, click.Command) else None


def module_of(command: str) -> str:
    """The name of a command's module."""
    return command.replace("-", "_")


def _docstring(name: str) -> str:
    """The docstring of a command's function."""
    tree = ast.parse(Path(__file__).with_name(f"{module_of(name)}.py").read_text("utf-8"))
    return next(ast.get_docstring(each) or "" for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "command")


def _panels(group: Callable[..., None]) -> Callable[..., None]:
    for name, commands in reversed(PANELS.items()):
        group = click.command_panel(name, commands=list(commands))(group)
    return group


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@_panels
@click.option(TRUST, "trust", is_flag=True, envvar="DIFFCHECK_TRUST_CONFIG",
              help="Trust the configuration file: run its engines and use its cache and outputs, wherever it is.")  # fmt: skip
@click.version_option(__version__, "-V", "--version", message="diffcheck %(version)s")
@click.pass_context
def cli(ctx: click.Context, *, trust: bool) -> None:
    """Run WebAssembly artifacts under two engines and report where they disagree.

    The subject is the engine under test, the oracle is the reference engine, by default wasmtime.
    Start with `diffcheck run corpus/`.
    Options can also be set in diffcheck.toml (see `diffcheck config`) and by environment variables (docs/commands.md).
    """
    if ctx.meta[_HELP] or ctx.invoked_subcommand is None or ctx.invoked_subcommand == "schema":
        return
    from diffcheck.cli import config_defaults  # noqa: PLC0415 - not for --help

    config_defaults.load(ctx, ctx.invoked_subcommand, trust=trust)
