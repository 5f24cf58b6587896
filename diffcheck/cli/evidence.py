"""``diffcheck evidence``: evidence of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import rich_click as click

from diffcheck.config import input_files
from diffcheck.errors import EXIT_AGREE, EXIT_DIVERGE, ReportError
from diffcheck.report import json_file
from diffcheck.report.evidence import verify as verifying
from diffcheck.text import visible

_CAP_BYTES: Final = 1 << 30
_SHOWN: Final = 20


@click.group("evidence")
def command() -> None:
    """Check the evidence of a run: `diffcheck run --evidence FILE` writes it."""


@command.command("verify", epilog="Exit codes: 0 the evidence matches the report; 1 it does not; 2 a file cannot be read.")
@click.argument("file", metavar="EVIDENCE.json")
@click.argument("report", metavar="REPORT.json")
def verify(file: str, report: str) -> int:
    """Check that evidence matches a report, byte for byte, and name what contradicts it.

    REPORT.json is the report.json of a run, or its folder. The same version of diffcheck has to be installed.
    """
    path = Path(report) / json_file.FILE_NAME if Path(report).is_dir() else Path(report)
    try:
        evidence = input_files.read_regular(file, _CAP_BYTES, f"the evidence {visible(file)}", ReportError)
        stored = input_files.read_regular(str(path), _CAP_BYTES, f"the report {visible(str(path))}", ReportError)
    except ReportError as error:
        hint = error.hint or "name the evidence first, then the report.json of the run, or its folder"
        raise ReportError(str(error), hint=hint) from error
    found = verifying.problems(evidence, stored, str(path))
    for line in found[:_SHOWN]:
        click.echo(line)
    if len(found) > _SHOWN:
        click.echo(f"and {len(found) - _SHOWN} more")
    if not found:
        click.echo("the evidence is that of the report")
    return EXIT_DIVERGE if found else EXIT_AGREE
