"""The group of commands; each is imported when it is called for."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Final

import rich_click as click

from diffcheck.cli.deferred import deferred_imports
from diffcheck.config.version import __version__

COMMANDS: Final = (
    "run",
    "show",
    "report",
    "baseline",
    "history",
    "compare",
    "merge",
    "cache",
    "config",
    "plan",
    "snapshot",
    "harness",
    "seal",
    "imports",
    "prepare",
    "triage",
    "localise",
    "explain",
    "reduce",
    "reproduce",
    "backends",
    "doctor",
    "selftest",
    "schema",
)
"""The commands in the order of ``--help``; command ``x`` is ``command`` in the module ``diffcheck.cli.x``."""


TRUST: Final = "--trust-config"
_HELP: Final = "diffcheck.help"


class LazyGroup(click.RichGroup):
    """A group whose commands are modules; each takes its options' defaults from the configuration file."""

    _listed = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; ``--trust-config`` may stand anywhere before ``--``."""
        own = args[: args.index("--")] if "--" in args else args
        if TRUST in own:
            args = [TRUST, *(each for each in own if each != TRUST), *args[len(own) :]]
        ctx.meta[_HELP] = any(each in ("-h", "--help") for each in own)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """All commands."""
        return list(COMMANDS)

    def format_help(self, ctx: click.RichContext, formatter: click.RichHelpFormatter) -> None:  # type: ignore[override]
        """As click does, with the commands' docstrings read from their files, since importing all of them takes a second."""
        self._listed = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listed = False

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        if self._listed:
            return click.RichCommand(name=cmd_name, help=_docstring(cmd_name))
        with deferred_imports("diffcheck"):  # --help needs the options, not the runner
            command = import_module(f"diffcheck.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None


def _docstring(name: str) -> str:
    """The docstring of a command's function."""
    tree = ast.parse(Path(__file__).with_name(f"{name}.py").read_text("utf-8"))
    return next(ast.get_docstring(each) or "" for each in tree.body if isinstance(each, ast.FunctionDef) and each.name == "command")


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(TRUST, "trust", is_flag=True, envvar="DIFFCHECK_TRUST_CONFIG", show_envvar=True,
              help="Trust the configuration file: run the engines that it names wherever it stands, use its cache, write where it "
                   "says.")  # fmt: skip
@click.version_option(__version__, "-V", "--version", message="diffcheck %(version)s")
@click.pass_context
def cli(ctx: click.Context, *, trust: bool) -> None:
    """Run WebAssembly artifacts under two engines and report where they disagree.

    The subject is the engine under test, the oracle is wasmtime. Start with `diffcheck run corpus/`.
    Options can stand in diffcheck.toml too; see `diffcheck config`.
    """
    if ctx.meta[_HELP] or ctx.invoked_subcommand is None or ctx.invoked_subcommand == "schema":
        return
    from diffcheck.cli import config_defaults  # noqa: PLC0415 - not for --help

    config_defaults.load(ctx, ctx.invoked_subcommand, trust=trust)
