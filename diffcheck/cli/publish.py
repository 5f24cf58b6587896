"""What is done with a report once it is there: the files are written, the history is told, and the terminal says what came out."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from diffcheck.cli import run_history
from diffcheck.errors import ReportError
from diffcheck.report import console, files, json_file, styles
from diffcheck.runner.persist import journal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffcheck.verdict import Report


def publish(report: Report, reports: Path, named: Mapping[str, Path]) -> None:
    """Store the report in the folder for reports, with its page, the history, and the other formats' files that were named."""
    try:
        path = json_file.write(report, reports)
    except ReportError:
        console.render(report, styles.console())  # what was found is not lost with the file
        raise
    try:
        run_history.remember(report, reports)
        lives = run_history.lives(report, reports)
        files.write_all(report, (("html", reports / files.PAGE), *named.items()), lives)
        if not report.interrupted:
            journal.remove(reports / journal.FILE_NAME)
    finally:  # a file that cannot be written hides no result
        with contextlib.suppress(BrokenPipeError):  # the exit code counts, whoever still reads
            console.render(report, styles.console(), stored=str(path), page=str(reports / files.PAGE))
