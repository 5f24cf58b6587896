"""``diffcheck show``: one case of the last report in full."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from diffcheck.cli.options import defaults, options
from diffcheck.report import detail, json_file, styles


@click.command("show")
@click.argument("case")
@options("reports")
def command(case: str, reports: str) -> int:
    """Print one case of the last report in full.

    CASE is its name, or a part of it that no other case has.
    """
    report = json_file.read(Path(reports) / json_file.FILE_NAME)
    detail.render(report, detail.find(report, case), styles.console(), defaults())
    return 0
