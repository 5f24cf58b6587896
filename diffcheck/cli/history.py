"""``diffcheck history``: changes of verdicts and costs over the stored runs."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from diffcheck.cli.options import options
from diffcheck.errors import ReportError
from diffcheck.nightly import history
from diffcheck.report import history_tables, terminal_text


@click.command("history")
@click.argument("case", required=False, default="")
@options("reports")
def command(case: str, reports: str) -> int:
    """Show the runs in which a verdict changed, with the subject's version, and cases that became slower or use more memory.

    CASE is a case's name, or a part of it that no other case has; without it, all cases.
    """
    path = Path(reports) / history.FILE_NAME
    if not path.is_file():
        raise ReportError(f"there is no history at {path}", hint="run `diffcheck run PATH` first, or give --reports DIR")
    nights = history.nights(path)
    if case:
        case = history_tables.find(tuple(nights), case)
        nights = {case: nights[case]}
    history_tables.history(nights, history.runs(path), terminal_text.console(), whole=bool(case))
    return 0
