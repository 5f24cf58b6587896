"""``diffcheck show``: one case of the last report, or what diverged in it."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from diffcheck.cases import case_names
from diffcheck.cli import completion
from diffcheck.cli.options import defaults, options
from diffcheck.config import option_table
from diffcheck.report import console, detail, json_file, terminal_text


@click.command("show")
@click.argument("name", required=False, default="", metavar="[CASE|SIGNATURE|ARTIFACT]", shell_complete=completion.targets)
@options("reports", "verbose")
def command(name: str, reports: str, *, verbose: bool) -> int:
    """Show one case of the last report; without an argument, list what diverged.

    A part of a name that no other case has is enough.
    """
    path = Path(reports) / json_file.FILE_NAME
    report = json_file.read(path)
    if not name:
        console.overview(report, terminal_text.console(), stored=str(path))
        return 0
    where = "" if reports == option_table.BY_NAME["reports"].default else f" --reports {terminal_text.quoted(reports)}"
    case = case_names.find(report, name).case
    detail.render(report, case, terminal_text.console(), defaults(), where=where, verbose=verbose)
    return 0
