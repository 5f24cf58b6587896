"""The formats of report files, and writing them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from diffcheck import process
from diffcheck.errors import ReportError
from diffcheck.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from diffcheck.report.page_data import Life
    from diffcheck.verdict import Report

FORMATS: Final = {
    "html": "html_page", "junit_xml": "junit", "sarif": "sarif", "markdown": "markdown",
    "evidence": "evidence.statement", "requirements": "evidence.requirements",
}  # fmt: skip
"""The option of each format and the module with its ``render``, which is imported when needed."""

PAGE: Final = "report.html"
"""The HTML page's file name beside report.json."""


def wanted(given: Mapping[str, str | None], *others: Path) -> dict[str, Path]:
    """The files named by the options, by format; raises ``ReportError`` if one cannot be written, or would overwrite another or one
    of ``others``. Checked before a run begins, not after hours of work.
    """
    files = {name: Path(value) for name in FORMATS if (value := given.get(name))}
    taken = {path.resolve() for path in others}
    for path in files.values():
        if path.resolve() in taken:
            raise ReportError(f"{visible(str(path))} would be overwritten", hint="use a separate file for each format")
        taken.add(path.resolve())
        if path.is_dir():
            raise ReportError(f"{visible(str(path))} is a folder", hint="use the name of a file")
        if not path.parent.is_dir():
            raise ReportError(f"there is no folder {visible(str(path.parent))}", hint="create the folder first")
    return files


def write_all(report: Report, targets: Iterable[tuple[str, Path]], lives: Mapping[str, Life] | None = None) -> None:
    """Write the report to each file, by its format's name; if one fails, the others are written all the same."""
    failed: ReportError | None = None
    for name, path in targets:
        try:
            write(report, name, path, lives)
        except ReportError as error:
            failed = failed or error
    if failed is not None:
        raise failed


def write(report: Report, name: str, path: Path, lives: Mapping[str, Life] | None = None) -> None:
    """Write the report in the format of that name; ``lives`` are the states and histories that the page shows."""
    module = import_module(f"diffcheck.report.{FORMATS[name]}")
    process.write_atomically(path, module.pieces(report, lives or {}) if name == "html" else module.render(report))


def render(report: Report, name: str) -> bytes:
    """The report in the format of that name."""
    data: bytes = import_module(f"diffcheck.report.{FORMATS[name]}").render(report)
    return data
