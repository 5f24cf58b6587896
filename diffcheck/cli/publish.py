"""Publication of a report: files, history, terminal."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from diffcheck.cli import run_history
from diffcheck.errors import ReportError
from diffcheck.report import console, files, json_file, terminal_text
from diffcheck.runner.persist import journal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.verdict import Report


def publish(
    report: Report, reports: Path, named: Mapping[str, Path], *, quiet: bool = False, verbose: bool = False, resume: str = ""
) -> None:
    """Store the report, its page and the history in the folder for reports, write the named files, and print the report.

    ``resume`` is the command that resumes an interrupted run.
    """
    try:
        path = json_file.write(report, reports)
    except ReportError:
        console.render(report, terminal_text.console())  # the result is not lost with the file
        raise
    try:
        run_history.remember(report, reports)
        lives = run_history.lives(report, reports)
        files.write_all(report, (("html", reports / files.PAGE), *named.items()), lives)
        if not report.interrupted:
            journal.remove(reports / journal.FILE_NAME)
    finally:  # shown even if a file cannot be written
        with contextlib.suppress(BrokenPipeError):  # the exit code stays the result's
            console.render(
                report,
                terminal_text.console(),
                stored=str(path),
                page=str(reports / files.PAGE),
                quiet=quiet,
                verbose=verbose,
                resume=resume,
            )
