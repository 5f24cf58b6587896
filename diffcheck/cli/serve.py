"""``diffcheck serve``: the service, its tokens, copies of its database, and the import of reports."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Final

import rich_click as click

from diffcheck.cli.command_group import SuggestingGroup
from diffcheck.cli.option_types import Number
from diffcheck.errors import EXIT_AGREE, ConfigError
from diffcheck.service import access, data_folder, report_import, settings, supervisor

_PACKAGES: Final = ("litestar", "granian")
_DAYS: Final = 365.0
_DATA: Final = click.option(
    "--data", "folder", default="diffcheck-data", show_default=True, metavar="DIR", envvar="DIFFCHECK_DATA",
    help="Folder of the database and the files.",
)  # fmt: skip
_CONFIG: Final = click.option(
    "--config", default=None, metavar="FILE", envvar="DIFFCHECK_SERVICE_CONFIG",
    help="Engines, corpora, schedule, limits: see docs/service.md. Default: the installed engines and ./corpus.",
)  # fmt: skip
_SCOPES: Final = ("read", "submit", "operate")


@click.group("serve", cls=SuggestingGroup, invoke_without_command=True)
@_DATA
@click.option(
    "--listen", default="127.0.0.1:8484", show_default=True, metavar="HOST:PORT", envvar="DIFFCHECK_LISTEN",
    help="Address to listen on; beyond loopback a token is needed.",
)  # fmt: skip
@_CONFIG
@click.pass_context
def command(context: click.RichContext, folder: str, listen: str, config: str | None) -> int:
    """Run the service: a queue of jobs, an API and a dashboard. Needs the extra `service`.

    Ends at SIGTERM or Ctrl-C; jobs in progress are handed back and continue at the next start.
    """
    if context.invoked_subcommand is not None:
        return EXIT_AGREE
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the service needs {', '.join(missing)}", hint="install it with its extra `service`, see docs/service.md"
        )
    data = _opened(folder, config)
    supervisor.serve(data, listen, str(Path(config).absolute()) if config else "")
    return EXIT_AGREE


@command.command("token")
@click.argument("name")
@click.option("--scope", type=click.Choice(_SCOPES), default="submit", show_default=True, envvar="DIFFCHECK_SCOPE",
              help="read; submit: also start jobs; operate: also cancel, and change findings.")  # fmt: skip
@click.option("--days", type=Number(0.01, 3650, "days"), default=_DAYS, show_default=True, envvar="DIFFCHECK_DAYS",
              metavar="N", help="Time until it expires.")  # fmt: skip
@click.option("--remove", is_flag=True, envvar="DIFFCHECK_REMOVE", help="Remove the token of that name.")
@_DATA
def token(name: str, scope: access.Scope, days: float, folder: str, *, remove: bool) -> int:
    """Create a token and print it once, or remove one."""
    data = _opened(folder, None)
    if remove:
        access.remove_token(data.database, name)
    else:
        click.echo(access.add_token(data.database, name, scope, days))
    return EXIT_AGREE


@command.command("backup")
@click.argument("target", metavar="FILE")
@_DATA
def backup(target: str, folder: str) -> int:
    """Copy the database to FILE while the service runs. Files are never changed: copy the folder `files` afterwards."""
    _opened(folder, None).database.backup(Path(target))
    return EXIT_AGREE


@command.command("import")
@click.argument("reports", metavar="DIR")
@click.option("--suite", required=True, metavar="NAME", envvar="DIFFCHECK_SUITE", help="Corpus that the reports belong to.")
@_DATA
def import_reports(reports: str, suite: str, folder: str) -> int:
    """Enter the report and the history of a reports folder DIR."""
    count = report_import.enter(_opened(folder, None), Path(reports), suite)
    click.echo(f"{count} runs entered")
    return EXIT_AGREE


def _opened(folder: str, config: str | None) -> data_folder.DataFolder:
    data = data_folder.DataFolder(Path(folder).absolute(), settings.load(config, Path.cwd()))
    data.create()
    return data
