"""``diffcheck report``: a stored run in other formats."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from diffcheck.cli import run_history
from diffcheck.cli.options import options
from diffcheck.report import console, files, json_file, terminal_text


@click.command("report")
@click.argument("file", metavar="FILE.json")
@options("html", "junit-xml", "sarif", "markdown", "evidence", "requirements", "verbose")
def command(file: str, *, verbose: bool, **given: str | None) -> int:
    """Render a stored run: to the named files, or to the terminal.

    FILE.json is the report.json of a run, or its folder. The exit code is 0 if it was rendered.
    """
    path = Path(file) / json_file.FILE_NAME if Path(file).is_dir() else Path(file)
    named = files.wanted(given, path)
    report = json_file.read(path)
    if named:
        files.write_all(report, named.items(), run_history.lives(report, path.parent))
    if not named:
        console.render(report, terminal_text.console(), stored=str(path), verbose=verbose)
    return 0
