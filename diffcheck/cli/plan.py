"""``diffcheck plan``: a run without running."""

from __future__ import annotations

from typing import Any

import rich_click as click

from diffcheck.cli.options import PROGRAMS, options, request
from diffcheck.report import command_tables, terminal_text
from diffcheck.runner import run
from diffcheck.text import visible


@click.command("plan")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@options(
    "subject",
    "oracle",
    PROGRAMS,
    "mode",
    "jobs",
    "deadline",
    "memory-limit",
    "rows",
    "auto-rows",
    "stub-imports",
    "only",
    "max-passes",
)
def command(paths: tuple[str, ...], **given: Any) -> int:  # noqa: ANN401 - the options of the table
    """List cases, rows, passes, expected memory and skipped cases, without the subject.

    PATH is an artifact (.wasm, or .wat text) or a folder of them.
    """
    lines = run.plan(request(paths, given), lambda line: click.echo(f"note: {visible(line, 2000)}", err=True))
    return command_tables.plan(lines, terminal_text.console())
